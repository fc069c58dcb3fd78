//! What reports in the store have in common, whatever they are about: two forms under one order, [put](deposit) into the store once, and
//! named by one entry. No clock is read here, and nothing says which process or version has rendered them, so that what lies in the store
//! already can be told from what another wrote.

pub(super) mod deposit;
pub(super) mod page;
pub(super) mod words;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use dataembassy_ledger::{PublicKey, Sha256Digest};

/// A report in both forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// For programs.
    pub json: Bytes,
    /// For people.
    pub html: Bytes,
}

/// The fingerprint of a key, as `ssh-keygen -l` prints it.
pub(super) fn fingerprint(key: PublicKey) -> String {
    let key = key.to_string();
    let blob = key
        .split_whitespace()
        .nth(1)
        .and_then(|blob| STANDARD.decode(blob).ok());
    let digest = Sha256Digest::of(&blob.unwrap_or_default());
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest.as_bytes()))
}

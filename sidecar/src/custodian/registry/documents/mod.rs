//! What reports in the store have in common, whatever they are about: two forms under one order, [put](deposit) into the store once, and
//! named by one entry. No clock is read here, and nothing says which process or version has rendered them, so that what lies in the store
//! already can be told from what another wrote.

pub(super) mod deposit;
pub(super) mod page;
pub(super) mod patience;
pub(super) mod words;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use dataembassy_contract::Reason;
use dataembassy_ledger::{PublicKey, Sha256Digest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::orders::Attempt;
use super::{Assignment, Keeper};
use deposit::DepositError;

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

/// A document for programs, with its final line feed.
pub(super) fn document(content: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(content)?;
    text.push(b'\n');
    Ok(text)
}

/// Whether two documents say the same, as far as this version reads them. Both are read: what a number loses on its way is lost on both sides.
pub(super) fn say_the_same<T>(one: &[u8], other: &[u8], bound: impl Fn(&mut T)) -> bool
where
    T: DeserializeOwned + PartialEq,
{
    let read = |bytes: &[u8]| -> Option<T> {
        let mut told = serde_json::from_slice(bytes).ok()?;
        bound(&mut told);
        Some(told)
    };
    read(one)
        .zip(read(other))
        .is_some_and(|(one, other)| one == other)
}

impl Keeper {
    /// Why no result can be signed for now.
    pub(super) fn cannot_sign_results(&self, assignment: &Assignment) -> Option<(Reason, String)> {
        if !self.office.may_write() {
            let why = "the store's clock and ours differ, or were not compared yet: see the condition of the DataEmbassy";
            return Some((Reason::ClockSkewed, why.to_owned()));
        }
        if let Some(why) = self.cannot_append(assignment) {
            return Some(why);
        }
        self.is_reading().then(|| {
            let why = "the living copies of this registry are not all known yet: its ledger is being read";
            (Reason::NotYetKnown, why.to_owned())
        })
    }
}

/// What came of putting reports and writing the entry that names them.
pub(super) fn signed_for(signed: Result<bool, DepositError>) -> Attempt {
    match signed {
        Ok(true) => Attempt::Done,
        Ok(false) => Keeper::moved(),
        Err(DepositError::Refused(refusal)) => Attempt::Refused(refusal),
        Err(error @ DepositError::Contended(_)) => Attempt::Waits {
            reason: Reason::NotYetKnown,
            message: format!("{error}: it is tried again"),
            so_do_all: false,
        },
        Err(DepositError::Store(error)) => {
            Attempt::stopped_by(&error, "the reports of this order cannot be put into the store")
        }
    }
}

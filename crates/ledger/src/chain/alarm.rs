//! What a walk finds wrong. None of it moves the chain.

use crate::entry::Chain;
use crate::signature::{PublicKey, SignatureError};
use crate::signed_line::ReadError;
use crate::value::{Sequence, Sha256Digest, VersionId};

/// Something in a chain that must not be there, or that is missing.
#[derive(Debug, thiserror::Error)]
pub enum Alarm {
    /// An object is not an entry: too large, not signed, or not what the format allows.
    #[error("object {key} (version {version}) is no entry: {error}")]
    Unparsable {
        /// Its key.
        key: String,
        /// Its version.
        version: VersionId,
        /// What is wrong.
        error: ReadError,
    },
    /// The signature of an object does not match it, or is for another role.
    #[error("object {key} (version {version}) is wrongly signed: {error}")]
    WrongSignature {
        /// Its key.
        key: String,
        /// Its version.
        version: VersionId,
        /// What is wrong.
        error: SignatureError,
    },
    /// An entry is signed by a key that may not sign at its place.
    #[error("entry {key} (version {version}) is signed by {signer}, which has no authority there")]
    ForeignSignature {
        /// Its key.
        key: String,
        /// Its version.
        version: VersionId,
        /// Who signed it.
        signer: PublicKey,
        /// The SHA-256 of the whole object.
        digest: Sha256Digest,
    },
    /// An entry was made for another place: store, registry, sequence or term are not those of its key.
    #[error("entry {key} (version {version}) was made for another {what}")]
    Misplaced {
        /// Its key.
        key: String,
        /// Its version.
        version: VersionId,
        /// What it was made for: `store`, `registry`, `sequence` or `term`.
        what: &'static str,
    },
    /// An entry does not name the entry before it.
    #[error("entry {key} (version {version}) names {prev} as the entry before it, which is not there")]
    BrokenLink {
        /// Its key.
        key: String,
        /// Its version.
        version: VersionId,
        /// What it names.
        prev: Sha256Digest,
    },
    /// A custody entry names another object for this place.
    #[error("entry {key} (version {version}) is not the one that the custodian names for its place")]
    ContradictsCustody {
        /// Its key.
        key: String,
        /// Its version.
        version: VersionId,
    },
    /// An object that is written once has several versions.
    #[error("entry {key} has {versions} versions; it must have one")]
    SecondVersion {
        /// Its key.
        key: String,
        /// How many it has.
        versions: usize,
    },
    /// There are entries beyond one that is missing.
    #[error("entry {missing} is missing, although {found} is there")]
    Gap {
        /// The key that is missing.
        missing: String,
        /// The key beyond.
        found: String,
    },
    /// The chain no longer has an entry that it is known to have had.
    #[error(
        "the {chain} chain is below or beside its last known head, entry {sequence} with SHA-256 {digest}: the store was rolled back"
    )]
    RolledBack {
        /// Which of the registry's chains.
        chain: Chain,
        /// The place of the last known head.
        sequence: Sequence,
        /// Its digest.
        digest: Sha256Digest,
    },
}

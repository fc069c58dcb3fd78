//! Ids, object keys, entries, manifests, chains and signatures: all of the store's format that needs no key to open copies.
//!
//! This crate does no I/O, reads no clock and draws no randomness: bytes, times and seeds are arguments. The normative text is
//! `docs/format.md`; where it and this code disagree, one of them is wrong.

pub mod activation;
pub mod chain;
pub mod door;
pub mod entry;
mod json;
pub mod key;
mod lines;
pub mod manifest;
pub mod retention;
pub mod signature;
pub mod signed_line;
pub mod store_document;
pub mod trust_sheet;
pub mod value;

pub use key::ObjectKey;
pub use signature::{PublicKey, Role, SigningKey};
pub use store_document::StoreDocument;
pub use trust_sheet::TrustSheet;
pub use value::{
    CopyId, InvalidValue, OrderId, PartNumber, Recipient, RegistryId, SegmentNumber, Sequence, Sha256Digest,
    StoreId, Term, Timestamp, Trigger, VersionId,
};

/// The value of `format` in every entry and in `embassy.json`.
pub const FORMAT: &str = "dataembassy/1";

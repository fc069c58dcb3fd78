//! What is inside a copy: sealed segments of tar members, the sealed inventory, the copy's key and the row digest.
//!
//! No I/O but on `Read` and `Write` values the caller gives, nothing asynchronous: it runs on blocking threads. The custodian and the gate
//! never use this crate, as they hold no keys. The normative text is `docs/format.md`.

mod age_file;
pub mod inventory;
pub mod key;
pub mod member;
pub mod row_digest;
mod sealing;
pub mod segment;
mod ustar;

pub use key::{CopyKey, CopyRecipient, Identities, KeyError, Recipients};
pub use member::{FileName, InvalidMember, Member, MemberName};
pub use row_digest::{LargeObjectDigester, RowDigest, RowDigester, UnfinishedLine};
pub use sealing::{CompressionLevel, OpenError, SealError, Sealed};
pub use segment::{SegmentPosition, SegmentReader, SegmentWriter};

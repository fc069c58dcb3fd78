//! The object store: the few S3 requests that the gate lets through, and the ledger read over them.
//!
//! Nothing here decides what a copy is; `dataembassy_ledger` does. This room puts new objects, reads them by version, says in the
//! user's words what a store refuses, and never sends a request that rule 2 of the design's section 5 would not let through. What the
//! custodian asks beyond that, of the store itself, is in [`custody`].

pub(crate) mod arguments;
pub mod check;
mod client;
mod commit;
mod connection;
mod custody;
mod error;
pub mod init;
pub mod ledger;
mod outgoing;
mod probe;
mod settings;
pub(crate) mod way;
mod words;

/// What an object takes of a store at least, in bytes: however small it is, it is a file there. The gate and the custodian count alike.
pub const LEAST_OBJECT_BYTES: u64 = 4_096;

pub use arguments::StoreArguments;
pub use client::{ObjectVersion, Page, PutOutcome, Store, StoredObject};
pub use commit::{CommitError, commit};
pub use custody::{Folders, ObjectHead, ObjectLock};
pub use error::{GateRefusal, StoreError};
pub use ledger::{Ledger, LedgerError, LedgerMemory, LedgerSettings, Taken};
pub(crate) use outgoing::{SLOWEST, UNDERWAY, underway};
pub use probe::{ProbeReport, Requirements, clocks_agree, judge_clock, probe};
pub use settings::{DepositKeys, Patience, StoreSettings};

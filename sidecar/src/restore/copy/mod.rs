//! The copy that is restored, once it has proved to be the one that its ledger names.

mod choice;
mod contents;
mod members;
mod stored;
mod way_back;

use bytes::Bytes;
use dataembassy_archive::{CopyKey, inventory::InventoryError, segment::SegmentError};
use dataembassy_contract::Reason;
use dataembassy_ledger::{CopyId, RegistryId, Timestamp};
use tokio::sync::mpsc;

use crate::store::StoreError;

pub use choice::Choice;
pub use contents::Contents;
pub use members::{members, read_file};
pub(crate) use stored::DOUBTS;
pub use stored::{FindError, FoundCopy, StoredCopy};

/// Why a copy cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// An object is not the one that the ledger names.
    #[error(
        "{object} is not what the ledger names: {why}; somebody has changed the store, or the store is broken"
    )]
    NotTheOneNamed {
        /// The object's key.
        object: String,
        /// The difference.
        why: String,
    },
    /// An object cannot be read from the store, which was asked several times.
    #[error("{object} cannot be read: {error}")]
    Unreadable {
        /// The object's key.
        object: String,
        /// What came of it.
        error: StoreError,
    },
    /// A segment breaks the format.
    #[error("segment {name} breaks the format: {source}")]
    Segment {
        /// The segment's key.
        name: String,
        /// What is wrong.
        source: SegmentError,
    },
    /// The last segment is not the one that ends the archive, or an earlier one is.
    #[error("segment {name} is not where it belongs: the last segment ends the archive, and no other")]
    WrongEnd {
        /// The segment's key.
        name: String,
    },
    /// The inventory breaks the format.
    #[error("the inventory breaks the format: {0}")]
    Inventory(#[from] InventoryError),
    /// The inventory describes something else than the entry.
    #[error("the inventory and the ledger's entry disagree on {0}")]
    Disagreement(&'static str),
    /// A file of the archive is not whole.
    #[error("{file} of the archive is not what the inventory says: {why}")]
    WrongFile {
        /// The file.
        file: String,
        /// The difference.
        why: &'static str,
    },
    /// Reading ended before the copy did.
    #[error("reading the copy ended before its end")]
    Ended,
}

impl CopyError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Unreadable { error, .. } => match error {
                StoreError::ObjectMissing { .. } => Reason::ObjectMissing,
                StoreError::ObjectTooLarge { .. } => Reason::ObjectChanged,
                StoreError::Failed { .. }
                | StoreError::NotUnderstood { .. }
                | StoreError::BrokenOff { .. } => Reason::ObjectUnreadable,
                error => error.reason(),
            },
            Self::Ended => Reason::ObjectUnreadable,
            Self::NotTheOneNamed { .. }
            | Self::Segment { .. }
            | Self::WrongEnd { .. }
            | Self::Inventory(_)
            | Self::Disagreement(_)
            | Self::WrongFile { .. } => Reason::ObjectChanged,
        }
    }
}

/// Which copy this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyIdentity {
    /// The registry.
    pub registry: RegistryId,
    /// The sequence of its entry.
    pub sequence: u64,
    /// Its id.
    pub copy_id: CopyId,
    /// The moment whose image it is.
    pub taken_at: Timestamp,
    /// Bytes of all segments as stored.
    pub sealed_bytes: u64,
}

/// A sealed segment, its SHA-256 checked.
#[derive(Clone, Debug)]
pub struct SealedSegment {
    /// Its key, for messages.
    pub name: String,
    /// Its bytes.
    pub bytes: Bytes,
    /// Whether it is the manifest's last one.
    pub is_last: bool,
}

/// A copy whose entry, manifest and objects are checked while they are read.
pub trait SealedCopy: Send + Sync + 'static {
    /// Which copy it is.
    fn identity(&self) -> &CopyIdentity;

    /// What opens it.
    fn key(&self) -> &CopyKey;

    /// All parts of its inventory, in order, their SHA-256 checked.
    fn inventory(&self) -> impl Future<Output = Result<Vec<Bytes>, CopyError>> + Send;

    /// Sends all segments in the manifest's order. A closed receiver ends it.
    fn segments(
        &self,
        into: mpsc::Sender<Result<SealedSegment, CopyError>>,
    ) -> impl Future<Output = ()> + Send;
}

//! The one put that makes a copy exist. A 200 is not yet a commit, and silence is not yet a failure: the ledger tells.

use std::time::Duration;

use bytes::Bytes;
use dataembassy_contract::Reason;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::entry::{CustodyEntry, SignedObject, SourceEntry};
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::value::VersionId;
use tokio::time::Instant;

use super::{PutOutcome, Store, StoreError};

/// Between two questions to a store that does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Why an entry is not, or not certainly, in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else's entry has the place.
    #[error(
        "another writer has committed {key} first: this copy does not exist; the next run goes on from there"
    )]
    Superseded {
        /// The key.
        key: String,
    },
    /// The entry has several versions.
    #[error(
        "entry {key} has {versions} versions although the store was told to write it once: find out who wrote the others"
    )]
    SecondVersion {
        /// The key.
        key: String,
        /// How many.
        versions: usize,
    },
    /// The store does not say.
    #[error("whether {key} was written is not known ({cause}): the next run finds out from the ledger")]
    Unknown {
        /// The key.
        key: String,
        /// The last error.
        cause: StoreError,
    },
    /// The store refused.
    #[error(transparent)]
    Store(StoreError),
}

impl CommitError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Superseded { .. } => Reason::Superseded,
            Self::SecondVersion { .. } => Reason::SecondVersion,
            Self::Unknown { .. } => Reason::CommitUnknown,
            Self::Store(error) => error.reason(),
        }
    }
}

/// Writes an entry and returns its version once it is the only one of its key.
///
/// The same bytes may be put again and again: the store writes them once, and what is there is compared with them.
pub async fn commit(
    store: &Store,
    key: &ObjectKey,
    object: &SignedObject,
    patience: Duration,
) -> Result<VersionId, CommitError> {
    let deadline = Instant::now() + patience;
    let body = Bytes::copy_from_slice(&object.bytes);
    loop {
        let error = match store.put(key, body.clone(), object.digest).await {
            Ok(PutOutcome::Stored(_) | PutOutcome::Exists) => match find_out(store, key, &body).await {
                Ok(version) => return version,
                Err(error) => error,
            },
            Err(error) if error.is_permanent() => return Err(CommitError::Store(error)),
            Err(error) => error,
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(CommitError::Unknown {
                key: key.to_string(),
                cause: error,
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks at what has the place: ours alone, another's alone, or several.
///
/// An entry that is not listed, and bytes that are no entry for this place, are what a store says that is behind, or damaged on the way: it
/// is asked again. Nothing of that means that somebody else has written.
async fn find_out(
    store: &Store,
    key: &ObjectKey,
    ours: &Bytes,
) -> Result<Result<VersionId, CommitError>, StoreError> {
    let versions = store.versions_of(key).await?;
    let name = || key.to_string();
    let version = match versions.as_slice() {
        [] => return Err(StoreError::ObjectMissing { target: name() }),
        [version] => version,
        several => {
            return Ok(Err(CommitError::SecondVersion {
                key: name(),
                versions: several.len(),
            }));
        }
    };
    let Some(id) = &version.version else {
        return Ok(Err(CommitError::Store(StoreError::VersionMissing {
            target: name(),
        })));
    };
    let theirs = store
        .open(key, Some(id))
        .await?
        .read_up_to(MAX_OBJECT_BYTES as u64 + 1)
        .await?;
    if theirs == *ours {
        return Ok(Ok(id.clone()));
    }
    if is_entry_at(key, &theirs) {
        return Ok(Err(CommitError::Superseded { key: name() }));
    }
    Err(StoreError::NotUnderstood {
        operation: "GetObject",
        cause: format!("what it gives of {key} is neither our entry nor another one"),
    })
}

/// Whether these bytes are an entry that somebody has signed for this place.
fn is_entry_at(key: &ObjectKey, bytes: &[u8]) -> bool {
    let source = SourceEntry::verify(bytes).map(|found| found.entry.object_key());
    let found = source.or_else(|_| CustodyEntry::verify(bytes).map(|found| found.entry.object_key()));
    found.is_ok_and(|place| place == *key)
}

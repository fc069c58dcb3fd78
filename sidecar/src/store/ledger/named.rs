//! An entry's object that somebody names by its SHA-256: the entry above it, or who has seen it before.

use bytes::Bytes;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::value::Sha256Digest;

use crate::store::{Store, StoreError};

/// The bytes of the version that has this digest; none where no version has. One that is too large for an entry is not read.
pub(crate) async fn read_named(
    store: &Store,
    key: &ObjectKey,
    digest: Sha256Digest,
) -> Result<Option<Bytes>, StoreError> {
    let limit = MAX_OBJECT_BYTES as u64;
    // A store lists the newest first, and an entry is written before what somebody puts beside it.
    for version in store.versions_of(key).await?.iter().rev() {
        let Some(id) = &version.version else { continue };
        if version.is_delete_marker || version.size > limit {
            continue;
        }
        let bytes = store.open(key, Some(id)).await?.read(limit).await?;
        if Sha256Digest::of(&bytes) == digest {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

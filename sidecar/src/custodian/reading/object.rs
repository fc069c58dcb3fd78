//! One object, streamed from the store by version and compared with what the ledger says of it. Nothing of it is kept.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::entry::CopyFault;
use dataembassy_ledger::value::{Sha256Digest, VersionId};

use super::pace::Pace;
use crate::store::{ObjectLock, Store, StoreError};

/// Pauses between tries of an object that the store does not give.
pub const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// What an object must be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its key.
    pub key: ObjectKey,
    /// Its version.
    pub version: VersionId,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256Digest,
}

/// Why an object was not found equal.
#[derive(Debug)]
pub enum Flaw {
    /// It is not what it should be.
    Fault(CopyFault),
    /// The store does not answer, so nothing is known.
    Store(StoreError),
}

/// Reads an object and compares it; returns its lock.
///
/// A store that cannot give this object and yet answers to something else cannot read it.
pub async fn read(store: &Store, wanted: &Wanted, pace: &Pace) -> Result<ObjectLock, Flaw> {
    let mut pauses = PAUSES.iter();
    loop {
        let error = match read_once(store, wanted, pace).await {
            Ok(Ok(lock)) => return Ok(lock),
            Ok(Err(fault)) => return Err(Flaw::Fault(fault)),
            Err(StoreError::ObjectMissing { .. }) => return Err(Flaw::Fault(CopyFault::Missing)),
            Err(error) => error,
        };
        if let Some(pause) = pauses.next() {
            tokio::time::sleep(*pause).await;
            continue;
        }
        return Err(match store.answers().await {
            Ok(()) => {
                tracing::warn!(key = %wanted.key, %error, "the store cannot read an object");
                Flaw::Fault(CopyFault::Unreadable)
            }
            Err(error) => Flaw::Store(error),
        });
    }
}

async fn read_once(
    store: &Store,
    wanted: &Wanted,
    pace: &Pace,
) -> Result<Result<ObjectLock, CopyFault>, StoreError> {
    let mut object = store.open(&wanted.key, Some(&wanted.version)).await?;
    if object.size != wanted.size {
        return Ok(Err(CopyFault::Changed));
    }
    let (mut hash, mut length) = (Context::new(&SHA256), 0);
    while let Some(bytes) = object.next().await? {
        hash.update(&bytes);
        length += bytes.len() as u64;
        pace.pass(bytes.len()).await;
    }
    let digest = hash.finish();
    let is_equal = length == wanted.size && digest.as_ref() == wanted.sha256.as_bytes();
    Ok(if is_equal {
        Ok(object.lock)
    } else {
        Err(CopyFault::Changed)
    })
}

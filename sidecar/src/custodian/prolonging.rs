//! One lock, prolonged: looked at before it is changed, so that none is ever shortened, whatever the store would let through.

use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::value::VersionId;
use jiff::Timestamp;

use super::configuration::LockRule;
use crate::store::{ObjectLock, Store, StoreError};

/// What a lock is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// A lock that ends then or later is left as it is.
    pub least: Timestamp,
    /// Another one ends then from now on.
    pub until: Timestamp,
}

impl Aim {
    /// What the rule asks for now: the whole length, unless most of it is left.
    #[must_use]
    pub fn of(rule: &LockRule, now: Timestamp) -> Self {
        Self {
            least: rule.fresh_from(now),
            until: rule.until(now),
        }
    }
}

/// Makes sure that a version is locked for as long as it must be, and returns its lock as it is then; `None` where the version is not there.
///
/// A lock keeps the mode that it has: a weaker one than the rule's cannot be made stronger without a right that the custodian must not
/// have, and yet is better than none.
pub async fn secure(
    store: &Store,
    key: &ObjectKey,
    version: &VersionId,
    rule: &LockRule,
    aim: Aim,
) -> Result<Option<ObjectLock>, StoreError> {
    let Some(lock) = look(store, key, version).await? else {
        return Ok(None);
    };
    let is_enough =
        |lock: &ObjectLock| lock.mode.is_some() && lock.until.is_some_and(|until| until >= aim.least);
    if is_enough(&lock) {
        return Ok(Some(lock));
    }
    let mode = lock.mode.unwrap_or(rule.mode);
    match store.prolong(key, version, mode, aim.until).await {
        Ok(()) => Ok(Some(ObjectLock {
            mode: Some(mode),
            until: Some(aim.until),
        })),
        // Another custodian may have been a moment faster, and what it has set must not be shortened either.
        Err(error) if error.is_permanent() => match look(store, key, version).await? {
            Some(lock) if is_enough(&lock) => Ok(Some(lock)),
            Some(_) => Err(error),
            None => Ok(None),
        },
        Err(error) => Err(error),
    }
}

/// The lock of a version; `None` where the version is not there.
pub async fn look(
    store: &Store,
    key: &ObjectKey,
    version: &VersionId,
) -> Result<Option<ObjectLock>, StoreError> {
    match store.head(key, version).await {
        Ok(head) => Ok(Some(head.lock)),
        Err(StoreError::ObjectMissing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

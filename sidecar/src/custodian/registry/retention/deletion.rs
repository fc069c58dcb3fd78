//! Deletion, version by version: folders of copies that were recorded as expired or void, once the lock of each object has ended.
//!
//! Nothing says how far it is but the store itself: what is gone is not listed any more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::value::{CopyId, Sequence, VersionId};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

use crate::custodian::configuration::LockRule;
use crate::custodian::prolonging::look;
use crate::custodian::registry::{Assignment, Keeper, Left, TURN};
use crate::store::{ObjectLock, ObjectVersion, StoreError};

/// How many versions are deleted at the same time.
const IN_FLIGHT: usize = 6;
/// After so many tries in vain, while the store answers otherwise, somebody must hear of a folder.
const PATIENCE: u8 = 3;
/// Before what the store refused is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// After a lock has ended by our clock, the store's may need so long.
const LATER: Duration = Duration::from_secs(1);
/// However long a lock has still to go: the clock that says so may be wrong.
const MOST: Duration = Duration::from_hours(24);
/// So well is the store's clock known: if it refuses for longer than this after the end of a lock, it is not the lock.
const CLOCKS: SignedDuration = SignedDuration::from_secs(5);
/// A folder that is empty is not looked at again before the next count knows.
const EMPTY: Duration = Duration::from_hours(1);

/// What was deleted, and what waits.
#[derive(Debug, Default)]
pub struct Deletion {
    /// Before then there is nothing to be done about a folder.
    waits: BTreeMap<CopyId, Instant>,
    /// Folders that should be gone and cannot be deleted, and why.
    blocked: BTreeMap<CopyId, String>,
    /// How often in a row the store failed at a folder.
    failed: BTreeMap<CopyId, u8>,
    passing: Option<Passing>,
    /// Since the process started.
    pub deleted: Deleted,
}

/// What was deleted since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Expired copies whose every object is gone.
    pub copies: u32,
    /// Versions and delete markers.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How far a folder is.
#[derive(Debug)]
enum Folder {
    /// There is nothing in it.
    Empty,
    /// There is more to be looked at.
    Partly,
    /// What is left is locked, some of it until then.
    Locked(Timestamp),
    /// The store failed at something in it, and this is how.
    Failed(String),
    /// Something cannot be deleted, or nothing.
    Blocked {
        /// Why.
        why: String,
        /// Whether the same stands against all of it.
        all: bool,
    },
}

impl Folder {
    const fn is_of_all(&self) -> bool {
        matches!(self, Self::Blocked { all: true, .. })
    }

    /// What somebody must hear of, or what ends first.
    fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Locked(one), Self::Locked(other)) => Self::Locked(one.min(other)),
            (Self::Locked(_), other) | (Self::Failed(_), other @ Self::Blocked { .. }) => other,
            (one, _) => one,
        }
    }
}

/// A folder that is being gone through.
#[derive(Debug)]
struct Passing {
    copy: CopyId,
    /// Where the listing goes on.
    from: Option<(String, Option<String>)>,
    /// Whether anything was deleted.
    deleted: bool,
    refused: Option<Folder>,
}

impl Passing {
    const fn new(copy: CopyId) -> Self {
        Self {
            copy,
            from: None,
            deleted: false,
            refused: None,
        }
    }

    /// What is to be said at the end of the listing. That nothing is left is believed when a listing shows nothing.
    fn end(self) -> Folder {
        match self.refused {
            Some(refused) => refused,
            None if self.deleted => Folder::Partly,
            None => Folder::Empty,
        }
    }
}

impl Deletion {
    /// Why something that should go cannot; `None` if nothing is in its way.
    #[must_use]
    pub fn blocked(&self) -> Option<String> {
        let what = self.blocked.values().next()?;
        Some(match self.blocked.len() {
            1 => what.clone(),
            folders => format!("{what}; {folders} copies in all cannot be deleted"),
        })
    }

    fn forget(&mut self, is_there: impl Fn(&CopyId) -> bool) {
        self.waits.retain(|copy, _| is_there(copy));
        self.blocked.retain(|copy, _| is_there(copy));
        self.failed.retain(|copy, _| is_there(copy));
    }
}

impl Keeper {
    /// Deletes some of what may go. Before this is called, what says that nothing may go was asked.
    pub(super) async fn delete(&mut self, assignment: &Assignment) -> Result<Left, StoreError> {
        let begun = Instant::now();
        for (copy, expired) in self.folders() {
            loop {
                let found = self.delete_from(assignment, copy, begun).await?;
                if !matches!(found, Folder::Failed(_)) {
                    self.retention.deletion.failed.remove(&copy);
                }
                let wait = match found {
                    Folder::Partly if begun.elapsed() >= TURN => return Ok(Left::More),
                    Folder::Partly => continue,
                    Folder::Empty => {
                        self.note_empty(copy, expired);
                        EMPTY
                    }
                    Folder::Locked(until) => {
                        self.retention.deletion.blocked.remove(&copy);
                        let left = Duration::try_from(until.duration_since(Timestamp::now()));
                        (left.unwrap_or_default() + LATER).min(MOST)
                    }
                    Folder::Blocked { why, .. } => {
                        self.note_blocked(copy, expired, &why);
                        RETRY
                    }
                    Folder::Failed(why) => {
                        let tries = self.retention.deletion.failed.entry(copy).or_default();
                        *tries = tries.saturating_add(1);
                        if *tries >= PATIENCE {
                            self.note_blocked(copy, expired, &why);
                        } else {
                            tracing::warn!(registry = %self.registry, %copy, why, "objects that may go cannot be deleted yet");
                        }
                        RETRY
                    }
                };
                let until = Instant::now() + wait;
                self.retention.deletion.waits.insert(copy, until);
                break;
            }
            if begun.elapsed() >= TURN {
                return Ok(Left::More);
            }
        }
        Ok(Left::Nothing)
    }

    /// The folders that may go and for which something can be done now: never one that a living entry names.
    fn folders(&mut self) -> Vec<(CopyId, Option<Sequence>)> {
        let (now, holdings) = (Instant::now(), self.holdings.lock());
        let Some((census, ledger)) = self.presence.census().zip(self.ledger.as_ref()) else {
            return Vec::new();
        };
        let expired = holdings.expired.iter();
        let expired = expired.map(|(copy, sequence)| (*copy, Some(*sequence)));
        let void = census.unnamed.keys().filter(|copy| ledger.view().is_void(**copy));
        let mut folders: BTreeMap<CopyId, Option<Sequence>> = void.map(|copy| (*copy, None)).collect();
        folders.extend(expired);
        for held in holdings.copies.values() {
            folders.remove(&held.copy);
        }
        self.retention.deletion.forget(|copy| folders.contains_key(copy));
        let waits = &self.retention.deletion.waits;
        folders.retain(|copy, _| waits.get(copy).is_none_or(|until| *until <= now));
        folders.into_iter().collect()
    }

    /// Deletes some of a folder.
    ///
    /// A folder that is looked at for the first time is most likely locked as a whole, and the first lock that is met says until when. From
    /// then on what is locked is passed over: somebody may go on putting things there, and must not hold up the rest.
    async fn delete_from(
        &mut self,
        assignment: &Assignment,
        copy: CopyId,
        begun: Instant,
    ) -> Result<Folder, StoreError> {
        let passes_over = self.retention.deletion.waits.contains_key(&copy);
        let before = self.retention.deletion.passing.take();
        let mut passing = before
            .filter(|passing| passing.copy == copy)
            .unwrap_or_else(|| Passing::new(copy));
        let prefix = ObjectKey::copy_prefix(&self.registry, copy);
        loop {
            let page = assignment
                .store
                .list_versions(&prefix, passing.from.take())
                .await?;
            for some in page.versions.chunks(IN_FLIGHT) {
                let Some(refused) = self.delete_some(assignment, copy, some).await? else {
                    passing.deleted = true;
                    continue;
                };
                if !passes_over || refused.is_of_all() {
                    return Ok(refused);
                }
                passing.refused = Some(match passing.refused.take() {
                    Some(other) => other.worse(refused),
                    None => refused,
                });
            }
            if page.next.is_none() {
                return Ok(passing.end());
            }
            passing.from = page.next;
            if begun.elapsed() >= TURN {
                self.retention.deletion.passing = Some(passing);
                return Ok(Folder::Partly);
            }
        }
    }

    /// Deletes a few versions at once; what stands against it where one of them is refused.
    async fn delete_some(
        &mut self,
        assignment: &Assignment,
        copy: CopyId,
        some: &[ObjectVersion],
    ) -> Result<Option<Folder>, StoreError> {
        let (mut named, mut nameless) = (Vec::new(), None);
        for version in some {
            if let Some((object, id)) = self.name(copy, version) {
                named.push((object, id, version));
            } else {
                let why = format!("{} is no object of a copy", version.key);
                nameless = Some(Folder::Blocked { why, all: false });
            }
        }
        let deleting = named
            .iter()
            .map(|(object, id, _)| assignment.store.delete_version(&self.registry, copy, *object, id));
        let (mut refused, mut failed) = (None, None);
        for (deleted, (object, id, version)) in join_all(deleting).await.into_iter().zip(named) {
            match deleted {
                Ok(()) => {
                    let deleted = &mut self.retention.deletion.deleted;
                    deleted.objects += 1;
                    deleted.bytes = deleted.bytes.saturating_add(version.size);
                }
                Err(error) if is_refusal(&error) => {
                    refused.get_or_insert((error, object, id, version.is_delete_marker));
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            // A store that is away altogether says nothing about this folder.
            assignment.store.answers().await?;
            return Ok(Some(Folder::Failed(error.to_string())));
        }
        let Some((error, object, id, is_marker)) = refused else {
            return Ok(nameless);
        };
        let key = ObjectKey::Copy {
            registry: self.registry.clone(),
            copy,
            object,
        };
        // A delete marker has no lock.
        let key = (!is_marker).then_some(&key);
        self.explain(assignment, key, &id, &error).await
    }

    /// Why a version was not deleted: stores say the same of a lock, of a legal hold, and some of a missing right, so its lock is looked at.
    /// `None` where it is gone nevertheless.
    async fn explain(
        &self,
        assignment: &Assignment,
        key: Option<&ObjectKey>,
        version: &VersionId,
        error: &StoreError,
    ) -> Result<Option<Folder>, StoreError> {
        let lock = match key {
            Some(key) => look(&assignment.store, key, version).await?,
            None => Some(ObjectLock::default()),
        };
        let ahead = SignedDuration::from_millis(assignment.store.clock_ahead().unwrap_or(0));
        let now = Timestamp::now();
        let the_stores = now.checked_add(ahead).unwrap_or(now);
        let mut rule = assignment.configuration.lock;
        rule.length = rule.length.max(self.office.locks_on_arrival());
        // Without a lock to be seen, another custodian was faster.
        Ok(lock.map(|lock| judge(&lock, &rule, error, the_stores)))
    }

    /// What a version is called; `None` of what is no object of this copy.
    fn name(&self, copy: CopyId, version: &ObjectVersion) -> Option<(CopyObject, VersionId)> {
        let id = version.version.clone()?;
        match version.key.parse() {
            Ok(ObjectKey::Copy {
                registry,
                copy: other,
                object,
            }) if registry == self.registry && other == copy => Some((object, id)),
            _ => None,
        }
    }

    fn note_empty(&mut self, copy: CopyId, expired: Option<Sequence>) {
        let deletion = &mut self.retention.deletion;
        deletion.blocked.remove(&copy);
        if let Some(sequence) = expired {
            deletion.deleted.copies += 1;
            self.holdings.lock().expired.remove(&copy);
            tracing::info!(registry = %self.registry, sequence = sequence.get(), "an expired copy is gone from the store");
        } else {
            tracing::info!(registry = %self.registry, %copy, "objects that no entry names are gone from the store");
        }
    }

    fn note_blocked(&mut self, copy: CopyId, expired: Option<Sequence>, why: &str) {
        let what = match expired {
            Some(sequence) => format!("copy {sequence} has expired and cannot be deleted: {why}"),
            None => format!("the void copy {copy}, which no entry names, cannot be deleted: {why}"),
        };
        self.retention.deletion.blocked.insert(copy, what);
    }
}

/// Whether a store has judged and refused, rather than failed.
const fn is_refusal(error: &StoreError) -> bool {
    match error {
        StoreError::AccessDenied { .. } => true,
        StoreError::Failed { .. } => error.is_permanent(),
        _ => false,
    }
}

/// What a refusal means; `now` is the store's.
fn judge(lock: &ObjectLock, rule: &LockRule, error: &StoreError, now: Timestamp) -> Folder {
    let is_over = |until: &Timestamp| until.checked_add(CLOCKS).is_ok_and(|until| until < now);
    match lock.until.filter(|until| !is_over(until)) {
        Some(until) if until > rule.far_from(now) => {
            let why = format!(
                "an object of it is locked until {until:.0}, longer than this embassy locks anything, and nobody can shorten that"
            );
            Folder::Blocked { why, all: false }
        }
        Some(until) => Folder::Locked(until),
        None if matches!(error, StoreError::AccessDenied { .. }) => {
            let why = error.to_string();
            Folder::Blocked { why, all: true }
        }
        None => {
            let why = format!(
                "the store refuses to although the lock has ended, most likely because of a legal hold ({error})"
            );
            Folder::Blocked { why, all: false }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dataembassy_contract::config::LockMode;

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    fn judged(until: Option<i64>, error: &StoreError) -> Folder {
        let rule = LockRule {
            mode: LockMode::Compliance,
            length: Duration::from_hours(14 * 24),
        };
        let lock = ObjectLock {
            mode: until.map(|_| LockMode::Compliance),
            until: until.map(at),
        };
        judge(&lock, &rule, error, at(1_000))
    }

    fn locked() -> StoreError {
        StoreError::Failed {
            operation: "DeleteObject",
            status: 400,
            code: "InvalidRequest".into(),
            message: "Object is WORM protected and cannot be overwritten".into(),
        }
    }

    fn denied() -> StoreError {
        StoreError::AccessDenied {
            operation: "DeleteObject",
            target: "registries/population/copies".into(),
            bucket: "registries".into(),
        }
    }

    #[test]
    fn a_lock_that_has_not_ended_is_waited_for_whatever_word_the_store_uses() {
        for error in [locked(), denied()] {
            assert!(matches!(judged(Some(1_100), &error), Folder::Locked(until) if until == at(1_100)));
        }
    }

    #[test]
    fn a_missing_right_a_legal_hold_and_a_lock_of_years_are_told_apart() {
        let why = |folder| match folder {
            Folder::Blocked { why, all } => (why, all),
            other => panic!("{other:?}"),
        };
        let (missing, all) = why(judged(None, &denied()));
        assert!(all && missing.contains("compare the user's policy"), "{missing}");
        let (hold, all) = why(judged(Some(900), &locked()));
        assert!(!all && hold.contains("legal hold"), "{hold}");
        let (years, all) = why(judged(Some(100_000), &locked()));
        assert!(!all && years.contains("until 1981"), "{years}");
    }

    #[test]
    fn what_somebody_must_hear_of_goes_before_a_lock_and_the_earliest_lock_before_others() {
        let lock = || Folder::Locked(at(7));
        let blocked = || Folder::Blocked {
            why: String::new(),
            all: false,
        };
        assert!(matches!(lock().worse(Folder::Locked(at(3))), Folder::Locked(until) if until == at(3)));
        assert!(matches!(lock().worse(blocked()), Folder::Blocked { .. }));
        assert!(matches!(blocked().worse(lock()), Folder::Blocked { .. }));
    }
}

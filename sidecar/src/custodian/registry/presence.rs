//! Level 1 of what is known: manifests are examined when copies come, and their objects counted again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use dataembassy_ledger::entry::CopyFault;
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::value::Sequence;
use jiff::Timestamp;

use super::census::{Census, Count, Counted, Drawn, Expected, Pass};
use super::comparison::compare;
use super::examination::{ObjectError, examine, read_entry};
use super::holdings::{Damage, Held, Listed, LockFault, Manifest};
use super::{Assignment, Keeper, Left, TURN};
use crate::custodian::finding::Finding;
use crate::store::{ObjectLock, StoreError};

/// The most time between two counts.
const MOST_BETWEEN: Duration = Duration::from_hours(1);
/// A count that takes long is repeated the less often.
const SHARE: u32 = 20;
/// How many copies one turn examines.
const AT_ONCE: usize = 32;
/// A comparison that is over sooner than this allows is followed by the next one at once.
const LONG_PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at a manifest that was wrong.
const RETRY: Duration = Duration::from_mins(1);
/// Between two tries to read one.
const AGAIN: Duration = Duration::from_secs(3);
/// After so many failed looks at a copy, while others go well, the store cannot read it.
const PATIENCE: u8 = 3;

/// What counting has shown, and when it is due again.
#[derive(Debug, Default)]
pub struct Presence {
    census: Option<Census>,
    due: Option<Instant>,
    /// The count that is being made.
    counting: Option<Box<Count>>,
    /// Copies whose sums differ and that wait to be compared.
    differing: BTreeSet<Sequence>,
    /// How often in a row a copy could not be compared.
    uncompared: BTreeMap<Sequence, u8>,
    /// Before this none of them is: a comparison that takes long is followed by a pause.
    compares_again: Option<Instant>,
    /// How often in a row a copy's manifest could not be looked at, and when it is tried again.
    tries: BTreeMap<Sequence, (u8, Instant)>,
    sampled: Option<Instant>,
}

impl Presence {
    /// What the last count found wrong beside the copies.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.census.iter().flat_map(|census| &census.findings)
    }

    /// The bytes of all versions; `None` before the first count.
    #[must_use]
    pub fn used_bytes(&self) -> Option<u64> {
        self.census.as_ref().map(|census| census.used_bytes)
    }

    /// What the last count found; `None` before the first.
    #[must_use]
    pub const fn census(&self) -> Option<&Census> {
        self.census.as_ref()
    }
}

impl Keeper {
    /// Reads the manifests of copies that are new, and again those that were wrong.
    pub(super) async fn examine(&mut self, assignment: &Assignment) -> Result<Left, StoreError> {
        let now = Instant::now();
        let tries = &mut self.presence.tries;
        let (waiting, more) = {
            let holdings = self.holdings.lock();
            tries.retain(|sequence, _| holdings.copies.contains_key(sequence));
            let is_due = |held: &&Held| {
                let before = tries.get(&held.reference.sequence);
                let is_open = !matches!(held.manifest, Manifest::Sound(_)) && held.twin_of.is_none();
                is_open && before.is_none_or(|(_, again)| *again <= now)
            };
            let due = holdings.copies.values().rev().filter(is_due);
            let mut due: Vec<Held> = due.take(AT_ONCE + 1).cloned().collect();
            let more = due.len() > AT_ONCE;
            due.truncate(AT_ONCE);
            (due, more)
        };
        if waiting.is_empty() {
            return Ok(Left::Nothing);
        }
        let Some(_heavy) = self.heavy() else {
            return Ok(Left::Heavy);
        };
        for held in &waiting {
            if now.elapsed() >= TURN {
                return Ok(Left::More);
            }
            let examined = self.examine_one(assignment, held).await;
            let sequence = held.reference.sequence;
            let (tries, _) = self.presence.tries.get(&sequence).copied().unwrap_or((0, now));
            let again = now + RETRY;
            let manifest = match examined {
                Ok(manifest) => {
                    self.presence.tries.insert(sequence, (0, again));
                    manifest
                }
                Err(error) if tries + 1 >= PATIENCE => {
                    // A store that is away altogether says nothing about this copy.
                    assignment.store.answers().await?;
                    self.presence.tries.insert(sequence, (tries, again));
                    Manifest::Wrong(Box::new(Damage {
                        fault: CopyFault::Unreadable,
                        objects: 1,
                        example: error.to_string(),
                    }))
                }
                Err(error) => {
                    tracing::warn!(registry = %self.registry, %sequence, %error, "a copy's manifest cannot be read yet");
                    self.presence.tries.insert(sequence, (tries + 1, now + AGAIN));
                    continue;
                }
            };
            if let Some(held) = self.holdings.lock().copies.get_mut(&sequence) {
                held.note_manifest(manifest);
            }
            self.office.to_read.notify_one();
        }
        Ok(if more { Left::More } else { Left::Nothing })
    }

    async fn examine_one(&self, assignment: &Assignment, held: &Held) -> Result<Manifest, StoreError> {
        let (store, registry) = (&assignment.store, &self.registry);
        let body = match read_entry(store, registry, held).await {
            Ok(body) => body,
            Err(ObjectError::Damaged(damage)) => return Ok(Manifest::Wrong(Box::new(damage))),
            Err(ObjectError::Store(error)) => return Err(error),
        };
        let examined = examine(store, registry, &body, &self.office.tally_key).await?;
        let locks = examined.locks.iter();
        for (part, lock) in locks {
            self.note_lock(
                assignment,
                held.reference.sequence,
                part.name,
                &part.version,
                lock,
            );
        }
        Ok(examined.manifest)
    }

    /// Judges a lock that was seen, and keeps the earliest end.
    pub(super) fn note_lock(
        &self,
        assignment: &Assignment,
        sequence: Sequence,
        object: CopyObject,
        version: &dataembassy_ledger::VersionId,
        lock: &ObjectLock,
    ) {
        let fault = assignment.configuration.lock.fault(lock, Timestamp::now());
        let mut holdings = self.holdings.lock();
        let Some(held) = holdings.copies.get_mut(&sequence) else {
            return;
        };
        held.locks.see(object, version, lock, fault);
    }

    /// Counts what is in the store, when it is time.
    pub(super) async fn count_if_due(&mut self, assignment: &Assignment) -> Result<Left, StoreError> {
        let count = match self.presence.counting.take() {
            Some(count) => count,
            None => match self.begin_to_count(assignment).await? {
                Some(count) => Box::new(count),
                None => return Ok(Left::Nothing),
            },
        };
        let Pass {
            census,
            expected,
            took,
        } = match count.advance().await? {
            Counted::Partly(count) => {
                self.presence.counting = Some(count);
                return Ok(Left::More);
            }
            Counted::Wholly(pass) => *pass,
        };
        let pause = (took * SHARE).clamp(self.office.timing.count.min(MOST_BETWEEN), MOST_BETWEEN);
        self.presence.due = Some(Instant::now() + pause);
        self.take_over(&expected, &census);
        let sampled = self.sample_locks(assignment, &census.sample).await;
        self.presence.census = Some(census);
        sampled.map(|()| Left::More)
    }

    async fn begin_to_count(&mut self, assignment: &Assignment) -> Result<Option<Count>, StoreError> {
        let Some(ledger) = &mut self.ledger else {
            return Ok(None);
        };
        if self.presence.due.is_some_and(|due| Instant::now() < due) {
            return Ok(None);
        }
        ledger.recheck(assignment, &self.holdings).await?;
        let expected = Expected::new(
            self.registry.clone(),
            &self.holdings.lock(),
            ledger.view().clone(),
            ledger.source_head().map(|head| head.sequence),
            ledger.custody_head().map(|head| head.sequence),
        );
        Ok(Some(Count::begin(
            &assignment.store,
            expected,
            self.office.tally_key,
        )))
    }

    /// Holds the sums of a count against what the manifests say.
    fn take_over(&mut self, expected: &Expected, census: &Census) {
        let mut holdings = self.holdings.lock();
        holdings
            .expired
            .retain(|copy, _| census.expired.contains_key(copy));
        self.presence
            .uncompared
            .retain(|sequence, _| holdings.copies.contains_key(sequence));
        for (copy, sequence) in expected.copies() {
            let Some(held) = holdings.copies.get_mut(sequence) else {
                continue;
            };
            let Manifest::Sound(named) = held.manifest else {
                continue;
            };
            let found = census.copies.get(copy).copied().unwrap_or_default();
            if found == named {
                self.presence.uncompared.remove(sequence);
                held.note_listed(Listed::whole(found));
            } else if held.listed.compared != Some(found) {
                self.presence.differing.insert(*sequence);
            }
        }
    }

    /// Finds out what exactly differs in one copy: the newest first.
    pub(super) async fn compare_if_due(&mut self, assignment: &Assignment) -> Result<Left, StoreError> {
        let began = Instant::now();
        let waits = self.presence.compares_again.is_some_and(|again| began < again);
        let Some(sequence) = self.presence.differing.last().copied().filter(|_| !waits) else {
            return Ok(Left::Nothing);
        };
        let held = self.holdings.lock().copies.get(&sequence).cloned();
        let Some(held) = held else {
            self.presence.differing.remove(&sequence);
            self.presence.uncompared.remove(&sequence);
            return Ok(Left::More);
        };
        let Some(_heavy) = self.heavy() else {
            return Ok(Left::Heavy);
        };
        let compared = self.compare_one(assignment, &held).await;
        let pause = began.elapsed() * SHARE;
        self.presence.compares_again = (pause >= LONG_PAUSE).then(|| began + pause);
        // One that cannot be compared now comes again with the next count, and keeps nothing else from being done.
        self.presence.differing.remove(&sequence);
        let compared = match compared {
            Ok(comparison) => Ok(comparison),
            Err(ObjectError::Damaged(damage)) => Err(damage),
            Err(ObjectError::Store(error)) => {
                tracing::warn!(registry = %self.registry, %sequence, %error, "a copy's objects cannot be compared yet");
                // A store that is away altogether says nothing about this copy.
                assignment.store.answers().await?;
                let tries = self.presence.uncompared.entry(sequence).or_default();
                *tries = tries.saturating_add(1);
                if *tries < PATIENCE {
                    return Ok(Left::More);
                }
                Err(Damage {
                    fault: CopyFault::Unreadable,
                    objects: 1,
                    example: error.to_string(),
                })
            }
        };
        self.presence.uncompared.remove(&sequence);
        if let Some(held) = self.holdings.lock().copies.get_mut(&sequence) {
            match compared {
                Ok(comparison) => held.note_listed(Listed::compared(comparison)),
                Err(damage) => held.note_manifest(Manifest::Wrong(Box::new(damage))),
            }
        }
        Ok(Left::More)
    }

    async fn compare_one(
        &self,
        assignment: &Assignment,
        held: &Held,
    ) -> Result<super::comparison::Comparison, ObjectError> {
        let (store, registry) = (&assignment.store, &self.registry);
        let body = read_entry(store, registry, held).await?;
        compare(store, registry, &body, &self.office.tally_key).await
    }

    /// Looks at the locks of a few objects, and again at those that were not as they must be.
    async fn sample_locks(&mut self, assignment: &Assignment, sample: &[Drawn]) -> Result<(), StoreError> {
        let (now, period) = (Instant::now(), self.office.timing.sample);
        let mut looked_at: Vec<(Sequence, LockFault)> = Vec::new();
        let mut drawn: Vec<(Sequence, &Drawn)> = Vec::new();
        {
            let holdings = self.holdings.lock();
            let faults = holdings.copies.values();
            let faults = faults
                .filter_map(|held| Some((held.reference.sequence, held.locks.fault.as_deref()?.clone())));
            looked_at.extend(faults.take(AT_ONCE));
            let since = |at: Instant| now.duration_since(at) >= period;
            if self.presence.sampled.is_none_or(since) {
                let place = |one: &Drawn| {
                    let held = holdings.copies.values().find(|held| held.copy == one.copy)?;
                    Some(held.reference.sequence)
                };
                drawn.extend(sample.iter().filter_map(|one| Some((place(one)?, one))));
                self.presence.sampled = Some(now);
            }
        }
        let again = looked_at
            .iter()
            .map(|(sequence, fault)| (*sequence, fault.object, &fault.version));
        let drawn = drawn
            .iter()
            .map(|(sequence, one)| (*sequence, one.object, &one.version));
        for (sequence, object, version) in again.chain(drawn) {
            if let Err(error) = self.look_at_lock(assignment, sequence, object, version).await {
                tracing::warn!(registry = %self.registry, %sequence, %error, "a lock cannot be looked at yet");
                // A store that is away altogether fails at all of them.
                assignment.store.answers().await?;
            }
        }
        Ok(())
    }

    async fn look_at_lock(
        &self,
        assignment: &Assignment,
        sequence: Sequence,
        object: CopyObject,
        version: &dataembassy_ledger::VersionId,
    ) -> Result<(), StoreError> {
        let Some(copy) = self.holdings.lock().copies.get(&sequence).map(|held| held.copy) else {
            return Ok(());
        };
        let key = dataembassy_ledger::ObjectKey::Copy {
            registry: self.registry.clone(),
            copy,
            object,
        };
        match assignment.store.head(&key, version).await {
            Ok(head) => self.note_lock(assignment, sequence, object, version, &head.lock),
            // Whether it is there is another question, and asked elsewhere.
            Err(StoreError::ObjectMissing { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

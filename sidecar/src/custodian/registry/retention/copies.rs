//! Locks of what is kept: when half of a copy's is left, every object that the copy names is locked anew, some of them in each turn.
//!
//! Only what the manifest and the entry name is locked: what somebody else puts into a copy's folder must not stay as long as the copy.
//! The last part of the manifest is locked last, to the earliest end of all the others, so whoever comes after a restart needs to look
//! at that one object alone.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::entry::PartRef;
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::manifest::ManifestReader;
use dataembassy_ledger::value::{CopyId, RegistryId, Sequence, VersionId};
use futures::future::join_all;
use jiff::Timestamp;

use super::Locked;
use crate::custodian::configuration::LockRule;
use crate::custodian::prolonging::{Aim, look, secure};
use crate::custodian::registry::holdings::{Held, LockFault, Locks, Manifest};
use crate::custodian::registry::{Assignment, Keeper, Left, ObjectError, TURN, read_entry, read_part};
use crate::process::clock::{Now, has_passed};
use crate::store::{Store, StoreError};

/// How many objects of a copy are lined up at a time, about 100 bytes each. A copy with more of them has its manifest read again for the next.
const LINED_UP: usize = 16_384;
/// How many locks are prolonged at the same time.
const IN_FLIGHT: usize = 6;
/// At how many copies one turn looks, of which nobody knows how long they are locked.
const LOOKS: usize = 8;
/// What has no lock is told for so long before it gets one: somebody must hear that the store does not lock what comes.
const TOLD: Duration = Duration::from_mins(10);
/// After so many turns in which the store failed at one copy, while it answers otherwise, somebody must hear of it.
const PATIENCE: u8 = 3;
/// Before a copy is tried again whose entry or manifest cannot be used now.
const RETRY: Duration = Duration::from_mins(1);
/// The same where a lock stayed wrong, such as one of a weaker mode.
const REST: Duration = Duration::from_hours(1);

/// What is to be done about the locks of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Nobody knows how long it is locked.
    Look,
    /// They are to be prolonged.
    Prolong,
}

/// Whether a copy goes first: those that were not tried in vain do.
fn is_before(one: &Held, other: &Held) -> bool {
    one.locks.again < other.locks.again
}

/// A copy whose locks are being prolonged.
#[derive(Debug)]
pub struct Round {
    sequence: Sequence,
    copy: CopyId,
    manifest: Vec<PartRef>,
    inventory: Vec<PartRef>,
    /// What comes next.
    lined_up: VecDeque<(CopyObject, VersionId)>,
    /// How many segments were lined up.
    segments: u64,
    total: u64,
    /// Whether everything but the last part of the manifest was lined up.
    complete: bool,
    /// The earliest end of what was prolonged.
    until: Option<Timestamp>,
    fault: Option<LockFault>,
}

/// A copy at whose locks the store failed.
struct Halted {
    sequence: Sequence,
    error: StoreError,
}

/// What came of one lock.
enum Outcome {
    Done,
    /// The store refuses; this is why.
    Refused(String),
}

/// What is to be done about a copy. `told` says since when a missing lock is an alarm.
fn due(locks: &Locks, arrived_at: Timestamp, rule: &LockRule, told: Option<Timestamp>, now: Now) -> Due {
    let Locks {
        until,
        fault,
        secured,
        again,
    } = locks;
    if again.is_some_and(|again| now.moment < again) {
        return Due::Nothing;
    }
    let now = now.time;
    match fault.as_ref().map(|fault| fault.reason) {
        Some(Reason::LockMissing) if told.is_none_or(|told| !has_passed(told, TOLD, now)) => {
            return Due::Nothing;
        }
        Some(_) => return Due::Prolong,
        None => {}
    }
    let is_half_gone = |until: &Timestamp| rule.is_half_gone(*until, now);
    if until.as_ref().is_some_and(is_half_gone) {
        return Due::Prolong;
    }
    match secured {
        Some(secured) if is_half_gone(secured) => Due::Prolong,
        Some(_) => Due::Nothing,
        // What came of late has the lock that the store gives to everything that comes, or somebody was told.
        None if !rule.is_half_gone(rule.until(arrived_at), now) => Due::Nothing,
        None => Due::Look,
    }
}

impl Keeper {
    /// Prolongs some locks of living copies; `leaving` are those that go as soon as they may. A copy at which the store fails keeps nothing else
    /// from being done.
    pub(super) async fn prolong_copies(
        &mut self,
        assignment: &Assignment,
        leaving: &BTreeSet<Sequence>,
    ) -> Result<Left, StoreError> {
        let Halted { sequence, error } = match self.prolong_some(assignment, leaving).await {
            Ok(left) => return Ok(left),
            Err(halted) => halted,
        };
        // A store that is away altogether says nothing about this copy.
        assignment.store.answers().await?;
        let before = self.retention.halted.take();
        let tries = before.map_or(1, |(same, tries)| if same == sequence { tries + 1 } else { 1 });
        if tries < PATIENCE {
            tracing::warn!(registry = %self.registry, %sequence, %error, "the locks of a copy cannot be prolonged yet");
            self.retention.halted = Some((sequence, tries));
        } else {
            self.retention.round = None;
            self.put_off(sequence, RETRY);
            let what = format!("the locks of copy {sequence}, which is kept, cannot be prolonged: {error}");
            self.refuse(Locked::Copy(sequence), what);
        }
        Ok(Left::Nothing)
    }

    async fn prolong_some(
        &mut self,
        assignment: &Assignment,
        leaving: &BTreeSet<Sequence>,
    ) -> Result<Left, Halted> {
        let now = Now::read();
        if self.retention.round.is_none() {
            let Some(held) = self.choose(assignment, leaving, now).await? else {
                return Ok(Left::Nothing);
            };
            let begun = self.begin(assignment, &held).await;
            self.retention.round = begun.map_err(|error| Halted {
                sequence: held.reference.sequence,
                error,
            })?;
        }
        let Some(mut round) = self.retention.round.take() else {
            return Ok(Left::More);
        };
        let begun = Instant::now();
        loop {
            if !self.holdings.lock().copies.contains_key(&round.sequence) {
                return Ok(Left::More);
            }
            if round.lined_up.is_empty() {
                let Some(_heavy) = self.heavy() else {
                    self.retention.round = Some(round);
                    return Ok(Left::Heavy);
                };
                match self.line_up(assignment, &mut round).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(Left::More),
                    Err(error) => return Err(self.halt(round, error)),
                }
            }
            match round
                .advance(&assignment.store, &self.registry, &assignment.configuration.lock)
                .await
            {
                Ok(Outcome::Done) => self.retention.halted = None,
                Ok(Outcome::Refused(what)) => {
                    // The others have their turns before this one is tried again.
                    self.put_off(round.sequence, super::RETRY);
                    self.refuse(Locked::Copy(round.sequence), what);
                    return Ok(Left::Nothing);
                }
                Err(error) => return Err(self.halt(round, error)),
            }
            if round.is_over() {
                self.accept(Locked::Copy(round.sequence));
                self.end(round);
                return Ok(Left::More);
            }
            if begun.elapsed() >= TURN {
                self.retention.round = Some(round);
                return Ok(Left::More);
            }
        }
    }

    /// What is done stays done; the rest goes on when the store answers.
    fn halt(&mut self, round: Round, error: StoreError) -> Halted {
        let sequence = round.sequence;
        self.retention.round = Some(round);
        Halted { sequence, error }
    }

    /// The next copy whose locks are to be prolonged. Of those that nobody knows about, a few are looked at.
    async fn choose(
        &mut self,
        assignment: &Assignment,
        leaving: &BTreeSet<Sequence>,
        now: Now,
    ) -> Result<Option<Held>, Halted> {
        let rule = assignment.configuration.lock;
        let (mut unknown, mut next) = (Vec::new(), None);
        {
            let holdings = self.holdings.lock();
            let staying = holdings.copies.values();
            let staying = staying.filter(|held| !leaving.contains(&held.reference.sequence));
            for held in staying.filter(|held| matches!(held.manifest, Manifest::Sound(_))) {
                let told = self
                    .watchbook
                    .since(Reason::LockMissing, Some(held.reference.sequence));
                match due(&held.locks, held.arrived_at, &rule, told, now) {
                    Due::Prolong if next.as_ref().is_none_or(|next| is_before(held, next)) => {
                        next = Some(held.clone());
                    }
                    Due::Look if unknown.len() < LOOKS => unknown.push(held.clone()),
                    _ => {}
                }
            }
        }
        if next.is_some() {
            return Ok(next);
        }
        for held in unknown {
            let sequence = held.reference.sequence;
            let witness = self.look_at_witness(assignment, &held).await;
            let until = witness.map_err(|error| Halted { sequence, error })?;
            let mut holdings = self.holdings.lock();
            let Some(known) = holdings.copies.get_mut(&sequence) else {
                continue;
            };
            // A lock that is not there has ended.
            let until = until.unwrap_or(Timestamp::MIN);
            known.locks.secured = Some(until);
            known.locks.until.get_or_insert(until);
            if rule.is_half_gone(until, now.time) {
                return Ok(Some(known.clone()));
            }
        }
        Ok(None)
    }

    /// The end of the lock that was prolonged last of all in its copy.
    async fn look_at_witness(
        &self,
        assignment: &Assignment,
        held: &Held,
    ) -> Result<Option<Timestamp>, StoreError> {
        let body = match read_entry(&assignment.store, &self.registry, held).await {
            Ok(body) => body,
            // It is told elsewhere that the entry is not right.
            Err(ObjectError::Damaged(_)) => return Ok(None),
            Err(ObjectError::Store(error)) => return Err(error),
        };
        let Some(part) = body.manifest.last() else {
            return Ok(None);
        };
        let key = key(&self.registry, held.copy, part.name);
        let lock = look(&assignment.store, &key, &part.version).await?;
        Ok(lock.and_then(|lock| lock.until))
    }

    /// Begins with a copy; `None` where its entry cannot be read as what it was.
    async fn begin(&self, assignment: &Assignment, held: &Held) -> Result<Option<Round>, StoreError> {
        match read_entry(&assignment.store, &self.registry, held).await {
            Ok(body) => Ok(Some(Round {
                sequence: held.reference.sequence,
                copy: held.copy,
                manifest: body.manifest,
                inventory: body.inventory,
                lined_up: VecDeque::new(),
                segments: 0,
                total: body.totals.segments,
                complete: false,
                until: None,
                fault: None,
            })),
            Err(ObjectError::Damaged(_)) => {
                self.put_off(held.reference.sequence, RETRY);
                Ok(None)
            }
            Err(ObjectError::Store(error)) => Err(error),
        }
    }

    /// Lines up what comes next; false where the manifest cannot be used any more, which is told elsewhere.
    async fn line_up(&self, assignment: &Assignment, round: &mut Round) -> Result<bool, StoreError> {
        if round.segments < round.total {
            return match round.line_up_segments(&assignment.store, &self.registry).await {
                Ok(0) | Err(ObjectError::Damaged(_)) => {
                    self.put_off(round.sequence, RETRY);
                    Ok(false)
                }
                Ok(_) => Ok(true),
                Err(ObjectError::Store(error)) => Err(error),
            };
        }
        round.line_up_parts();
        Ok(true)
    }

    fn put_off(&self, sequence: Sequence, time: Duration) {
        if let Some(held) = self.holdings.lock().copies.get_mut(&sequence) {
            held.locks.again = Some(Instant::now() + time);
        }
    }

    fn end(&self, round: Round) {
        let mut holdings = self.holdings.lock();
        let Some(held) = holdings.copies.get_mut(&round.sequence) else {
            return;
        };
        held.locks = Locks {
            until: round.until,
            again: round.fault.as_ref().map(|_| Instant::now() + REST),
            fault: round.fault.map(Box::new),
            secured: round.until,
        };
        drop(holdings);
        tracing::info!(
            registry = %self.registry,
            sequence = round.sequence.get(),
            until = round.until.map(tracing::field::display),
            "the locks of a copy were prolonged"
        );
    }
}

impl Round {
    fn is_over(&self) -> bool {
        self.complete && self.lined_up.is_empty()
    }

    /// The next segments, in the manifest's order; how many there were.
    async fn line_up_segments(&mut self, store: &Store, registry: &RegistryId) -> Result<usize, ObjectError> {
        let (mut reader, mut number) = (ManifestReader::new(), 0);
        for part in &self.manifest {
            let (bytes, _) = read_part(store, registry, self.copy, part).await?;
            for record in reader.records(&bytes).into_iter().flatten() {
                // The manifest was read and found right before.
                let Ok(record) = record else { break };
                number += 1;
                if number <= self.segments {
                    continue;
                }
                self.segments = number;
                self.lined_up
                    .push_back((CopyObject::Segment(record.number), record.version));
                if self.lined_up.len() == LINED_UP {
                    return Ok(LINED_UP);
                }
            }
        }
        Ok(self.lined_up.len())
    }

    /// Prolongs a few of what is lined up.
    async fn advance(
        &mut self,
        store: &Store,
        registry: &RegistryId,
        rule: &LockRule,
    ) -> Result<Outcome, StoreError> {
        let now = Timestamp::now();
        let aim = self.aim(rule, now);
        // The last one tells of all the others, so it waits for them.
        let is_last = self.complete && self.lined_up.len() == 1;
        let spared = usize::from(self.complete && !is_last);
        let count = IN_FLIGHT.min(self.lined_up.len() - spared);
        let some = self.lined_up.iter().take(count);
        let securing = some.map(|(object, version)| {
            let key = key(registry, self.copy, *object);
            async move { secure(store, &key, version, rule, aim).await }
        });
        let secured = join_all(securing).await;
        for outcome in secured {
            let lock = match outcome {
                Ok(lock) => lock,
                Err(error) if error.is_permanent() => {
                    let (sequence, object) =
                        (self.sequence, self.lined_up.front().map(|(object, _)| *object));
                    let object = object.map(|object| object.to_string()).unwrap_or_default();
                    let what = format!(
                        "copy {sequence} is kept, and locks of its objects, such as {object}, cannot be prolonged: {error}"
                    );
                    return Ok(Outcome::Refused(what));
                }
                Err(error) => return Err(error),
            };
            let Some((object, version)) = self.lined_up.pop_front() else {
                break;
            };
            // Whether it is there is another question, and asked elsewhere.
            let Some(lock) = lock else { continue };
            self.until = match self.until {
                Some(until) => Some(until).min(lock.until),
                None => lock.until,
            };
            if let Some((reason, what)) = rule.fault(&lock, now) {
                self.fault.get_or_insert(LockFault {
                    reason,
                    what: format!("object {object}: {what}"),
                    object,
                    version,
                });
            }
        }
        Ok(Outcome::Done)
    }

    /// What each lock is to become; that of the last object tells how long all are locked at least.
    fn aim(&self, rule: &LockRule, now: Timestamp) -> Aim {
        match self.until {
            Some(until) if self.complete && self.lined_up.len() == 1 => Aim { least: until, until },
            _ => Aim::of(rule, now),
        }
    }

    /// Everything else, the last part of the manifest last.
    fn line_up_parts(&mut self) {
        let parts = self.inventory.iter().chain(&self.manifest);
        self.lined_up
            .extend(parts.map(|part| (part.name, part.version.clone())));
        self.complete = true;
    }
}

fn key(registry: &RegistryId, copy: CopyId, object: CopyObject) -> ObjectKey {
    ObjectKey::Copy {
        registry: registry.clone(),
        copy,
        object,
    }
}

#[cfg(test)]
mod tests {
    use dataembassy_contract::config::LockMode;
    use jiff::SignedDuration;

    use super::*;

    /// Of ten days.
    const RULE: LockRule = LockRule {
        mode: LockMode::Compliance,
        length: Duration::from_hours(240),
    };

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    fn locks(until: Option<i64>, secured: Option<i64>) -> Locks {
        Locks {
            until: until.map(at),
            secured: secured.map(at),
            ..Locks::default()
        }
    }

    fn with_fault(reason: Reason) -> Locks {
        let object: CopyObject = "00000001".parse().unwrap();
        Locks {
            fault: Some(Box::new(LockFault {
                reason,
                what: String::new(),
                object,
                version: "a".parse().unwrap(),
            })),
            ..Locks::default()
        }
    }

    fn now(time: Timestamp) -> Now {
        Now {
            time,
            moment: Instant::now(),
        }
    }

    fn due_at(locks: &Locks, hours: i64) -> Due {
        due(locks, at(0), &RULE, None, now(at(hours)))
    }

    #[test]
    fn what_came_of_late_waits_and_what_nobody_knows_about_is_looked_at() {
        assert_eq!(due_at(&locks(None, None), 119), Due::Nothing);
        assert_eq!(due_at(&locks(None, None), 121), Due::Look);
        assert_eq!(due_at(&locks(None, Some(400)), 121), Due::Nothing);
        assert_eq!(due_at(&locks(None, Some(400)), 281), Due::Prolong);
    }

    #[test]
    fn a_lock_that_was_seen_to_end_soon_counts_whatever_else_is_known() {
        assert_eq!(due_at(&locks(Some(100), None), 1), Due::Prolong);
        assert_eq!(due_at(&locks(Some(200), Some(400)), 81), Due::Prolong);
        assert_eq!(due_at(&with_fault(Reason::LockTooShort), 1), Due::Prolong);
    }

    #[test]
    fn a_missing_lock_is_told_for_a_while_before_it_is_given() {
        let missing = with_fault(Reason::LockMissing);
        let at_minute = |told: Option<i64>, minute: i64| {
            let time = |minute| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
            due(&missing, at(0), &RULE, told.map(time), now(time(minute)))
        };
        assert_eq!(at_minute(None, 30), Due::Nothing);
        assert_eq!(at_minute(Some(25), 30), Due::Nothing);
        assert_eq!(at_minute(Some(20), 30), Due::Prolong);
    }

    #[test]
    fn what_was_tried_in_vain_waits_whatever_the_calendar_says() {
        let mut tried = locks(Some(100), None);
        tried.again = Some(Instant::now() + REST);
        assert_eq!(due_at(&tried, 3), Due::Nothing);
        tried.again = Some(Instant::now());
        assert_eq!(due_at(&tried, 3), Due::Prolong);
    }
}

//! What is recorded before anything goes: pins, expired copies, and copies that never came to their entry. One entry at a time, and few of
//! them: what becomes due within an interval is recorded together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dataembassy_ledger::entry::{
    CustodyBody, ExpiredCopy, ExpiryBody, MAX_EXPIRED, MAX_PIN_REASON, MAX_VOID, PinBody, VoidBody,
};
use dataembassy_ledger::retention::Plan;
use dataembassy_ledger::value::{CopyId, Sequence};
use jiff::Timestamp;

use super::sweep::Folders;
use crate::custodian::registry::ledger::LedgerState;
use crate::custodian::registry::{Assignment, Keeper, Left};
use crate::process::clock::{Now, has_passed};
use crate::store::StoreError;

/// Since when the plan lets copies go: a copy is recorded as expired only when it was in every plan for an interval, so that nothing goes by
/// a fault that passes, and people can see what will. No calendar that is set can make the interval shorter.
#[derive(Debug, Default)]
pub struct Pending(BTreeMap<Sequence, Instant>);

impl Pending {
    /// Takes in the latest plan.
    pub fn note(&mut self, plan: &Plan, now: Instant) {
        let before = std::mem::take(&mut self.0);
        self.0 = plan
            .expiring
            .iter()
            .map(|copy| (copy.sequence, before.get(&copy.sequence).copied().unwrap_or(now)))
            .collect();
    }

    /// Nothing may go: what does is seen anew.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// The copies that may be recorded now, ascending: full entries at once, others when there was none for an interval.
    #[must_use]
    pub fn ripe(&self, interval: Duration, last: Option<Timestamp>, now: Now) -> Vec<Sequence> {
        let ripe = self.0.iter();
        let ripe = ripe.filter(|(_, since)| now.moment.duration_since(**since) >= interval);
        let ripe: Vec<Sequence> = ripe.map(|(sequence, _)| *sequence).take(MAX_EXPIRED).collect();
        if ripe.len() == MAX_EXPIRED || last.is_none_or(|last| has_passed(last, interval, now.time)) {
            ripe
        } else {
            Vec::new()
        }
    }
}

impl Keeper {
    /// Writes the next entry that is due.
    pub(super) async fn record(&mut self, assignment: &Assignment) -> Result<Left, StoreError> {
        let now = Now::read();
        let body = self.next_pin(assignment);
        let body = body.or_else(|| self.next_expiry(now));
        let Some(body) = body.or_else(|| self.next_void(assignment, now.time)) else {
            return Ok(Left::Nothing);
        };
        // Another custodian may have come first; what is due then is thought of anew.
        let written = self.append(assignment, body, now.time).await?;
        Ok(if written { Left::More } else { Left::Nothing })
    }

    /// A pin that the chain does not tell of, or one that it tells of and that is none any more. Those come first: a `standing` has
    /// place for as many as a configuration.
    fn next_pin(&self, assignment: &Assignment) -> Option<CustodyBody> {
        let pinned = self.ledger.as_ref()?.view().pins();
        let wanted = &assignment.settings.pins;
        let is_wanted = |sequence: &&Sequence| wanted.iter().any(|(pin, _)| pin == *sequence);
        if let Some(sequence) = pinned.iter().find(|sequence| !is_wanted(sequence)) {
            return Some(CustodyBody::Pin(PinBody {
                source_sequence: *sequence,
                pinned: false,
                reason: None,
            }));
        }
        let holdings = self.holdings.lock();
        let is_new =
            |(pin, _): &&(Sequence, String)| !pinned.contains(pin) && holdings.copies.contains_key(pin);
        let (sequence, reason) = wanted.iter().find(is_new)?;
        let reason: String = reason
            .chars()
            .filter(|letter| !letter.is_control())
            .take(MAX_PIN_REASON)
            .collect();
        Some(CustodyBody::Pin(PinBody {
            source_sequence: *sequence,
            pinned: true,
            reason: (!reason.is_empty()).then_some(reason),
        }))
    }

    fn next_expiry(&self, now: Now) -> Option<CustodyBody> {
        let last = self.ledger.as_ref()?.custody().recorded().expiry;
        let ripe = self.retention.pending.ripe(self.office.timing.expiry, last, now);
        let holdings = self.holdings.lock();
        let copies = ripe.into_iter().filter_map(|sequence| {
            let held = holdings.copies.get(&sequence)?;
            Some(ExpiredCopy {
                sequence,
                copy_id: held.copy,
            })
        });
        let copies: Vec<ExpiredCopy> = copies.collect();
        (!copies.is_empty()).then_some(CustodyBody::Expiry(ExpiryBody { copies }))
    }

    fn next_void(&self, assignment: &Assignment, now: Timestamp) -> Option<CustodyBody> {
        let ledger = self.ledger.as_ref()?;
        let copies = self.to_give_up(assignment, ledger, now)?;
        let last = ledger.custody().recorded().void;
        let is_time = last.is_none_or(|last| has_passed(last, self.office.timing.expiry, now));
        let is_due = !copies.is_empty() && (is_time || copies.len() == MAX_VOID);
        is_due.then_some(CustodyBody::Void(VoidBody { copies, order: None }))
    }

    fn to_give_up(
        &self,
        assignment: &Assignment,
        ledger: &LedgerState,
        now: Timestamp,
    ) -> Option<Vec<CopyId>> {
        let census = self.presence.census()?;
        let configuration = &assignment.configuration;
        let holdings = self.holdings.lock();
        let is_void = |copy: CopyId| ledger.view().is_void(copy);
        let is_living = |copy: CopyId| holdings.copies.values().any(|held| held.copy == copy);
        let folders = Folders {
            unnamed: &census.unnamed,
            void: census.unnamed.keys().filter(|copy| is_void(**copy)).count(),
            least_age: configuration
                .sweep_after
                .max(configuration.lock.length)
                .max(self.office.locks_on_arrival()),
            known_since: self.retention.recall.known_since(),
            now,
        };
        Some(
            folders
                .to_give_up(|copy| is_void(copy) || holdings.expired.contains_key(&copy) || is_living(copy)),
        )
    }
}

#[cfg(test)]
mod tests {
    use dataembassy_ledger::retention::{Expiring, Quality};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(100);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn plan(numbers: impl IntoIterator<Item = u64>) -> Plan {
        let expiring = numbers.into_iter().map(|number| Expiring {
            sequence: Sequence::new(number).unwrap(),
            arrived_at: at(0),
            quality: Quality::Intact,
            sealed_bytes: 1,
        });
        Plan {
            kept: Vec::new(),
            expiring: expiring.collect(),
        }
    }

    /// So many seconds after the first look, by both clocks; the calendar may have been set since.
    struct Look {
        first: Instant,
        set_by: i64,
    }

    impl Look {
        fn first() -> Self {
            Self {
                first: Instant::now(),
                set_by: 0,
            }
        }

        fn after(&self, seconds: u32) -> Now {
            Now {
                time: at(self.set_by + i64::from(seconds)),
                moment: self.first + Duration::from_secs(seconds.into()),
            }
        }
    }

    fn ripe(pending: &Pending, last: Option<i64>, now: Now) -> Vec<u64> {
        let ripe = pending.ripe(INTERVAL, last.map(at), now);
        ripe.into_iter().map(Sequence::get).collect()
    }

    #[test]
    fn a_copy_is_recorded_only_when_every_plan_of_an_interval_lets_it_go() {
        let (mut pending, look) = (Pending::default(), Look::first());
        pending.note(&plan([1, 2]), look.after(0).moment);
        pending.note(&plan([1, 3]), look.after(50).moment);
        pending.note(&plan([1, 2, 3]), look.after(60).moment);
        assert!(ripe(&pending, None, look.after(99)).is_empty());
        assert_eq!(ripe(&pending, None, look.after(100)), [1]);
        assert_eq!(ripe(&pending, None, look.after(160)), [1, 2, 3]);
        pending.forget();
        pending.note(&plan([1, 2, 3]), look.after(200).moment);
        assert!(ripe(&pending, None, look.after(250)).is_empty());
    }

    #[test]
    fn what_becomes_due_within_an_interval_is_recorded_together_and_full_entries_at_once() {
        let (mut pending, look) = (Pending::default(), Look::first());
        pending.note(&plan([1, 2]), look.after(0).moment);
        assert!(ripe(&pending, Some(150), look.after(200)).is_empty());
        assert_eq!(ripe(&pending, Some(150), look.after(250)), [1, 2]);
        pending.note(&plan(1..=300), look.after(0).moment);
        let full = ripe(&pending, Some(150), look.after(200));
        assert_eq!((full.len(), full.last()), (256, Some(&256)));
    }

    #[test]
    fn a_calendar_that_is_set_makes_no_copy_ripe() {
        let (mut pending, mut look) = (Pending::default(), Look::first());
        pending.note(&plan([1]), look.after(0).moment);
        look.set_by = 10 * 365 * 86_400;
        assert!(ripe(&pending, Some(0), look.after(99)).is_empty());
        assert_eq!(ripe(&pending, Some(0), look.after(100)), [1]);
        look.set_by = -look.set_by;
        assert_eq!(ripe(&pending, Some(0), look.after(100)), [1]);
    }
}

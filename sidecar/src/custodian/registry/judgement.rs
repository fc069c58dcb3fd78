//! What the facts about a registry mean: is it safe? No I/O; the time is an argument.

use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::Alarm;
use dataembassy_contract::report::{Check, CheckState};
use dataembassy_ledger::RegistryId;
use dataembassy_ledger::value::Sequence;
use jiff::{SignedDuration, Timestamp};

use super::holdings::HoldingsState;
use crate::custodian::finding::{Finding, Loss, Standing, is_of_the_bytes, is_of_the_ledger, worst};
use crate::store::clocks_agree;

/// Beyond the period by this share of it, reading back is overdue.
pub const OVERDUE_PARTS: u32 = 10;

/// What is judged beside the copies themselves.
#[derive(Clone, Copy, Debug)]
pub struct Measures {
    /// The oldest that the latest copy may be.
    pub rpo: Duration,
    /// The most bytes that the registry may have.
    pub quota_bytes: Option<u64>,
    /// The bytes that it has; `None` before they were counted.
    pub used_bytes: Option<u64>,
    /// Within this time every living copy is read back.
    pub period: Duration,
    /// From when on the custodian owes that.
    pub watched_since: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// The time that has come by our clock and by the store's, which is `ahead` of ours by so many milliseconds. Where they differ, one of them is wrong,
/// and that is told by itself: what is late by one of them only would be an alarm that takes itself back.
#[must_use]
pub fn time_of_both(ours: Timestamp, ahead: Option<i64>) -> Timestamp {
    let behind = ahead.filter(|ahead| *ahead < 0 && !clocks_agree(*ahead));
    behind
        .and_then(|ahead| ours.checked_add(SignedDuration::from_millis(ahead)).ok())
        .unwrap_or(ours)
}

/// Freshness, a date that cannot be, quota, and copies that nobody has read for too long.
#[must_use]
pub fn measure(holdings: &HoldingsState, measures: &Measures) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(staleness(holdings, measures));
    findings.extend(dated_ahead(holdings));
    findings.extend(fullness(measures));
    findings.extend(overdue(holdings, measures));
    findings
}

/// The moment that the newest copy shows. A source whose clock is ahead does not make copies younger than they can be.
#[must_use]
pub fn newest_moment(holdings: &HoldingsState) -> Option<(Sequence, Timestamp)> {
    let held = holdings.copies.values().next_back()?;
    Some((held.reference.sequence, held.moment()))
}

/// A latest copy that says it was taken after it had come. It counts as old as its entry is in the store, but a person must know: the clock at home
/// is wrong, or somebody there lies about time. It heals with the next copy.
fn dated_ahead(holdings: &HoldingsState) -> Option<Finding> {
    let held = holdings.copies.values().next_back()?;
    let ahead = held.taken_at.as_millisecond() - held.arrived_at.as_millisecond();
    (ahead > 0 && !clocks_agree(ahead)).then(|| Finding {
        reason: Reason::DatedAhead,
        sequence: Some(held.reference.sequence),
        what: format!(
            "it is the latest copy, and says that it was taken at {:.0}, but it came at {:.0}, and counts as no younger than that",
            held.taken_at, held.arrived_at
        ),
        lost: Loss::Nothing,
    })
}

fn staleness(holdings: &HoldingsState, measures: &Measures) -> Option<Finding> {
    let (sequence, taken_at) = newest_moment(holdings)?;
    let age = measures.now.duration_since(taken_at);
    let rpo = SignedDuration::try_from(measures.rpo).unwrap_or(SignedDuration::MAX);
    (age > rpo).then(|| Finding {
        reason: Reason::RpoMissed,
        sequence: Some(sequence),
        what: format!(
            "it is the latest copy, taken {} minutes ago, and the recovery point objective is {} minutes",
            age.as_secs() / 60,
            measures.rpo.as_secs() / 60
        ),
        lost: Loss::Nothing,
    })
}

fn fullness(measures: &Measures) -> Option<Finding> {
    let (quota, used) = measures.quota_bytes.zip(measures.used_bytes)?;
    (used >= quota).then(|| Finding {
        reason: Reason::QuotaExceeded,
        sequence: None,
        what: format!("it has {used} bytes in the store, and its quota is {quota}"),
        lost: Loss::Nothing,
    })
}

fn overdue(holdings: &HoldingsState, measures: &Measures) -> Option<Finding> {
    let limit = measures.period + measures.period / OVERDUE_PARTS;
    let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
    let late: Vec<Sequence> = holdings
        .copies
        .values()
        .filter(|held| held.fault().is_none())
        .filter(|held| {
            let owed = held.arrived_at.max(measures.watched_since);
            let last = held.read.verified_at.unwrap_or(owed);
            measures.now.duration_since(last) > limit
        })
        .map(|held| held.reference.sequence)
        .collect();
    let first = *late.first()?;
    let which = match late.len() {
        1 => "it was".to_owned(),
        copies => format!("{copies} copies, the oldest of them {first}, were"),
    };
    let period = SignedDuration::try_from(measures.period).unwrap_or(SignedDuration::MAX);
    Some(Finding {
        reason: Reason::VerificationOverdue,
        sequence: Some(first),
        what: format!("{which} not read back within the last {period:#}"),
        lost: Loss::Nothing,
    })
}

/// What still stands.
#[must_use]
pub fn standing(holdings: &HoldingsState, head: Option<Sequence>) -> Standing {
    Standing {
        sound: holdings.sound(),
        intact: holdings
            .newest_intact()
            .map(|held| (held.reference.sequence, held.taken_at)),
        head,
    }
}

/// What the two checks of a registry are judged by, and whose they are.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The registry.
    pub registry: &'a RegistryId,
    /// Everything that is wrong now, worst first: a check that does not hold says what the alarm says.
    pub alarms: &'a [Alarm],
    /// Now.
    pub now: Timestamp,
}

impl Known<'_> {
    /// Whether the ledger is whole, in order, and signed by who may. `head` is its last entry, as far as it was read.
    #[must_use]
    pub fn ledger(&self, is_read: bool, head: Option<Sequence>, before: &Check) -> Check {
        let registry = self.registry;
        if let Some(alarm) = worst(self.alarms, is_of_the_ledger) {
            return self.alarmed(alarm, CheckState::False, before);
        }
        if !is_read {
            let why = format!("registry {registry}: the ledger is being read");
            return check(before, CheckState::Unknown, Reason::NotYetKnown, why, self.now);
        }
        let sound = match head {
            Some(head) => format!(
                "registry {registry}: the ledger is whole up to entry {head}, in order, and signed by who may"
            ),
            None => format!("registry {registry}: the ledger is empty, and nothing in it is wrong"),
        };
        check(before, CheckState::True, Reason::LedgerIntact, sound, self.now)
    }

    /// Whether every byte of the living copies was read back and equals the ledger. Copies that are newer than the newest one read back
    /// are on their way; one before it that was never read is not.
    #[must_use]
    pub fn intact(&self, holdings: &HoldingsState, before: &Check) -> Check {
        let (registry, now) = (self.registry, self.now);
        if let Some(alarm) = worst(self.alarms, is_of_the_bytes) {
            return self.alarmed(alarm, CheckState::False, before);
        }
        let unknown = |reason, why: String| {
            check(
                before,
                CheckState::Unknown,
                reason,
                format!("registry {registry}: {why}"),
                now,
            )
        };
        if holdings.copies.is_empty() {
            return unknown(Reason::NoCopyYet, "the ledger holds no copy".to_owned());
        }
        if let Some(alarm) = worst(self.alarms, |reason| reason == Reason::VerificationOverdue) {
            return self.alarmed(alarm, CheckState::Unknown, before);
        }
        let unread = |after: bool, newest: Sequence| {
            let unread = holdings
                .copies
                .values()
                .filter(|held| held.read.verified_at.is_none());
            unread
                .filter(|held| (held.reference.sequence > newest) == after)
                .count()
        };
        let of = holdings.copies.len();
        let Some(newest) = holdings.newest_intact() else {
            return unknown(
                Reason::Verifying,
                format!("the first of {of} copies is being read back"),
            );
        };
        let sequence = newest.reference.sequence;
        let waiting = unread(false, sequence);
        if waiting > 0 {
            let why = format!("{} of {of} copies were read back", of - waiting);
            return unknown(Reason::Verifying, why);
        }
        let on_its_way = match unread(true, sequence) {
            0 => "",
            _ => "; what came after it is being read back",
        };
        let proven = format!(
            "registry {registry}: every byte of copy {sequence}, taken {:.0}, and of the living copies before it was read back and \
             equals the ledger{on_its_way}",
            newest.taken_at
        );
        check(before, CheckState::True, Reason::Proven, proven, now)
    }

    fn alarmed(&self, alarm: &Alarm, state: CheckState, before: &Check) -> Check {
        check(before, state, alarm.reason, alarm.message.clone(), self.now)
    }
}

/// Keeps `since` while the same is found again.
#[must_use]
pub fn check(before: &Check, state: CheckState, reason: Reason, message: String, now: Timestamp) -> Check {
    let since = before
        .since
        .filter(|_| before.state == state && before.reason == reason);
    Check {
        state,
        reason,
        message,
        since: since.or(Some(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custodian::registry::made_up::held;

    fn sequence(number: u64) -> Sequence {
        Sequence::new(number).unwrap()
    }

    fn alarm(reason: Reason, message: &str) -> Alarm {
        Alarm {
            reason,
            message: message.to_owned(),
            since: Timestamp::UNIX_EPOCH,
            sequence: Some(7),
        }
    }

    fn judged(alarms: &[Alarm], is_read: bool, head: Option<u64>) -> (Check, Check) {
        let registry: RegistryId = "population".parse().unwrap();
        let known = Known {
            registry: &registry,
            alarms,
            now: Timestamp::UNIX_EPOCH,
        };
        let before = Check::default();
        (
            known.ledger(is_read, head.map(sequence), &before),
            known.intact(&HoldingsState::default(), &before),
        )
    }

    #[test]
    fn a_check_that_does_not_hold_says_what_the_worst_alarm_says() {
        let lost = "registry population, copy 7: an object is gone. Lost: this copy. Stands: 4 copies.";
        let back = "registry population, copy 7: the head is gone. Lost: every copy that came later. Stands: 4 copies.";
        let alarms = [
            alarm(Reason::RolledBack, back),
            alarm(Reason::ObjectMissing, lost),
            alarm(Reason::SecondVersion, "registry population: two versions"),
        ];
        let (ledger, intact) = judged(&alarms, true, Some(6));
        assert_eq!(
            (ledger.state, ledger.reason),
            (CheckState::False, Reason::RolledBack)
        );
        assert_eq!(ledger.message, back);
        assert_eq!(
            (intact.state, intact.reason),
            (CheckState::False, Reason::ObjectMissing)
        );
        assert_eq!(intact.message, lost);
    }

    #[test]
    fn nothing_is_late_before_both_clocks_say_so() {
        let ours = Timestamp::from_second(1_000_000).unwrap();
        let both = |ahead| time_of_both(ours, ahead).as_second();
        assert_eq!(both(Some(-3_600_000)), 996_400);
        assert_eq!(both(Some(3_600_000)), 1_000_000);
        // The store tells whole seconds only, and an answer takes its time.
        assert_eq!(both(Some(-1_500)), 1_000_000);
        assert_eq!(both(None), 1_000_000);
        assert_eq!(both(Some(i64::MIN)), 1_000_000);
    }

    /// What is told, a second after it came, of a latest copy that says that it was taken so many seconds after it had come.
    fn told_of_a_date(ahead: i64) -> Vec<Reason> {
        let mut holdings = HoldingsState::default();
        holdings.take(held(999));
        let mut latest = held(1_000);
        latest.taken_at = latest.arrived_at + SignedDuration::from_secs(ahead);
        holdings.take(latest);
        let now = Timestamp::from_second(1_001).unwrap();
        let measures = Measures {
            rpo: Duration::from_mins(10),
            quota_bytes: None,
            used_bytes: None,
            period: Duration::from_hours(1),
            watched_since: now,
            now,
        };
        let late = Measures {
            now: now + SignedDuration::from_mins(10),
            ..measures
        };
        let reasons = |measures| {
            let findings = measure(&holdings, measures).into_iter();
            findings.map(|finding| finding.reason).collect::<Vec<_>>()
        };
        // However far ahead, it is late when its entry is.
        assert!(reasons(&late).contains(&Reason::RpoMissed), "{ahead}");
        reasons(&measures)
    }

    #[test]
    fn a_latest_copy_that_is_dated_ahead_is_told_and_gets_no_younger_by_it() {
        const YEAR: i64 = 365 * 24 * 3_600;
        assert!(told_of_a_date(0).is_empty());
        // So much the clocks of two machines may differ by.
        assert!(told_of_a_date(300).is_empty());
        assert_eq!(told_of_a_date(302), [Reason::DatedAhead]);
        assert_eq!(told_of_a_date(10 * YEAR), [Reason::DatedAhead]);
        assert_eq!(told_of_a_date(-601), [Reason::RpoMissed]);
    }

    #[test]
    fn whatever_is_known_the_checks_name_the_registry() {
        for (is_read, head) in [(false, None), (true, None), (true, Some(6))] {
            let (ledger, intact) = judged(&[], is_read, head);
            for check in [ledger, intact] {
                assert!(check.message.starts_with("registry population: "), "{check:?}");
            }
        }
    }
}

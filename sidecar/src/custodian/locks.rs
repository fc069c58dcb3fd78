//! Whether a lock is as it must be. No clock is read here.

use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_contract::config::LockMode;
use jiff::{SignedDuration, Timestamp};

use super::configuration::LockRule;
use crate::store::ObjectLock;

/// Locks are prolonged when half of them is left. A day or two later somebody must be told.
const LONGEST_GRACE: Duration = Duration::from_hours(48);
/// How many times as long an entry is locked as what it names: entries are kept for ever, and there are many of them.
const ENTRIES: u32 = 8;
/// No entry is locked for longer than this unless everything is: the custody user's policy sets a limit.
const LONGEST_OF_ENTRIES: Duration = Duration::from_hours(3_650 * 24);
/// A store that counts locks in days may add one.
const MARGIN: Duration = Duration::from_hours(24);
/// Of a lock that was prolonged not long ago, so many quarters are left at least: it is left as it is.
const ENOUGH_QUARTERS: u32 = 3;

impl LockRule {
    /// The rule for entries and for `embassy.json`, which never go.
    #[must_use]
    pub fn of_entries(&self) -> Self {
        Self {
            length: self
                .length
                .saturating_mul(ENTRIES)
                .min(LONGEST_OF_ENTRIES)
                .max(self.length),
            ..*self
        }
    }

    /// Whether less than half of a lock is left, so that it must be prolonged.
    #[must_use]
    pub fn is_half_gone(&self, until: Timestamp, now: Timestamp) -> bool {
        until.duration_since(now) < signed(self.length / 2)
    }

    /// So much of a lock that ends then or later is left that prolonging it would be for nothing.
    #[must_use]
    pub fn fresh_from(&self, now: Timestamp) -> Timestamp {
        whole_seconds(now, self.length / 4 * ENOUGH_QUARTERS)
    }

    /// No lock that this embassy gives ends later: neither one of its own, nor that of a bucket that locks for somewhat longer.
    #[must_use]
    pub fn far_from(&self, now: Timestamp) -> Timestamp {
        whole_seconds(now, self.length.saturating_mul(2).saturating_add(MARGIN))
    }

    /// Until when what is prolonged now is locked.
    #[must_use]
    pub fn until(&self, now: Timestamp) -> Timestamp {
        whole_seconds(now, self.length)
    }

    /// The least that must be left of a lock of something that is kept.
    #[must_use]
    pub fn least_left(&self) -> Duration {
        (self.length / 2).saturating_sub(LONGEST_GRACE.min(self.length / 4))
    }

    /// What is wrong with a lock.
    #[must_use]
    pub fn fault(&self, lock: &ObjectLock, now: Timestamp) -> Option<(Reason, String)> {
        let needed = match self.mode {
            LockMode::Compliance => "COMPLIANCE",
            LockMode::Governance => "GOVERNANCE or COMPLIANCE",
        };
        let (Some(mode), Some(until)) = (lock.mode, lock.until) else {
            return Some((
                Reason::LockMissing,
                format!("it has no lock that our store user can see, but {needed} is needed"),
            ));
        };
        if mode == LockMode::Governance && self.mode == LockMode::Compliance {
            let why =
                format!("its lock is GOVERNANCE, which a special right can remove, but {needed} is needed");
            return Some((Reason::LockMissing, why));
        }
        if until.duration_since(now) < signed(self.least_left()) {
            let why = format!(
                "its lock ends {until:.0}, and {} hours of it must always be left",
                self.least_left().as_secs() / 3_600
            );
            return Some((Reason::LockTooShort, why));
        }
        None
    }
}

/// A moment after another one. A store counts in seconds.
fn whole_seconds(now: Timestamp, later: Duration) -> Timestamp {
    let later = now.checked_add(signed(later)).unwrap_or(Timestamp::MAX);
    Timestamp::from_second(later.as_second()).unwrap_or(later)
}

/// No duration of a configuration is too long for this.
fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(mode: LockMode) -> LockRule {
        LockRule {
            mode,
            length: Duration::from_hours(14 * 24),
        }
    }

    fn lock(mode: LockMode, days: i64) -> ObjectLock {
        ObjectLock {
            mode: Some(mode),
            until: Timestamp::from_second(days * 86_400).ok(),
        }
    }

    fn reason(rule: LockRule, lock: ObjectLock) -> Option<Reason> {
        rule.fault(&lock, Timestamp::UNIX_EPOCH).map(|(reason, _)| reason)
    }

    #[test]
    fn a_lock_that_anybody_can_lift_is_none() {
        let compliance = rule(LockMode::Compliance);
        assert_eq!(reason(compliance, lock(LockMode::Compliance, 14)), None);
        assert_eq!(
            reason(compliance, lock(LockMode::Governance, 14)),
            Some(Reason::LockMissing)
        );
        assert_eq!(
            reason(compliance, ObjectLock::default()),
            Some(Reason::LockMissing)
        );
        assert_eq!(
            reason(rule(LockMode::Governance), lock(LockMode::Governance, 14)),
            None
        );
        assert_eq!(
            reason(rule(LockMode::Governance), lock(LockMode::Compliance, 14)),
            None
        );
    }

    #[test]
    fn a_lock_of_which_half_is_long_gone_is_too_short() {
        let compliance = rule(LockMode::Compliance);
        assert_eq!(reason(compliance, lock(LockMode::Compliance, 5)), None);
        assert_eq!(
            reason(compliance, lock(LockMode::Compliance, 4)),
            Some(Reason::LockTooShort)
        );
    }

    #[test]
    fn a_lock_is_prolonged_when_half_is_left_and_before_anybody_is_told() {
        let compliance = rule(LockMode::Compliance);
        let (now, end) = (Timestamp::UNIX_EPOCH, |days: i64| {
            Timestamp::from_second(days * 86_400).unwrap()
        });
        assert!(!compliance.is_half_gone(end(7), now));
        assert!(compliance.is_half_gone(end(6), now));
        assert!(compliance.least_left() < compliance.length / 2);
        // What was prolonged a while ago is not prolonged again with what was not.
        assert!(end(11) >= compliance.fresh_from(now) && end(10) < compliance.fresh_from(now));
        assert_eq!(compliance.until(now), end(14));
        assert_eq!(compliance.of_entries().until(now), end(112));
    }
}

//! Whether a lock is as it must be. No clock is read here.

use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_contract::config::LockMode;
use jiff::{SignedDuration, Timestamp};

use super::configuration::LockRule;
use crate::store::ObjectLock;

/// Locks are prolonged when half of them is left. A day or two later somebody must be told.
const LONGEST_GRACE: Duration = Duration::from_hours(48);

impl LockRule {
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
        let least = SignedDuration::try_from(self.least_left()).unwrap_or(SignedDuration::ZERO);
        if until.duration_since(now) < least {
            let why = format!(
                "its lock ends {until:.0}, and {} hours of it must always be left",
                self.least_left().as_secs() / 3_600
            );
            return Some((Reason::LockTooShort, why));
        }
        None
    }
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
}

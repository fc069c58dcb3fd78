//! The two clocks of a machine: the calendar, which somebody may set, and the one that only goes on.
//!
//! What people schedule and what the ledger and the locks of a store say are times of the calendar. How long something waits is counted on the
//! other one: a calendar that is wrong for a minute must not hold anything up for the years that it was wrong by.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// What both clocks say.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The calendar's time, which somebody may set.
    pub time: Timestamp,
    /// The moment, for lengths of time.
    pub moment: Instant,
}

impl Now {
    /// Reads both.
    #[must_use]
    pub fn read() -> Self {
        Self {
            time: Timestamp::now(),
            moment: Instant::now(),
        }
    }
}

/// Something that happened while the process ran.
#[derive(Clone, Copy, Debug)]
pub struct Happened(Now);

impl Happened {
    /// It happens now.
    #[must_use]
    pub fn now() -> Self {
        Self(Now::read())
    }

    /// It happens at this moment.
    #[must_use]
    pub const fn at(now: Now) -> Self {
        Self(now)
    }

    /// How long ago it was.
    #[must_use]
    pub fn ago(&self, now: Now) -> Duration {
        now.moment.saturating_duration_since(self.0.moment)
    }

    /// When it was, by the calendar as it is now. One that was set since is believed now, and not then.
    #[must_use]
    pub fn when(&self, now: Now) -> Timestamp {
        const SET: SignedDuration = SignedDuration::from_secs(1);
        let passed = now.moment.saturating_duration_since(self.0.moment);
        let Ok(by_now) = now.time.checked_sub(passed) else {
            return self.0.time;
        };
        if by_now.duration_since(self.0.time).abs() <= SET {
            return self.0.time;
        }
        // Two looks at it say the same.
        by_now.round(jiff::Unit::Second).unwrap_or(by_now)
    }
}

/// Whether so long has passed since a time of the calendar. What lies ahead was said by a calendar that was wrong, and has passed too: otherwise
/// it would be waited for as long as that was wrong by.
#[must_use]
pub fn has_passed(since: Timestamp, time: Duration, now: Timestamp) -> bool {
    let passed = now.duration_since(since);
    passed.is_negative() || SignedDuration::try_from(time).is_ok_and(|time| passed >= time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_while_the_calendar_was_wrong_is_told_by_the_right_one() {
        let (then, hour) = (Instant::now(), Duration::from_hours(1));
        let at = |second, moment| Now {
            time: Timestamp::from_second(second).unwrap(),
            moment,
        };
        let happened = Happened(at(900_000, then));
        assert_eq!(happened.when(at(903_600, then + hour)).as_second(), 900_000);
        assert_eq!(happened.when(at(3_600, then + hour)).as_second(), 0);
    }

    #[test]
    fn what_lies_ahead_is_not_waited_for() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let minute = Duration::from_mins(1);
        assert!(!has_passed(at(0), minute, at(59)));
        assert!(has_passed(at(0), minute, at(60)));
        assert!(has_passed(at(61), minute, at(60)));
        assert!(!has_passed(at(0), Duration::MAX, at(60)));
    }
}

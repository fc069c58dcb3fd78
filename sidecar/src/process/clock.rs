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
    fn what_lies_ahead_is_not_waited_for() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let minute = Duration::from_mins(1);
        assert!(!has_passed(at(0), minute, at(59)));
        assert!(has_passed(at(0), minute, at(60)));
        assert!(has_passed(at(61), minute, at(60)));
        assert!(!has_passed(at(0), Duration::MAX, at(60)));
    }
}

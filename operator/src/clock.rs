//! Where the time comes from. What is judged by it is pure and is given it; only those who reconcile ask here.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

/// How far ahead of ours the time of day may be that somebody else has read.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Whether a moment was told by a clock that was wrong: ours of then, or somebody else's.
#[must_use]
pub fn lies_ahead(moment: Timestamp, now: Timestamp) -> bool {
    moment.duration_since(now) > AHEAD
}

/// Whether so long has passed since a moment. One that lies ahead has passed too: otherwise it would be waited for as long as the clock was wrong
/// that told it.
#[must_use]
pub fn has_passed(since: Timestamp, time: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(since) >= time || lies_ahead(since, now)
}

/// The time of day, which somebody may set, and the one that only goes on.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> (Timestamp, Instant) + Send + Sync>);

impl Clock {
    /// A clock that shows what `look` does.
    #[must_use]
    pub fn new(look: impl Fn() -> (Timestamp, Instant) + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)().0
    }

    /// A moment that others can be measured from, whatever becomes of the time of day.
    #[must_use]
    pub fn moment(&self) -> Instant {
        (self.0)().1
    }
}

impl Default for Clock {
    /// The machine's.
    fn default() -> Self {
        Self::new(|| (Timestamp::now(), Instant::now()))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Clock").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_ahead_is_not_waited_for_and_clocks_that_differ_a_little_are_no_matter() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let minute = SignedDuration::from_mins(1);
        assert!(!has_passed(at(1_000), minute, at(1_059)));
        assert!(has_passed(at(1_000), minute, at(1_060)));
        assert!(!has_passed(at(1_300), minute, at(1_000)));
        assert!(has_passed(at(1_301), minute, at(1_000)));
        assert!(has_passed(Timestamp::MAX, SignedDuration::MAX, Timestamp::MIN));
        assert!(!has_passed(Timestamp::MIN, SignedDuration::MAX, Timestamp::MAX));
    }
}

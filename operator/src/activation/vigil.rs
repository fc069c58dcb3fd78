//! For how long home could have been fenced under an order: by the clock that only goes on, since this process has seen the order. What the time
//! of day was set by meanwhile is no time in which anybody has waited; without a fence nothing keeps home from committing too.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;

/// When this process has seen each order first, by activation.
#[derive(Debug, Default)]
pub struct Vigil(Mutex<HashMap<String, Seen>>);

/// An order as it was seen first.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// When it was approved, as its status has it: in whole seconds.
    approved_at: i64,
    /// For how long it had been waited for by then. Only a calendar can tell that of the time before this process.
    before: SignedDuration,
    moment: Instant,
}

impl Vigil {
    /// For how long the order of this activation that was approved then has been waited for.
    pub fn since(&self, activation: &str, approved_at: Timestamp, clock: &Clock) -> SignedDuration {
        let moment = clock.moment();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = known
            .get(activation)
            .copied()
            .filter(|seen| seen.approved_at == approved_at.as_second())
            .unwrap_or_else(|| Seen {
                approved_at: approved_at.as_second(),
                // One that a clock ahead has dated has not been waited for yet.
                before: clock.now().duration_since(approved_at).max(SignedDuration::ZERO),
                moment,
            });
        known.insert(activation.to_owned(), seen);
        let here = moment.saturating_duration_since(seen.moment);
        let here = SignedDuration::try_from(here).unwrap_or(SignedDuration::MAX);
        seen.before.saturating_add(here)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use super::*;

    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;

    /// A clock on which time goes on, and which somebody sets, both in seconds.
    #[derive(Default)]
    struct Hands {
        gone: AtomicI64,
        set: AtomicI64,
    }

    fn ten() -> Timestamp {
        "2026-11-28T10:00:00Z".parse().unwrap()
    }

    fn clock(hands: &Arc<Hands>) -> Clock {
        let (hands, begun) = (Arc::clone(hands), Instant::now());
        Clock::new(move || {
            let gone = hands.gone.load(Ordering::Relaxed);
            let shown = ten() + SignedDuration::from_secs(gone + hands.set.load(Ordering::Relaxed));
            (shown, begun + Duration::from_secs(gone.unsigned_abs()))
        })
    }

    #[test]
    fn what_a_clock_is_set_by_is_no_time_that_was_waited() {
        let hands = Arc::new(Hands::default());
        let (vigil, clock) = (Vigil::default(), clock(&hands));
        let waited = || vigil.since("interior/home-lost", ten(), &clock).as_secs();
        assert_eq!(waited(), 0);
        for set in [HOUR, 10 * 365 * 24 * HOUR, -HOUR, 0] {
            hands.set.store(set, Ordering::Relaxed);
            assert_eq!(waited(), 0, "{set}");
        }
        hands.gone.store(10 * MINUTE, Ordering::Relaxed);
        hands.set.store(-HOUR, Ordering::Relaxed);
        assert_eq!(waited(), 10 * MINUTE);
    }

    #[test]
    fn an_operator_that_begins_anew_counts_what_was_waited_before() {
        let hands = Arc::new(Hands::default());
        hands.gone.store(5 * MINUTE, Ordering::Relaxed);
        let (vigil, clock) = (Vigil::default(), clock(&hands));
        let waited = || vigil.since("interior/home-lost", ten(), &clock).as_secs();
        assert_eq!(waited(), 5 * MINUTE);
        hands.gone.store(7 * MINUTE, Ordering::Relaxed);
        assert_eq!(waited(), 7 * MINUTE);
    }

    #[test]
    fn an_order_that_a_clock_ahead_has_dated_and_each_new_order_are_waited_for_from_when_they_are_seen() {
        let hands = Arc::new(Hands::default());
        let (vigil, clock) = (Vigil::default(), clock(&hands));
        let waited = |activation: &str, ahead: i64| {
            let approved_at = ten() + SignedDuration::from_secs(ahead);
            vigil.since(activation, approved_at, &clock).as_secs()
        };
        assert_eq!(waited("interior/home-lost", HOUR), 0);
        hands.gone.store(MINUTE, Ordering::Relaxed);
        assert_eq!(waited("interior/home-lost", HOUR), MINUTE);
        assert_eq!(waited("interior/another", MINUTE), 0);
        // Another order of the same activation.
        assert_eq!(waited("interior/home-lost", MINUTE), 0);
        hands.gone.store(2 * MINUTE, Ordering::Relaxed);
        assert_eq!(waited("interior/home-lost", MINUTE), MINUTE);
    }
}

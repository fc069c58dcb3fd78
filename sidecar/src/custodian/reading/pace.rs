//! A limit on bytes a second, shared by everything that is read at the same time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How much may be read at once after a rest.
const BURST: Duration = Duration::from_millis(250);

/// Lets so many bytes a second pass.
#[derive(Debug)]
pub struct Pace(Mutex<State>);

#[derive(Debug)]
struct State {
    bytes_per_second: u64,
    /// Until when what has passed would have taken at this rate.
    spent_until: Instant,
}

impl Pace {
    /// Lets so many bytes a second pass from now on.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self(Mutex::new(State {
            bytes_per_second: bytes_per_second.max(1),
            spent_until: Instant::now(),
        }))
    }

    /// Another rate.
    pub fn set(&self, bytes_per_second: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bytes_per_second = bytes_per_second.max(1);
    }

    /// Notes that bytes have passed, and waits until they may have.
    pub async fn pass(&self, bytes: usize) {
        let now = Instant::now();
        let until = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.pass(bytes, now)
        };
        // What is due within a moment is not waited for: timers are coarser than that.
        if until > now + Duration::from_millis(2) {
            tokio::time::sleep_until(until).await;
        }
    }
}

impl State {
    /// When bytes that pass now may have passed.
    fn pass(&mut self, bytes: usize, now: Instant) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        self.spent_until = self.spent_until.max(earliest) + takes;
        self.spent_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_at_the_rate_that_was_set_and_rest_does_not_add_up() {
        let begun = Instant::now() + Duration::from_secs(1);
        let mut state = State {
            bytes_per_second: 1_000_000,
            spent_until: begun,
        };
        let mut now = begun;
        for _ in 0..100 {
            now = now.max(state.pass(100_000, now));
        }
        assert_eq!(now - begun, Duration::from_secs(10));
        // An hour of rest is worth a moment.
        let rested = now + Duration::from_hours(1);
        let until = state.pass(1_000_000, rested);
        assert_eq!(until, rested + Duration::from_secs(1) - BURST);
    }
}

//! How long to wait: bounded, growing, and never in step with the others.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

/// The shortest wait after a failure.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest wait after a failure.
pub const LONGEST: Duration = Duration::from_mins(5);
/// A watch's waits grow no longer after so many failures in a row: the longest is 32 s.
const FAILURES_OF_A_WATCH: u32 = 6;
/// After so long without a failure, a watch has none in a row.
const CALM: Duration = Duration::from_mins(2);

/// Where the numbers come from that spread waits. Nothing secret is drawn here.
#[derive(Clone)]
pub struct Chance(Arc<dyn Fn() -> f64 + Send + Sync>);

impl Chance {
    /// One that draws what `draw` does, from 0.0 to 1.0.
    #[must_use]
    pub fn new(draw: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(draw))
    }

    /// The next number, from 0.0 to 1.0.
    #[must_use]
    pub fn draw(&self) -> f64 {
        (self.0)()
    }
}

impl Default for Chance {
    /// The machine's.
    fn default() -> Self {
        Self::new(rand::random)
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Chance")
    }
}

/// How often each object failed in a row.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    /// Counts a failure of `object` and says how long to wait; `chance` is drawn from 0.0 to 1.0.
    pub fn failed(&self, object: &str, chance: f64) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_insert(0);
        *count = count.saturating_add(1);
        after_failure(*count, chance)
    }

    /// Forgets the failures of `object`.
    pub fn succeeded(&self, object: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(object);
    }
}

/// How a watch waits after failures. kube's own begins anew with every sign of life, and each list begins with one before it is even asked for: a
/// list that is refused again and again would be asked for about once a second, by every watch, for as long as the API server is in trouble.
#[derive(Debug, Default)]
pub struct WatchBackoff {
    chance: Chance,
    count: u32,
    last: Option<Instant>,
}

impl WatchBackoff {
    /// One that has not failed yet, whose waits `chance` spreads.
    #[must_use]
    pub const fn new(chance: Chance) -> Self {
        Self {
            chance,
            count: 0,
            last: None,
        }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.last.is_some_and(|last| last.elapsed() > CALM) {
            self.count = 0;
        }
        self.count = (self.count + 1).min(FAILURES_OF_A_WATCH);
        self.last = Some(Instant::now());
        Some(after_failure(self.count, self.chance.draw()))
    }
}

impl Backoff for WatchBackoff {
    /// Does nothing: only time without a failure shows that the trouble is over.
    fn reset(&mut self) {}
}

/// The wait after the `count`th failure in a row: doubled each time up to [`LONGEST`], of which a random half is left out, so that
/// what failed together does not come back together.
#[must_use]
pub fn after_failure(count: u32, chance: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32 << count.saturating_sub(1).min(16));
    doubled.min(LONGEST).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

/// A period with a fifth of it more or less.
#[must_use]
pub fn jittered(period: Duration, chance: f64) -> Duration {
    period.mul_f64(0.8 + 0.4 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_bounded() {
        assert_eq!(after_failure(1, 1.0), FIRST);
        assert_eq!(after_failure(4, 1.0), FIRST * 8);
        assert_eq!(after_failure(1, 0.0), FIRST / 2);
        for count in [10, 17, 40, u32::MAX] {
            assert_eq!(after_failure(count, 1.0), LONGEST);
            assert_eq!(after_failure(count, 0.0), LONGEST / 2);
        }
    }

    #[test]
    fn a_success_begins_anew() {
        let failures = Failures::default();
        for _ in 0..5 {
            failures.failed("interior/population", 1.0);
        }
        failures.succeeded("interior/population");
        assert_eq!(failures.failed("interior/population", 1.0), FIRST);
    }

    #[tokio::test]
    async fn a_watch_waits_longer_each_time_although_every_list_begins_with_a_sign_of_life() {
        let mut backoff = WatchBackoff::new(Chance::new(|| 1.0));
        let waits: Vec<_> = (0..8)
            .map(|_| {
                backoff.reset();
                backoff.next().unwrap().as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32]);
        let long_ago = CALM + FIRST;
        backoff.last = Instant::now().checked_sub(long_ago);
        assert_eq!(backoff.next(), Some(FIRST));
    }

    #[test]
    fn jitter_keeps_near_the_period() {
        let period = Duration::from_secs(15);
        assert_eq!(jittered(period, 0.0), Duration::from_secs(12));
        assert_eq!(jittered(period, 1.0), Duration::from_secs(18));
    }
}

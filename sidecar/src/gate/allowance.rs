//! How much one registry may still put: its quota, and its rate. Pure; the time is an argument.

use std::time::Duration;

use dataembassy_contract::gate::LaneConfig;
use dataembassy_ledger::door::Refusal;
use tokio::time::Instant;

/// What is under way may take this long at the registry's rate; more is refused. Also how long a registry that was quiet may save up.
const WINDOW: Duration = Duration::from_secs(10);

/// The quota and the rate of one registry, and what it has used of both.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    quota: Option<u64>,
    rate: Option<u64>,
    /// Bytes in the store, by the configuration.
    used: u64,
    /// Bytes that passed since that number changed.
    passed: u64,
    /// Bytes of puts under way, by their declared lengths.
    reserved: u64,
    /// Bytes of puts under way that have not come yet.
    expected: u64,
    /// Bytes that may pass now; below zero while what passed waits to be made up for.
    level: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new(config: &LaneConfig, now: Instant) -> Self {
        let mut allowance = Self {
            quota: None,
            rate: None,
            used: config.used_bytes,
            passed: 0,
            reserved: 0,
            expected: 0,
            level: 0.0,
            at: now,
        };
        allowance.configure(config, now);
        allowance.level = allowance.most();
        allowance
    }

    /// Takes a new configuration. A new number of used bytes has whatever passed before it.
    pub(super) fn configure(&mut self, config: &LaneConfig, now: Instant) {
        self.fill(now);
        if self.used != config.used_bytes {
            self.used = config.used_bytes;
            self.passed = 0;
        }
        self.quota = config.quota_bytes;
        self.rate = config.bytes_per_second.filter(|rate| *rate > 0);
        self.level = self.level.min(self.most());
    }

    /// Bytes that the registry has in the store, as far as the gate knows.
    pub(super) const fn used(&self) -> u64 {
        self.used.saturating_add(self.passed)
    }

    /// Takes a put of so many bytes in, or says why not. Each that was taken in must be settled.
    pub(super) fn reserve(&mut self, length: u64, now: Instant) -> Result<(), Refusal> {
        if let Some(limit) = self.quota
            && self.used().saturating_add(self.reserved).saturating_add(length) > limit
        {
            return Err(Refusal::Quota { limit });
        }
        self.fill(now);
        // One put is always taken, however slow the registry may be: it is paced.
        if let Some(limit) = self.rate
            && self.expected > 0
            && float(self.expected.saturating_add(length)) - self.level > self.most()
        {
            return Err(Refusal::Rate { limit });
        }
        self.reserved = self.reserved.saturating_add(length);
        self.expected = self.expected.saturating_add(length);
        Ok(())
    }

    /// Lets so many bytes of a put pass; the next may follow after this time.
    pub(super) fn pass(&mut self, bytes: u64, now: Instant) -> Duration {
        self.fill(now);
        self.expected = self.expected.saturating_sub(bytes);
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        self.level -= float(bytes);
        Duration::try_from_secs_f64(-self.level / float(rate)).unwrap_or(Duration::ZERO)
    }

    /// A put of so many bytes, of which so many came, is over; `stored` where it is, or may be, in the store.
    pub(super) fn settle(&mut self, length: u64, came: u64, stored: bool) {
        self.reserved = self.reserved.saturating_sub(length);
        self.expected = self.expected.saturating_sub(length.saturating_sub(came));
        if stored {
            self.passed = self.passed.saturating_add(length);
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        if let Some(rate) = self.rate {
            self.level = (self.level + passed * float(rate)).min(self.most());
        }
    }

    fn most(&self) -> f64 {
        self.rate.map_or(0.0, |rate| float(rate) * WINDOW.as_secs_f64())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBI: u64 = 1 << 20;

    fn config(quota: Option<u64>, used: u64, rate: Option<u64>) -> LaneConfig {
        LaneConfig {
            registry: "population".into(),
            term: 1,
            fenced: false,
            home_may_retrieve: false,
            quota_bytes: quota,
            used_bytes: used,
            bytes_per_second: rate,
        }
    }

    #[test]
    fn the_quota_counts_what_is_stored_what_passed_and_what_is_under_way() {
        let now = Instant::now();
        let mut allowance = Allowance::new(&config(Some(100), 40, None), now);
        allowance.reserve(30, now).unwrap();
        assert_eq!(allowance.reserve(31, now), Err(Refusal::Quota { limit: 100 }));
        allowance.reserve(30, now).unwrap();
        allowance.settle(30, 30, true);
        allowance.settle(30, 4, false);
        assert_eq!(allowance.used(), 70);
        assert_eq!(allowance.reserve(31, now), Err(Refusal::Quota { limit: 100 }));
        allowance.reserve(30, now).unwrap();
    }

    #[test]
    fn a_new_number_of_used_bytes_takes_the_place_of_what_was_counted_since_the_old() {
        let now = Instant::now();
        let mut allowance = Allowance::new(&config(Some(100), 40, None), now);
        allowance.reserve(50, now).unwrap();
        allowance.settle(50, 50, true);
        allowance.configure(&config(Some(100), 40, None), now);
        assert_eq!(allowance.used(), 90, "the same number says nothing new");
        allowance.reserve(10, now).unwrap();
        allowance.configure(&config(Some(100), 60, None), now);
        assert_eq!(allowance.used(), 60);
        assert_eq!(
            allowance.reserve(31, now),
            Err(Refusal::Quota { limit: 100 }),
            "what is under way still counts"
        );
        allowance.reserve(30, now).unwrap();
    }

    #[test]
    fn who_was_quiet_may_be_quick_for_ten_seconds_worth_and_is_paced_after() {
        let now = Instant::now();
        let mut allowance = Allowance::new(&config(None, 0, Some(MEBI)), now);
        allowance.reserve(20 * MEBI, now).unwrap();
        assert_eq!(allowance.pass(10 * MEBI, now), Duration::ZERO);
        assert_eq!(allowance.pass(5 * MEBI, now), Duration::from_secs(5));
        let later = now + Duration::from_secs(5);
        assert_eq!(allowance.pass(MEBI, later), Duration::from_secs(1));
        let much_later = later + Duration::from_secs(1_000);
        assert_eq!(allowance.pass(10 * MEBI, much_later), Duration::ZERO);
        assert_eq!(allowance.pass(MEBI, much_later), Duration::from_secs(1));
    }

    #[test]
    fn far_above_the_rate_nothing_more_is_taken_in_but_one_put_always_is() {
        let now = Instant::now();
        let mut allowance = Allowance::new(&config(None, 0, Some(MEBI)), now);
        allowance.reserve(64 * MEBI, now).unwrap();
        assert_eq!(allowance.reserve(1, now), Err(Refusal::Rate { limit: MEBI }));
        // It breaks off: what has not come is not waited for.
        allowance.pass(MEBI, now);
        allowance.settle(64 * MEBI, MEBI, false);
        allowance.reserve(9 * MEBI, now).unwrap();
        allowance.reserve(10 * MEBI, now).unwrap();
        assert_eq!(allowance.reserve(MEBI, now), Err(Refusal::Rate { limit: MEBI }));
        allowance.reserve(MEBI, now + Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn without_limits_nothing_is_refused_or_paced() {
        let now = Instant::now();
        let mut allowance = Allowance::new(&config(None, u64::MAX, None), now);
        for _ in 0..100 {
            allowance.reserve(64 * MEBI, now).unwrap();
            assert_eq!(allowance.pass(64 * MEBI, now), Duration::ZERO);
        }
    }
}

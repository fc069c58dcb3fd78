//! How much one registry may still put: its quota, and its rate. Pure; the time is an argument.

use std::time::Duration;

use dataembassy_contract::gate::LaneConfig;
use dataembassy_ledger::door::Refusal;
use tokio::time::Instant;

use crate::store::LEAST_OBJECT_BYTES;

/// What is under way may take this long at the registry's rate; more is refused. Also how long a registry that was quiet may save up.
const WINDOW: Duration = Duration::from_secs(10);
/// How many copies a registry may commit at once after a rest.
const COMMITS: f64 = 120.0;
/// How many it may commit a second besides: six a minute, and a schedule has one at most. Each is kept in the custodian's memory for as long as
/// it lives.
const COMMITS_PER_SECOND: f64 = 0.1;

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
    /// Copies that may be committed now.
    commits: f64,
    at: Instant,
}

/// A put, as it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Put {
    /// The bytes of its body.
    pub(super) length: u64,
    /// Whether it is the entry of a copy.
    pub(super) commits: bool,
}

impl Put {
    /// What it takes of the quota.
    fn takes(self) -> u64 {
        self.length.max(LEAST_OBJECT_BYTES)
    }
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
            commits: COMMITS,
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

    /// Takes a put in, or says why not. Each that was taken in must be settled.
    pub(super) fn reserve(&mut self, put: Put, now: Instant) -> Result<(), Refusal> {
        let (length, takes) = (put.length, put.takes());
        if let Some(limit) = self.quota
            && self.used().saturating_add(self.reserved).saturating_add(takes) > limit
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
        if put.commits {
            if self.commits < 1.0 {
                return Err(Refusal::Commits);
            }
            self.commits -= 1.0;
        }
        self.reserved = self.reserved.saturating_add(takes);
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

    /// A put, of which so many bytes came, is over; `stored` where it is, or may be, in the store.
    pub(super) fn settle(&mut self, put: Put, came: u64, stored: bool) {
        self.reserved = self.reserved.saturating_sub(put.takes());
        self.expected = self.expected.saturating_sub(put.length.saturating_sub(came));
        if stored {
            self.passed = self.passed.saturating_add(put.takes());
        } else if put.commits {
            self.commits = (self.commits + 1.0).min(COMMITS);
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.commits = (self.commits + passed * COMMITS_PER_SECOND).min(COMMITS);
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

    const fn put(length: u64) -> Put {
        Put {
            length,
            commits: false,
        }
    }

    #[test]
    fn the_quota_counts_what_is_stored_what_passed_and_what_is_under_way() {
        let now = Instant::now();
        let mut allowance = Allowance::new(&config(Some(100 * MEBI), 40 * MEBI, None), now);
        allowance.reserve(put(30 * MEBI), now).unwrap();
        assert_eq!(
            allowance.reserve(put(31 * MEBI), now),
            Err(Refusal::Quota { limit: 100 * MEBI })
        );
        allowance.reserve(put(30 * MEBI), now).unwrap();
        allowance.settle(put(30 * MEBI), 30 * MEBI, true);
        allowance.settle(put(30 * MEBI), 4 * MEBI, false);
        assert_eq!(allowance.used(), 70 * MEBI);
        assert_eq!(
            allowance.reserve(put(31 * MEBI), now),
            Err(Refusal::Quota { limit: 100 * MEBI })
        );
        allowance.reserve(put(30 * MEBI), now).unwrap();
    }

    #[test]
    fn a_new_number_of_used_bytes_takes_the_place_of_what_was_counted_since_the_old() {
        let now = Instant::now();
        let mut allowance = Allowance::new(&config(Some(100 * MEBI), 40 * MEBI, None), now);
        allowance.reserve(put(50 * MEBI), now).unwrap();
        allowance.settle(put(50 * MEBI), 50 * MEBI, true);
        allowance.configure(&config(Some(100 * MEBI), 40 * MEBI, None), now);
        assert_eq!(allowance.used(), 90 * MEBI, "the same number says nothing new");
        allowance.reserve(put(10 * MEBI), now).unwrap();
        allowance.configure(&config(Some(100 * MEBI), 60 * MEBI, None), now);
        assert_eq!(allowance.used(), 60 * MEBI);
        assert_eq!(
            allowance.reserve(put(31 * MEBI), now),
            Err(Refusal::Quota { limit: 100 * MEBI }),
            "what is under way still counts"
        );
        allowance.reserve(put(30 * MEBI), now).unwrap();
    }

    #[test]
    fn who_was_quiet_may_be_quick_for_ten_seconds_worth_and_is_paced_after() {
        let now = Instant::now();
        let mut allowance = Allowance::new(&config(None, 0, Some(MEBI)), now);
        allowance.reserve(put(20 * MEBI), now).unwrap();
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
        allowance.reserve(put(64 * MEBI), now).unwrap();
        assert_eq!(allowance.reserve(put(1), now), Err(Refusal::Rate { limit: MEBI }));
        // It breaks off: what has not come is not waited for.
        allowance.pass(MEBI, now);
        allowance.settle(put(64 * MEBI), MEBI, false);
        allowance.reserve(put(9 * MEBI), now).unwrap();
        allowance.reserve(put(10 * MEBI), now).unwrap();
        assert_eq!(
            allowance.reserve(put(MEBI), now),
            Err(Refusal::Rate { limit: MEBI })
        );
        allowance
            .reserve(put(MEBI), now + Duration::from_secs(1))
            .unwrap();
    }

    #[test]
    fn without_limits_nothing_is_refused_or_paced() {
        let now = Instant::now();
        for rate in [None, Some(0)] {
            let mut allowance = Allowance::new(&config(None, u64::MAX, rate), now);
            for _ in 0..100 {
                allowance.reserve(put(64 * MEBI), now).unwrap();
                assert_eq!(allowance.pass(MEBI, now), Duration::ZERO);
            }
        }
    }

    #[test]
    fn an_object_takes_a_file_of_the_store_however_small_it_is() {
        let now = Instant::now();
        let mut allowance = Allowance::new(&config(Some(10_000), 0, None), now);
        for _ in 0..2 {
            allowance.reserve(put(1), now).unwrap();
            allowance.settle(put(1), 1, true);
        }
        assert_eq!(allowance.used(), 2 * LEAST_OBJECT_BYTES);
        assert_eq!(
            allowance.reserve(put(1), now),
            Err(Refusal::Quota { limit: 10_000 })
        );
    }

    #[test]
    fn copies_are_committed_as_fast_as_a_schedule_does_and_what_is_not_stored_is_none() {
        let now = Instant::now();
        let mut allowance = Allowance::new(&config(None, 0, None), now);
        let entry = Put {
            length: 1_000,
            commits: true,
        };
        for _ in 0..120 {
            allowance.reserve(entry, now).unwrap();
            allowance.settle(entry, 1_000, true);
        }
        assert_eq!(allowance.reserve(entry, now), Err(Refusal::Commits));
        allowance.reserve(put(1_000), now).unwrap();
        let later = now + Duration::from_secs(10);
        for stored in [false, false, true] {
            allowance.reserve(entry, later).unwrap();
            allowance.settle(entry, 1_000, stored);
        }
        assert_eq!(allowance.reserve(entry, later), Err(Refusal::Commits));
    }
}

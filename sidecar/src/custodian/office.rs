//! What all keepers of a custodian share: slots to work in, the board, the metrics, and how often things are done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use dataembassy_contract::duration;
use tokio::sync::{Notify, Semaphore};

use super::board::Board;
use super::metrics::Metrics;
use super::registry::TallyKey;

/// How many registries are worked on at a time.
const SLOTS: usize = 6;
/// How many manifests are held in memory at a time, 8 MiB and their numbers each.
const HEAVY: usize = 1;

/// No bucket locks anything for longer, as far as we reckon: a hundred years.
const MOST_DAYS: u64 = 36_500;

/// How often things are done.
#[derive(Clone, Copy, Debug, Args)]
pub struct Timing {
    /// Between two looks at the store and at each ledger, such as `15s`; while the store was not found yet, the first ones follow sooner.
    #[arg(long = "look-every", env = "DATAEMBASSY_LOOK_EVERY", default_value = "15s", value_parser = length)]
    pub cycle: Duration,
    /// The least time between two counts of a registry's objects; one that takes long is repeated the less often, but once an hour.
    #[arg(long = "count-every", env = "DATAEMBASSY_COUNT_EVERY", default_value = "30s", value_parser = length)]
    pub count: Duration,
    /// The least time between two looks at the locks of a few objects of a registry, drawn by lot while they are counted; reading back looks at
    /// all of them.
    #[arg(long = "sample-every", env = "DATAEMBASSY_SAMPLE_EVERY", default_value = "1h", value_parser = length)]
    pub sample: Duration,
    /// The least time between two proofs of a registry while nothing breaks or heals.
    #[arg(long = "prove-every", env = "DATAEMBASSY_PROVE_EVERY", default_value = "1h", value_parser = length)]
    pub proof: Duration,
    /// How long a copy must be in every plan that lets it go before it is recorded as expired, and the least time between two such entries
    /// of a registry, or between two plans of a dry run in the log.
    #[arg(long = "expire-every", env = "DATAEMBASSY_EXPIRE_EVERY", default_value = "6h", value_parser = length)]
    pub expiry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            cycle: Duration::from_secs(15),
            count: Duration::from_secs(30),
            sample: Duration::from_hours(1),
            proof: Duration::from_hours(1),
            expiry: Duration::from_hours(6),
        }
    }
}

fn length(text: &str) -> Result<Duration, duration::InvalidDuration> {
    text.parse::<duration::Duration>().map(duration::Duration::as_std)
}

/// What all keepers share.
#[derive(Debug)]
pub struct Office {
    /// Tells this process from every other.
    pub process: String,
    /// How often things are done.
    pub timing: Timing,
    /// Slots to work in.
    pub slots: Semaphore,
    /// Slots for what takes memory. Nobody waits for one of these who holds one of the others.
    pub heavy: Arc<Semaphore>,
    /// Something is there to be read back.
    pub to_read: Notify,
    /// The key of this process's sums.
    pub tally_key: TallyKey,
    /// The reports.
    pub board: Board,
    /// The metrics.
    pub metrics: Metrics,
    clocks_agree: AtomicBool,
    locked_days: AtomicU64,
}

impl Office {
    /// Opens.
    #[must_use]
    pub fn new(process: String, timing: Timing, tally_key: TallyKey, board: Board, metrics: Metrics) -> Self {
        Self {
            process,
            timing,
            slots: Semaphore::new(SLOTS),
            heavy: Arc::new(Semaphore::new(HEAVY)),
            to_read: Notify::new(),
            tally_key,
            board,
            metrics,
            clocks_agree: AtomicBool::new(false),
            locked_days: AtomicU64::new(0),
        }
    }

    /// Whether entries may be written: not while the store's clock and ours differ, as entries carry our time.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.clocks_agree()
    }

    /// Whether the store's clock and ours agreed at the latest look; where they did not, the report says so.
    #[must_use]
    pub fn clocks_agree(&self) -> bool {
        self.clocks_agree.load(Ordering::Relaxed)
    }

    /// How long the bucket locks what comes, as far as is known: at least as long as it must, and maybe longer.
    #[must_use]
    pub fn locks_on_arrival(&self) -> Duration {
        const HOURS: u64 = 24;
        let days = self.locked_days.load(Ordering::Relaxed).min(MOST_DAYS);
        Duration::from_hours(days * HOURS)
    }

    /// The bucket was looked at.
    pub fn looked_at_bucket(&self, locked_days: u64) {
        self.locked_days.store(locked_days, Ordering::Relaxed);
    }

    /// The clocks were compared.
    pub fn compared_clocks(&self, agree: bool) {
        self.clocks_agree.store(agree, Ordering::Relaxed);
    }
}

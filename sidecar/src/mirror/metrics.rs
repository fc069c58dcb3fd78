//! The metrics of a mirror. Their labels have values from closed sets only.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dataembassy_contract::Reason;
use dataembassy_contract::report::Outcome;
use dataembassy_telemetry::metrics::Catalog;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

type RunLabels = [(&'static str, &'static str); 2];

/// The metrics of one mirror. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    catalog: Arc<Catalog>,
    runs: Family<RunLabels, Counter>,
    run_duration: Histogram,
    last_taken: Gauge,
    last_bytes: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every metric, at zero.
    #[must_use]
    pub fn new() -> Self {
        let runs = Family::default();
        let run_duration = Histogram::new([1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0]);
        let (last_taken, last_bytes) = (Gauge::default(), Gauge::default());
        let mut catalog = Catalog::new("dataembassy_mirror");
        let labels = &["outcome", "reason"];
        catalog.add(
            "runs",
            "Runs that ended, by what came of them",
            None,
            labels,
            &runs,
        );
        let help = "How long runs took, whatever came of them";
        catalog.add("run_duration", help, Some(Unit::Seconds), &[], &run_duration);
        let help =
            "The moment of the latest committed copy's snapshot, in seconds since 1970; 0 before the first";
        catalog.add(
            "last_copy_taken_timestamp",
            help,
            Some(Unit::Seconds),
            &[],
            &last_taken,
        );
        let help = "The size of the latest committed copy in the store";
        catalog.add("last_copy_sealed", help, Some(Unit::Bytes), &[], &last_bytes);
        Self {
            catalog: Arc::new(catalog),
            runs,
            run_duration,
            last_taken,
            last_bytes,
        }
    }

    /// The list, for the reference and for encoding.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// A run has ended after so many seconds.
    pub fn run_ended(&self, outcome: Outcome, reason: Reason, seconds: f64) {
        let outcome = match outcome {
            Outcome::Copied => "copied",
            Outcome::Interrupted => "interrupted",
            Outcome::Failed => "failed",
        };
        self.runs
            .get_or_create(&[("outcome", outcome), ("reason", reason.as_str())])
            .inc();
        self.run_duration.observe(seconds);
    }

    /// The latest copy of the ledger: the moment of its snapshot in seconds since 1970, and its sealed bytes.
    pub fn copy_seen(&self, taken_at: i64, sealed_bytes: u64) {
        self.last_taken.set(taken_at);
        self.last_bytes.set(sealed_bytes);
    }
}

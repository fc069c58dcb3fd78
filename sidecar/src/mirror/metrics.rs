//! The metrics of a mirror. Their labels have values from closed sets only.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_contract::report::{CheckState, Outcome, Report};
use dataembassy_telemetry::metrics::Catalog;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

type RunLabels = [(&'static str, &'static str); 2];
/// What a fault is about, and which it is.
type FaultLabels = (&'static str, Reason);

/// The metrics of one mirror. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    catalog: Arc<Catalog>,
    runs: Family<RunLabels, Counter>,
    run_duration: Histogram,
    last_taken: Gauge,
    last_bytes: Gauge<u64, AtomicU64>,
    standing: Standing,
}

/// How the mirror stands, as its report says.
#[derive(Clone, Debug, Default)]
struct Standing {
    started: Gauge,
    expected_interval: Gauge,
    suspended: Gauge,
    consecutive_failures: Gauge,
    fenced: Gauge,
    last_proof: Gauge,
    faults: Family<RunLabels, Gauge>,
    /// The faults that were shown, so that a healed one goes back to 0 and stays visible.
    shown: Arc<Mutex<BTreeSet<FaultLabels>>>,
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
        let standing = Standing::default();
        standing.register(&mut catalog);
        Self {
            catalog: Arc::new(catalog),
            runs,
            run_duration,
            last_taken,
            last_bytes,
            standing,
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

    /// What the mirror is told: the oldest that its latest copy may be, and whether its schedule rests.
    pub fn configured(&self, rpo: Duration, suspended: bool) {
        let seconds = i64::try_from(rpo.as_secs()).unwrap_or(i64::MAX);
        self.standing.expected_interval.set(seconds);
        self.standing.suspended.set(suspended.into());
    }

    /// How the mirror stands.
    pub fn stands(&self, report: &Report) {
        let standing = &self.standing;
        let started = report.started_at.map_or(0, jiff::Timestamp::as_second);
        standing.started.set(started);
        standing
            .consecutive_failures
            .set(report.consecutive_failures.into());
        standing.fenced.set(report.fenced.is_some().into());
        let proof = report.last_proof.as_ref();
        standing
            .last_proof
            .set(proof.map_or(0, |proof| proof.read_back_at.as_second()));
        let mut shown = standing.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let now = faults(report);
        shown.extend(&now);
        for (about, reason) in shown.iter() {
            standing
                .faults
                .get_or_create(&[("about", about), ("reason", reason.as_str())])
                .set(now.contains(&(*about, *reason)).into());
        }
    }
}

impl Standing {
    fn register(&self, catalog: &mut Catalog) {
        let seconds = || Some(Unit::Seconds);
        let help = "The moment when the process started, in seconds since 1970";
        catalog.add("started_timestamp", help, seconds(), &[], &self.started);
        let help = "The oldest that the latest copy may be, which is the recovery point objective; 0 before it is known";
        catalog.add("expected_interval", help, seconds(), &[], &self.expected_interval);
        let help = "1 while the schedule rests";
        catalog.add("suspended", help, None, &[], &self.suspended);
        let help = "Runs that failed since the last one that did not";
        catalog.add(
            "consecutive_failures",
            help,
            None,
            &[],
            &self.consecutive_failures,
        );
        let help = "1 while the registry is activated at the embassy, so that nothing may be written";
        catalog.add("fenced", help, None, &[], &self.fenced);
        let help = "The moment when the embassy began to read back the newest copy that it has proven, in seconds since 1970; 0 before the first";
        catalog.add("last_proof_timestamp", help, seconds(), &[], &self.last_proof);
        let help = "1 while something is wrong with what the label names: source, store (its ledger included), proof, drill, copy, fence (an activation) or configuration";
        catalog.add("faults", help, None, &["about", "reason"], &self.faults);
    }
}

/// What is wrong now.
fn faults(report: &Report) -> BTreeSet<FaultLabels> {
    let checks = [
        ("source", &report.source),
        ("store", &report.store),
        ("proof", &report.intact),
        ("drill", &report.drilled),
    ];
    let failed = checks
        .into_iter()
        .filter(|(_, check)| check.state == CheckState::False)
        .map(|(about, check)| (about, check.reason));
    let others = [
        ("copy", &report.suspicious),
        ("fence", &report.fenced),
        ("configuration", &report.refused),
    ];
    let others = others
        .into_iter()
        .filter_map(|(about, fault)| Some((about, fault.as_ref()?.reason)));
    failed.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use dataembassy_contract::report::{Check, Fault};

    use super::*;

    #[test]
    fn a_fault_that_has_healed_goes_back_to_nothing_and_does_not_vanish() {
        let metrics = Metrics::new();
        let mut report = Report {
            consecutive_failures: 3,
            store: Check {
                state: CheckState::False,
                reason: Reason::RolledBack,
                ..Check::default()
            },
            suspicious: Some(Fault {
                reason: Reason::SizeImplausible,
                message: String::new(),
                since: jiff::Timestamp::UNIX_EPOCH,
            }),
            ..Report::default()
        };
        metrics.configured(Duration::from_mins(30), true);
        metrics.stands(&report);
        let has = |line: &str| {
            let text = metrics.catalog().encode();
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        };
        has("dataembassy_mirror_expected_interval_seconds 1800");
        has("dataembassy_mirror_suspended 1");
        has("dataembassy_mirror_consecutive_failures 3");
        has(r#"dataembassy_mirror_faults{about="store",reason="RolledBack"} 1"#);
        has(r#"dataembassy_mirror_faults{about="copy",reason="SizeImplausible"} 1"#);
        report.store = Check::default();
        metrics.stands(&report);
        has(r#"dataembassy_mirror_faults{about="store",reason="RolledBack"} 0"#);
        has(r#"dataembassy_mirror_faults{about="copy",reason="SizeImplausible"} 1"#);
    }
}

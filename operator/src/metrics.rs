//! What the operator counts. Labels come from closed sets only.

use dataembassy_contract::Reason;
use dataembassy_telemetry::metrics::Catalog;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// Labels of [`Metrics::reconciles`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReconcileLabels {
    /// `DataEmbassy` or `RegistryMirror`.
    pub kind: &'static str,
    /// `ok`, `refused` or `failed`.
    pub outcome: &'static str,
}

/// Labels of [`Metrics::refusals`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    /// One of the closed set of reasons.
    pub reason: &'static str,
}

/// Labels of [`Metrics::polls`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PollLabels {
    /// `ok` or `failed`.
    pub outcome: &'static str,
}

/// Labels of [`Metrics::writes`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WriteLabels {
    /// The kind of the object that was written.
    pub kind: &'static str,
}

/// The operator's metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Reconciles that ended.
    pub reconciles: Family<ReconcileLabels, Counter>,
    /// Resources that were refused.
    pub refusals: Family<RefusalLabels, Counter>,
    /// Reports that were asked for.
    pub polls: Family<PollLabels, Counter>,
    /// Objects that were written.
    pub writes: Family<WriteLabels, Counter>,
    /// Whether this process holds the write lease.
    pub leading: Gauge,
}

impl Metrics {
    /// These metrics by name, for `/metrics` and for the reference.
    #[must_use]
    pub fn catalog(&self) -> Catalog {
        let mut catalog = Catalog::new("dataembassy_operator");
        let kind_outcome = &["kind", "outcome"];
        catalog.add(
            "reconciles",
            "Reconciles that ended, by kind and outcome: ok, refused, failed",
            None,
            kind_outcome,
            &self.reconciles,
        );
        catalog.add(
            "refusals",
            "Reconciles that refused a resource, by reason",
            None,
            &["reason"],
            &self.refusals,
        );
        catalog.add(
            "report_polls",
            "Reports asked for from sidecars, by outcome: ok, failed",
            None,
            &["outcome"],
            &self.polls,
        );
        catalog.add(
            "writes",
            "Objects written to the API server, by kind",
            None,
            &["kind"],
            &self.writes,
        );
        catalog.add(
            "leading",
            "1 while this process holds the write lease",
            None,
            &[],
            &self.leading,
        );
        catalog
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, kind: &'static str, outcome: &'static str) {
        self.reconciles
            .get_or_create(&ReconcileLabels { kind, outcome })
            .inc();
    }

    /// Counts a refusal.
    pub fn refused(&self, reason: Reason) {
        self.refusals
            .get_or_create(&RefusalLabels {
                reason: reason.as_str(),
            })
            .inc();
    }

    /// Counts a poll.
    pub fn polled(&self, outcome: &'static str) {
        self.polls.get_or_create(&PollLabels { outcome }).inc();
    }

    /// Counts a write.
    pub fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind }).inc();
    }
}

//! The metrics of a gate. Their labels have values from closed sets only: a registry's name comes from the configuration, never from a
//! request.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dataembassy_contract::Reason;
use dataembassy_contract::gate::LaneConfig;
use dataembassy_ledger::door::Refusal;
use dataembassy_telemetry::metrics::Catalog;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;

/// The label of requests that claimed no registry that the gate knows: no id begins like this.
pub(super) const NOBODY: &str = "-";

type OfRegistry = [(&'static str, String); 1];
type OfRegistryAnd = [(&'static str, String); 2];
type Bytes = Gauge<u64, AtomicU64>;

/// Classes of the store's answers.
const STATUSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The metrics of one gate. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    catalog: Arc<Catalog>,
    meters: Meters,
}

#[derive(Clone, Debug, Default)]
struct Meters {
    answers: Family<OfRegistryAnd, Counter>,
    refused: Family<OfRegistryAnd, Counter>,
    put: Family<OfRegistry, Counter>,
    heard: Family<OfRegistry, Gauge>,
    quota: Family<OfRegistry, Bytes>,
    used: Family<OfRegistry, Bytes>,
    fenced: Family<OfRegistry, Gauge>,
    retrieval: Family<OfRegistry, Gauge>,
    store_failures: Family<[(&'static str, &'static str); 1], Counter>,
    store_reachable: Gauge,
    connections: Gauge,
    requests: Gauge,
    certificate_end: Gauge,
    current: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn registry(id: &str) -> OfRegistry {
    [("registry", id.to_owned())]
}

impl Metrics {
    /// Registers every metric.
    #[must_use]
    pub fn new() -> Self {
        let meters = Meters::default();
        let mut catalog = Catalog::new("dataembassy_gate");
        meters.register_lanes(&mut catalog);
        meters.register_process(&mut catalog);
        meters.begin_refusals(NOBODY);
        Self {
            catalog: Arc::new(catalog),
            meters,
        }
    }
}

impl Meters {
    fn register_lanes(&self, catalog: &mut Catalog) {
        let of_registry = &["registry"];
        let help = "Answers of the store to requests that passed, by the class of their status";
        catalog.add("answers", help, None, &["registry", "status"], &self.answers);
        let help = "Requests that were refused, by the word of the refusal; the registry is `-` where they claimed none that the gate knows";
        catalog.add("refused", help, None, &["registry", "refusal"], &self.refused);
        let help = "Bytes of bodies that the store has taken";
        catalog.add("put", help, Some(Unit::Bytes), of_registry, &self.put);
        let help =
            "The moment when the store last answered the deposit user with success, in seconds since 1970";
        catalog.add(
            "heard_timestamp",
            help,
            Some(Unit::Seconds),
            of_registry,
            &self.heard,
        );
        let help = "The most bytes that the registry may have in the store; absent where there is no limit";
        catalog.add("quota", help, Some(Unit::Bytes), of_registry, &self.quota);
        let help = "Bytes that the registry has in the store, as far as this gate knows";
        catalog.add("used", help, Some(Unit::Bytes), of_registry, &self.used);
        let help = "1 while the registry is fenced: nothing may be put";
        catalog.add("fenced", help, None, of_registry, &self.fenced);
        let help = "1 while home may read the registry's copies back";
        catalog.add("retrieval_open", help, None, of_registry, &self.retrieval);
    }

    /// Begins to count refusals of each word: an increase from nothing would be none.
    fn begin_refusals(&self, id: &str) {
        for word in Refusal::WORDS {
            let labels = [("registry", id.to_owned()), ("refusal", word.to_owned())];
            drop(self.refused.get_or_create(&labels));
        }
    }

    fn register_process(&self, catalog: &mut Catalog) {
        let help = "Requests that passed and that the store did not answer, by reason";
        catalog.add("store_failures", help, None, &["reason"], &self.store_failures);
        let help = "1 while the store can be reached";
        catalog.add("store_reachable", help, None, &[], &self.store_reachable);
        let help = "Connections to the gate that are open";
        catalog.add("connections", help, None, &[], &self.connections);
        let help = "Requests that have passed and are under way";
        catalog.add("requests_under_way", help, None, &[], &self.requests);
        let help =
            "The moment when the gate's certificate ends, in seconds since 1970; 0 before there is one";
        catalog.add(
            "certificate_end_timestamp",
            help,
            Some(Unit::Seconds),
            &[],
            &self.certificate_end,
        );
        let help = "1 while the newest configuration and certificate are in effect";
        catalog.add("configuration_current", help, None, &[], &self.current);
    }
}

impl Metrics {
    /// The list, for the reference and for encoding.
    #[must_use]
    pub const fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub(super) fn configured(&self, config: &LaneConfig, used: u64) {
        let labels = registry(&config.registry);
        match config.quota_bytes {
            Some(bytes) => {
                self.meters.quota.get_or_create(&labels).set(bytes);
            }
            None => {
                self.meters.quota.remove(&labels);
            }
        }
        self.meters.used.get_or_create(&labels).set(used);
        self.meters
            .fenced
            .get_or_create(&labels)
            .set(config.fenced.into());
        self.meters
            .retrieval
            .get_or_create(&labels)
            .set(config.home_may_retrieve.into());
        self.meters.begin_refusals(&config.registry);
    }

    /// Drops all that is said of a registry.
    pub(super) fn forget(&self, id: &str) {
        let labels = registry(id);
        self.meters.put.remove(&labels);
        self.meters.heard.remove(&labels);
        self.meters.quota.remove(&labels);
        self.meters.used.remove(&labels);
        self.meters.fenced.remove(&labels);
        self.meters.retrieval.remove(&labels);
        let and = |name, value: &str| [("registry", id.to_owned()), (name, value.to_owned())];
        for word in Refusal::WORDS {
            self.meters.refused.remove(&and("refusal", word));
        }
        for status in STATUSES {
            self.meters.answers.remove(&and("status", status));
        }
    }

    pub(super) fn answered(&self, id: &str, status: u16) {
        let class = match status {
            200..300 => STATUSES[0],
            300..400 => STATUSES[1],
            400..500 => STATUSES[2],
            _ => STATUSES[3],
        };
        self.meters
            .answers
            .get_or_create(&[("registry", id.to_owned()), ("status", class.to_owned())])
            .inc();
    }

    pub(super) fn refused(&self, id: &str, word: &'static str) {
        self.meters
            .refused
            .get_or_create(&[("registry", id.to_owned()), ("refusal", word.to_owned())])
            .inc();
    }

    pub(super) fn put(&self, id: &str, bytes: u64) {
        self.meters.put.get_or_create(&registry(id)).inc_by(bytes);
    }

    pub(super) fn heard(&self, id: &str, second: i64) {
        self.meters.heard.get_or_create(&registry(id)).set(second);
    }

    pub(super) fn used(&self, id: &str, bytes: u64) {
        self.meters.used.get_or_create(&registry(id)).set(bytes);
    }

    pub(super) fn store(&self, reachable: bool) {
        self.meters.store_reachable.set(reachable.into());
    }

    pub(super) fn store_failed(&self, reason: Reason) {
        self.meters
            .store_failures
            .get_or_create(&[("reason", reason.as_str())])
            .inc();
    }

    pub(super) fn certificate(&self, ends_at: i64) {
        self.meters.certificate_end.set(ends_at);
    }

    pub(super) fn current(&self, current: bool) {
        self.meters.current.set(current.into());
    }

    /// Counts a connection while what is returned lives.
    pub(super) fn connected(&self) -> Counted {
        Counted::begin(&self.meters.connections)
    }

    /// Counts a request while what is returned lives.
    pub(super) fn under_way(&self) -> Counted {
        Counted::begin(&self.meters.requests)
    }
}

/// Counts one in a gauge while it lives.
#[derive(Debug)]
pub(super) struct Counted(Gauge);

impl Counted {
    fn begin(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

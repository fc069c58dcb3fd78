//! The metrics of a custodian. Registries are those of the configuration, everything else is from closed sets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use super::registry::orders::Count;
use dataembassy_contract::Reason;
use dataembassy_ledger::RegistryId;
use dataembassy_telemetry::metrics::Catalog;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;

type OfRegistry = [(&'static str, String); 1];
type OfAlarm = (OfRegistry, [(&'static str, &'static str); 1]);
type Figure = Family<OfRegistry, Gauge>;

/// What is measured of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryFigures {
    /// The number of the last source entry; 0 while there is none.
    pub source_head: u64,
    /// The number of the last custody entry; 0 while there is none.
    pub custody_head: u64,
    /// The moment that the latest copy shows, in seconds since 1970; 0 before the first.
    pub last_copy_taken: i64,
    /// The recovery point objective, in seconds.
    pub expected_interval: u64,
    /// Living copies.
    pub copies: u64,
    /// Of those, how many are not whole.
    pub broken: u64,
    /// Of those, how many have an object whose lock is not as it must be.
    pub lock_faults: u64,
    /// When the copy was read back that was read longest ago, in seconds since 1970; 0 while one was never read.
    pub oldest_proof: i64,
    /// Bytes that were read back since the process started.
    pub bytes_read: u64,
    /// Bytes of all versions.
    pub used_bytes: u64,
    /// The quota; 0 where there is none.
    pub quota_bytes: u64,
    /// Living copies that the retention plan keeps.
    pub kept: u64,
    /// Living copies that it lets go.
    pub expiring: u64,
    /// Expired copies whose objects are still there.
    pub waiting: u64,
    /// Versions that retention deleted since the process started.
    pub deleted_objects: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// When the latest drill ended that a copy passed, in seconds since 1970; 0 before the first.
    pub last_drill_passed: i64,
    /// How often a copy must pass a drill, in seconds; 0 where nobody said so.
    pub drill_interval: u64,
    /// Results of drills that were signed for and refused since the process started.
    pub drills: Count,
    /// How many alarms there are for each reason.
    pub alarms: BTreeMap<Reason, u32>,
}

/// The metrics of one custodian. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    catalog: Arc<Catalog>,
    figures: Figures,
    alarms: Family<OfAlarm, Gauge>,
    /// The reasons that each registry's alarms were shown with, so that a healed one goes back to 0.
    shown: Arc<Mutex<BTreeMap<RegistryId, BTreeSet<Reason>>>>,
    verified: Family<OfRegistry, Counter>,
    deleted_objects: Family<OfRegistry, Counter>,
    deleted: Family<OfRegistry, Counter>,
    drills_signed: Family<OfRegistry, Counter>,
    drills_refused: Family<OfRegistry, Counter>,
    store_up: Gauge,
    clock_difference: Gauge,
    used: Gauge,
    capacity: Gauge,
    full_at: Gauge,
    unknown: Gauge,
    doors: Gauge,
    requests: Counter<u64, AtomicU64>,
}

#[derive(Clone, Debug, Default)]
struct Figures {
    source_head: Figure,
    custody_head: Figure,
    last_copy_taken: Figure,
    expected_interval: Figure,
    copies: Figure,
    broken: Figure,
    lock_faults: Figure,
    oldest_proof: Figure,
    used_bytes: Figure,
    quota_bytes: Figure,
    kept: Figure,
    expiring: Figure,
    waiting: Figure,
    last_drill_passed: Figure,
    drill_interval: Figure,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every metric.
    #[must_use]
    pub fn new() -> Self {
        let mut catalog = Catalog::new("dataembassy_custodian");
        let figures = Figures::default();
        figures.register(&mut catalog);
        let alarms = Family::default();
        let help = "What is wrong with the registry now";
        catalog.add("alarms", help, None, &["registry", "reason"], &alarms);
        let verified = Family::default();
        let help = "Bytes of copies that were read back";
        catalog.add("verified", help, Some(Unit::Bytes), &["registry"], &verified);
        let (deleted_objects, deleted) = (Family::default(), Family::default());
        let help = "Versions and delete markers of copies that retention deleted";
        catalog.add("deleted_objects", help, None, &["registry"], &deleted_objects);
        let help = "Their bytes";
        catalog.add("deleted", help, Some(Unit::Bytes), &["registry"], &deleted);
        let (drills_signed, drills_refused) = (Family::default(), Family::default());
        let help = "Results of drills that were signed for in the custody chain";
        catalog.add("drills_signed", help, None, &["registry"], &drills_signed);
        let help = "Results of drills that were not signed for, and never will be";
        catalog.add("drills_refused", help, None, &["registry"], &drills_refused);
        let gauge = Gauge::default;
        let (store_up, clock_difference, used, full_at) = (gauge(), gauge(), gauge(), gauge());
        let (capacity, unknown, doors, requests) = (gauge(), gauge(), gauge(), Counter::default());
        let help = "Whether the store can be reached and is set up as it must be";
        catalog.add("store_up", help, None, &[], &store_up);
        let help = "The store's clock minus ours";
        catalog.add(
            "clock_difference",
            help,
            Some(Unit::Seconds),
            &[],
            &clock_difference,
        );
        let help = "Bytes of all versions of all registries";
        catalog.add("store_used", help, Some(Unit::Bytes), &[], &used);
        let help = "What the store can hold; 0 where nobody said so";
        catalog.add("store_capacity", help, Some(Unit::Bytes), &[], &capacity);
        let help = "When the store will be full at the rate of late, in seconds since 1970; 0 if never, as far as can be told";
        catalog.add("store_full_timestamp", help, Some(Unit::Seconds), &[], &full_at);
        let help = "Registries that the store has and nobody accepted";
        catalog.add("unknown_registries", help, None, &[], &unknown);
        let help =
            "Probes of `store check` that the store itself lets through; 0 as well while it was not probed";
        catalog.add("store_doors_open", help, None, &[], &doors);
        catalog.add(
            "store_requests",
            "Requests sent to the store",
            None,
            &[],
            &requests,
        );
        Self {
            catalog: Arc::new(catalog),
            figures,
            alarms,
            shown: Arc::default(),
            verified,
            deleted_objects,
            deleted,
            drills_signed,
            drills_refused,
            store_up,
            clock_difference,
            used,
            capacity,
            full_at,
            unknown,
            doors,
            requests,
        }
    }

    /// The list, for the reference and for encoding.
    #[must_use]
    pub const fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// What is measured of one registry now.
    pub fn registry(&self, registry: &RegistryId, figures: &RegistryFigures) {
        let label = of(registry);
        self.figures.set(&label, figures);
        let counters = [
            (&self.verified, figures.bytes_read),
            (&self.deleted_objects, figures.deleted_objects),
            (&self.deleted, figures.deleted_bytes),
            (&self.drills_signed, figures.drills.signed),
            (&self.drills_refused, figures.drills.refused),
        ];
        for (family, sum) in counters {
            let counter = family.get_or_create(&label);
            counter.inc_by(sum.saturating_sub(counter.get()));
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let reasons = shown.entry(registry.clone()).or_default();
        reasons.extend(figures.alarms.keys());
        for reason in reasons.iter() {
            let count = figures.alarms.get(reason).copied().unwrap_or_default();
            self.alarms
                .get_or_create(&of_alarm(registry, *reason))
                .set(count.into());
        }
    }

    /// A registry is not kept any more.
    pub fn forget(&self, registry: &RegistryId) {
        self.figures.remove(&of(registry));
        for counter in [
            &self.verified,
            &self.deleted_objects,
            &self.deleted,
            &self.drills_signed,
            &self.drills_refused,
        ] {
            counter.remove(&of(registry));
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for reason in shown.remove(registry).into_iter().flatten() {
            self.alarms.remove(&of_alarm(registry, reason));
        }
    }

    /// The store was looked at.
    pub fn store(&self, up: bool, clock_difference: Option<i64>, unknown: usize) {
        self.store_up.set(up.into());
        self.clock_difference.set(clock_difference.unwrap_or(0));
        self.unknown.set(i64::try_from(unknown).unwrap_or(i64::MAX));
    }

    /// The store was probed for doors.
    pub fn doors(&self, open: usize) {
        self.doors.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Room in the store.
    pub fn space(&self, used: u64, capacity: Option<u64>, full_at: Option<Timestamp>) {
        self.full_at.set(full_at.map_or(0, Timestamp::as_second));
        self.used.set(bounded(used));
        self.capacity.set(bounded(capacity.unwrap_or(0)));
    }

    /// How many requests were sent in all.
    pub fn requests(&self, sent: u64) {
        self.requests.inc_by(sent.saturating_sub(self.requests.get()));
    }
}

impl Figures {
    fn register(&self, catalog: &mut Catalog) {
        const REGISTRY: &[&str] = &["registry"];
        let mut add = |name, help, unit, figure: &Figure| catalog.add(name, help, unit, REGISTRY, figure);
        let help = "The number of the last source entry; 0 while there is none";
        add("source_head", help, None, &self.source_head);
        let help = "The number of the last custody entry; 0 while there is none";
        add("custody_head", help, None, &self.custody_head);
        let help = "The moment that the latest copy shows, in seconds since 1970; 0 before the first";
        add(
            "last_copy_taken_timestamp",
            help,
            Some(Unit::Seconds),
            &self.last_copy_taken,
        );
        let help = "The oldest that the latest copy may be, which is the recovery point objective";
        add(
            "expected_interval",
            help,
            Some(Unit::Seconds),
            &self.expected_interval,
        );
        add("copies", "Living copies", None, &self.copies);
        add(
            "copies_broken",
            "Living copies that are not whole",
            None,
            &self.broken,
        );
        let help = "Living copies with an object whose lock is not as it must be";
        add("lock_faults", help, None, &self.lock_faults);
        let help = "When the copy was read back that was read longest ago, in seconds since 1970; 0 while one was never read";
        add(
            "oldest_proof_timestamp",
            help,
            Some(Unit::Seconds),
            &self.oldest_proof,
        );
        add(
            "used",
            "Bytes of all versions of the registry",
            Some(Unit::Bytes),
            &self.used_bytes,
        );
        let help = "The most bytes that the registry may have; 0 where there is no limit";
        add("quota", help, Some(Unit::Bytes), &self.quota_bytes);
        let help = "Living copies that the retention plan keeps";
        add("copies_kept", help, None, &self.kept);
        let help = "Living copies that the retention plan lets go; with dryRun nothing happens to them";
        add("copies_expiring", help, None, &self.expiring);
        let help = "Expired copies whose objects are still there, most of them until their locks end";
        add("copies_waiting", help, None, &self.waiting);
        let help =
            "When the latest drill ended that a copy passed, in seconds since 1970; 0 before the first";
        add(
            "last_drill_passed_timestamp",
            help,
            Some(Unit::Seconds),
            &self.last_drill_passed,
        );
        let help = "How often a copy must pass a drill; 0 where nobody said so";
        add(
            "drill_expected_interval",
            help,
            Some(Unit::Seconds),
            &self.drill_interval,
        );
    }

    fn set(&self, label: &OfRegistry, figures: &RegistryFigures) {
        let set = |figure: &Figure, value: i64| {
            figure.get_or_create(label).set(value);
        };
        set(&self.source_head, bounded(figures.source_head));
        set(&self.custody_head, bounded(figures.custody_head));
        set(&self.last_copy_taken, figures.last_copy_taken);
        set(&self.expected_interval, bounded(figures.expected_interval));
        set(&self.copies, bounded(figures.copies));
        set(&self.broken, bounded(figures.broken));
        set(&self.lock_faults, bounded(figures.lock_faults));
        set(&self.oldest_proof, figures.oldest_proof);
        set(&self.used_bytes, bounded(figures.used_bytes));
        set(&self.quota_bytes, bounded(figures.quota_bytes));
        set(&self.kept, bounded(figures.kept));
        set(&self.expiring, bounded(figures.expiring));
        set(&self.waiting, bounded(figures.waiting));
        set(&self.last_drill_passed, figures.last_drill_passed);
        set(&self.drill_interval, bounded(figures.drill_interval));
    }

    fn remove(&self, label: &OfRegistry) {
        let all = [
            &self.source_head,
            &self.custody_head,
            &self.last_copy_taken,
            &self.expected_interval,
            &self.copies,
            &self.broken,
            &self.lock_faults,
            &self.oldest_proof,
            &self.used_bytes,
            &self.quota_bytes,
            &self.kept,
            &self.expiring,
            &self.waiting,
            &self.last_drill_passed,
            &self.drill_interval,
        ];
        for figure in all {
            figure.remove(label);
        }
    }
}

fn of(registry: &RegistryId) -> OfRegistry {
    [("registry", registry.to_string())]
}

fn of_alarm(registry: &RegistryId, reason: Reason) -> OfAlarm {
    (of(registry), [("reason", reason.as_str())])
}

fn bounded(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

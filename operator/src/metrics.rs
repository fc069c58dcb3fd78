//! What the operator counts. Labels come from closed sets only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dataembassy_contract::Reason;
use dataembassy_crds::{Condition, ConditionStatus};
use dataembassy_telemetry::metrics::Catalog;
use jiff::Timestamp;
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;

use crate::activation::metrics::Activations;

/// Labels of [`Metrics::reconciles`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReconcileLabels {
    /// The resource's kind.
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

/// Labels of [`Metrics::conditions`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct ConditionLabels {
    /// The kind of the resource.
    pub kind: &'static str,
    /// Its namespace; empty for one that has none. Not `namespace`, which Prometheus sets to the operator's own.
    pub resource_namespace: String,
    /// Its name.
    pub resource: String,
    /// The condition's type.
    pub condition: String,
}

/// Labels of what is shown of an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct IdentityLabels {
    /// The kind of the resource that names it.
    pub kind: &'static str,
    /// Its namespace. Not `namespace`, which Prometheus sets to the operator's own.
    pub resource_namespace: String,
    /// Its name.
    pub resource: String,
}

/// Labels of what is shown of a drill.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct DrillLabels {
    /// The namespace of the `RegistryDrill`. Not `namespace`, which Prometheus sets to the operator's own.
    pub resource_namespace: String,
    /// Its name.
    pub resource: String,
    /// The registry's id.
    pub registry: String,
}

/// What is shown of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drilled {
    /// When one passed last, in seconds since 1970; 0 before the first.
    pub last_passed: i64,
    /// How the latest ended: 1 passed, 0 failed, -1 inconclusive.
    pub last_outcome: Option<i64>,
    /// The longest that may lie between two that pass, in seconds; 0 where nobody said so.
    pub expected_interval: i64,
    /// Slots that passed without a drill.
    pub missed: u64,
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
    /// What the resources' conditions say.
    pub conditions: Family<ConditionLabels, Gauge>,
    /// Since when identities have lain in the cluster.
    pub identities: Family<IdentityLabels, Gauge>,
    /// The identities that are shown.
    kept: Arc<Mutex<BTreeSet<IdentityLabels>>>,
    /// When drills passed last.
    pub drill_passed: Family<DrillLabels, Gauge>,
    /// How they ended last.
    pub drill_outcome: Family<DrillLabels, Gauge>,
    /// How often they must pass.
    pub drill_interval: Family<DrillLabels, Gauge>,
    /// Slots that passed without a drill.
    pub drill_missed: Family<DrillLabels, Counter>,
    /// What is shown of activations.
    pub activations: Activations,
    /// The drills that are shown.
    drills: Arc<Mutex<BTreeSet<DrillLabels>>>,
    /// The conditions that are shown, so that those of a resource that is gone can be found.
    shown: Arc<Mutex<BTreeSet<ConditionLabels>>>,
    presence: Arc<Presence>,
}

/// Whether a resource is still there, by its namespace and name.
type IsThere = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Which resources are still there, by kind.
#[derive(Default)]
struct Presence(Mutex<BTreeMap<&'static str, IsThere>>);

impl fmt::Debug for Presence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Presence")
    }
}

impl Metrics {
    /// These metrics by name, for `/metrics` and for the reference.
    #[must_use]
    pub fn catalog(&self) -> Catalog {
        let mut catalog = Catalog::new("dataembassy");
        let kind_outcome = &["kind", "outcome"];
        catalog.add(
            "operator_reconciles",
            "Reconciles that ended, by kind and outcome: ok, refused, failed",
            None,
            kind_outcome,
            &self.reconciles,
        );
        catalog.add(
            "operator_refusals",
            "Reconciles that refused a resource, by reason",
            None,
            &["reason"],
            &self.refusals,
        );
        catalog.add(
            "operator_report_polls",
            "Reports asked for from sidecars, by outcome: ok, failed",
            None,
            &["outcome"],
            &self.polls,
        );
        catalog.add(
            "operator_writes",
            "Objects written to the API server, by kind",
            None,
            &["kind"],
            &self.writes,
        );
        catalog.add(
            "operator_leading",
            "1 while this process holds the write lease",
            None,
            &[],
            &self.leading,
        );
        catalog.add(
            "operator_condition",
            "A condition of a resource: 1 while it is True, 0 while it is False, -1 while it is Unknown",
            None,
            &["kind", "resource_namespace", "resource", "condition"],
            &self.conditions,
        );
        catalog.add(
            "operator_identity_present_since_timestamp",
            "Since when at least an identity that the resource names has lain in the cluster, as its pods tell, in seconds since 1970; absent while none is known to",
            Some(Unit::Seconds),
            &["kind", "resource_namespace", "resource"],
            &self.identities,
        );
        self.add_drills(&mut catalog);
        self.activations.add(&mut catalog);
        catalog
    }

    fn add_drills(&self, catalog: &mut Catalog) {
        let drill = &["resource_namespace", "resource", "registry"];
        catalog.add(
            "drill_last_passed_timestamp",
            "The moment when a drill of the resource last passed, in seconds since 1970; 0 before the first",
            Some(Unit::Seconds),
            drill,
            &self.drill_passed,
        );
        catalog.add(
            "drill_last_outcome",
            "How the latest drill of the resource ended: 1 passed, 0 failed, -1 inconclusive; absent before the first",
            None,
            drill,
            &self.drill_outcome,
        );
        catalog.add(
            "drill_expected_interval",
            "The longest that may lie between two drills that pass, as the RegistryCustody says; 0 where nobody said so",
            Some(Unit::Seconds),
            drill,
            &self.drill_interval,
        );
        catalog.add(
            "drill_missed",
            "Slots of the schedule that passed without a drill, since the resource was made",
            None,
            drill,
            &self.drill_missed,
        );
    }

    /// Shows a drill. Its registry may be another one than before, if the resource was made anew.
    pub fn drilled(&self, namespace: &str, name: &str, registry: &str, drilled: &Drilled) {
        let labels = DrillLabels {
            resource_namespace: namespace.to_owned(),
            resource: name.to_owned(),
            registry: registry.to_owned(),
        };
        let mut drills = self.drills.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_drills(&mut drills, |shown| {
            shown.resource_namespace == namespace && shown.resource == name && *shown != labels
        });
        self.drill_passed.get_or_create(&labels).set(drilled.last_passed);
        self.drill_interval
            .get_or_create(&labels)
            .set(drilled.expected_interval);
        if let Some(outcome) = drilled.last_outcome {
            self.drill_outcome.get_or_create(&labels).set(outcome);
        }
        // The status counts, over restarts of this process too.
        let missed = self.drill_missed.get_or_create(&labels);
        missed.inc_by(drilled.missed.saturating_sub(missed.get()));
        drop(missed);
        drills.insert(labels);
    }

    fn drop_drills(&self, drills: &mut BTreeSet<DrillLabels>, goes: impl Fn(&DrillLabels) -> bool) {
        for labels in drills.iter().filter(|labels| goes(labels)) {
            self.drill_passed.remove(labels);
            self.drill_outcome.remove(labels);
            self.drill_interval.remove(labels);
            self.drill_missed.remove(labels);
        }
        drills.retain(|labels| !goes(labels));
    }

    /// Shows since when an identity that a resource names has lain in the cluster, if one is known to.
    pub fn keeps_identity(&self, kind: &'static str, namespace: &str, name: &str, since: Option<Timestamp>) {
        let labels = IdentityLabels {
            kind,
            resource_namespace: namespace.to_owned(),
            resource: name.to_owned(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = since {
            self.identities.get_or_create(&labels).set(since.as_second());
            kept.insert(labels);
        } else if kept.remove(&labels) {
            self.identities.remove(&labels);
        }
    }

    /// Shows what a resource's conditions say, and no other ones of that resource.
    pub fn judged(&self, kind: &'static str, namespace: &str, name: &str, conditions: &[Condition]) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let labels_of = |condition: &str| ConditionLabels {
            kind,
            resource_namespace: namespace.to_owned(),
            resource: name.to_owned(),
            condition: condition.to_owned(),
        };
        // Those of one resource stand together: there may be thousands of others, each of which is judged four times a minute.
        let its = shown.range(labels_of("")..).take_while(|labels| {
            labels.kind == kind && labels.resource_namespace == namespace && labels.resource == name
        });
        let is_gone = |labels: &&ConditionLabels| conditions.iter().all(|one| one.type_ != labels.condition);
        let gone: Vec<_> = its.filter(is_gone).cloned().collect();
        for labels in gone {
            self.conditions.remove(&labels);
            shown.remove(&labels);
        }
        for condition in conditions {
            let labels = labels_of(&condition.type_);
            self.conditions
                .get_or_create(&labels)
                .set(match condition.status {
                    ConditionStatus::True => 1,
                    ConditionStatus::False => 0,
                    ConditionStatus::Unknown => -1,
                });
            shown.insert(labels);
        }
    }

    /// From now on conditions of resources of this kind are shown only while a watch knows the resource: nobody is told of a deletion.
    pub fn follow<K>(&self, kind: &'static str, watched: Store<K>)
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        self.follow_by(kind, move |namespace, name| {
            let reference = ObjectRef::new(name);
            let reference = if namespace.is_empty() {
                reference
            } else {
                reference.within(namespace)
            };
            watched.get(&reference).is_some()
        });
    }

    fn follow_by(&self, kind: &'static str, is_there: impl Fn(&str, &str) -> bool + Send + Sync + 'static) {
        let mut presence = self.presence.0.lock().unwrap_or_else(PoisonError::into_inner);
        presence.insert(kind, Box::new(is_there));
    }

    /// Drops what is shown of resources that are gone.
    pub fn forget_gone(&self) {
        let presence = self.presence.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_all(&mut shown, |labels| {
            presence
                .get(labels.kind)
                .is_some_and(|is_there| !is_there(&labels.resource_namespace, &labels.resource))
        });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|labels| {
            let is_gone = presence
                .get(labels.kind)
                .is_some_and(|is_there| !is_there(&labels.resource_namespace, &labels.resource));
            if is_gone {
                self.identities.remove(labels);
            }
            !is_gone
        });
        drop(kept);
        if let Some(is_there) = presence.get("EmbassyActivation") {
            self.activations
                .forget(&|namespace, name| !is_there(namespace, name));
        }
        let Some(is_there) = presence.get("RegistryDrill") else {
            return;
        };
        let mut drills = self.drills.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_drills(&mut drills, |labels| {
            !is_there(&labels.resource_namespace, &labels.resource)
        });
    }

    fn drop_all(&self, shown: &mut BTreeSet<ConditionLabels>, goes: impl Fn(&ConditionLabels) -> bool) {
        for labels in shown.iter().filter(|labels| goes(labels)) {
            self.conditions.remove(labels);
        }
        shown.retain(|labels| !goes(labels));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(type_: &str, status: ConditionStatus) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status,
            observed_generation: 1,
            last_transition_time: String::new(),
            reason: "Applying".to_owned(),
            message: String::new(),
        }
    }

    #[test]
    fn a_drill_is_shown_while_it_is_there() {
        let metrics = Metrics::default();
        let mut drilled = Drilled {
            last_passed: 0,
            last_outcome: None,
            expected_interval: 604_800,
            missed: 2,
        };
        let shown = |name: &str| {
            let text = metrics.catalog().encode();
            let line = format!(
                r#"dataembassy_drill_{name}{{resource_namespace="drills",resource="nightly",registry="population"}} "#
            );
            text.lines()
                .find_map(|found| found.strip_prefix(&line).map(str::to_owned))
        };
        metrics.drilled("drills", "nightly", "population", &drilled);
        assert_eq!(shown("last_passed_timestamp_seconds"), Some("0".into()));
        assert_eq!(shown("last_outcome"), None);
        assert_eq!(shown("expected_interval_seconds"), Some("604800".into()));
        assert_eq!(shown("missed_total"), Some("2".into()));
        drilled.last_outcome = Some(-1);
        drilled.missed = 3;
        metrics.drilled("drills", "nightly", "population", &drilled);
        assert_eq!(
            (shown("last_outcome"), shown("missed_total")),
            (Some("-1".into()), Some("3".into()))
        );
        // Made anew for another registry, there is one of it still.
        metrics.drilled("drills", "nightly", "health", &drilled);
        assert_eq!(shown("missed_total"), None);
        metrics.drilled("drills", "nightly", "population", &drilled);
        metrics.follow_by("RegistryDrill", |_, _| false);
        metrics.forget_gone();
        assert_eq!((shown("missed_total"), shown("last_outcome")), (None, None));
    }

    #[test]
    fn what_a_resource_does_not_say_any_more_is_not_shown_any_more() {
        let metrics = Metrics::default();
        let shown = |condition: &str| {
            let text = metrics.catalog().encode();
            let line = format!(
                r#"dataembassy_operator_condition{{kind="RegistryMirror",resource_namespace="interior",resource="population",condition="{condition}"}} "#
            );
            text.lines()
                .find_map(|found| found.strip_prefix(&line).map(str::to_owned))
        };
        let judge =
            |conditions: &[Condition]| metrics.judged("RegistryMirror", "interior", "population", conditions);
        judge(&[
            condition("Ready", ConditionStatus::False),
            condition("Stalled", ConditionStatus::True),
        ]);
        assert_eq!(
            (shown("Ready"), shown("Stalled")),
            (Some("0".into()), Some("1".into()))
        );
        judge(&[condition("Ready", ConditionStatus::Unknown)]);
        assert_eq!((shown("Ready"), shown("Stalled")), (Some("-1".into()), None));
        metrics.follow_by("DataEmbassy", |_, _| false);
        metrics.forget_gone();
        assert!(shown("Ready").is_some(), "another kind is gone");
        metrics.follow_by("RegistryMirror", |namespace, name| {
            (namespace, name) == ("interior", "population")
        });
        metrics.forget_gone();
        assert!(shown("Ready").is_some());
        metrics.follow_by("RegistryMirror", |_, _| false);
        metrics.forget_gone();
        assert_eq!(shown("Ready"), None);
    }
}

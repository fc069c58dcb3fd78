//! What the operator counts. Labels come from closed sets only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dataembassy_contract::Reason;
use dataembassy_crds::{Condition, ConditionStatus};
use dataembassy_telemetry::metrics::Catalog;
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

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
        catalog.add(
            "condition",
            "A condition of a resource: 1 while it is True, 0 while it is False, -1 while it is Unknown",
            None,
            &["kind", "resource_namespace", "resource", "condition"],
            &self.conditions,
        );
        catalog
    }

    /// Shows what a resource's conditions say, and no other ones of that resource.
    pub fn judged(&self, kind: &'static str, namespace: &str, name: &str, conditions: &[Condition]) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let is_its = |labels: &ConditionLabels| {
            labels.kind == kind && labels.resource_namespace == namespace && labels.resource == name
        };
        self.drop_all(&mut shown, |labels| {
            is_its(labels) && conditions.iter().all(|one| one.type_ != labels.condition)
        });
        for condition in conditions {
            let labels = ConditionLabels {
                kind,
                resource_namespace: namespace.to_owned(),
                resource: name.to_owned(),
                condition: condition.type_.clone(),
            };
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

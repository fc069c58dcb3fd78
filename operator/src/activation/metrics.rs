//! What is shown of activations in the metrics.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use dataembassy_crds::{ActivatedState, RegistryPhase};
use dataembassy_telemetry::metrics::Catalog;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;

/// Labels of what is shown of a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct RegistryLabels {
    /// The namespace of the `EmbassyActivation`. Not `namespace`, which Prometheus sets to the operator's own.
    pub resource_namespace: String,
    /// Its name.
    pub resource: String,
    /// The registry's id.
    pub registry: String,
}

/// Labels of the phase that a registry is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct PhaseLabels {
    /// The namespace of the `EmbassyActivation`.
    pub resource_namespace: String,
    /// Its name.
    pub resource: String,
    /// The registry's id.
    pub registry: String,
    /// One of the closed set of phases.
    pub phase: &'static str,
}

/// Labels of a step that takes longer than it may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct StepLabels {
    /// The namespace of the `EmbassyActivation`.
    pub resource_namespace: String,
    /// Its name.
    pub resource: String,
    /// The registry's id.
    pub registry: String,
    /// One of the closed set of steps.
    pub step: &'static str,
}

/// What is shown of activations.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    phase: Family<PhaseLabels, Gauge>,
    overdue: Family<StepLabels, Gauge>,
    recovery: Family<RegistryLabels, Gauge>,
    copy_age: Family<RegistryLabels, Gauge>,
    certificate_end: Family<RegistryLabels, Gauge>,
    shown: Arc<Mutex<Shown>>,
}

/// What is shown now, so that what is not so any more can be found.
#[derive(Debug, Default)]
struct Shown {
    phases: BTreeSet<PhaseLabels>,
    steps: BTreeSet<StepLabels>,
    registries: BTreeSet<RegistryLabels>,
}

impl Activations {
    /// Adds these metrics by name.
    pub fn add(&self, catalog: &mut Catalog) {
        catalog.add(
            "activation_registry_phase",
            "1 for the phase that a registry of an activation is in, as its status.registries says it",
            None,
            &["resource_namespace", "resource", "registry", "phase"],
            &self.phase,
        );
        catalog.add(
            "activation_step_overdue",
            "1 while a step of a registry takes longer than the activation's spec.deadlines allows",
            None,
            &["resource_namespace", "resource", "registry", "step"],
            &self.overdue,
        );
        let registry = &["resource_namespace", "resource", "registry"];
        catalog.add(
            "activation_recovery",
            "How long it took from the last approval until the registry was served; absent before",
            Some(Unit::Seconds),
            registry,
            &self.recovery,
        );
        catalog.add(
            "activation_copy_age",
            "How old the last committed copy was at the fence, or when a rehearsal chose one; absent before",
            Some(Unit::Seconds),
            registry,
            &self.copy_age,
        );
        catalog.add(
            "activation_certificate_end_timestamp",
            "When the certificate ends that the operator made for the database of a registry that is served; absent where another one was named",
            Some(Unit::Seconds),
            registry,
            &self.certificate_end,
        );
    }

    /// Shows an activation, and nothing that was so before and is not any more.
    pub fn show(
        &self,
        namespace: &str,
        name: &str,
        states: &[ActivatedState],
        overdue: &[(String, &'static str)],
    ) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop(&mut shown, &|shown_namespace, shown_name| {
            shown_namespace == namespace && shown_name == name
        });
        for state in states {
            let labels = RegistryLabels {
                resource_namespace: namespace.to_owned(),
                resource: name.to_owned(),
                registry: state.id.clone(),
            };
            let phase = PhaseLabels {
                resource_namespace: namespace.to_owned(),
                resource: name.to_owned(),
                registry: state.id.clone(),
                phase: word(state.phase),
            };
            self.phase.get_or_create(&phase).set(1);
            if let Some(seconds) = state.rto_seconds {
                self.recovery.get_or_create(&labels).set(seconds);
            }
            if let Some(seconds) = state.rpo_seconds {
                self.copy_age.get_or_create(&labels).set(seconds);
            }
            let end = state
                .certificate_ends
                .as_deref()
                .filter(|_| state.phase == RegistryPhase::Serving);
            if let Some(end) = end.and_then(end_of) {
                self.certificate_end.get_or_create(&labels).set(end);
            }
            shown.phases.insert(phase);
            shown.registries.insert(labels);
        }
        for (registry, step) in overdue {
            let labels = StepLabels {
                resource_namespace: namespace.to_owned(),
                resource: name.to_owned(),
                registry: registry.clone(),
                step,
            };
            self.overdue.get_or_create(&labels).set(1);
            shown.steps.insert(labels);
        }
    }

    /// Drops what is shown of activations that are gone.
    pub fn forget(&self, is_gone: &dyn Fn(&str, &str) -> bool) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop(&mut shown, is_gone);
    }

    fn drop(&self, shown: &mut Shown, goes: &dyn Fn(&str, &str) -> bool) {
        shown.phases.retain(|labels| {
            let goes = goes(&labels.resource_namespace, &labels.resource);
            if goes {
                self.phase.remove(labels);
            }
            !goes
        });
        shown.steps.retain(|labels| {
            let goes = goes(&labels.resource_namespace, &labels.resource);
            if goes {
                self.overdue.remove(labels);
            }
            !goes
        });
        shown.registries.retain(|labels| {
            let goes = goes(&labels.resource_namespace, &labels.resource);
            if goes {
                self.recovery.remove(labels);
                self.copy_age.remove(labels);
                self.certificate_end.remove(labels);
            }
            !goes
        });
    }
}

/// The beginning of a day in UTC, in seconds: a certificate that counts until then is told a day early rather than late.
fn end_of(day: &str) -> Option<i64> {
    let day: jiff::civil::Date = day.parse().ok()?;
    let begins = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(begins.timestamp().as_second())
}

const fn word(phase: RegistryPhase) -> &'static str {
    match phase {
        RegistryPhase::Waiting => "Waiting",
        RegistryPhase::Cutting => "Cutting",
        RegistryPhase::Fencing => "Fencing",
        RegistryPhase::Starting => "Starting",
        RegistryPhase::Restoring => "Restoring",
        RegistryPhase::Serving => "Serving",
        RegistryPhase::Rehearsed => "Rehearsed",
        RegistryPhase::StandingDown => "StandingDown",
        RegistryPhase::StoodDown => "StoodDown",
        RegistryPhase::Failed => "Failed",
        RegistryPhase::Skipped => "Skipped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(phase: RegistryPhase) -> ActivatedState {
        ActivatedState {
            id: "population".to_owned(),
            phase,
            rto_seconds: (phase == RegistryPhase::Serving).then_some(252),
            certificate_ends: Some("2036-11-27".to_owned()),
            ..ActivatedState::default()
        }
    }

    #[test]
    fn a_registry_is_shown_in_one_phase_while_its_activation_is_there() {
        let metrics = Activations::default();
        let shown = || {
            let mut catalog = Catalog::new("dataembassy");
            metrics.add(&mut catalog);
            let text = catalog.encode();
            let lines = text
                .lines()
                .filter(|line| line.starts_with("dataembassy_activation"));
            lines
                .map(|line| {
                    line.replace(
                        r#"resource_namespace="interior",resource="lost",registry="population""#,
                        "…",
                    )
                })
                .collect::<Vec<_>>()
        };
        let late = [("population".to_owned(), "restore")];
        metrics.show("interior", "lost", &[state(RegistryPhase::Restoring)], &late);
        assert_eq!(
            shown(),
            [
                r#"dataembassy_activation_registry_phase{…,phase="Restoring"} 1"#,
                r#"dataembassy_activation_step_overdue{…,step="restore"} 1"#,
            ]
        );
        metrics.show("interior", "lost", &[state(RegistryPhase::Serving)], &[]);
        assert_eq!(
            shown(),
            [
                r#"dataembassy_activation_registry_phase{…,phase="Serving"} 1"#,
                "dataembassy_activation_recovery_seconds{…} 252",
                "dataembassy_activation_certificate_end_timestamp_seconds{…} 2111356800",
            ]
        );
        metrics.forget(&|_, name| name == "another");
        assert_eq!(shown().len(), 3);
        metrics.forget(&|_, _| true);
        assert!(shown().is_empty());
    }
}

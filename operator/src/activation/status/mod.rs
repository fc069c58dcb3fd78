//! What an activation says about itself: computed from the stage that it is at and from how its registries stand. Pure, but for what is shown
//! in the metrics.

mod ready;
mod reported;

use dataembassy_contract::{Duration, Reason};
use dataembassy_crds::{
    ActivatedState, ActivationMode, ActivationPhase, ActivationState, Condition, EmbassyActivation,
    EmbassyActivationStatus, RegistryPhase,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::Event;
use kube::{Resource, ResourceExt};

use crate::activation::course::{self, Overdue};
use crate::activation::dereference::Found;
use crate::activation::stage::Stage;
use crate::apply::ApplyError;
use crate::condition::{Conditions, Finding};
use crate::custody::validate::rpo;
use crate::embassy::validate::Refusal;
use crate::event::observed;
use crate::identity;
use crate::metrics::Metrics;
use crate::status::Observed;

/// What a reconcile has seen and done.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Whether the resource is valid.
    pub judged: Result<(), &'a Refusal>,
    /// Where it stands, if it is.
    pub stage: Option<&'a Stage>,
    /// Steps that take longer than they may.
    pub overdue: &'a [Overdue],
    /// What it depends on.
    pub found: &'a Found,
    /// Whether what was to be done was done.
    pub taken: Result<(), &'a ApplyError>,
}

/// Completes the status. Pure.
#[must_use]
pub fn observe(
    activation: &EmbassyActivation,
    status: EmbassyActivationStatus,
    seen: &Seen<'_>,
    now: Timestamp,
) -> EmbassyActivationStatus {
    let generation = activation.metadata.generation.unwrap_or_default();
    let mut status = EmbassyActivationStatus {
        observed_generation: Some(generation),
        ..status
    };
    status.phase = phase(activation, &status, seen);
    let registries = &status.registries;
    let served = registries.iter().filter(|state| is_served(state)).count();
    status.serving = (!registries.is_empty()).then(|| format!("{served}/{}", registries.len()));
    let is_over = !registries.is_empty() && registries.iter().all(|state| course::is_over(state.phase));
    let slowest = registries.iter().filter_map(|state| state.rto_seconds).max();
    status.recovery = slowest.filter(|_| is_over).map(took);

    let stays: Vec<_> = registries
        .iter()
        .filter_map(|state| state.identity.as_ref())
        .collect();
    status.identity_since = identity::first(stays.iter().copied()).map(str::to_owned);
    let identities = identity::finding(&stays);

    let before = activation.status.as_ref().map(|status| status.conditions.clone());
    let before = before.unwrap_or_default();
    let mut conditions = Conditions::new(&before, generation, now);
    let ready = ready::ready(&status, seen);
    conditions.set("Ready", ready.finding.clone());
    let Finding { reason, message, .. } = ready.finding;
    match ready.outlook {
        ready::Outlook::Settled => {}
        ready::Outlook::Moving => conditions.set("Reconciling", Finding::yes(reason, message)),
        ready::Outlook::Stuck => conditions.set("Stalled", Finding::yes(reason, message)),
    }
    conditions.set("Approved", ready::approved(&status, seen));
    conditions.set("OnTime", on_time(&status, seen));
    conditions.set("ObjectivesMet", objectives_met(&status, seen.found));
    conditions.set("Reported", reported::reported(&status));
    if let Some(finding) = identities {
        conditions.set("IdentityPresent", finding);
    }
    status.conditions = conditions.finish();
    status
}

/// Whether applications reach it, or in a rehearsal could have.
fn is_served(state: &ActivatedState) -> bool {
    matches!(state.phase, RegistryPhase::Serving | RegistryPhase::Rehearsed)
}

fn phase(
    activation: &EmbassyActivation,
    status: &EmbassyActivationStatus,
    seen: &Seen<'_>,
) -> ActivationPhase {
    let registries = &status.registries;
    let all = |wanted: RegistryPhase| registries.iter().all(|state| state.phase == wanted);
    match seen.stage {
        // What was ordered before goes on as far as it can be judged.
        None if status.approved_at.is_some() => status.phase,
        None | Some(Stage::Keyless(_) | Stage::Unstated(_)) => ActivationPhase::Pending,
        Some(Stage::Awaiting | Stage::Expired) => ActivationPhase::AwaitingApproval,
        Some(Stage::Ordered(_) | Stage::Over) => {
            if activation.spec.state == ActivationState::StoodDown {
                return if all(RegistryPhase::StoodDown) {
                    ActivationPhase::StoodDown
                } else {
                    ActivationPhase::StandingDown
                };
            }
            let rehearses = activation.spec.mode == ActivationMode::Rehearse;
            let is_over = registries.iter().all(|state| course::is_over(state.phase));
            if !is_over || (rehearses && status.ended_at.is_none()) {
                ActivationPhase::Recovering
            } else if !registries.iter().all(is_served) {
                ActivationPhase::Failed
            } else if rehearses {
                ActivationPhase::Rehearsed
            } else {
                ActivationPhase::Serving
            }
        }
    }
}

fn on_time(status: &EmbassyActivationStatus, seen: &Seen<'_>) -> Finding {
    if status.approved_at.is_none() && seen.overdue.is_empty() {
        return Finding::unknown(Reason::NotYetKnown, "nothing of this order was begun yet");
    }
    if seen.overdue.is_empty() {
        return Finding::yes(Reason::OnTime, "no step takes longer than spec.deadlines allows");
    }
    let late: Vec<String> = seen
        .overdue
        .iter()
        .map(|one| {
            format!(
                "the step {} of {} takes longer than it may: {}",
                one.step, one.registry, one.message
            )
        })
        .collect();
    Finding::no(Reason::StepOverdue, late.join("; "))
}

fn objectives_met(status: &EmbassyActivationStatus, found: &Found) -> Finding {
    let registries = &status.registries;
    let told: Vec<String> = registries
        .iter()
        .filter(|state| state.objectives_met.is_some())
        .map(|state| {
            let age = state.rpo_seconds.map_or_else(|| "unknown".to_owned(), took);
            let recovery = state.rto_seconds.map_or_else(|| "unknown".to_owned(), took);
            let word = if state.objectives_met == Some(true) {
                "met"
            } else {
                "missed"
            };
            format!(
                "{}: {word}, the last copy was {age} old and it took {recovery}",
                state.id
            )
        })
        .collect();
    let missed = registries.iter().any(|state| state.objectives_met == Some(false));
    let is_over = !registries.is_empty() && registries.iter().all(|state| course::is_over(state.phase));
    if missed {
        let is_too_old = |state: &ActivatedState| {
            let limit = found.custody(&state.id).and_then(rpo).map(Duration::as_secs);
            let age = state.rpo_seconds.and_then(|age| u64::try_from(age).ok());
            age > limit && limit.is_some()
        };
        let reason = if registries.iter().any(is_too_old) {
            Reason::RpoMissed
        } else {
            Reason::RtoMissed
        };
        Finding::no(reason, told.join("; "))
    } else if is_over && !told.is_empty() {
        Finding::yes(Reason::WithinObjective, told.join("; "))
    } else {
        Finding::unknown(Reason::NotYetKnown, "not every registry is served yet")
    }
}

/// An event that names the same things as one of late is only counted, and would keep the words about another registry.
fn of_registry(activation: &EmbassyActivation, registry: &str, event: Event) -> Event {
    Event {
        secondary: Some(ObjectReference {
            field_path: Some(format!("status.registries{{{registry}}}")),
            ..activation.object_ref(&())
        }),
        ..event
    }
}

/// A length of time for people.
fn took(seconds: i64) -> String {
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{}s", seconds % 60),
        (_, _) => format!("{hours}h{minutes}m"),
    }
}

/// Shows an activation in the metrics.
pub fn show(
    activation: &EmbassyActivation,
    status: &EmbassyActivationStatus,
    overdue: &[Overdue],
    metrics: &Metrics,
) {
    let (namespace, name) = (activation.namespace().unwrap_or_default(), activation.name_any());
    let overdue: Vec<(String, &'static str)> = overdue
        .iter()
        .map(|one| (one.registry.clone(), one.step))
        .collect();
    let since = status
        .identity_since
        .as_ref()
        .and_then(|since| since.parse().ok());
    metrics.keeps_identity("EmbassyActivation", &namespace, &name, since);
    metrics
        .activations
        .show(&namespace, &name, &status.registries, &overdue);
}

impl Observed for EmbassyActivation {
    type Status = EmbassyActivationStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    fn identity_since(status: &Self::Status) -> Option<&str> {
        status.identity_since.as_deref()
    }

    /// One for each registry that comes to another phase: the conditions are about the whole.
    fn further_events(&self, before: &Self::Status, after: &Self::Status) -> Vec<Event> {
        let phase_of = |id: &str| {
            let state = before.registries.iter().find(|state| state.id == id);
            state.map_or(RegistryPhase::Waiting, |state| state.phase)
        };
        let moved = after
            .registries
            .iter()
            .filter(|state| state.phase != phase_of(&state.id));
        let moved = moved.map(|state| {
            let note = format!("{} is {:?}: {}", state.id, state.phase, state.message);
            let is_good = !matches!(state.phase, RegistryPhase::Failed | RegistryPhase::Skipped);
            of_registry(self, &state.id, observed(is_good, &state.reason, &note))
        });
        let reported = reported::events(before, after);
        let reported = reported.map(|(registry, event)| match registry {
            Some(registry) => of_registry(self, registry, event),
            None => event,
        });
        moved.chain(reported).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_told_in_two_units_at_most() {
        for (seconds, words) in [
            (0, "0s"),
            (59, "59s"),
            (252, "4m12s"),
            (3_600, "1h0m"),
            (90_061, "25h1m"),
        ] {
            assert_eq!(took(seconds), words);
        }
    }
}

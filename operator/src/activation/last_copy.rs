//! The last copy of a registry that goes home: which mirror takes it, and by which trigger it is known. Pure.
//!
//! The activation writes nothing into a mirror's resource: the mirror's own reconcile reads in the activation's status that applications were shut
//! out, and tells its sidecar. A trigger is answered by a copy whose snapshot is younger than the trigger, and so than the last session.

use dataembassy_crds::{
    ActivatedRegistry, ActivatedState, ConditionStatus, EmbassyActivation, RegistryMirror, RegistryPhase,
};

use crate::activation::dereference::Found;
use crate::activation::steps;
use crate::condition::find;

/// Whether a registry waits for a last copy: what was never served was never written to.
#[must_use]
pub fn is_needed(registry: &ActivatedRegistry, state: &ActivatedState) -> bool {
    was_served(state) && !registry.forgo_last_copy
}

/// Whether applications were ever let in; of one whose activation is gone nobody knows that they were not.
#[must_use]
pub fn was_served(state: &ActivatedState) -> bool {
    steps::has_ended(state, steps::SERVE) || state.adopted_order.is_some()
}

/// What is said of a registry that is served without a fence and is to go home: what was written has no term that it could be copied in.
#[must_use]
pub fn unfenced(registry: &str) -> String {
    format!(
        "the registry '{registry}' is served without a fence, so nothing that was written here can be copied home: leave spec.state at Active until \
         it is fenced, which it is as soon as the store can be written, or give that up with spec.registries[{registry}].forgoLastCopy"
    )
}

/// The trigger by which the last copy is asked for, from when applications were shut out until the registry was released. It names that moment: the
/// same order may shut them out again, after they were let in and wrote.
#[must_use]
pub fn trigger(activation: &EmbassyActivation, state: &ActivatedState) -> Option<String> {
    let mut registries = activation.spec.registries.iter();
    let registry = registries.find(|one| one.id == state.id)?;
    let order = &activation.status.as_ref()?.statement.as_ref()?.order;
    let closed_at = steps::find(state, steps::CLOSE)?.ended_at.as_ref()?;
    let is_asked_for =
        state.phase == RegistryPhase::StandingDown && is_needed(registry, state) && state.release.is_none();
    is_asked_for.then(|| format!("stand-down {order} {closed_at}"))
}

/// The mirror that takes it; if there is none that can, why.
pub fn mirror<'f>(found: &'f Found, registry: &str) -> Result<&'f RegistryMirror, String> {
    let Some(mirror) = found
        .mirrors
        .iter()
        .find(|mirror| mirror.spec.registry.id == registry)
    else {
        return Err(format!(
            "no RegistryMirror of this namespace copies '{registry}', so what was written here would not go home: make one, as \
             docs/samples/activation/mirror.yaml shows, or give that up with spec.registries[{registry}].forgoLastCopy"
        ));
    };
    let status = mirror.status.as_ref();
    match status.and_then(|status| find(&status.conditions, "Stalled")) {
        Some(stalled) if stalled.status == ConditionStatus::True => Err(format!(
            "the RegistryMirror {} that is to take its last copy is stalled ({}): {}",
            mirror.metadata.name.as_deref().unwrap_or_default(),
            stalled.reason,
            stalled.message
        )),
        _ => Ok(mirror),
    }
}

/// The number of a copy of this mirror at or after the one that answered the trigger, once it was answered.
#[must_use]
pub fn answered(mirror: &RegistryMirror, trigger: &str) -> Option<u64> {
    let status = mirror.status.as_ref()?;
    let is_answered = status.last_trigger.as_deref() == Some(trigger);
    let copy = status.last_copy.as_ref().filter(|_| is_answered)?;
    u64::try_from(copy.sequence).ok()
}

#[cfg(test)]
mod tests {
    use dataembassy_crds::{EmbassyActivationStatus, Statement};
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn activation(forgo: bool) -> EmbassyActivation {
        let mut activation: EmbassyActivation = serde_json::from_value(json!({
            "apiVersion": "dataembassy.io/v1alpha1", "kind": "EmbassyActivation",
            "metadata": {"name": "home-lost", "namespace": "interior"},
            "spec": {
                "embassyRef": {"name": "luxembourg"}, "mode": "Activate", "state": "StoodDown", "validUntil": "2036-01-01T00:00:00Z",
                "registries": [{
                    "id": "population", "retrievalCredentialsRef": {"name": "r"}, "identityRef": {"name": "i"}, "target": {},
                    "forgoLastCopy": forgo,
                }],
            },
        }))
        .unwrap();
        activation.status = Some(EmbassyActivationStatus {
            statement: Some(Statement {
                order: "home-lost-1".to_owned(),
                ..Statement::default()
            }),
            ..EmbassyActivationStatus::default()
        });
        activation
    }

    /// What was served, is on its way home, and shut.
    fn shut() -> ActivatedState {
        let mut state = ActivatedState {
            id: "population".to_owned(),
            phase: RegistryPhase::StandingDown,
            ..ActivatedState::default()
        };
        for step in [steps::SERVE, steps::CLOSE] {
            steps::end(&mut state, step, Timestamp::UNIX_EPOCH);
        }
        state
    }

    #[test]
    fn a_last_copy_is_asked_for_of_what_was_served_and_is_shut_until_it_is_released() {
        let asked = |change: fn(&mut ActivatedState), forgo: bool| {
            let mut state = shut();
            change(&mut state);
            trigger(&activation(forgo), &state)
        };
        assert_eq!(
            asked(|_| {}, false).as_deref(),
            Some("stand-down home-lost-1 1970-01-01T00:00:00Z")
        );
        let adopted = |state: &mut ActivatedState| {
            steps::forget(state, &[steps::SERVE]);
            state.adopted_order = Some("home-lost-0".to_owned());
        };
        assert!(asked(adopted, false).is_some());
        assert_eq!(asked(|_| {}, true), None, "what was written is given up");
        let nothing: [fn(&mut ActivatedState); 5] = [
            |state| steps::forget(state, &[steps::SERVE]),
            |state| steps::forget(state, &[steps::CLOSE]),
            |state| state.phase = RegistryPhase::Serving,
            |state| state.release = Some("e".repeat(64)),
            |state| state.id = "health".to_owned(),
        ];
        for (place, change) in nothing.into_iter().enumerate() {
            assert_eq!(asked(change, false), None, "{place}");
        }
    }

    fn mirror_with(status: &Value) -> RegistryMirror {
        serde_json::from_value(json!({
            "apiVersion": "dataembassy.io/v1alpha1", "kind": "RegistryMirror",
            "metadata": {"name": "population", "namespace": "interior"},
            "spec": {
                "registry": {"id": "population"}, "embassyRef": {"name": "luxembourg"}, "depositCredentialsRef": {"name": "d"},
                "source": {}, "schedule": {"cron": "0 3 * * *"}, "objectives": {"rpo": "30m"},
            },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_mirror_copies_the_registry_unless_it_says_that_it_cannot_go_on() {
        let found = |stalled: &str| Found {
            mirrors: vec![std::sync::Arc::new(mirror_with(&json!({"conditions": [{
                "type": "Stalled", "status": stalled, "reason": "InvalidSchedule", "message": "no such day",
                "observedGeneration": 1, "lastTransitionTime": "2026-11-28T09:10:00Z",
            }]})))],
            ..Found::default()
        };
        assert!(mirror(&found("False"), "population").is_ok());
        let why = mirror(&found("True"), "population").unwrap_err();
        assert!(why.contains("no such day"), "{why}");
        assert!(mirror(&found("False"), "health").is_err());
    }

    #[test]
    fn only_the_copy_that_answers_this_trigger_is_the_last() {
        let copy = json!({
            "sequence": 7, "digest": "a".repeat(64), "takenAt": "2026-11-28T12:00:00Z", "committedAt": "2026-11-28T12:00:30Z",
            "bytes": 1, "size": "1 B",
        });
        let mirror = mirror_with(&json!({"conditions": [], "lastTrigger": "now", "lastCopy": copy}));
        assert_eq!(answered(&mirror, "now"), Some(7));
        assert_eq!(answered(&mirror, "before"), None);
    }
}

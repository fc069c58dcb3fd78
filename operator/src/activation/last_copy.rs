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

//! Whether what a registry depends on is served.

use dataembassy_crds::{ActivatedRegistry, ActivatedState, RegistryPhase};

/// How those stand that a registry depends on.
pub(super) enum Look {
    /// All of them are served.
    Served,
    /// These are not yet.
    Waits(String),
    /// This one will not be.
    Failed(String),
}

pub(super) fn look(registry: &ActivatedRegistry, states: &[ActivatedState]) -> Look {
    let phase_of = |id: &String| {
        let state = states.iter().find(|state| state.id == *id);
        state.map_or(RegistryPhase::Waiting, |state| state.phase)
    };
    let mut waits = Vec::new();
    for needed in &registry.depends_on {
        match phase_of(needed) {
            RegistryPhase::Failed | RegistryPhase::Skipped => return Look::Failed(needed.clone()),
            RegistryPhase::Serving | RegistryPhase::Rehearsed => {}
            _ => waits.push(needed.as_str()),
        }
    }
    if waits.is_empty() {
        Look::Served
    } else {
        Look::Waits(waits.join(", "))
    }
}

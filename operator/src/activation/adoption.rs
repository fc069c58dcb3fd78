//! A registry that an activation holds which is gone: another one of its name gives it back. Pure.
//!
//! Whoever deletes an activation that has fenced a registry leaves databases, keys and fence behind, and nobody who could stand it down. An
//! activation of the same name, in the same namespace and with `state: StoodDown` from its beginning, takes over what is needed for the way home,
//! and nothing else: it restores nothing, because what was written abroad is in the database that stands. It is approved like any other.

use dataembassy_contract::custodian::{TermHolder, TermOpening};
use dataembassy_crds::{ActivatedState, ActivationMode, ActivationState, EmbassyActivation, TermSigner};
use dataembassy_ledger::PublicKey;
use kube::ResourceExt;

use crate::activation::dereference::Found;
use crate::activation::names;

/// The opening of a registry's term that this activation may take over: it was ordered by one of its name that is gone.
#[must_use]
pub fn heirloom<'f>(
    activation: &EmbassyActivation,
    registry: &str,
    found: &'f Found,
) -> Option<&'f TermOpening> {
    let spec = &activation.spec;
    if spec.mode != ActivationMode::Activate || spec.state != ActivationState::StoodDown {
        return None;
    }
    let opening = found.report(registry)?.opening.as_ref()?;
    let (name, _) = opening.order.as_deref()?.rsplit_once('-')?;
    let is_anothers = found.others.iter().any(|other| {
        let states = other.status.iter().flat_map(|status| &status.registries);
        let mut keys = states.filter_map(|state| state.signer.as_ref());
        keys.any(|signer| signer.public_key == opening.signer)
    });
    let is_left = opening.holder == TermHolder::Embassy && name == activation.name_any() && !is_anothers;
    is_left.then_some(opening)
}

/// Takes over what was left, where something was. The Secret with the key is named by the key, so its name is known.
pub fn adopt(activation: &EmbassyActivation, found: &Found, states: &mut [ActivatedState]) {
    for state in states.iter_mut().filter(|state| state.signer.is_none()) {
        let Some(opening) = heirloom(activation, &state.id, found) else {
            continue;
        };
        let (Ok(key), Ok(fence)) = (
            opening.signer.parse::<PublicKey>(),
            i64::try_from(opening.sequence),
        ) else {
            continue;
        };
        state.signer = Some(TermSigner {
            public_key: opening.signer.clone(),
            secret: names::key_secret(&activation.name_any(), &state.id, &key),
        });
        state.fence = Some(fence);
        state.adopted_order.clone_from(&opening.order);
    }
}

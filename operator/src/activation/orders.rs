//! What the custodian of an embassy is asked to sign for activations: fences, and releases. Pure.

use std::sync::Arc;

use dataembassy_contract::config::ApproversConfig;
use dataembassy_contract::custodian::{OrderBody, OrderConfig};
use dataembassy_crds::{ActivatedState, ActivationMode, EmbassyActivation, RegistryPhase};
use dataembassy_ledger::activation::Warrant;
use kube::ResourceExt;

use crate::activation::{approval, steps};

/// The orders of the embassy called `embassy`, the oldest activation first.
#[must_use]
pub fn orders(
    embassy: &str,
    approvers: Option<&ApproversConfig>,
    activations: &[Arc<EmbassyActivation>],
) -> Vec<OrderConfig> {
    let Some(approvers) = approvers.and_then(|config| config.checked().ok()) else {
        return Vec::new();
    };
    let mut activations: Vec<_> = activations
        .iter()
        .filter(|activation| {
            activation.spec.embassy_ref.name == embassy
                && activation.spec.mode == ActivationMode::Activate
                && activation.metadata.deletion_timestamp.is_none()
        })
        .collect();
    activations.sort_by_cached_key(|activation| {
        let made = activation.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (made, activation.uid())
    });
    let mut orders = Vec::new();
    for activation in activations {
        let Some(status) = activation
            .status
            .as_ref()
            .filter(|status| status.approved_at.is_some())
        else {
            continue;
        };
        let waiting: Vec<&ActivatedState> = status.registries.iter().filter(|state| waits(state)).collect();
        let Some(statement) = status.statement.as_ref().filter(|_| !waiting.is_empty()) else {
            continue;
        };
        let Some(warrant) = approval::warrant(activation, &statement.text, &approvers) else {
            continue;
        };
        orders.extend(waiting.into_iter().map(|state| OrderConfig {
            id: statement.order.clone(),
            registry: state.id.clone(),
            body: body(state, warrant.clone()),
        }));
    }
    orders
}

/// Whether the custodian is asked for an entry. One that goes on unfenced asks on, until the store can be written again.
fn waits(state: &ActivatedState) -> bool {
    match state.phase {
        RegistryPhase::StandingDown => steps::has_ended(state, steps::COPY) && state.release.is_none(),
        RegistryPhase::StoodDown | RegistryPhase::Failed | RegistryPhase::Skipped => false,
        _ => steps::has_ended(state, steps::CUT) && state.fence.is_none(),
    }
}

fn body(state: &ActivatedState, warrant: Warrant) -> OrderBody {
    if state.phase == RegistryPhase::StandingDown {
        OrderBody::Release(Box::new(warrant))
    } else {
        OrderBody::Activate(Box::new(warrant))
    }
}

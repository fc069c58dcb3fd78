//! What the custodian of an embassy is asked to sign for activations: fences, releases, and what came of them. Pure.

use std::sync::Arc;

use dataembassy_contract::activation::{ActivationReport, ActivationResult};
use dataembassy_contract::config::ApproversConfig;
use dataembassy_contract::custodian::{OrderBody, OrderConfig};
use dataembassy_crds::{
    ActivatedState, ActivationMode, EmbassyActivation, EmbassyActivationStatus, RegistryPhase,
};
use dataembassy_ledger::activation::{Approvers, Warrant};
use kube::ResourceExt;

use crate::activation::course::is_awaited;
use crate::activation::{approval, names, replaced, steps};

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
    let mut orders = Vec::new();
    let is_meant = |activation: &EmbassyActivation| {
        activation.spec.embassy_ref.name == embassy && activation.spec.mode == ActivationMode::Activate
    };
    for activation in sorted(activations, is_meant) {
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

/// What came of orders, to be signed for, the oldest activation first.
#[must_use]
pub fn reports(
    embassy: &str,
    approvers: Option<&ApproversConfig>,
    activations: &[Arc<EmbassyActivation>],
) -> Vec<OrderConfig> {
    let Some(approvers) = approvers.and_then(|config| config.checked().ok()) else {
        return Vec::new();
    };
    let ours = sorted(activations, |activation| {
        activation.spec.embassy_ref.name == embassy
    });
    let of_one = |activation: &Arc<EmbassyActivation>| {
        let status = activation.status.as_ref()?;
        let mut orders: Vec<OrderConfig> = of_this_order(activation, status, &approvers).unwrap_or_default();
        let earlier = status.replaced.iter().flat_map(replaced::orders);
        // Whoever goes back to what was ordered before has the same order again.
        let is_new = |order: &OrderConfig| orders.iter().all(|known| known.id != order.id);
        let earlier: Vec<OrderConfig> = earlier.filter(is_new).collect();
        orders.extend(earlier);
        Some(orders)
    };
    ours.into_iter().filter_map(of_one).flatten().collect()
}

/// What came of the order that stands. Its signatures are those by which it was approved, though they may have left the spec since.
fn of_this_order(
    activation: &EmbassyActivation,
    status: &EmbassyActivationStatus,
    approvers: &Approvers,
) -> Option<Vec<OrderConfig>> {
    let statement = status.statement.as_ref()?;
    let order = names::report(&statement.order);
    let written = |state: &ActivatedState| {
        let report = state
            .report
            .as_ref()
            .filter(|report| report.order == order && is_awaited(report))?;
        ActivationResult::read(report.result.as_deref()?)
    };
    let written: Vec<ActivationResult> = status.registries.iter().filter_map(written).collect();
    if written.is_empty() {
        return None;
    }
    let kept = (!status.signatures.is_empty()).then(|| Warrant {
        statement: statement.text.clone(),
        approvals: status.signatures.clone(),
    });
    let warrant = kept.or_else(|| approval::warrant(activation, &statement.text, approvers))?;
    let orders = written.into_iter().map(|result| OrderConfig {
        id: order.clone(),
        registry: result.registry.clone(),
        body: OrderBody::Report(Box::new(ActivationReport {
            result,
            warrant: warrant.clone(),
        })),
    });
    Some(orders.collect())
}

fn sorted(
    activations: &[Arc<EmbassyActivation>],
    is_meant: impl Fn(&EmbassyActivation) -> bool,
) -> Vec<&Arc<EmbassyActivation>> {
    let mut activations: Vec<_> = activations
        .iter()
        .filter(|activation| activation.metadata.deletion_timestamp.is_none() && is_meant(activation))
        .collect();
    activations.sort_by_cached_key(|activation| {
        let made = activation.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (made, activation.uid())
    });
    activations
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

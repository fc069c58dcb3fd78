//! `EmbassyActivation`: registries served from the embassy, because home no longer can; or a rehearsal of that.
//!
//! Each reconcile is `dereference → validate → stage → course → apply → status`: the first reads, the next three are pure, the last two write.
//! What cannot be done twice stands in the status before it is done. Home is fenced by orders to the custodian and lanes of the gate, both of
//! which the embassy's own reconcile writes from what the status here says.

pub mod adoption;
pub mod apply;
pub mod approval;
pub mod clean_up;
pub mod course;
pub mod database;
pub mod dereference;
pub mod ended;
pub mod lanes;
pub mod last_copy;
pub mod metrics;
pub mod names;
pub mod next_look;
pub mod orders;
pub mod overdue;
pub mod replaced;
pub mod restores;
#[cfg(test)]
mod sample;
pub mod signing_key;
pub mod stage;
pub mod statement;
pub mod status;
pub mod steps;
pub mod validate;
pub mod vigil;

use std::collections::BTreeMap;
use std::sync::Arc;

use dataembassy_contract::Reason;
use dataembassy_crds::{ActivationMode, EmbassyActivation, EmbassyActivationStatus};
use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};

use crate::activation::course::Scene;
use crate::activation::dereference::Found;
use crate::activation::stage::Stage;
use crate::activation::status::Seen;
use crate::activation::validate::Checked;
use crate::apply::ApplyError;
use crate::condition::rfc3339;
use crate::embassy::validate::Refusal;
use crate::run::{Context, Reconcile, ReconcileError, try_again as retry};
use crate::settings::Side;
use crate::status::write;

/// The field manager of everything that this controller writes.
pub const MANAGER: &str = "dataembassy-operator/activation";
/// Brings one activation on.
pub fn reconcile(activation: Arc<EmbassyActivation>, context: Arc<Context>) -> Reconcile {
    Box::pin(bring_on(activation, context))
}

async fn bring_on(
    activation: Arc<EmbassyActivation>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    if activation.metadata.deletion_timestamp.is_some() {
        // Restores go with it, by owner references; databases stay.
        return Ok(Action::await_change());
    }
    if let Some(status) = ended::has_been_rehearsed(&activation) {
        status::show(&activation, status, &[], &context.metrics);
        if status.observed_generation != activation.metadata.generation {
            see_that_it_has_ended(&activation, status, &context).await?;
        }
        return Ok(Action::await_change());
    }
    let now = context.clock.now();
    let mut found = Found::default();
    let judged = if context.settings.side == Side::Home {
        Err(at_home())
    } else {
        found = dereference::dereference(&activation, &context).await;
        validate::validate(&activation, &found)
    };
    if let Err(refusal) = &judged {
        context.metrics.refused(refusal.reason);
    }
    let mut status = activation.status.clone().unwrap_or_default();
    replaced::hear(&mut status, &found, now);
    let stage = judged
        .as_ref()
        .ok()
        .map(|checked| stage::advance(&activation, checked, &found, &mut status, now));
    let api: Api<EmbassyActivation> = Api::namespaced(
        context.client.clone(),
        &activation.namespace().unwrap_or_default(),
    );
    let acts = matches!(stage, Some(Stage::Keyless(_) | Stage::Ordered(_)));
    if acts && !is_as_shown(&api, &activation).await? {
        return Ok(Action::requeue(next_look::SOON));
    }
    let taken = match (&judged, &stage) {
        (Ok(checked), Some(stage)) => {
            take(&activation, checked, stage, &found, &mut status, &context, now).await
        }
        _ => Ok(()),
    };
    let overdue = overdue::overdue(&activation, stage.as_ref(), &status, now);
    let seen = Seen {
        judged: judged.as_ref().map(drop),
        stage: stage.as_ref(),
        overdue: &overdue,
        found: &found,
        taken: taken.as_ref().map(drop),
    };
    let observed = status::observe(&activation, status, &seen, now);
    let moved = activation.status.as_ref() != Some(&observed);
    write(&api, &*activation, &observed, MANAGER, &context).await?;
    status::show(&activation, &observed, &overdue, &context.metrics);
    match taken {
        Err(error) if !error.is_permanent() => Err(ReconcileError::NotApplied(error)),
        taken => {
            context.failures.succeeded(&key(&activation));
            let outcome = if judged.is_err() || taken.is_err() {
                "refused"
            } else {
                "ok"
            };
            context.metrics.reconciled("EmbassyActivation", outcome);
            let next = next_look::next_look(stage.as_ref(), &observed, moved, context.chance.draw());
            Ok(next.map_or_else(Action::await_change, Action::requeue))
        }
    }
}

/// Approvals may have changed, or a spec that was refused is what it was: the record says again how it ended.
async fn see_that_it_has_ended(
    activation: &EmbassyActivation,
    status: &EmbassyActivationStatus,
    context: &Context,
) -> Result<(), ReconcileError> {
    let found = dereference::dereference(activation, context).await;
    let seen = Seen {
        judged: Ok(()),
        stage: Some(&Stage::Over),
        overdue: &[],
        found: &found,
        taken: Ok(()),
    };
    let observed = status::observe(activation, status.clone(), &seen, context.clock.now());
    let namespace = activation.namespace().unwrap_or_default();
    let api: Api<EmbassyActivation> = Api::namespaced(context.client.clone(), &namespace);
    write(&api, activation, &observed, MANAGER, context).await
}

/// Nobody is served from home's own cluster by an order that fences it.
fn at_home() -> Refusal {
    let message = "registries are activated at the embassy, and this operator runs at home: make the resource in the embassy's cluster";
    Refusal::new(Reason::WrongSide, message)
}

/// Whether the resource is, in the API server's own words, as the watch shows it: what the watch shows may be old, and keys and restores are
/// made once.
async fn is_as_shown(
    api: &Api<EmbassyActivation>,
    activation: &EmbassyActivation,
) -> Result<bool, ReconcileError> {
    let live = api
        .get_opt(&activation.name_any())
        .await
        .map_err(|source| ReconcileError::NotRead {
            source: Box::new(source),
        })?;
    Ok(live.is_some_and(|live| {
        live.uid() == activation.uid()
            && live.metadata.deletion_timestamp.is_none()
            && live.spec == activation.spec
            && live.status == activation.status
    }))
}

/// Does what the stage asks for.
async fn take(
    activation: &EmbassyActivation,
    checked: &Checked,
    stage: &Stage,
    found: &Found,
    status: &mut EmbassyActivationStatus,
    context: &Context,
    now: Timestamp,
) -> Result<(), ApplyError> {
    match stage {
        Stage::Keyless(registries) => apply::make_keys(activation, registries, status, context).await,
        Stage::Ordered(approved_at) => {
            let standings = if status.ended_at.is_some() && activation.spec.mode == ActivationMode::Rehearse {
                BTreeMap::new()
            } else {
                apply::bring_up(activation, &status.registries, context).await
            };
            let scene = Scene {
                activation,
                checked,
                found,
                standings: &standings,
                approved_at: *approved_at,
                waited: context
                    .vigil
                    .since(&names::full(activation), *approved_at, &context.clock),
                sidecar_image: &context.settings.sidecar_image,
                now,
            };
            let acts = course::advance(&scene, &mut status.registries);
            apply::carry_out(acts, &scene, &mut status.registries, context).await;
            end(activation, found, status, context, (*approved_at, now)).await;
            Ok(())
        }
        Stage::Unstated(_) | Stage::Awaiting | Stage::Expired | Stage::Over => Ok(()),
    }
}

/// Says when the whole ended; a rehearsal is cleaned up before.
async fn end(
    activation: &EmbassyActivation,
    found: &Found,
    status: &mut EmbassyActivationStatus,
    context: &Context,
    (approved_at, now): (Timestamp, Timestamp),
) {
    match ended::end(activation, status, approved_at) {
        ended::End::Later => return,
        ended::End::Now => {}
        ended::End::CleanUp { is_answered } => {
            let order = status
                .statement
                .as_ref()
                .map(|statement| statement.order.clone())
                .unwrap_or_default();
            match apply::clean(activation, (found, &order, now), &mut status.registries, context).await {
                Ok(true) if is_answered => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(
                        activation = names::full(activation),
                        error,
                        "the rehearsal is not cleaned up yet"
                    );
                    return;
                }
            }
        }
    }
    for state in &mut status.registries {
        state.rehearsed_in = None;
    }
    status.ended_at = Some(rfc3339(now));
}

/// What failures of this activation are counted under.
#[must_use]
pub fn key(activation: &EmbassyActivation) -> String {
    format!("EmbassyActivation/{}", names::full(activation))
}

/// What a reconcile that failed is followed by.
#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
pub fn try_again(
    activation: Arc<EmbassyActivation>,
    error: &ReconcileError,
    context: Arc<Context>,
) -> Action {
    retry("EmbassyActivation", &key(&activation), error, &context)
}

//! `DataEmbassy`: the site abroad. At home it is judged, and mirrors are told; at the embassy its custodian and its gate run.
//!
//! Each reconcile at the embassy is `dereference → validate → build → apply → status`. It fails static: an edit that is not valid, a block
//! that was taken out and a resource that vanished stop neither custodian nor gate.

pub mod apply;
pub mod build;
pub mod configuration;
pub mod dereference;
pub mod gates;
pub mod names;
pub mod standing;
pub mod status;
pub mod validate;

use std::sync::Arc;
use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_crds::DataEmbassy;
use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};

use crate::backoff::jittered;
use crate::embassy::apply::Applied;
use crate::embassy::dereference::Found;
use crate::embassy::validate::Refusal;
use crate::run::{self, Context, Reconcile, ReconcileError};
use crate::settings::Side;
use crate::status::write;

/// The field manager of everything that this controller writes.
pub const MANAGER: &str = "dataembassy-operator/embassy";
/// How often custodian and gates are asked for their reports.
const POLL: Duration = Duration::from_secs(10);
/// How soon they are asked again where something is on its way.
const POLL_AGAIN: Duration = Duration::from_secs(4);

/// What a reconcile came to, before it is put into words.
#[derive(Debug)]
pub enum Outcome {
    /// The resource is not followed; what ran goes on.
    Refused(Refusal),
    /// Its objects are what they should be, or wait for a good moment.
    Applied(Applied),
    /// The API server did not take an object.
    NotApplied(crate::apply::ApplyError),
}

/// Judges one embassy, and at the embassy brings what runs to what the resource says, as far as that is possible now.
pub fn reconcile(embassy: Arc<DataEmbassy>, context: Arc<Context>) -> Reconcile {
    Box::pin(bring_on(embassy, context))
}

async fn bring_on(embassy: Arc<DataEmbassy>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    if embassy.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    match context.settings.side {
        Side::Home => judge(&embassy, &context).await,
        Side::Embassy => run_for(&embassy, &context).await,
    }
}

/// Nothing is made for it: it is judged, and mirrors are told.
async fn judge(embassy: &DataEmbassy, context: &Context) -> Result<Action, ReconcileError> {
    let judged = validate::check(&embassy.spec).map(drop);
    if let Err(refusal) = &judged {
        context.metrics.refused(refusal.reason);
    }
    let valid = if embassy.spec.custodian.is_some() && context.settings.side == Side::Home {
        "the resource is valid; its spec.custodian means nothing at home"
    } else {
        "the resource is valid"
    };
    let status = status::of_judgement(embassy, judged.as_ref().map(|()| valid), context.clock.now());
    write(
        &Api::all(context.client.clone()),
        embassy,
        &status,
        MANAGER,
        context,
    )
    .await?;
    context.failures.succeeded(&key(embassy));
    let outcome = if judged.is_err() { "refused" } else { "ok" };
    context.metrics.reconciled("DataEmbassy", outcome);
    Ok(Action::await_change())
}

/// Runs custodian and gate.
async fn run_for(embassy: &DataEmbassy, context: &Context) -> Result<Action, ReconcileError> {
    let now = context.clock.now();
    let found = dereference::dereference(embassy, context).await;
    if embassy.spec.custodian.is_none() && !is_running(&found) {
        return judge(embassy, context).await;
    }
    let outcome = bring_about(embassy, &found, context, now).await;
    let observed = status::observe(embassy, &found, &outcome, now);
    let is_on_its_way = observed
        .conditions
        .iter()
        .any(|condition| condition.type_ == "Reconciling");
    write(
        &Api::all(context.client.clone()),
        embassy,
        &observed,
        MANAGER,
        context,
    )
    .await?;
    match outcome {
        Outcome::NotApplied(error) if !error.is_permanent() => Err(ReconcileError::NotApplied(error)),
        outcome => {
            context.failures.succeeded(&key(embassy));
            let refused = matches!(outcome, Outcome::Refused(_));
            context
                .metrics
                .reconciled("DataEmbassy", if refused { "refused" } else { "ok" });
            let again = if is_on_its_way { POLL_AGAIN } else { POLL };
            Ok(Action::requeue(jittered(again, context.chance.draw())))
        }
    }
}

async fn bring_about(embassy: &DataEmbassy, found: &Found, context: &Context, now: Timestamp) -> Outcome {
    let name = embassy.name_any();
    let refused = |refusal: Refusal| {
        context.metrics.refused(refusal.reason);
        Outcome::Refused(refusal)
    };
    let checked = match validate::check(&embassy.spec) {
        Ok(checked) => checked,
        Err(refusal) => return refused(refusal),
    };
    let standing = match standing::judge(&name, &embassy.spec) {
        Ok(Some(standing)) => standing,
        Ok(None) => {
            let message = "spec.custodian was taken out: put it back; or, to end custody here for good, delete the Deployments of \
                           custodian and gate";
            return refused(Refusal::new(Reason::NoCustodian, message));
        }
        Err(refusal) => return refused(refusal),
    };
    let generation = embassy.metadata.generation.unwrap_or_default();
    let documents = configuration::compose(
        (&name, generation),
        &checked,
        &standing,
        &found.accepted,
        &found.orders,
        &found.before,
    );
    let desired = build::build(&name, &checked, &standing, &documents, &context.settings);
    match apply::apply(&name, found, &desired, context, now).await {
        Ok(applied) => Outcome::Applied(applied),
        Err(error) => Outcome::NotApplied(error),
    }
}

fn is_running(found: &Found) -> bool {
    found.custodian.deployment.is_some() || found.gate.deployment.is_some()
}

/// What becomes of a reconcile that failed.
#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
pub fn try_again(embassy: Arc<DataEmbassy>, error: &ReconcileError, context: Arc<Context>) -> Action {
    run::try_again("DataEmbassy", &key(&embassy), error, &context)
}

/// What failures of this embassy are counted under.
fn key(embassy: &DataEmbassy) -> String {
    format!("DataEmbassy/{}", embassy.name_any())
}

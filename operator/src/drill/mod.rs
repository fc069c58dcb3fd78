//! `RegistryDrill`: a copy restored on schedule into a throw-away database, questioned, and timed.
//!
//! Each reconcile is `dereference → validate → course → apply → status`: the first reads, the next two are pure, the last two write. It takes
//! one step of a run, and says in the status that it has, before another one takes the next. What a run found becomes an order to the
//! custodian, in the configuration that the embassy's own reconcile writes.

pub mod agenda;
pub mod apply;
pub mod build;
pub mod course;
pub mod dereference;
pub mod names;
pub mod next_look;
pub mod orders;
pub mod record;
pub mod standing;
pub mod status;
pub mod validate;

use std::sync::Arc;

use dataembassy_crds::RegistryDrill;
use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};

use crate::apply::ApplyError;
use crate::drill::course::Step;
use crate::drill::dereference::Found;
use crate::drill::status::Seen;
use crate::drill::validate::Checked;
use crate::embassy::validate::Refusal;
use crate::run::{Context, Reconcile, ReconcileError, try_again as retry};
use crate::status::write;

/// The field manager of everything that this controller writes.
pub const MANAGER: &str = "dataembassy-operator/drill";
/// Brings one drill a step on.
pub fn reconcile(drill: Arc<RegistryDrill>, context: Arc<Context>) -> Reconcile {
    Box::pin(bring_on(drill, context))
}

async fn bring_on(drill: Arc<RegistryDrill>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    if drill.metadata.deletion_timestamp.is_some() {
        // What we made goes with the drill, by owner references.
        return Ok(Action::await_change());
    }
    let api: Api<RegistryDrill> =
        Api::namespaced(context.client.clone(), &drill.namespace().unwrap_or_default());
    let now = context.clock.now();
    let found = dereference::dereference(&drill, &context).await?;
    let judged = validate::validate(&drill, &found);
    let timing = validate::timing(&drill.spec).ok();
    let look = timing.as_ref().map(|timing| standing::look(&drill, timing, now));
    let step = course::step(&drill, &found, &judged, look.as_ref(), now);
    if step.moves() && !is_as_shown(&api, &drill).await? {
        return Ok(Action::requeue(next_look::SOON));
    }
    if let Err(refusal) = &judged {
        context.metrics.refused(refusal.reason);
    }
    if matches!(step, Step::Start(_) | Step::End(_)) {
        Box::pin(apply::remove_former(&drill, &context)).await?;
    }
    let taken = take(&step, &judged, &drill, &found, &context, now).await;
    let seen = Seen {
        found: &found,
        judged: &judged,
        look: look.as_ref(),
        step: &step,
        taken: taken.as_ref().map(drop),
    };
    let observed = status::observe(&drill, &seen, now);
    write(&api, &*drill, &observed, MANAGER, &context).await?;
    status::show(&drill, &observed, found.custody.as_deref(), &context.metrics);
    if observed.current.is_none() {
        // What the last run said is in the status by now.
        context.drill_reports.forget(&key(&drill));
    }
    match taken {
        Err(error) if !error.is_permanent() => Err(ReconcileError::NotApplied(error)),
        taken => {
            context.failures.succeeded(&key(&drill));
            let refused = judged.is_err();
            context
                .metrics
                .reconciled("RegistryDrill", if refused { "refused" } else { "ok" });
            let chance = context.chance.draw();
            let next = next_look::next_look(&step, look.as_ref(), taken.is_ok(), now, chance);
            Ok(Action::requeue(next))
        }
    }
}

/// Whether the resource is, in the API server's own words, as far as the watch shows it: what the watch shows may be old, and each step is
/// taken once.
async fn is_as_shown(api: &Api<RegistryDrill>, drill: &RegistryDrill) -> Result<bool, ReconcileError> {
    let live = api
        .get_opt(&drill.name_any())
        .await
        .map_err(|source| ReconcileError::NotRead {
            source: Box::new(source),
        })?;
    let run = |drill: &RegistryDrill| {
        let status = drill.status.clone().unwrap_or_default();
        let triggers = (drill.spec.trigger.clone(), status.last_trigger);
        (status.current, status.last, status.last_schedule_time, triggers)
    };
    Ok(live.is_some_and(|live| {
        live.uid() == drill.uid() && live.metadata.deletion_timestamp.is_none() && run(&live) == run(drill)
    }))
}

/// Does what a step asks for beside the status.
async fn take(
    step: &Step,
    judged: &Result<Checked, Refusal>,
    drill: &RegistryDrill,
    found: &Found,
    context: &Context,
    now: Timestamp,
) -> Result<(), ApplyError> {
    let current = drill.status.as_ref().and_then(|status| status.current.as_ref());
    match (step, judged, current) {
        (Step::Start(seconds), Ok(checked), Some(current)) => {
            let desired = build::build(checked, current, *seconds, &context.settings);
            apply::start(&desired, context).await
        }
        (Step::Again | Step::Await | Step::End(_), _, _) => apply::remove(found, context).await,
        (Step::Follow, _, _) => apply::call(found, context, now).await,
        _ => Ok(()),
    }
}

/// What failures of this drill are counted under.
#[must_use]
pub fn key(drill: &RegistryDrill) -> String {
    format!("RegistryDrill/{}", names::full(drill))
}

/// What a reconcile that failed is followed by.
#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
pub fn try_again(drill: Arc<RegistryDrill>, error: &ReconcileError, context: Arc<Context>) -> Action {
    retry("RegistryDrill", &key(&drill), error, &context)
}

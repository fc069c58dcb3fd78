//! `RegistryMirror`: one sidecar beside one database. At home it is the registry's own; at the embassy the one that an activation serves.
//!
//! Each reconcile is `dereference → validate → build → apply → status`.

pub mod abroad;
pub mod apply;
pub mod build;
pub mod dereference;
pub mod names;
pub mod rollout;
pub mod signing_key;
pub mod status;
pub mod validate;

use std::sync::Arc;
use std::time::Duration;

use dataembassy_crds::RegistryMirror;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};

use crate::backoff::jittered;
use crate::run::{Context, Reconcile, ReconcileError};
use crate::status::write;

/// The field manager of everything that this controller writes.
pub const MANAGER: &str = "dataembassy-operator/mirror";
/// How often a sidecar is asked for its report.
const POLL: Duration = Duration::from_secs(15);
/// How soon one that did not answer is asked again: often its pod, or ours, has only just begun.
const POLL_AGAIN: Duration = Duration::from_secs(5);

/// What a reconcile came to, before it is put into words.
#[derive(Debug)]
pub enum Outcome {
    /// The resource is not followed; what ran goes on.
    Refused(validate::Refusal),
    /// Its objects are what they should be, or wait for a good moment.
    Applied(apply::Applied),
    /// The API server did not take an object.
    NotApplied(crate::apply::ApplyError),
}

/// Brings one mirror to what its resource says, as far as that is possible now.
pub fn reconcile(mirror: Arc<RegistryMirror>, context: Arc<Context>) -> Reconcile {
    Box::pin(bring_on(mirror, context))
}

async fn bring_on(mirror: Arc<RegistryMirror>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    if mirror.metadata.deletion_timestamp.is_some() {
        // What we made goes with the mirror, by owner references; copies and the signing key stay.
        return Ok(Action::await_change());
    }
    let now = context.clock.now();
    let found = dereference::dereference(&mirror, &context).await;
    let outcome = match validate::validate(&mirror, &found) {
        Ok(checked) => {
            let desired = build::build(&checked, &context.settings);
            match apply::apply(&mirror, &checked, &found, &desired, &context, now).await {
                Ok(applied) => Outcome::Applied(applied),
                Err(error) => Outcome::NotApplied(error),
            }
        }
        Err(refusal) => {
            context.metrics.refused(refusal.reason);
            match apply::suspend_if_told(&mirror, &found, &context).await {
                Ok(()) => Outcome::Refused(refusal),
                Err(error) => Outcome::NotApplied(error),
            }
        }
    };
    let observed = status::observe(&mirror, &found, &outcome, now);
    let api = Api::namespaced(context.client.clone(), &mirror.namespace().unwrap_or_default());
    write(&api, &*mirror, &observed, MANAGER, &context).await?;
    match outcome {
        Outcome::NotApplied(error) if !error.is_permanent() => Err(ReconcileError::NotApplied(error)),
        outcome => {
            context.failures.succeeded(&key(&mirror));
            context.metrics.reconciled(
                "RegistryMirror",
                if matches!(outcome, Outcome::Refused(_)) {
                    "refused"
                } else {
                    "ok"
                },
            );
            let silent = matches!(found.report, Some(Err(_)));
            let again = if silent { POLL_AGAIN } else { POLL };
            Ok(Action::requeue(jittered(again, context.chance.draw())))
        }
    }
}

/// What failures of this mirror are counted under.
#[must_use]
pub fn key(mirror: &RegistryMirror) -> String {
    format!(
        "RegistryMirror/{}/{}",
        mirror.namespace().unwrap_or_default(),
        mirror.name_any()
    )
}

//! `RegistryCustody`: one registry that the embassy has accepted. What it says goes into the embassy's configuration, which the embassy's
//! own reconcile writes; here it is judged, and its custodian's report becomes its status and its recovery points.
//!
//! Each reconcile is `dereference → validate → build → apply → status`.

pub mod dereference;
pub mod heard;
pub mod neighbours;
pub mod points;
pub mod retreat;
pub mod status;
pub mod validate;

use std::sync::Arc;
use std::time::Duration;

use dataembassy_crds::RegistryCustody;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};

use crate::backoff::jittered;
use crate::custody::dereference::{Answer, Found};
use crate::run::{self, Context, Reconcile, ReconcileError};
use crate::status::write;

/// The field manager of everything that this controller writes.
pub const MANAGER: &str = "dataembassy-operator/custody";
/// How often the custodian is asked about a registry.
const POLL: Duration = Duration::from_secs(10);
/// How soon it is asked again where it did not answer, or does not know the registry yet.
const POLL_AGAIN: Duration = Duration::from_secs(4);

/// What a reconcile came to, before it is put into words.
#[derive(Debug)]
pub enum Outcome {
    /// The resource is not followed; what was valid before stays in effect.
    Refused(validate::Refusal),
    /// It is valid, and its recovery points are what they should be, or become it.
    Applied,
    /// The API server did not take a recovery point.
    NotApplied(crate::apply::ApplyError),
}

/// Judges one registry in custody, and says how it is.
pub fn reconcile(custody: Arc<RegistryCustody>, context: Arc<Context>) -> Reconcile {
    Box::pin(bring_on(custody, context))
}

async fn bring_on(custody: Arc<RegistryCustody>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    if custody.metadata.deletion_timestamp.is_some() {
        // Its recovery points go with it, by owner references; copies stay.
        return Ok(Action::await_change());
    }
    let now = context.clock.now();
    let found = dereference::dereference(&custody, &context).await;
    let judged = validate::validate(&custody, found.embassy.as_deref(), &found.neighbours);
    let points = points::plan(&custody, found.report(), &found.points);
    let applied = points::execute(&points, &found.points, &custody, &context).await;
    let outcome = match (judged, applied) {
        (Err(refusal), _) => {
            context.metrics.refused(refusal.reason);
            Outcome::Refused(refusal)
        }
        (Ok(_), Err(error)) => Outcome::NotApplied(error),
        (Ok(_), Ok(())) => Outcome::Applied,
    };
    let observed = status::observe(&custody, &found, &outcome, now);
    let api = Api::all(context.client.clone());
    write(&api, &*custody, &observed, MANAGER, &context).await?;
    match outcome {
        Outcome::NotApplied(error) if !error.is_permanent() => Err(ReconcileError::NotApplied(error)),
        outcome => {
            context.failures.succeeded(&key(&custody));
            let refused = matches!(outcome, Outcome::Refused(_));
            context
                .metrics
                .reconciled("RegistryCustody", if refused { "refused" } else { "ok" });
            Ok(Action::requeue(jittered(
                again(&custody, &found),
                context.chance.draw(),
            )))
        }
    }
}

fn again(custody: &RegistryCustody, found: &Found) -> Duration {
    let current = matches!(&found.answer, Answer::Said(report) if Some(report.generation) == custody.metadata.generation);
    if current { POLL } else { POLL_AGAIN }
}

/// What the custodian's reports of this registry are remembered under.
#[must_use]
pub fn report_key(custody: &RegistryCustody) -> String {
    format!("{}/{}", custody.spec.embassy_ref.name, custody.spec.registry.id)
}

/// What becomes of a reconcile that failed.
#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
pub fn try_again(custody: Arc<RegistryCustody>, error: &ReconcileError, context: Arc<Context>) -> Action {
    run::try_again("RegistryCustody", &key(&custody), error, &context)
}

/// What failures of this registry are counted under.
fn key(custody: &RegistryCustody) -> String {
    format!("RegistryCustody/{}", custody.name_any())
}

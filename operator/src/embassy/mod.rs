//! `DataEmbassy`: nothing is made for it; it is judged, and mirrors are told.

pub mod validate;

use std::sync::Arc;

use dataembassy_contract::Reason;
use dataembassy_crds::{DataEmbassy, DataEmbassyStatus};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::condition::{Conditions, Finding};
use crate::embassy::validate::Refusal;
use crate::event;
use crate::run::{self, Context, ReconcileError};

/// The field manager of everything that this controller writes.
const MANAGER: &str = "dataembassy-operator/embassy";

/// Judges one embassy and says so in its status.
pub async fn reconcile(embassy: Arc<DataEmbassy>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let judged = validate::check(&embassy.spec).map(drop);
    if let Err(refusal) = &judged {
        context.metrics.refused(refusal.reason);
    }
    let status = status(&embassy, judged, Timestamp::now());
    let before = embassy.status.clone().unwrap_or_default();
    let name = embassy.name_any();
    context
        .metrics
        .judged("DataEmbassy", "", &name, &status.conditions);
    if status != before {
        let api: Api<DataEmbassy> = Api::all(context.client.clone());
        let patch = json!({
            "apiVersion": DataEmbassy::api_version(&()),
            "kind": DataEmbassy::kind(&()),
            "status": status,
        });
        api.patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch))
            .await
            .map_err(|source| ReconcileError::StatusNotWritten {
                source: Box::new(source),
            })?;
        context.metrics.wrote("DataEmbassy");
        let events = event::of_change(&before.conditions, &status.conditions);
        event::publish(&context.recorder, &embassy.object_ref(&()), events).await;
    }
    context.failures.succeeded(&key(&embassy));
    context.metrics.reconciled("DataEmbassy", "ok");
    Ok(Action::await_change())
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

fn status(embassy: &DataEmbassy, judged: Result<(), Refusal>, now: Timestamp) -> DataEmbassyStatus {
    let generation = embassy.metadata.generation.unwrap_or_default();
    let before = embassy
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let mut conditions = Conditions::new(before, generation, now);
    match judged {
        Ok(()) => conditions.set("Ready", Finding::yes(Reason::Accepted, "the resource is valid")),
        Err(refusal) => {
            conditions.set("Ready", Finding::no(refusal.reason, refusal.message.clone()));
            let message = format!("{}; mirrors go on with what was valid before", refusal.message);
            conditions.set("Stalled", Finding::yes(refusal.reason, message));
        }
    }
    DataEmbassyStatus {
        observed_generation: Some(generation),
        conditions: conditions.finish(),
        ..DataEmbassyStatus::default()
    }
}

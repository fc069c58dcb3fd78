//! What a registry in custody says about itself: computed from the custodian's report and the gates', never from hope.
//!
//! [`facts`] are what the custodian reports as it is, [`ready`] says whether the resource is followed, and [`health`] whether the registry is
//! safe.

mod facts;
mod health;
mod ready;

use dataembassy_contract::Reason;
use dataembassy_crds::{ConditionStatus, RegistryCustody, RegistryCustodyStatus};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::condition::{Conditions, Finding};
use crate::custody::dereference::Found;
use crate::custody::{MANAGER, Outcome, heard, points};
use crate::run::{Context, ReconcileError};
use crate::{event, suspicion};

/// Computes the status. Pure.
#[must_use]
pub fn observe(
    custody: &RegistryCustody,
    found: &Found,
    outcome: &Outcome,
    now: Timestamp,
) -> RegistryCustodyStatus {
    let before = custody.status.clone().unwrap_or_default();
    let generation = custody.metadata.generation.unwrap_or_default();
    let report = found.report();
    let registry = &custody.spec.registry.id;
    let mut status = facts::facts(&before, report);
    status.observed_generation = Some(generation);
    let home = heard::judge(&before, &found.sight, registry, now);
    status.last_heard_time = heard::last_heard_time(&before, &home);

    let ready = ready::ready(custody, found, outcome);
    let stalled = ready::stalled(&before, outcome);
    let settled = ready.status == ConditionStatus::True || stalled.is_some();
    let reconciling = (!settled).then(|| Finding::yes(ready.reason, ready.message.clone()));
    let mut conditions = Conditions::new(&before.conditions, generation, now);
    conditions.set("Ready", ready);
    for (type_, finding) in [("Reconciling", reconciling), ("Stalled", stalled)] {
        if let Some(finding) = finding {
            conditions.set(type_, finding);
        }
    }
    conditions.set("HomeHeard", home.finding);
    conditions.set(
        "WithinRPO",
        health::within_rpo(custody, status.last_copy.as_ref(), now),
    );
    let view = health::View {
        registry,
        before: &before,
        found,
        report,
        now,
    };
    conditions.set("LedgerSound", health::ledger_sound(&view));
    conditions.set("Intact", health::intact(&view));
    conditions.set("Drilled", health::drilled(&view));
    conditions.set("SpaceSufficient", health::space_sufficient(&view, custody));
    let claims = format!("claim the users of {registry}");
    for (type_, finding) in [
        ("Alarmed", health::alarmed(&status)),
        (
            "Suspicious",
            suspicion::judge(found.sight.refused(registry), &claims, now),
        ),
        ("RetrievalOpen", retrieval_open(custody)),
    ] {
        if let Some(finding) = finding {
            conditions.set(type_, finding);
        }
    }
    status.conditions = conditions.finish();
    status
}

fn retrieval_open(custody: &RegistryCustody) -> Option<Finding> {
    let registry = &custody.spec.registry.id;
    custody.spec.home_may_retrieve.then(|| {
        let message = format!(
            "whoever holds the credentials of {registry}.retrieval may read copies through the gate: set spec.homeMayRetrieve to false \
             when home has what it needs"
        );
        Finding::yes(Reason::RetrievalOpen, message)
    })
}

/// Writes the status and tells of it, if it changed.
pub async fn write(
    custody: &RegistryCustody,
    status: RegistryCustodyStatus,
    context: &Context,
) -> Result<(), ReconcileError> {
    let before = custody.status.clone().unwrap_or_default();
    let name = custody.name_any();
    context
        .metrics
        .judged("RegistryCustody", "", &name, &status.conditions);
    if status == before {
        return Ok(());
    }
    let api: Api<RegistryCustody> = Api::all(context.client.clone());
    let patch = json!({
        "apiVersion": RegistryCustody::api_version(&()),
        "kind": RegistryCustody::kind(&()),
        "status": status,
    });
    let parameters = PatchParams::apply(MANAGER).force();
    match api.patch_status(&name, &parameters, &Patch::Apply(patch)).await {
        Ok(_) => {}
        // Deleted meanwhile: there is nobody left to tell.
        Err(kube::Error::Api(error)) if error.code == 404 => return Ok(()),
        Err(source) => {
            return Err(ReconcileError::StatusNotWritten {
                source: Box::new(source),
            });
        }
    }
    context.metrics.wrote("RegistryCustody");
    let mut events = event::of_change(&before.conditions, &status.conditions);
    let registry = &custody.spec.registry.id;
    let point = |sequence| points::reference(registry, sequence);
    events.extend(event::of_alarms(&before.alarms, &status.alarms, point));
    event::publish(&context.recorder, &custody.object_ref(&()), events).await;
    Ok(())
}

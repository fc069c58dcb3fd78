//! What the resource says about itself: computed from what was applied and what the sidecar reports, never from hope.
//!
//! [`facts`] are what the sidecar reports of copies and runs, [`ready`] says whether the resource is followed, and [`health`] how its data
//! are.

mod facts;
mod health;
mod ready;

use dataembassy_contract::Reason;
use dataembassy_crds::{Condition, RegistryMirror, RegistryMirrorStatus};
use jiff::Timestamp;

use crate::condition::{Conditions, Finding};
use crate::mirror::Outcome;
use crate::mirror::dereference::Found;
use crate::status::Observed;

/// Computes the status. Pure.
#[must_use]
pub fn observe(
    mirror: &RegistryMirror,
    found: &Found,
    outcome: &Outcome,
    now: Timestamp,
) -> RegistryMirrorStatus {
    let before = mirror.status.clone().unwrap_or_default();
    let generation = mirror.metadata.generation.unwrap_or_default();
    let report = found.report.as_ref().and_then(|report| report.as_deref().ok());
    let mut status = facts::facts(&before, report);
    status.observed_generation = Some(generation);
    if let Outcome::Applied(applied) = outcome {
        status.signing_key_secret.clone_from(&applied.signing_key_secret);
        if !applied.runs {
            status.next_schedule_time = None;
            status.run = None;
        }
    }

    let ready = ready::ready(found, outcome, mirror, status.last_copy.as_ref(), now);
    let mut conditions = Conditions::new(&before.conditions, generation, now);
    let stalled = ready::stalled(found, outcome);
    let settled = ready.status == dataembassy_crds::ConditionStatus::True || stalled.is_some();
    let reconciling = (!settled).then(|| Finding::yes(ready.reason, ready.message.clone()));
    conditions.set("Ready", ready);
    if let Some(reconciling) = reconciling {
        conditions.set("Reconciling", reconciling);
    }
    if let Some(stalled) = stalled {
        conditions.set("Stalled", stalled);
    }
    conditions.set("SourceReachable", health::source(mirror, report, found));
    conditions.set("StoreReachable", health::store(mirror, report, found));
    conditions.set(
        "WithinRPO",
        health::within_rpo(mirror, status.last_copy.as_ref(), now),
    );
    conditions.set("Intact", health::intact(report, found));
    conditions.set("Drilled", health::drilled(report, found));
    for (type_, fault) in [
        ("Fenced", report.and_then(|report| report.fenced.as_ref())),
        ("Suspicious", report.and_then(|report| report.suspicious.as_ref())),
    ] {
        if let Some(fault) = fault {
            conditions.set(type_, Finding::yes(fault.reason, fault.message.clone()));
        } else if report.is_none()
            && let Some(kept) = crate::condition::find(&before.conditions, type_)
        {
            // Silence takes nothing back.
            let reason = kept.reason.parse().unwrap_or(Reason::Other);
            conditions.set(type_, Finding::yes(reason, kept.message.clone()));
        }
    }
    status.conditions = conditions.finish();
    status
}

impl Observed for RegistryMirror {
    type Status = RegistryMirrorStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }
}

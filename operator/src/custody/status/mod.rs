//! What a registry in custody says about itself: computed from the custodian's report and the gates', never from hope.
//!
//! [`facts`] are what the custodian reports as it is, [`ready`] says whether the resource is followed, and [`health`] whether the registry is
//! safe.

mod facts;
mod health;
mod ready;

use dataembassy_contract::Reason;
use dataembassy_crds::{Condition, ConditionStatus, RegistryCustody, RegistryCustodyStatus};
use jiff::Timestamp;
use kube::runtime::events::Event;

use crate::condition::{Conditions, Finding};
use crate::custody::dereference::Found;
use crate::custody::{Outcome, heard, points};
use crate::status::Observed;
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
    status.last_heard_time = heard::last_heard_time(&before, &home, now);

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

impl Observed for RegistryCustody {
    type Status = RegistryCustodyStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    fn further_events(&self, before: &Self::Status, after: &Self::Status) -> Vec<Event> {
        let point = |sequence| points::reference(&self.spec.registry.id, sequence);
        event::of_alarms(&before.alarms, &after.alarms, point)
    }
}

//! What the resource says about itself at the embassy: computed from what was applied and what custodian and gates report.
//!
//! [`facts`] are what they report as it is, [`custodian`], [`gate`] and [`store`] how each of them is, and [`ready`] whether the resource is
//! followed.

mod custodian;
mod facts;
mod gate;
mod ready;
mod store;

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::CustodianReport;
use dataembassy_crds::{Condition, ConditionStatus, DataEmbassy, DataEmbassyStatus};
use jiff::Timestamp;

use crate::condition::{Conditions, Finding};
use crate::embassy::Outcome;
use crate::embassy::dereference::Found;
use crate::status::Observed;

/// What custodian and gates have in common here.
struct View<'a> {
    embassy: &'a DataEmbassy,
    before: &'a DataEmbassyStatus,
    found: &'a Found,
    outcome: &'a Outcome,
    report: Option<&'a CustodianReport>,
    now: Timestamp,
}

/// Computes the status where the embassy's standing half runs, or is to run. Pure.
#[must_use]
pub fn observe(embassy: &DataEmbassy, found: &Found, outcome: &Outcome, now: Timestamp) -> DataEmbassyStatus {
    let before = embassy.status.clone().unwrap_or_default();
    let generation = embassy.metadata.generation.unwrap_or_default();
    let view = View {
        embassy,
        before: &before,
        found,
        outcome,
        report: found.report.as_ref().and_then(|report| report.as_deref().ok()),
        now,
    };
    let mut status = facts::facts(&view);
    status.observed_generation = Some(generation);

    let custodian = custodian::ready(&view);
    let gate = gate::ready(&view);
    let ready = ready::ready(&view, &custodian, &gate);
    let stalled = ready::stalled(&view);
    let settled = ready.status == ConditionStatus::True || stalled.is_some();
    let reconciling = (!settled).then(|| Finding::yes(ready.reason, ready.message.clone()));
    let mut conditions = Conditions::new(&before.conditions, generation, now);
    conditions.set("Ready", ready);
    for (type_, finding) in [("Reconciling", reconciling), ("Stalled", stalled)] {
        if let Some(finding) = finding {
            conditions.set(type_, finding);
        }
    }
    conditions.set("CustodianReady", custodian);
    conditions.set("GateReady", gate);
    conditions.set("StoreReachable", store::reachable(&view));
    conditions.set("SpaceSufficient", store::space(&view));
    for (type_, finding) in [
        ("Suspicious", gate::suspicious(&view)),
        ("CertificateExpiring", gate::certificate_expiring(&view, &status)),
        ("UnknownRegistries", store::unknown_registries(&status)),
        ("StoreExposed", store::exposed(&status)),
        ("ClockSkewed", store::clock_skewed(&status)),
    ] {
        if let Some(finding) = finding {
            conditions.set(type_, finding);
        }
    }
    status.conditions = conditions.finish();
    status
}

/// Computes the status where nothing runs for the resource: it is judged, and that is all. Pure.
#[must_use]
pub fn of_judgement(
    embassy: &DataEmbassy,
    judged: Result<&str, &crate::embassy::validate::Refusal>,
    now: Timestamp,
) -> DataEmbassyStatus {
    let generation = embassy.metadata.generation.unwrap_or_default();
    let before = embassy
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let mut conditions = Conditions::new(before, generation, now);
    match judged {
        Ok(message) => conditions.set("Ready", Finding::yes(Reason::Accepted, message)),
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

impl Observed for DataEmbassy {
    type Status = DataEmbassyStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }
}

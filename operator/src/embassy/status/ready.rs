//! Whether the resource is followed: `Ready`, and `Stalled` where only a change of something helps.

use dataembassy_contract::Reason;
use dataembassy_crds::ConditionStatus;

use super::{View, gate};
use crate::condition::Finding;
use crate::embassy::Outcome;
use crate::embassy::apply::{Rolled, Wait};

/// Whether custodian and gates run with this generation: the spec is valid, the objects are applied, and the reports echo it.
pub(super) fn ready(view: &View<'_>, custodian: &Finding, gate_ready: &Finding) -> Finding {
    let applied = match view.outcome {
        Outcome::Refused(refusal) => return Finding::no(refusal.reason, refusal.message.clone()),
        Outcome::NotApplied(error) => return Finding::no(error.reason(), error.to_string()),
        Outcome::Applied(applied) => applied,
    };
    for (process, rolled) in [("custodian", applied.custodian), ("gate", applied.gate)] {
        if let Some(finding) = rolling(process, rolled) {
            return finding;
        }
    }
    for finding in [custodian, gate_ready] {
        if finding.status != ConditionStatus::True {
            return finding.clone();
        }
    }
    let generation = view.embassy.metadata.generation.unwrap_or_default();
    if let Some(finding) = loaded(view, generation) {
        return finding;
    }
    // Home has its door, of an old gate perhaps: what was asked for is not there.
    if let Some(trouble) = gate::hindered(view) {
        return Finding::no(trouble.reason, trouble.message);
    }
    Finding::yes(
        Reason::Loaded,
        "custodian and gate run with the newest generation of this resource",
    )
}

fn rolling(process: &str, rolled: Rolled) -> Option<Finding> {
    match rolled.waits {
        Some(Wait::OthersFirst) => Some(Finding::no(
            Reason::RolloutPending,
            format!("new pods of the {process} are due and wait for others that are being replaced"),
        )),
        Some(Wait::CustodianFirst) => Some(Finding::no(
            Reason::RolloutPending,
            format!(
                "new pods of the {process} are due and wait until the custodian's new pod answers: see CustodianReady"
            ),
        )),
        None if rolled.replaces => Some(Finding::no(
            Reason::Applying,
            format!("new pods take the place of the {process}'s"),
        )),
        None => None,
    }
}

/// What is not yet loaded, or was refused, of this generation.
fn loaded(view: &View<'_>, generation: i64) -> Option<Finding> {
    let custodian = view
        .report
        .map(|report| ("custodian", &report.loaded, &report.refused));
    let gates = view
        .found
        .sight
        .reports()
        .map(|report| ("gate", &report.loaded, &report.refused));
    custodian
        .into_iter()
        .chain(gates)
        .find_map(|(process, loaded, refused)| {
            if let Some(fault) = refused {
                let message = format!(
                    "the {process} goes on with an older configuration: {}",
                    fault.message
                );
                return Some(Finding::no(fault.reason, message));
            }
            let current = loaded
                .as_ref()
                .is_some_and(|loaded| loaded.generation == generation);
            (!current).then(|| {
                let message =
                    format!("the {process} has not loaded the newest generation of this resource yet");
                Finding::no(Reason::NotYetLoaded, message)
            })
        })
}

/// What cannot mend itself: the resource or something in its way has to be changed.
pub(super) fn stalled(view: &View<'_>) -> Option<Finding> {
    let runs = view.found.custodian.deployment.is_some() || view.found.gate.deployment.is_some();
    let goes_on = if runs {
        "; custodian and gate go on with what was valid before"
    } else {
        ""
    };
    match view.outcome {
        Outcome::Refused(refusal) => Some(Finding::yes(
            refusal.reason,
            format!("{}{goes_on}", refusal.message),
        )),
        Outcome::NotApplied(error) if error.is_permanent() => {
            Some(Finding::yes(error.reason(), format!("{error}{goes_on}")))
        }
        Outcome::NotApplied(_) | Outcome::Applied(_) => None,
    }
}

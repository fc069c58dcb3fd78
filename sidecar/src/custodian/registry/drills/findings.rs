//! Drills that are missing, and the one that failed. No I/O; the time is an argument.

use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::entry::StandingDrill;
use jiff::{SignedDuration, Timestamp};

use crate::custodian::finding::{Finding, Loss};
use crate::custodian::registry::holdings::HoldingsState;

/// What is wrong with the drills of a registry. `every` is how often a copy must pass one, if somebody said so.
#[must_use]
pub fn findings(
    view: &CustodyView,
    holdings: &HoldingsState,
    every: Option<Duration>,
    now: Timestamp,
) -> Vec<Finding> {
    let overdue = every.and_then(|every| overdue(view, holdings, every, now));
    failed(view).into_iter().chain(overdue).collect()
}

/// When a copy passed last, whether it still lives or not.
#[must_use]
pub fn latest_pass(view: &CustodyView) -> Option<Timestamp> {
    let passed = view.drills().iter().filter(|drill| drill.passed);
    passed.map(|drill| drill.at.as_jiff()).max()
}

fn failed(view: &CustodyView) -> Option<Finding> {
    let drill = view.drills().last().filter(|drill| !drill.passed)?;
    Some(Finding {
        reason: Reason::DrillFailed,
        sequence: Some(drill.source_sequence),
        what: told(drill),
        lost: Loss::Drilled,
    })
}

/// That a copy did not pass, and where it says why.
#[must_use]
pub fn told(drill: &StandingDrill) -> String {
    format!(
        "it did not pass the drill that ended {:.0}; the registry's reports/{}.html says why",
        drill.at.as_jiff(),
        drill.order
    )
}

fn overdue(view: &CustodyView, holdings: &HoldingsState, every: Duration, now: Timestamp) -> Option<Finding> {
    let arrivals = holdings.copies.values().map(|held| held.arrived_at);
    let first = arrivals.min()?;
    let limit = SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX);
    let hours = |time: SignedDuration| time.as_hours();
    let (since, told) = match latest_pass(view) {
        Some(passed) => (passed, format!("no copy passed a drill since {passed:.0}")),
        None => (
            first,
            format!("no copy is known to have passed a drill, and the first of them came {first:.0}"),
        ),
    };
    let waited = now.duration_since(since);
    (waited > limit).then(|| Finding {
        reason: Reason::DrillOverdue,
        sequence: None,
        what: format!(
            "{told}, {} hours ago, and one must every {} hours",
            hours(waited),
            hours(limit)
        ),
        lost: Loss::Nothing,
    })
}

//! From what is known of the copies to the plan. No I/O; the time is an argument.

use std::collections::BTreeSet;
use std::time::Duration;

use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::retention::{Candidate, Plan, Policy, Quality, plan};
use jiff::Timestamp;

use crate::custodian::configuration::RegistrySettings;
use crate::custodian::registry::holdings::{Held, HoldingsState};
use crate::custodian::registry::judgement::OVERDUE_PARTS;
use crate::process::clock::has_passed;

/// Which living copies stay and which go.
#[must_use]
pub fn plan_of(
    holdings: &HoldingsState,
    settings: &RegistrySettings,
    view: &CustodyView,
    period: Duration,
    now: Timestamp,
) -> Plan {
    let is_drilled = |held: &Held| {
        view.drill_of(held.reference.sequence)
            .is_some_and(|drill| drill.passed)
    };
    let drills_exist = holdings.copies.values().any(is_drilled);
    let candidates = holdings.copies.values();
    let candidates = candidates.map(|held| candidate(held, is_drilled(held), period, now));
    plan(candidates, &policy(settings, view), drills_exist, now)
}

fn candidate(held: &Held, drilled: bool, period: Duration, now: Timestamp) -> Candidate {
    Candidate {
        sequence: held.reference.sequence,
        arrived_at: held.arrived_at,
        term: held.term,
        quality: quality(held, drilled, period, now),
        sealed_bytes: held.bytes,
        parents: held.parents.clone(),
    }
}

/// A proof counts for as long as reading back is not overdue: what was whole a year ago is not judged by that. A drill counts for as long as
/// the copy is as it was then: whole.
fn quality(held: &Held, drilled: bool, period: Duration, now: Timestamp) -> Quality {
    let limit = period + period / OVERDUE_PARTS;
    match (held.fault(), held.read.verified_at) {
        (Some(_), _) => Quality::Broken,
        (None, Some(at)) if !has_passed(at, limit, now) => {
            if drilled {
                Quality::Drilled
            } else {
                Quality::Intact
            }
        }
        (None, _) => Quality::Unread,
    }
}

/// The rules of the configuration. A pin counts from the moment it is in the configuration, and until the chain says that it is none.
fn policy(settings: &RegistrySettings, view: &CustodyView) -> Policy {
    let rules = &settings.retention;
    let pins = settings.pins.iter().map(|(sequence, _)| *sequence);
    let pins: BTreeSet<_> = pins.chain(view.pins().iter().copied()).collect();
    Policy {
        keep_within: rules.keep_within.as_std(),
        daily: rules.daily,
        weekly: rules.weekly,
        monthly: rules.monthly,
        yearly: rules.yearly,
        minimum: rules.minimum,
        pins,
    }
}

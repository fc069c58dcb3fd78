//! From what is known of the copies to the plan. No I/O; the time is an argument.

use std::collections::BTreeSet;
use std::time::Duration;

use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::retention::{Candidate, Plan, Policy, Quality, plan};
use jiff::{SignedDuration, Timestamp};

use crate::custodian::configuration::RegistrySettings;
use crate::custodian::registry::holdings::{Held, HoldingsState};
use crate::custodian::registry::judgement::OVERDUE_PARTS;

/// Which living copies stay and which go.
#[must_use]
pub fn plan_of(
    holdings: &HoldingsState,
    settings: &RegistrySettings,
    view: &CustodyView,
    period: Duration,
    now: Timestamp,
) -> Plan {
    let has_passed = |held: &Held| {
        view.drill_of(held.reference.sequence)
            .is_some_and(|drill| drill.passed)
    };
    let drills_exist = holdings.copies.values().any(has_passed);
    let candidates = holdings.copies.values();
    let candidates = candidates.map(|held| candidate(held, has_passed(held), period, now));
    plan(candidates, &policy(settings, view), drills_exist, now)
}

fn candidate(held: &Held, has_passed: bool, period: Duration, now: Timestamp) -> Candidate {
    Candidate {
        sequence: held.reference.sequence,
        arrived_at: held.arrived_at,
        term: held.term,
        quality: quality(held, has_passed, period, now),
        sealed_bytes: held.bytes,
        parents: held.parents.clone(),
    }
}

/// A proof counts for as long as reading back is not overdue: what was whole a year ago is not judged by that. A drill counts for as long as
/// the copy is as it was then: whole.
fn quality(held: &Held, has_passed: bool, period: Duration, now: Timestamp) -> Quality {
    let limit = SignedDuration::try_from(period + period / OVERDUE_PARTS).unwrap_or(SignedDuration::MAX);
    match (held.fault(), held.read.verified_at) {
        (Some(_), _) => Quality::Broken,
        (None, Some(at)) if now.duration_since(at) <= limit && has_passed => Quality::Drilled,
        (None, Some(at)) if now.duration_since(at) <= limit => Quality::Intact,
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

//! From what is known of the copies to the plan. No I/O; the time is an argument.

use std::collections::BTreeSet;
use std::time::Duration;

use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::retention::{Candidate, Plan, Policy, Quality, plan};
use jiff::{SignedDuration, Timestamp};

use crate::custodian::configuration::RegistrySettings;
use crate::custodian::registry::holdings::{Held, HoldingsState};
use crate::custodian::registry::judgement::OVERDUE_PARTS;

/// This version walks past `drill` entries, so no copy counts as drilled.
const DRILLS_EXIST: bool = false;

/// Which living copies stay and which go.
#[must_use]
pub fn plan_of(
    holdings: &HoldingsState,
    settings: &RegistrySettings,
    view: &CustodyView,
    period: Duration,
    now: Timestamp,
) -> Plan {
    let candidates = holdings.copies.values().map(|held| candidate(held, period, now));
    plan(candidates, &policy(settings, view), DRILLS_EXIST, now)
}

fn candidate(held: &Held, period: Duration, now: Timestamp) -> Candidate {
    Candidate {
        sequence: held.reference.sequence,
        arrived_at: held.arrived_at,
        term: held.term,
        quality: quality(held, period, now),
        sealed_bytes: held.bytes,
        parents: held.parents.clone(),
    }
}

/// A proof counts for as long as reading back is not overdue: what was whole a year ago is not judged by that.
fn quality(held: &Held, period: Duration, now: Timestamp) -> Quality {
    let limit = SignedDuration::try_from(period + period / OVERDUE_PARTS).unwrap_or(SignedDuration::MAX);
    match (held.fault(), held.read.verified_at) {
        (Some(_), _) => Quality::Broken,
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

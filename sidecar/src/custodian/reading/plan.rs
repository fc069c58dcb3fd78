//! Which copy is read back next. No clock is read here.
//!
//! Copies that were never read come first, the newest of them before the others: it is the one that matters most. Then the one that was
//! read longest ago, once half of the period has passed: the other half is left for reading.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;

use crate::custodian::registry::holdings::{Held, Manifest};
use crate::process::clock::has_passed;

/// Between two looks at objects that were found wrong.
const RETRY: Duration = Duration::from_secs(30);

/// What comes first has the least of these.
pub type Urgency = (bool, Option<Timestamp>, Reverse<Timestamp>);

/// How urgent it is to read a copy back; `None` while it is not due.
#[must_use]
pub fn urgency(held: &Held, now: Timestamp, period: Duration) -> Option<Urgency> {
    let is_known = matches!(held.manifest, Manifest::Sound(_));
    let is_there = held.listed.damage.is_none();
    // What was found wrong is looked at by itself, and the whole copy again only when that has healed.
    let is_judged = held.read.damage.as_ref().is_some_and(|damage| damage.complete);
    if !is_known || !is_there || is_judged {
        return None;
    }
    let half = period / 2;
    let last = held.read.verified_at;
    let is_due = held.read.partial.is_some() || last.is_none_or(|last| has_passed(last, half, now));
    is_due.then_some((last.is_some(), last, Reverse(held.arrived_at)))
}

/// Whether objects of a copy that were found wrong are to be looked at again.
#[must_use]
pub fn is_to_recheck(held: &Held, now: Timestamp) -> bool {
    let damage = held.read.damage.as_ref();
    damage.is_some_and(|damage| damage.complete && has_passed(damage.looked_at, RETRY, now))
}

//! What a run found, from the pod's claim to the record of a run that has ended. Order, drill and registry are those that the operator itself
//! has fixed: a pod cannot speak for another one.

use dataembassy_contract::drill::{DrillResult, Found, Pick, Tools, Verdict};
use dataembassy_contract::restore::ChosenCopy;
use dataembassy_contract::{Reason, report};
use dataembassy_crds::{CurrentDrill, DrillOutcome, DrillPick, EndedDrill, RegistryDrill};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::condition::rfc3339;
use crate::drill::names;
use crate::progress::{copy, whole};

/// The last number that a ledger has.
const LAST_SEQUENCE: u64 = 999_999_999_999;

/// What a run's pod claims to have found, if it is about this run.
#[must_use]
pub fn accept(drill: &RegistryDrill, current: &CurrentDrill, claimed: &DrillResult) -> Option<DrillResult> {
    if !is_about(drill, current, claimed) {
        return None;
    }
    let mut result = claimed.clone();
    // A run does not end before it begins, whatever a clock in the pod says.
    result.ended_at = result.ended_at.max(result.started_at);
    Some(result)
}

/// What the status keeps of the run that is at work; `None` where there is nothing, or nothing that is about this run.
#[must_use]
pub fn kept(drill: &RegistryDrill, current: &CurrentDrill) -> Option<DrillResult> {
    let result = DrillResult::read(current.result.as_deref()?)?;
    is_about(drill, current, &result).then_some(result)
}

fn is_about(drill: &RegistryDrill, current: &CurrentDrill, result: &DrillResult) -> bool {
    result.order == current.order
        // Of two orders with one id, or one that is none, the custodian would take nothing at all.
        && names::is_order_of(&drill.name_any(), &current.order)
        && result.registry == drill.spec.registry.id
        && result.drill == names::full(drill)
}

/// What is recorded of a run whose pod has said nothing that could be signed.
#[must_use]
pub fn inconclusive(
    drill: &RegistryDrill,
    current: &CurrentDrill,
    (reason, message): (Reason, String),
    now: Timestamp,
) -> DrillResult {
    DrillResult {
        order: current.order.clone(),
        drill: names::full(drill),
        registry: drill.spec.registry.id.clone(),
        verdict: Verdict::Inconclusive,
        reason,
        message,
        pick: match drill.spec.pick {
            DrillPick::Latest => Pick::Latest,
            DrillPick::Random => Pick::Random,
            DrillPick::OldestUndrilled => Pick::OldestUndrilled,
        },
        copy: None,
        started_at: began_at(current).unwrap_or(now),
        ended_at: now,
        recovery_seconds: None,
        rto_seconds: None,
        steps: Vec::new(),
        found: Found::default(),
        schema_digest: None,
        assertions: Vec::new(),
        left_out: Vec::new(),
        tools: Tools::default(),
        notes: Vec::new(),
    }
}

/// When a run began.
#[must_use]
pub fn began_at(current: &CurrentDrill) -> Option<Timestamp> {
    current.started_at.parse().ok()
}

/// The record of a run that has ended; `entry` is the number that the custodian has signed it under.
#[must_use]
pub fn ended(current: &CurrentDrill, result: &DrillResult, entry: Option<u64>) -> EndedDrill {
    let chosen = result.copy.as_ref().map(|copy| ChosenCopy {
        sequence: copy.sequence,
        copy_id: copy.copy_id.clone(),
        taken_at: copy.taken_at,
    });
    let entry = entry.filter(|sequence| (1..=LAST_SEQUENCE).contains(sequence));
    let passed = result.assertions.iter().filter(|one| one.passed).count();
    let all = result.assertions.len();
    EndedDrill {
        order: current.order.clone(),
        result: match result.verdict {
            Verdict::Passed => DrillOutcome::Passed,
            Verdict::Failed => DrillOutcome::Failed,
            Verdict::Inconclusive => DrillOutcome::Inconclusive,
        },
        reason: match result.verdict {
            Verdict::Passed => Reason::DrillPassed,
            Verdict::Failed | Verdict::Inconclusive => result.reason,
        }
        .to_string(),
        message: words(result),
        started_at: current.started_at.clone(),
        ended_at: rfc3339(result.ended_at),
        copy: chosen.as_ref().and_then(copy).or_else(|| current.copy.clone()),
        recovery: result
            .recovery_seconds
            .map(|seconds| recovery(seconds, result.rto_seconds)),
        recovery_seconds: result.recovery_seconds.map(|seconds| whole(seconds.ceil())),
        assertions: (all > 0).then(|| format!("{passed} of {all}")),
        report: entry.map(|_| format!("registries/{}/reports/{}", result.registry, current.order)),
        entry: entry.and_then(|sequence| i64::try_from(sequence).ok()),
    }
}

/// None is without words.
fn words(result: &DrillResult) -> String {
    let message = if result.message.is_empty() {
        result.reason.meaning()
    } else {
        &result.message
    };
    message.chars().take(report::MAX_MESSAGE).collect()
}

/// How long a recovery took, and what it may take.
fn recovery(seconds: f64, limit: Option<u64>) -> String {
    let took = whole(seconds.ceil());
    let (minutes, hours) = (took / 60, took / 3_600);
    let took = match (hours, minutes) {
        (0, 0 | 1) => format!("{took} s"),
        (0, _) => format!("{minutes} min {} s", took % 60),
        (_, _) => format!("{hours} h {} min", minutes % 60),
    };
    match limit {
        Some(limit) => format!("{took} of {}", length(limit)),
        None => took,
    }
}

/// Seconds as a resource writes them: in the largest unit that gives a whole number.
fn length(seconds: u64) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let unit = units
        .into_iter()
        .find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    match unit {
        Some((unit, letter)) => format!("{}{letter}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_is_told_beside_what_it_may_take() {
        for (seconds, limit, words) in [
            (47.2, Some(7_200), "48 s of 2h"),
            (119.0, None, "119 s"),
            (120.0, Some(90 * 60), "2 min 0 s of 90m"),
            (3_661.0, Some(86_400), "1 h 1 min of 1d"),
            (f64::NAN, Some(61), "0 s of 61s"),
        ] {
            assert_eq!(recovery(seconds, limit), words);
        }
        assert!(recovery(f64::INFINITY, Some(u64::MAX)).len() <= 64);
    }
}

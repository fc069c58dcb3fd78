//! Events: one for each condition that changed and for each alarm that came, so that `kubectl describe` tells the story.

use dataembassy_crds::{Condition, ConditionStatus, CustodyAlarm};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};

use crate::condition::find;

/// The most characters of an event's note that the API server takes are 1024.
const MAX_NOTE: usize = 1000;

/// Conditions that only repeat what others, alarms, or events of their own say.
const REPEATED: [&str; 3] = ["Reconciling", "Alarmed", "Passed"];
/// Conditions that exist only while true, and are bad news.
const BAD_NEWS: [&str; 8] = [
    "Stalled",
    "Fenced",
    "Suspicious",
    "RetrievalOpen",
    "UnknownRegistries",
    "StoreExposed",
    "ClockSkewed",
    "CertificateExpiring",
];

/// Reasons for which something is not known that may become known by itself, or by a person's choice.
const AWAITED: [&str; 5] = [
    "NotYetKnown",
    "NoCopyYet",
    "NeverDrilled",
    "CapacityUnknown",
    "Verifying",
];

/// What was seen, good news or bad, cut to what an event's note may have.
#[must_use]
pub fn observed(is_good: bool, reason: &str, note: &str) -> Event {
    Event {
        type_: if is_good {
            EventType::Normal
        } else {
            EventType::Warning
        },
        reason: reason.to_owned(),
        note: Some(note.chars().take(MAX_NOTE).collect()),
        action: "Observe".to_owned(),
        secondary: None,
    }
}

/// The events that a change of conditions is worth.
#[must_use]
pub fn of_change(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    after
        .iter()
        .filter(|now| {
            !REPEATED.contains(&now.type_.as_str())
                && find(before, &now.type_)
                    .is_none_or(|then| then.status != now.status || then.reason != now.reason)
                && !(now.status == ConditionStatus::Unknown && find(before, &now.type_).is_none())
        })
        .map(|now| {
            let note = format!("{} is {:?}: {}", now.type_, now.status, now.message);
            observed(is_good(now), &now.reason, &note)
        })
        .collect()
}

/// The events that new alarms are worth. `point` refers to the recovery point of a copy: an event that names the same things as one of late
/// is only counted, and would keep the words of the other copy.
#[must_use]
pub fn of_alarms(
    before: &[CustodyAlarm],
    after: &[CustodyAlarm],
    point: impl Fn(i64) -> ObjectReference,
) -> Vec<Event> {
    let is_new = |now: &&CustodyAlarm| {
        !before
            .iter()
            .any(|then| then.reason == now.reason && then.sequence == now.sequence)
    };
    after
        .iter()
        .filter(is_new)
        .map(|alarm| Event {
            secondary: alarm.sequence.map(&point),
            ..observed(false, &alarm.reason, &alarm.message)
        })
        .collect()
}

/// Whether a condition is nothing to worry about.
fn is_good(condition: &Condition) -> bool {
    let is_true = condition.status == ConditionStatus::True;
    match condition.type_.as_str() {
        bad if BAD_NEWS.contains(&bad) => false,
        "Ready" | "CustodianReady" | "GateReady" => {
            (is_true && condition.reason != "OutOfMemory")
                || condition.reason == "Applying"
                || condition.reason == "NotYetLoaded"
                || condition.reason == "Restoring"
        }
        // That nobody knows yet is no news.
        _ => {
            is_true
                || (condition.status == ConditionStatus::Unknown
                    && AWAITED.contains(&condition.reason.as_str()))
        }
    }
}

/// Publishes events. A lost event is no reason to fail a reconcile: the conditions hold the truth.
pub async fn publish(recorder: &Recorder, reference: &ObjectReference, events: Vec<Event>) {
    for event in events {
        if let Err(error) = recorder.publish(&event, reference).await {
            tracing::warn!(%error, reason = event.reason, "an event was not recorded");
        }
    }
}

#[cfg(test)]
mod tests {
    use dataembassy_contract::Reason;

    use super::*;
    use crate::condition::{Conditions, Finding};

    fn conditions(findings: &[(&str, Finding)]) -> Vec<Condition> {
        let mut conditions = Conditions::new(&[], 1, "2026-11-23T10:00:00Z".parse().unwrap());
        for (type_, finding) in findings {
            conditions.set(type_, finding.clone());
        }
        conditions.finish()
    }

    #[test]
    fn only_what_changed_is_told() {
        let before = conditions(&[
            ("Ready", Finding::yes(Reason::Loaded, "")),
            ("SourceReachable", Finding::yes(Reason::Reachable, "")),
        ]);
        let after = conditions(&[
            ("Ready", Finding::yes(Reason::Loaded, "another text")),
            (
                "SourceReachable",
                Finding::no(Reason::SourceUnreachable, "no route"),
            ),
            ("WithinRPO", Finding::unknown(Reason::NoCopyYet, "")),
        ]);
        let events = of_change(&before, &after);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].reason, "SourceUnreachable");
        assert_eq!(events[0].type_, EventType::Warning);
    }
    #[test]
    fn each_new_alarm_is_told_once() {
        let alarm = |reason: &str, sequence: i64| CustodyAlarm {
            reason: reason.to_owned(),
            message: format!("copy {sequence} of population is lost"),
            since: "2026-11-23T10:00:00Z".to_owned(),
            sequence: Some(sequence),
        };
        let before = [alarm("ObjectChanged", 7)];
        let after = [alarm("ObjectChanged", 7), alarm("ObjectChanged", 8)];
        let point = |sequence| ObjectReference {
            name: Some(format!("population-{sequence:012}")),
            ..ObjectReference::default()
        };
        let events = of_alarms(&before, &after, point);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].reason, "ObjectChanged");
        assert!(events[0].note.as_ref().unwrap().contains("copy 8"));
        // One of another copy refers to something else, so that it is not taken for a repetition.
        let about = events[0].secondary.as_ref().unwrap();
        assert_eq!(about.name.as_deref(), Some("population-000000000008"));
        assert!(of_alarms(&after, &after, point).is_empty());
    }
}

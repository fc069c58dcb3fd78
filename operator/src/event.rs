//! Events: one for each condition that changed, so that `kubectl describe` tells the story.

use dataembassy_crds::{Condition, ConditionStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};

use crate::condition::find;

/// The most characters of an event's note that the API server takes are 1024.
const MAX_NOTE: usize = 1000;

/// The events that a change of conditions is worth. `Reconciling` only repeats what `Ready` says.
#[must_use]
pub fn of_change(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    after
        .iter()
        .filter(|now| {
            now.type_ != "Reconciling"
                && find(before, &now.type_)
                    .is_none_or(|then| then.status != now.status || then.reason != now.reason)
                && !(now.status == ConditionStatus::Unknown && find(before, &now.type_).is_none())
        })
        .map(|now| Event {
            type_: if is_good(now) {
                EventType::Normal
            } else {
                EventType::Warning
            },
            reason: now.reason.clone(),
            note: Some(
                format!("{} is {:?}: {}", now.type_, now.status, now.message)
                    .chars()
                    .take(MAX_NOTE)
                    .collect(),
            ),
            action: "Observe".to_owned(),
            secondary: None,
        })
        .collect()
}

/// Whether a condition is nothing to worry about. Those that exist only while true are bad news.
fn is_good(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        "Stalled" | "Fenced" | "Suspicious" => false,
        "Ready" => {
            (condition.status == ConditionStatus::True && condition.reason != "OutOfMemory")
                || condition.reason == "Applying"
                || condition.reason == "NotYetLoaded"
        }
        _ => condition.status == ConditionStatus::True,
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
}

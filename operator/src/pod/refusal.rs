//! Why a pod that was asked for is not there. Whoever makes the pods of a Job or a `StatefulSet` says so in an event alone, where a Deployment has a
//! condition for it.

use dataembassy_contract::report::clean;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};

/// The reason of such an event.
const FAILED_CREATE: &str = "FailedCreate";
/// How many of them are read at once: whoever may make some there has made each as long as the API server takes.
const PAGE: u32 = 5;
/// How often more are asked for; what is said again and again is one.
const PAGES: usize = 20;
/// The most characters of what one says.
const LONGEST: usize = 512;

/// Why no pod can be made for the object with this UID, as was said last; `None` where nobody has said anything, or where events may not be read.
/// They are words for people, which anybody who may write events there can put: nothing is decided by them.
pub async fn refusal(client: &Client, namespace: &str, uid: &str) -> Option<String> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let fields = format!("regarding.uid={uid},reason={FAILED_CREATE}");
    let mut page = ListParams::default().fields(&fields).limit(PAGE);
    let mut newest = None;
    for _ in 0..PAGES {
        let found = match events.list(&page).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(namespace, %error, "events cannot be read");
                break;
            }
        };
        newest = found
            .items
            .into_iter()
            .chain(newest)
            .filter(|event| is_about(event, uid))
            .max_by_key(last_at);
        let Some(next) = found.metadata.continue_.filter(|next| !next.is_empty()) else {
            break;
        };
        page = page.continue_token(&next);
    }
    last_word(newest.as_slice(), uid)
}

fn is_about(event: &Event, uid: &str) -> bool {
    let regarding = event.regarding.as_ref();
    event.reason.as_deref() == Some(FAILED_CREATE)
        && regarding.and_then(|regarding| regarding.uid.as_deref()) == Some(uid)
}

/// What is to be said of something that has made no pod, and why it has not, if that is known.
#[must_use]
pub fn none_made(kind: &str, name: &str, namespace: &str, why: Option<&str>) -> String {
    let what = format!("its {kind} {name} has made no pod");
    match why {
        Some(why) => format!(
            "{what} ({why}): check quotas, limits, Pod Security level and admission policies of the namespace {namespace}"
        ),
        None => format!(
            "{what}, and nobody says why; often a ResourceQuota, a LimitRange, the Pod Security level or an admission policy of the \
             namespace {namespace} refuses it: kubectl describe {} {name} --namespace {namespace}",
            kind.to_lowercase()
        ),
    }
}

fn last_word(events: &[Event], uid: &str) -> Option<String> {
    let about = events.iter().filter(|event| is_about(event, uid));
    let mut said = about.max_by_key(|event| last_at(event))?.note.clone()?;
    clean(&mut said, LONGEST);
    (!said.is_empty()).then_some(said)
}

/// When it was said last: in one of three fields, by who has said it.
fn last_at(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref();
    let series = series.map(|series| series.last_observed_time.0);
    let once = event.event_time.as_ref().map(|time| time.0);
    let old = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    series.max(once).max(old)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(uid: &str, reason: &str, note: &str, times: &Value) -> Event {
        let mut event = json!({
            "metadata": {"name": "back-restore.1"}, "reason": reason, "note": note,
            "regarding": {"kind": "Job", "name": "back-restore", "uid": uid},
        });
        for (field, time) in times.as_object().unwrap() {
            event[field] = time.clone();
        }
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn the_newest_word_about_the_object_itself_counts_whoever_has_said_it() {
        let old = json!({"deprecatedLastTimestamp": "2026-11-23T10:00:00Z"});
        let newer = json!({"eventTime": "2026-11-23T10:01:00.000000Z"});
        let newest = json!({"eventTime": "2026-11-23T09:00:00.000000Z",
            "series": {"count": 3, "lastObservedTime": "2026-11-23T10:02:00.000000Z"}});
        let mut events = vec![
            event("uid", FAILED_CREATE, "old", &old),
            event("another", FAILED_CREATE, "another's", &newest),
            event("uid", "SuccessfulCreate", "made", &newest),
        ];
        assert_eq!(last_word(&events, "uid").as_deref(), Some("old"));
        events.push(event("uid", FAILED_CREATE, "newer", &newer));
        assert_eq!(last_word(&events, "uid").as_deref(), Some("newer"));
        events.insert(0, event("uid", FAILED_CREATE, "newest", &newest));
        assert_eq!(last_word(&events, "uid").as_deref(), Some("newest"));
        assert_eq!(last_word(&events, "nobody"), None);
    }

    #[test]
    fn what_it_says_is_cut_and_cleaned_and_nothing_is_no_word() {
        let none = json!({});
        let long = format!("a\u{1b}[2J{}", "b".repeat(2_000));
        let said = last_word(&[event("uid", FAILED_CREATE, &long, &none)], "uid").unwrap();
        assert_eq!(said.chars().count(), LONGEST);
        assert!(said.starts_with("a[2Jb"), "{said}");
        assert_eq!(
            last_word(&[event("uid", FAILED_CREATE, "\u{7}", &none)], "uid"),
            None
        );
    }

    #[test]
    fn where_nobody_says_why_the_likely_causes_and_the_command_are_named() {
        let message = none_made("Job", "back-restore", "interior", None);
        for words in [
            "ResourceQuota",
            "LimitRange",
            "Pod Security",
            "kubectl describe job back-restore --namespace interior",
        ] {
            assert!(message.contains(words), "{message}");
        }
        let message = none_made("StatefulSet", "db", "abroad", Some("exceeded quota: strict"));
        assert!(
            message.contains("its StatefulSet db has made no pod (exceeded quota: strict)"),
            "{message}"
        );
    }
}

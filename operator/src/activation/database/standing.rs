//! How a managed database stands, by what Kubernetes says of its pod. Pure.

use dataembassy_contract::Reason;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use super::{Names, Standing, build};
use crate::apply::is_owned;
use crate::pod::{Words, none_made, trouble};

/// How the server is spoken of.
const WORDS: Words = Words {
    process: "database",
    settings: "target.managed",
    memory: "2Gi",
};

/// How the script begins to say what it misses of the Secrets. It knows the key, and we the Secret's name.
const LACKS: &str = "the Secret lacks the key ";

/// It is not there yet, and that is as it must be.
pub(super) fn coming(message: &str) -> Standing {
    Standing::Coming {
        reason: Reason::Applying,
        message: message.to_owned(),
    }
}

/// How it stands while its pod is not ready, by that pod; one that is not of this `StatefulSet` says nothing of it.
pub(super) fn of_pod(pod: Option<&Pod>, found: &StatefulSet, names: &Names) -> Standing {
    let owner = found.metadata.uid.as_deref().unwrap_or_default();
    let Some(pod) = pod.filter(|pod| is_owned(*pod, owner)) else {
        return coming(&format!(
            "its pod is not there yet; if that stays, kubectl describe statefulset {} says why",
            names.internal
        ));
    };
    let words = last_words(pod);
    if let Some(standing) = words.as_deref().and_then(|words| lacking(names, words)) {
        return standing;
    }
    match trouble(Some(pod), None, WORDS) {
        Some(trouble) if trouble.reason == Reason::OutOfMemory => Standing::Coming {
            reason: trouble.reason,
            message:
                "the database was killed at its memory limit: raise target.managed.resources.limits.memory"
                    .to_owned(),
        },
        Some(trouble) => Standing::Coming {
            message: words.map_or(trouble.message.clone(), |words| {
                format!("{}; it said: {words}", trouble.message)
            }),
            reason: trouble.reason,
        },
        None => words.map_or_else(
            || coming("its server is starting"),
            |words| Standing::Coming {
                reason: Reason::CrashLooping,
                message: format!("the database ended, and is started again; it said: {words}"),
            },
        ),
    }
}

/// How it stands where no pod may be made for it, by what was said of that.
pub(super) fn refused(names: &Names, namespace: &str, why: &str) -> Standing {
    Standing::Coming {
        reason: Reason::PodRefused,
        message: none_made("StatefulSet", &names.internal, namespace, Some(why)),
    }
}

/// Names the Secret that the script misses. It asks for one key after the other: where the first of a Secret is missing, all of it may be.
fn lacking(names: &Names, said: &str) -> Option<Standing> {
    let (_, key) = said.split_once(LACKS)?;
    let key = key.split(':').next().unwrap_or_default().trim();
    let (secret, keys) = match key {
        "username" | "password" => (&names.superuser, "username and password"),
        "tls.crt" | "tls.key" => (&names.authority, "tls.crt, tls.key and ca.crt"),
        _ => return None,
    };
    let (reason, message) = if matches!(key, "username" | "tls.crt") {
        let message =
            format!("the Secret {secret} is missing, or lacks what is needed of it: create it with {keys}");
        (Reason::SecretMissing, message)
    } else {
        let message = format!("the Secret {secret} lacks the key {key}: add it");
        (Reason::SecretKeyMissing, message)
    };
    Some(Standing::Coming {
        reason,
        message: format!("{message}, and the server starts by itself"),
    })
}

/// The last line of what the container ended with, last time.
fn last_words(pod: &Pod) -> Option<String> {
    const LONGEST: usize = 512;
    let ended = ended(pod)?;
    let message = ended.message.as_deref()?;
    let line = message.lines().rev().find(|line| !line.trim().is_empty())?;
    let printable = line.chars().filter(|letter| !letter.is_control());
    Some(printable.take(LONGEST).collect())
}

fn ended(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ours = containers.iter().find(|one| one.name == build::CONTAINER)?;
    let is_running = ours.state.as_ref().is_some_and(|state| state.running.is_some());
    let now = ours.state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = ours
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    // One that runs again may come up: what it said is of the past.
    if is_running { None } else { now.or(before) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// How it stands with a pod of this status, and what is said of it.
    fn said(status: &Value) -> (Reason, String) {
        let found: StatefulSet =
            serde_json::from_value(json!({"metadata": {"name": "day-population-db", "uid": "uid-set"}}))
                .unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "day-population-db-0", "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "day-population-db", "uid": "uid-set", "controller": true},
            ]},
            "status": status,
        }))
        .unwrap();
        let names = Names::new("day", "population", None, None);
        match of_pod(Some(&pod), &found, &names) {
            Standing::Coming { reason, message } => (reason, message),
            other => panic!("{other:?}"),
        }
    }

    /// The status of a pod whose server is in this state now, and was in that one before; beside it another container ended.
    fn container(state: &Value, last: &Value) -> Value {
        let one = |name: &str, state: &Value, last: &Value| {
            json!({
                "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 1, "state": state, "lastState": last,
            })
        };
        let other =
            json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": "of another container"}});
        json!({"containerStatuses": [one("other", &other, &json!({})), one("database", state, last)]})
    }

    fn ended(reason: &str, message: &str) -> Value {
        json!({"terminated": {"exitCode": 1, "reason": reason, "message": message}})
    }

    #[test]
    fn what_keeps_a_server_from_coming_up_is_said_with_its_last_words() {
        let (none, waits) = (json!({}), json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        let full = ended("Error", "starting\nno space left\u{7} on device\n \n");
        let (reason, message) = said(&container(&waits, &full));
        assert_eq!(reason, Reason::CrashLooping);
        assert!(
            message.ends_with("; it said: no space left on device"),
            "{message}"
        );

        // What it has said last counts, and not what it said before that.
        let (_, message) = said(&container(&ended("Error", "now"), &ended("Error", "before")));
        assert!(message.ends_with("it said: now"), "{message}");
        // Nobody takes what it said before for what it says now that it runs again.
        let runs = said(&container(&json!({"running": {}}), &full));
        assert_eq!(runs, (Reason::Applying, "its server is starting".to_owned()));
        let begins = said(&container(&none, &none));
        assert_eq!(begins, runs);
        let silent = said(&container(&ended("Error", " \n"), &none)).1;
        assert!(!silent.contains("it said"), "{silent}");

        let (reason, message) = said(&container(&waits, &ended("OOMKilled", "")));
        assert_eq!(reason, Reason::OutOfMemory);
        let advice = "raise target.managed.resources.limits.memory";
        assert!(message.contains(advice), "{message}");

        let (reason, message) = said(&container(&json!({"waiting": {"reason": "ErrImagePull"}}), &none));
        assert_eq!(reason, Reason::ImagePullFailed);
        assert!(!message.contains("it said"), "{message}");
    }

    #[test]
    fn last_words_are_cut_where_they_are_long() {
        let message = said(&container(&json!({}), &ended("Error", &"ä".repeat(600)))).1;
        assert_eq!(message.matches('ä').count(), 512);
    }

    #[test]
    fn a_pod_that_is_not_there_or_anothers_is_waited_for() {
        let found: StatefulSet = serde_json::from_value(json!({"metadata": {"uid": "uid-set"}})).unwrap();
        let names = Names::new("day", "population", None, None);
        let anothers: Pod =
            serde_json::from_value(json!({"metadata": {"name": "day-population-db-0"}})).unwrap();
        for pod in [None, Some(&anothers)] {
            let Standing::Coming { reason, message } = of_pod(pod, &found, &names) else {
                panic!("it stands");
            };
            assert_eq!(reason, Reason::Applying);
            assert!(
                message.contains("describe statefulset day-population-db "),
                "{message}"
            );
        }
    }
}

//! A process that is begun again and again. Between two ends it runs, answers and looks well: whoever judges by that alone says now this, now
//! that, and an alarm that waits for ten bad minutes never comes.

use dataembassy_contract::Reason;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use super::trouble::{Trouble, Words};
use crate::clock::has_passed;
use crate::job::OOM_KILLED;

/// From its second new beginning in one pod on, it is no chance.
const OFTEN: i32 = 2;
/// How long it has to run to be believed. Until it begins again Kubernetes waits up to five minutes more, in which the container itself says so.
const STEADY: SignedDuration = SignedDuration::from_mins(5);

/// A process that runs, and has ended several times, the last time just now: how often, how, and what to do.
#[must_use]
pub fn relapse(pod: &Pod, words: Words, now: Timestamp) -> Option<Trouble> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.iter().find_map(|container| {
        let running = container.state.as_ref()?.running.as_ref()?;
        let ended = container.last_state.as_ref()?.terminated.as_ref()?;
        let since = running.started_at.as_ref()?.0;
        let is_steady = container.restart_count < OFTEN || has_passed(since, STEADY, now);
        (!is_steady).then(|| told(ended, container.restart_count, &container.name, words))
    })
}

/// Whether the pod's process was begun again so often that its latest end was no chance.
#[must_use]
pub fn ends_often(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    containers
        .into_iter()
        .flatten()
        .any(|container| container.restart_count >= OFTEN)
}

fn told(ended: &ContainerStateTerminated, times: i32, container: &str, words: Words) -> Trouble {
    let process = words.process;
    if ended.reason.as_deref() == Some(OOM_KILLED) {
        return Trouble {
            reason: Reason::OutOfMemory,
            message: format!(
                "the {process} was killed at its memory limit and has begun again, {times} times in this pod by now: {}",
                words.more_memory()
            ),
        };
    }
    Trouble {
        reason: Reason::CrashLooping,
        message: format!(
            "the {process} runs, and has ended {times} times in this pod, lately with status {}: read its log with kubectl logs --previous \
             --container {container}",
            ended.exit_code
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const WORDS: Words = Words {
        process: "sidecar",
        settings: "spec.sidecar",
        memory: "192Mi",
    };

    fn pod(restarts: i32, state: &Value, reason: &str) -> Pod {
        let ended = json!({"exitCode": 101, "reason": reason, "finishedAt": "2026-11-23T09:59:00Z"});
        let container = json!({
            "name": "sidecar", "image": "sidecar:1", "imageID": "", "ready": true, "restartCount": restarts, "state": state,
            "lastState": {"terminated": ended},
        });
        serde_json::from_value(json!({"metadata": {}, "status": {"containerStatuses": [container]}})).unwrap()
    }

    fn running() -> Value {
        json!({"running": {"startedAt": "2026-11-23T10:00:00Z"}})
    }

    fn reason(pod: &Pod, now: &str) -> Option<Reason> {
        relapse(pod, WORDS, now.parse().unwrap()).map(|trouble| trouble.reason)
    }

    #[test]
    fn what_has_ended_more_than_once_is_believed_after_five_minutes_and_not_before() {
        let looping = pod(2, &running(), "Error");
        let (soon, steady) = ("2026-11-23T10:04:59Z", "2026-11-23T10:05:00Z");
        assert_eq!(reason(&looping, soon), Some(Reason::CrashLooping));
        assert_eq!(reason(&looping, steady), None);
        let killed = pod(7, &running(), "OOMKilled");
        assert_eq!(reason(&killed, soon), Some(Reason::OutOfMemory));
        let told = relapse(&looping, WORDS, soon.parse().unwrap()).unwrap().message;
        assert!(
            told.contains("2 times") && told.contains("status 101") && told.contains("--previous"),
            "{told}"
        );
        let told = relapse(&killed, WORDS, soon.parse().unwrap()).unwrap().message;
        assert!(
            told.contains("killed at its memory limit")
                && told.contains("raise spec.sidecar.resources.limits.memory to 192Mi or more"),
            "{told}"
        );
        assert!(ends_often(&looping));
    }

    #[test]
    fn one_end_is_chance_and_of_what_does_not_run_the_container_says_enough() {
        let soon = "2026-11-23T10:00:01Z";
        let once = pod(1, &running(), "Error");
        assert_eq!(reason(&once, soon), None);
        assert!(!ends_often(&once));
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert_eq!(reason(&pod(5, &waiting, "Error"), soon), None);
        assert!(!ends_often(&Pod::default()));
        assert_eq!(relapse(&Pod::default(), WORDS, Timestamp::UNIX_EPOCH), None);
    }
}

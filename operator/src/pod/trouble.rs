//! What is wrong with a pod, in words that say what to do.

use dataembassy_contract::Reason;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::job::OOM_KILLED;

/// How a pod's process is spoken of, and where its settings are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// What runs in it, such as `sidecar`.
    pub process: &'static str,
    /// The field with its settings, such as `spec.sidecar`.
    pub settings: &'static str,
    /// The memory that should be enough.
    pub memory: &'static str,
}

impl Words {
    /// What to do about a process that needs more memory than it has.
    pub(super) fn more_memory(self) -> String {
        format!(
            "raise {}.resources.limits.memory to {} or more; if it is that already, report it, because its memory should be bounded",
            self.settings, self.memory
        )
    }

    /// The words for a process that runs again after it was killed at its memory limit.
    #[must_use]
    pub fn was_out_of_memory(self, at: Timestamp, since: &str) -> String {
        format!(
            "it was killed at its memory limit at {at} and {since}: {}",
            self.more_memory()
        )
    }
}

/// What keeps a pod from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Which of the known reasons.
    pub reason: Reason,
    /// What, why, and what to do about it.
    pub message: String,
}

/// Looks for trouble in the pod, and where none is left that could run, in what should have made one.
#[must_use]
pub fn trouble(pod: Option<&Pod>, deployment: Option<&Deployment>, words: Words) -> Option<Trouble> {
    // What was evicted stays and is shown for as long as nobody deletes it, with what its containers and its place were: none of that must hide
    // that no other pod is let in.
    let is_over = pod.is_none_or(has_ended);
    deployment
        .filter(|_| is_over)
        .and_then(|deployment| of_deployment(deployment, words))
        .or_else(|| pod.and_then(|pod| of_pod(pod, words)))
}

/// Whether the pod never runs again.
#[must_use]
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// Looks for trouble with what runs beside our container (a native sidecar), which Kubernetes counts among the init containers.
#[must_use]
pub fn trouble_beside(pod: &Pod, words: Words) -> Option<Trouble> {
    let mut beside = pod.status.as_ref()?.init_container_statuses.iter().flatten();
    beside.find_map(|container| of_container(container, words))
}

/// Whether the kubelet has told that no container of the pod runs.
#[must_use]
pub fn is_down(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let told = status.and_then(|status| status.container_statuses.as_deref());
    told.is_some_and(|containers| {
        let mut all = containers.iter().map(|container| container.state.as_ref());
        !containers.is_empty() && all.all(|state| state.is_none_or(|state| state.running.is_none()))
    })
}

/// When the container was killed at its memory limit, if that is how it ended last. It may run again by now.
#[must_use]
pub fn out_of_memory_at(pod: &Pod) -> Option<Timestamp> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ends = containers
        .iter()
        .filter_map(|container| container.last_state.as_ref()?.terminated.as_ref());
    ends.filter(|ended| ended.reason.as_deref() == Some(OOM_KILLED))
        .find_map(|ended| ended.finished_at.as_ref().map(|time| time.0))
}

fn of_pod(pod: &Pod, words: Words) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let why = condition
            .message
            .as_deref()
            .unwrap_or("the scheduler does not say why");
        return Some(Trouble {
            reason: Reason::Unschedulable,
            message: format!(
                "no node takes the {}'s pod ({why}): free resources, or change {}",
                words.process, words.settings
            ),
        });
    }
    status
        .container_statuses
        .iter()
        .flatten()
        .find_map(|container| of_container(container, words))
}

fn of_container(container: &ContainerStatus, words: Words) -> Option<Trouble> {
    let state = container.state.as_ref()?;
    let ended = state.terminated.as_ref().or_else(|| {
        container
            .last_state
            .as_ref()
            .and_then(|last| last.terminated.as_ref())
    });
    let out_of_memory = ended.is_some_and(|ended| ended.reason.as_deref() == Some(OOM_KILLED));
    if state.running.is_some() {
        return None;
    }
    if out_of_memory {
        return Some(Trouble {
            reason: Reason::OutOfMemory,
            message: format!(
                "the {} was killed at its memory limit: {}",
                words.process,
                words.more_memory()
            ),
        });
    }
    let waiting = state.waiting.as_ref();
    let word = waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .unwrap_or_default();
    let said = waiting
        .and_then(|waiting| waiting.message.as_deref())
        .unwrap_or(word);
    match word {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable" => Some(Trouble {
            reason: Reason::ImagePullFailed,
            message: format!(
                "the image {} cannot be pulled ({said}): check image, registry and imagePullSecrets",
                container.image
            ),
        }),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Some(Trouble {
            reason: Reason::PodRefused,
            message: format!("the container cannot be made ({said}): check image and node"),
        }),
        "CrashLoopBackOff" => {
            let code = ended.map_or(0, |ended| ended.exit_code);
            Some(Trouble {
                reason: Reason::CrashLooping,
                message: format!(
                    "the {} ends again and again, lately with status {code}: read its log with kubectl logs --previous --container {}",
                    words.process, container.name
                ),
            })
        }
        _ => None,
    }
}

fn of_deployment(deployment: &Deployment, words: Words) -> Option<Trouble> {
    let failure = deployment
        .status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let why = failure
        .message
        .as_deref()
        .unwrap_or("the API server does not say why");
    Some(Trouble {
        reason: Reason::PodRefused,
        message: format!(
            "the {}'s pod cannot be made ({why}): check quotas and admission policies of the namespace",
            words.process
        ),
    })
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

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
    }

    fn reason(state: &Value, last: &Value) -> Option<Reason> {
        let status = json!({"containerStatuses": [{
            "name": "sidecar", "image": "sidecar:1", "imageID": "", "ready": false, "restartCount": 1, "state": state, "lastState": last,
        }]});
        trouble(Some(&pod(&status)), None, WORDS).map(|trouble| trouble.reason)
    }

    #[test]
    fn what_keeps_a_pod_from_running_is_named() {
        let none = json!({});
        for word in [
            "ErrImagePull",
            "ImagePullBackOff",
            "ErrImageNeverPull",
            "InvalidImageName",
            "ImageInspectError",
            "RegistryUnavailable",
        ] {
            assert_eq!(
                reason(&json!({"waiting": {"reason": word}}), &none),
                Some(Reason::ImagePullFailed),
                "{word}"
            );
        }
        for word in [
            "CreateContainerConfigError",
            "CreateContainerError",
            "RunContainerError",
        ] {
            assert_eq!(
                reason(&json!({"waiting": {"reason": word}}), &none),
                Some(Reason::PodRefused),
                "{word}"
            );
        }
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        assert_eq!(
            reason(&json!({"waiting": {"reason": "CrashLoopBackOff"}}), &killed),
            Some(Reason::OutOfMemory)
        );
        assert_eq!(reason(&killed, &none), Some(Reason::OutOfMemory));
        let failed = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        assert_eq!(
            reason(&json!({"waiting": {"reason": "CrashLoopBackOff"}}), &failed),
            Some(Reason::CrashLooping)
        );
        assert_eq!(
            reason(&json!({"waiting": {"reason": "ContainerCreating"}}), &none),
            None
        );
        assert_eq!(reason(&json!({"running": {}}), &none), None);
    }

    #[test]
    fn a_kill_at_the_memory_limit_is_known_while_the_container_runs_again() {
        let status = |reason: &str| {
            let ended = json!({"exitCode": 137, "reason": reason, "finishedAt": "2026-11-23T10:00:00Z"});
            json!({"containerStatuses": [{
                "name": "sidecar", "image": "sidecar:1", "imageID": "", "ready": true, "restartCount": 1,
                "state": {"running": {}}, "lastState": {"terminated": ended},
            }]})
        };
        let killed = out_of_memory_at(&pod(&status("OOMKilled"))).unwrap();
        assert_eq!(killed.to_string(), "2026-11-23T10:00:00Z");
        assert_eq!(out_of_memory_at(&pod(&status("Error"))), None);
    }

    #[test]
    fn a_pod_that_no_node_takes_says_why() {
        let status = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]});
        let trouble = trouble(Some(&pod(&status)), None, WORDS).unwrap();
        assert_eq!(trouble.reason, Reason::Unschedulable);
        assert!(trouble.message.contains("0/1 nodes"));
        // One that has its node and is not ready yet is in no trouble.
        let status = json!({"conditions": [
            {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"},
        ]});
        assert_eq!(super::trouble(Some(&pod(&status)), None, WORDS), None);
    }

    fn refused(said: &str) -> Deployment {
        let failure =
            json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": said});
        serde_json::from_value(json!({"metadata": {}, "status": {"conditions": [failure]}})).unwrap()
    }

    #[test]
    fn a_pod_that_is_refused_is_found_at_the_deployment_with_who_refuses_it() {
        for said in [
            "pods \"p\" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0",
            "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
        ] {
            let trouble = trouble(None, Some(&refused(said)), WORDS).unwrap();
            assert_eq!(trouble.reason, Reason::PodRefused);
            assert!(trouble.message.contains(said), "{}", trouble.message);
        }
        let well =
            json!([{"type": "ReplicaFailure", "status": "False"}, {"type": "Available", "status": "True"}]);
        let well = json!({"metadata": {}, "status": {"conditions": well}});
        let well: Deployment = serde_json::from_value(well).unwrap();
        assert_eq!(trouble(None, Some(&well), WORDS), None);
    }

    #[test]
    fn a_pod_that_has_ended_does_not_hide_that_no_other_is_let_in() {
        let deployment = refused("exceeded quota");
        let found = |status: &Value| {
            trouble(Some(&pod(status)), Some(&deployment), WORDS).map(|trouble| trouble.reason)
        };
        let evicted = json!({"phase": "Failed", "reason": "Evicted"});
        assert_eq!(found(&evicted), Some(Reason::PodRefused));
        let unscheduled = json!({"phase": "Failed", "reason": "Evicted", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"},
        ]});
        let killed = json!({"phase": "Failed", "reason": "Evicted", "containerStatuses": [{
            "name": "sidecar", "image": "sidecar:1", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }]});
        for (status, alone) in [
            (unscheduled, Reason::Unschedulable),
            (killed, Reason::OutOfMemory),
        ] {
            assert_eq!(found(&status), Some(Reason::PodRefused), "{status}");
            // Where none is refused, it is what there is to tell.
            let told = trouble(Some(&pod(&status)), None, WORDS).map(|trouble| trouble.reason);
            assert_eq!(told, Some(alone));
        }
        // One that is there is looked at itself: what was refused may have been another's surplus.
        assert_eq!(found(&json!({"phase": "Running"})), None);
        assert_eq!(found(&json!({"phase": "Pending"})), None);
    }
}

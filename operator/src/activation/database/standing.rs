//! How a managed database stands, by what Kubernetes says of its pod.

use dataembassy_contract::Reason;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use kube::Api;

use super::{Managed, Standing, build, not_read};
use crate::apply::is_owned;
use crate::pod::{Words, none_made, refusal, trouble};
use crate::run::{Context, ReconcileError};

/// How the server is spoken of.
const WORDS: Words = Words {
    process: "database",
    settings: "target.managed",
    memory: "2Gi",
};

/// It is not there yet, and that is as it must be.
pub(super) fn coming(message: &str) -> Standing {
    Standing::Coming {
        reason: Reason::Applying,
        message: message.to_owned(),
    }
}

/// Whether a pod was ever asked for.
pub(super) fn has_begun(found: &StatefulSet) -> bool {
    let wanted = found.spec.as_ref().and_then(|spec| spec.replicas);
    wanted.is_some_and(|replicas| replicas > 0)
}

/// Judges by the pod: it is asked for only where the `StatefulSet` does not count it as ready.
pub(super) async fn judge(
    context: &Context,
    managed: &Managed<'_>,
    found: &StatefulSet,
) -> Result<Standing, ReconcileError> {
    let status = found.status.as_ref();
    let is_seen = status.and_then(|status| status.observed_generation) >= found.metadata.generation;
    let is_ready = status.and_then(|status| status.ready_replicas) >= Some(1);
    if is_seen && is_ready {
        return Ok(Standing::Ready);
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), managed.namespace());
    let pod = pods.get_opt(&managed.names().pod).await.map_err(not_read)?;
    let owner = found.metadata.uid.as_deref().unwrap_or_default();
    let pod = pod.filter(|pod| is_owned(pod, owner));
    let Some(pod) = pod else {
        return Ok(without_pod(context, managed, owner).await);
    };
    Ok(match trouble(Some(&pod), None, WORDS) {
        Some(trouble) if trouble.reason == Reason::OutOfMemory => Standing::Coming {
            reason: trouble.reason,
            message:
                "the database was killed at its memory limit: raise target.managed.resources.limits.memory"
                    .to_owned(),
        },
        Some(trouble) => Standing::Coming {
            message: last_words(&pod).map_or(trouble.message.clone(), |words| {
                format!("{}; it said: {words}", trouble.message)
            }),
            reason: trouble.reason,
        },
        None => last_words(&pod).map_or_else(
            || coming("its server is starting"),
            |words| Standing::Coming {
                reason: Reason::CrashLooping,
                message: format!("the database ended, and is started again; it said: {words}"),
            },
        ),
    })
}

/// What is to be said while there is no pod: it may be on its way, or be refused.
async fn without_pod(context: &Context, managed: &Managed<'_>, owner: &str) -> Standing {
    let (namespace, name) = (managed.namespace(), managed.names().internal);
    match refusal(&context.client, namespace, owner).await {
        Some(why) => Standing::Coming {
            reason: Reason::PodRefused,
            message: none_made("StatefulSet", &name, namespace, Some(&why)),
        },
        None => coming(&format!(
            "its pod is not there yet; if that stays, kubectl describe statefulset {name} --namespace {namespace} says why"
        )),
    }
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

//! A Job of one pod, made once: what it is made with, whether the one that is there is ours, which pod is its, and how it ended.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, ContainerStateTerminated, Pod, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::apply::{ApplyError, Owner, Writer, is_owned};
use crate::clock::has_passed;
use crate::metrics::Metrics;
use crate::pod;
use crate::run::{Context, ReconcileError};

/// The word of a Job's condition when it was stopped at its deadline.
pub const TOO_LONG: &str = "DeadlineExceeded";
/// What the kubelet calls the end of a container at its memory limit.
pub const OOM_KILLED: &str = "OOMKilled";
/// How long a Job may have no pod.
const POD_PATIENCE: SignedDuration = SignedDuration::from_secs(30);

/// A Job and what it needs, as they should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The UID of the resource that all of it is made for.
    pub owner: String,
    /// An identity without a token and without a right.
    pub service_account: Value,
    /// The configuration.
    pub config_map: Value,
    /// What the pod may reach, and who may reach it.
    pub network_policy: Value,
    /// The work.
    pub job: Value,
}

/// Makes everything, the Job last. Where that was interrupted, doing it again is harmless.
pub async fn make(desired: &Desired, manager: &'static str, context: &Context) -> Result<(), ApplyError> {
    let owner = Owner::Resource(&desired.owner);
    let writer = Writer::new(context.client.clone(), manager, &context.metrics);
    writer
        .apply::<ServiceAccount>(None, &desired.service_account, owner)
        .await?;
    writer
        .apply::<ConfigMap>(None, &desired.config_map, owner)
        .await?;
    writer
        .apply::<NetworkPolicy>(None, &desired.network_policy, owner)
        .await?;
    writer.apply::<Job>(None, &desired.job, owner).await
}

/// The Job of that name that `owner` controls, and that is the one with the UID `made` where one was recorded. Any other is not touched,
/// and stands in the way of ours.
pub async fn find(
    client: &Client,
    (namespace, name): (&str, &str),
    owner: &str,
    made: Option<&str>,
) -> Result<Option<Job>, ReconcileError> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
    let found = jobs.get_opt(name).await.map_err(not_read)?;
    let is_the_one = |job: &Job| made.is_none_or(|made| job.uid().as_deref() == Some(made));
    Ok(found.filter(|job| is_owned(job, owner) && is_the_one(job)))
}

/// The pod that the Job made: labels can be copied, a UID cannot be guessed.
pub async fn pod(client: &Client, job: &Job) -> Result<Option<Pod>, ReconcileError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &job.namespace().unwrap_or_default());
    let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", job.name_any()));
    let owner = job.uid().unwrap_or_default();
    let found = pods.list(&of_job).await.map_err(not_read)?;
    Ok(found.items.into_iter().find(|pod| is_owned(pod, &owner)))
}

fn not_read(source: kube::Error) -> ReconcileError {
    ReconcileError::NotRead {
        source: Box::new(source),
    }
}

/// Deletes the Job, and its pod with it. One that is gone, or whose name is another one's by now, is as good as deleted.
pub async fn remove(client: &Client, job: &Job, metrics: &Metrics) -> Result<(), ApplyError> {
    let (namespace, name) = (job.namespace().unwrap_or_default(), job.name_any());
    let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
    let parameters = DeleteParams::background().preconditions(Preconditions {
        uid: job.uid(),
        resource_version: None,
    });
    match jobs.delete(&name, &parameters).await {
        Ok(_) => {
            metrics.wrote("Job");
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(source) => Err(ApplyError::Refused {
            kind: "Job".to_owned(),
            name,
            source: Box::new(source),
        }),
    }
}

/// How the container of that name ended. Others may have put a container of theirs beside ours.
#[must_use]
pub fn terminated<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStateTerminated> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ours = containers.iter().find(|one| one.name == container)?;
    ours.state.as_ref()?.terminated.as_ref()
}

/// Whether a Job has done its work.
#[must_use]
pub fn is_complete(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Complete" && condition.status == "True")
}

/// Why a Job failed, in the word of its condition.
#[must_use]
pub fn failure(job: &Job) -> Option<&str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let failed = conditions
        .iter()
        .find(|condition| condition.type_ == "Failed" && condition.status == "True")?;
    Some(failed.reason.as_deref().unwrap_or("no reason given"))
}

/// Whether a Job has had time enough to make its pod and has none.
#[must_use]
pub fn has_no_pod(job: Option<&Job>, pod: Option<&Pod>, now: Timestamp) -> bool {
    let made = job.and_then(|job| job.metadata.creation_timestamp.as_ref());
    pod.is_none() && made.is_some_and(|made| has_passed(made.0, POD_PATIENCE, now))
}

/// Why a Job that has had time enough has no pod, if somebody says so.
pub async fn refusal(context: &Context, job: Option<&Job>, pod: Option<&Pod>) -> Option<String> {
    let job = job.filter(|job| has_no_pod(Some(*job), pod, context.clock.now()))?;
    let namespace = job.namespace().unwrap_or_default();
    pod::refusal(&context.client, &namespace, &job.uid()?).await
}

/// Adds what the kubelet says about a pod, such as that it was evicted.
#[must_use]
pub fn with_reason(message: String, pod: Option<&Pod>) -> String {
    let status = pod.and_then(|pod| pod.status.as_ref());
    match status.and_then(|status| Some((status.reason.as_ref()?, status.message.as_ref()))) {
        Some((reason, Some(words))) => format!("{message} ({reason}: {words})"),
        Some((reason, None)) => format!("{message} ({reason})"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(conditions: &Value) -> Job {
        let job = json!({
            "metadata": {"name": "back", "creationTimestamp": "2026-11-23T10:00:00Z"}, "status": {"conditions": conditions},
        });
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn a_job_has_ended_when_it_says_so_itself_and_not_before() {
        for (type_, status, complete, failed) in [
            ("Complete", "True", true, None),
            ("Complete", "False", false, None),
            ("SuccessCriteriaMet", "True", false, None),
            ("Failed", "True", false, Some(TOO_LONG)),
            ("Failed", "False", false, None),
            ("FailureTarget", "True", false, None),
        ] {
            let job = job(&json!([{"type": type_, "status": status, "reason": TOO_LONG}]));
            assert_eq!(
                (is_complete(&job), failure(&job)),
                (complete, failed),
                "{type_} {status}"
            );
        }
        let silent = job(&json!([{"type": "Failed", "status": "True"}]));
        assert_eq!(failure(&silent), Some("no reason given"));
    }

    #[test]
    fn a_job_without_a_pod_is_given_half_a_minute() {
        let (job, pod) = (job(&json!([])), Pod::default());
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let late = at("2026-11-23T10:00:31Z");
        assert!(!has_no_pod(Some(&job), None, at("2026-11-23T10:00:29Z")));
        assert!(has_no_pod(Some(&job), None, late));
        assert!(!has_no_pod(Some(&job), Some(&pod), late));
        assert!(!has_no_pod(None, None, late));
        // Who made it had a clock that was an hour ahead.
        assert!(has_no_pod(Some(&job), None, at("2026-11-23T09:00:00Z")));
    }
}

//! A pod that is not let in: by a quota, by the limits of its namespace. Ours pass the strictest Pod Security Standard, which refuses others.

use anyhow::{Context, Result, ensure};
use dataembassy_contract::Reason;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use serde_json::{Value, json};

use super::{apply, clear};
use crate::{
    requests::Requests,
    world::{MINUTE, PATIENCE, World, together},
    wrong_input::{refused, told},
};

/// What refuses the pod is called so.
const NAME: &str = "strict";
/// What pods a namespace lets in.
const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";

#[test]
fn a_pod_that_a_quota_refuses_is_told_and_copies_are_made_when_it_may_come() {
    together(by_quota);
}

#[test]
fn a_pod_that_the_limits_of_its_namespace_refuse_is_told_and_copies_are_made_when_it_may_come() {
    together(by_limits);
}

#[test]
fn a_mirror_runs_where_only_restricted_pods_are_let_in() {
    together(restricted);
}

async fn by_quota(world: &'static World) -> Result<()> {
    let stem = "refused-quota";
    let namespace = world.ministry(stem).await?.namespace;
    let quota = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {"hard": {"pods": "0"}},
    });
    apply(world, &quota).await?;
    // Until somebody has counted what is used, it refuses in other words.
    world
        .home()
        .wait_until(
            "resourcequota",
            NAME,
            Some(&namespace),
            "jsonpath={.status.hard.pods}=0",
            PATIENCE,
        )
        .await?;
    let words = [
        "exceeded quota",
        NAME,
        "check quotas and admission policies of the namespace",
    ];
    told_and_mended(world, stem, "resourcequota", &words).await
}

async fn by_limits(world: &'static World) -> Result<()> {
    let stem = "refused-limits";
    let namespace = world.ministry(stem).await?.namespace;
    let limits = json!({
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]},
    });
    apply(world, &limits).await?;
    let words = [
        "maximum memory usage per Container is 64Mi",
        "check quotas and admission policies of the namespace",
    ];
    told_and_mended(world, stem, "limitrange", &words).await
}

/// A mirror says who refuses its pod; once that is deleted, it copies.
async fn told_and_mended(world: &'static World, stem: &str, kind: &str, words: &[&str]) -> Result<()> {
    let ministry = world.ministry(stem).await?;
    let subject = ministry.small_registry(stem).await?;
    subject.apply(|_| ()).await?;
    told("Ready", Reason::PodRefused, words)
        .by_mirror(&subject.mirror)
        .await?;
    Requests::are_few(world, &ministry.namespace).await?;
    let arguments = ["delete", kind, NAME, "--namespace", &ministry.namespace];
    world.home().kubectl(arguments).await?;
    subject.mirror.copied(1, PATIENCE).await?;
    told("Ready", Reason::Loaded, &[])
        .by_mirror(&subject.mirror)
        .await?;
    clear(world, &ministry.namespace).await
}

async fn restricted(world: &'static World) -> Result<()> {
    let stem = "restricted";
    let ministry = world.ministry(stem).await?;
    let namespaces: Api<Namespace> = Api::all(world.home().client().clone());
    let labels = namespaces.get(&ministry.namespace).await?.metadata.labels;
    let level = labels.unwrap_or_default().remove(POD_SECURITY);
    ensure!(level.as_deref() == Some("restricted"), "{level:?}");
    let careless: Value = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "careless", "namespace": ministry.namespace},
        "spec": {"containers": [{"name": "careless", "image": "dataembassy.local/none:1"}]},
    });
    let words = ["violates PodSecurity", "restricted", "runAsNonRoot"];
    refused(world, &careless, &words)
        .await
        .context("a careless pod")?;

    let subject = ministry.small_registry(stem).await?;
    subject.apply(|_| ()).await?;
    subject.mirror.copied(1, PATIENCE).await?;
    subject
        .mirror
        .condition(
            "Ready",
            dataembassy_crds::ConditionStatus::True,
            Some("Loaded"),
            MINUTE,
        )
        .await?;
    clear(world, &ministry.namespace).await
}

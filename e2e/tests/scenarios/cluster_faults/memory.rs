//! A sidecar has less memory than it needs, and the kernel kills it.

use anyhow::{Context, Result};
use dataembassy_contract::{Reason, files::METRICS_PORT};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{command::wait_for, product::RELEASE_NAMESPACE};
use k8s_openapi::api::core::v1::Pod;
use rand::RngCore as _;
use serde_json::json;

use super::clear;
use crate::{
    requests::Requests,
    sidecar::pods,
    world::{PATIENCE, Subject, World, together},
    wrong_input::told,
};

/// Enough to begin with; a segment and what it is made of do not fit in.
const TOO_LITTLE: &str = "32Mi";
/// More than two segments of what cannot be compressed, a mebibyte each.
const IMAGES: usize = 40;

#[test]
fn a_sidecar_that_the_kernel_kills_for_its_memory_says_so_and_what_would_be_enough() {
    together(killed);
}

async fn killed(world: &'static World) -> Result<()> {
    let ministry = world.ministry("short-of-memory").await?;
    let subject = ministry.small_registry("short-of-memory").await?;
    fill(&subject).await?;
    subject
        .apply(|spec| spec["sidecar"]["resources"]["limits"] = json!({"memory": TOO_LITTLE}))
        .await?;
    wait_for("the kernel to kill the sidecar", PATIENCE, || async {
        let pods = pods(world.home(), &subject).await?;
        Ok(pods.iter().any(is_killed).then_some(()))
    })
    .await?;
    let words = [
        "killed at its memory limit",
        "raise spec.sidecar.resources.limits.memory to 192Mi or more",
    ];
    told("Ready", Reason::OutOfMemory, &words)
        .by_mirror(&subject.mirror)
        .await?;
    // Killed again, it is not ready, and DataEmbassyMirrorNotRunning has what it looks at.
    let not_ready = ConditionStatus::False;
    subject
        .mirror
        .condition("Ready", not_ready, Some("OutOfMemory"), PATIENCE)
        .await?;
    Requests::are_few(world, &ministry.namespace).await?;
    wait_for("the metric of the alarm", PATIENCE, || async {
        Ok((ready(world, &subject).await? == "0").then_some(()))
    })
    .await?;

    subject.apply(|_| ()).await?;
    subject.mirror.copied(1, PATIENCE).await?;
    told("Ready", Reason::Loaded, &[])
        .by_mirror(&subject.mirror)
        .await?;
    // What is large is not left lying about on a server that others use.
    let drop = format!("DROP DATABASE \"{}\" WITH (FORCE)", subject.id);
    subject.delete().await?;
    let admin = subject.server.connect("postgres").await?;
    admin.batch_execute(&drop).await?;
    clear(world, &ministry.namespace).await
}

async fn fill(subject: &Subject) -> Result<()> {
    let client = subject.connect().await?;
    client
        .batch_execute("CREATE TABLE public.scan (image bytea STORAGE EXTERNAL)")
        .await?;
    for _ in 0..IMAGES {
        let mut image = vec![0_u8; 1 << 20];
        rand::rng().fill_bytes(&mut image);
        client
            .execute("INSERT INTO public.scan VALUES ($1)", &[&image])
            .await?;
    }
    Ok(())
}

/// Whether its container's end, now or before it began anew, was the kernel's doing.
fn is_killed(pod: &Pod) -> bool {
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let mut ends = statuses
        .flat_map(|status| [&status.state, &status.last_state])
        .flatten()
        .filter_map(|state| state.terminated.as_ref());
    ends.any(|end| end.reason.as_deref() == Some("OOMKilled"))
}

/// What the operator's metric says of a mirror's `Ready`.
async fn ready(world: &World, subject: &Subject) -> Result<String> {
    let home = world.home();
    let operator = [
        "get",
        "pods",
        "--selector=app.kubernetes.io/component=operator",
        "--namespace",
        RELEASE_NAMESPACE,
        "--output=jsonpath={.items[0].metadata.name}",
    ];
    let operator = home.kubectl(operator).await?;
    let path = format!("/api/v1/namespaces/{RELEASE_NAMESPACE}/pods/{operator}:{METRICS_PORT}/proxy/metrics");
    let metrics = home.kubectl(["get", "--raw", &path]).await?;
    let labels = [
        r#"kind="RegistryMirror""#.to_owned(),
        format!(r#"resource="{}""#, subject.id),
        r#"condition="Ready""#.to_owned(),
    ];
    let mut lines = metrics
        .lines()
        .filter(|line| line.starts_with("dataembassy_operator_condition{"));
    let line = lines.find(|line| labels.iter().all(|label| line.contains(label)));
    let line = line.context("the operator shows nothing of the mirror")?;
    Ok(line.rsplit(' ').next().unwrap_or_default().to_owned())
}

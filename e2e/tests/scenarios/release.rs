//! The operator's release comes, goes and changes, and mirrors go on.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{
    cluster::{Cluster, Helm},
    command::{output, output_with_input, wait_for},
    product::{Release, chart},
};
use jiff::Timestamp;

use crate::{
    sidecar::Sidecar,
    world::{MINUTE, PATIENCE, Subject, World, alone, every_minute, together},
};

/// A setting of the chart that changes the sidecars' pods, and nothing that they do.
const ANOTHER_TEMPLATE: &str = "--set=sidecar.image.pullPolicy=IfNotPresent";
/// What a user must say at the least.
const IMAGES: [&str; 2] = [
    "--set=operator.image.repository=registry.example/operator",
    "--set=sidecar.image.repository=registry.example/sidecar",
];

#[test]
fn what_both_helms_render_is_what_the_api_server_takes() {
    together(rendered);
}

#[test]
fn mirrors_go_on_without_the_release_and_an_upgrade_waits_for_their_runs() {
    alone(comes_and_goes);
}

async fn rendered(world: &'static World) -> Result<()> {
    let home = world.home();
    let ministry = world.ministry("rendered").await?;
    for (helm, version) in [(Helm::Three, "v3.22"), (Helm::Four, "v4.3")] {
        let said = home.helm(helm, ["version", "--short"]).await?;
        ensure!(said.starts_with(version), "{said} is not {version}");
        let mut template = home.helm_command(helm)?;
        template.args(["template", "another"]).arg(chart()).args(IMAGES);
        // Helm believes in an old version unless it is told or asks a cluster.
        template.args(["--namespace", &ministry.namespace, "--kube-version=1.34.4"]);
        let manifests = output(&mut template).await?;
        let mut apply = home.kubectl_command()?;
        apply.args([
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "--output=name",
            "--filename=-",
        ]);
        let taken = output_with_input(apply.stderr(Stdio::piped()), manifests.as_bytes()).await?;
        let documents = manifests
            .lines()
            .filter(|line| line.starts_with("kind: "))
            .count();
        ensure!(
            documents >= 9 && taken.lines().count() == documents,
            "{documents} objects were rendered, and taken were\n{taken}"
        );
    }
    Ok(())
}

async fn comes_and_goes(world: &'static World) -> Result<()> {
    let ministry = world.ministry("release").await?;
    let subject = ministry.small_registry("lasting").await?;
    subject.apply(every_minute).await?;
    subject.mirror.copied(1, PATIENCE).await?;
    let release = Release::installed(&world.product.bed).await?;
    let outcome = under_both_helms(world, &release, &subject).await;
    // Whatever came of it, the others need it as it was.
    release.upgrade(Helm::Four, &[]).await?;
    outcome?;
    subject.delete().await
}

async fn under_both_helms(world: &World, release: &Release, subject: &Subject) -> Result<()> {
    let home = world.home();
    let sidecar = Sidecar::of(home, subject).await?;
    release.uninstall(Helm::Four).await?;
    goes_on_alone(home, subject, &sidecar).await?;

    release.upgrade(Helm::Three, &[]).await?;
    taken_over(home, subject, &sidecar).await?;
    upgraded_in_mid_run(home, release, subject, &sidecar).await?;

    let sidecar = Sidecar::of(home, subject).await?;
    release.uninstall(Helm::Three).await?;
    ensure!(
        Sidecar::of(home, subject).await? == sidecar,
        "the pod went with the release"
    );
    release.upgrade(Helm::Four, &[]).await?;
    replaced(home, subject, &sidecar).await
}

/// Without the release the kinds and the mirror are there as they were, and a run that begins now commits its copy.
async fn goes_on_alone(home: &Cluster, subject: &Subject, sidecar: &Sidecar) -> Result<()> {
    let before = subject.mirror.get().await?;
    ensure!(
        before.metadata.deletion_timestamp.is_none(),
        "the mirror is being deleted"
    );
    let now = Timestamp::now();
    sidecar
        .until("a copy without an operator", PATIENCE, |report| {
            report.last_copy.as_ref().is_some_and(|copy| copy.taken_at > now)
        })
        .await?;
    ensure!(
        Sidecar::of(home, subject).await? == *sidecar,
        "the pod was replaced or restarted"
    );
    let after = subject.mirror.get().await?;
    ensure!(
        after.metadata.resource_version == before.metadata.resource_version,
        "somebody else writes to the mirror"
    );
    Ok(())
}

/// An operator that comes anew tells what happened in the meantime, and touches no pod.
async fn taken_over(home: &Cluster, subject: &Subject, sidecar: &Sidecar) -> Result<()> {
    let report = sidecar.report().await?;
    let last = report.last_copy.context("the sidecar names no copy")?.sequence;
    subject.mirror.copied(i64::try_from(last)?, MINUTE).await?;
    subject
        .until("Ready", ConditionStatus::True, Some("Loaded"), MINUTE)
        .await?;
    ensure!(
        Sidecar::of(home, subject).await? == *sidecar,
        "the pod was replaced or restarted"
    );
    Ok(())
}

/// A new pod is due while a run is held up by a lock in the registry: it waits until the run has committed.
async fn upgraded_in_mid_run(
    home: &Cluster,
    release: &Release,
    subject: &Subject,
    sidecar: &Sidecar,
) -> Result<()> {
    let somebody = subject.connect().await?;
    somebody
        .batch_execute("BEGIN; LOCK TABLE public.person IN ACCESS EXCLUSIVE MODE")
        .await?;
    subject.mirror.trigger("in mid-run").await?;
    let held = sidecar
        .until("a run that waits for the lock", MINUTE, |report| {
            report.run.is_some()
        })
        .await?;
    let held = held.run.context("no run")?.started_at;
    release.upgrade(Helm::Three, &[ANOTHER_TEMPLATE]).await?;
    subject
        .until("Ready", ConditionStatus::False, Some("RolloutPending"), MINUTE)
        .await?;
    let report = sidecar.report().await?;
    ensure!(
        report.run.is_some_and(|run| run.started_at == held),
        "the run did not last as long as the test holds it up"
    );
    ensure!(
        Sidecar::of(home, subject).await? == *sidecar,
        "the pod was replaced in mid-run"
    );

    somebody.batch_execute("COMMIT").await?;
    replaced(home, subject, sidecar).await?;
    let mirror = subject.mirror.get().await?;
    let status = mirror.status.context("the mirror has no status")?;
    ensure!(
        status.last_trigger.as_deref() == Some("in mid-run"),
        "the run that was waited for made no copy: {:?}",
        status.last_trigger
    );
    Ok(())
}

/// Waits until another pod runs with the newest generation.
async fn replaced(home: &Cluster, subject: &Subject, sidecar: &Sidecar) -> Result<()> {
    wait_for("another pod", PATIENCE, || async {
        let now = Sidecar::of(home, subject).await?;
        Ok((now.uid != sidecar.uid).then_some(()))
    })
    .await?;
    subject
        .until("Ready", ConditionStatus::True, Some("Loaded"), PATIENCE)
        .await
        .map(drop)
}

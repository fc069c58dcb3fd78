//! An upgrade of the operator that changes the sidecars' pods.

use anyhow::{Context, Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{
    cluster::{Cluster, Helm},
    command::wait_for,
    product::Release,
};

use crate::{
    sidecar::Sidecar,
    world::{MINUTE, PATIENCE, Subject, World, alone},
};

/// A setting of the chart that changes the sidecars' pods, and nothing that they do.
const ANOTHER_TEMPLATE: &str = "--set=sidecar.image.pullPolicy=IfNotPresent";

#[test]
fn an_upgrade_in_mid_run_waits_until_the_run_has_committed() {
    alone(upgrade);
}

async fn upgrade(world: &'static World) -> Result<()> {
    let ministry = world.ministry("upgrade").await?;
    let subject = ministry.small_registry("busy").await?;
    subject.mirrored().await?;
    let sidecar = Sidecar::of(world.home(), &subject).await?;
    let release = Release::installed(world.home()).await?;
    let outcome = in_mid_run(world.home(), &release, &subject, &sidecar).await;
    // Whatever came of it, the others need it as it was.
    release.upgrade(Helm::Four, &[]).await?;
    outcome?;
    subject.delete().await
}

/// A new pod is due while a run is held up by a lock in the registry: it waits until the run has committed.
async fn in_mid_run(home: &Cluster, release: &Release, subject: &Subject, sidecar: &Sidecar) -> Result<()> {
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
    release.upgrade(Helm::Four, &[ANOTHER_TEMPLATE]).await?;
    subject
        .mirror
        .condition("Ready", ConditionStatus::False, Some("RolloutPending"), MINUTE)
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
        .mirror
        .condition("Ready", ConditionStatus::True, Some("Loaded"), PATIENCE)
        .await
        .map(drop)
}

//! Operator and API server are away, and the registry is mirrored all the same.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{
    cluster::{Cluster, Component, Helm},
    command::wait_for,
    product::Release,
};
use dataembassy_ledger::entry::SourceBody;
use jiff::{SignedDuration, Timestamp};

use crate::{
    deletion::{gone, stored},
    ledger,
    sidecar::{Sidecar, copies},
    world::{MINUTE, PATIENCE, Subject, World, alone, every_minute},
};

/// The schedule's period.
const PERIOD: SignedDuration = SignedDuration::from_mins(1);

#[test]
fn copies_go_on_without_release_and_api_server_and_none_is_left_out_or_made_twice() {
    alone(absence);
}

async fn absence(world: &'static World) -> Result<()> {
    let ministry = world.ministry("absence").await?;
    let subject = ministry.small_registry("steady").await?;
    subject.apply(every_minute).await?;
    subject.mirror.copied(1, PATIENCE).await?;
    let release = Release::installed(world.home()).await?;
    let outcome = away_and_back(world, &release, &subject).await;
    // Whatever came of it, the others need both as they were.
    world.home().start(Component::ApiServer).await?;
    release.upgrade(Helm::Four, &[]).await?;
    outcome
}

async fn away_and_back(world: &World, release: &Release, subject: &Subject) -> Result<()> {
    let home = world.home();
    let sidecar = Sidecar::of(home, subject).await?;
    release.uninstall(Helm::Four).await?;
    let before = subject.mirror.get().await?;
    home.stop(Component::ApiServer).await?;
    let last = two_periods(home, &sidecar).await?;
    let back = Timestamp::now();
    home.start(Component::ApiServer).await?;
    // After an outage they look for the API server ever more seldom; the bed has no time for that.
    for component in [Component::ControllerManager, Component::Scheduler] {
        home.stop(component).await?;
        home.start(component).await?;
    }
    // The kinds and the mirror have outlived the release.
    let after = subject.mirror.get().await?;
    ensure!(
        after.metadata.resource_version == before.metadata.resource_version,
        "somebody wrote to the mirror while nobody was there"
    );

    release
        .upgrade(Helm::Three, &["--set=operator.logLevel=debug"])
        .await?;
    let mirror = subject.mirror.copied(i64::try_from(last)?, MINUTE).await?;
    let status = mirror.status.context("the mirror has no status")?;
    ensure!(
        status.missed_runs == Some(0),
        "{:?} runs were missed",
        status.missed_runs
    );
    subject
        .mirror
        .condition("Ready", ConditionStatus::True, Some("Loaded"), MINUTE)
        .await?;
    release.upgrade(Helm::Three, &[]).await?;
    ensure!(
        Sidecar::of(home, subject).await? == sidecar,
        "the pod was replaced or restarted"
    );
    each_slot_once(world, subject, last, back).await?;
    release.uninstall(Helm::Three).await?;
    outlived(world, subject).await
}

/// A mirror that is deleted after its release goes, and all that was made for it, although nobody of ours is there; its copies stay.
async fn outlived(world: &World, subject: &Subject) -> Result<()> {
    subject.mirror.get().await?;
    subject.delete().await?;
    wait_for("the end of what was made for the mirror", MINUTE, || async {
        Ok(gone(world, subject).await?.then_some(()))
    })
    .await?;
    let held = stored(world, subject).await?;
    let entries = held.iter().filter(|version| version.key.contains("/source/"));
    ensure!(entries.count() > 2, "the ledger is not what it was: {held:?}");
    Ok(())
}

/// Waits until copies were made for more than two periods without an API server; returns the last one's number.
async fn two_periods(home: &Cluster, sidecar: &Sidecar) -> Result<u64> {
    ensure!(!home.answers().await, "the API server answers");
    let since = Timestamp::now();
    let report = sidecar
        .until("copies of two periods", PATIENCE, |report| {
            let made = copies(report);
            let made = made
                .iter()
                .filter(|run| run.slot.is_some_and(|slot| slot > since));
            made.count() >= 2 && Timestamp::now() > since + PERIOD * 2
        })
        .await?;
    ensure!(!home.answers().await, "the API server answers");
    Ok(report.last_copy.context("the sidecar names no copy")?.sequence)
}

/// The ledger answers every slot, from the first to the last, once, and got the last copy of the absence before its end.
async fn each_slot_once(world: &World, subject: &Subject, last: u64, back: Timestamp) -> Result<()> {
    let entries = ledger::whole(world, subject).await?;
    let entry = entries.get(usize::try_from(last)? - 1);
    let entry = entry.context("the ledger lacks copies that the sidecar reported")?;
    ensure!(
        entry.header.at.as_jiff() < back,
        "copy {last} was committed when all were back"
    );
    // The first copy is made because there is none, not for a slot.
    let slots: Vec<Timestamp> = entries
        .iter()
        .skip(1)
        .map(|entry| {
            let SourceBody::Copy(copy) = &entry.body;
            let slot = copy.slot.context("a copy was made for no slot")?;
            Ok(slot.as_jiff())
        })
        .collect::<Result<_>>()?;
    let once: BTreeSet<_> = slots.iter().collect();
    ensure!(once.len() == slots.len(), "a slot was answered twice: {slots:?}");
    for pair in slots.windows(2) {
        ensure!(pair[1] == pair[0] + PERIOD, "a slot was left out: {slots:?}");
    }
    Ok(())
}

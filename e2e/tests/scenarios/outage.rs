//! Operator and API server are away, and the registry is mirrored all the same.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{cluster::Component, product::Release};
use jiff::{SignedDuration, Timestamp};

use crate::{
    sidecar::{Sidecar, copies},
    stored,
    world::{MINUTE, PATIENCE, Subject, World, alone, every_minute},
};

/// The schedule's period.
const PERIOD: SignedDuration = SignedDuration::from_mins(1);

#[test]
fn copies_go_on_while_operator_and_api_server_are_down_and_none_is_made_twice() {
    alone(outage);
}

async fn outage(world: &'static World) -> Result<()> {
    let home = world.home();
    let ministry = world.ministry("outage").await?;
    let subject = ministry.small_registry("steady").await?;
    subject.apply(every_minute).await?;
    subject.mirror.copied(1, PATIENCE).await?;
    let sidecar = Sidecar::of(home, &subject).await?;

    let release = Release::installed(&world.product.bed).await?;
    let outcome = without(world, &release, &subject, &sidecar).await;
    // Whatever came of it, the others need both.
    home.start(Component::ApiServer).await?;
    release.scale(1).await?;
    let last = outcome?;

    let sequence = i64::try_from(last)?;
    let mirror = subject.mirror.copied(sequence, MINUTE).await?;
    subject
        .until("Ready", ConditionStatus::True, None, PATIENCE)
        .await?;
    let status = mirror.status.context("the mirror has no status")?;
    ensure!(
        status.missed_runs == Some(0),
        "{:?} runs were missed",
        status.missed_runs
    );
    ensure!(
        Sidecar::of(home, &subject).await? == sidecar,
        "the pod was replaced or restarted"
    );
    each_slot_once(world, &subject, last).await?;
    subject.delete().await
}

/// Takes both away until copies of more than two periods were made without them; returns the last one's number.
async fn without(world: &World, release: &Release, subject: &Subject, sidecar: &Sidecar) -> Result<u64> {
    let home = world.home();
    release.scale(0).await?;
    home.stop(Component::ApiServer).await?;
    ensure!(!home.answers().await, "the API server answers");
    let down_since = Timestamp::now();
    let later = |slot: Option<Timestamp>| slot.is_some_and(|slot| slot > down_since + PERIOD * 2);
    let report = sidecar
        .until("copies of two periods", PATIENCE, |report| {
            copies(report).iter().any(|run| later(run.slot))
        })
        .await?;
    let made = copies(&report);
    let made = made
        .iter()
        .filter(|run| run.slot.is_some_and(|slot| slot > down_since))
        .count();
    ensure!(made >= 3, "{made} copies in more than two periods");
    let last = report.last_copy.context("the sidecar names no copy")?.sequence;
    let entries = stored::entries(world, &subject.id).await?;
    ensure!(
        entries.len() as u64 >= last,
        "the ledger has {} entries, and the sidecar reports {last}",
        entries.len()
    );
    ensure!(!home.answers().await, "the API server answers");
    Ok(last)
}

/// The ledger answers every slot, from the first to the last, once.
async fn each_slot_once(world: &World, subject: &Subject, last: u64) -> Result<()> {
    let entries = stored::entries(world, &subject.id).await?;
    ensure!(entries.len() as u64 >= last, "the ledger has lost entries");
    // The first copy is made because there is none, not for a slot.
    let slots: Vec<Timestamp> = entries
        .iter()
        .skip(1)
        .map(|entry| {
            let slot = entry["slot"]
                .as_str()
                .with_context(|| format!("for no slot: {entry}"))?;
            Ok(slot.parse()?)
        })
        .collect::<Result<_>>()?;
    let once: BTreeSet<_> = slots.iter().collect();
    ensure!(once.len() == slots.len(), "a slot was answered twice: {slots:?}");
    for pair in slots.windows(2) {
        ensure!(pair[1] == pair[0] + PERIOD, "a slot was left out: {slots:?}");
    }
    Ok(())
}

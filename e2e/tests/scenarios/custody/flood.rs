//! Home is in the enemy's hands, and they write what home may write: as much as it takes, and where entries are to come. It is bounded, it is
//! told, and whoever comes after them goes on.

use anyhow::{Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{
    command::wait_for,
    product::{custody, red_team::RedTeam},
};
use dataembassy_testkit::minio::BUCKET;
use serde_json::json;

use super::proven;
use crate::world::{MINUTE, PATIENCE, World, together};

/// A mebibyte; the quota is eight of them, and a copy of the registry has a few kilobytes.
const MEBI: usize = 1024 * 1024;

#[test]
fn a_flood_ends_at_the_quota_and_costs_no_other_registry_anything() {
    together(flood);
}

#[test]
fn numbers_that_are_taken_ahead_of_home_are_told_and_skipped_by_nobody() {
    together(squatted);
}

async fn flood(world: &'static World) -> Result<()> {
    let ministry = world.ministry("flood").await?;
    let (flooded, other) =
        tokio::try_join!(ministry.small_registry("flooded"), ministry.small_registry("dry"))?;
    let (custody, _) = tokio::try_join!(proven(world, &flooded), proven(world, &other))?;
    let team = RedTeam::of(&world.product, &ministry.namespace, &flooded.id).await?;
    let before = team.holdings().await?;
    custody::allow(&world.product, &flooded.id, &json!({"quota": "8Mi"})).await?;
    // Until the gates have heard of it they take what comes, and the custodian counts it.
    let told = wait_for("the flood to be stopped", PATIENCE, || async {
        let flood = team.flood(4, MEBI).await?;
        Ok((flood.taken == 0).then_some(flood))
    })
    .await?;
    ensure!(told.refused == 4, "{told:?}");
    custody
        .condition(
            "SpaceSufficient",
            ConditionStatus::False,
            Some("QuotaExceeded"),
            MINUTE,
        )
        .await?;

    other.mirror.trigger("beside the flood").await?;
    other.mirror.copied(2, PATIENCE).await?;
    team.still_holds(&before).await?;
    custody
        .condition("Intact", ConditionStatus::True, None, MINUTE)
        .await?;

    // Home is ours again: nothing but the quota keeps it from copying.
    flooded.mirror.trigger("after the flood").await?;
    wait_for("home to be told of the quota", PATIENCE, || async {
        let status = flooded.mirror.get().await?.status.unwrap_or_default();
        let latest = status.recent_runs.first();
        Ok(latest
            .is_some_and(|run| run.reason == "QuotaExceeded")
            .then_some(()))
    })
    .await?;
    custody::allow(&world.product, &flooded.id, &json!({"quota": "1Gi"})).await?;
    flooded.mirror.copied(2, PATIENCE).await?;
    flooded.delete().await?;
    other.delete().await
}

async fn squatted(world: &'static World) -> Result<()> {
    let ministry = world.ministry("squatters").await?;
    let subject = ministry.small_registry("squatted").await?;
    let custody = proven(world, &subject).await?;
    let team = RedTeam::of(&world.product, &ministry.namespace, &subject.id).await?;
    ensure!(team.squat(40).await?, "the gate knows which number is next?");
    let said = custody
        .condition("LedgerSound", ConditionStatus::False, Some("LedgerGap"), MINUTE)
        .await?;
    ensure!(said.contains("0001-000000000040"), "{said}");
    // What stands far ahead is nobody's entry: the chain goes on up to it.
    subject.mirror.trigger("although somebody is ahead").await?;
    subject.mirror.copied(2, PATIENCE).await?;
    let keys = world
        .product
        .bed
        .store()
        .await?
        .root()
        .versions(BUCKET, &format!("registries/{}/source/", subject.id))
        .await?;
    ensure!(keys.len() == 3, "{keys:?}");
    custody.proven(PATIENCE).await?;
    subject.delete().await
}

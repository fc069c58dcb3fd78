//! A copy comes in, is read back, and everybody may know.

use anyhow::{Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::command::wait_for;

use super::{PROVEN, proven};
use crate::world::{MINUTE, PATIENCE, World, together};

#[test]
fn each_copy_is_proven_without_a_key_and_home_knows_by_the_ledger_alone() {
    together(each_copy_is_proven);
}

async fn each_copy_is_proven(world: &'static World) -> Result<()> {
    let ministry = world.ministry("proof").await?;
    let subject = ministry.small_registry("proven").await?;
    let custody = proven(world, &subject).await?;
    for condition in ["Ready", "HomeHeard", "WithinRPO", "LedgerSound", "Intact"] {
        custody
            .condition(condition, ConditionStatus::True, None, PROVEN)
            .await?;
    }
    let drilled = custody
        .condition("Drilled", ConditionStatus::Unknown, Some("NeverDrilled"), MINUTE)
        .await?;
    ensure!(!drilled.is_empty(), "nothing is said of drills");
    let said = subject
        .mirror
        .condition("Intact", ConditionStatus::True, Some("Proven"), PATIENCE)
        .await?;
    ensure!(said.contains('1'), "which copy is intact? {said}");

    // A view that somebody deletes is made again, and is the same.
    let before = custody.points().await?;
    custody.delete_point(1).await?;
    wait_for("the recovery point to come back", MINUTE, || async {
        Ok((custody.points().await? == before).then_some(()))
    })
    .await?;

    subject.mirror.trigger("another").await?;
    subject.mirror.copied(2, PATIENCE).await?;
    wait_for("both recovery points", PROVEN, || async {
        let points = custody.points().await?;
        Ok((points.len() == 2 && points.iter().all(|point| point.intact)).then_some(()))
    })
    .await?;
    subject.delete().await
}

//! Home falls silent, and the embassy notices by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::product::sidecar::Sidecar;

use super::{PROVEN, proven};
use crate::world::{PATIENCE, World, together};

/// A minute without a sign of life, and what it takes to be told on a busy machine.
const SILENT: Duration = Duration::from_secs(110);

#[test]
fn a_frozen_sidecar_at_home_makes_home_silent_at_the_embassy() {
    together(silent);
}

async fn silent(world: &'static World) -> Result<()> {
    let ministry = world.ministry("silence").await?;
    let subject = ministry.small_registry("silent").await?;
    let custody = proven(world, &subject).await?;
    custody
        .condition("HomeHeard", ConditionStatus::True, Some("Heard"), PROVEN)
        .await?;
    let sidecar = Sidecar::of(world.home(), &subject.namespace, &subject.id).await?;
    let container = sidecar.container().await?;
    container.freeze()?;
    let said = custody
        .condition("HomeHeard", ConditionStatus::False, Some("HomeSilent"), SILENT)
        .await;
    container.thaw()?;
    let said = said?;
    ensure!(said.contains("last heard at"), "since when? {said}");

    custody
        .condition("HomeHeard", ConditionStatus::True, Some("Heard"), PATIENCE)
        .await?;
    subject.delete().await
}

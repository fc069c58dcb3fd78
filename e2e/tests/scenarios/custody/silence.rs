//! Home falls silent, and the embassy notices by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::product::sidecar::Sidecar;

use super::{PROVEN, proven};
use crate::world::{MINUTE, PATIENCE, World, together};

/// Home's last word was spoken before it was frozen, so a minute from that word ends within a minute of the freezing. The operator calls home
/// silent at the first look that is more than 45 seconds behind the word, and looks every 8 to 12 seconds: three seconds are left for the rest.
const SILENT: Duration = MINUTE;

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

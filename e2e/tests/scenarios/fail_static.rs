//! What becomes of a running mirror when what it is told makes no sense any more: nothing.

use anyhow::{Result, ensure};
use dataembassy_crds::{ConditionStatus, RegistryMirror};
use dataembassy_e2e::command::wait_for;
use jiff::Timestamp;
use serde_json::json;

use crate::{
    sidecar::Sidecar,
    world::{MINUTE, PATIENCE, Subject, World, every_minute, together},
};

#[test]
fn an_invalid_edit_stops_no_mirror_and_the_resource_says_what_is_wrong() {
    together(invalid_edit);
}

#[test]
fn a_deleted_embassy_stops_no_mirror_and_the_resource_says_what_is_missing() {
    together(deleted_embassy);
}

async fn invalid_edit(world: &'static World) -> Result<()> {
    let ministry = world.ministry("invalid-edit").await?;
    let subject = ministry.small_registry("edited").await?;
    subject.apply(every_minute).await?;
    subject.mirror.copied(1, PATIENCE).await?;
    let sidecar = Sidecar::of(world.home(), &subject).await?;
    for (field, value, reason) in [
        ("timeZone", "Europe/Atlantis", "UnknownTimeZone"),
        ("cron", "0 0 30 2 *", "ImpossibleDate"),
    ] {
        subject
            .apply(|spec| {
                every_minute(spec);
                spec["schedule"][field] = json!(value);
            })
            .await?;
        stalled(&subject, reason, value).await?;
    }
    goes_on(&subject).await?;
    subject.apply(every_minute).await?;
    mended(world, &subject, &sidecar).await
}

async fn deleted_embassy(world: &'static World) -> Result<()> {
    let home = world.home();
    let ministry = world.ministry("deleted-embassy").await?;
    let subject = ministry.small_registry("orphan").await?;
    let name = world.unique("estonia");
    let embassy = world
        .product
        .data_embassy()
        .await?
        .replace("\n  name: luxembourg\n", &format!("\n  name: {name}\n"));
    home.apply(&embassy).await?;
    let refer = |spec: &mut serde_json::Value| {
        every_minute(spec);
        spec["embassyRef"] = json!({"name": name});
    };
    // By another name, home reaches the same embassy.
    subject.accept().await?;
    subject.apply(refer).await?;
    subject.mirror.copied(1, PATIENCE).await?;
    let sidecar = Sidecar::of(home, &subject).await?;
    home.kubectl(["delete", "dataembassy", &name, "--wait"]).await?;
    stalled(&subject, "UnknownEmbassy", &name).await?;
    goes_on(&subject).await?;
    home.apply(&embassy).await?;
    mended(world, &subject, &sidecar).await?;
    home.kubectl(["delete", "dataembassy", &name, "--wait"])
        .await
        .map(drop)
}

/// The resource says within a minute what is wrong with it, and that the mirror goes on.
async fn stalled(subject: &Subject, reason: &str, word: &str) -> Result<()> {
    let message = subject
        .mirror
        .condition("Stalled", ConditionStatus::True, Some(reason), MINUTE)
        .await?;
    ensure!(
        message.contains(word) && message.ends_with("the mirror goes on with its last valid configuration"),
        "{message}"
    );
    let ready = subject
        .mirror
        .condition("Ready", ConditionStatus::False, Some(reason), MINUTE)
        .await?;
    ensure!(message.starts_with(&ready), "{ready}");
    Ok(())
}

/// A copy is made by a run that begins after now.
async fn goes_on(subject: &Subject) -> Result<()> {
    let now = Timestamp::now();
    let new = |mirror: &RegistryMirror| {
        let copy = mirror.status.as_ref()?.last_copy.as_ref()?;
        Some(copy.taken_at.parse::<Timestamp>().ok()? > now)
    };
    wait_for("a copy by the last valid schedule", PATIENCE, || async {
        let mirror = subject.mirror.get().await?;
        Ok(new(&mirror).unwrap_or(false).then_some(()))
    })
    .await
}

/// The resource is followed again, by the very pod that went on.
async fn mended(world: &World, subject: &Subject, sidecar: &Sidecar) -> Result<()> {
    subject.until_gone("Stalled", MINUTE).await?;
    subject
        .mirror
        .condition("Ready", ConditionStatus::True, None, MINUTE)
        .await?;
    let now = Sidecar::of(world.home(), subject).await?;
    ensure!(now == *sidecar, "the pod was replaced or restarted: {now:?}");
    subject.delete().await
}

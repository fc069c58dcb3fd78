//! The release names an image of the sidecar that there is not.

use anyhow::Result;
use dataembassy_contract::Reason;
use dataembassy_e2e::{cluster::Helm, product::Release};

use crate::{
    requests::Requests,
    world::{PATIENCE, Subject, World, alone},
    wrong_input::told,
};

/// Nothing has this digest.
const ABSENT: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn an_upgrade_to_an_image_that_there_is_not_is_told_by_its_name_and_taken_back_by_another() {
    alone(absent);
}

async fn absent(world: &'static World) -> Result<()> {
    let ministry = world.ministry("image").await?;
    let subject = ministry.small_registry("imageless").await?;
    subject.mirrored().await?;
    let release = Release::installed(world.home()).await?;
    let outcome = without(world, &release, &subject).await;
    // Whatever came of it, the others need theirs.
    release.upgrade(Helm::Four, &[]).await?;
    outcome?;
    subject.mirror.trigger("with an image again").await?;
    subject.mirror.copied(2, PATIENCE).await?;
    subject.delete().await
}

async fn without(world: &'static World, release: &Release, subject: &Subject) -> Result<()> {
    let image = format!("--set=sidecar.image.digest={ABSENT}");
    release.upgrade(Helm::Four, &[image.as_str()]).await?;
    let words = [
        ABSENT,
        "cannot be pulled",
        "check image, registry and imagePullSecrets",
    ];
    told("Ready", Reason::ImagePullFailed, &words)
        .by_mirror(&subject.mirror)
        .await?;
    Requests::are_few(world, &subject.namespace).await
}

//! Deleting a mirror ends the mirroring, and nothing that was mirrored.

use anyhow::{Context, Result, ensure};
use dataembassy_e2e::{bed::secrets, command::wait_for};
use dataembassy_testkit::minio::{BUCKET, Version};

use crate::{
    ledger,
    sidecar::pods,
    world::{PATIENCE, Subject, World, together},
};

/// What the operator makes for a mirror, by kind.
const OBJECTS: [&str; 4] = ["deployment", "configmap", "serviceaccount", "networkpolicy"];

#[test]
fn deleting_a_mirror_stops_its_sidecar_and_leaves_every_copy_and_the_signing_key() {
    together(deleted);
}

async fn deleted(world: &'static World) -> Result<()> {
    let ministry = world.ministry("deletion").await?;
    let subject = ministry.small_registry("kept").await?;
    subject.mirrored().await?;
    let signer = subject.mirror.signer().await?;
    let key = signing_key(world, &subject).await?;
    let held = stored(world, &subject).await?;
    ensure!(!held.is_empty(), "nothing was copied");

    subject.delete().await?;
    wait_for("the end of what was made for the mirror", PATIENCE, || async {
        Ok(gone(world, &subject).await?.then_some(()))
    })
    .await?;
    ensure!(
        signing_key(world, &subject).await? == key,
        "the signing key is another one"
    );
    untouched(world, &subject, &held).await?;

    // The same mirror again finds its ledger, and goes on with it under the same key.
    let again = subject.mirrored().await?;
    let sequence = again.status.and_then(|status| status.last_copy?.sequence.into());
    ensure!(
        sequence == Some(1),
        "the ledger's copy is not shown: {sequence:?}"
    );
    subject.mirror.trigger("again").await?;
    subject.mirror.copied(2, PATIENCE).await?;
    ensure!(
        subject.mirror.signer().await? == signer,
        "the second entry has another signer"
    );
    let entries = ledger::whole(world, &subject).await?;
    ensure!(
        ledger::triggers(&entries) == [None, Some("again")],
        "the ledger answers {:?}",
        ledger::triggers(&entries)
    );
    let now = stored(world, &subject).await?;
    ensure!(
        held.iter().all(|version| now.contains(version)),
        "the second copy took something away"
    );
    Ok(())
}

/// The store holds what it held. The custodian may have signed something meanwhile; nothing else is new, and nothing is gone.
pub(crate) async fn untouched(world: &World, subject: &Subject, held: &[Version]) -> Result<()> {
    let now = stored(world, subject).await?;
    let custody = format!("registries/{}/custody/", subject.id);
    ensure!(
        held.iter().all(|version| now.contains(version))
            && now
                .iter()
                .all(|version| held.contains(version) || version.key.starts_with(&custody)),
        "the store does not hold what it held: {held:?}, and now {now:?}"
    );
    Ok(())
}

/// Every version of every object of the registry; a deletion would be one too.
pub(crate) async fn stored(world: &World, subject: &Subject) -> Result<Vec<Version>> {
    let store = world.product.bed.store().await?;
    let prefix = format!("registries/{}/", subject.id);
    store.root().versions(BUCKET, &prefix).await
}

async fn signing_key(world: &World, subject: &Subject) -> Result<String> {
    let name = format!("{}-signing-key", subject.id);
    secrets::read(world.home(), &subject.namespace, &name)
        .await?
        .and_then(|mut key| key.remove("ssh-privatekey"))
        .with_context(|| format!("there is no Secret {name} with a key"))
}

/// Whether nothing is left of what the operator made for the mirror.
pub(crate) async fn gone(world: &World, subject: &Subject) -> Result<bool> {
    let name = format!("{}-mirror", subject.id);
    for kind in OBJECTS {
        let found = world
            .home()
            .kubectl([
                "get",
                kind,
                &name,
                "--namespace",
                &subject.namespace,
                "--ignore-not-found",
                "--output=name",
            ])
            .await?;
        if !found.is_empty() {
            return Ok(false);
        }
    }
    Ok(pods(world.home(), subject).await?.is_empty())
}

//! What the schema and its rules refuse at once, in our words.

use anyhow::{Context, Result, ensure};
use dataembassy_contract::Reason;
use dataembassy_e2e::patience::Patience;
use serde_json::json;

use super::{MENDED, end, refused, told};
use crate::{
    embassy::Embassy,
    world::{MINUTE, World, together},
};

#[test]
fn what_the_api_server_can_judge_is_refused_at_once_in_our_words() {
    together(scenario);
}

async fn scenario(world: &'static World) -> Result<()> {
    let ministry = world.ministry("wrong-schema").await?;
    let mut patience = Patience::of(MINUTE);
    an_embassy(world).await?;

    let subject = ministry.small_registry("wrong-schema").await?;
    let mut engineless = subject.manifest();
    engineless["spec"]["source"] = json!({});
    refused(
        world,
        &engineless,
        &[
            "spec.source",
            "exactly one engine must be set",
            "source.postgresql",
        ],
    )
    .await
    .context("no engine")?;
    ensure!(!patience.left().is_zero(), "refusals took longer than {MINUTE:?}");

    // With its engine it is a mirror like any other.
    subject.apply(|_| ()).await?;
    subject.mirror.copied(1, MENDED).await?;
    let mut renamed = subject.manifest();
    renamed["spec"]["registry"]["id"] = json!(world.unique("other"));
    refused(
        world,
        &renamed,
        &["spec.registry.id", "registry.id is immutable", "for ever"],
    )
    .await
    .context("another registry id")?;
    let mut moved = subject.manifest();
    moved["spec"]["embassyRef"]["name"] = json!("reykjavik");
    refused(
        world,
        &moved,
        &["spec.embassyRef is immutable", "make another mirror"],
    )
    .await
    .context("another embassy")?;
    // A refused edit has changed nothing.
    subject.mirror.trigger("after the refusals").await?;
    subject.mirror.copied(2, MENDED).await?;
    end(world, &ministry, &[]).await
}

async fn an_embassy(world: &'static World) -> Result<()> {
    let embassy = Embassy::new(world, "wrong-schema").await?;
    let plain = embassy.with(|spec| spec["store"]["endpoint"] = json!("http://store.embassy.example"));
    refused(
        world,
        &plain,
        &["spec.store.endpoint", "must begin with https://", "allowInsecure"],
    )
    .await
    .context("http://")?;
    let private = format!("AGE-SECRET-KEY-1{}", "Q".repeat(58));
    for wrong in [
        private.as_str(),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI",
        "ministry@example.org",
    ] {
        let manifest = embassy.with(|spec| spec["recipients"][0]["publicKey"] = json!(wrong));
        let words = [
            "spec.recipients[0].publicKey",
            "age1",
            "age-keygen -y",
            "never the private key",
        ];
        let said = refused(world, &manifest, &words).await.context(wrong.len())?;
        ensure!(
            !said.contains(wrong),
            "the API server repeats what may be a private key"
        );
    }
    embassy
        .apply(|spec| spec["store"]["endpoint"] = json!(embassy.endpoint()))
        .await?;
    told("Ready", Reason::Accepted, &[])
        .by_embassy(world, &embassy.name)
        .await?;
    embassy.delete().await
}

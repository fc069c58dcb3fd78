//! The store cannot be written, so nothing can fence home: the order waits, unless those who signed it accepted that.

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{ActivationPhase, ConditionStatus, RegistryPhase};
use dataembassy_e2e::{
    command::wait_for,
    product::activation::{self, Activating, Wanted},
};
use dataembassy_ledger::ObjectKey;
use dataembassy_testkit::minio::{BUCKET, StoreUser};
use serde_json::json;

use super::ACTIVATED;
use crate::world::{PATIENCE, World, persons, together};

#[test]
fn without_a_fence_a_registry_is_served_only_where_the_approvers_accept_that_and_fenced_as_soon_as_can_be() {
    together(without_a_fence);
}

async fn without_a_fence(world: &'static World) -> Result<()> {
    let product = &world.product;
    let subject = world.mirrored("unwritable").await?;
    let id = subject.id.as_str();
    let store = product.bed.store().await?;
    let chain = ObjectKey::custody_prefix(&id.parse()?);
    let wanted = [Wanted::of(id)];
    let activating =
        Activating::begin(product, &world.unique("unwritable"), "Activate", &wanted, |_| ()).await?;
    store
        .root()
        .withhold_puts(BUCKET, &StoreUser::Custody, &chain)
        .await?;
    let outcome = refused_then_accepted(world, &activating, id).await;
    // Whatever came of it, the others need the custodian as it was.
    store.user(&StoreUser::Custody).await?;
    outcome?;
    let state = activating
        .registry(id, PATIENCE, |state| state.fence.is_some())
        .await?;
    ensure!(
        state.phase == RegistryPhase::Serving && state.message.contains("fenced later"),
        "{state:?}"
    );
    subject
        .mirror
        .condition("Fenced", ConditionStatus::True, Some("Fenced"), PATIENCE)
        .await?;
    activating.delete().await?;
    subject.delete().await
}

async fn refused_then_accepted(world: &World, activating: &Activating, id: &str) -> Result<()> {
    let product = &world.product;
    activating.approve_by(product, 2).await?;
    let waits = activating
        .registry(id, PATIENCE, |state| {
            state.message.contains("cannot fence home yet")
        })
        .await?;
    ensure!(
        waits.phase == RegistryPhase::Fencing && waits.copy.is_none() && waits.fence.is_none(),
        "{waits:?}"
    );

    let first = activating.statement().await?;
    activating
        .patch(&json!({"spec": {"unfenced": "Accepted", "deadlines": {"fence": "20s"}}}))
        .await?;
    let second = wait_for("another statement", PATIENCE, || async {
        let another = activating.status().await?.statement;
        Ok(another
            .map(|another| another.text)
            .filter(|another| *another != first))
    })
    .await?;
    ensure!(
        second.lines().any(|line| line == "unfenced: accepted"),
        "whoever signs must read what they accept: {second}"
    );
    activating.approve_by(product, 2).await?;
    let status = activating.phase(ActivationPhase::Serving, ACTIVATED).await?;
    let state = status.registries.first().context("no registry")?;
    ensure!(state.fence.is_none(), "{state:?}");
    let rows = persons(&activation::connect(product, state).await?).await?;
    ensure!(rows == 3, "{rows} rows are served");
    Ok(())
}

//! The embassy's only node dies in the middle of an activation, and the store, custodian, operator and database with it.

use anyhow::{Result, ensure};
use dataembassy_crds::{ActivationPhase, RegistryPhase};
use dataembassy_e2e::command::wait_for;
use dataembassy_e2e::product::activation::{self, Activating, Wanted};
use dataembassy_e2e::registries::{Amount, Registry};
use dataembassy_e2e::truth::{self, Scope, Truth};

use crate::{
    ledger,
    world::{PATIENCE, World, alone},
};

#[test]
fn an_activation_goes_on_where_it_was_when_the_node_has_died_under_all_of_it() {
    alone(node);
}

async fn node(world: &'static World) -> Result<()> {
    let product = &world.product;
    let ministry = world.ministry("node").await?;
    let subject = ministry
        .registry("node", Registry::Population, 17, &Amount::of_scale(0.1))
        .await?;
    subject.mirrored().await?;
    let source = Truth::of(&subject.connect().await?).await?;

    let wanted = [Wanted::of(&subject.id)];
    let activating = Activating::begin(product, &world.unique("node"), "Activate", &wanted, |_| ()).await?;
    activating.approve_by(product, 2).await?;
    let id = subject.id.as_str();
    let before = activating
        .registry(id, PATIENCE, |state| state.phase == RegistryPhase::Restoring)
        .await?;
    product.bed.embassy().reboot_node().await?;
    let status = activating.phase(ActivationPhase::Serving, PATIENCE * 2).await?;
    let state = &status.registries[0];
    ensure!(
        state.fence == before.fence && state.copy == before.copy,
        "what was settled before the node died is something else now: {before:?}, {state:?}"
    );
    let kinds = ledger::custody_kinds(world, id).await?;
    let fences = kinds.iter().filter(|kind| **kind == "activation").count();
    ensure!(fences == 1, "it was fenced {fences} times: {kinds:?}");
    let client = activation::connect(product, state).await?;
    let differences = truth::compare(&source, &Truth::of(&client).await?, Scope::WHOLE);
    ensure!(differences.is_empty(), "{} differences", differences.len());

    // What is served comes up by itself when the node dies again, with what was written abroad.
    client
        .batch_execute("CREATE TABLE public.written_abroad AS SELECT 1 AS n")
        .await?;
    product.bed.embassy().reboot_node().await?;
    let rows = wait_for("the registry to answer again", PATIENCE, || async {
        let client = activation::connect(product, state).await?;
        let row = client
            .query_one("SELECT count(*) FROM public.written_abroad", &[])
            .await?;
        Ok(Some(row.get::<_, i64>(0)))
    })
    .await?;
    ensure!(rows == 1, "what was written abroad is gone");
    // The others need the store, which may be the last to be up.
    ensure!(
        product.bed.store().await?.answers().await?,
        "the store has lost its bucket"
    );
    activating.delete().await?;
    subject.delete().await
}

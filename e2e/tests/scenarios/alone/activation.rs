//! A registry is activated while everybody who takes part in it is killed; and what is served stays, whatever becomes of the order.

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{ActivationPhase, ConditionStatus, RegistryPhase};
use dataembassy_e2e::product::activation::{self, Activating, NAMESPACE, Wanted};
use dataembassy_e2e::registries::{Amount, Registry};
use dataembassy_e2e::truth::{self, Scope, Truth};

use super::kill;
use crate::{
    ledger,
    world::{MINUTE, PATIENCE, World, alone},
};

#[test]
fn a_registry_comes_up_although_operator_custodian_restore_and_database_are_killed_and_stays() {
    alone(kills);
}

async fn kills(world: &'static World) -> Result<()> {
    let product = &world.product;
    let abroad = product.bed.embassy();
    let ministry = world.ministry("activated").await?;
    let subject = ministry
        .registry("activated", Registry::Population, 17, &Amount::of_scale(0.1))
        .await?;
    subject.mirrored().await?;
    let source = Truth::of(&subject.connect().await?).await?;

    let wanted = [Wanted::of(&subject.id)];
    let name = world.unique("killed");
    let activating = Activating::begin(product, &name, "Activate", &wanted, |_| ()).await?;
    activating.approve_by(product, 2).await?;
    kill(world.product.bed.embassy(), "operator").await?;
    kill(world.product.bed.embassy(), "custodian").await?;
    let id = subject.id.as_str();
    activating
        .registry(id, PATIENCE, |state| state.fence.is_some())
        .await?;
    kill(world.product.bed.embassy(), "operator").await?;
    activating
        .registry(id, PATIENCE, |state| state.phase == RegistryPhase::Restoring)
        .await?;
    let everything = [
        "delete",
        "pods",
        "--all",
        "--namespace",
        NAMESPACE,
        "--force",
        "--grace-period=0",
    ];
    let killed = abroad.kubectl(everything).await?;
    ensure!(killed.contains("deleted"), "nothing was at work: {killed}");
    kill(world.product.bed.embassy(), "operator").await?;
    let status = activating.phase(ActivationPhase::Serving, PATIENCE * 2).await?;
    let state = &status.registries[0];
    let kinds = ledger::custody_kinds(world, id).await?;
    let fences = kinds.iter().filter(|kind| **kind == "activation").count();
    ensure!(fences == 1, "it was fenced {fences} times: {kinds:?}");

    let client = activation::connect(product, state).await?;
    let differences = truth::compare(&source, &Truth::of(&client).await?, Scope::WHOLE);
    ensure!(
        differences.is_empty(),
        "what is served differs from the source: {}",
        differences
            .iter()
            .take(5)
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    );
    let said = subject
        .mirror
        .condition("Fenced", ConditionStatus::True, Some("Fenced"), PATIENCE)
        .await?;
    let order = status.statement.context("the statement is gone")?.order;
    ensure!(
        said.contains(&order),
        "home does not name the order {order}: {said}"
    );

    // One registry, one order.
    let second = Activating::begin(product, &world.unique("another"), "Activate", &wanted, |_| ()).await?;
    second
        .condition("Ready", ConditionStatus::False, "AlreadyActivated", MINUTE)
        .await?;
    second.delete().await?;

    // Written abroad: there is no other copy of it.
    client
        .batch_execute("CREATE TABLE public.written_abroad AS SELECT 1 AS n")
        .await?;
    activating.delete().await?;
    let pod = format!("{name}-{id}");
    let pods = abroad
        .kubectl(["get", "pods", "--namespace", NAMESPACE, "--no-headers"])
        .await?;
    ensure!(pods.contains(&pod), "the database went with the order: {pods}");
    let rows: i64 = activation::connect(product, state)
        .await?
        .query_one("SELECT count(*) FROM public.written_abroad", &[])
        .await?
        .get(0);
    ensure!(rows == 1, "what was written abroad is gone");
    subject.delete().await
}

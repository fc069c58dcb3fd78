//! The embassy's cluster is empty, its store is not: a trust sheet brings everything back, and nothing else does.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dataembassy_crds::{ActivationPhase, ConditionStatus};
use dataembassy_e2e::{
    command::wait_for,
    patience::Patience,
    product::{
        activation::{self, Activating, Wanted},
        custody, embassy,
    },
};

use super::{PROVEN, proven};
use crate::{
    ledger,
    world::{MINUTE, PATIENCE, World, persons, together},
};

/// Everything of an activation on a machine that is busy with other things.
const ACTIVATED: Duration = Duration::from_mins(8);

#[test]
fn an_empty_embassy_with_a_trust_sheet_knows_everything_again_within_a_minute() {
    together(knows_everything_again);
}

#[test]
fn a_registry_is_served_with_the_store_the_trust_sheet_the_identity_and_signatures_and_nothing_else() {
    together(served_from_the_sheet);
}

async fn knows_everything_again(world: &'static World) -> Result<()> {
    let product = &world.product;
    let ministry = world.ministry("empty").await?;
    let subject = ministry.small_registry("forgotten").await?;
    let custody = proven(world, &subject).await?;
    subject.mirror.trigger("a second").await?;
    subject.mirror.copied(2, PATIENCE).await?;
    wait_for("two intact recovery points", PROVEN, || async {
        let points = custody.points().await?;
        Ok((points.len() == 2 && points.iter().all(|point| point.intact)).then_some(()))
    })
    .await?;
    let points = custody.points().await?;
    let sheet = custody::trust_sheet(product, &[&subject.id]).await?;
    ensure!(
        sheet.contains("\nsource: 0001-000000000002 "),
        "the sheet does not name the second copy:\n{sheet}"
    );

    // Nothing in the cluster remembers the registry any more. Accepted again, it is followed, and nobody vouches for what is found.
    custody.forget(product, PATIENCE).await?;
    let signer = subject.mirror.signer().await?;
    embassy::accept(product, &subject.id, &signer).await?;
    let said = custody
        .condition(
            "LedgerSound",
            ConditionStatus::False,
            Some("Unwitnessed"),
            PATIENCE,
        )
        .await?;
    ensure!(said.contains("source entry 2"), "where does it stand? {said}");
    wait_for(
        "the recovery points of what nobody vouches for",
        PROVEN,
        || async {
            let points = custody.points().await?;
            Ok((points.len() == 2 && points.iter().all(|point| point.intact)).then_some(()))
        },
    )
    .await?;
    // By then the operator has heard the heads many times over, and has made no floor of them.
    let status = custody.get().await?.status.context("there is no status")?;
    ensure!(
        status.source_head.is_none() && status.custody_head.is_none(),
        "the operator vouches for a head by itself: {status:?}"
    );
    custody
        .condition(
            "LedgerSound",
            ConditionStatus::False,
            Some("Unwitnessed"),
            PATIENCE,
        )
        .await?;

    let resources = custody::resources_of(product, &sheet).await?;
    let (mut patience, mut marks) = (Patience::of(MINUTE), Vec::new());
    let mut mark = |what: &str| marks.push(format!("{what} with {:?} left", patience.left()));
    product.bed.embassy().apply(&resources).await?;
    mark("applied");
    custody
        .condition("LedgerSound", ConditionStatus::True, None, MINUTE)
        .await?;
    mark("LedgerSound");
    custody
        .condition("Intact", ConditionStatus::True, None, MINUTE)
        .await?;
    mark("Intact");
    wait_for("the heads and the recovery points", MINUTE, || async {
        let status = custody.get().await?.status.unwrap_or_default();
        let head = status.source_head.map(|head| head.sequence);
        Ok(
            (head == Some(2) && status.custody_head.is_some() && custody.points().await? == points)
                .then_some(()),
        )
    })
    .await?;
    mark("all of it");
    ensure!(
        !patience.left().is_zero(),
        "it took longer than {MINUTE:?}: {}",
        marks.join(", ")
    );
    subject.delete().await
}

async fn served_from_the_sheet(world: &'static World) -> Result<()> {
    let product = &world.product;
    let subject = world
        .ministry("on-paper")
        .await?
        .small_registry("on-paper")
        .await?;
    let id = subject.id.as_str();
    let custody = proven(world, &subject).await?;
    let sheet = custody::trust_sheet(product, &[id]).await?;
    ensure!(
        sheet.contains("\nsource: 0001-000000000001 "),
        "the sheet does not name the copy:\n{sheet}"
    );

    // Home is gone with its database, and the cluster abroad has never heard of the registry: nobody but the sheet says whose entries count.
    subject.delete().await?;
    let server = subject.server.connect("postgres").await?;
    server
        .batch_execute(&format!("DROP DATABASE \"{id}\" WITH (FORCE)"))
        .await?;
    custody.forget(product, PATIENCE).await?;
    let resources = custody::resources_of(product, &sheet).await?;
    product.bed.embassy().apply(&resources).await?;
    custody
        .condition("LedgerSound", ConditionStatus::True, None, PATIENCE)
        .await?;
    custody.proven(PROVEN).await?;

    let name = world.unique("on-paper");
    let activating = Activating::begin(product, &name, "Activate", &[Wanted::of(id)], |_| ()).await?;
    activating.approve_by(product, 2).await?;
    let status = activating.phase(ActivationPhase::Serving, ACTIVATED).await?;
    let state = status
        .registries
        .first()
        .context("nothing is said of the registry")?;
    ensure!(
        state.fence.is_some() && state.copy.as_ref().is_some_and(|copy| copy.sequence == 1),
        "{state:?}"
    );
    let rows = persons(&activation::connect(product, state).await?).await?;
    ensure!(rows == 3, "{rows} rows are served, where the copy has 3");
    let kinds = ledger::custody_kinds(world, id).await?;
    let fences = kinds.iter().filter(|kind| **kind == "activation").count();
    ensure!(fences == 1, "it was fenced {fences} times: {kinds:?}");
    activating.delete().await
}

//! The embassy's whole cluster is lost, and its store is not: the product is installed anew beside it, and a sheet of paper says the rest.

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{ConditionStatus, RegistryCustody};
use dataembassy_e2e::{
    command::wait_for,
    patience::Patience,
    product::{
        Release,
        custody::{self, Custody, Point},
        embassy,
    },
};
use kube::{Api, api::ListParams};

use crate::world::{MINUTE, PATIENCE, Subject, World, alone};

#[test]
fn an_embassy_installed_anew_beside_its_store_knows_every_registry_of_the_trust_sheet_within_a_minute() {
    alone(installed_anew);
}

async fn installed_anew(world: &'static World) -> Result<()> {
    let product = &world.product;
    let ministry = world.ministry("emptied").await?;
    let subjects = [
        ministry.small_registry("land").await?,
        ministry.small_registry("courts").await?,
    ];
    let mut before = Vec::new();
    for subject in &subjects {
        subject.mirrored().await?;
        subject.mirror.trigger("a second").await?;
        subject.mirror.copied(2, PATIENCE).await?;
        before.push(proven(world, subject, 2).await?);
    }
    let ids = subjects.each_ref().map(|subject| subject.id.as_str());
    let sheet = custody::trust_sheet(product, &ids).await?;
    let resources = custody::resources_of(product, &sheet).await?;

    let release = embassy::empty(product).await?;
    let outcome = come_back(world, &release, &resources, subjects.iter().zip(&before)).await;
    // Whatever came of it, the others need an embassy, and home its gate.
    embassy::install_anew(product, &release).await?;
    world.home().apply(&product.data_embassy().await?).await?;
    outcome?;

    // The gate has a certificate of another authority. Now that home has been told of it, copies come in, and are proven, as before.
    for subject in &subjects {
        subject.mirror.trigger("once the embassy is back").await?;
        subject.mirror.copied(3, PATIENCE).await?;
        proven(world, subject, 3).await?;
    }
    for subject in subjects {
        subject.delete().await?;
    }
    Ok(())
}

/// Installs the release beside the store, and waits until everything is known that the resources of the sheet name.
async fn come_back(
    world: &World,
    release: &Release,
    resources: &str,
    subjects: impl Iterator<Item = (&Subject, &Vec<Point>)>,
) -> Result<()> {
    let product = &world.product;
    embassy::install_anew(product, release).await?;
    let custodies = Api::<RegistryCustody>::all(product.bed.embassy().client().clone());
    let remembered = custodies.list(&ListParams::default()).await?.items.len();
    ensure!(remembered == 0, "{remembered} registries are remembered");

    let mut patience = Patience::of(MINUTE);
    product.bed.embassy().apply(resources).await?;
    for (subject, points) in subjects {
        known_again(world, subject, points).await?;
    }
    ensure!(!patience.left().is_zero(), "it took longer than {MINUTE:?}");
    Ok(())
}

/// Waits until everything is known of a registry that was: the same heads, and the same copies, proven.
async fn known_again(world: &World, subject: &Subject, points: &[Point]) -> Result<()> {
    let custody = Custody::of(&world.product, &subject.id);
    for condition in ["LedgerSound", "Intact"] {
        custody
            .condition(condition, ConditionStatus::True, None, MINUTE)
            .await?;
    }
    wait_for("the heads and the recovery points", MINUTE, || async {
        let status = custody.get().await?.status.context("there is no status")?;
        let head = status.source_head.map(|head| head.sequence);
        let is_known = head == Some(2) && status.custody_head.is_some();
        Ok((is_known && custody.points().await? == points).then_some(()))
    })
    .await
}

/// Waits until as many copies of a registry are proven.
async fn proven(world: &World, subject: &Subject, copies: usize) -> Result<Vec<Point>> {
    let custody = Custody::of(&world.product, &subject.id);
    wait_for(
        &format!("{copies} proven copies of {}", subject.id),
        PATIENCE,
        || async {
            let points = custody.points().await?;
            let proven = points.iter().filter(|point| point.intact).count();
            Ok((proven == copies && points.len() == copies).then_some(points))
        },
    )
    .await
}

//! Which copy comes up where the store is not what it was: no damaged one, an older one where there is one, and none where there is none.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{ActivationPhase, ConditionStatus, RegistryPhase};
use dataembassy_e2e::{
    bed::disk::Disk,
    command::wait_for,
    product::{
        activation::{self, Activating, Wanted},
        custody::Custody,
    },
};

use super::ACTIVATED;
use crate::world::{PATIENCE, Subject, World, persons, together};

/// By then every copy of the bed was read back again.
const READ_BACK: Duration = Duration::from_mins(4);

#[test]
fn a_damaged_copy_is_passed_over_for_an_older_one_and_a_registry_without_another_fails_alone() {
    together(damaged);
}

async fn damaged(world: &'static World) -> Result<()> {
    let product = &world.product;
    let (two, one) = tokio::try_join!(world.mirrored("one-is-left"), world.mirrored("none-is-left"))?;
    two.connect()
        .await?
        .batch_execute("DELETE FROM public.person WHERE id = 3")
        .await?;
    two.mirror.trigger("another").await?;
    two.mirror.copied(2, PATIENCE).await?;
    tokio::try_join!(spoil(world, &two, 2), spoil(world, &one, 1))?;

    let wanted = [Wanted::of(&two.id), Wanted::of(&one.id)];
    let activating =
        Activating::begin(product, &world.unique("spoiled"), "Activate", &wanted, |_| ()).await?;
    activating.approve_by(product, 2).await?;
    let status = activating.phase(ActivationPhase::Failed, ACTIVATED).await?;
    let [whole, lost] = status.registries.as_slice() else {
        anyhow::bail!("{:?}", status.registries);
    };
    ensure!(
        lost.phase == RegistryPhase::Failed && lost.reason == "NoIntactCopy" && lost.fence.is_some(),
        "{lost:?}"
    );
    ensure!(lost.message.contains("damaged"), "{}", lost.message);
    ensure!(
        whole.phase == RegistryPhase::Serving && whole.copy.as_ref().is_some_and(|copy| copy.sequence == 1),
        "{whole:?}"
    );
    let rows = persons(&activation::connect(product, whole).await?).await?;
    ensure!(rows == 3, "{rows} rows are served, where the older copy has 3");
    activating.delete().await?;
    two.delete().await?;
    one.delete().await
}

/// Flips a bit of a copy on the store's disk, and waits until the custodian has found it.
async fn spoil(world: &World, subject: &Subject, sequence: i64) -> Result<()> {
    let custody = Custody::of(&world.product, &subject.id);
    let copy = wait_for("the copy to be proven", READ_BACK, || async {
        let points = custody.points().await?;
        let point = points
            .into_iter()
            .find(|point| point.sequence == sequence && point.intact);
        Ok(point.map(|point| point.copy_id))
    })
    .await?;
    let store = world.product.bed.store().await?;
    let segment = store.first_segment(&subject.id, &copy).await?;
    let disk = Disk::of(&world.product.bed).await?;
    disk.flip(&segment)
        .with_context(|| format!("cannot spoil {segment}"))?;
    custody
        .condition("Intact", ConditionStatus::False, None, READ_BACK)
        .await
        .map(drop)
}

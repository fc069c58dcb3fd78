//! Whatever takes part in a drill is killed while it is at work.

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::DrillOutcome;
use dataembassy_e2e::{
    bed::secrets,
    command::wait_for,
    product::drill::{self, Drilling, NAMESPACE},
};
use kube::ResourceExt as _;
use serde_json::json;

use super::kill;
use crate::{
    drills::{nothing_left, pods},
    ledger,
    world::{PATIENCE, World, alone},
};

#[test]
fn a_drill_ends_and_is_signed_once_although_operator_and_custodian_are_killed_and_ends_when_its_database_is()
{
    alone(kills);
}

async fn kills(world: &'static World) -> Result<()> {
    let subject = world.mirrored("killed-drill").await?;
    let id = subject.id.as_str();
    let abroad = world.product.bed.embassy();
    let identity = format!("{id}-identity");
    let key = [("identity.txt", world.product.keys.identity.as_str())];
    let drilling = Drilling::begin(&world.product, id, |spec| {
        spec["identityRef"] = json!({"name": identity});
        spec["retries"] = json!(0);
    })
    .await?;
    let at_work = wait_for("the drill to have a pod", PATIENCE, || async {
        Ok(pods(world, id).await?.pop())
    })
    .await?;
    kill(world.product.bed.embassy(), "operator").await?;
    secrets::write(abroad, NAMESPACE, &identity, &key).await?;
    wait_for("a result to be signed", PATIENCE, || async {
        let status = drilling.get().await?.status.unwrap_or_default();
        ensure!(status.last.is_none(), "it has ended already: {:?}", status.last);
        Ok(status.current.and_then(|current| current.result))
    })
    .await?;
    kill(world.product.bed.embassy(), "custodian").await?;
    kill(world.product.bed.embassy(), "operator").await?;
    let ended = drilling.answered("first", PATIENCE).await?;
    ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
    let signed = drill::signed(&world.product, id, &ended).await?;
    ensure!(signed.entry.passed, "{:?}", signed.entry);
    ensure!(
        ledger::custody_count(world, id, "drill").await? == 1,
        "it was signed more than once"
    );
    nothing_left(world, id).await?;

    abroad
        .kubectl(["delete", "secret", &identity, "--namespace", NAMESPACE])
        .await?;
    drilling.trigger("without-its-database").await?;
    let database = wait_for("the database of another drill", PATIENCE, || async {
        let pods = pods(world, id).await?;
        let another = pods.into_iter().find(|pod| pod.uid() != at_work.uid());
        let statuses = another.and_then(|pod| pod.status?.init_container_statuses);
        let database = statuses
            .into_iter()
            .flatten()
            .find(|status| status.name == "database");
        let running =
            database.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
        Ok(running.and_then(|status| status.container_id))
    })
    .await?;
    let (_, container) = database.split_once("://").context("a container without an id")?;
    abroad.container(container)?.kill()?;
    secrets::write(abroad, NAMESPACE, &identity, &key).await?;
    let ended = drilling.answered("without-its-database", PATIENCE).await?;
    ensure!(
        ended.result == DrillOutcome::Inconclusive && ended.entry.is_none(),
        "{ended:?}"
    );
    ensure!(
        ledger::custody_count(world, id, "drill").await? == 1,
        "what found nothing was signed"
    );
    nothing_left(world, id).await?;
    drilling.delete().await?;
    subject.delete().await
}

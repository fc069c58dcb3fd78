//! Whatever takes part in a drill is killed while it is at work: before it has its identity, in the middle of the load, and while it is signed for.

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::DrillOutcome;
use dataembassy_e2e::{
    bed::secrets,
    command::wait_for,
    product::drill::{self, Drilling, NAMESPACE},
};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::json;

use super::kill;
use crate::{
    drills::{nothing_left, pods},
    ledger,
    world::{PATIENCE, World, alone, slow},
};

#[test]
fn a_drill_ends_and_is_signed_once_although_operator_custodian_and_pod_are_killed_and_ends_when_its_database_is()
 {
    alone(kills);
}

async fn kills(world: &'static World) -> Result<()> {
    let ministry = world.ministry("killed-drill").await?;
    let subject = ministry.small_registry("killed-drill").await?;
    subject.connect().await?.batch_execute(&slow(20_000, 2)).await?;
    subject.mirrored().await?;
    let id = subject.id.as_str();
    let abroad = world.product.bed.embassy();
    let identity = format!("{id}-identity");
    let key = [("identity.txt", world.product.keys.identity.as_str())];
    let drilling = Drilling::begin(&world.product, id, |spec| {
        spec["identityRef"] = json!({"name": identity});
        spec["retries"] = json!(1);
    })
    .await?;
    let first = wait_for("the drill to have a pod", PATIENCE, || async {
        Ok(pods(world, id).await?.pop())
    })
    .await?;
    kill(abroad, "operator").await?;
    secrets::write(abroad, NAMESPACE, &identity, &key).await?;
    loading(&drilling, 1).await?;
    kill(abroad, "operator").await?;
    kill(abroad, "custodian").await?;
    let arguments = [
        "delete",
        "pod",
        &first.name_any(),
        "--namespace",
        NAMESPACE,
        "--force",
        "--grace-period=0",
    ];
    abroad.kubectl(arguments).await?;
    loading(&drilling, 2).await?;
    kill(abroad, "operator").await?;
    kill(abroad, "custodian").await?;
    wait_for("a result to be signed", PATIENCE, || async {
        let status = drilling.get().await?.status.unwrap_or_default();
        ensure!(status.last.is_none(), "it has ended already: {:?}", status.last);
        Ok(status.current.and_then(|current| current.result))
    })
    .await?;
    kill(abroad, "custodian").await?;
    kill(abroad, "operator").await?;
    let ended = drilling.answered("first", PATIENCE).await?;
    ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
    let signed = drill::signed(&world.product, id, &ended).await?;
    ensure!(signed.entry.passed, "{:?}", signed.entry);
    ensure!(
        ledger::custody_count(world, id, "drill").await? == 1,
        "it was signed more than once"
    );
    nothing_left(world, id).await?;

    drilling.patch(&json!({"spec": {"retries": 0}})).await?;
    drilling.trigger("without-its-database").await?;
    loading(&drilling, 1).await?;
    let at_work = pods(world, id).await?.pop().context("it has no pod")?;
    abroad.container(&database(&at_work)?)?.kill()?;
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

/// Waits until an attempt is in the middle of the load.
async fn loading(drilling: &Drilling, attempt: i32) -> Result<()> {
    let what = format!("attempt {attempt} to load rows");
    wait_for(&what, PATIENCE, || async {
        let status = drilling.get().await?.status.unwrap_or_default();
        let current = status.current.filter(|current| current.attempt == attempt);
        let loads = current.is_some_and(|current| current.words.starts_with("loading rows"));
        Ok(loads.then_some(()))
    })
    .await
}

/// The container of the throw-away database.
fn database(pod: &Pod) -> Result<String> {
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| &status.init_container_statuses);
    let mut statuses = statuses.flatten();
    let database = statuses.find(|status| status.name == "database");
    let id = database.and_then(|status| status.container_id.clone());
    let id = id.context("its database does not run")?;
    let (_, id) = id.split_once("://").context("a container without an id")?;
    Ok(id.to_owned())
}

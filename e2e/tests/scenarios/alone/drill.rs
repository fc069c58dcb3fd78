//! Whatever takes part in a drill is killed while it is at work: before it has its identity, in the middle of the load, and while it is signed for.

use anyhow::{Result, ensure};
use dataembassy_crds::DrillOutcome;
use dataembassy_e2e::{
    bed::secrets,
    command::wait_for,
    product::{
        custody,
        drill::{self, Drilling, NAMESPACE},
    },
};
use kube::ResourceExt as _;
use serde_json::json;

use super::kill;
use crate::{
    drills::{at_work, kill_database, nothing_left, pods},
    ledger,
    world::{PATIENCE, World, alone, slow},
};

/// What a drill says while it loads.
const LOADING: &str = "loading rows";

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
    // A custodian that is killed before its folder has where the ledger stood asks a person for that.
    custody::trust_sheet(&world.product, &[id]).await?;
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
    at_work(&drilling, 1, LOADING).await?;
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
    at_work(&drilling, 2, LOADING).await?;
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
    at_work(&drilling, 1, LOADING).await?;
    kill_database(world, id).await?;
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

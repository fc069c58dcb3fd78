//! Home is destroyed, and its registries are activated while everybody who takes part in it is killed; what is served stays, whatever becomes of
//! the order, and home's ghost may not commit.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{ActivationPhase, ConditionStatus, EmbassyActivationStatus, RegistryPhase};
use dataembassy_e2e::command::wait_for;
use dataembassy_e2e::product::activation::{self, Activating, NAMESPACE, Wanted};
use dataembassy_e2e::product::custody::Custody;
use dataembassy_e2e::product::mirror::Mirror;
use dataembassy_e2e::progress::Progress;
use dataembassy_e2e::registries::{self, Amount, Registry};
use dataembassy_e2e::truth::{self, Scope, Truth};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::kill;
use crate::{
    ledger,
    world::{MINUTE, PATIENCE, Subject, World, alone},
};

/// Rows that home writes into each registry after its last copy, and loses.
const LOST_ROWS: u32 = 5;

#[test]
fn three_registries_come_up_from_store_and_keys_although_home_is_destroyed_and_everybody_at_work_is_killed() {
    alone(destroyed);
}

async fn destroyed(world: &'static World) -> Result<()> {
    let product = &world.product;
    let subjects = try_join_all(Registry::ALL.map(|sample| established(world, sample))).await?;
    let mut truths = BTreeMap::new();
    for subject in &subjects {
        let client = subject.connect().await?;
        truths.insert(subject.id.clone(), Truth::of(&client).await?);
        registries::write_more(&client, subject.sample, LOST_ROWS).await?;
    }
    let activated = match product.bed.destroy_home().await {
        Ok(()) => activated(world, &subjects).await,
        Err(remains) => Err(remains),
    };
    // Whatever came of it: others need home, and its servers.
    let home = product.bed.home_comes_back(&Progress::new()).await?;
    for subject in &subjects {
        let what = format!("the server of {} at home", subject.id);
        wait_for(&what, PATIENCE, || async { subject.connect().await.map(Some) }).await?;
    }
    let (activating, status) = activated?;
    let attempts: Vec<_> = status
        .registries
        .iter()
        .map(|state| (&state.id, state.attempts))
        .collect();
    ensure!(
        attempts.iter().any(|(_, attempts)| *attempts > 1),
        "no restore was killed: {attempts:?}"
    );

    for state in &status.registries {
        let client = activation::connect(product, state).await?;
        let served = Truth::of(&client).await?;
        let source = truths.get(&state.id).context("it is none of ours")?;
        let differences = truth::compare(source, &served, Scope::WHOLE);
        ensure!(
            differences.is_empty(),
            "what is served of {} differs from its last committed copy: {}",
            state.id,
            differences
                .iter()
                .take(5)
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        );
        let kinds = ledger::custody_kinds(world, &state.id).await?;
        let fences = kinds.iter().filter(|kind| **kind == "activation").count();
        ensure!(fences == 1, "{} was fenced {fences} times: {kinds:?}", state.id);
    }
    let order = status.statement.as_ref().context("the statement is gone")?;
    for subject in &subjects {
        let said = Mirror::of(&home, &subject.namespace, &subject.id)
            .condition("Fenced", ConditionStatus::True, Some("Fenced"), PATIENCE)
            .await?;
        ensure!(
            said.contains(&order.order),
            "home does not name the order {}: {said}",
            order.order
        );
    }
    stays(world, &activating, &status).await?;
    for subject in &subjects {
        subject.delete().await?;
    }
    Ok(())
}

/// A registry with one copy that the embassy has read back.
async fn established(world: &'static World, sample: Registry) -> Result<Subject> {
    let ministry = world.ministry(&format!("lost-{}", sample.id())).await?;
    let stem = format!("lost-{}", sample.id());
    let subject = ministry
        .registry(&stem, sample, sample.home_major(), &Amount::of_scale(0.1))
        .await?;
    subject.mirrored().await?;
    let custody = Custody::of(&world.product, &subject.id);
    custody
        .condition("Intact", ConditionStatus::True, None, PATIENCE)
        .await?;
    Ok(subject)
}

/// Has them activated, one before the others, and kills whatever is at work at each step.
async fn activated(
    world: &'static World,
    subjects: &[Subject],
) -> Result<(Activating, EmbassyActivationStatus)> {
    let (product, abroad) = (&world.product, world.product.bed.embassy());
    let first = subjects[0].id.as_str();
    let wanted: Vec<_> = subjects
        .iter()
        .map(|subject| {
            let wanted = Wanted::of(&subject.id);
            if subject.id == first {
                wanted
            } else {
                wanted.after(&[first])
            }
        })
        .collect();
    let activating =
        Activating::begin(product, &world.unique("evacuated"), "Activate", &wanted, |_| ()).await?;
    activating.approve_by(product, 2).await?;
    kill(abroad, "operator").await?;
    kill(abroad, "custodian").await?;
    for subject in subjects {
        activating
            .registry(&subject.id, PATIENCE, |state| state.fence.is_some())
            .await?;
    }
    kill(abroad, "operator").await?;
    for subject in &subjects[..2] {
        activating
            .registry(&subject.id, PATIENCE, |state| {
                matches!(state.phase, RegistryPhase::Restoring | RegistryPhase::Serving)
            })
            .await?;
        at_work(world, &activating, &subject.id).await?;
        // Restores and databases, also of those that are served already.
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
        kill(abroad, "operator").await?;
        kill(abroad, "custodian").await?;
    }
    let status = activating.phase(ActivationPhase::Serving, PATIENCE * 2).await?;
    activating
        .condition("ObjectivesMet", ConditionStatus::True, "WithinObjective", MINUTE)
        .await?;
    Ok((activating, status))
}

/// Waits until a registry's restore has a pod, or the registry needs none any more.
async fn at_work(world: &World, activating: &Activating, registry: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(world.product.bed.embassy().client().clone(), NAMESPACE);
    wait_for(
        &format!("the restore of {registry} to have a pod"),
        PATIENCE,
        || async {
            let registries = activating.status().await?.registries;
            let state = registries.into_iter().find(|state| state.id == registry);
            let state = state.context("nothing is said of it")?;
            if state.phase == RegistryPhase::Serving {
                return Ok(Some(()));
            }
            let restore = state.restore.context("it has no restore yet")?.name;
            let of_job =
                ListParams::default().labels(&format!("batch.kubernetes.io/job-name={restore}-restore"));
            Ok((!pods.list(&of_job).await?.items.is_empty()).then_some(()))
        },
    )
    .await
}

/// One registry has one order; and when that is deleted, what is served goes on, with what was written abroad.
async fn stays(
    world: &'static World,
    activating: &Activating,
    status: &EmbassyActivationStatus,
) -> Result<()> {
    let product = &world.product;
    let state = &status.registries[0];
    let wanted = [Wanted::of(&state.id)];
    let second = Activating::begin(product, &world.unique("another"), "Activate", &wanted, |_| ()).await?;
    second
        .condition("Ready", ConditionStatus::False, "AlreadyActivated", MINUTE)
        .await?;
    second.delete().await?;

    // Written abroad: there is no other copy of it.
    activation::connect(product, state)
        .await?
        .batch_execute("CREATE TABLE public.written_abroad AS SELECT 1 AS n")
        .await?;
    activating.delete().await?;
    let pods = product
        .bed
        .embassy()
        .kubectl(["get", "pods", "--namespace", NAMESPACE, "--no-headers"])
        .await?;
    let pod = world.unique("evacuated");
    ensure!(pods.contains(&pod), "the databases went with the order: {pods}");
    let rows: i64 = activation::connect(product, state)
        .await?
        .query_one("SELECT count(*) FROM public.written_abroad", &[])
        .await?
        .get(0);
    ensure!(rows == 1, "what was written abroad is gone");
    Ok(())
}

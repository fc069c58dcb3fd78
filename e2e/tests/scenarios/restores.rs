//! Restores as objects: what one waits for, how it ends, and how home comes by its copies.

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{ConditionStatus, RegistryRestore, RestorePhase};
use dataembassy_e2e::{
    bed::secrets,
    command::wait_for,
    product::{
        custody,
        restore::{self, Restoring},
    },
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::json;

use crate::{
    policies,
    world::{MINUTE, PATIENCE, World, persons, slow, together},
};

#[test]
fn a_restore_says_which_secret_it_waits_for_goes_on_when_it_is_there_and_is_never_changed() {
    together(waits_for_a_secret);
}

#[test]
fn a_restore_whose_pod_is_deleted_has_ended_and_no_second_one_begins() {
    together(deleted_pod);
}

#[test]
fn home_gets_its_copy_back_while_the_embassy_lets_it_and_not_before() {
    together(home_retrieves);
}

#[test]
fn a_restored_database_is_asked_and_a_wrong_answer_fails_the_restore_and_leaves_the_copy() {
    together(asked);
}

/// Waits until a restore that has not ended says that it loads rows.
async fn loading(restoring: &Restoring) -> Result<()> {
    wait_for("the restore to load rows", PATIENCE, || async {
        let progress = restoring.get().await?.status.and_then(|status| status.progress);
        Ok(progress
            .is_some_and(|progress| progress.words.starts_with("loading rows"))
            .then_some(()))
    })
    .await
}

async fn asked(world: &'static World) -> Result<()> {
    let ministry = world.ministry("asked").await?;
    let subject = ministry.small_registry("asked").await?;
    subject.connect().await?.batch_execute(&slow(8_000, 3)).await?;
    subject.mirrored().await?;
    let signer = subject.mirror.signer().await?;
    let wanted = subject.wanted(&signer, &subject.id);
    for (persons, expected) in [("3", RestorePhase::Restored), ("4", RestorePhase::Failed)] {
        let restoring = restore::begin(&world.product, &wanted, |spec| {
            spec["assertions"] = json!([
                {"name": "persons", "sql": "SELECT count(*) FROM public.person", "equals": persons},
                {"name": "names", "sql": "SELECT count(name) FROM public.person", "within": {"atLeast": "1"}},
            ]);
        })
        .await?;
        loading(&restoring).await?;
        let ended = restoring.ended(PATIENCE).await?;
        ensure!(phase(&ended) == expected, "{}", said(&ended));
        let status = ended.status.clone().context("it has no status")?;
        let answers: Vec<_> = status
            .assertions
            .iter()
            .map(|answer| (answer.name.as_str(), answer.passed, answer.found.as_str()))
            .collect();
        let right = expected == RestorePhase::Restored;
        ensure!(
            answers == [("persons", right, "3"), ("names", true, "3")],
            "{answers:?}"
        );
        ensure!(
            status.restored.is_some(),
            "the copy is there, whatever it answers: {status:?}"
        );
        if !right {
            let message = restoring
                .condition("Stalled", ConditionStatus::True, "AnswerWrong", MINUTE)
                .await?;
            ensure!(message.contains("holds the copy whole"), "{message}");
        }
        restoring.delete().await?;
    }
    let rows = restore::server(&world.product)
        .await?
        .connect(&subject.id)
        .await?;
    let count = persons(&rows).await?;
    ensure!(count == 3, "{count} persons are left");
    subject.delete().await
}

async fn waits_for_a_secret(world: &'static World) -> Result<()> {
    let abroad = world.product.bed.embassy();
    let subject = world.mirrored("waiting").await?;
    let signer = subject.mirror.signer().await?;
    let identity = format!("{}-identity", subject.id);
    let wanted = subject.wanted(&signer, &subject.id);
    let restoring = restore::begin(&world.product, &wanted, |spec| {
        spec["identityRef"] = json!({"name": identity});
    })
    .await?;
    let message = restoring
        .condition("Ready", ConditionStatus::False, "SecretMissing", MINUTE)
        .await?;
    ensure!(
        message.contains(&identity) && message.contains("identity.txt"),
        "{message}"
    );
    // While it waits there is time to knock at its pod.
    policies::of_a_restore(world, &subject.id).await?;
    let key = [("identity.txt", world.product.keys.identity.as_str())];
    secrets::write(abroad, restore::NAMESPACE, &identity, &key).await?;
    let ended = restoring.ended(PATIENCE).await?;
    ensure!(phase(&ended) == RestorePhase::Restored, "{}", said(&ended));
    let rows = restore::server(&world.product)
        .await?
        .connect(&subject.id)
        .await?;
    let count = persons(&rows).await?;
    ensure!(count == 3, "{count} persons came back");
    let patch = [
        "patch",
        "registryrestore",
        &subject.id,
        "--namespace",
        restore::NAMESPACE,
        "--type=merge",
        r#"--patch={"spec":{"jobs":5}}"#,
    ];
    let refused = abroad.kubectl(patch).await;
    ensure!(
        refused
            .as_ref()
            .is_err_and(|error| format!("{error:#}").contains("a restore is done once")),
        "{refused:?}"
    );
    restoring.delete().await
}

async fn deleted_pod(world: &'static World) -> Result<()> {
    let abroad = world.product.bed.embassy();
    let subject = world.mirrored("cut-off").await?;
    let signer = subject.mirror.signer().await?;
    let wanted = subject.wanted(&signer, &subject.id);
    let absent = format!("{}-absent", subject.id);
    let restoring = restore::begin(&world.product, &wanted, |spec| {
        spec["identityRef"] = json!({"name": absent});
    })
    .await?;
    restoring
        .condition("Ready", ConditionStatus::False, "SecretMissing", MINUTE)
        .await?;
    let pods: Api<Pod> = Api::namespaced(abroad.client().clone(), restore::NAMESPACE);
    let of_job =
        ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}-restore", subject.id));
    let pod = pods.list(&of_job).await?.items.pop().context("it has no pod")?;
    pods.delete(&pod.name_any(), &kube::api::DeleteParams::default())
        .await?;
    let ended = restoring.ended(MINUTE).await?;
    ensure!(phase(&ended) == RestorePhase::Failed, "{}", said(&ended));
    let message = restoring
        .condition("Stalled", ConditionStatus::True, "Interrupted", MINUTE)
        .await?;
    ensure!(
        message.contains("make another restore") || message.contains("nothing was written"),
        "{message}"
    );
    wait_for("the end of its pod", MINUTE, || async {
        Ok(pods.list(&of_job).await?.items.is_empty().then_some(()))
    })
    .await?;
    restoring.delete().await
}

async fn home_retrieves(world: &'static World) -> Result<()> {
    let subject = world.mirrored("homecoming").await?;
    let (home, id) = (world.home(), subject.id.as_str());
    let database = format!("{id}-back");
    let admin = subject.server.connect("postgres").await?;
    admin
        .batch_execute(&format!("CREATE DATABASE \"{database}\" TEMPLATE template0"))
        .await?;
    let manifest = subject.homecoming(&database).await?;
    let restoring = Restoring::of(home, &subject.namespace, id);
    restoring.ask(&manifest).await?;
    let refused = restoring.ended(PATIENCE).await?;
    ensure!(phase(&refused) == RestorePhase::Failed, "{}", said(&refused));
    ensure!(
        said(&refused).contains("nothing was written") && said(&refused).contains("gate"),
        "{}",
        said(&refused)
    );

    custody::may_retrieve(&world.product, id, true).await?;
    // Until the gate has heard of it, the next one ends as the first did.
    wait_for("the copy to come home", PATIENCE, || async {
        restoring.ask(&manifest).await?;
        let ended = restoring.ended(PATIENCE).await?;
        Ok((phase(&ended) == RestorePhase::Restored).then_some(()))
    })
    .await?;
    custody::may_retrieve(&world.product, id, false).await?;
    let back = subject.server.connect(&database).await?;
    let count = persons(&back).await?;
    ensure!(count == 3, "{count} persons came back");
    restoring.delete().await?;
    subject.delete().await
}

fn phase(restore: &RegistryRestore) -> RestorePhase {
    restore
        .status
        .as_ref()
        .map(|status| status.phase)
        .unwrap_or_default()
}

/// Everything that its conditions say.
fn said(restore: &RegistryRestore) -> String {
    let conditions = restore.status.iter().flat_map(|status| &status.conditions);
    let words: Vec<_> = conditions
        .map(|condition| format!("{}: {}", condition.reason, condition.message))
        .collect();
    words.join("; ")
}

//! The whole way: home is left, the embassy serves and mirrors in its turn, and home comes back with what was written on every leg, although
//! everybody is killed on the way back.

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{
    ActivatedState, ActivationPhase, ConditionStatus, RegistryPhase, RestorePhase, RunOutcome,
};
use dataembassy_e2e::{
    command::wait_for,
    product::{
        activation::{self, Activating, NAMESPACE, Wanted},
        custody::{self, Custody},
        mirror::Mirror,
        registry,
        restore::Restoring,
    },
};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{STANDING, kill};
use crate::{
    policies,
    world::{MINUTE, PATIENCE, Subject, World, alone},
};

#[test]
fn a_registry_goes_abroad_and_comes_home_with_the_rows_of_every_leg_although_everybody_is_killed_on_the_way()
{
    alone(circle);
}

async fn circle(world: &'static World) -> Result<()> {
    let product = &world.product;
    let subject = world.mirrored("circle").await?;
    let id = subject.id.as_str();
    let at_home = subject.connect().await?;
    at_home
        .batch_execute("CREATE TABLE public.leg (name text PRIMARY KEY)")
        .await?;
    write(&at_home, "home").await?;
    subject.mirror.trigger("the first leg").await?;
    subject.mirror.copied(2, PATIENCE).await?;
    intact(world, id, 2).await?;

    // Home is left. What it writes from here on is on no copy.
    let wanted = [Wanted::of(id)];
    let name = world.unique("around");
    let activating = Activating::begin(product, &name, "Activate", &wanted, |_| ()).await?;
    activating.approve_by(product, 2).await?;
    let status = activating.phase(ActivationPhase::Serving, PATIENCE * 2).await?;
    let state = &status.registries[0];
    write(&at_home, "stale").await?;
    fenced(&subject, "while the embassy serves").await?;

    let abroad = activation::connect(product, state).await?;
    ensure!(legs(&abroad).await? == ["home"], "{:?}", legs(&abroad).await?);
    write(&abroad, "abroad").await?;
    let mirror = mirror_abroad(world, &subject, &name, state).await?;
    mirror.trigger("the second leg").await?;
    mirror.copied(3, PATIENCE).await?;
    intact(world, id, 3).await?;
    write(&abroad, "the last evening abroad").await?;
    fenced(&subject, "although the embassy has gone on").await?;

    let (last, release) = stand_down(world, &activating, &subject).await?;
    ensure!(
        activation::connect_once(product, state).await.is_err(),
        "applications still come in abroad"
    );
    policies::of_a_shut_database(world, &name, id).await?;
    // Home has not been told by its own people yet: its old rows are as stale as ever.
    let said = fenced(&subject, "before anybody has adopted anything").await?;
    ensure!(
        said.contains(&release),
        "the release {release} is not named: {said}"
    );

    come_home(world, &subject, last).await?;
    let at_home = subject.connect().await?;
    let expected = ["abroad", "home", "the last evening abroad"];
    ensure!(legs(&at_home).await? == expected, "{:?}", legs(&at_home).await?);
    subject
        .apply(|spec| {
            spec["trigger"] = json!("at home again");
            spec["registry"]["adoptRelease"] = json!(release);
        })
        .await?;
    subject.mirror.copied(last + 1, PATIENCE).await?;
    subject.until_gone("Fenced", MINUTE).await?;
    intact(world, id, last + 1).await?;

    // The embassy's mirror is the ghost now.
    mirror
        .condition("Ready", ConditionStatus::False, Some("NotActivated"), PATIENCE)
        .await?;
    world
        .product
        .bed
        .embassy()
        .kubectl(["delete", "registrymirror", id, "--namespace", NAMESPACE])
        .await?;
    activating.delete().await?;
    subject.delete().await
}

/// Waits until the embassy has read back every copy up to this one.
async fn intact(world: &World, registry: &str, sequence: i64) -> Result<()> {
    let custody = Custody::of(&world.product, registry);
    let what = format!("copies 1 to {sequence} of {registry} to be intact");
    wait_for(&what, PATIENCE, || async {
        let points = custody.points().await?;
        let found: Vec<_> = points
            .iter()
            .filter(|point| point.intact)
            .map(|point| point.sequence)
            .collect();
        Ok((1..=sequence).all(|wanted| found.contains(&wanted)).then_some(()))
    })
    .await
}

/// One row for each leg of the way.
async fn write(client: &Client, leg: &str) -> Result<()> {
    client
        .execute("INSERT INTO public.leg VALUES ($1)", &[&leg])
        .await?;
    Ok(())
}

async fn legs(client: &Client) -> Result<Vec<String>> {
    let rows = client
        .query("SELECT name FROM public.leg ORDER BY name", &[])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Home's mirror is asked for a copy, and makes none; returns what it says.
async fn fenced(subject: &Subject, trigger: &str) -> Result<String> {
    subject.mirror.trigger(trigger).await?;
    wait_for("a run of home's that the fence ended", PATIENCE, || async {
        let status = subject.mirror.get().await?.status.unwrap_or_default();
        let run = status
            .recent_runs
            .iter()
            .find(|run| run.trigger.as_deref() == Some(trigger));
        Ok(run.map(|run| (run.outcome, run.reason.clone())))
    })
    .await
    .and_then(|(outcome, reason)| {
        ensure!(
            outcome == RunOutcome::Failed && reason == "Fenced",
            "home's run ended as {outcome:?}, {reason}"
        );
        Ok(())
    })?;
    subject
        .mirror
        .condition("Fenced", ConditionStatus::True, Some("Fenced"), MINUTE)
        .await
}

/// An ordinary mirror, of the database that the activation serves, in the activation's namespace.
async fn mirror_abroad(
    world: &World,
    subject: &Subject,
    activation: &str,
    state: &ActivatedState,
) -> Result<Mirror> {
    let (product, id) = (&world.product, subject.id.as_str());
    let embassy = product.bed.embassy();
    registry::deposit_user_in(product, embassy, NAMESPACE, id).await?;
    let credentials = state.credentials.as_ref().context("it names no credentials")?;
    let mut manifest = subject.manifest();
    manifest["metadata"]["namespace"] = NAMESPACE.into();
    let source = &mut manifest["spec"]["source"]["postgresql"];
    // Not the Service that applications find: it is shut before the last copy.
    source["host"] = format!("{activation}-{id}-db.{NAMESPACE}.svc").into();
    source["tls"]["caRef"]["name"] = credentials.as_str().into();
    source["credentialsRef"]["name"] = credentials.as_str().into();
    embassy.apply(&manifest.to_string()).await?;
    Ok(Mirror::of(embassy, NAMESPACE, id))
}

/// Gives the registry back to home's key; returns the last copy and the digest of the release.
async fn stand_down(world: &World, activating: &Activating, subject: &Subject) -> Result<(i64, String)> {
    let signer = subject.mirror.signer().await?;
    let registries = activating.get().await?.spec.registries;
    let mut registries = serde_json::to_value(registries)?;
    registries[0]["homeSigner"] = Value::from(signer);
    let stood_down = json!({"spec": {"state": "StoodDown", "approvals": [], "registries": registries}});
    let before = activating.statement().await?;
    activating.patch(&stood_down).await?;
    wait_for("the statement of standing down", MINUTE, || async {
        Ok((activating.statement().await? != before).then_some(()))
    })
    .await?;
    activating.approve_by(&world.product, 2).await?;
    killed_at_each_step(world, activating, &subject.id).await?;
    let state = activating
        .registry(&subject.id, PATIENCE, |state| {
            state.phase == RegistryPhase::StoodDown
        })
        .await?;
    let copy = state.copy.as_ref().context("there is no last copy")?.sequence;
    ensure!(copy >= 4, "the last copy is {copy}");
    Ok((copy, state.release.context("there is no release")?))
}

/// Whoever takes part in standing down is killed while a step of it goes on; with the node, everybody is.
async fn killed_at_each_step(world: &World, activating: &Activating, id: &str) -> Result<()> {
    let abroad = world.product.bed.embassy();
    for step in ["close", "copy", "release"] {
        activating
            .registry(id, PATIENCE, |state| {
                state.steps.iter().any(|begun| begun.name == step)
            })
            .await?;
        if step == "copy" {
            abroad.reboot_node().await?;
        } else {
            kill(abroad, "operator").await?;
            kill(abroad, "custodian").await?;
        }
    }
    // Home's next run is to hear of the fence, and not that nobody answers.
    ensure!(
        world.product.bed.store().await?.answers().await?,
        "the store has lost its bucket"
    );
    wait_for("gate and custodian to be up again", PATIENCE, || async {
        let ready = [
            "wait",
            "pods",
            "--all",
            "--namespace",
            STANDING,
            "--for=condition=Ready",
            "--timeout=10s",
        ];
        abroad.kubectl(ready).await.map(Some)
    })
    .await
    .map(drop)
}

/// Home restores exactly the last copy, over its own stale rows.
async fn come_home(world: &World, subject: &Subject, last: i64) -> Result<()> {
    let (product, home, id) = (&world.product, world.home(), subject.id.as_str());
    let mut manifest = subject.homecoming(id).await?;
    manifest["spec"]["copy"] = json!({"sequence": last});
    manifest["spec"]["ifNotEmpty"] = "Replace".into();
    custody::may_retrieve(product, id, true).await?;
    let restoring = Restoring::of(home, &subject.namespace, id);
    // Until the gate has heard that home may, the first ones end without a byte.
    wait_for("the last copy to come home", PATIENCE, || async {
        restoring.ask(&manifest).await?;
        let ended = restoring.ended(PATIENCE).await?;
        let phase = ended.status.map(|status| status.phase);
        Ok((phase == Some(RestorePhase::Restored)).then_some(()))
    })
    .await?;
    custody::may_retrieve(product, id, false).await?;
    restoring.delete().await
}

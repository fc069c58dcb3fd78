//! An activation while something else is at work with the registry: a drill, and home's own mirror in the middle of a commit.

use anyhow::{Result, ensure};
use dataembassy_crds::{ActivatedState, ActivationPhase, ConditionStatus, DrillOutcome};
use dataembassy_e2e::{
    bed::secrets,
    command::wait_for,
    product::{
        activation::{self, Activating, Wanted},
        drill::{self, Drilling},
    },
};
use dataembassy_testkit::fault_proxy::Fault;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::ACTIVATED;
use crate::{
    detour::ByDetour,
    drills::{nothing_left, pods},
    ledger,
    world::{PATIENCE, Subject, World, persons, together},
};

#[test]
fn a_registry_is_served_while_a_drill_of_it_is_at_work_and_the_drill_ends_as_it_would_have() {
    together(a_drill);
}

#[test]
fn what_home_commits_past_the_gate_while_it_is_being_fenced_does_not_count() {
    together(a_commit);
}

/// Has the registry served from the embassy, by two approvers.
async fn served(world: &World, subject: &Subject, name: &str) -> Result<(Activating, ActivatedState)> {
    let wanted = [Wanted::of(&subject.id)];
    let activating =
        Activating::begin(&world.product, &world.unique(name), "Activate", &wanted, |_| ()).await?;
    activating.approve_by(&world.product, 2).await?;
    let mut status = activating.phase(ActivationPhase::Serving, ACTIVATED).await?;
    Ok((activating, status.registries.remove(0)))
}

async fn a_drill(world: &'static World) -> Result<()> {
    let subject = world.mirrored("beside-drill").await?;
    let id = subject.id.as_str();
    let identity = format!("{id}-identity");
    let drilling = Drilling::begin(&world.product, id, |spec| {
        spec["identityRef"] = json!({"name": identity});
    })
    .await?;
    // It waits for the identity, and so is at work until it gets that.
    wait_for("the drill to have a pod", PATIENCE, || async {
        Ok(pods(world, id).await?.pop())
    })
    .await?;
    let (activating, _) = served(world, &subject, "beside-drill").await?;
    let key = [("identity.txt", world.product.keys.identity.as_str())];
    secrets::write(world.product.bed.embassy(), drill::NAMESPACE, &identity, &key).await?;
    let ended = drilling.answered("first", ACTIVATED).await?;
    ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
    ensure!(
        ledger::custody_count(world, &subject.id, "drill").await? == 1
            && ledger::custody_count(world, &subject.id, "activation").await? == 1,
        "{:?}",
        ledger::custody_kinds(world, id).await?
    );
    nothing_left(world, id).await?;
    drilling.delete().await?;
    activating.delete().await?;
    subject.delete().await
}

async fn a_commit(world: &'static World) -> Result<()> {
    let ministry = world.ministry("beside-commit").await?;
    let subject = ministry.small_registry("beside-commit").await?;
    subject.accept().await?;
    let way = ByDetour::open(world, "beside-commit").await?;
    way.apply(&subject, "first").await?;
    subject.mirror.copied(1, PATIENCE).await?;

    let client = subject.connect().await?;
    client
        .batch_execute("INSERT INTO public.person VALUES (4, 'in the last moment')")
        .await?;
    let released = CancellationToken::new();
    let hold = Fault::before({
        let released = released.clone();
        move || released.clone().cancelled_owned()
    });
    // However often it is put again, where the fence takes its time.
    way.inject(usize::MAX, hold, "/source/");
    let before = way.puts("/source/");
    subject.mirror.trigger("in the last moment").await?;
    wait_for("the second copy's entry on its way", PATIENCE, || async {
        Ok((way.puts("/source/") > before).then_some(()))
    })
    .await?;
    let (activating, state) = served(world, &subject, "beside-commit").await?;
    // No gate stands in between: the store takes what comes.
    released.cancel();
    let said = subject
        .mirror
        .condition("Fenced", ConditionStatus::True, Some("Fenced"), PATIENCE)
        .await?;
    ensure!(said.contains(&world.unique("beside-commit")), "{said}");
    ensure!(
        state.copy.as_ref().is_some_and(|copy| copy.sequence == 1),
        "{state:?}"
    );
    let rows = persons(&activation::connect(&world.product, &state).await?).await?;
    ensure!(
        rows == 3,
        "{rows} rows are served, where the last committed copy has 3"
    );
    ensure!(
        ledger::custody_count(world, &subject.id, "activation").await? == 1,
        "it was fenced more than once"
    );
    let status = subject.mirror.get().await?.status.unwrap_or_default();
    ensure!(
        status.last_copy.as_ref().is_some_and(|copy| copy.sequence == 1),
        "home counts what came behind the fence: {:?}",
        status.last_copy
    );
    activating.delete().await?;
    way.close(world, &subject).await
}

//! Activations: who may order one, what a rehearsal leaves behind, and what becomes of the registries that depend on one that fails. Whoever
//! is killed meanwhile, and home's end, are scenarios of their own.

mod beside;
mod copies;
mod external;
mod unfenced;

use std::time::Duration;

use anyhow::{Result, ensure};
use dataembassy_crds::{
    ActivationPhase, ConditionStatus, EmbassyActivation, EmbassyActivationStatus, RegistryPhase,
};
use dataembassy_e2e::{
    command::wait_for,
    product::{
        activation::{Activating, NAMESPACE, Wanted},
        logs::{self, About},
    },
};
use dataembassy_ledger::{Role, SigningKey};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Event, PersistentVolumeClaim, Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy,
};
use kube::{Api, Resource, ResourceExt as _, api::ListParams};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    ledger, policies,
    world::{MINUTE, PATIENCE, World, together},
};

/// Everything of an activation on a machine that is busy with other things.
const ACTIVATED: Duration = Duration::from_mins(8);

#[test]
fn approvals_that_do_not_count_are_named_and_nobody_is_fenced() {
    together(refused_approvals);
}

#[test]
fn a_rehearsal_leaves_nothing_behind_and_touches_no_ledger() {
    together(rehearsal);
}

#[test]
fn what_depends_on_a_registry_that_fails_is_not_begun_and_the_others_are_served() {
    together(dependency);
}

async fn refused_approvals(world: &'static World) -> Result<()> {
    let product = &world.product;
    let subject = world.mirrored("unapproved").await?;
    let wanted = [Wanted::of(&subject.id)];
    let activating =
        Activating::begin(product, &world.unique("unapproved"), "Activate", &wanted, |_| ()).await?;
    let statement = activating.statement().await?;
    for line in [
        format!("registry: {}", subject.id),
        "mode: Activate".to_owned(),
        "approvals: 2".to_owned(),
    ] {
        ensure!(
            statement.lines().any(|told| told == line),
            "no {line:?} in {statement}"
        );
    }

    let approver = &product.keys.approvers[0];
    let good = approver.sign(&statement).await?;
    let of_another_text = product.keys.approvers[1].sign(&format!("{statement}\n")).await?;
    let stranger = SigningKey::from_seed(&rand::random()).sign(Role::Activation, statement.as_bytes())?;
    let of_another_role =
        SigningKey::from_openssh(&product.keys.custodian)?.sign(Role::Custody, statement.as_bytes())?;
    let signatures = [
        good.clone(),
        good.clone(),
        of_another_text,
        stranger,
        of_another_role,
    ];
    activating.approve(&signatures).await?;
    let status = judged(&activating, 4).await?;
    let approvals = status.approvals.unwrap_or_default();
    ensure!(approvals.approved.len() == 1, "{approvals:?}");
    let places: Vec<_> = approvals.refused.iter().map(|refused| refused.place).collect();
    ensure!(places == [1, 2, 3, 4], "{approvals:?}");
    ensure!(
        approvals.refused[0].message.contains("already"),
        "the same person twice: {approvals:?}"
    );
    ensure!(
        approvals.refused[2].message.contains("none of the approvers"),
        "a stranger: {approvals:?}"
    );
    activating
        .condition("Approved", ConditionStatus::False, "AwaitingApproval", MINUTE)
        .await?;

    // Another spec is another statement: what was signed is signed no more.
    activating
        .patch(&json!({"spec": {"unfenced": "Accepted"}}))
        .await?;
    wait_for("another statement", MINUTE, || async {
        let another = activating.status().await?.statement;
        Ok(another.filter(|another| another.text != statement))
    })
    .await?;
    let status = judged(&activating, 5).await?;
    ensure!(
        status
            .approvals
            .is_some_and(|approvals| approvals.approved.is_empty())
    );

    let past = Timestamp::now() - SignedDuration::from_mins(1);
    activating
        .patch(&json!({"spec": {"validUntil": past.to_string()}}))
        .await?;
    activating
        .condition("Ready", ConditionStatus::False, "OrderExpired", MINUTE)
        .await?;

    // Home was never cut off.
    subject.mirror.trigger("all-the-same").await?;
    subject.mirror.copied(2, PATIENCE).await?;
    activating.delete().await?;
    subject.delete().await
}

/// The status once as many approvals as these were refused.
async fn judged(activating: &Activating, refused: usize) -> Result<EmbassyActivationStatus> {
    wait_for("the approvals to be judged", MINUTE, || async {
        let status = activating.status().await?;
        let found = status
            .approvals
            .as_ref()
            .map_or(0, |approvals| approvals.refused.len());
        Ok((found == refused).then_some(status))
    })
    .await
}

async fn rehearsal(world: &'static World) -> Result<()> {
    let product = &world.product;
    let subject = world.mirrored("rehearsed").await?;
    let mirrored = Timestamp::now();
    let mut wanted = Wanted::of(&subject.id);
    wanted.questions = vec![("three-persons", "SELECT count(*) FROM public.person", "3")];
    let name = world.unique("rehearsal");
    let activating = Activating::begin(product, &name, "Rehearse", &[wanted], |_| ()).await?;
    activating.approve_by(product, 2).await?;
    let status = activating.phase(ActivationPhase::Rehearsed, ACTIVATED).await?;
    let state = &status.registries[0];
    ensure!(
        state.phase == RegistryPhase::Rehearsed && state.rto_seconds.is_some() && state.rpo_seconds.is_some(),
        "{state:?}"
    );
    ensure!(
        state.fence.is_none() && state.signer.is_none(),
        "a rehearsal fences nobody: {state:?}"
    );
    for left in [
        left::<StatefulSet>(world, &name, &subject.id).await?,
        left::<PersistentVolumeClaim>(world, &name, &subject.id).await?,
        left::<Secret>(world, &name, &subject.id).await?,
        left::<Service>(world, &name, &subject.id).await?,
        left::<NetworkPolicy>(world, &name, &subject.id).await?,
    ] {
        ensure!(left.is_empty(), "the rehearsal left {left:?}");
    }
    let kinds = ledger::custody_kinds(world, &subject.id).await?;
    let told: Vec<_> = kinds.iter().filter(|kind| **kind != "proof").collect();
    ensure!(
        told == [&"report"],
        "a rehearsal writes its report into the ledger and nothing else: {kinds:?}"
    );
    let report = state.report.clone().unwrap_or_default();
    ensure!(
        report.path.is_some() && report.entry.is_some(),
        "the status must say where the report lies: {report:?}"
    );
    subject.mirror.trigger("after-the-rehearsal").await?;
    subject.mirror.copied(2, PATIENCE).await?;
    let about = About {
        names: &[&subject.id, &name],
        ..About::default()
    };
    logs::assert_calm(product, mirrored, &about).await?;
    activating.delete().await?;
    subject.delete().await
}

/// Names of what is left of a registry in an activation of this name: all of it is named after both, but for the Service.
async fn left<K>(world: &World, name: &str, registry: &str) -> Result<Vec<String>>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let all: Api<K> = Api::namespaced(world.product.bed.embassy().client().clone(), NAMESPACE);
    let both = format!("{name}-{registry}");
    Ok(all
        .list(&ListParams::default())
        .await?
        .into_iter()
        .map(|object| object.name_any())
        .filter(|object| object.contains(&both) || object == registry)
        .collect())
}

async fn dependency(world: &'static World) -> Result<()> {
    let product = &world.product;
    let (first, second, third) = tokio::try_join!(
        world.mirrored("fails"),
        world.mirrored("depends"),
        world.mirrored("free")
    )?;
    let mut fails = Wanted::of(&first.id);
    fails.questions = vec![("four-persons", "SELECT count(*) FROM public.person", "4")];
    let wanted = [
        fails,
        Wanted::of(&second.id).after(&[&first.id]),
        Wanted::of(&third.id),
    ];
    let name = world.unique("dependent");
    let activating = Activating::begin(product, &name, "Activate", &wanted, |_| ()).await?;
    activating.approve_by(product, 2).await?;
    let status = activating.phase(ActivationPhase::Failed, ACTIVATED).await?;
    let phases: Vec<_> = status
        .registries
        .iter()
        .map(|state| (state.phase, state.reason.as_str()))
        .collect();
    ensure!(
        phases
            == [
                (RegistryPhase::Failed, "AnswerWrong"),
                (RegistryPhase::Skipped, "DependencyFailed"),
                (RegistryPhase::Serving, "Serving"),
            ],
        "{phases:?}"
    );
    ensure!(
        status.registries[0].message.contains("four-persons"),
        "{:?}",
        status.registries[0]
    );
    wait_for("applications to be let in", MINUTE, || async {
        Ok((endpoints(world, &third.id).await? == 1).then_some(()))
    })
    .await?;
    let shut = endpoints(world, &first.id).await?;
    ensure!(shut == 0, "what has answered wrongly lets applications in");
    policies::of_databases(world, &name, &first.id, &third.id).await?;
    let told = [
        (&first.id, "Failed"),
        (&second.id, "Skipped"),
        (&third.id, "Serving"),
    ];
    told_by_events(world, &activating.get().await?, &told).await?;
    // Whose registry was not served is fenced all the same: nobody may commit while people decide.
    for subject in [&first, &third] {
        subject
            .mirror
            .condition("Fenced", ConditionStatus::True, Some("Fenced"), PATIENCE)
            .await?;
    }
    activating.delete().await?;
    for subject in [first, second, third] {
        subject.delete().await?;
    }
    Ok(())
}

/// How many servers applications reach through a registry's Service, which is there.
async fn endpoints(world: &World, registry: &str) -> Result<usize> {
    let services: Api<Service> = Api::namespaced(world.product.bed.embassy().client().clone(), NAMESPACE);
    services.get(registry).await?;
    let slices: Api<EndpointSlice> = Api::namespaced(world.product.bed.embassy().client().clone(), NAMESPACE);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={registry}"));
    let slices = slices.list(&of_service).await?;
    Ok(slices.iter().map(|slice| slice.endpoints.len()).sum())
}

/// Events of the resource tell where each registry has come, once.
async fn told_by_events(
    world: &World,
    activation: &EmbassyActivation,
    ends: &[(&String, &str)],
) -> Result<()> {
    let events: Api<Event> = Api::namespaced(world.product.bed.embassy().client().clone(), NAMESPACE);
    let uid = activation.uid().unwrap_or_default();
    let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    for (registry, phase) in ends {
        let words = format!("{registry} is {phase}: ");
        wait_for(&format!("the event {words:?}"), MINUTE, || async {
            let events = events.list(&about).await?;
            let notes = events.iter().filter_map(|event| event.message.as_ref());
            let told = notes.filter(|note| note.starts_with(&words)).count();
            ensure!(told < 2, "{words:?} was told {told} times");
            Ok((told == 1).then_some(()))
        })
        .await?;
    }
    Ok(())
}

//! The operator lacks a right that it needs.

use anyhow::{Context, Result, ensure};
use dataembassy_contract::Reason;
use dataembassy_e2e::product::{RELEASE, RELEASE_NAMESPACE};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    requests::Requests,
    world::{PATIENCE, Subject, World, alone},
    wrong_input::told,
};

/// What is taken away: a verb, and of which kind.
const TAKEN: (&str, &str) = ("patch", "deployments");
/// The most that the operator asks about a mirror that it may not follow, while it renews the lease so many times: it looks once in a quarter of a
/// minute.
const ASKED: (usize, usize) = (12, 3);

#[test]
fn a_right_that_the_operator_lacks_is_named_and_nothing_is_tried_in_a_hurry() {
    alone(lacking);
}

async fn lacking(world: &'static World) -> Result<()> {
    let ministry = world.ministry("right").await?;
    let subject = ministry.small_registry("rightless").await?;
    let all: Api<ClusterRole> = Api::all(world.home().client().clone());
    let name = format!("{RELEASE_NAMESPACE}-{RELEASE}-operator");
    let granted = all.get(&name).await?.rules.context("it has no rights")?;
    let outcome = without(world, &subject, &all, &name, &granted).await;
    // Whatever came of it, the others need it.
    give(&all, &name, &granted).await?;
    outcome?;
    subject.mirror.copied(1, PATIENCE).await?;
    subject.delete().await
}

async fn without(
    world: &'static World,
    subject: &Subject,
    all: &Api<ClusterRole>,
    name: &str,
    granted: &[PolicyRule],
) -> Result<()> {
    let (verb, kind) = TAKEN;
    let mut fewer = granted.to_vec();
    for rule in &mut fewer {
        let is_meant = rule.resources.iter().flatten().any(|resource| resource == kind);
        rule.verbs.retain(|one| !is_meant || one != verb);
    }
    ensure!(fewer != granted, "nothing is taken away");
    give(all, name, &fewer).await?;
    subject.apply(|_| ()).await?;
    let lacks = format!("cannot {verb} resource \"{kind}\"");
    let words = [lacks.as_str(), "Deployment", &subject.namespace];
    for condition in ["Ready", "Stalled"] {
        told(condition, Reason::ApplyFailed, &words)
            .by_mirror(&subject.mirror)
            .await?;
    }
    Requests::since_now(world)?
        .stay_few(&subject.namespace, ASKED)
        .await
}

async fn give(all: &Api<ClusterRole>, name: &str, granted: &[PolicyRule]) -> Result<()> {
    let patch = Patch::Merge(json!({"rules": granted}));
    all.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

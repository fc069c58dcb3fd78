//! An operator that has nothing to do does nothing.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{command::wait_for, product::OPERATOR};
use serde_json::Value;

use crate::{
    requests::Requests,
    world::{MINUTE, PATIENCE, Subject, World, together},
};

/// The lease is renewed every four seconds and a sidecar is asked every fifteen: in so many renewals it is asked twice at the least.
const RENEWALS: usize = 12;
/// Everything of a mirror that the operator makes, tells, or could write to.
const KINDS: &str = "registrymirrors,deployments,replicasets,pods,configmaps,serviceaccounts,networkpolicies,secrets,events.events.k8s.io";

#[test]
fn a_settled_operator_writes_nothing_but_its_lease() {
    together(settled);
}

async fn settled(world: &'static World) -> Result<()> {
    let ministry = world.ministry("settled").await?;
    let subject = ministry.small_registry("quiet").await?;
    subject.mirrored().await?;
    subject
        .mirror
        .condition("Ready", ConditionStatus::True, None, MINUTE)
        .await?;
    // The embassy's first proof is the last thing that is told of a copy.
    subject
        .mirror
        .condition("Intact", ConditionStatus::True, None, PATIENCE)
        .await?;
    wait_for("the copy to become the floor", MINUTE, || async {
        let configuration = configuration(world, &subject).await?;
        let run = subject.mirror.get().await?.status.and_then(|status| status.run);
        Ok((configuration["floor"]["sequence"] == 1 && run.is_none()).then_some(()))
    })
    .await?;

    let requests = Requests::since_now(world)?;
    let before = written(world, &subject).await?;
    requests.until_renewed(RENEWALS).await?;
    let after = written(world, &subject).await?;
    ensure!(
        before == after,
        "what the operator wrote was\n{before:#?}\nand is\n{after:#?}"
    );
    let asked = requests.about(&subject.namespace)?;
    ensure!(asked.is_empty(), "the operator asked for {asked:#?}");

    // The same look finds what it does write when there is something to say.
    subject.mirror.trigger("something to say").await?;
    subject.mirror.copied(2, PATIENCE).await?;
    let asked = requests.about(&subject.namespace)?;
    ensure!(
        asked
            .iter()
            .any(|request| request.starts_with("patch registrymirrors")),
        "the operator's writes are not seen: {asked:#?}"
    );
    ensure!(
        written(world, &subject).await? != before,
        "what the operator writes is not seen"
    );
    Ok(())
}

/// What the operator has told the sidecar.
async fn configuration(world: &World, subject: &Subject) -> Result<Value> {
    let name = format!("{}-mirror", subject.id);
    let arguments = ["get", "configmap", &name, "--namespace", &subject.namespace];
    let output = [r"--output=jsonpath={.data.config\.json}"];
    let text = world.home().kubectl(arguments.iter().chain(&output)).await?;
    Ok(serde_json::from_str(&text)?)
}

/// Of each object in a mirror's namespace, what the operator's field managers have written to it, and when; of events, how many it told.
async fn written(world: &World, subject: &Subject) -> Result<BTreeMap<String, Vec<Value>>> {
    let arguments = ["get", KINDS, "--namespace", &subject.namespace];
    let output = ["--output=json", "--show-managed-fields"];
    let text = world.home().kubectl(arguments.iter().chain(&output)).await?;
    let list: Value = serde_json::from_str(&text)?;
    let mut written = BTreeMap::new();
    for object in list["items"].as_array().context("kubectl lists nothing")? {
        let fields = object["metadata"]["managedFields"].as_array();
        let ours = fields.into_iter().flatten().filter(|entry| {
            entry["manager"]
                .as_str()
                .is_some_and(|manager| manager.starts_with(OPERATOR))
        });
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        written.insert(name, ours.cloned().collect::<Vec<_>>());
    }
    written.retain(|_, ours| !ours.is_empty());
    ensure!(
        written.len() >= 5,
        "too little of the operator's is found: {written:#?}"
    );
    Ok(written)
}

//! The node of a sidecar is drained: the pod is evicted, and no node takes another until the work on it is done.

use anyhow::{Result, ensure};
use dataembassy_contract::Reason;

use crate::{
    ledger,
    requests::Requests,
    sidecar::Sidecar,
    world::{PATIENCE, Subject, World, alone},
    wrong_input::told,
};

#[test]
fn a_sidecar_whose_node_is_drained_says_that_no_node_takes_it_and_goes_on_when_one_does() {
    alone(drained);
}

async fn drained(world: &'static World) -> Result<()> {
    let home = world.home();
    let ministry = world.ministry("drained").await?;
    let subject = ministry.small_registry("drained").await?;
    subject.mirrored().await?;
    let before = Sidecar::of(home, &subject).await?;
    let outcome = drain(world, &subject).await;
    // Whatever came of it, the others need the node.
    home.kubectl(["uncordon", home.name()]).await?;
    outcome?;
    subject.mirror.trigger("after the drain").await?;
    subject.mirror.copied(2, PATIENCE).await?;
    let after = Sidecar::of(home, &subject).await?;
    ensure!(after.uid != before.uid, "its pod was not evicted");
    let entries = ledger::whole(world, &subject).await?;
    ensure!(
        ledger::triggers(&entries) == [None, Some("after the drain")],
        "the ledger answers {:?}",
        ledger::triggers(&entries)
    );
    subject.delete().await
}

/// As an administrator drains a node, of one mirror's pod.
async fn drain(world: &'static World, subject: &Subject) -> Result<()> {
    let home = world.home();
    let pods = format!("--pod-selector=app.kubernetes.io/instance={}", subject.id);
    let arguments = [
        "drain",
        home.name(),
        &pods,
        "--delete-emptydir-data",
        "--timeout=5m",
    ];
    home.kubectl(arguments).await?;
    let words = ["no node takes the sidecar's pod", "unschedulable"];
    told("Ready", Reason::Unschedulable, &words)
        .by_mirror(&subject.mirror)
        .await?;
    Requests::are_few(world, &subject.namespace).await
}

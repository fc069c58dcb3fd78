//! What keeps the pod of a Job from running: a restore's, and a drill's. Of a Job Kubernetes tells in events alone that its pod is refused.

use anyhow::{Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::product::{
    drill::Drilling,
    restore::{self, Restoring},
};
use serde_json::json;

use super::{apply, clear};
use crate::{
    drills::nothing_left,
    requests::Requests,
    world::{MINUTE, PATIENCE, World, together},
};

/// What refuses the pod is called so.
const NAME: &str = "strict";

#[test]
fn a_restore_whose_pod_a_quota_refuses_says_so_and_goes_on_when_it_may_come() {
    together(refused);
}

#[test]
fn a_restore_and_a_drill_that_no_node_takes_say_so_and_can_be_deleted() {
    together(unplaced);
}

/// At home, where the namespace is the ministry's own: the sidecar's pod is in it, and there is room for no other.
async fn refused(world: &'static World) -> Result<()> {
    let subject = world.mirrored("refused-restore").await?;
    let (home, namespace) = (world.home(), subject.namespace.as_str());
    let quota = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {"hard": {"pods": "1"}},
    });
    apply(world, &quota).await?;
    // Until somebody has counted what is used, it refuses in other words.
    let counted = "jsonpath={.status.used.pods}=1";
    home.wait_until("resourcequota", NAME, Some(namespace), counted, PATIENCE)
        .await?;
    let restoring = Restoring::of(home, namespace, &subject.id);
    let database = format!("{}-back", subject.id);
    restoring.ask(&subject.homecoming(&database).await?).await?;
    let message = restoring
        .condition("Ready", ConditionStatus::False, "PodRefused", MINUTE)
        .await?;
    for words in ["exceeded quota", NAME, "limited: pods=1", namespace] {
        ensure!(message.contains(words), "{words} is not in: {message}");
    }
    Requests::are_few(world, namespace).await?;
    let arguments = ["delete", "resourcequota", NAME, "--namespace", namespace];
    home.kubectl(arguments).await?;
    // Its pod comes, and says in its turn that the way back is closed: that is another story.
    let ended = restoring.ended(PATIENCE).await?;
    let conditions = ended.status.map(|status| status.conditions).unwrap_or_default();
    ensure!(
        conditions
            .iter()
            .all(|condition| condition.reason != "PodRefused"),
        "{conditions:?}"
    );
    clear(world, namespace).await
}

async fn unplaced(world: &'static World) -> Result<()> {
    let subject = world.mirrored("unplaced-jobs").await?;
    let signer = subject.mirror.signer().await?;
    let wanted = subject.wanted(&signer, &subject.id);
    let nowhere = json!({"example.org/vault": "deep"});
    let restoring = restore::begin(&world.product, &wanted, |spec| {
        spec["sidecar"]["nodeSelector"] = nowhere.clone();
    })
    .await?;
    let drilling = Drilling::begin(&world.product, &subject.id, |spec| {
        spec["sidecar"]["nodeSelector"] = nowhere.clone();
    })
    .await?;
    let (unplaced, why) = ("Unschedulable", "didn't match Pod's node affinity/selector");
    let message = restoring
        .condition("Ready", ConditionStatus::False, unplaced, MINUTE)
        .await?;
    ensure!(message.contains(why), "{message}");
    // A drill waits for its copy to be read back first.
    let message = drilling
        .condition("Ready", ConditionStatus::False, unplaced, PATIENCE)
        .await?;
    ensure!(message.contains(why), "{message}");
    restoring.delete().await?;
    drilling.delete().await?;
    nothing_left(world, &subject.id).await?;
    clear(world, &subject.namespace).await
}

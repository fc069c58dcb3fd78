//! A pod that no node may take.

use anyhow::Result;
use dataembassy_contract::Reason;
use serde_json::json;

use super::clear;
use crate::{
    requests::Requests,
    world::{PATIENCE, World, together},
    wrong_input::told,
};

#[test]
fn a_pod_that_no_node_takes_is_told_and_copies_are_made_when_one_may() {
    together(unplaced);
}

async fn unplaced(world: &'static World) -> Result<()> {
    let ministry = world.ministry("unplaced").await?;
    let subject = ministry.small_registry("unplaced").await?;
    subject
        .apply(|spec| spec["sidecar"]["nodeSelector"] = json!({"example.org/vault": "deep"}))
        .await?;
    let words = [
        "no node takes the sidecar's pod",
        "didn't match Pod's node affinity/selector",
        "change spec.sidecar",
    ];
    told("Ready", Reason::Unschedulable, &words)
        .by_mirror(&subject.mirror)
        .await?;
    Requests::are_few(world, &ministry.namespace).await?;
    subject.apply(|_| ()).await?;
    subject.mirror.copied(1, PATIENCE).await?;
    told("Ready", Reason::Loaded, &[])
        .by_mirror(&subject.mirror)
        .await?;
    clear(world, &ministry.namespace).await
}

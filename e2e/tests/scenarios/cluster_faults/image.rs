//! The throw-away database of a drill has an image that there is not. A sidecar's own image is the operator's setting: see `alone::image`.

use anyhow::{Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{
    command::wait_for,
    product::drill::{Drilling, NAMESPACE},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::json;

use super::clear;
use crate::{
    drills::nothing_left,
    world::{MINUTE, PATIENCE, World, together},
};

/// Nobody has made it, and from elsewhere nothing is pulled.
const ABSENT: &str = "dataembassy.local/postgresql:0";

#[test]
fn an_image_that_there_is_not_is_told_by_name_and_the_drill_that_waits_for_it_can_be_deleted() {
    together(absent);
}

async fn absent(world: &'static World) -> Result<()> {
    let subject = world.mirrored("absent-image").await?;
    let drilling = Drilling::begin(&world.product, &subject.id, |spec| {
        spec["server"]["image"] = json!(ABSENT);
    })
    .await?;
    let pods: Api<Pod> = Api::namespaced(world.product.bed.embassy().client().clone(), NAMESPACE);
    let its = ListParams::default().labels(&format!("app.kubernetes.io/instance={}", subject.id));
    // A drill waits for its copy to be read back first.
    wait_for("the drill's pod", PATIENCE, || async {
        Ok(pods.list(&its).await?.items.pop())
    })
    .await?;
    let message = drilling
        .condition("Ready", ConditionStatus::False, "ImagePullFailed", MINUTE)
        .await?;
    ensure!(
        message.contains(ABSENT) && message.contains("check image, registry and imagePullSecrets"),
        "{message}"
    );
    drilling.delete().await?;
    nothing_left(world, &subject.id).await?;
    clear(world, &subject.namespace).await
}

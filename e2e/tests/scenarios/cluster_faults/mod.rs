//! What a cluster does to what runs in it: a pod is not let in, has no place, or lacks its image; memory runs out; a namespace goes. Within a minute
//! the reason is to be read, and when the cause is gone, copies are made.
//!
//! What needs the whole cluster for it (a drained node, an API server that is away, a right or an image that the operator lacks) is in
//! [`crate::alone`].

mod image;
mod jobs;
mod memory;
mod namespace;
mod refused;
mod unplaced;

use anyhow::Result;
use serde_json::Value;

use crate::world::World;

/// Applies a manifest at home.
async fn apply(world: &World, manifest: &Value) -> Result<()> {
    world.home().apply(&manifest.to_string()).await.map(drop)
}

/// Has a scenario's namespace go, and everything in it.
async fn clear(world: &World, namespace: &str) -> Result<()> {
    let arguments = ["delete", "namespace", namespace, "--wait=false"];
    world.home().kubectl(arguments).await.map(drop)
}

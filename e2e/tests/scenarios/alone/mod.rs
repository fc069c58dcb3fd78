//! Scenarios that take away what the others need: the operator, the custodian, the API server, the link.

mod absence;
mod activation;
mod circle;
mod drill;
mod link;
mod node;
mod partition;
mod slow;
mod upgrade;
mod without_leaks;

use anyhow::{Result, ensure};

use crate::world::World;

/// Where operator and custodian run.
const STANDING: &str = "dataembassy-system";

/// Ends the pods of a part of the embassy's standing half without a word.
async fn kill(world: &World, component: &str) -> Result<()> {
    let selector = format!("--selector=app.kubernetes.io/component={component}");
    let arguments = [
        "delete",
        "pods",
        &selector,
        "--namespace",
        STANDING,
        "--force",
        "--grace-period=0",
        "--wait=false",
    ];
    let said = world.product.bed.embassy().kubectl(arguments).await?;
    ensure!(said.contains("deleted"), "there is no {component}: {said}");
    Ok(())
}

//! Scenarios that take away what the others need: the operator, the custodian, the API server, the link.

mod absence;
mod activation;
mod circle;
mod drill;
mod gigabyte;
mod link;
mod node;
mod operators;
mod partition;
mod slow;
mod upgrade;
mod without_leaks;

use anyhow::{Result, ensure};
use dataembassy_e2e::cluster::Cluster;

/// Where operator and custodian run, at either site.
const STANDING: &str = "dataembassy-system";

/// Ends the pods of a part of what stands in a cluster without a word.
async fn kill(cluster: &Cluster, component: &str) -> Result<()> {
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
    let said = cluster.kubectl(arguments).await?;
    ensure!(said.contains("deleted"), "there is no {component}: {said}");
    Ok(())
}

//! Scenarios that take away what the others need: the operator, the custodian, the API server, the link.

mod absence;
mod activation;
mod api_server;
mod circle;
mod drained;
mod drill;
mod emptied;
mod gigabyte;
mod image;
mod link;
mod node;
mod operators;
mod partition;
mod right;
mod scale;
mod slow;
mod upgrade;
mod without_leaks;

use anyhow::Result;
use dataembassy_e2e::{cluster::Cluster, command::wait_for};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use crate::world::PATIENCE;

/// Where operator and custodian run, at either site.
const STANDING: &str = "dataembassy-system";

/// Kills the processes of a part of what stands in a cluster, which hear nothing of it and give nothing up, and then deletes their pods: a container
/// that is killed again and again would be begun later each time.
async fn kill(cluster: &Cluster, component: &str) -> Result<()> {
    let label = format!("app.kubernetes.io/component={component}");
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), STANDING);
    // One that is only being started is waited for.
    wait_for(&format!("a running {component} to kill"), PATIENCE, || async {
        let found = pods.list(&ListParams::default().labels(&label)).await?;
        let mut killed = None;
        for id in found.items.iter().flat_map(running) {
            if cluster
                .container(id)
                .is_ok_and(|container| container.kill().is_ok())
            {
                killed = Some(());
            }
        }
        Ok(killed)
    })
    .await?;
    let selector = format!("--selector={label}");
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
    cluster.kubectl(arguments).await.map(drop)
}

/// The containers of a pod that run.
fn running(pod: &Pod) -> impl Iterator<Item = &str> {
    let statuses = pod.status.iter().flat_map(|status| &status.container_statuses);
    statuses
        .flatten()
        .filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()))
        .filter_map(|status| status.container_id.as_deref())
}

//! Services of type `LoadBalancer` get the node's address, as a provider of load balancers would give them one. The node's proxy takes
//! packets to it from there. A node has one address, so each port is one Service's.

use anyhow::Result;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;

use super::site::Site;

/// Watches Services, and gives an address to each that waits for one. Ends when the API server's client does.
pub async fn serve(site: Site, client: Client) -> Result<()> {
    let events = watcher(Api::<Service>::all(client.clone()), watcher::Config::default());
    let mut services = events.default_backoff().applied_objects().boxed();
    while let Some(service) = services.next().await {
        // An interrupted watch begins anew by itself.
        let Ok(service) = service else { continue };
        if !waits(&service) {
            continue;
        }
        let api: Api<Service> = Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
        let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": site.node().to_string()}]}}});
        let given = api
            .patch_status(
                &service.name_any(),
                &PatchParams::default(),
                &Patch::Merge(address),
            )
            .await;
        match given {
            // It was deleted in between.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            given => drop(given?),
        }
    }
    Ok(())
}

fn waits(service: &Service) -> bool {
    let asks = service
        .spec
        .as_ref()
        .is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
    let has = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref())
        .is_some_and(|ingress| !ingress.is_empty());
    asks && !has
}

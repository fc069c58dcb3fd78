//! Who reaches what: the store only by gate, custodian and jobs; home only the gate. Each policy of the product is in [`crate::policies`].

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use dataembassy_contract::files::STATUS_PORT;
use dataembassy_crds::{ConditionStatus, DataEmbassy};
use dataembassy_e2e::{
    bed::store,
    cluster::{Cluster, Site, network},
    command::wait_for,
    product::{EMBASSY, conditions, embassy},
};
use kube::Api;
use serde_json::json;

use crate::{
    policies::{pod_address, stranger},
    world::{PATIENCE, World, together},
};

/// What curl tells as the status where nothing has answered.
const SILENCE: &str = "000";

#[test]
fn home_reaches_the_gate_and_not_the_store() {
    together(async |world| {
        let namespace = world.ministry("ways-home").await?.namespace;
        let home = world.home();
        stranger(home, &namespace, "client").await?;
        let gate = ask(home, &namespace, &format!("{}/", embassy::GATE)).await?;
        ensure!(gate == "403", "the gate said {gate:?} to an unsigned request");
        let store = ask(home, &namespace, store::ENDPOINT).await;
        ensure!(store.is_err(), "home reached the store: {store:?}");
        gone(home, &namespace).await
    });
}

#[test]
fn home_has_no_way_around_the_gate_from_its_nodes_own_network_either() {
    together(around_the_gate);
}

/// Home's administrator runs what they like, on the node's own network too, where no policy of home's is in the way.
async fn around_the_gate(world: &'static World) -> Result<()> {
    let (home, abroad) = (world.home(), world.product.bed.embassy());
    let namespace = world.unique("ways-node");
    home.namespace(&namespace).await?;
    let label = "pod-security.kubernetes.io/enforce=privileged";
    home.kubectl(["label", "namespace", &namespace, label, "--overwrite"])
        .await?;
    on_the_node(home, &namespace).await?;
    // It reaches what it may: the gate, and the API server of its own cluster.
    let own = format!("https://{}:6443", Site::Home.node());
    for open in [embassy::GATE, own.as_str()] {
        // Among many neighbours an answer may take longer than curl waits.
        wait_for(&format!("{open} to answer"), PATIENCE, || async {
            let said = told(home, &namespace, &format!("{open}/")).await?;
            ensure!(said == "403", "{open} said {said:?} to an unsigned request");
            Ok(Some(()))
        })
        .await?;
    }

    let gate: Ipv4Addr = embassy::pod_address(&world.product, "gate").await?.parse()?;
    let (store_pod, api) = (
        pod_address(abroad, "store", "app=store").await?,
        Site::Embassy.api_service(),
    );
    let node = Site::Embassy.node();
    let doors = [
        store::ENDPOINT.to_owned(),
        format!("https://{node}:6443/"),
        format!("https://{node}:10250/pods"),
        // Who owns the node leads there what no route leads to.
        format!("https://{store_pod}:9000/"),
        format!("http://{gate}:{STATUS_PORT}/status"),
        format!("https://{api}/"),
    ];
    let led = [store_pod, gate, api];
    for address in led {
        network::lead_over(Site::Home, address).await?;
    }
    let outcome = closed(home, &namespace, &doors).await;
    // Whatever came of it, the others have no such routes.
    for address in led {
        network::lead_nowhere(Site::Home, address).await?;
    }
    outcome?;
    gone(home, &namespace).await
}

/// Fails if one of them answers.
async fn closed(cluster: &Cluster, namespace: &str, doors: &[String]) -> Result<()> {
    for door in doors {
        let said = told(cluster, namespace, door).await?;
        ensure!(said == SILENCE, "{door} answered {said:?} to home");
    }
    Ok(())
}

/// Has a pod with curl run on the node's own network.
async fn on_the_node(cluster: &Cluster, namespace: &str) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": namespace},
        "spec": {
            "hostNetwork": true,
            "dnsPolicy": "ClusterFirstWithHostNet",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "client", "image": "dataembassy.local/stock:dev", "imagePullPolicy": "Never",
                "command": ["sleep", "infinity"],
            }],
        },
    });
    cluster.apply(&pod.to_string()).await?;
    cluster
        .wait_until("pod", "client", Some(namespace), "condition=Ready", PATIENCE)
        .await
}

#[test]
fn only_who_is_meant_to_reaches_the_store_from_within_the_embassy() {
    together(async |world| {
        let abroad = world.product.bed.cluster(Site::Embassy);
        let namespace = world.unique("ways-abroad");
        abroad.namespace(&namespace).await?;
        stranger(abroad, &namespace, "client").await?;
        let store = ask(abroad, &namespace, store::ENDPOINT).await;
        ensure!(store.is_err(), "a stranger's pod reached the store: {store:?}");
        // The same pod is let in once somebody who may has opened the door for it, so that it was the policy that kept it out.
        for what in [["namespace", namespace.as_str()], ["pod", "client"]] {
            let label = "dataembassy.io/store-access=true";
            abroad
                .kubectl(["label", what[0], what[1], label, "--namespace", &namespace])
                .await?;
        }
        wait_for("the opened door", PATIENCE, || async {
            Ok(ask(abroad, &namespace, store::ENDPOINT).await.ok())
        })
        .await?;
        gone(abroad, &namespace).await
    });
}

#[test]
fn reports_of_custodian_and_gate_are_for_the_operator_alone() {
    together(async |world| {
        let abroad = world.product.bed.cluster(Site::Embassy);
        let namespace = world.unique("ways-reports");
        abroad.namespace(&namespace).await?;
        stranger(abroad, &namespace, "client").await?;
        for part in ["custodian", "gate"] {
            let address = embassy::pod_address(&world.product, part).await?;
            let said = ask(abroad, &namespace, &format!("http://{address}:8080/status")).await;
            ensure!(said.is_err(), "a stranger read the {part}'s report: {said:?}");
        }
        // The operator reads them: these say nothing but what is in the reports.
        let api = Api::<DataEmbassy>::all(abroad.client().clone());
        for kind in ["CustodianReady", "GateReady"] {
            conditions::wait(&api, EMBASSY, kind, ConditionStatus::True, None, PATIENCE).await?;
        }
        gone(abroad, &namespace).await
    });
}

/// The HTTP status that an address answers with; certificates are not what is asked about here.
async fn ask(cluster: &Cluster, namespace: &str, url: &str) -> Result<String> {
    let script = format!("curl -sSk -m 5 -o /dev/null -w '%{{http_code}}' {url}");
    cluster
        .exec(namespace, "pod/client", &["sh", "-c", &script])
        .await
}

/// The same, or [`SILENCE`] where nothing answers; an error is one of the pod's.
async fn told(cluster: &Cluster, namespace: &str, url: &str) -> Result<String> {
    let script = format!("curl -sSk -m 5 -o /dev/null -w '%{{http_code}}' {url} || true");
    cluster
        .exec(namespace, "pod/client", &["sh", "-c", &script])
        .await
}

async fn gone(cluster: &Cluster, namespace: &str) -> Result<()> {
    cluster
        .kubectl(["delete", "namespace", namespace, "--wait=false"])
        .await
        .map(drop)
}

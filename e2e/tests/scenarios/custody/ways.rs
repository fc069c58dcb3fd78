//! Who reaches what: the store only by gate, custodian and jobs; home only the gate. Each policy of the product is in [`crate::policies`].

use anyhow::{Result, ensure};
use dataembassy_crds::{ConditionStatus, DataEmbassy};
use dataembassy_e2e::{
    bed::store,
    cluster::{Cluster, Site},
    product::{EMBASSY, conditions, embassy},
};
use kube::Api;

use crate::{
    policies::stranger,
    world::{PATIENCE, together},
};

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
        dataembassy_e2e::command::wait_for("the opened door", PATIENCE, || async {
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

async fn gone(cluster: &Cluster, namespace: &str) -> Result<()> {
    cluster
        .kubectl(["delete", "namespace", namespace, "--wait=false"])
        .await
        .map(drop)
}

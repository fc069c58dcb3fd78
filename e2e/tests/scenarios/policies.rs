//! Each network policy of the product, with connections that it lets through and others that it does not.
//!
//! They are made in the networks of the very pods that a policy is for, so that it judges them as those pods' own. A door that is closed to one
//! pod is open to another: it is the policy that closes it. The store's policy is in [`crate::custody`], and that of a drill's pod in
//! [`crate::drills`].

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result, ensure};
use dataembassy_contract::{
    database,
    files::{GATE_PORT, METRICS_PORT, STATUS_PORT},
};
use dataembassy_e2e::{
    cluster::{Cluster, Helm},
    command::{output, wait_for},
    product::{EMBASSY, OPERATOR, RELEASE, RELEASE_NAMESPACE, activation, chart, restore},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::json;

use self::Answer::{Refused, Taken};
use crate::{
    chart::IMAGES,
    world::{MINUTE, PATIENCE, SERVERS, World, together},
};

/// What a pod of the product is, as its labels say.
const COMPONENT: &str = "app.kubernetes.io/component";
/// Whose it is.
const INSTANCE: &str = "app.kubernetes.io/instance";
/// The port of the embassy's store.
const STORE_PORT: u16 = 9000;
/// The port of the API server's Service.
const API_PORT: u16 = 443;

#[test]
fn what_stands_in_the_embassy_calls_and_is_called_as_its_policies_say_and_not_otherwise() {
    together(standing);
}

#[test]
fn a_mirror_and_the_operator_at_home_call_and_are_called_as_their_policies_say_and_not_otherwise() {
    together(at_home);
}

async fn standing(world: &'static World) -> Result<()> {
    let abroad = world.product.bed.embassy();
    let namespace = world.unique("policies-abroad");
    abroad.namespace(&namespace).await?;
    stranger(abroad, &namespace, "client").await?;
    let client = Pods::app(abroad, &namespace, "client");
    let operator = operator(abroad);
    let custodian = Pods::of(abroad, RELEASE_NAMESPACE, "custodian", EMBASSY);
    let gate = Pods::of(abroad, RELEASE_NAMESPACE, "gate", EMBASSY);
    let store = store(abroad);
    let connections = [
        // The operator calls the API server and asks for reports. Nobody calls it, but for probes.
        (&operator, Door::ApiServer, Taken),
        (&operator, custodian.at(STATUS_PORT), Taken),
        (&operator, gate.at(STATUS_PORT), Taken),
        (&operator, gate.at(GATE_PORT), Refused),
        (&client, operator.at(STATUS_PORT), Refused),
        (&client, operator.at(METRICS_PORT), Refused),
        // The custodian calls the store, and tells the operator alone what it has found.
        (&custodian, store.at(STORE_PORT), Taken),
        (&custodian, gate.at(GATE_PORT), Refused),
        (&custodian, Door::ApiServer, Refused),
        (&client, custodian.at(STATUS_PORT), Refused),
        // The gate does so too, and is called by everybody as a gate.
        (&gate, store.at(STORE_PORT), Taken),
        (&gate, Door::ApiServer, Refused),
        (&client, gate.at(GATE_PORT), Taken),
        (&client, gate.at(STATUS_PORT), Refused),
        // Whom no policy is for calls the API server as well.
        (&client, Door::ApiServer, Taken),
    ];
    knock(&connections).await?;

    // Where the chart is told who may read the operator's metrics, they may do that and no more.
    let policy = letting_in(abroad, &namespace, &namespace).await?;
    abroad.apply(&policy).await?;
    let connections = [
        (&client, operator.at(METRICS_PORT), Taken),
        (&client, operator.at(STATUS_PORT), Refused),
    ];
    let outcome = knock(&connections).await;
    // Whatever came of it, nobody else has let them in.
    let policy = format!("networkpolicy/{namespace}");
    abroad
        .kubectl(["delete", &policy, "--namespace", RELEASE_NAMESPACE])
        .await?;
    outcome?;
    abroad
        .kubectl(["delete", "namespace", &namespace, "--wait=false"])
        .await
        .map(drop)
}

async fn at_home(world: &'static World) -> Result<()> {
    let home = world.home();
    let subject = world.mirrored("policies").await?;
    let namespace = subject.namespace.as_str();
    stranger(home, namespace, "client").await?;
    let client = Pods::app(home, namespace, "client");
    let operator = operator(home);
    let mirror = Pods::of(home, namespace, "mirror", &subject.id);
    let server = Pods::app(home, SERVERS, subject.server.host());
    let connections = [
        (&operator, Door::ApiServer, Taken),
        (&operator, mirror.at(STATUS_PORT), Taken),
        (&operator, server.at(database::PORT), Refused),
        (&client, operator.at(STATUS_PORT), Refused),
        (&client, operator.at(METRICS_PORT), Refused),
        // A mirror calls its database, and tells its neighbours nothing.
        (&mirror, server.at(database::PORT), Taken),
        (&mirror, Door::ApiServer, Refused),
        (&client, mirror.at(STATUS_PORT), Refused),
        (&client, Door::ApiServer, Taken),
    ];
    knock(&connections).await?;
    dismiss(home, namespace, "client").await?;
    subject.delete().await
}

/// The pod of a restore that is at work in the embassy, by its `RegistryRestore`: it calls store and target, and tells the operator alone how
/// far it is.
pub(crate) async fn of_a_restore(world: &World, name: &str) -> Result<()> {
    let abroad = world.product.bed.embassy();
    let target = restore::server(&world.product).await?;
    let server = Pods::app(abroad, restore::NAMESPACE, target.host());
    let restore = Pods::of(abroad, restore::NAMESPACE, "restore", name);
    let gate = Pods::of(abroad, RELEASE_NAMESPACE, "gate", EMBASSY);
    let operator = operator(abroad);
    let store = store(abroad);
    let connections = [
        (&restore, store.at(STORE_PORT), Taken),
        (&restore, server.at(database::PORT), Taken),
        (&restore, gate.at(GATE_PORT), Refused),
        (&restore, Door::ApiServer, Refused),
        (&operator, restore.at(STATUS_PORT), Taken),
        (&server, restore.at(STATUS_PORT), Refused),
        // What is closed to the restore is open to its neighbour.
        (&server, gate.at(GATE_PORT), Taken),
        (&server, Door::ApiServer, Taken),
    ];
    knock(&connections).await
}

/// Databases that an activation has made, of a registry that was restored and is not served, and of one that is served: the one lets restores in
/// and nobody else, the other applications of its namespace, and neither calls anybody. Their names must be short enough to stand in a label.
pub(crate) async fn of_databases(world: &World, name: &str, closed: &str, served: &str) -> Result<()> {
    let abroad = world.product.bed.embassy();
    let namespace = activation::NAMESPACE;
    let application = format!("{name}-client");
    stranger(abroad, namespace, &application).await?;
    let client = Pods::app(abroad, namespace, &application);
    let instance = |registry: &str| format!("{name}-{registry}");
    let shut = Pods::of(abroad, namespace, "database", &instance(closed));
    let open = Pods::of(abroad, namespace, "database", &instance(served));
    let gate = Pods::of(abroad, RELEASE_NAMESPACE, "gate", EMBASSY);
    // A pod of another namespace, which may call whom it likes.
    let elsewhere = store(abroad);
    let connections = [
        (&client, open.at(database::PORT), Taken),
        (&elsewhere, open.at(database::PORT), Refused),
        (&client, shut.at(database::PORT), Refused),
        (&open, gate.at(GATE_PORT), Refused),
        (&shut, gate.at(GATE_PORT), Refused),
        (&client, gate.at(GATE_PORT), Taken),
    ];
    knock(&connections).await?;
    let_in_as_restore(abroad, &client, &shut, &instance(closed)).await?;
    dismiss(abroad, namespace, &application).await
}

/// A database that an activation has shut before its last copy: applications are outside again, and who copies is not.
pub(crate) async fn of_a_shut_database(world: &World, name: &str, registry: &str) -> Result<()> {
    let abroad = world.product.bed.embassy();
    let (namespace, application) = (activation::NAMESPACE, format!("{name}-late"));
    stranger(abroad, namespace, &application).await?;
    let client = Pods::app(abroad, namespace, &application);
    let instance = format!("{name}-{registry}");
    let database = Pods::of(abroad, namespace, "database", &instance);
    let gate = Pods::of(abroad, RELEASE_NAMESPACE, "gate", EMBASSY);
    let connections = [
        (&client, gate.at(GATE_PORT), Taken),
        (&client, database.at(database::PORT), Refused),
        (&database, gate.at(GATE_PORT), Refused),
    ];
    knock(&connections).await?;
    let_in_as_restore(abroad, &client, &database, &instance).await?;
    dismiss(abroad, namespace, &application).await
}

/// The same pod is let in once it is one that restores into this database or copies it, for all that a policy can know.
async fn let_in_as_restore(
    abroad: &Cluster,
    client: &Pods<'_>,
    database: &Pods<'_>,
    instance: &str,
) -> Result<()> {
    let label = format!("dataembassy.io/database={instance}");
    let namespace = client.namespace;
    let selector = format!("--selector={}", client.labels);
    abroad
        .kubectl(["label", "pod", &selector, &label, "--namespace", namespace])
        .await?;
    knock(&[(client, database.at(database::PORT), Taken)]).await
}

/// Has a pod with curl run that nobody knows, by this name and with the label `app` that says the same.
pub(crate) async fn stranger(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "client", "image": "dataembassy.local/stock:dev", "imagePullPolicy": "Never",
                "command": ["sleep", "infinity"],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    cluster.apply(&pod.to_string()).await?;
    cluster
        .wait_until("pod", name, Some(namespace), "condition=Ready", PATIENCE)
        .await
}

/// The address of a pod that has these labels.
pub(crate) async fn pod_address(cluster: &Cluster, namespace: &str, labels: &str) -> Result<Ipv4Addr> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), namespace);
    let found = pods.list(&ListParams::default().labels(labels)).await?;
    let mut addresses = found.items.into_iter().filter_map(|pod| pod.status?.pod_ip);
    let address = addresses.next();
    let address = address.with_context(|| format!("no pod {labels} in {namespace} has an address"))?;
    Ok(address.parse()?)
}

async fn dismiss(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
    let pod = format!("pod/{name}");
    cluster
        .kubectl(["delete", &pod, "--namespace", namespace, "--wait=false"])
        .await
        .map(drop)
}

/// The chart's policy as it is where pods of a namespace may read metrics, under a name of its own: policies add up, and the installed one stays
/// as it is.
async fn letting_in(abroad: &Cluster, namespace: &str, name: &str) -> Result<String> {
    let readers = json!([{"matchLabels": {"kubernetes.io/metadata.name": namespace}}]);
    let mut helm = abroad.helm_command(Helm::Four)?;
    helm.args(["template", RELEASE]).arg(chart()).args(IMAGES);
    helm.args(["--namespace", RELEASE_NAMESPACE, "--kube-version=1.34.4"]);
    helm.arg("--show-only=templates/networkpolicy.yaml");
    helm.arg("--set=side=embassy");
    helm.arg(format!("--set-json=networkPolicy.metricsFrom={readers}"));
    let rendered = output(&mut helm).await?;
    let [installed, beside] = [OPERATOR, name].map(|name| format!("name: {name}\n"));
    let renamed = rendered.replacen(&installed, &beside, 1);
    ensure!(
        renamed != rendered,
        "the chart's policy has another name:\n{rendered}"
    );
    Ok(renamed)
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    Refused,
}

/// What is knocked at.
#[derive(Clone, Copy)]
enum Door<'a> {
    /// A port of a pod.
    Of(&'a Pods<'a>, u16),
    /// The API server, where the pods of its cluster find it.
    ApiServer,
}

/// Pods that are alike, of which one is meant that runs.
struct Pods<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    labels: String,
}

fn operator(cluster: &Cluster) -> Pods<'_> {
    Pods::of(cluster, RELEASE_NAMESPACE, "operator", RELEASE)
}

fn store(abroad: &Cluster) -> Pods<'_> {
    Pods::app(abroad, "store", "store")
}

/// Waits until each of these is so: a policy takes a moment to be known, and so does a pod.
async fn knock(connections: &[(&Pods<'_>, Door<'_>, Answer)]) -> Result<()> {
    for (from, door, answer) in connections {
        let what = format!("{door} to be {answer:?} to {from}");
        wait_for(&what, MINUTE, || async {
            let address = door.address(from.cluster).await?;
            Ok((from.knock(address).await? == *answer).then_some(()))
        })
        .await?;
    }
    Ok(())
}

impl<'a> Pods<'a> {
    /// What the product runs, by what it is and whose.
    fn of(cluster: &'a Cluster, namespace: &'a str, component: &str, instance: &str) -> Self {
        Self {
            cluster,
            namespace,
            labels: format!("{COMPONENT}={component},{INSTANCE}={instance}"),
        }
    }

    /// What the bed runs.
    fn app(cluster: &'a Cluster, namespace: &'a str, name: &str) -> Self {
        Self {
            cluster,
            namespace,
            labels: format!("app={name}"),
        }
    }

    fn at(&self, port: u16) -> Door<'_> {
        Door::Of(self, port)
    }

    async fn running(&self) -> Result<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client().clone(), self.namespace);
        let chosen = ListParams::default().labels(&self.labels);
        let runs = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            pod.metadata.deletion_timestamp.is_none() && phase == Some("Running")
        };
        let found = pods.list(&chosen).await?.into_iter().find(runs);
        found.with_context(|| format!("there is no running pod {self}"))
    }

    /// Knocks from the pod at an address.
    async fn knock(&self, address: SocketAddr) -> Result<Answer> {
        let status = self.running().await?.status;
        let containers = status.and_then(|status| status.container_statuses);
        let mut containers = containers.into_iter().flatten();
        let id = containers.find_map(|container| container.container_id);
        let id = id.context("the pod has no container yet")?;
        let is_taken = self.cluster.container(&id)?.connects(address).await?;
        Ok(if is_taken { Taken } else { Refused })
    }
}

impl Door<'_> {
    /// Where somebody in a cluster finds it.
    async fn address(self, cluster: &Cluster) -> Result<SocketAddr> {
        match self {
            Self::Of(pods, port) => {
                let status = pods.running().await?.status;
                let address = status.and_then(|status| status.pod_ip);
                let address = address.context("the pod has no address yet")?;
                Ok(SocketAddr::new(address.parse()?, port))
            }
            Self::ApiServer => Ok(SocketAddr::new(cluster.site().api_service().into(), API_PORT)),
        }
    }
}

impl fmt::Display for Pods<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.labels, self.namespace)
    }
}

impl fmt::Display for Door<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(pods, port) => write!(f, "port {port} of {pods}"),
            Self::ApiServer => f.write_str("the API server"),
        }
    }
}

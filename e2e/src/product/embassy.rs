//! The embassy's standing half, as its people install it: Secrets, the operator of its side, and the `DataEmbassy` that makes it run
//! custodian and gate.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use dataembassy_contract::files::METRICS_PORT;
use dataembassy_crds::{ConditionStatus, DataEmbassy};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::json;

use super::{EMBASSY, Product, conditions, operator, operator::Release, sample};
use crate::{
    bed::{Store, secrets},
    cluster::{Cluster, EMBASSY_NAMES, Helm, Site, pki::Authority},
};

/// Where home reaches the store: through the gate.
pub const GATE: &str = "https://gate.embassy.example";
/// The label that opens the store's policy for the jobs of a namespace.
const STORE_ACCESS: &str = "dataembassy.io/store-access";
/// The Secret with the gate's certificate.
const GATE_TLS: &str = "gate-tls";
/// The Secret with the store user that is made for probing the store.
const CHECK: &str = "store-check";
/// The API group of the product's kinds.
const GROUP: &str = ".dataembassy.io";
/// How long custodian and gate may take to start.
const STARTS: Duration = Duration::from_mins(3);

/// The sample, but with everything read back within half a minute instead of a week: nobody watches a bed for a week.
fn impatient(manifest: &str) -> Result<String> {
    let impatient = manifest.replace("period: 7d", "period: 30s");
    ensure!(impatient != manifest, "the sample has no period of verification");
    Ok(impatient)
}

/// Makes a namespace whose jobs may reach the store.
pub(super) async fn open_namespace(embassy: &Cluster, name: &str) -> Result<()> {
    embassy.namespace(name).await?;
    let label = format!("{STORE_ACCESS}=true");
    embassy
        .kubectl(["label", "namespace", name, &label, "--overwrite"])
        .await
        .map(drop)
}

/// The gate's certificate: made once, by an authority of its own.
async fn gate_certificate(embassy: &Cluster) -> Result<()> {
    let namespace = operator::RELEASE_NAMESPACE;
    if secrets::read(embassy, namespace, GATE_TLS).await?.is_none() {
        let authority = Authority::make("embassy gate")?;
        // By its address this machine reaches it, over its wire.
        let server = authority.server(&EMBASSY_NAMES, &[IpAddr::V4(Site::Embassy.node())])?;
        let tls = [
            ("ca.crt", authority.certificate()),
            ("tls.crt", &server.certificate),
            ("tls.key", &server.key),
        ];
        secrets::write(embassy, namespace, GATE_TLS, &tls).await?;
    }
    Ok(())
}

/// The authority of the gate's certificate, in PEM.
pub async fn gate_authority(product: &Product) -> Result<String> {
    secrets::read(product.bed.embassy(), operator::RELEASE_NAMESPACE, GATE_TLS)
        .await?
        .and_then(|mut tls| tls.remove("ca.crt"))
        .context("the gate's Secret has no authority")
}

/// Installs what is not there yet, and waits until custodian and gate run.
pub(super) async fn install(product: &Product, store: &Store) -> Result<()> {
    let embassy = product.bed.embassy();
    bring_secrets(product, store).await?;
    operator::install(&product.bed, embassy, "embassy").await?;
    open_doors(product, store).await
}

/// Leaves the cluster as if nobody had ever installed anything, and returns the release that was there: the kinds with every resource of theirs,
/// and the namespace with its Secrets, are gone. The store stays.
pub async fn empty(product: &Product) -> Result<Release> {
    let embassy = product.bed.embassy();
    let release = Release::installed(embassy).await?;
    release.uninstall(Helm::Four).await?;
    let found = embassy
        .kubectl(["get", "customresourcedefinitions", "--output=name"])
        .await?;
    let kinds: Vec<_> = found.lines().filter(|name| name.ends_with(GROUP)).collect();
    ensure!(!kinds.is_empty(), "the release has taken its kinds along");
    embassy
        .kubectl(["delete", "--timeout=5m"].iter().chain(&kinds))
        .await?;
    let namespace = operator::RELEASE_NAMESPACE;
    embassy
        .kubectl(["delete", "namespace", namespace, "--timeout=5m"])
        .await?;
    Ok(release)
}

/// Installs the same release in a cluster that has nothing.
pub async fn install_anew(product: &Product, release: &Release) -> Result<()> {
    let store = product.bed.store().await?;
    bring_secrets(product, &store).await?;
    release.upgrade(Helm::Four, &[]).await?;
    open_doors(product, &store).await
}

/// What the embassy's people bring before they install anything: the gate's certificate, what opens the store, and the custodian's key.
async fn bring_secrets(product: &Product, store: &Store) -> Result<()> {
    let embassy = product.bed.embassy();
    let namespace = operator::RELEASE_NAMESPACE;
    embassy.namespace(namespace).await?;
    gate_certificate(embassy).await?;
    let custody = super::store::custody_user(store).await?;
    let credentials = [
        ("accessKeyId", custody.access_key.as_str()),
        ("secretAccessKey", &custody.secret_key),
    ];
    secrets::write(embassy, namespace, "custody", &credentials).await?;
    if secrets::read(embassy, namespace, CHECK).await?.is_none() {
        let user = store
            .deposit_user(&format!("check-{}", hex::encode(rand::random::<[u8; 4]>())))
            .await?;
        let credentials = [
            ("accessKeyId", user.access_key.as_str()),
            ("secretAccessKey", &user.secret_key),
        ];
        secrets::write(embassy, namespace, CHECK, &credentials).await?;
    }
    let signer = [("ssh-privatekey", product.keys.custodian.as_str())];
    secrets::write(embassy, namespace, "custodian-key", &signer).await
}

/// Has the operator run custodian and gate of the store, and waits until they do.
async fn open_doors(product: &Product, store: &Store) -> Result<()> {
    let embassy = product.bed.embassy();
    embassy.apply_path(&sample("embassy/store-policy")).await?;
    let manifest = product.filled_in(
        &std::fs::read_to_string(sample("embassy/luxembourg"))?,
        store.ca(),
    )?;
    embassy.apply(&impatient(&manifest)?).await?;
    let api = Api::<DataEmbassy>::all(embassy.client().clone());
    conditions::wait(&api, EMBASSY, "Ready", ConditionStatus::True, None, STARTS).await?;
    for part in ["custodian", "gate"] {
        let deployment = format!("deployment/{EMBASSY}-{part}");
        let namespace = operator::RELEASE_NAMESPACE;
        embassy.rolled_out(&deployment, namespace, STARTS).await?;
    }
    Ok(())
}

/// Accepts a registry: from then on the gate takes its copies in, and the custodian follows its ledger.
pub async fn accept(product: &Product, registry: &str, signer: &str) -> Result<()> {
    let manifest = json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "RegistryCustody",
        "metadata": {"name": registry},
        "spec": {
            "embassyRef": {"name": EMBASSY},
            "registry": {"id": registry},
            "signers": [{"publicKey": signer, "fromSequence": 1}],
            "rpo": "1h",
            "rto": "2h",
            "retention": {"keepWithin": "30d"},
            "drills": {"namespace": super::drill::NAMESPACE, "every": "7d"},
        },
    });
    product.bed.embassy().apply(&manifest.to_string()).await.map(drop)
}

/// Accepts a registry with the sample that the docs show, and the signer that its mirror shows.
pub async fn accept_sample(product: &Product, registry: &str, signer: &str) -> Result<()> {
    let text = std::fs::read_to_string(sample(&format!("embassy/{registry}")))?;
    let lines = text.lines().map(|line| match line.split_once("publicKey: ") {
        Some((before, _)) => format!("{before}publicKey: {signer}"),
        None => line.to_owned(),
    });
    let manifest = lines.collect::<Vec<_>>().join("\n") + "\n";
    ensure!(manifest.contains(signer), "the sample names no signer");
    product.bed.embassy().apply(&manifest).await.map(drop)
}

/// The address of a pod of `custodian` or `gate`.
pub async fn pod_address(product: &Product, part: &str) -> Result<String> {
    let pod = pod(product, part).await?;
    pod.status
        .and_then(|status| status.pod_ip)
        .with_context(|| format!("the {part}'s pod has no address"))
}

/// What the custodian shows to Prometheus.
pub async fn custodian_metrics(product: &Product) -> Result<String> {
    metrics(product, &pod(product, "custodian").await?).await
}

/// How many requests that claim this registry's users the gates that run have refused since they began: all reasons, and all gates.
pub async fn refused_requests(product: &Product, registry: &str) -> Result<u64> {
    let label = format!("registry=\"{registry}\"");
    let mut refused = 0;
    for gate in pods_of(product, EMBASSY, "gate").await? {
        let shown = metrics(product, &gate).await?;
        for line in shown.lines() {
            let counts = line.starts_with("dataembassy_gate_refused_total{") && line.contains(&label);
            if let Some((_, count)) = line.rsplit_once(' ').filter(|_| counts) {
                refused += count.parse::<u64>()?;
            }
        }
    }
    Ok(refused)
}

/// What a pod shows to Prometheus.
async fn metrics(product: &Product, pod: &Pod) -> Result<String> {
    let (namespace, name) = (operator::RELEASE_NAMESPACE, pod.name_any());
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{METRICS_PORT}/proxy/metrics");
    let request = hyper::Request::get(path).body(Vec::new())?;
    Ok(product.bed.embassy().client().request_text(request).await?)
}

/// A running pod of `custodian` or `gate`.
async fn pod(product: &Product, part: &str) -> Result<Pod> {
    pod_of(product, EMBASSY, part).await
}

/// The same, of any `DataEmbassy` of the embassy's cluster.
pub async fn pod_of(product: &Product, name: &str, part: &str) -> Result<Pod> {
    let first = pods_of(product, name, part).await?.into_iter().next();
    first.with_context(|| format!("no {part} runs"))
}

/// All of them.
async fn pods_of(product: &Product, name: &str, part: &str) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(
        product.bed.embassy().client().clone(),
        operator::RELEASE_NAMESPACE,
    );
    let of_part = ListParams::default().labels(&format!(
        "app.kubernetes.io/component={part},app.kubernetes.io/instance={name}"
    ));
    let running = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        pod.metadata.deletion_timestamp.is_none() && phase == Some("Running")
    };
    let found = pods.list(&of_part).await?;
    Ok(found.into_iter().filter(running).collect())
}

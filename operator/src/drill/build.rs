//! Builds the objects of a drill's run from checked values. Pure, and it cannot fail.

use dataembassy_contract::drill::{CELL_SCRIPT, CELL_USER, DrillConfig};
use dataembassy_contract::files;
use dataembassy_crds::{CurrentDrill, PullPolicy};
use serde_json::{Value, json};

use crate::apply::with_digest;
use crate::drill::names;
use crate::drill::validate::Checked;
use crate::job::Desired;
use crate::policy;
use crate::settings::Settings;
use crate::workload::{Amounts, Companion, Mount, Volume, Workload, config_data};

/// The name of the container that opens the copy.
pub const CONTAINER: &str = "drill";
/// The name of the container with the throw-away database.
pub const DATABASE: &str = "database";
/// Bytes of what the cell's script counts its volume in.
const MEBIBYTE: u64 = 1024 * 1024;
/// The default of `spec.sidecar.scratchSize`.
const SCRATCH_SIZE: &str = "1Gi";
/// The default of `spec.sidecar.resources`.
const AMOUNTS: Amounts = Amounts {
    cpu: "50m",
    memory: "96Mi",
    limit: "192Mi",
    processors: Some("2"),
};
/// The default of `spec.server.resources`.
const SERVER_AMOUNTS: Amounts = Amounts {
    cpu: "100m",
    memory: "256Mi",
    limit: "1Gi",
    processors: Some("2"),
};
/// What the folder with the socket may hold, in which nothing else belongs.
const SOCKET_SIZE: &str = "16Mi";
/// How much longer than the drill's own time its Job has, in seconds: images are pulled in it, and a drill that ends itself can say why.
pub const MARGIN_SECONDS: u64 = 5 * 60;
/// When Kubernetes deletes a Job that has ended and that nobody else has deleted, because there is no operator.
const TIME_TO_LIVE_SECONDS: u32 = 60 * 60;

/// Builds everything for the attempt that `current` names, which has so many seconds.
#[must_use]
pub fn build(checked: &Checked, current: &CurrentDrill, seconds: u64, settings: &Settings) -> Desired {
    let config = DrillConfig {
        order: current.order.clone(),
        deadline_seconds: seconds,
        ..checked.config.clone()
    };
    // Plain structs of texts and numbers: there is nothing in them that JSON cannot hold.
    let document = config.to_json().unwrap_or_default();
    let name = names::object(&checked.name);
    let object = |api: &str, kind: &str, name: &str| json!({"apiVersion": api, "kind": kind, "metadata": metadata(checked, name)});
    let mut service_account = object("v1", "ServiceAccount", &name);
    service_account["automountServiceAccountToken"] = false.into();
    let mut config_map = object("v1", "ConfigMap", &name);
    config_map["data"] = config_data(&document, settings);
    let mut network_policy = object("networking.k8s.io/v1", "NetworkPolicy", &name);
    network_policy["spec"] = reach(checked, settings);
    let mut job = object("batch/v1", "Job", &names::job(current));
    job["spec"] = work(checked, seconds, settings);
    Desired {
        owner: checked.uid.clone(),
        service_account: with_digest(service_account),
        config_map: with_digest(config_map),
        network_policy: with_digest(network_policy),
        job: with_digest(job),
    }
}

/// Name, labels and owner of an object of this drill.
fn metadata(checked: &Checked, name: &str) -> Value {
    json!({
        "name": name,
        "namespace": checked.namespace,
        "labels": names::labels(&checked.name),
        "ownerReferences": [{
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "RegistryDrill",
            "name": checked.name,
            "uid": checked.uid,
            "controller": true,
        }],
    })
}

/// The pod may resolve names, call the store, and send traces; what is restored is in the pod itself.
fn reach(checked: &Checked, settings: &Settings) -> Value {
    let mut egress = vec![
        policy::resolving(),
        policy::store(checked.store_port, &checked.store_networks),
    ];
    egress.extend(policy::collector(settings));
    json!({
        "podSelector": {"matchLabels": names::selector(&checked.name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": policy::ingress(settings),
        "egress": egress,
    })
}

/// One pod, once. Both containers share the folder with the socket; the database's own folder is the database's alone, and what opens the copy
/// is ours alone. An emptyDir goes with its pod, whatever happened.
fn work(checked: &Checked, seconds: u64, settings: &Settings) -> Value {
    let object = names::object(&checked.name);
    let (sidecar, server) = (&checked.sidecar, &checked.server);
    let volume = (checked.config.database_limit_bytes / MEBIBYTE).to_string();
    let socket = Mount {
        volume: "cell",
        path: files::CELL_DIR,
    };
    let data = Mount {
        volume: "cell-data",
        path: files::CELL_DATA_DIR,
    };
    let workload = Workload {
        container: CONTAINER,
        command: "drill",
        service_account: &object,
        config_map: &object,
        secrets: &[
            (
                &checked.retrieval,
                &[files::RETRIEVAL_ACCESS_KEY_ID, files::RETRIEVAL_SECRET_ACCESS_KEY],
            ),
            (&checked.identity, &[files::IDENTITY]),
        ],
        ports: &[],
        scratch_size: Some(sidecar.scratch_size.as_deref().unwrap_or(SCRATCH_SIZE)),
        resources: sidecar.resources.as_ref(),
        amounts: AMOUNTS,
        node_selector: &sidecar.node_selector,
        tolerations: &sidecar.tolerations,
        pull_secrets: &sidecar.image_pull_secrets,
        grace_seconds: 30,
        volumes: &[
            Volume {
                name: socket.volume,
                size_limit: SOCKET_SIZE,
            },
            Volume {
                name: data.volume,
                size_limit: &server.volume_size,
            },
        ],
        mounts: &[socket],
        companion: Some(Companion {
            container: DATABASE,
            image: &server.image,
            pull_policy: match server.image_pull_policy {
                PullPolicy::Always => "Always",
                PullPolicy::IfNotPresent => "IfNotPresent",
                PullPolicy::Never => "Never",
            },
            command: &["/bin/sh", "-ceu", CELL_SCRIPT, "cell", &volume],
            user: CELL_USER,
            resources: server.resources.as_ref(),
            amounts: SERVER_AMOUNTS,
            mounts: &[socket, data],
        }),
    };
    let mut template = workload.template(&names::pod_labels(&checked.name), settings);
    template["spec"]["restartPolicy"] = "Never".into();
    json!({
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "activeDeadlineSeconds": seconds + MARGIN_SECONDS,
        "ttlSecondsAfterFinished": TIME_TO_LIVE_SECONDS,
        "template": template,
    })
}

//! A command run once in a cluster, as a Job: of the sidecar, or of stock tools.

use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use crate::{cluster::Cluster, command::wait_for};

/// The image that holds our sidecar.
pub(super) const SIDECAR: &str = "dataembassy.local/sidecar:dev";
/// The image that holds stock tools and none of our code.
pub(super) const STOCK: &str = "dataembassy.local/stock:dev";

/// Waits until the pod may reach the store: its address has to become known to the policies first, wherever a cluster enforces them.
const DOOR: &str = "until curl --silent --insecure --output /dev/null --max-time 2 https://store.embassy.example:9000; do sleep 0.2; done";

/// What is run.
pub(super) struct Job<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub image: &'static str,
    /// What runs instead of the image's own entry point, if anything.
    pub command: &'a [&'a str],
    pub arguments: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
    /// Secrets it sees, mounted at `/run/<name>`.
    pub secrets: &'a [&'a str],
    pub deadline: Duration,
}

/// What came of it.
pub struct Ended {
    /// What it printed.
    pub log: String,
}

/// Runs a Job to its end. Fails with what it printed if it fails.
pub(super) async fn run(cluster: &Cluster, job: &Job<'_>) -> Result<Ended> {
    let what = format!("job/{}", job.name);
    cluster
        .kubectl([
            "delete",
            &what,
            "--namespace",
            job.namespace,
            "--ignore-not-found",
            "--wait",
        ])
        .await?;
    cluster.apply(&manifest(job).to_string()).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), job.namespace);
    let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", job.name));
    let (succeeded, pod) = wait_for(&format!("the end of {what}"), job.deadline, || async {
        Ok(pods.list(&of_job).await?.items.iter().find_map(end))
    })
    .await?;
    let log = cluster.logs(job.namespace, &pod).await?;
    if !succeeded {
        bail!("{what} failed:\n{log}");
    }
    Ok(Ended { log })
}

/// Success and name of a pod that has ended.
fn end(pod: &Pod) -> Option<(bool, String)> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let ended = status.state.as_ref()?.terminated.as_ref()?;
    Some((ended.exit_code == 0, pod.metadata.name.clone()?))
}

fn manifest(job: &Job<'_>) -> Value {
    let environment: Vec<_> = job
        .environment
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let mounts: Vec<_> = job
        .secrets
        .iter()
        .map(|name| json!({"name": name, "mountPath": format!("/run/{name}"), "readOnly": true}))
        .chain([json!({"name": "tmp", "mountPath": "/tmp"})])
        .collect();
    let volumes: Vec<_> = job
        .secrets
        .iter()
        .map(|name| json!({"name": name, "secret": {"secretName": name, "defaultMode": 0o440}}))
        .chain([json!({"name": "tmp", "emptyDir": {}})])
        .collect();
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.name, "namespace": job.namespace},
        "spec": {
            "backoffLimit": 0,
            "template": {
                // The store's policy lets such pods in, from namespaces that are open for them.
                "metadata": {"labels": {"dataembassy.io/store-access": "true"}},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "securityContext": {"runAsNonRoot": true, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                    "initContainers": [{
                        "name": "door",
                        "image": STOCK,
                        "imagePullPolicy": "Never",
                        "command": ["sh", "-c", DOOR],
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }],
                    "containers": [{
                        "name": "job",
                        "image": job.image,
                        "imagePullPolicy": "Never",
                        "command": job.command,
                        "args": job.arguments,
                        "env": environment,
                        "volumeMounts": mounts,
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }],
                    "volumes": volumes,
                },
            },
        },
    })
}

//! Builds the objects of a managed database from a spec that the API server has checked. Pure, and it cannot fail.
//!
//! None of them has an owner where the activation is meant: what runs is not stopped by a resource that vanished. In a rehearsal all of them
//! belong to the `StatefulSet`, and that to the activation.

use dataembassy_contract::database;
use dataembassy_crds::{ActivationMode, EmbassyActivation, PullPolicy};
use kube::Resource;
use serde_json::{Value, json};

use super::Managed;
use crate::apply::{quantity, with_digest};
use crate::labels::{DATABASE, MADE_FOR};
use crate::settings::Settings;
use crate::workload::{self, Amounts};

/// The name of the container that is the server.
pub const CONTAINER: &str = "database";
/// The name of the volume with the registry in it.
pub const VOLUME: &str = "data";
/// The annotation that names the activation.
pub const OF_ACTIVATION: &str = "dataembassy.io/activation";
/// The annotation that names the registry.
pub const OF_REGISTRY: &str = "dataembassy.io/registry";
/// The annotation that says until when the operator's own certificate counts.
pub const CERTIFICATE_ENDS: &str = "dataembassy.io/certificate-ends";
/// The annotation of an activation that says until when a certificate counts by which a person has replaced the operator's own: with a dot and the
/// registry's id behind it, a day.
pub const RENEWED_UNTIL: &str = "dataembassy.io/certificate-ends";
/// The name of the port.
const PORT: &str = "postgresql";
/// The default of `managed.resources`.
const AMOUNTS: Amounts = Amounts {
    cpu: "100m",
    memory: "256Mi",
    limit: "1Gi",
    processors: None,
};
/// How long a server has to write everything down before it is killed, in seconds; one that was killed recovers when it starts.
const GRACE_SECONDS: u32 = 180;
/// How long a server may take to come up, in seconds: one that has much to recover must not be killed over it.
const START_SECONDS: u32 = 6 * 3600;
/// What parallel queries share, part of the container's memory.
const SHARED_MEMORY: &str = "256Mi";
/// What the folder of the running server may hold, in memory; nothing of the registry is in it.
const RUN_SIZE: &str = "16Mi";

/// Whether the server runs, or is only to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// What it needs is not made yet.
    None,
    /// It runs.
    One,
}

/// Who comes to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Public {
    /// Nobody but a restore.
    Closed,
    /// Applications.
    Open,
    /// Nobody but who copies it: applications were there, and were shut out.
    Shut,
}

/// Name, labels, the mark that it is ours, and in a rehearsal the owner.
#[must_use]
pub fn metadata(managed: &Managed<'_>, name: &str, owner: Option<&Value>) -> Value {
    let mut metadata = json!({
        "name": name,
        "namespace": managed.namespace(),
        "labels": managed.names().labels(),
        "annotations": {
            MADE_FOR: managed.uid(),
            OF_ACTIVATION: managed.activation_name(),
            OF_REGISTRY: managed.registry.id,
        },
    });
    if let Some(end) = managed.certificate_ends() {
        metadata["annotations"][CERTIFICATE_ENDS] = end.to_string().into();
    }
    if let Some(owner) = owner {
        metadata["ownerReferences"] = json!([owner]);
    }
    metadata
}

/// In a rehearsal, who owns everything else: the `StatefulSet` with this UID. It is not gone before all of that is.
#[must_use]
pub fn owner(managed: &Managed<'_>, uid: &str) -> Option<Value> {
    (managed.activation.spec.mode == ActivationMode::Rehearse).then(|| {
        json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": managed.names().internal,
            "uid": uid,
            "controller": true,
            "blockOwnerDeletion": true,
        })
    })
}

/// In a rehearsal, who owns that: the activation. Whoever deletes it in between leaves no registry on a volume that nobody watches. A meant one's
/// databases stay, whatever becomes of it.
fn rehearsal(managed: &Managed<'_>) -> Option<Value> {
    (managed.activation.spec.mode == ActivationMode::Rehearse).then(|| {
        json!({
            "apiVersion": EmbassyActivation::api_version(&()),
            "kind": EmbassyActivation::kind(&()),
            "name": managed.activation_name(),
            "uid": managed.uid(),
            "controller": true,
        })
    })
}

/// The Service by which a restore reaches the server, also while that is too busy to say that it is ready.
#[must_use]
pub fn internal_service(managed: &Managed<'_>, owner: Option<&Value>) -> Value {
    let names = managed.names();
    with_digest(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(managed, &names.internal, owner),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": names.selector(),
            "ports": [port()],
        },
    }))
}

/// The Service by which applications reach it: one without a selector has no endpoints. There is one server, and nobody is helped by being turned
/// away from it while it is too busy to say that it is ready.
#[must_use]
pub fn public_service(managed: &Managed<'_>, public: Public) -> Value {
    let names = managed.names();
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(managed, &names.public, None),
        "spec": {"type": "ClusterIP", "publishNotReadyAddresses": true, "ports": [port()]},
    });
    if public == Public::Open {
        service["spec"]["selector"] = names.selector();
    }
    with_digest(service)
}

fn port() -> Value {
    json!({"name": PORT, "port": database::PORT, "targetPort": PORT, "protocol": "TCP"})
}

/// The server calls nobody. It is called by the pod that restores into it, and later by the one that mirrors it, and by nobody else.
#[must_use]
pub fn restore_policy(managed: &Managed<'_>, owner: Option<&Value>) -> Value {
    let names = managed.names();
    let mut restores = json!({});
    restores[DATABASE] = names.instance.clone().into();
    policy(
        managed,
        &names.restore_policy,
        owner,
        &json!({
            "podSelector": {"matchLabels": names.selector()},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": restores}}], "ports": [allowed()]}],
            "egress": [],
        }),
    )
}

/// Applications of the same namespace may call it. Policies add up: whoever lets others in makes another one. Once they are shut out it lets
/// nobody in.
#[must_use]
pub fn public_policy(managed: &Managed<'_>, public: Public) -> Value {
    let names = managed.names();
    let ingress = match public {
        Public::Open => json!([{"from": [{"podSelector": {}}], "ports": [allowed()]}]),
        Public::Closed | Public::Shut => json!([]),
    };
    policy(
        managed,
        &names.public_policy,
        None,
        &json!({
            "podSelector": {"matchLabels": names.selector()},
            "policyTypes": ["Ingress"],
            "ingress": ingress,
        }),
    )
}

fn policy(managed: &Managed<'_>, name: &str, owner: Option<&Value>, spec: &Value) -> Value {
    with_digest(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(managed, name, owner),
        "spec": spec,
    }))
}

fn allowed() -> Value {
    json!({"protocol": "TCP", "port": database::PORT})
}

/// What makes the pod and its volume.
///
/// Once applications are served nobody restarts the server but people: another template is taken when its pod is deleted.
#[must_use]
pub fn stateful_set(managed: &Managed<'_>, replicas: Replicas, public: Public, settings: &Settings) -> Value {
    let names = managed.names();
    let (mode, spec) = (managed.activation.spec.mode, managed.spec);
    let mut claim = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": spec.storage}},
    });
    if let Some(class) = &spec.storage_class {
        claim["storageClassName"] = class.clone().into();
    }
    with_digest(json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(managed, &names.internal, rehearsal(managed).as_ref()),
        "spec": {
            "replicas": u8::from(replicas == Replicas::One),
            "serviceName": names.internal,
            "selector": {"matchLabels": names.selector()},
            // A pod that never comes up is replaced when the template is mended.
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": if public == Public::Open { "OnDelete" } else { "RollingUpdate" }},
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": if mode == ActivationMode::Rehearse { "Delete" } else { "Retain" },
                "whenScaled": "Retain",
            },
            "template": template(managed, public, settings),
            "volumeClaimTemplates": [{
                "metadata": {"name": VOLUME, "labels": names.labels(), "annotations": {MADE_FOR: managed.uid()}},
                "spec": claim,
            }],
        },
    }))
}

fn template(managed: &Managed<'_>, public: Public, settings: &Settings) -> Value {
    let names = managed.names();
    let sidecar = managed.registry.sidecar.clone().unwrap_or_default();
    let mut pod = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": database::USER,
            "runAsGroup": database::USER,
            "fsGroup": database::USER,
            // A registry has many files: they are given to the group once, not at each start.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(managed, public)],
        "volumes": [
            // The server wants its private key as a file of its own: a copy of it must not get onto the node's disk.
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": RUN_SIZE}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}},
            {"name": "secrets", "projected": {"defaultMode": workload::SECRET_MODE, "sources": sources(managed)}},
        ],
    });
    let pull_secrets = workload::pull_secrets(&sidecar.image_pull_secrets, &settings.pull_secrets);
    if !pull_secrets.is_empty() {
        pod["imagePullSecrets"] = pull_secrets.into();
    }
    let spec = managed.spec;
    if !spec.node_selector.is_empty() {
        pod["nodeSelector"] = json!(spec.node_selector);
    }
    if !spec.tolerations.is_empty() {
        pod["tolerations"] = json!(spec.tolerations);
    }
    if let Some(class) = &spec.priority_class_name {
        pod["priorityClassName"] = class.clone().into();
    }
    json!({
        "metadata": {
            "labels": names.labels(),
            "annotations": {"kubectl.kubernetes.io/default-container": CONTAINER},
        },
        "spec": pod,
    })
}

/// The superuser, and the certificate of whichever Secret has it. They may be missing: the script says which, and a status shows it.
fn sources(managed: &Managed<'_>) -> Value {
    let names = managed.names();
    let source = |secret: &str, keys: [&str; 2]| {
        let items = keys.map(|key| json!({"key": key, "path": key}));
        json!({"secret": {"name": secret, "optional": true, "items": items}})
    };
    json!([
        source(&names.superuser, ["username", "password"]),
        source(&names.authority, ["tls.crt", "tls.key"]),
    ])
}

fn container(managed: &Managed<'_>, public: Public) -> Value {
    let spec = managed.spec;
    let resources = workload::resources(spec.resources.as_ref(), AMOUNTS);
    let limit = resources["limits"]["memory"].as_str().unwrap_or(AMOUNTS.limit);
    let mut variables = vec![
        json!({"name": database::SHARED_BUFFERS_VARIABLE, "value": part(limit, 4, (16, 8192))}),
        json!({"name": database::MAX_WAL_SIZE_VARIABLE, "value": part(&spec.storage, 8, (64, 4096))}),
    ];
    if public == Public::Shut {
        variables.push(json!({"name": database::SHUT_VARIABLE, "value": "yes"}));
    }
    let probe = |period: u32, failures: u32| {
        json!({
            "exec": {"command": ["/bin/sh", "-ceu", database::READY_SCRIPT]},
            "periodSeconds": period,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        })
    };
    json!({
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": match spec.image_pull_policy {
            PullPolicy::Always => "Always",
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Never => "Never",
        },
        "command": ["/bin/sh", "-ceu", database::SCRIPT],
        "env": variables,
        "ports": [{"name": PORT, "containerPort": database::PORT, "protocol": "TCP"}],
        // No liveness probe: a server that is slow, or recovers, does not come up sooner by being killed.
        "startupProbe": probe(1, START_SECONDS),
        "readinessProbe": probe(5, 3),
        // What the script ends with is read in the resource's status.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": resources,
        "securityContext": workload::confined(),
        "volumeMounts": [
            {"name": VOLUME, "mountPath": database::DATA_DIR},
            {"name": "run", "mountPath": database::RUN_DIR},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
            {"name": "secrets", "mountPath": database::SECRET_DIR, "readOnly": true},
        ],
    })
}

/// One of so many parts of an amount, within bounds in MB. A quarter of the memory is what a server that has it to itself is usually given for
/// its own cache; an eighth of the volume for the write-ahead log fills no small one, and spares a large one a checkpoint for each gigabyte.
fn part(amount: &str, of: u128, (least, most): (u128, u128)) -> String {
    const MEBIBYTE: u128 = 1024 * 1024;
    let part = quantity(amount).unwrap_or_default() / 1000 / of / MEBIBYTE;
    format!("{}MB", part.clamp(least, most))
}

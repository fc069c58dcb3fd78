//! The sidecar's Deployment: one pod under the restricted Pod Security Standard, without a token.

use dataembassy_contract::config;
use dataembassy_contract::files::{self, METRICS_PORT, STATUS_PORT};
use dataembassy_crds::{ResourceAmounts, SecretRef};
use serde_json::{Value, json};

use super::metadata;
use crate::apply::with_digest;
use crate::mirror::names;
use crate::mirror::rollout::TEMPLATE_DIGEST;
use crate::mirror::validate::{Checked, Secrets};
use crate::settings::Settings;

/// The user and group that the sidecar runs as.
const USER: u32 = 65_532;
/// Secrets are readable by the pod's group only.
const SECRET_MODE: u32 = 0o440;
/// The default of `spec.sidecar.scratchSize`.
const SCRATCH_SIZE: &str = "1Gi";

pub(super) fn build(checked: &Checked, settings: &Settings) -> Value {
    let mirror = &checked.config.mirror.name;
    let mut template = json!({
        "metadata": {
            "labels": names::labels(mirror),
            "annotations": {"kubectl.kubernetes.io/default-container": "sidecar"},
        },
        "spec": pod(checked, settings),
    });
    if let Some(ca) = &settings.otlp_ca {
        template["metadata"]["annotations"][names::OTLP_CA_DIGEST] = config::digest(ca.as_bytes()).into();
    }
    let mut metadata = metadata(checked);
    metadata["annotations"][TEMPLATE_DIGEST] = config::digest(template.to_string().as_bytes()).into();
    with_digest(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": i32::from(checked.runs),
            "revisionHistoryLimit": 2,
            // Two sidecars of one mirror would only race for the same entry.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": names::selector(mirror)},
            "template": template,
        },
    }))
}

fn pod(checked: &Checked, settings: &Settings) -> Value {
    let sidecar = &checked.sidecar;
    let mut pod = json!({
        "serviceAccountName": names::object(&checked.config.mirror.name),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(checked, settings)],
        "volumes": [
            {"name": "config", "projected": {"defaultMode": SECRET_MODE, "sources": sources(checked, settings)}},
            {"name": "scratch", "emptyDir": {"sizeLimit": sidecar.scratch_size.as_deref().unwrap_or(SCRATCH_SIZE)}},
        ],
    });
    if !sidecar.node_selector.is_empty() {
        pod["nodeSelector"] = json!(sidecar.node_selector);
    }
    if !sidecar.tolerations.is_empty() {
        pod["tolerations"] = json!(sidecar.tolerations);
    }
    let pull_secrets = pull_secrets(&sidecar.image_pull_secrets, &settings.pull_secrets);
    if !pull_secrets.is_empty() {
        pod["imagePullSecrets"] = pull_secrets.into();
    }
    pod
}

fn container(checked: &Checked, settings: &Settings) -> Value {
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": "status"},
            "periodSeconds": period,
            "timeoutSeconds": 2,
            "failureThreshold": failures,
        })
    };
    let mut container = json!({
        "name": "sidecar",
        "image": settings.sidecar_image,
        "imagePullPolicy": settings.pull_policy,
        "args": ["mirror", "--config-dir", files::CONFIG_DIR],
        "ports": [
            {"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        // A run must not die because the node was slow: only a process that is stuck for two minutes is restarted.
        "livenessProbe": probe("/livez", 20, 6),
        "readinessProbe": probe("/readyz", 10, 3),
        "resources": resources(checked),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": files::CONFIG_DIR, "readOnly": true},
            {"name": "scratch", "mountPath": "/tmp"},
        ],
    });
    if let Some(endpoint) = &settings.otlp_endpoint {
        container["env"] = collector(endpoint, settings.otlp_ca.is_some()).into();
    }
    container
}

/// Where the sidecar's traces go, in the variables that it reads.
fn collector(endpoint: &str, has_ca: bool) -> Vec<Value> {
    let mut variables = vec![json!({"name": files::OTLP_ENDPOINT_VARIABLE, "value": endpoint})];
    if has_ca {
        let path = format!("{}/{}", files::CONFIG_DIR, files::OTLP_CA);
        variables.push(json!({"name": files::OTLP_CERTIFICATE_VARIABLE, "value": path}));
    }
    variables
}

fn resources(checked: &Checked) -> Value {
    let given = checked.sidecar.resources.clone().unwrap_or_default();
    let limits = given.limits.unwrap_or_default();
    let limit = limits.memory.clone().unwrap_or_else(|| "192Mi".to_owned());
    let requests = given.requests.unwrap_or_default();
    let requests = ResourceAmounts {
        cpu: Some(requests.cpu.unwrap_or_else(|| "50m".to_owned())),
        // A request above the limit is refused, so a lowered limit lowers the default request.
        memory: Some(requests.memory.unwrap_or_else(|| {
            if limits.memory.is_some() {
                limit.clone()
            } else {
                "96Mi".to_owned()
            }
        })),
    };
    let limits = ResourceAmounts {
        cpu: limits.cpu,
        memory: Some(limit),
    };
    json!({"requests": requests, "limits": limits})
}

/// Configuration and Secrets in one volume, which the kubelet swaps as one. Secrets may be missing: the sidecar says which.
fn sources(checked: &Checked, settings: &Settings) -> Vec<Value> {
    let Secrets {
        deposit,
        database,
        database_ca,
        signing,
    } = &checked.secrets;
    let secret = |name: &str, paths: &[&str]| {
        let items: Vec<Value> = paths
            .iter()
            .map(|path| json!({"key": path.rsplit('/').next().unwrap_or_default(), "path": path}))
            .collect();
        json!({"secret": {"name": name, "optional": true, "items": items}})
    };
    let mut items = vec![json!({"key": files::CONFIG_FILE, "path": files::CONFIG_FILE})];
    if settings.otlp_ca.is_some() {
        items.push(json!({"key": names::OTLP_CA, "path": files::OTLP_CA}));
    }
    vec![
        json!({"configMap": {"name": names::object(&checked.config.mirror.name), "items": items}}),
        secret(
            deposit,
            &[files::DEPOSIT_ACCESS_KEY_ID, files::DEPOSIT_SECRET_ACCESS_KEY],
        ),
        secret(
            database,
            &[
                files::DATABASE_USERNAME,
                files::DATABASE_PASSWORD,
                files::DATABASE_CERTIFICATE,
                files::DATABASE_CERTIFICATE_KEY,
            ],
        ),
        secret(database_ca, &[files::DATABASE_CA]),
        secret(signing, &[files::SIGNING_KEY]),
    ]
}

/// The mirror's own pull secrets and the operator's, each once.
fn pull_secrets(own: &[SecretRef], common: &[String]) -> Vec<Value> {
    let mut names: Vec<&str> = own.iter().map(|secret| secret.name.as_str()).collect();
    for name in common {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| json!({"name": name})).collect()
}

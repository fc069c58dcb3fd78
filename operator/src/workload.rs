//! A pod of ours, under the restricted Pod Security Standard and without a token: what all of them have in common. Pure.

use std::collections::BTreeMap;

use dataembassy_contract::config;
use dataembassy_contract::files::{self, METRICS_PORT, STATUS_PORT};
use dataembassy_crds::{ResourceAmounts, Resources, SecretRef, Toleration};
use serde_json::{Value, json};

use crate::apply::quantity;
use crate::labels::{OTLP_CA, OTLP_CA_DIGEST};
use crate::settings::Settings;

/// The user and group that our processes run as.
const USER: u32 = 65_532;
/// Secrets are readable by the pod's group only.
pub(crate) const SECRET_MODE: u32 = 0o440;

/// What differs from one of our pods to another.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// The container's name.
    pub container: &'a str,
    /// The subcommand that it runs.
    pub command: &'a str,
    /// The identity.
    pub service_account: &'a str,
    /// The `ConfigMap` with its configuration.
    pub config_map: &'a str,
    /// Its Secrets: names, and the files that their keys become.
    pub secrets: &'a [(&'a str, &'a [&'a str])],
    /// Ports beside those for state and metrics: name and number.
    pub ports: &'a [(&'a str, u16)],
    /// How much of `/tmp` it may fill; it has none if absent.
    pub scratch_size: Option<&'a str>,
    /// Processor and memory that were asked for.
    pub resources: Option<&'a Resources>,
    /// What it gets where nothing was asked for.
    pub amounts: Amounts,
    /// Labels that the node must have.
    pub node_selector: &'a BTreeMap<String, String>,
    /// Taints that the pod bears.
    pub tolerations: &'a [Toleration],
    /// Secrets with which the image is pulled, beside the operator's own.
    pub pull_secrets: &'a [SecretRef],
    /// How long the process has to end, in seconds.
    pub grace_seconds: u32,
    /// Volumes that come and go with the pod, beside configuration and scratch space.
    pub volumes: &'a [Volume<'a>],
    /// Which of them our container has.
    pub mounts: &'a [Mount<'a>],
    /// What runs beside it, if anything does.
    pub companion: Option<Companion<'a>>,
}

/// A volume that comes and goes with the pod.
#[derive(Clone, Copy, Debug)]
pub struct Volume<'a> {
    /// Its name.
    pub name: &'a str,
    /// The most that it may hold: the kubelet evicts a pod with more in it.
    pub size_limit: &'a str,
}

/// Where a container has one of the volumes.
#[derive(Clone, Copy, Debug)]
pub struct Mount<'a> {
    /// The volume's name.
    pub volume: &'a str,
    /// The folder.
    pub path: &'a str,
}

/// A container of somebody else's image that runs beside ours from before it begins until it has ended (a native sidecar). It has neither
/// our configuration nor a Secret, no variable and no port, and it is as confined as ours.
#[derive(Clone, Copy, Debug)]
pub struct Companion<'a> {
    /// The container's name.
    pub container: &'a str,
    /// Its image.
    pub image: &'a str,
    /// When the kubelet pulls it: `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: &'a str,
    /// What it runs.
    pub command: &'a [&'a str],
    /// The user that it runs as; its group is the pod's.
    pub user: i64,
    /// Processor and memory that were asked for.
    pub resources: Option<&'a Resources>,
    /// What it gets where nothing was asked for.
    pub amounts: Amounts,
    /// The volumes that it has.
    pub mounts: &'a [Mount<'a>],
}

/// What a container gets where nothing was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Amounts {
    /// Processors that it is promised.
    pub cpu: &'static str,
    /// Memory that it is promised.
    pub memory: &'static str,
    /// Memory that it never gets more of.
    pub limit: &'static str,
    /// Processors that it never gets more of; none where its share among its neighbours is bound enough.
    pub processors: Option<&'static str>,
}

impl Workload<'_> {
    /// The pod's template, with `labels`.
    #[must_use]
    pub fn template(&self, labels: &Value, settings: &Settings) -> Value {
        let mut template = json!({
            "metadata": {
                "labels": labels,
                "annotations": {"kubectl.kubernetes.io/default-container": self.container},
            },
            "spec": self.pod(settings),
        });
        if let Some(ca) = &settings.otlp_ca {
            template["metadata"]["annotations"][OTLP_CA_DIGEST] = config::digest(ca.as_bytes()).into();
        }
        template
    }

    fn pod(&self, settings: &Settings) -> Value {
        let mut volumes = vec![
            json!({"name": "config", "projected": {"defaultMode": SECRET_MODE, "sources": self.sources(settings)}}),
        ];
        if let Some(size) = self.scratch_size {
            volumes.push(json!({"name": "scratch", "emptyDir": {"sizeLimit": size}}));
        }
        volumes.extend(
            self.volumes
                .iter()
                .map(|volume| json!({"name": volume.name, "emptyDir": {"sizeLimit": volume.size_limit}})),
        );
        let mut pod = json!({
            "serviceAccountName": self.service_account,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": self.grace_seconds,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self.container(settings)],
            "volumes": volumes,
        });
        if let Some(companion) = &self.companion {
            pod["initContainers"] = json!([companion.container()]);
        }
        if !self.node_selector.is_empty() {
            pod["nodeSelector"] = json!(self.node_selector);
        }
        if !self.tolerations.is_empty() {
            pod["tolerations"] = json!(self.tolerations);
        }
        let pull_secrets = pull_secrets(self.pull_secrets, &settings.pull_secrets);
        if !pull_secrets.is_empty() {
            pod["imagePullSecrets"] = pull_secrets.into();
        }
        pod
    }

    fn container(&self, settings: &Settings) -> Value {
        let probe = |path: &str, period: u32, failures: u32| {
            json!({
                "httpGet": {"path": path, "port": "status"},
                "periodSeconds": period,
                "timeoutSeconds": 2,
                "failureThreshold": failures,
            })
        };
        let mut ports = vec![
            json!({"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"}),
            json!({"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}),
        ];
        for (name, port) in self.ports {
            ports.push(json!({"name": name, "containerPort": port, "protocol": "TCP"}));
        }
        let mut mounts = vec![json!({"name": "config", "mountPath": files::CONFIG_DIR, "readOnly": true})];
        if self.scratch_size.is_some() {
            mounts.push(json!({"name": "scratch", "mountPath": "/tmp"}));
        }
        mounts.extend(self.mounts.iter().map(Mount::json));
        let mut container = json!({
            "name": self.container,
            "image": settings.sidecar_image,
            "imagePullPolicy": settings.pull_policy,
            "args": [self.command, "--config-dir", files::CONFIG_DIR],
            "ports": ports,
            // Work must not die because the node was slow: only a process that is stuck for two minutes is restarted.
            "livenessProbe": probe("/livez", 20, 6),
            "readinessProbe": probe("/readyz", 10, 3),
            "resources": resources(self.resources, self.amounts),
            "securityContext": confined(),
            "volumeMounts": mounts,
        });
        if let Some(endpoint) = &settings.otlp_endpoint {
            container["env"] = collector(endpoint, settings.otlp_ca.is_some()).into();
        }
        container
    }

    /// Configuration and Secrets in one volume, which the kubelet swaps as one. Secrets may be missing: the process says which.
    fn sources(&self, settings: &Settings) -> Vec<Value> {
        let mut items = vec![json!({"key": files::CONFIG_FILE, "path": files::CONFIG_FILE})];
        if settings.otlp_ca.is_some() {
            items.push(json!({"key": OTLP_CA, "path": files::OTLP_CA}));
        }
        let mut sources = vec![json!({"configMap": {"name": self.config_map, "items": items}})];
        sources.extend(self.secrets.iter().map(|(name, paths)| {
            let items: Vec<Value> = paths
                .iter()
                .map(|path| json!({"key": path.rsplit('/').next().unwrap_or_default(), "path": path}))
                .collect();
            json!({"secret": {"name": name, "optional": true, "items": items}})
        }));
        sources
    }
}

impl Mount<'_> {
    fn json(&self) -> Value {
        json!({"name": self.volume, "mountPath": self.path})
    }
}

impl Companion<'_> {
    fn container(&self) -> Value {
        let mounts: Vec<Value> = self.mounts.iter().map(Mount::json).collect();
        let mut security = confined();
        security["runAsUser"] = self.user.into();
        json!({
            "name": self.container,
            "image": self.image,
            "imagePullPolicy": self.pull_policy,
            "command": self.command,
            // What makes it a native sidecar: it is started before ours, restarted if it ends, and stopped after ours.
            "restartPolicy": "Always",
            "resources": resources(self.resources, self.amounts),
            "securityContext": security,
            "volumeMounts": mounts,
        })
    }
}

/// What a container may do to the node: nothing.
pub(crate) fn confined() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

/// The contents of the `ConfigMap` that [`Workload`] mounts.
#[must_use]
pub fn config_data(document: &str, settings: &Settings) -> Value {
    let mut data = json!({});
    data[files::CONFIG_FILE] = document.into();
    if let Some(ca) = &settings.otlp_ca {
        data[OTLP_CA] = ca.clone().into();
    }
    data
}

/// Where the process's traces go, in the variables that it reads.
fn collector(endpoint: &str, has_ca: bool) -> Vec<Value> {
    let mut variables = vec![json!({"name": files::OTLP_ENDPOINT_VARIABLE, "value": endpoint})];
    if has_ca {
        let path = format!("{}/{}", files::CONFIG_DIR, files::OTLP_CA);
        variables.push(json!({"name": files::OTLP_CERTIFICATE_VARIABLE, "value": path}));
    }
    variables
}

pub(crate) fn resources(given: Option<&Resources>, amounts: Amounts) -> Value {
    let given = given.cloned().unwrap_or_default();
    let limits = given.limits.unwrap_or_default();
    let limit = limits.memory.clone().unwrap_or_else(|| amounts.limit.to_owned());
    let requests = given.requests.unwrap_or_default();
    let requests = ResourceAmounts {
        cpu: Some(requests.cpu.unwrap_or_else(|| amounts.cpu.to_owned())),
        // A request above the limit is refused, so a lowered limit lowers the default request.
        memory: Some(requests.memory.unwrap_or_else(|| {
            if limits.memory.is_some() {
                limit.clone()
            } else {
                amounts.memory.to_owned()
            }
        })),
    };
    let bound = amounts.processors.map(|most| match requests.cpu.as_deref() {
        Some(asked) if quantity(asked) > quantity(most) => asked,
        _ => most,
    });
    let limits = ResourceAmounts {
        cpu: limits.cpu.or_else(|| bound.map(str::to_owned)),
        memory: Some(limit),
    };
    json!({"requests": requests, "limits": limits})
}

/// The resource's own pull secrets and the operator's, each once.
pub(crate) fn pull_secrets(own: &[SecretRef], common: &[String]) -> Vec<Value> {
    let mut names: Vec<&str> = own.iter().map(|secret| secret.name.as_str()).collect();
    for name in common {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| json!({"name": name})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMOUNTS: Amounts = Amounts {
        cpu: "50m",
        memory: "96Mi",
        limit: "192Mi",
        processors: Some("2"),
    };

    #[test]
    fn who_asks_for_more_processors_than_the_bound_is_bound_to_those() {
        for (requests, limits, bound) in [
            (json!({}), json!({}), "2"),
            (json!({"cpu": "500m"}), json!({}), "2"),
            (json!({"cpu": "2000m"}), json!({}), "2"),
            (json!({"cpu": "2500m"}), json!({}), "2500m"),
            (json!({"cpu": "3"}), json!({"cpu": "4"}), "4"),
        ] {
            let given = json!({"requests": requests, "limits": limits});
            let given: Resources = serde_json::from_value(given).unwrap();
            let found = resources(Some(&given), AMOUNTS);
            assert_eq!(found["limits"]["cpu"], bound, "{requests} {limits}");
        }
        let unbound = Amounts {
            processors: None,
            ..AMOUNTS
        };
        assert!(resources(None, unbound)["limits"]["cpu"].is_null());
    }

    #[test]
    fn a_limit_of_memory_that_is_lowered_lowers_what_is_asked_for() {
        let of = |given: Value| {
            let given: Resources = serde_json::from_value(given).unwrap();
            let found = resources(Some(&given), AMOUNTS);
            [
                found["requests"]["memory"].clone(),
                found["limits"]["memory"].clone(),
            ]
        };
        assert_eq!(of(json!({})), ["96Mi", "192Mi"]);
        assert_eq!(of(json!({"limits": {"memory": "64Mi"}})), ["64Mi", "64Mi"]);
        assert_eq!(of(json!({"requests": {"memory": "128Mi"}})), ["128Mi", "192Mi"]);
    }

    #[test]
    fn a_secret_for_pulling_images_is_named_once() {
        let own = [SecretRef {
            name: "own".to_owned(),
        }];
        let common = ["common".to_owned(), "own".to_owned()];
        assert_eq!(
            pull_secrets(&own, &common),
            [json!({"name": "own"}), json!({"name": "common"})]
        );
    }
}

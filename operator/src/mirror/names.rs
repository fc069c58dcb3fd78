//! The names and labels of what is made for a mirror.

use serde_json::{Value, json};

/// The label selector of everything that the operator makes.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=dataembassy-operator";
/// The annotation of a pod that holds the digest of its newest configuration: changing it brings the kubelet to refresh the volume.
pub const CONFIG_DIGEST: &str = "dataembassy.io/config-digest";

/// The annotation of a pod's template that moves with the collector's authorities, which a process reads when it starts.
pub const OTLP_CA_DIGEST: &str = "dataembassy.io/otlp-ca-digest";
/// The key of the collector's authorities in a mirror's `ConfigMap`.
pub const OTLP_CA: &str = "otlp-ca.crt";

/// The name of a mirror's Deployment, `ConfigMap`, `ServiceAccount` and `NetworkPolicy`.
#[must_use]
pub fn object(mirror: &str) -> String {
    format!("{mirror}-mirror")
}

/// The name of the Secret that a mirror's signing key is put into.
#[must_use]
pub fn signing_key(mirror: &str) -> String {
    format!("{mirror}-signing-key")
}

/// The labels by which a mirror's pods are chosen; they can never change.
#[must_use]
pub fn selector(mirror: &str) -> Value {
    json!({
        "app.kubernetes.io/name": "dataembassy",
        "app.kubernetes.io/component": "mirror",
        "app.kubernetes.io/instance": mirror,
    })
}

/// All labels of what is made for a mirror.
#[must_use]
pub fn labels(mirror: &str) -> Value {
    let mut labels = selector(mirror);
    labels["app.kubernetes.io/managed-by"] = "dataembassy-operator".into();
    labels
}

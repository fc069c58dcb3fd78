//! Labels and annotations of what the operator makes.

use serde_json::{Value, json};

/// The annotation that holds the UID of the activation that an object was made for, and that it outlives.
pub const MADE_FOR: &str = "dataembassy.io/made-for";
/// The label of a `RegistryRestore`, and then of its pod, that lets it into the managed database of this name; of a mirror's pod as well.
pub const DATABASE: &str = "dataembassy.io/database";
/// The label by which the store's own policy knows which pods of other namespaces may reach it.
pub const STORE_ACCESS: &str = "dataembassy.io/store-access";
/// The label that says what an object is a part of.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// The label selector of everything that the operator makes.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=dataembassy-operator";
/// The label that names the resource that an object was made for.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// The annotation of a pod that holds the digest of its newest configuration: changing it brings the kubelet to refresh the volume.
pub const CONFIG_DIGEST: &str = "dataembassy.io/config-digest";
/// The annotation of a pod's template that moves with the collector's authorities, which a process reads when it starts.
pub const OTLP_CA_DIGEST: &str = "dataembassy.io/otlp-ca-digest";
/// The key of the collector's authorities in a `ConfigMap`.
pub const OTLP_CA: &str = "otlp-ca.crt";

/// The labels by which pods are chosen; they can never change.
#[must_use]
pub fn selector(component: &str, instance: &str) -> Value {
    json!({
        "app.kubernetes.io/name": "dataembassy",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/instance": instance,
    })
}

/// All labels of an object.
#[must_use]
pub fn labels(component: &str, instance: &str) -> Value {
    let mut labels = selector(component, instance);
    labels["app.kubernetes.io/managed-by"] = "dataembassy-operator".into();
    labels
}

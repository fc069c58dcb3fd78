//! Builds the objects of a mirror from checked values. Pure, and it cannot fail.

mod deployment;
mod network_policy;

use dataembassy_contract::config::{self, MirrorConfig};
use serde_json::{Value, json};

use crate::apply::with_digest;
use crate::mirror::names;
use crate::mirror::validate::Checked;
use crate::settings::Settings;
use crate::workload::config_data;

/// The objects as they should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// An identity without a token and without a right.
    pub service_account: Value,
    /// The configuration.
    pub config_map: Value,
    /// What the pod may reach, and who may reach it.
    pub network_policy: Value,
    /// The sidecar.
    pub deployment: Value,
    /// The digest of the configuration without its floor: what the kubelet is called for. The floor moves with each copy, and the
    /// sidecar that made the copy knows it.
    pub config_digest: String,
}

/// Builds everything for one mirror.
#[must_use]
pub fn build(checked: &Checked, settings: &Settings) -> Desired {
    let mut config = checked.config.clone();
    let config_digest = config::digest(document(&config).as_bytes());
    config.floor.clone_from(&checked.floor);
    Desired {
        service_account: service_account(checked),
        config_map: config_map(checked, &document(&config), settings),
        network_policy: network_policy::build(checked, settings),
        deployment: deployment::build(checked, settings),
        config_digest,
    }
}

fn document(config: &MirrorConfig) -> String {
    // Plain structs of texts and numbers: there is nothing in them that JSON cannot hold.
    config.to_json().unwrap_or_default()
}

/// Name, labels and owner of an object of this mirror.
fn metadata(checked: &Checked) -> Value {
    let mirror = &checked.config.mirror;
    json!({
        "name": names::object(&mirror.name),
        "namespace": mirror.namespace,
        "labels": names::labels(&mirror.name),
        "ownerReferences": [{
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "RegistryMirror",
            "name": mirror.name,
            "uid": mirror.uid,
            "controller": true,
        }],
    })
}

fn service_account(checked: &Checked) -> Value {
    with_digest(json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(checked),
        "automountServiceAccountToken": false,
    }))
}

fn config_map(checked: &Checked, document: &str, settings: &Settings) -> Value {
    with_digest(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(checked),
        "data": config_data(document, settings),
    }))
}

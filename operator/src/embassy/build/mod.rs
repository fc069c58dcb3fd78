//! Builds the objects of an embassy's standing half from checked values. Pure, and it cannot fail.
//!
//! None of them has an owner: a `DataEmbassy` that vanished must not take the door of the store with it. They are ours by their labels,
//! in the operator's own namespace.

mod deployment;
mod gate_service;
mod network_policy;

use serde_json::{Value, json};

use crate::apply::with_digest;
use crate::embassy::configuration::Documents;
use crate::embassy::names::Part;
use crate::embassy::standing::Standing;
use crate::embassy::validate::CheckedEmbassy;
use crate::settings::Settings;
use crate::workload::config_data;

/// The objects of one of the two processes, as they should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// An identity without a token and without a right.
    pub service_account: Value,
    /// The configuration.
    pub config_map: Value,
    /// What the pods may reach, and who may reach them.
    pub network_policy: Value,
    /// What makes the pods.
    pub deployment: Value,
    /// The digest of the configuration that the kubelet is called for.
    pub config_digest: String,
}

/// Everything, as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The custodian.
    pub custodian: Objects,
    /// The gate.
    pub gate: Objects,
    /// How home reaches the gate.
    pub service: Value,
}

/// Where an object is for.
#[derive(Clone, Copy)]
struct Place<'a> {
    part: Part,
    embassy: &'a str,
    settings: &'a Settings,
}

/// Builds everything for the embassy called `embassy`.
#[must_use]
pub fn build(
    embassy: &str,
    checked: &CheckedEmbassy,
    standing: &Standing,
    documents: &Documents,
    settings: &Settings,
) -> Desired {
    let objects = |part: Part, document: &str, config_digest: String| {
        let place = Place {
            part,
            embassy,
            settings,
        };
        Objects {
            service_account: service_account(place),
            config_map: config_map(place, document),
            network_policy: network_policy::build(place, checked, standing),
            deployment: deployment::build(place, &standing.block),
            config_digest,
        }
    };
    Desired {
        custodian: objects(
            Part::Custodian,
            &documents.custodian_file(),
            documents.custodian_digest(),
        ),
        gate: objects(Part::Gate, &documents.gate_file(), documents.gate_digest()),
        service: gate_service::build(
            Place {
                part: Part::Gate,
                embassy,
                settings,
            },
            standing,
        ),
    }
}

/// Name and labels of an object.
fn metadata(place: Place<'_>) -> Value {
    json!({
        "name": place.part.object(place.embassy),
        "namespace": place.settings.namespace,
        "labels": place.part.labels(place.embassy),
    })
}

fn service_account(place: Place<'_>) -> Value {
    with_digest(json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(place),
        "automountServiceAccountToken": false,
    }))
}

fn config_map(place: Place<'_>, document: &str) -> Value {
    with_digest(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(place),
        "data": config_data(document, place.settings),
    }))
}

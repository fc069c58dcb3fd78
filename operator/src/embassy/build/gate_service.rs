//! The Service by which home reaches the gate.

use dataembassy_crds::ServiceType;
use serde_json::{Value, json};

use super::{Place, metadata};
use crate::apply::with_digest;
use crate::embassy::standing::Standing;

pub(super) fn build(place: Place<'_>, standing: &Standing) -> Value {
    let given = &standing.block.gate.service;
    let mut metadata = metadata(place);
    if !given.annotations.is_empty() {
        metadata["annotations"] = json!(given.annotations);
    }
    let type_ = match given.type_ {
        ServiceType::ClusterIp => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    let mut port =
        json!({"name": "gate", "port": standing.service_port, "targetPort": "gate", "protocol": "TCP"});
    if let Some(node_port) = given.node_port.filter(|_| given.type_ != ServiceType::ClusterIp) {
        port["nodePort"] = node_port.into();
    }
    with_digest(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": type_,
            "selector": place.part.selector(place.embassy),
            "ports": [port],
        },
    }))
}

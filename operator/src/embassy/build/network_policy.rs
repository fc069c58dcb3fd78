//! What custodian and gate may reach, and who may reach them.

use dataembassy_contract::files::GATE_PORT;
use serde_json::{Value, json};

use super::{Place, metadata};
use crate::apply::with_digest;
use crate::embassy::names::Part;
use crate::embassy::standing::Standing;
use crate::embassy::validate::CheckedEmbassy;
use crate::policy;

/// The gate is called by whoever reaches its Service, at its own port alone: who may pass is its business, not an address's. The custodian
/// is called by nobody but the operator. Both may resolve names, call the store, and send traces.
pub(super) fn build(place: Place<'_>, checked: &CheckedEmbassy, standing: &Standing) -> Value {
    let mut ingress = policy::ingress(place.settings);
    if place.part == Part::Gate {
        ingress.push(json!({"ports": [{"protocol": "TCP", "port": GATE_PORT}]}));
    }
    with_digest(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(place),
        "spec": {
            "podSelector": {"matchLabels": place.part.selector(place.embassy)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress(place, checked, standing),
        },
    }))
}

fn egress(place: Place<'_>, checked: &CheckedEmbassy, standing: &Standing) -> Vec<Value> {
    let mut rules = vec![
        policy::resolving(),
        policy::store(checked.store_port(), checked.networks()),
    ];
    if let Some((namespace, port)) = &standing.store_pods {
        rules.push(json!({
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}],
            "ports": [{"protocol": "TCP", "port": port}],
        }));
    }
    rules.extend(policy::collector(place.settings));
    rules
}

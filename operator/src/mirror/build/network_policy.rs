//! What the sidecar's pod may reach, and who may reach it.

use serde_json::{Value, json};

use super::metadata;
use crate::apply::with_digest;
use crate::mirror::names;
use crate::mirror::validate::Checked;
use crate::policy;
use crate::settings::Settings;

/// The pod may resolve names, call the database and the store, and send traces; the database is a port, and its own namespace.
pub(super) fn build(checked: &Checked, settings: &Settings) -> Value {
    let mirror = &checked.config.mirror.name;
    with_digest(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(checked),
        "spec": {
            "podSelector": {"matchLabels": names::selector(mirror)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": policy::ingress(settings),
            "egress": egress(checked, settings),
        },
    }))
}

fn egress(checked: &Checked, settings: &Settings) -> Vec<Value> {
    let mut rules = vec![
        policy::resolving(),
        // Policies see a pod's own port, which may differ from its Service's: within the namespace any port will do.
        json!({"to": [{"podSelector": {}}]}),
        policy::store(checked.store_port, &checked.store_networks),
    ];
    if let Some(postgresql) = &checked.config.source.postgresql {
        rules.push(json!({"ports": [{"protocol": "TCP", "port": postgresql.port}]}));
    }
    rules.extend(policy::collector(settings));
    rules
}

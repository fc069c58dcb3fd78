//! What the sidecar's pod may reach, and who may reach it.

use dataembassy_contract::files::{METRICS_PORT, STATUS_PORT};
use serde_json::{Value, json};

use super::metadata;
use crate::apply::with_digest;
use crate::mirror::names;
use crate::mirror::validate::Checked;
use crate::settings::Settings;

/// The operator may ask for the report, named namespaces for metrics. The pod may resolve names, call the database and the store, and
/// send traces; a policy knows no host names, so the database is a port, and its own namespace.
pub(super) fn build(checked: &Checked, settings: &Settings) -> Value {
    let mirror = &checked.config.mirror.name;
    with_digest(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(checked),
        "spec": {
            "podSelector": {"matchLabels": names::selector(mirror)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress(settings),
            "egress": egress(checked, settings),
        },
    }))
}

fn ingress(settings: &Settings) -> Vec<Value> {
    let mut rules = vec![json!({
        "from": [{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}},
            "podSelector": {"matchLabels": {
                "app.kubernetes.io/name": "dataembassy",
                "app.kubernetes.io/component": "operator",
            }},
        }],
        "ports": [{"protocol": "TCP", "port": STATUS_PORT}],
    })];
    if !settings.metrics_namespaces.is_empty() {
        rules.push(json!({
            "from": [{"namespaceSelector": {"matchExpressions": [{
                "key": "kubernetes.io/metadata.name",
                "operator": "In",
                "values": settings.metrics_namespaces,
            }]}}],
            "ports": [{"protocol": "TCP", "port": METRICS_PORT}],
        }));
    }
    rules
}

fn egress(checked: &Checked, settings: &Settings) -> Vec<Value> {
    let mut rules = vec![
        json!({"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}),
        // Policies see a pod's own port, which may differ from its Service's: within the namespace any port will do.
        json!({"to": [{"podSelector": {}}]}),
        store(checked),
    ];
    if let Some(postgresql) = &checked.config.source.postgresql {
        rules.push(json!({"ports": [{"protocol": "TCP", "port": postgresql.port}]}));
    }
    if let Some(port) = settings.otlp_endpoint.as_deref().and_then(port_of) {
        rules.push(json!({"ports": [{"protocol": "TCP", "port": port}]}));
    }
    rules
}

fn store(checked: &Checked) -> Value {
    let mut rule = json!({"ports": [{"protocol": "TCP", "port": checked.store_port}]});
    if !checked.store_networks.is_empty() {
        rule["to"] = checked
            .store_networks
            .iter()
            .map(|network| json!({"ipBlock": {"cidr": network}}))
            .collect();
    }
    rule
}

fn port_of(endpoint: &str) -> Option<u16> {
    dataembassy_contract::Endpoint::parse(endpoint, true)
        .ok()
        .map(|endpoint| endpoint.port())
}

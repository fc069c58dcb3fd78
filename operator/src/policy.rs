//! Rules of network policies that several of our pods share. A policy knows addresses, pods and ports, and no host names.

use dataembassy_contract::Endpoint;
use dataembassy_contract::files::{METRICS_PORT, STATUS_PORT};
use serde_json::{Value, json};

use crate::settings::Settings;

/// The operator may ask for the report, named namespaces for metrics.
#[must_use]
pub fn ingress(settings: &Settings) -> Vec<Value> {
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

/// Names may be resolved.
#[must_use]
pub fn resolving() -> Value {
    json!({"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]})
}

/// The store may be called at its port, within the networks that it may be in; anywhere where none are named.
#[must_use]
pub fn store(port: u16, networks: &[String]) -> Value {
    let mut rule = json!({"ports": [{"protocol": "TCP", "port": port}]});
    if !networks.is_empty() {
        rule["to"] = networks
            .iter()
            .map(|network| json!({"ipBlock": {"cidr": network}}))
            .collect();
    }
    rule
}

/// Traces may be sent, where there is a collector.
#[must_use]
pub fn collector(settings: &Settings) -> Option<Value> {
    let endpoint = Endpoint::parse(settings.otlp_endpoint.as_deref()?, true).ok()?;
    Some(json!({"ports": [{"protocol": "TCP", "port": endpoint.port()}]}))
}

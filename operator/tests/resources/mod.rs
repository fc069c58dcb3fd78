//! What the operator is started with, and resources as people write them, for both test programs: each adds what its own world needs.

use dataembassy_operator::settings::{Settings, Side};
use serde_json::{Value, json};

/// What the operator of a side is started with.
pub(crate) fn settings(side: Side) -> Settings {
    Settings {
        side,
        namespace: "dataembassy".to_owned(),
        sidecar_image: "sidecar@sha256:0000".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        pull_secrets: Vec::new(),
        metrics_namespaces: Vec::new(),
        otlp_endpoint: None,
        otlp_ca: None,
        status_port: 8080,
    }
}

/// The spec of an embassy as home sees it.
pub(crate) fn embassy_spec() -> Value {
    json!({
        "store": {"endpoint": "https://store.embassy.example:9000", "bucket": "registries"},
        "immutability": {},
        "recipients": [{"name": "ministry", "publicKey": "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"}]
    })
}

/// The spec of a mirror at home.
pub(crate) fn mirror_spec() -> Value {
    json!({
        "registry": {"id": "population"},
        "embassyRef": {"name": "luxembourg"},
        "depositCredentialsRef": {"name": "population-deposit"},
        "source": {"postgresql": {
            "host": "population-db", "database": "population",
            "tls": {"caRef": {"name": "db-ca"}}, "credentialsRef": {"name": "population-dump"}
        }},
        "schedule": {"cron": "*/15 * * * *", "timeZone": "Europe/Tallinn"},
        "objectives": {"rpo": "30m"}
    })
}

/// The spec of a restore at the embassy.
pub(crate) fn restore_spec() -> Value {
    json!({
        "registry": {"id": "population"},
        "embassyRef": {"name": "luxembourg"},
        "retrievalCredentialsRef": {"name": "population-retrieval"},
        "identityRef": {"name": "identity"},
        "target": {
            "host": "restored", "database": "population",
            "tls": {"caRef": {"name": "restored-ca"}}, "credentialsRef": {"name": "restored-owner"}
        }
    })
}

/// The spec of a drill at the embassy.
pub(crate) fn drill_spec() -> Value {
    json!({
        "registry": {"id": "population"},
        "embassyRef": {"name": "luxembourg"},
        "schedule": {"cron": "0 3 1 1 *", "timeZone": "UTC", "deadline": "2h"},
        "retrievalCredentialsRef": {"name": "population-retrieval"},
        "identityRef": {"name": "drill-identity"},
        "server": {"image": "postgres:17", "volumeSize": "10Gi"},
        "assertions": [{"name": "persons-are-there", "sql": "SELECT count(*) FROM population.persons", "within": {"atLeast": "1"}}]
    })
}

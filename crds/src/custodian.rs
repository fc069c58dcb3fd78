//! How the embassy's standing half runs: the custodian, and the gate in front of the store.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pod::{Resources, Toleration, node_selector_schema};
use crate::reference::SecretRef;

/// How the embassy's custodian and its gate run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Custodian {
    /// The Secret of the operator's namespace with the custody user of the store: keys `accessKeyId` and `secretAccessKey`.
    pub credentials_ref: SecretRef,
    /// The Secret of the operator's namespace with the Ed25519 key that signs custody entries: key `ssh-privatekey`, in OpenSSH form
    /// without a passphrase. Its public half belongs into `spec.custodianKeys`, here and at home.
    pub signer_ref: SecretRef,
    /// How copies are read back. Default: all of them within 7 days, at most 100Mi a second.
    #[serde(default)]
    pub verification: Verification,
    /// What the store can hold, for the forecast of `SpaceSufficient`. A whole number and one of Ki, Mi, Gi, Ti. Default: unknown, and
    /// nothing is forecast. Example: `10Ti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 8), regex(pattern = r"^[1-9][0-9]{0,5}(Ki|Mi|Gi|Ti)$"))]
    pub capacity: Option<String>,
    /// How old an object of a copy must be that no entry of the ledger names before it counts as left behind by a run that failed, is
    /// declared void, and is deleted after its lock: longer than `schedule.deadline` of every mirror at home, and at least `1h`. A whole
    /// number and one of s, m, h, d. Default: `7d`.
    #[serde(default = "default_sweep")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub sweep_after: String,
    /// How the store is probed for what it would let through without a gate. Default: it is not probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<StoreCheck>,
    /// Where the store's own pods are, if it runs in this cluster: network policies see pods, not the Service before them. Default:
    /// none, the store is reached at its endpoint's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_pods: Option<StorePods>,
    /// The gate: the only door of the store that home reaches.
    pub gate: Gate,
    /// Processor and memory of the custodian's container. Default: requests 20m and 48Mi, limit 128Mi of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels that the custodian's node must have, at most 16. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "node_selector_schema")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the custodian's pod bears, at most 16. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
}

fn default_sweep() -> String {
    "7d".to_owned()
}

/// How copies are read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Verification {
    /// Within this time every byte of every living copy is read back once and compared with the ledger. A whole number and one of s, m,
    /// h, d. Default: `7d`.
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub period: String,
    /// The most bytes a second that are read for it. A whole number and one of Ki, Mi, Gi, Ti. Default: `100Mi`.
    #[schemars(length(min = 3, max = 8), regex(pattern = r"^[1-9][0-9]{0,5}(Ki|Mi|Gi|Ti)$"))]
    pub rate: String,
}

impl Default for Verification {
    fn default() -> Self {
        Self {
            period: "7d".to_owned(),
            rate: "100Mi".to_owned(),
        }
    }
}

/// How the store is probed for what it would let through without a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreCheck {
    /// The Secret of the operator's namespace with a deposit user of the store that is made for this: keys `accessKeyId` and
    /// `secretAccessKey`. It is named `check-` and eight hex digits, and never a registry's.
    pub credentials_ref: SecretRef,
    /// How long after a check the next one begins. A whole number and one of s, m, h, d. Default: `7d`.
    #[serde(default = "default_interval")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub interval: String,
}

fn default_interval() -> String {
    "7d".to_owned()
}

/// Where the store's own pods are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorePods {
    /// Their namespace. Example: `store`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: String,
    /// The port that they listen on. Default: `9000`.
    #[serde(default = "default_store_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

fn default_store_port() -> i32 {
    9000
}

/// The gate: it holds no credentials, and lets through what home may do and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// How many gates there are, 1 to 4. Default: `2`.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 4))]
    pub replicas: i32,
    /// The Secret of the operator's namespace with the certificate that home sees: keys `tls.crt` and `tls.key`. A new one is loaded
    /// without a restart.
    pub tls_ref: SecretRef,
    /// How home reaches the gate. Default: a Service of type `ClusterIP`, port 443.
    #[serde(default)]
    pub service: GateService,
    /// Processor and memory of the gate's container. Default: requests 20m and 32Mi, limit 64Mi of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels that the gate's nodes must have, at most 16. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "node_selector_schema")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the gate's pods bear, at most 16. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
}

fn default_replicas() -> i32 {
    2
}

/// The Service in front of the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("!has(self.nodePort) || (has(self.type) && self.type != 'ClusterIP')")
        .message("nodePort needs type NodePort or LoadBalancer")
        .field_path(".nodePort")
)]
pub struct GateService {
    /// Its type. Default: `ClusterIP`.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// Its port. Default: `443`.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The port at each node, for the types `NodePort` and `LoadBalancer`. Default: the API server chooses one. Example: `30443`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,
    /// Annotations of the Service, at most 16: what a load balancer's controller wants to know. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations_schema")]
    pub annotations: BTreeMap<String, String>,
}

fn default_port() -> i32 {
    443
}

impl Default for GateService {
    fn default() -> Self {
        Self {
            type_: ServiceType::ClusterIp,
            port: default_port(),
            node_port: None,
            annotations: BTreeMap::new(),
        }
    }
}

fn annotations_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 1024, "description": "The annotation's value."},
        "x-kubernetes-map-type": "atomic",
    })
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// In the cluster only.
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// At a port of each node.
    NodePort,
    /// At an address that a load balancer gives.
    LoadBalancer,
}

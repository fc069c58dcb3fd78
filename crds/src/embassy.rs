//! `DataEmbassy`: the site abroad, as this cluster reaches it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::custodian::Custodian;
use crate::embassy_status::DataEmbassyStatus;

/// A site abroad, under the state's own control, that holds copies of registries: where its store is, whom copies are sealed to,
/// and how far they may go. Deleting it deletes no copy and stops nothing that runs.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dataembassy.io",
    version = "v1alpha1",
    kind = "DataEmbassy",
    plural = "dataembassies",
    singular = "dataembassy",
    shortname = "emb",
    category = "embassy",
    status = "DataEmbassyStatus",
    derive = "PartialEq",
    doc = "A site abroad, under the state's own control, that holds encrypted copies of registries: where its store is, whom copies are sealed to, how far they may go, and at the embassy itself how its custodian and gate run. Deleting it deletes no copy and stops nothing that runs: mirrors, custodian and gate go on with what was valid last, until their own objects are deleted.",
    printcolumn(name = "ENDPOINT", type_ = "string", json_path = ".spec.store.endpoint", description = "Where the store is."),
    printcolumn(name = "BUCKET", type_ = "string", json_path = ".spec.store.bucket", description = "The bucket that holds the copies."),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the resource is valid and, at the embassy, what it asks for runs."
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready, or not."
    ),
    printcolumn(
        name = "GATE",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="GateReady")].status"#,
        description = "At the embassy: whether home can send copies.",
        priority = 1
    ),
    printcolumn(
        name = "CUSTODIAN",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="CustodianReady")].status"#,
        description = "At the embassy: whether copies are being proven.",
        priority = 1
    ),
    printcolumn(name = "USED", type_ = "string", json_path = ".status.space.used", description = "At the embassy: how full the store is.", priority = 1),
    validation = kube::core::Rule::new("self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 63 characters"),
    validation = kube::core::Rule::new("!has(self.spec.custodian) || (self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]'))")
        .message("with spec.custodian, metadata.name must begin with a letter and have at most 40 characters: objects are named after it")
)]
#[serde(rename_all = "camelCase")]
pub struct DataEmbassySpec {
    /// The object store that holds the copies. Its address may change, and it may move with all that it holds; where it does not hold what
    /// mirrors and custodies know of their ledgers, they say `RolledBack`. For another store make another `DataEmbassy`, and mirrors for it.
    pub store: Store,
    /// What lock the bucket must give to every new object by itself. Home cannot shorten it, nor can anybody with home's credentials.
    pub immutability: Immutability,
    /// Whom copies are sealed to: 1 to 16 age public keys. Each of them alone opens a copy; their private halves are on neither
    /// cluster.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub recipients: Vec<Recipient>,
    /// Whose custody entries count: the keys of the embassy's custodian, at most 8. Default: none, so custody entries are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["publicKey"]))]
    pub custodian_keys: Vec<CustodianKey>,
    /// How far copies may go. Endpoints of commercial clouds are refused whatever is written here; this narrows further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sovereignty: Option<SovereigntySpec>,
    /// Who may order that registries are served from the embassy, the same at home and at the embassy: home believes no other order. Default:
    /// nobody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<ActivationOrder>,
    /// At the embassy: how its custodian and its gate run, in the operator's namespace. Default: none run. At home it means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custodian: Option<Custodian>,
}

/// An S3 bucket with versioning and Object Lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("self.endpoint.startsWith('https://') || (has(self.allowInsecure) && self.allowInsecure)")
        .message("endpoint must begin with https://; plain http needs allowInsecure: true, which is for tests only")
        .field_path(".endpoint")
)]
pub struct Store {
    /// At home the URL of the gate, at the embassy that of the store behind it: scheme, host and port, nothing else. `https`, unless
    /// `allowInsecure`. Example: `https://gate.embassy.example`.
    #[schemars(length(min = 8, max = 512), regex(pattern = r"^https?://[^\s/?#@]+/?$"))]
    pub endpoint: String,
    /// The bucket. Example: `registries`.
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$"))]
    pub bucket: String,
    /// The region that requests are signed for; most stores of one's own take any. Default: `us-east-1`.
    #[serde(default = "default_region")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z0-9-]+$"))]
    pub region: String,
    /// How requests name the bucket: in the path, or before the host. Default: `Path`.
    #[serde(default)]
    pub addressing: Addressing,
    /// The certificates, in PEM form, that may sign the store's: the embassy's own authority. At most 64 KiB. Default: those of the
    /// sidecar's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub ca_bundle: Option<String>,
    /// Lets plain `http://` endpoints through, for tests: whoever is on the line then sees sizes, names and times. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_insecure: bool,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

/// How requests name the bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Addressing {
    /// `https://host/bucket/key`.
    #[default]
    Path,
    /// `https://bucket.host/key`.
    VirtualHost,
}

/// The lock on every new object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Immutability {
    /// The Object Lock mode that the bucket's default retention must have. Default: `Compliance`.
    #[serde(default)]
    pub mode: LockMode,
    /// The least time that the bucket must lock a new object for. When half of it is left, the custodian
    /// locks the copies that are kept for as long again, and what is kept for ever, such as entries, for eight times as long. A whole number
    /// and one of s, m, h, d. Default: `14d`.
    #[serde(default = "default_lock")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub lock_on_arrival: String,
}

fn default_lock() -> String {
    "14d".to_owned()
}

/// The Object Lock modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LockMode {
    /// Nobody can shorten a lock or delete before it ends.
    #[default]
    Compliance,
    /// Users with a special right can.
    Governance,
}

/// Somebody who can open copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    /// Who holds the private half, for people. Example: `ministry`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The age public key, as `age-keygen -y` prints it. Never the private one. Example: `age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p`.
    // A rule and no pattern: a pattern's refusal says a regular expression, and the value, which may be a private key.
    #[schemars(length(min = 5, max = 4096))]
    #[x_kube(
        validation = kube::core::Rule::new("self.matches('^age1[a-z0-9]+$')")
            .message("publicKey must be an age public key, which begins with age1, as age-keygen -y prints it; never the private key")
    )]
    pub public_key: String,
}

/// A key of the custodian.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustodianKey {
    /// The public key in OpenSSH form. Example: `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…`.
    #[schemars(
        length(min = 20, max = 512),
        regex(pattern = r"^ssh-ed25519 [A-Za-z0-9+/=]+( [^\r\n]*)?$")
    )]
    pub public_key: String,
    /// Makes this a retired key: up to which custody entry of each registry it counts, at most 512 registries. Of a registry that is
    /// not named, none of its entries count. Default: none, the key is in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["registry"]))]
    pub retired: Vec<RetiredFor>,
}

/// Up to where a retired key counts for one registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetiredFor {
    /// The registry's id. Example: `population`.
    #[schemars(
        length(min = 3, max = 40),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub registry: String,
    /// The last custody entry that the key signed, 1 or more.
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub until_sequence: i64,
}

/// Who may order an activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("self.required <= self.approvers.size()")
        .message("activation.required must not be more than there are approvers")
        .field_path(".required")
)]
pub struct ActivationOrder {
    /// The approvers, 1 to 16. Each holds a key of their own, best on a machine that nothing is connected to.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub approvers: Vec<Approver>,
    /// How many of them must sign, 1 to 16. Example: `2`.
    #[schemars(range(min = 1, max = 16))]
    pub required: i32,
}

/// Somebody who may approve an activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approver {
    /// Who it is, for people. Example: `prime-minister`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The public key in OpenSSH form; it has no other role. Example: `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…`.
    #[schemars(
        length(min = 20, max = 512),
        regex(pattern = r"^ssh-ed25519 [A-Za-z0-9+/=]+( [^\r\n]*)?$")
    )]
    pub public_key: String,
}

/// How far copies may go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SovereigntySpec {
    /// The only host names that the store may have, at most 16. Default: any that is no commercial cloud's. Example:
    /// `[gate.embassy.example]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9.:_-]+$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allowed_hosts: Vec<String>,
    /// The only networks that the store's address may be in, at most 16, in CIDR form. It is checked at each connection, after the
    /// name was resolved, and the network policies of our pods name them: without them a policy lets out to the store's port at any address. Default:
    /// any but loopback, link-local and the like. Example: `[203.0.113.0/24]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 4, max = 64), regex(pattern = r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allowed_networks: Vec<String>,
}

//! `RegistryCustody`: one registry that the embassy has accepted.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::custody_status::RegistryCustodyStatus;
use crate::reference::EmbassyRef;

/// One registry whose copies an embassy takes in, proves and keeps.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dataembassy.io",
    version = "v1alpha1",
    kind = "RegistryCustody",
    plural = "registrycustodies",
    singular = "registrycustody",
    shortname = "custody",
    category = "embassy",
    status = "RegistryCustodyStatus",
    derive = "PartialEq",
    doc = "One registry whose copies this embassy takes in, proves and keeps: who signs them, how old the latest may be, how long they are kept. Its status says whether the registry is safe. Deleting it ends the acceptance of the registry, so that the gate takes nothing more for it, and deletes no copy.",
    printcolumn(name = "REGISTRY", type_ = "string", json_path = ".spec.registry.id", description = "The registry's id."),
    printcolumn(name = "LAST-COPY", type_ = "integer", json_path = ".status.lastCopy.sequence", description = "The number of the latest copy in the ledger."),
    printcolumn(name = "AGE", type_ = "date", json_path = ".status.lastCopy.takenAt", description = "How old the latest copy is."),
    printcolumn(
        name = "WITHIN-RPO",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="WithinRPO")].status"#,
        description = "Whether the latest copy is young enough."
    ),
    printcolumn(
        name = "INTACT",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Intact")].status"#,
        description = "Whether every byte of the living copies was read back and equals the ledger."
    ),
    printcolumn(
        name = "DRILLED",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Drilled")].status"#,
        description = "Whether a copy was restored and questioned."
    ),
    printcolumn(
        name = "LEDGER",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="LedgerSound")].status"#,
        description = "Whether the ledger is whole, in order, and signed by who may."
    ),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the custodian follows this resource's newest generation."
    ),
    validation = kube::core::Rule::new("self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 63 characters"),
    validation = kube::core::Rule::new("!has(oldSelf.status) || !has(oldSelf.status.sourceHead) || self.spec.embassyRef.name == oldSelf.spec.embassyRef.name")
        .message("spec.embassyRef is immutable once the ledger has an entry: make another RegistryCustody")
)]
#[serde(rename_all = "camelCase")]
pub struct RegistryCustodySpec {
    /// The embassy that keeps the registry. Immutable once the ledger has an entry.
    pub embassy_ref: EmbassyRef,
    /// Which registry this is.
    pub registry: CustodyRegistry,
    /// Who writes the registry's ledger in term 1: 1 to 16 keys, each with the entries that it may sign. It is what the mirror at home
    /// shows as `status.signer`; compare it over a second channel. An entry that another key signed does not count, and is an alarm.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["publicKey", "fromSequence"]))]
    pub signers: Vec<Signer>,
    /// The recovery point objective: the oldest that the latest copy may be. A whole number and one of s, m, h, d. Example: `30m`.
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub rpo: String,
    /// The recovery time objective: the longest that bringing the registry up from here may take, for people to read and for what
    /// measures a restore. A whole number and one of s, m, h, d. Default: none. Example: `2h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub rto: Option<String>,
    /// The most bytes that the registry may have in the store; the gate takes nothing beyond. A whole number and one of Ki, Mi, Gi, Ti.
    /// Default: no limit. Example: `200Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 8), regex(pattern = r"^[1-9][0-9]{0,5}(Ki|Mi|Gi|Ti)$"))]
    pub quota: Option<String>,
    /// The most bytes a second that each gate takes for the registry, averaged over ten seconds. A whole number and one of Ki, Mi, Gi, Ti.
    /// Default: no limit. Example: `50Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 8), regex(pattern = r"^[1-9][0-9]{0,5}(Ki|Mi|Gi|Ti)$"))]
    pub rate: Option<String>,
    /// Lets home's retrieval user `<registry>.retrieval` read copies back through the gate; as long as it may, `RetrievalOpen` is true.
    /// Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub home_may_retrieve: bool,
    /// Which copies are kept. A copy is kept if any of the rules keeps it; the locks of what is kept are prolonged in time. What is not kept is
    /// first recorded in the ledger, and deleted when its lock has ended. Nothing goes while the ledger is not whole, while the custodian is
    /// `Unwitnessed`, or while fewer than `minimum` copies were read back and are whole.
    pub retention: Retention,
    /// Whose drills count, and how often a copy must pass one. Without it no drill of the registry counts, and nobody says that one is
    /// overdue. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drills: Option<CustodyDrills>,
    /// A head of the ledger's source chain that a person vouches for, from the mirror's status at home or from a trust sheet: what the
    /// custodian needs where it is `Unwitnessed`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_head: Option<ConfirmedHead>,
}

/// Which registry is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustodyRegistry {
    /// The registry's id, as at home: a DNS label of 3 to 40 characters, unique in this cluster, and immutable. Example: `population`.
    #[schemars(
        length(min = 3, max = 40),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("registry.id is immutable: it names the registry's ledger for ever"))]
    pub id: String,
}

/// A key and the entries that it may sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("!has(self.untilSequence) || !has(self.fromSequence) || self.untilSequence >= self.fromSequence")
        .message("untilSequence must not be less than fromSequence")
        .field_path(".untilSequence")
)]
pub struct Signer {
    /// The public key in OpenSSH form. Example: `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…`.
    #[schemars(
        length(min = 20, max = 512),
        regex(pattern = r"^ssh-ed25519 [A-Za-z0-9+/=]+( [^\r\n]*)?$")
    )]
    pub public_key: String,
    /// The first entry that it may sign, 1 or more. Default: `1`.
    #[serde(default = "default_first")]
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub from_sequence: i64,
    /// The last entry that it may sign. Default: none, the key is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub until_sequence: Option<i64>,
}

fn default_first() -> i64 {
    1
}

/// Which copies are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = kube::core::Rule::new("self.daily + self.weekly + self.monthly + self.yearly <= 900")
        .message("daily, weekly, monthly and yearly must not be more than 900 together: for more copies, raise keepWithin")
)]
pub struct Retention {
    /// Every copy younger than this is kept. A whole number and one of s, m, h, d. Default: `30d`.
    #[serde(default = "default_keep_within")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub keep_within: String,
    /// The newest copy of each of this many days that have one is kept. Default: `14`.
    #[serde(default = "default_daily")]
    #[schemars(range(min = 0, max = 9999))]
    pub daily: i32,
    /// The newest copy of each of this many weeks is kept. Default: `8`.
    #[serde(default = "default_weekly")]
    #[schemars(range(min = 0, max = 9999))]
    pub weekly: i32,
    /// The newest copy of each of this many months is kept. Default: `12`.
    #[serde(default = "default_monthly")]
    #[schemars(range(min = 0, max = 9999))]
    pub monthly: i32,
    /// The newest copy of each of this many years is kept. Default: `10`.
    #[serde(default = "default_yearly")]
    #[schemars(range(min = 0, max = 9999))]
    pub yearly: i32,
    /// At least this many proven copies are kept whatever their age, 1 or more. Default: `3`.
    #[serde(default = "default_minimum")]
    #[schemars(range(min = 1, max = 9999))]
    pub minimum: i32,
    /// Shows in `status.retention` what would go, and lets nothing go; locks are prolonged all the same. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Copies that are kept whatever their age, at most 64. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["sequence"]))]
    pub pins: Vec<Pin>,
}

fn default_keep_within() -> String {
    "30d".to_owned()
}

fn default_daily() -> i32 {
    14
}

fn default_weekly() -> i32 {
    8
}

fn default_monthly() -> i32 {
    12
}

fn default_yearly() -> i32 {
    10
}

fn default_minimum() -> i32 {
    3
}

/// Whose drills count, and how often a copy must pass one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustodyDrills {
    /// The namespace whose `RegistryDrill`s count. Whoever may make pods and resources in it can have the custodian sign that a copy passed.
    /// Example: `drills`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: String,
    /// The longest between two drills that pass; after it the alarm `DrillOverdue` is raised. A whole number and one of s, m, h, d. Default:
    /// `7d`.
    #[serde(default = "default_every")]
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    pub every: String,
}

fn default_every() -> String {
    "7d".to_owned()
}

/// A copy that is kept whatever its age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The copy's number in the ledger, 1 or more.
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub sequence: i64,
    /// Why, for people; at most 253 characters on one line. Example: `before the census`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"))]
    pub reason: String,
}

/// A head of the ledger that a person vouches for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmedHead {
    /// Its number in the source chain, 1 or more.
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub sequence: i64,
    /// The SHA-256 of the entry, 64 lower-case hex digits.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: String,
}

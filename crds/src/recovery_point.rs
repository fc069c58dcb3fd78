//! `RecoveryPoint`: one committed copy as the embassy sees it. A view, which nothing trusts.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A view of one committed copy.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dataembassy.io",
    version = "v1alpha1",
    kind = "RecoveryPoint",
    plural = "recoverypoints",
    singular = "recoverypoint",
    shortname = "rp",
    category = "embassy",
    status = "RecoveryPointStatus",
    derive = "PartialEq",
    doc = "A view of one committed copy: the newest 50 of each registry, and those that are pinned. The operator makes it from the custodian's report, which follows the ledger; what is written or deleted here by hand is put back, and touches no copy.",
    printcolumn(name = "REGISTRY", type_ = "string", json_path = ".spec.registry", description = "The registry's id."),
    printcolumn(name = "SEQ", type_ = "integer", json_path = ".spec.sequence", description = "The copy's number in the ledger."),
    printcolumn(name = "TAKEN", type_ = "string", json_path = ".spec.takenAt", description = "When its snapshot was taken."),
    printcolumn(name = "SIZE", type_ = "string", json_path = ".spec.size", description = "How much it takes in the store."),
    printcolumn(name = "INTACT", type_ = "string", json_path = ".status.intact", description = "Whether its bytes were read back and equal the ledger."),
    printcolumn(name = "DRILLED", type_ = "string", json_path = ".status.drilled", description = "Whether it was restored and questioned."),
    printcolumn(name = "LOCKED-UNTIL", type_ = "string", json_path = ".status.lockedUntil", description = "When the first lock of its objects ends."),
    validation = kube::core::Rule::new("self.metadata.name.startsWith(self.spec.registry + '-') && self.metadata.name.matches('-[0-9]{12}$')")
        .message("metadata.name must be the registry's id, a hyphen, and the copy's number with 12 digits")
)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryPointSpec {
    /// The registry's id. Example: `population`.
    #[schemars(
        length(min = 3, max = 40),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub registry: String,
    /// The number of the copy's entry in the ledger's source chain.
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub sequence: i64,
    /// The SHA-256 of the entry, 64 hex digits.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: String,
    /// The copy's id, 32 hex digits: its folder in the store.
    #[schemars(length(min = 32, max = 32), regex(pattern = r"^[0-9a-f]{32}$"))]
    pub copy_id: String,
    /// The moment of its snapshot by the source's clock, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub taken_at: String,
    /// When its entry came, by the store's clock, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub arrived_at: String,
    /// Sealed bytes in the store.
    #[schemars(range(min = 0))]
    pub bytes: i64,
    /// The same for people. Example: `71.3 MiB`.
    #[schemars(length(max = 32))]
    pub size: String,
}

/// What is known of the copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryPointStatus {
    /// Whether its bytes were read back from the store and equal the ledger.
    #[serde(default)]
    pub intact: Known,
    /// When all of them were last read back, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub verified_at: Option<String>,
    /// Whether it was opened with a key, restored and questioned.
    #[serde(default)]
    pub drilled: Known,
    /// The earliest end among the locks of its objects, as far as they were looked at, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub locked_until: Option<String>,
    /// Whether it is kept whatever its age.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// What is wrong with it; absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// What is known of something that was looked at, or not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Known {
    /// It is so.
    True,
    /// It is not.
    False,
    /// Nobody has looked yet.
    #[default]
    Unknown,
}

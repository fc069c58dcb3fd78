//! What the operator found out about a registry in custody, from its custodian's report and from the gates'.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::mirror_status::LedgerHead;

/// The observed state of a registry in custody, which says whether it is safe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryCustodyStatus {
    /// The `metadata.generation` that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// `Ready`, `HomeHeard`, `WithinRPO`, `LedgerSound`, `Intact`, `Drilled`, `SpaceSufficient`; only while true: `Reconciling`,
    /// `Stalled`, `Alarmed` (the worst of `alarms`), `Suspicious` (the gate refused requests), `RetrievalOpen`. `Drilled` is false while
    /// the newest drill failed, unknown while none passed in time, and else true while a copy that passed lives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The latest copy in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_copy: Option<CustodyCopy>,
    /// When home was last heard at a gate, RFC 3339 in UTC: the latest sign of life that was known when `HomeHeard` changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub last_heard_time: Option<String>,
    /// The term in which the source chain is written, 1 to 9999.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9999))]
    pub term: Option<i32>,
    /// The highest head of the source chain that was seen. It comes back to the custodian as its floor: a ledger that ends before it, or
    /// beside it, is an alarm, and the floor stays. A head of a ledger that is `Unwitnessed` is not taken for one before a person confirms
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_head: Option<LedgerHead>,
    /// The highest head of the custody chain that was seen, a floor like `sourceHead`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custody_head: Option<LedgerHead>,
    /// What is wrong with the registry now, worst first, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub alarms: Vec<CustodyAlarm>,
    /// How far reading back is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationProgress>,
    /// What is kept and what will go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionState>,
    /// Bytes of all versions of the registry in the store; changes of less than a hundredth are not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub used_bytes: Option<i64>,
}

/// A committed copy, as the embassy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustodyCopy {
    /// The number of its entry in the ledger's source chain.
    #[schemars(range(min = 1))]
    pub sequence: i64,
    /// The SHA-256 of the entry, 64 hex digits; absent while the custodian lists no copy of this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// The moment of its snapshot by the source's clock, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub taken_at: String,
    /// When its entry came, by the store's clock, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub arrived_at: String,
    /// Sealed bytes in the store, for people. Example: `71.3 MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub size: Option<String>,
}

/// Something that is wrong with a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustodyAlarm {
    /// One word of the closed set in the reference.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub reason: String,
    /// Registry, sequence, what is lost, what stands, what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub since: String,
    /// The source entry that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub sequence: Option<i64>,
}

/// How far reading back is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerificationProgress {
    /// Living copies.
    #[schemars(range(min = 0))]
    pub copies: i32,
    /// Of those, how many were read back within the period and found equal.
    #[schemars(range(min = 0))]
    pub verified: i32,
    /// The oldest proof of a living copy, RFC 3339 in UTC; absent while one was never read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub oldest_proof_at: Option<String>,
}

/// What is kept and what will go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionState {
    /// Copies that are kept.
    #[schemars(range(min = 0))]
    pub kept: i32,
    /// Copies that the plan lets go, oldest first, at most 50; with `spec.retention.dryRun` nothing happens to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(range(min = 1)), extend("x-kubernetes-list-type" = "atomic"))]
    pub expiring: Vec<i64>,
    /// How many copies the plan lets go in all.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub expiring_copies: i32,
    /// Sealed bytes of all of them.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub expiring_bytes: i64,
    /// Copies that are recorded as expired and wait for their locks to end.
    #[schemars(range(min = 0))]
    pub waiting: i32,
    /// Bytes of those.
    #[schemars(range(min = 0))]
    pub waiting_bytes: i64,
    /// Why copies that should go cannot, or a lock of what stays cannot be prolonged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub blocked: Option<String>,
}

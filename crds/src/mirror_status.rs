//! What the operator found out about a mirror, from its objects and from its sidecar's report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// The observed state of a mirror.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryMirrorStatus {
    /// The `metadata.generation` that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// `Ready`, `SourceReachable`, `StoreReachable`, `WithinRPO`, `Intact`, `Drilled`; only while true: `Reconciling`, `Stalled`, `Fenced`,
    /// `Suspicious`. `Drilled` is true while the embassy's newest drill passed, and the copy that did still lives. `Intact` is what the embassy's custodian has signed: true while its latest proof names no broken copy and every copy is
    /// proven within a day of its commit; the message says which copy was read back, and when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The latest copy in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_copy: Option<LastCopy>,
    /// The newest copy that the embassy's custodian has proven: every byte was read back from the store and equals the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_proof: Option<LastProof>,
    /// The highest head of the ledger's source chain that was seen. A ledger that ends before it, or beside it, is refused,
    /// whatever store the `DataEmbassy` names meanwhile: it is forgotten with this resource, and not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<LedgerHead>,
    /// The public half of the key that signs this mirror's entries: what the embassy's custodian must know.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub signer: Option<String>,
    /// The Secret that the signing key was put into, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub signing_key_secret: Option<String>,
    /// When the latest copy was committed, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub last_successful_time: Option<String>,
    /// When the next copy is due, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub next_schedule_time: Option<String>,
    /// Runs that failed since the last one that did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub consecutive_failures: Option<i32>,
    /// Slots of the schedule that passed without a run since the sidecar started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub missed_runs: Option<i32>,
    /// The latest trigger that a run answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_trigger: Option<String>,
    /// The run in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunInProgress>,
    /// The latest runs, newest first, at most 10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub recent_runs: Vec<RecentRun>,
}

/// A committed copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastCopy {
    /// The number of its entry in the ledger's source chain.
    #[schemars(range(min = 1))]
    pub sequence: i64,
    /// The SHA-256 of the entry, 64 hex digits.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: String,
    /// The moment of its snapshot, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub taken_at: String,
    /// When its entry was written, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub committed_at: String,
    /// Sealed bytes in the store.
    #[schemars(range(min = 0))]
    pub bytes: i64,
    /// The same for people. Example: `71.3 MiB`.
    #[schemars(length(max = 32))]
    pub size: String,
}

/// A copy that the embassy has proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastProof {
    /// The number of its entry in the ledger's source chain.
    #[schemars(range(min = 1))]
    pub sequence: i64,
    /// The SHA-256 of the entry, 64 hex digits.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: String,
    /// The moment of its snapshot, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub taken_at: Option<String>,
    /// When the embassy began to read it back, by its own clock, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub read_back_at: String,
    /// When the embassy signed the proof, by its own clock, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub proven_at: String,
}

/// The head of the ledger's source chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerHead {
    /// Its number.
    #[schemars(range(min = 1))]
    pub sequence: i64,
    /// The SHA-256 of the entry, 64 hex digits.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: String,
}

/// A run in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunInProgress {
    /// When it began, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub started_at: String,
    /// When it is stopped at the latest, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub deadline_at: String,
    /// What is being done: `Preparing`, `Planning`, `Copying` or `Committing`.
    #[schemars(length(max = 32))]
    pub phase: String,
    /// How much of it is done, in steps of ten percent. The sidecar's own report is finer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecentRun {
    /// When it began, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub started_at: String,
    /// When it ended, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub ended_at: String,
    /// What came of it.
    pub outcome: RunOutcome,
    /// `Copied`, or why not: one word of the closed set in the reference.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What, why, and what to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The slot of the schedule that it answered, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub slot: Option<String>,
    /// The trigger that it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub trigger: Option<String>,
    /// The number of the entry that it committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub sequence: Option<i64>,
    /// Sealed bytes that it put into the store.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub bytes: i64,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunOutcome {
    /// A copy was committed.
    Copied,
    /// It was stopped with its pod and is not held against the mirror.
    Interrupted,
    /// It failed.
    Failed,
}

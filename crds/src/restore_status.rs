//! What a restore says about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::identity::IdentityStay;

/// How far a restore is, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryRestoreStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Where the restore stands. `Restored` and `Failed` are terminal: nothing happens after them.
    pub phase: RestorePhase,
    /// `Ready` (the copy is restored), `IdentityPresent` (its pod found the identity; absent before it looked), and while they are true
    /// `Reconciling` and `Stalled`.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The copy, once it was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<RestoredCopy>,
    /// How far the restore is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<RestoreProgress>,
    /// Whether it was seen to write into the database: what was there is gone then, and what is there is of this restore.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_written: bool,
    /// The UID of the Job that restores; there is no second one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub job_uid: Option<String>,
    /// When its Job was made, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub started_at: Option<String>,
    /// When it ended, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub ended_at: Option<String>,
    /// How long the identity has lain in the cluster; absent before the pod looked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityStay>,
    /// What was restored; absent unless the target holds the copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
    /// What the copy holds and was not restored, by kind, at most 16; the Job's log names each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind"]))]
    pub left_out: Vec<LeftOut>,
    /// What the restored database answered to `spec.assertions`, in their order, at most 64. Where they take too much room, texts are cut and
    /// answers that were as they must be are left out; the condition `Ready` says how many were wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub assertions: Vec<GivenAnswer>,
}

/// Where a restore stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestorePhase {
    /// Nothing was begun yet.
    #[default]
    Pending,
    /// Its Job is there.
    Running,
    /// The target holds the copy: all counts and digests were compared, and every answer was as it must be.
    Restored,
    /// It ended without that; the condition `Ready` says why, and whether anything was written. Where only an answer was wrong, `restored` is
    /// there: the target holds the copy whole.
    Failed,
}

/// The copy that is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoredCopy {
    /// The number of its entry in the ledger.
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub sequence: i64,
    /// Its id, 32 hex digits: its folder in the store.
    #[schemars(length(max = 256))]
    pub copy_id: String,
    /// The moment of its snapshot, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub taken_at: String,
}

/// How far a restore is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreProgress {
    /// What is being done, and how far it is, for people. Example: `loading rows, 42 %`.
    #[schemars(length(max = 128))]
    pub words: String,
    /// Rows that were loaded.
    #[schemars(range(min = 0))]
    pub rows: i64,
    /// Bytes of rows and large objects that were loaded.
    #[schemars(range(min = 0))]
    pub bytes: i64,
    /// Bytes per second, on average.
    #[schemars(range(min = 0))]
    pub rate: i64,
    /// Seconds left at this rate; absent while nothing can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub eta_seconds: Option<i64>,
}

/// What was restored and compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Tables.
    #[schemars(range(min = 0))]
    pub tables: i64,
    /// Rows of all tables.
    #[schemars(range(min = 0))]
    pub rows: i64,
    /// Their bytes as text.
    #[schemars(range(min = 0))]
    pub bytes: i64,
    /// Large objects.
    #[schemars(range(min = 0))]
    pub large_objects: i64,
    /// How long it took from the first look at the copy, in whole seconds, rounded up. It includes `ANALYZE`.
    #[schemars(range(min = 0))]
    pub seconds: i64,
}

/// Things of one kind that were not restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// What they are. Example: `EVENT TRIGGER`.
    #[schemars(length(max = 256))]
    pub kind: String,
    /// How many.
    #[schemars(range(min = 0))]
    pub count: i64,
}

/// What came of one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GivenAnswer {
    /// What the question is called in `spec.assertions`.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// Whether the answer was as it must be.
    pub passed: bool,
    /// What it must be, in words. Example: `at least 1000`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub expected: String,
    /// What it was, or why there was none. Example: `999`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub found: String,
}

//! What a drill says about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::identity::IdentityStay;
use crate::restore_status::RestoredCopy;

/// How drills of a registry went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryDrillStatus {
    /// The `metadata.generation` that was judged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// `Ready` (the spec is valid and followed), `Passed` (how the latest drill ended), `IdentityPresent` (the latest pod found the
    /// identity; absent before one looked); only while true: `Reconciling`, `Stalled`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The drill that is at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<CurrentDrill>,
    /// How long the identity has lain in the cluster; absent before a pod looked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityStay>,
    /// The latest drill that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<EndedDrill>,
    /// Drills that have ended, newest first: as many of each outcome as `spec.history` says, at most 40.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["order"]))]
    pub runs: Vec<EndedDrill>,
    /// When a drill last passed, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub last_passed_time: Option<String>,
    /// The latest slot of the schedule that was answered or missed, RFC 3339 in UTC. One that passed before the schedule was changed, or while it
    /// rested, is neither, and counts as settled too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub last_schedule_time: Option<String>,
    /// When the next drill begins, RFC 3339 in UTC, or should have, where it cannot yet; absent while suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub next_schedule_time: Option<String>,
    /// The trigger that was answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub last_trigger: Option<String>,
    /// Slots that passed without a drill, since the resource was made.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub missed_runs: i64,
    /// Drills since the last one that passed.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub consecutive_failures: i64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A drill that is at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentDrill {
    /// Its order: the name that its entry and its reports will have, at most 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub order: String,
    /// When it began, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub started_at: String,
    /// The slot that it answers, RFC 3339 in UTC; absent where it answers a trigger alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub slot: Option<String>,
    /// The trigger that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub trigger: Option<String>,
    /// Which attempt it is, 1 to 4.
    #[schemars(range(min = 1, max = 4))]
    pub attempt: i32,
    /// The UID of the attempt's Job; absent before it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub job_uid: Option<String>,
    /// The copy, once it was picked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<RestoredCopy>,
    /// What is being done, and how far it is, for people. Example: `loading rows, 42 %`.
    #[schemars(length(max = 128))]
    pub words: String,
    /// What was found, while the custodian is asked to sign it: JSON of at most 32 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32_768))]
    pub result: Option<String>,
}

/// A drill that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndedDrill {
    /// Its order.
    #[schemars(length(min = 1, max = 63))]
    pub order: String,
    /// How it ended.
    pub result: DrillOutcome,
    /// `DrillPassed`, or why not.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What, why, and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When it began, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub started_at: String,
    /// When it ended, RFC 3339 in UTC.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub ended_at: String,
    /// The copy, where one was picked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<RestoredCopy>,
    /// How long the recovery took, and what it may take, for people. Example: `48 s of 2h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub recovery: Option<String>,
    /// How long the recovery took, in whole seconds, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub recovery_seconds: Option<i64>,
    /// Assertions that passed, and all that were made, for people. Example: `7 of 7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub assertions: Option<String>,
    /// Where the report lies in the store, without its ending `.json` or `.html`; absent where nothing was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub report: Option<String>,
    /// The number of the entry in the ledger's custody chain; absent where nothing was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 999_999_999_999_i64))]
    pub entry: Option<i64>,
}

/// How a drill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum DrillOutcome {
    /// The copy was restored, gave every answer as it must, and the recovery was fast enough.
    Passed,
    /// It was not, and that is its own fault.
    Failed,
    /// Nothing can be said of the copy: what the drill needed was not there, or it was stopped.
    Inconclusive,
}

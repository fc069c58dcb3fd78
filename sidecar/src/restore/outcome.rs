//! What a restore came to: the content of the result file.

use dataembassy_ledger::{CopyId, RegistryId, Timestamp};
use serde::Serialize;

use super::load::TableResult;

/// The result of a restore that ended well: everything in it was compared with the inventory.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The registry.
    pub registry: RegistryId,
    /// The sequence of the copy's entry.
    pub sequence: u64,
    /// The copy.
    pub copy_id: CopyId,
    /// The moment whose image it is.
    pub taken_at: Timestamp,
    /// The server restored into, and its database.
    pub target: TargetResult,
    /// How long each phase took.
    pub phases: Vec<PhaseResult>,
    /// Bytes read from the store.
    pub sealed_bytes: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of all rows in the archive.
    pub bytes: u64,
    /// Every table.
    pub tables: Vec<TableResult>,
    /// All large objects.
    pub large_objects: ObjectsResult,
    /// Roles that were made; with `--trust-source` only.
    pub roles_made: Vec<String>,
    /// Roles of the copy that the target had, which were left as they were; with `--trust-source` only.
    pub roles_kept: Vec<String>,
    /// Entries that failed while others were restored beside them, and then succeeded alone.
    pub tried_again: Vec<String>,
    /// What the copy holds and was not restored.
    pub not_restored: Vec<NotRestored>,
    /// What the copy does not hold.
    pub not_carried: Vec<NotRestored>,
    /// How text is sorted in the target, where that is another way than at the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sorted_otherwise: Option<String>,
    /// What a person may want to know.
    pub notes: Vec<String>,
}

/// The target.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetResult {
    /// Version of the server.
    pub version: String,
    /// The database.
    pub database: String,
}

/// One phase.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseResult {
    /// Its name.
    pub name: &'static str,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// All large objects together.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectsResult {
    /// How many.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Something that is not in the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotRestored {
    /// What it is.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

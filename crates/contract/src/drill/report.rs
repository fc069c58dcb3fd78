//! What the Job of a drill says while it works, at `GET /status`. When it has ended it says its result there, and waits until somebody has
//! asked twice and so has it: a result is larger than what a kubelet keeps of a container's last words.

use serde::{Deserialize, Serialize};

use super::DrillResult;
use crate::report::{Fault, MAX_BYTES, MAX_MESSAGE, MAX_TEXT, MissingSecret, clean, clean_missing};
use crate::restore::{ChosenCopy, RestoreProgress};

/// How far a drill is, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DrillReport {
    /// The version of the sidecar.
    pub version: String,
    /// Secrets that are not there yet, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_secrets: Vec<MissingSecret>,
    /// What it waits for before anything is restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<Fault>,
    /// The copy, once it was picked: it is not picked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<ChosenCopy>,
    /// How far it is.
    pub progress: RestoreProgress,
    /// What it found, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<DrillResult>>,
}

impl DrillReport {
    /// Reads a report that came over the network, cleaned; `None` if it is too long or none at all.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        let mut report: Self = serde_json::from_slice(bytes).ok()?;
        clean(&mut report.version, MAX_TEXT);
        clean_missing(&mut report.missing_secrets);
        if let Some(waits) = &mut report.waits {
            clean(&mut waits.message, MAX_MESSAGE);
        }
        if let Some(copy) = &mut report.copy {
            clean(&mut copy.copy_id, MAX_TEXT);
        }
        if let Some(result) = &mut report.result {
            result.bound();
        }
        Some(report)
    }
}

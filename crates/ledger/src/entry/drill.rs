//! The `drill`: a copy was restored and questioned, and what came of it.

use serde::{Deserialize, Serialize};

use super::EntryRef;
use crate::value::{CopyId, OrderId, Sequence, Sha256Digest, Timestamp, VersionId};

/// The most bytes of a report.
pub const MAX_REPORT_BYTES: u64 = 1024 * 1024;

/// A `drill`: what a restore of one copy into a throw-away database came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillBody {
    /// The order that this entry carries out; the reports are named by it.
    pub order: OrderId,
    /// The copy's entry in the source chain.
    pub source_entry: EntryRef,
    /// The copy.
    pub copy_id: CopyId,
    /// Whether it was restored and gave every answer as it must.
    pub passed: bool,
    /// When the drill began, by its own clock.
    pub started_at: Timestamp,
    /// When it ended, by its own clock: not before it began.
    pub ended_at: Timestamp,
    /// The two forms of its report.
    pub reports: DrillReports,
}

/// The two forms of a report, `registries/<id>/reports/<order>.json` and `.html`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillReports {
    /// For programs.
    pub json: ReportRef,
    /// For people.
    pub html: ReportRef,
}

/// A report as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportRef {
    /// The version the store gave it.
    pub version: VersionId,
    /// Its size in bytes: 1 to [`MAX_REPORT_BYTES`].
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
}

/// A drill in few words, as a [`Standing`](super::Standing) lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StandingDrill {
    /// The number of its own entry in the custody chain.
    pub entry: Sequence,
    /// The number of the copy's entry in the source chain.
    pub source_sequence: Sequence,
    /// The order that it carried out.
    pub order: OrderId,
    /// Whether the copy passed.
    pub passed: bool,
    /// When it ended, by its own clock.
    pub at: Timestamp,
}

impl DrillBody {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.ended_at < self.started_at {
            return Err("a drill must not end before it begins");
        }
        are_bounded(&self.reports)
    }
}

/// Whether both forms have a size that a report may have.
pub(super) fn are_bounded(reports: &DrillReports) -> Result<(), &'static str> {
    let sizes = [reports.json.size, reports.html.size];
    if sizes.iter().all(|size| (1..=MAX_REPORT_BYTES).contains(size)) {
        Ok(())
    } else {
        Err("a report must have 1 to 1048576 bytes")
    }
}

//! How an entry names a report that lies in the store in two forms, whatever the report is about.

use serde::{Deserialize, Serialize};

use crate::value::{Sha256Digest, VersionId};

/// The most bytes of a report.
pub const MAX_REPORT_BYTES: u64 = 1024 * 1024;

/// The two forms of a report, `registries/<id>/reports/<order>.json` and `.html`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportForms {
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

impl ReportForms {
    /// Whether both have a size that a report may have.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let sizes = [self.json.size, self.html.size];
        if sizes.iter().all(|size| (1..=MAX_REPORT_BYTES).contains(size)) {
            Ok(())
        } else {
            Err("a report must have 1 to 1048576 bytes")
        }
    }
}

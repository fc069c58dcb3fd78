//! The `drill`: a copy was restored and questioned, and what came of it.

use serde::{Deserialize, Serialize};

use super::EntryRef;
use super::forms::ReportForms;
use crate::value::{CopyId, OrderId, Sequence, Timestamp};

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
    pub reports: ReportForms,
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
        self.reports.check()
    }
}

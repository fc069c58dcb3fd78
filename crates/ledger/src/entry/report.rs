//! The `report`: an order of people was carried out, or could not be, and what came of it for one registry.

use serde::{Deserialize, Serialize};

use super::EntryRef;
use super::forms::ReportForms;
use crate::value::{OrderId, Sequence, Sha256Digest, Timestamp};

/// A `report`: what came of an activation, a rehearsal, or a stand-down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportBody {
    /// The order that this entry carries out; the reports are named by it.
    pub order: OrderId,
    /// The order that is reported on: another one.
    pub about: OrderId,
    /// The SHA-256 of the statement that was approved.
    pub statement: Sha256Digest,
    /// What came of it.
    pub outcome: ReportOutcome,
    /// The entry of the copy that was restored; of a stand-down, the last one that the embassy wrote. Absent only where it failed before one
    /// was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_entry: Option<EntryRef>,
    /// When enough had approved, by the operator's clock.
    pub started_at: Timestamp,
    /// When it ended, by the same clock: not before it began.
    pub ended_at: Timestamp,
    /// The two forms of its report.
    pub reports: ReportForms,
}

/// What came of an order for one registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReportOutcome {
    /// It was served from the embassy.
    Served,
    /// In a rehearsal: it could have been.
    Rehearsed,
    /// It was released to home.
    StoodDown,
    /// It could not be brought up.
    Failed,
}

/// A report in few words, as a [`Standing`](super::Standing) lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingReport {
    /// The number of its own entry in the custody chain.
    pub entry: Sequence,
    /// The order that it carried out.
    pub order: OrderId,
}

impl ReportBody {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.order == self.about {
            return Err("a report must have another order than the one that it is about");
        }
        if self.ended_at < self.started_at {
            return Err("what is reported must not end before it begins");
        }
        if self.source_entry.is_none() && self.outcome != ReportOutcome::Failed {
            return Err("a report of what was done must name the copy's entry");
        }
        self.reports.check()
    }
}

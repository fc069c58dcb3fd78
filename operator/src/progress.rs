//! How far a restore is, in words: a `RegistryRestore`'s, and that of a drill.

use dataembassy_contract::restore::{ChosenCopy, RestorePhase as Step, RestoreProgress};
use dataembassy_crds::RestoredCopy;

/// What is being done, and how far it is.
#[must_use]
pub fn words(reported: &RestoreProgress) -> String {
    let step = match reported.phase {
        Step::Waiting => "waiting for what is missing",
        Step::Checking => "checking copy and target",
        Step::Definitions => "restoring definitions",
        Step::Rows => "loading rows",
        Step::Comparing => "comparing with the copy",
        Step::Constraints => "restoring indexes and constraints",
        Step::Analysing => "gathering statistics",
        Step::Questioning => "asking the restored database",
        Step::Done => "done",
        Step::Other => "working",
    };
    match reported.share {
        Some(share) => format!("{step}, {} %", whole(share * 100.0).min(100)),
        None => step.to_owned(),
    }
}

/// The copy, as resources show it; `None` where its number is none of a ledger's.
#[must_use]
pub fn copy(chosen: &ChosenCopy) -> Option<RestoredCopy> {
    Some(RestoredCopy {
        sequence: i64::try_from(chosen.sequence)
            .ok()
            .filter(|sequence| (1..=999_999_999_999).contains(sequence))?,
        copy_id: chosen.copy_id.clone(),
        taken_at: chosen.taken_at.to_string(),
    })
}

/// A count, as far as a schema takes it.
#[must_use]
pub fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A number that came over the network, as a whole one that a schema takes.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "floats saturate, and NaN becomes 0"
)]
pub fn whole(number: f64) -> i64 {
    number.max(0.0) as i64
}

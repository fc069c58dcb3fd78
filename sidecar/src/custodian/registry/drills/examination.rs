//! Whether the custodian may put its name to a drill's result. No I/O; the time is an argument.
//!
//! The result comes from a Job in a namespace of the embassy by way of the operator. It cannot be proven here that a drill took place; but
//! what it says can be held against the ledger and against itself.

use dataembassy_contract::drill::{AssertionKind, DrillResult, DrilledCopy, Verdict};
use dataembassy_ledger::RegistryId;
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{CopyId, OrderId, Sequence, Timestamp as LedgerTime};
use jiff::Timestamp;

use crate::custodian::registry::documents::patience::{is_ahead, of_an_unknown_copy};
use crate::custodian::registry::holdings::{Held, HoldingsState};
use crate::custodian::registry::orders::{Attempt, Refusal};

/// A result that may be signed for.
#[derive(Clone, Debug)]
pub(super) struct Examined {
    /// The copy's entry.
    pub source_entry: EntryRef,
    /// The copy.
    pub copy: CopyId,
    /// Whether it passed.
    pub passed: bool,
    /// When the drill began.
    pub started_at: LedgerTime,
    /// When it ended.
    pub ended_at: LedgerTime,
    /// The result, bounded; what it says of the copy's age and size is what the ledger says.
    pub result: DrillResult,
}

/// Holds a result against the living copies, the clock, and itself. What cannot be signed for is refused, or waits where the next look at the
/// ledger may tell otherwise.
pub(super) fn examine(
    order: &OrderId,
    result: &DrillResult,
    registry: &RegistryId,
    holdings: &HoldingsState,
    now: Timestamp,
) -> Result<Examined, Attempt> {
    let mut result = result.clone();
    result.bound();
    let refuse = |message: String| Err(Refusal::new(message).into());
    if result.order != order.as_str() || result.registry != registry.as_str() {
        return refuse(format!(
            "order {} of registry {registry} carries the result of order {} of registry {}",
            order, result.order, result.registry
        ));
    }
    let passed = match result.verdict {
        Verdict::Passed => true,
        Verdict::Failed => false,
        Verdict::Inconclusive => {
            return refuse("it says nothing of a copy, so there is nothing to sign for".to_owned());
        }
    };
    if passed {
        no_contradiction(&result)?;
    }
    let (started_at, ended_at) = times(&result, now)?;
    let Some(copy) = &mut result.copy else {
        return refuse("it names no copy, so there is nothing to sign for".to_owned());
    };
    let Some(held) = find(copy, holdings) else {
        let message = format!(
            "the ledger of registry {registry} holds no living copy {} with SHA-256 {} and id {}",
            copy.sequence, copy.digest, copy.copy_id
        );
        return Err(of_an_unknown_copy(
            copy.sequence,
            result.ended_at,
            holdings,
            now,
            message,
        ));
    };
    copy.taken_at = held.taken_at;
    copy.sealed_bytes = held.bytes;
    Ok(Examined {
        source_entry: held.reference,
        copy: held.copy,
        passed,
        started_at,
        ended_at,
        result,
    })
}

fn find<'a>(copy: &DrilledCopy, holdings: &'a HoldingsState) -> Option<&'a Held> {
    let held = holdings.copies.get(&Sequence::new(copy.sequence).ok()?)?;
    let is_it = held.reference.digest.to_string() == copy.digest && held.copy.to_string() == copy.copy_id;
    is_it.then_some(held)
}

/// A copy passes when it came to the end of its recovery and gave every answer as it must. How long it took is the embassy's matter.
fn no_contradiction(result: &DrillResult) -> Result<(), Refusal> {
    let wrong = result
        .assertions
        .iter()
        .find(|one| !one.passed && one.kind != AssertionKind::RecoveryTime);
    if let Some(one) = wrong {
        let message = format!(
            "it says that the copy passed, and that its answer to {:?} was wrong",
            one.name
        );
        return Err(Refusal::new(message));
    }
    if result.assertions.is_empty() || result.recovery_seconds.is_none() {
        let message =
            "it says that the copy passed, and shows no recovery that was done or no question that was asked";
        return Err(Refusal::new(message.to_owned()));
    }
    Ok(())
}

fn times(result: &DrillResult, now: Timestamp) -> Result<(LedgerTime, LedgerTime), Attempt> {
    let (started_at, ended_at) = (result.started_at, result.ended_at);
    let told = format!("its drill began {started_at:.0} and ended {ended_at:.0}");
    if ended_at < started_at {
        return Err(Refusal::new(format!("{told}, which cannot be")).into());
    }
    if let Some(attempt) = is_ahead(ended_at, now, &told) {
        return Err(attempt);
    }
    let time = |time| LedgerTime::from_jiff(time).map_err(|error| Refusal::new(error.to_string()));
    Ok((time(started_at)?, time(ended_at)?))
}

//! Heads, copies, alarms and amounts: the custodian's report in the resource's words, bounded. Silence takes nothing back, and heads only
//! go up.

use dataembassy_contract::custodian::{Alarm, RegistryReport, RetentionReport, VerificationReport};
use dataembassy_contract::report::CheckState;
use dataembassy_crds::{
    CustodyAlarm, CustodyCopy, RegistryCustodyStatus, RetentionState, VerificationProgress,
};

use crate::condition::rfc3339;
use crate::heads::{LAST_SEQUENCE, highest, is_digest};
use crate::size::{has_moved, size};

/// The most alarms of a status.
const MAX_ALARMS: usize = 16;
/// The last term that has a key.
const LAST_TERM: u32 = 9_999;

/// What is known whatever the resource says.
pub(super) fn facts(
    before: &RegistryCustodyStatus,
    report: Option<&RegistryReport>,
) -> RegistryCustodyStatus {
    let mut status = RegistryCustodyStatus {
        observed_generation: None,
        conditions: Vec::new(),
        ..before.clone()
    };
    let Some(report) = report else {
        return status;
    };
    // What is remembered comes back to the custodian as the floor. Remembering a head that nobody vouches for would be vouching for it.
    if !report.unwitnessed {
        status.source_head = highest(before.source_head.as_ref(), report.source_head.as_ref());
        status.custody_head = highest(before.custody_head.as_ref(), report.custody_head.as_ref());
    }
    // A custodian that has just begun has not read the ledger yet: what it does not know is not gone.
    if report.ledger.state == CheckState::Unknown && report.last_arrival.is_none() {
        return status;
    }
    status.term = term(before.term, report.term);
    status.last_copy = last_copy(report).or(status.last_copy);
    status.alarms = report.alarms.iter().take(MAX_ALARMS).map(alarm).collect();
    status.verification = Some(verification(&report.verification));
    status.retention = Some(retention(&report.retention));
    status.used_bytes = Some(used_bytes(before.used_bytes, report.used_bytes));
    status
}

/// A term never comes back.
fn term(before: Option<i32>, reported: u32) -> Option<i32> {
    let reported = i32::try_from(reported.min(LAST_TERM))
        .ok()
        .filter(|term| *term > 0);
    before.max(reported)
}

fn last_copy(report: &RegistryReport) -> Option<CustodyCopy> {
    let arrival = report.last_arrival.as_ref()?;
    let copy = report
        .copies
        .iter()
        .find(|copy| copy.sequence == arrival.sequence);
    Some(CustodyCopy {
        sequence: sequence(arrival.sequence)?,
        digest: copy
            .map(|copy| copy.digest.clone())
            .filter(|digest| is_digest(digest)),
        taken_at: rfc3339(arrival.taken_at),
        arrived_at: rfc3339(arrival.arrived_at),
        size: copy.map(|copy| size(copy.bytes)),
    })
}

fn alarm(alarm: &Alarm) -> CustodyAlarm {
    CustodyAlarm {
        reason: alarm.reason.as_str().to_owned(),
        message: alarm.message.clone(),
        since: rfc3339(alarm.since),
        sequence: alarm.sequence.and_then(sequence),
    }
}

fn verification(report: &VerificationReport) -> VerificationProgress {
    VerificationProgress {
        copies: count(report.copies),
        verified: count(report.verified),
        oldest_proof_at: report.oldest_proof_at.map(rfc3339),
    }
}

fn retention(report: &RetentionReport) -> RetentionState {
    RetentionState {
        kept: count(report.kept),
        expiring: report.expiring.iter().copied().filter_map(sequence).collect(),
        expiring_copies: count(report.expiring_copies),
        expiring_bytes: bytes(report.expiring_bytes),
        waiting: count(report.waiting),
        waiting_bytes: bytes(report.waiting_bytes),
        blocked: report.blocked.as_ref().map(|fault| fault.message.clone()),
    }
}

fn used_bytes(before: Option<i64>, now: u64) -> i64 {
    let kept =
        before.filter(|before| u64::try_from(*before).is_ok_and(|before| !has_moved(before, now, before)));
    kept.unwrap_or_else(|| bytes(now))
}

fn sequence(number: u64) -> Option<i64> {
    i64::try_from(number)
        .ok()
        .filter(|_| (1..=LAST_SEQUENCE).contains(&number))
}

fn count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_never_comes_back_and_is_one_that_there_can_be() {
        for (before, reported, after) in [
            (None, 0, None),
            (None, 1, Some(1)),
            (Some(3), 0, Some(3)),
            (Some(3), 2, Some(3)),
            (Some(3), 4, Some(4)),
            (Some(3), u32::MAX, Some(9_999)),
        ] {
            assert_eq!(term(before, reported), after, "{before:?} {reported}");
        }
    }

    #[test]
    fn a_number_of_an_entry_begins_at_one() {
        assert_eq!([0, 1].map(sequence), [None, Some(1)]);
        assert_eq!(
            sequence(LAST_SEQUENCE).and_then(|last| u64::try_from(last).ok()),
            Some(LAST_SEQUENCE)
        );
        assert_eq!(sequence(LAST_SEQUENCE + 1), None);
    }

    #[test]
    fn used_bytes_are_told_anew_when_they_have_moved_by_more_than_a_hundredth() {
        for (before, now, told) in [
            (None, 5, 5),
            (Some(1_000), 1_010, 1_000),
            (Some(1_000), 1_011, 1_011),
            (Some(1_000), 989, 989),
            (Some(-1), 5, 5),
        ] {
            assert_eq!(used_bytes(before, now), told, "{before:?} {now}");
        }
    }
}

//! What the facts about a registry mean: is it safe? No I/O; the time is an argument.

use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_contract::report::{Check, CheckState};
use dataembassy_ledger::value::Sequence;
use jiff::{SignedDuration, Timestamp};

use super::holdings::HoldingsState;
use crate::custodian::finding::{Finding, Loss, Standing, is_of_the_bytes, is_of_the_ledger};

/// Beyond the period by this share of it, reading back is overdue.
pub const OVERDUE_PARTS: u32 = 10;

/// What is judged beside the copies themselves.
#[derive(Clone, Copy, Debug)]
pub struct Measures {
    /// The oldest that the latest copy may be.
    pub rpo: Duration,
    /// The most bytes that the registry may have.
    pub quota_bytes: Option<u64>,
    /// The bytes that it has; `None` before they were counted.
    pub used_bytes: Option<u64>,
    /// Within this time every living copy is read back.
    pub period: Duration,
    /// From when on the custodian owes that.
    pub watched_since: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// Freshness, quota, and copies that nobody has read for too long.
#[must_use]
pub fn measure(holdings: &HoldingsState, measures: &Measures) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(staleness(holdings, measures));
    findings.extend(fullness(measures));
    findings.extend(overdue(holdings, measures));
    findings
}

/// The moment that the newest copy shows. A source whose clock is ahead does not make copies younger than they can be.
#[must_use]
pub fn newest_moment(holdings: &HoldingsState) -> Option<(Sequence, Timestamp)> {
    let held = holdings.copies.values().next_back()?;
    Some((held.reference.sequence, held.taken_at.min(held.arrived_at)))
}

fn staleness(holdings: &HoldingsState, measures: &Measures) -> Option<Finding> {
    let (sequence, taken_at) = newest_moment(holdings)?;
    let age = measures.now.duration_since(taken_at);
    let rpo = SignedDuration::try_from(measures.rpo).unwrap_or(SignedDuration::MAX);
    (age > rpo).then(|| Finding {
        reason: Reason::RpoMissed,
        sequence: Some(sequence),
        what: format!(
            "it is the latest copy, taken {} minutes ago, and the recovery point objective is {} minutes",
            age.as_secs() / 60,
            measures.rpo.as_secs() / 60
        ),
        lost: Loss::Nothing,
    })
}

fn fullness(measures: &Measures) -> Option<Finding> {
    let (quota, used) = measures.quota_bytes.zip(measures.used_bytes)?;
    (used >= quota).then(|| Finding {
        reason: Reason::QuotaExceeded,
        sequence: None,
        what: format!("it has {used} bytes in the store, and its quota is {quota}"),
        lost: Loss::Nothing,
    })
}

fn overdue(holdings: &HoldingsState, measures: &Measures) -> Option<Finding> {
    let limit = measures.period + measures.period / OVERDUE_PARTS;
    let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
    let late: Vec<Sequence> = holdings
        .copies
        .values()
        .filter(|held| held.fault().is_none())
        .filter(|held| {
            let owed = held.arrived_at.max(measures.watched_since);
            let last = held.read.verified_at.unwrap_or(owed);
            measures.now.duration_since(last) > limit
        })
        .map(|held| held.reference.sequence)
        .collect();
    let first = *late.first()?;
    Some(Finding {
        reason: Reason::VerificationOverdue,
        sequence: Some(first),
        what: format!(
            "{} copies, the oldest of them {first}, were not read back within the last {} hours",
            late.len(),
            measures.period.as_secs() / 3_600
        ),
        lost: Loss::Nothing,
    })
}

/// What still stands.
#[must_use]
pub fn standing(holdings: &HoldingsState, head: Option<Sequence>) -> Standing {
    Standing {
        sound: holdings.sound(),
        intact: holdings
            .newest_intact()
            .map(|held| (held.reference.sequence, held.taken_at)),
        head,
    }
}

/// Whether the ledger is whole, in order, and signed by who may.
#[must_use]
pub fn ledger(findings: &[Finding], is_read: bool, before: &Check, now: Timestamp) -> Check {
    let worst = findings.iter().find(|finding| is_of_the_ledger(finding.reason));
    match worst {
        Some(finding) => check(
            before,
            CheckState::False,
            finding.reason,
            finding.what.clone(),
            now,
        ),
        None if is_read => check(before, CheckState::True, Reason::LedgerIntact, String::new(), now),
        None => {
            let why = "the ledger is being read".to_owned();
            check(before, CheckState::Unknown, Reason::NotYetKnown, why, now)
        }
    }
}

/// Whether every byte of the living copies was read back and equals the ledger. Copies that are newer than the newest one read back are
/// on their way; one before it that was never read is not.
#[must_use]
pub fn intact(holdings: &HoldingsState, findings: &[Finding], before: &Check, now: Timestamp) -> Check {
    if let Some(finding) = findings.iter().find(|finding| is_of_the_bytes(finding.reason)) {
        return check(
            before,
            CheckState::False,
            finding.reason,
            finding.what.clone(),
            now,
        );
    }
    if holdings.copies.is_empty() {
        return check(before, CheckState::Unknown, Reason::NoCopyYet, String::new(), now);
    }
    if let Some(finding) = findings
        .iter()
        .find(|finding| finding.reason == Reason::VerificationOverdue)
    {
        let (reason, what) = (finding.reason, finding.what.clone());
        return check(before, CheckState::Unknown, reason, what, now);
    }
    let unread = |held: &&super::holdings::Held| held.read.verified_at.is_none();
    let newest = holdings.newest_intact().map(|held| held.reference.sequence);
    let waiting = holdings
        .copies
        .values()
        .filter(unread)
        .filter(|held| newest.is_none_or(|newest| held.reference.sequence < newest));
    let waiting = waiting.count();
    let of = holdings.copies.len();
    if waiting > 0 || newest.is_none() {
        let why = format!("{} of {of} copies were read back", of - waiting);
        return check(before, CheckState::Unknown, Reason::Verifying, why, now);
    }
    check(before, CheckState::True, Reason::Proven, String::new(), now)
}

/// Keeps `since` while the same is found again.
#[must_use]
pub fn check(before: &Check, state: CheckState, reason: Reason, message: String, now: Timestamp) -> Check {
    let since = before
        .since
        .filter(|_| before.state == state && before.reason == reason);
    Check {
        state,
        reason,
        message,
        since: since.or(Some(now)),
    }
}

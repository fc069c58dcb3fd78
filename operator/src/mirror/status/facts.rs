//! Copies and runs: the sidecar's report in the resource's words, bounded.

use dataembassy_contract::report::{FinishedRun, Outcome, Report};
use dataembassy_crds::{LastCopy, LedgerHead, RecentRun, RegistryMirrorStatus, RunInProgress, RunOutcome};

use crate::condition::rfc3339;

/// The numbers of a ledger end here: JSON's integers are exact below 2⁵³.
const LAST_SEQUENCE: u64 = (1 << 53) - 1;

/// What is known whatever the resource says; silence takes nothing back.
pub(super) fn facts(before: &RegistryMirrorStatus, report: Option<&Report>) -> RegistryMirrorStatus {
    let Some(report) = report else {
        return RegistryMirrorStatus {
            conditions: Vec::new(),
            run: before.run.clone(),
            ..before.clone()
        };
    };
    let last_copy = report.last_copy.as_ref().and_then(last_copy);
    RegistryMirrorStatus {
        observed_generation: None,
        conditions: Vec::new(),
        last_successful_time: last_copy
            .as_ref()
            .or(before.last_copy.as_ref())
            .map(|copy| copy.committed_at.clone()),
        last_copy: last_copy.or_else(|| before.last_copy.clone()),
        head: highest(before.head.as_ref(), report),
        signer: report.signer.clone().or_else(|| before.signer.clone()),
        signing_key_secret: before.signing_key_secret.clone(),
        next_schedule_time: report.next_schedule_time.map(rfc3339),
        consecutive_failures: Some(i32::try_from(report.consecutive_failures).unwrap_or(i32::MAX)),
        missed_runs: Some(i32::try_from(report.missed_runs).unwrap_or(i32::MAX)),
        last_trigger: report
            .last_trigger
            .clone()
            .or_else(|| before.last_trigger.clone()),
        run: report.run.as_ref().map(run_in_progress),
        recent_runs: report.recent_runs.iter().map(recent_run).collect(),
    }
}

/// The head never goes down: a ledger that does is what the floor is there to find.
fn highest(before: Option<&LedgerHead>, report: &Report) -> Option<LedgerHead> {
    let reported = report
        .head
        .as_ref()
        .filter(|head| is_digest(&head.digest) && (1..=LAST_SEQUENCE).contains(&head.sequence))
        .and_then(|head| {
            Some(LedgerHead {
                sequence: i64::try_from(head.sequence).ok()?,
                digest: head.digest.clone(),
            })
        });
    match (before, reported) {
        (Some(before), Some(reported)) if reported.sequence <= before.sequence => Some(before.clone()),
        (before, reported) => reported.or_else(|| before.cloned()),
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn last_copy(copy: &dataembassy_contract::report::LastCopy) -> Option<LastCopy> {
    if !is_digest(&copy.digest) || !(1..=LAST_SEQUENCE).contains(&copy.sequence) {
        return None;
    }
    Some(LastCopy {
        sequence: i64::try_from(copy.sequence).ok()?,
        digest: copy.digest.clone(),
        taken_at: rfc3339(copy.taken_at),
        committed_at: rfc3339(copy.committed_at),
        bytes: i64::try_from(copy.bytes).ok()?,
        size: size(copy.bytes),
    })
}

/// Bytes for people, such as `71.3 MiB`.
fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

fn run_in_progress(run: &dataembassy_contract::report::Run) -> RunInProgress {
    RunInProgress {
        started_at: rfc3339(run.started_at),
        deadline_at: rfc3339(run.deadline_at),
        phase: format!("{:?}", run.progress.phase),
        percent: run.progress.share.map(percent),
    }
}

/// In steps of ten, so that the status is not written at every poll.
fn percent(share: f64) -> i32 {
    (0..=10)
        .rev()
        .find(|step| share * 10.0 >= f64::from(*step))
        .unwrap_or(0)
        * 10
}

fn recent_run(run: &FinishedRun) -> RecentRun {
    RecentRun {
        started_at: rfc3339(run.started_at),
        ended_at: rfc3339(run.ended_at),
        outcome: match run.outcome {
            Outcome::Copied => RunOutcome::Copied,
            Outcome::Interrupted => RunOutcome::Interrupted,
            Outcome::Failed => RunOutcome::Failed,
        },
        reason: run.reason.as_str().to_owned(),
        message: run.message.clone(),
        slot: run.slot.map(rfc3339),
        trigger: run.trigger.clone(),
        sequence: run
            .sequence
            .filter(|sequence| (1..=LAST_SEQUENCE).contains(sequence))
            .and_then(|sequence| i64::try_from(sequence).ok()),
        bytes: i64::try_from(run.bytes).unwrap_or(i64::MAX),
    }
}

//! Copies and runs: the sidecar's report in the resource's words, bounded.

use dataembassy_contract::report::{FinishedRun, Outcome, Report};
use dataembassy_crds::{LastCopy, LastProof, RecentRun, RegistryMirrorStatus, RunInProgress, RunOutcome};

use crate::condition::rfc3339;
use crate::heads::{LAST_SEQUENCE, highest, is_digest};
use crate::size::size;

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
        last_proof: report
            .last_proof
            .as_ref()
            .and_then(last_proof)
            .or_else(|| before.last_proof.clone()),
        head: highest(before.head.as_ref(), report.head.as_ref()),
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

fn last_proof(proof: &dataembassy_contract::report::LastProof) -> Option<LastProof> {
    if !is_digest(&proof.digest) || !(1..=LAST_SEQUENCE).contains(&proof.sequence) {
        return None;
    }
    Some(LastProof {
        sequence: i64::try_from(proof.sequence).ok()?,
        digest: proof.digest.clone(),
        taken_at: proof.taken_at.map(rfc3339),
        read_back_at: rfc3339(proof.read_back_at),
        proven_at: rfc3339(proof.proven_at),
    })
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_copy_and_a_proof_that_cannot_be_are_not_taken() {
        for (sequence, digits, can_be) in [
            (1, 64, true),
            (LAST_SEQUENCE, 64, true),
            (0, 64, false),
            (LAST_SEQUENCE + 1, 64, false),
            (1, 63, false),
        ] {
            let (digest, at) = ("a".repeat(digits), "2026-11-23T10:00:00Z");
            let copy =
                json!({"sequence": sequence, "digest": digest, "takenAt": at, "committedAt": at, "bytes": 1});
            let proof = json!({"sequence": sequence, "digest": digest, "readBackAt": at, "provenAt": at});
            let copy = last_copy(&serde_json::from_value(copy).unwrap());
            let proof = last_proof(&serde_json::from_value(proof).unwrap());
            assert_eq!(
                (copy.is_some(), proof.is_some()),
                (can_be, can_be),
                "{sequence} {digits}"
            );
        }
    }

    #[test]
    fn how_far_a_run_is_is_told_in_steps_of_ten() {
        for (share, told) in [
            (-1.0, 0),
            (0.0, 0),
            (0.09, 0),
            (0.1, 10),
            (0.99, 90),
            (1.0, 100),
            (7.0, 100),
            (f64::NAN, 0),
        ] {
            assert_eq!(percent(share), told, "{share}");
        }
    }
}

//! The run that is at work, and those that have ended.

use dataembassy_contract::drill::Verdict;
use dataembassy_crds::{
    ConditionStatus, CurrentDrill, DrillHistory, DrillOutcome, EndedDrill, RegistryDrillStatus,
};
use kube::ResourceExt;

use crate::condition::Finding;
use crate::drill::course::Step;
use crate::drill::status::Seen;
use crate::progress::{copy, words};

/// The most characters of what a run is doing.
const MAX_WORDS: usize = 128;

/// Brings the status where the step that was taken leads. `ready` says what keeps the run from going on, if anything does.
pub(super) fn advance(status: &mut RegistryDrillStatus, seen: &Seen<'_>, ready: &Finding) {
    match seen.step {
        Step::Rest => {}
        Step::Begin(due, current) => {
            status.current = Some((**current).clone());
            if due.trigger.is_some() {
                status.last_trigger.clone_from(&due.trigger);
            }
        }
        Step::End(ended) => end(status, ended),
        Step::Start(_) => tell(status, |current| {
            "its pod is being made".clone_into(&mut current.words);
        }),
        Step::Follow => tell(status, |current| follow(current, seen, ready)),
        Step::Keep(result) => tell(status, |current| {
            let words = match result.verdict {
                Verdict::Passed | Verdict::Failed => "the custodian is asked to sign what was found",
                Verdict::Inconclusive => "ending",
            };
            words.clone_into(&mut current.words);
            current.result = Some(result.clone().to_json());
        }),
        Step::Again => tell(status, |current| {
            current.attempt += 1;
            current.job_uid = None;
            current.copy = None;
            "its pod was lost, and it begins anew".clone_into(&mut current.words);
        }),
        Step::Await => tell(status, |current| {
            "the custodian is asked to sign what was found".clone_into(&mut current.words);
        }),
    }
}

fn tell(status: &mut RegistryDrillStatus, change: impl FnOnce(&mut CurrentDrill)) {
    if let Some(current) = &mut status.current {
        change(current);
        if let Some((cut, _)) = current.words.char_indices().nth(MAX_WORDS) {
            current.words.truncate(cut);
        }
    }
}

fn follow(current: &mut CurrentDrill, seen: &Seen<'_>, ready: &Finding) {
    if current.job_uid.is_none() {
        current.job_uid = seen.found.job.as_ref().and_then(ResourceExt::uid);
    }
    let report = seen.found.report.as_ref();
    let report = report.and_then(|report| report.as_deref().ok());
    // The copy is picked once in an attempt; what a pod says later changes nothing.
    if current.copy.is_none() {
        current.copy = report.and_then(|report| copy(report.copy.as_ref()?));
    }
    current.words = match report {
        _ if ready.status != ConditionStatus::True => format!("waiting: {}", ready.reason),
        Some(report) => words(&report.progress),
        None => "its pod is starting".to_owned(),
    };
}

fn end(status: &mut RegistryDrillStatus, ended: &EndedDrill) {
    status.current = None;
    if ended.result == DrillOutcome::Passed {
        status.last_passed_time = Some(ended.ended_at.clone());
        status.consecutive_failures = 0;
    } else {
        status.consecutive_failures = status.consecutive_failures.saturating_add(1);
    }
    status.runs.retain(|run| run.order != ended.order);
    status.runs.insert(0, ended.clone());
    status.last = Some(ended.clone());
}

/// Forgets the oldest runs of either kind.
pub(super) fn remember(runs: &mut Vec<EndedDrill>, history: DrillHistory) {
    let most = |count: i32| usize::try_from(count).unwrap_or_default().clamp(1, 20);
    let (mut passed, mut failed) = (most(history.passed), most(history.failed));
    runs.retain(|run| {
        let left = if run.result == DrillOutcome::Passed {
            &mut passed
        } else {
            &mut failed
        };
        let stays = *left > 0;
        *left = left.saturating_sub(1);
        stays
    });
}

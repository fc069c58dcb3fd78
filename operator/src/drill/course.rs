//! What is to be done next for a drill: one step at a time, each of which is in the status before the next begins. Pure.
//!
//! A run goes `begun → Job made → result kept → Job removed → recorded`. Whoever is killed anywhere in between finds in the status how far it
//! came, and goes on from there.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::OrderState;
use dataembassy_contract::drill::{DrillResult, LastWords, Verdict};
use dataembassy_crds::{ConditionStatus, CurrentDrill, EndedDrill, RegistryDrill};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::clock::{has_passed, lies_ahead};
use crate::condition::{find, rfc3339};
use crate::drill::agenda::{Due, Look};
use crate::drill::build::{CONTAINER, DATABASE};
use crate::drill::dereference::Found;
use crate::drill::validate::{self, Checked};
use crate::drill::{names, record};
use crate::embassy::validate::Refusal;
use crate::job::{self, OOM_KILLED, TOO_LONG, with_reason};

/// What is not begun with less time than this, in seconds.
const LEAST_SECONDS: u64 = 60;

/// How long a `RegistryCustody` that is gone may be on its way back, as where a pipeline replaces it, before what a drill found goes unsigned.
const MADE_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// No run is at work, and none can begin now.
    Rest,
    /// A run begins: its order is fixed before anything is made for it.
    Begin(Due, Box<CurrentDrill>),
    /// The attempt has no Job yet; it is made, with so many seconds.
    Start(u64),
    /// The Job is at work, or the run waits for what it needs.
    Follow,
    /// The run has a result, which is kept.
    Keep(Box<DrillResult>),
    /// The pod was lost without a result: another attempt.
    Again,
    /// The custodian is asked to sign the result, which needs no pod any more.
    Await,
    /// The run has ended.
    End(Box<EndedDrill>),
}

impl Step {
    /// Whether it moves the run on, which only whoever has seen the newest status may do.
    #[must_use]
    pub const fn moves(&self) -> bool {
        !matches!(self, Self::Rest | Self::Follow | Self::Await)
    }
}

/// How a pod ended that has shown no result.
enum End {
    /// In a way that another attempt would not change.
    Final(Reason, String),
    /// By no fault of the copy or of the drill.
    Lost(Reason, String),
}

/// What is to be done next.
#[must_use]
pub fn step(
    drill: &RegistryDrill,
    found: &Found,
    judged: &Result<Checked, Refusal>,
    look: Option<&Look>,
    now: Timestamp,
) -> Step {
    let Some(current) = drill.status.as_ref().and_then(|status| status.current.as_ref()) else {
        let due = look.and_then(|look| look.due.as_ref());
        return match (judged, due) {
            (Ok(_), Some(due)) => begin(drill, due, now),
            _ => Step::Rest,
        };
    };
    if current.result.is_some() {
        return recorded(drill, current, found, now);
    }
    let conclude =
        |said: (Reason, String)| Step::Keep(Box::new(record::inconclusive(drill, current, said, now)));
    let seconds = seconds_left(drill, current, now);
    if found.job.is_none() && current.job_uid.is_none() {
        return match judged {
            _ if seconds < LEAST_SECONDS => conclude(too_late(drill, too_late_for(current, now))),
            Ok(_) => Step::Start(seconds),
            Err(_) => Step::Follow,
        };
    }
    let told = found.report.as_ref().and_then(|report| report.as_deref().ok());
    let end = match told.and_then(|report| report.result.as_deref()) {
        // A pod that is told to stop says so, and is as lost as one that is not asked.
        Some(result) if result.reason == Reason::Interrupted => {
            Some(End::Lost(Reason::Interrupted, result.message.clone()))
        }
        Some(claimed) => return Step::Keep(Box::new(claim(drill, current, claimed, found, now))),
        None => end(drill, found),
    };
    match end {
        None => Step::Follow,
        Some(End::Lost(..)) if current.attempt <= drill.spec.retries && seconds >= LEAST_SECONDS => {
            Step::Again
        }
        Some(End::Lost(reason, message)) => {
            let message = format!(
                "{message}; this was attempt {}, and there is no other",
                current.attempt
            );
            conclude((reason, message))
        }
        Some(End::Final(reason, message)) => conclude((reason, message)),
    }
}

/// Two orders of one name would be one: who triggers twice in a second waits for the next.
fn begin(drill: &RegistryDrill, due: &Due, now: Timestamp) -> Step {
    let order = names::order(&drill.name_any(), now);
    let status = drill.status.clone().unwrap_or_default();
    if status
        .runs
        .iter()
        .chain(&status.last)
        .any(|run| run.order == order)
    {
        return Step::Rest;
    }
    let current = CurrentDrill {
        order,
        started_at: rfc3339(now),
        slot: due.slot.map(rfc3339),
        trigger: due.trigger.clone(),
        attempt: 1,
        job_uid: None,
        copy: None,
        words: "beginning".to_owned(),
        result: None,
    };
    Step::Begin(due.clone(), Box::new(current))
}

/// How many seconds of its time the run has left: none where it began ahead of our time, for it would have as many more as a clock was wrong by.
fn seconds_left(drill: &RegistryDrill, current: &CurrentDrill, now: Timestamp) -> u64 {
    let deadline = validate::timing(&drill.spec).map_or(0, |timing| timing.deadline.as_secs());
    let began = record::began_at(current).unwrap_or(now);
    if lies_ahead(began, now) {
        return 0;
    }
    let gone = now.duration_since(began).as_secs();
    deadline.saturating_sub(u64::try_from(gone).unwrap_or_default())
}

/// What has not come of a run while it had time.
fn too_late_for(current: &CurrentDrill, now: Timestamp) -> &'static str {
    if record::began_at(current).is_some_and(|began| lies_ahead(began, now)) {
        "it began by a clock that was ahead of ours, so nobody knows whether its Job would have been made"
    } else {
        "no Job could be made"
    }
}

/// A run that was not done in its time, and what the status has said last of why it does not come on.
fn too_late(drill: &RegistryDrill, what: &str) -> (Reason, String) {
    let said = drill
        .status
        .as_ref()
        .and_then(|status| find(&status.conditions, "Ready"));
    let why = said
        .filter(|ready| ready.status == ConditionStatus::False)
        .map_or_else(String::new, |ready| format!("; at last: {}", ready.message));
    let message = format!(
        "{what} within spec.schedule.deadline, {}{why}",
        drill.spec.schedule.deadline
    );
    (Reason::DeadlineExceeded, message)
}

/// The result that a pod shows, if it is about this run.
fn claim(
    drill: &RegistryDrill,
    current: &CurrentDrill,
    claimed: &DrillResult,
    found: &Found,
    now: Timestamp,
) -> DrillResult {
    let Some(mut result) = record::accept(drill, current, claimed) else {
        let message = format!(
            "its pod shows a result of the order {} and the registry {}, which is not this run's: somebody else answers in its place, or \
             sidecar and operator are of versions that do not fit",
            claimed.order, claimed.registry
        );
        return record::inconclusive(drill, current, (Reason::InternalError, message), now);
    };
    let out_of_memory = found.pod.as_ref().is_some_and(is_database_out_of_memory);
    if result.verdict == Verdict::Inconclusive && result.reason == Reason::CellLost && out_of_memory {
        result.reason = Reason::OutOfMemory;
        result.message = format!(
            "the throw-away database was killed at its memory limit: raise spec.server.resources.limits.memory; {}",
            result.message
        );
    }
    result
}

/// Whether the database was killed at its memory limit; Kubernetes has started it again by now.
fn is_database_out_of_memory(pod: &Pod) -> bool {
    let beside = pod
        .status
        .as_ref()
        .and_then(|status| status.init_container_statuses.as_ref());
    beside.into_iter().flatten().any(|container| {
        let states = [&container.state, &container.last_state];
        let mut ends = states
            .into_iter()
            .filter_map(|state| state.as_ref()?.terminated.as_ref());
        ends.any(|ended| ended.reason.as_deref() == Some(OOM_KILLED))
    })
}

/// How the pod ended, once it has, without a result that was received.
fn end(drill: &RegistryDrill, found: &Found) -> Option<End> {
    if let Some(full) = found.pod.as_ref().and_then(evicted_for_space) {
        return Some(full);
    }
    let failed = found.job.as_ref().and_then(job::failure);
    if failed == Some(TOO_LONG) {
        let (reason, message) = too_late(drill, "it was not done");
        return Some(End::Final(reason, message));
    }
    let terminated = found.pod.as_ref().and_then(|pod| job::terminated(pod, CONTAINER));
    if let Some(words) = terminated.and_then(|ended| LastWords::read(ended.message.as_deref()?)) {
        return Some(last_words(&words));
    }
    let lost = |message: String| {
        Some(End::Lost(
            Reason::Interrupted,
            with_reason(message, found.pod.as_ref()),
        ))
    };
    if let Some(ended) = terminated {
        if ended.reason.as_deref() == Some(OOM_KILLED) {
            let message = "it was killed at its memory limit: raise spec.sidecar.resources.limits.memory";
            return Some(End::Lost(Reason::OutOfMemory, message.to_owned()));
        }
        return lost(format!(
            "its pod ended with status {} and left no result",
            ended.exit_code
        ));
    }
    if let Some(ended) = found.pod.as_ref().and_then(database_ended) {
        return Some(ended);
    }
    let Some(job) = &found.job else {
        return lost("its Job is gone".to_owned());
    };
    if job::is_complete(job) {
        return lost("its Job completed, and its pod is gone with the result".to_owned());
    }
    failed.and_then(|failed| lost(format!("its Job failed ({failed})")))
}

/// A database that Kubernetes has started again is not the one that was restored into, and begins no other: its script ends at once, again
/// and again. Whoever waits in the same pod for a Secret, or for the server to come up, cannot know that.
fn database_ended(pod: &Pod) -> Option<End> {
    let beside = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    let database = beside.iter().find(|container| container.name == DATABASE)?;
    if database.restart_count == 0 {
        return None;
    }
    if is_database_out_of_memory(pod) {
        let message = "the throw-away database was killed at its memory limit: raise spec.server.resources.limits.memory";
        return Some(End::Final(Reason::OutOfMemory, message.to_owned()));
    }
    let looks = [&database.last_state, &database.state];
    let mut ends = looks
        .into_iter()
        .filter_map(|state| state.as_ref()?.terminated.as_ref());
    let how = ends
        .next()
        .map_or(String::new(), |ended| format!(" with status {}", ended.exit_code));
    let message = format!(
        "the throw-away database ended before its time{how}: look whether somebody or something killed it, and whether the image          starts at all"
    );
    Some(End::Final(Reason::CellLost, message))
}

/// A result that nobody has received is none: only its few words are left, and nothing can be signed.
fn last_words(words: &LastWords) -> End {
    let message = words.message.clone();
    match words.verdict {
        Verdict::Inconclusive if words.reason == Reason::Interrupted => {
            End::Lost(Reason::Interrupted, message)
        }
        Verdict::Inconclusive => End::Final(words.reason, message),
        Verdict::Passed | Verdict::Failed => {
            let verdict = if words.verdict == Verdict::Passed {
                "passed"
            } else {
                "failed"
            };
            let message = format!(
                "the copy {verdict}, but the operator was not there to receive the result, so nothing is signed; its last words were: \
                 {message}"
            );
            End::Final(Reason::Interrupted, message)
        }
    }
}

/// What the kubelet does to a pod whose volume is full.
fn evicted_for_space(pod: &Pod) -> Option<End> {
    let status = pod.status.as_ref()?;
    let message = status.message.as_deref().unwrap_or_default();
    let message = message.trim_end_matches(['.', ' ']);
    if status.reason.as_deref() != Some("Evicted") || !message.to_ascii_lowercase().contains("emptydir") {
        return None;
    }
    Some(if message.contains("\"scratch\"") {
        let message = format!("its scratch space is full ({message}): raise spec.sidecar.scratchSize");
        End::Final(Reason::ScratchSpaceExhausted, message)
    } else {
        let message = format!(
            "the throw-away database grew beyond its volume ({message}): raise spec.server.volumeSize, or find out what in the copy grows"
        );
        End::Final(Reason::CellFull, message)
    })
}

/// What becomes of a result that is kept.
fn recorded(drill: &RegistryDrill, current: &CurrentDrill, found: &Found, now: Timestamp) -> Step {
    let end = |result: &DrillResult, entry| Step::End(Box::new(record::ended(current, result, entry)));
    let Some(result) = record::kept(drill, current) else {
        let message = "somebody has changed status.current.result, so nothing is signed".to_owned();
        let said = (Reason::InternalError, message);
        return end(&record::inconclusive(drill, current, said, now), None);
    };
    if result.verdict == Verdict::Inconclusive {
        return end(&result, None);
    }
    // What was found stays in the record; what is to be said of the copy does not.
    let unsigned = |result: DrillResult, reason: Reason, message: String| {
        let result = DrillResult {
            verdict: Verdict::Inconclusive,
            reason,
            message,
            ..result
        };
        end(&result, None)
    };
    let counts = found
        .custody
        .as_ref()
        .map(|custody| validate::counts(drill, custody));
    if counts.is_none() && !has_passed(result.ended_at, MADE_AGAIN, now) {
        return Step::Await;
    }
    if counts != Some(true) {
        let message = "the RegistryCustody does not count drills of this namespace any more, so what it found is not signed: name the \
                       namespace in its spec.drills.namespace";
        return unsigned(result, Reason::DrillNotAllowed, message.to_owned());
    }
    match &found.answer {
        Some(OrderState::Done { sequence }) => end(&result, Some(*sequence)),
        Some(OrderState::Refused { reason, message }) => {
            let message = format!("the custodian refuses to sign what it found ({reason}): {message}");
            unsigned(result, Reason::OrderRefused, message)
        }
        Some(OrderState::Waiting { .. }) | None => Step::Await,
    }
}

//! Whether the resource is followed: `Ready`, and `Stalled` where only a change of something helps.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::OrderState;
use dataembassy_contract::report::{MissingSecret, SecretRole};
use dataembassy_crds::{CurrentDrill, RegistryDrill};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::clock::has_passed;
use crate::condition::Finding;
use crate::drill::course::Step;
use crate::drill::dereference::Found;
use crate::drill::status::Seen;
use crate::drill::{names, record};
use crate::pod::{self, Trouble, Words};
use crate::{job, secrets};

/// How our process is spoken of.
const WORDS: Words = Words {
    process: "drill",
    settings: "spec.sidecar",
    memory: "192Mi",
};
/// How the throw-away database is spoken of.
const DATABASE_WORDS: Words = Words {
    process: "throw-away database",
    settings: "spec.server",
    memory: "1Gi",
};
/// How long the custodian may take for an answer before its silence is worth words.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// Whether the spec is valid, and the run that is at work comes on.
pub(super) fn ready(drill: &RegistryDrill, seen: &Seen<'_>, now: Timestamp) -> Finding {
    let current = drill.status.as_ref().and_then(|status| status.current.as_ref());
    if let Err(error) = seen.taken {
        return Finding::no(error.reason(), error.to_string());
    }
    if let Err(refusal) = seen.judged {
        let goes_on = if current.is_some() && !matches!(seen.step, Step::End(_)) {
            "; the run that is at work goes on"
        } else {
            ""
        };
        return Finding::no(refusal.reason, format!("{}{goes_on}", refusal.message));
    }
    match (seen.step, current) {
        (Step::Begin(_, current), _) => at_work(current),
        (Step::Rest | Step::End(_), _) | (_, None) => at_rest(drill, seen),
        (Step::Start(_) | Step::Again, Some(current)) => at_work(current),
        (Step::Follow, Some(current)) => followed(drill, current, seen.found, now),
        (Step::Keep(_) | Step::Await, Some(current)) => recording(drill, current, seen.found, now),
    }
}

/// What cannot mend itself: the resource or something in its way has to be changed.
pub(super) fn is_stalled(seen: &Seen<'_>) -> bool {
    match seen.taken {
        Err(error) => error.is_permanent(),
        Ok(()) => seen.judged.is_err(),
    }
}

fn at_rest(drill: &RegistryDrill, seen: &Seen<'_>) -> Finding {
    if drill.spec.suspend {
        let message = "the schedule rests, so no drill begins by itself until spec.suspend is false; a new spec.trigger is answered all \
                       the same";
        return Finding::yes(Reason::Suspended, message);
    }
    let next = seen.look.and_then(|look| look.announced(false));
    let next = next.map_or_else(String::new, |next| format!("; the next drill begins at {next}"));
    Finding::yes(Reason::Accepted, format!("the resource is valid{next}"))
}

fn at_work(current: &CurrentDrill) -> Finding {
    Finding::yes(
        Reason::Drilling,
        format!(
            "the drill {} is at work: status.current says how far it is",
            current.order
        ),
    )
}

/// What is to be said of a run whose Job is there.
fn followed(drill: &RegistryDrill, current: &CurrentDrill, found: &Found, now: Timestamp) -> Finding {
    let pod = found.pod.as_ref();
    let trouble = pod::trouble(pod, None, WORDS).or_else(|| pod.and_then(of_database));
    if let Some(trouble) = trouble {
        return Finding::no(trouble.reason, trouble.message);
    }
    let report = match &found.report {
        Some(Ok(report)) => report,
        Some(Err(error)) => {
            let message = format!(
                "its pod runs and does not answer the operator ({error}): check network policies and its log"
            );
            return Finding::no(Reason::SidecarSilent, message);
        }
        None if job::has_no_pod(found.job.as_ref(), found.pod.as_ref(), now) => {
            let message = pod::none_made(
                "Job",
                &names::job(current),
                &drill.namespace().unwrap_or_default(),
                found.refusal.as_deref(),
            );
            return Finding::no(Reason::PodRefused, message);
        }
        None => return at_work(current),
    };
    if let Some(finding) = missing(drill, &report.missing_secrets) {
        return finding;
    }
    match &report.waits {
        Some(waits) => Finding::no(waits.reason, waits.message.clone()),
        None => at_work(current),
    }
}

/// What is wrong with the throw-away database, whose memory nobody has bounded but its limit.
fn of_database(pod: &Pod) -> Option<Trouble> {
    let mut trouble = pod::trouble_beside(pod, DATABASE_WORDS)?;
    if trouble.reason == Reason::OutOfMemory {
        let words = "the throw-away database was killed at its memory limit: raise spec.server.resources.limits.memory, or lower \
                     spec.jobs";
        words.clone_into(&mut trouble.message);
    }
    Some(trouble)
}

/// The sidecar knows its Secrets by what they are for, we by their names.
fn missing(drill: &RegistryDrill, missing: &[MissingSecret]) -> Option<Finding> {
    let spec = &drill.spec;
    let named = [
        (SecretRole::Retrieval, &spec.retrieval_credentials_ref.name),
        (SecretRole::Identity, &spec.identity_ref.name),
    ];
    secrets::missing(missing, named)
}

/// What is to be said while the custodian is asked.
fn recording(drill: &RegistryDrill, current: &CurrentDrill, found: &Found, now: Timestamp) -> Finding {
    if let Some(OrderState::Waiting { reason, message }) = &found.answer {
        return Finding::no(
            *reason,
            format!("the custodian cannot sign what was found yet: {message}"),
        );
    }
    let ended = record::kept(drill, current).map(|result| result.ended_at);
    if ended.is_some_and(|ended| has_passed(ended, PATIENCE, now)) {
        let message = "the custodian has not answered yet whether it signs what was found: look at its pod, and at the conditions of the \
                       DataEmbassy and the RegistryCustody";
        return Finding::no(Reason::Recording, message);
    }
    Finding::yes(
        Reason::Recording,
        format!(
            "the drill {} has ended, and the custodian is asked to sign what it found",
            current.order
        ),
    )
}

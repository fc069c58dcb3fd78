//! What a restore says about itself: computed from its Job, its pod's last words, and what the pod reports.

use dataembassy_contract::report::{MissingSecret, SecretRole};
use dataembassy_contract::restore::{Ending, RestoreProgress as Reported, RestoreReport, RestoreResult};
use dataembassy_contract::{Duration, Reason};
use dataembassy_crds::{
    Condition, ConditionStatus, GivenAnswer, IdentityStay, LeftOut, RegistryRestore, RegistryRestoreStatus,
    RestorePhase, RestoreProgress, Restored,
};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::clock::lies_ahead;
use crate::condition::{Conditions, Finding, find, rfc3339};
use crate::identity;
use crate::job::{self, OOM_KILLED, TOO_LONG, with_reason};
use crate::pod::{self, Words};
use crate::progress::{copy, number, whole, words};
use crate::restore::build::CONTAINER;
use crate::restore::dereference::Found;
use crate::restore::{Outcome, names};
use crate::secrets;
use crate::status::Observed;

/// How a restore's process is spoken of.
const WORDS: Words = Words {
    process: "restore",
    settings: "spec.sidecar",
    memory: "192Mi",
};

/// How a restore ended.
struct End {
    finding: Finding,
    result: Option<RestoreResult>,
}

/// Computes the status. Pure.
#[must_use]
pub fn observe(
    restore: &RegistryRestore,
    found: &Found,
    outcome: &Outcome,
    now: Timestamp,
) -> RegistryRestoreStatus {
    let before = restore.status.clone().unwrap_or_default();
    let generation = restore.metadata.generation.unwrap_or_default();
    let report = found.report.as_ref().and_then(|report| report.as_deref().ok());
    let mut status = RegistryRestoreStatus {
        observed_generation: Some(generation),
        ..before.clone()
    };
    if let (Some(job), None) = (&found.job, &status.job_uid) {
        status.job_uid = job.uid();
        status.started_at = Some(rfc3339(now));
    }
    let has_begun = status.job_uid.is_some();
    let end = if has_begun {
        end(restore, found)
    } else {
        never_begun(restore, outcome, now)
    };
    // The copy is chosen once; what a pod says later changes nothing.
    if status.copy.is_none() {
        let chosen = report.and_then(|report| report.copy.as_ref());
        let told = end.as_ref().and_then(|end| end.result.as_ref()?.copy.as_ref());
        status.copy = chosen.or(told).and_then(copy);
    }
    if let Some(report) = report {
        status.progress = Some(progress(&report.progress));
    }
    let result = end.as_ref().and_then(|end| end.result.as_ref());
    // Of one that ended well the numbers may be gone with its pod.
    let is_restored = end
        .as_ref()
        .is_some_and(|end| end.finding.status == ConditionStatus::True);
    status.has_written |= !empties(restore)
        && (is_restored
            || report.is_some_and(|report| report.progress.phase.writes())
            || result.is_some_and(|result| result.ending != Ending::NothingWritten));
    status.identity = identity_of(restore, found, report, status.copy.is_some(), now);
    let mut conditions = Conditions::new(&before.conditions, generation, now);
    let ready = match &end {
        Some(end) => {
            status.ended_at = Some(rfc3339(now));
            if let Some(result) = &end.result {
                take(&mut status, result);
            }
            end.finding.clone()
        }
        None => at_work(restore, found, outcome, report, now),
    };
    status.phase = match &end {
        Some(end) if end.finding.status == ConditionStatus::True => RestorePhase::Restored,
        Some(_) => RestorePhase::Failed,
        None if has_begun => RestorePhase::Running,
        None => RestorePhase::Pending,
    };
    let stuck = matches!(status.phase, RestorePhase::Failed)
        || matches!(outcome, Outcome::Refused(_))
        || matches!(outcome, Outcome::NotApplied(error) if error.is_permanent());
    conditions.set("Ready", ready.clone());
    if stuck {
        conditions.set("Stalled", Finding::yes(ready.reason, ready.message));
    } else if status.phase != RestorePhase::Restored {
        conditions.set("Reconciling", Finding::yes(ready.reason, ready.message));
    }
    if let Some(finding) = status
        .identity
        .as_ref()
        .and_then(|stay| identity::finding(&[stay]))
    {
        conditions.set("IdentityPresent", finding);
    }
    status.conditions = conditions.finish();
    status
}

/// How long the identity has lain there; of one that drops something nobody knows, for it needs none.
fn identity_of(
    restore: &RegistryRestore,
    found: &Found,
    report: Option<&RestoreReport>,
    has_chosen: bool,
    now: Timestamp,
) -> Option<IdentityStay> {
    let before = restore
        .status
        .as_ref()
        .and_then(|status| status.identity.as_ref());
    let missing = report.map_or(&[][..], |report| &report.missing_secrets);
    let sight = identity::sight(missing, has_chosen);
    let secret = &restore.spec.identity_ref.name;
    identity::after(before, secret, found.pod.as_ref(), sight, now)
}

/// Whether a restore that has not begun no longer may. Where the API server's clock was ahead of ours when it was asked for, its time counts from
/// what was said of it first: our clock may be the wrong one, and would otherwise end at once whatever it comes to.
#[must_use]
pub fn is_late(restore: &RegistryRestore, now: Timestamp) -> bool {
    let asked = restore.metadata.creation_timestamp.as_ref().map(|asked| asked.0);
    let said = || {
        let conditions = &restore.status.as_ref()?.conditions;
        let since = find(conditions, "Ready")?
            .last_transition_time
            .parse::<Timestamp>();
        since.ok()
    };
    let asked = asked.and_then(|asked| {
        if lies_ahead(asked, now) {
            said()
        } else {
            Some(asked)
        }
    });
    let deadline = restore.spec.deadline.parse().ok();
    let deadline = deadline.and_then(|deadline: Duration| SignedDuration::try_from(deadline.as_std()).ok());
    asked
        .zip(deadline)
        .is_some_and(|(asked, deadline)| now.duration_since(asked) > deadline)
}

/// A restore that could not begin within its deadline never does: what it was asked for may be something else by then.
fn never_begun(restore: &RegistryRestore, outcome: &Outcome, now: Timestamp) -> Option<End> {
    let before = restore.status.as_ref();
    let why = match outcome {
        Outcome::Refused(refusal) => refusal.message.clone(),
        Outcome::Late => before
            .and_then(|status| find(&status.conditions, "Ready"))
            .map_or_else(
                || "no operator had come to it".to_owned(),
                |ready| ready.message.clone(),
            ),
        Outcome::Applied | Outcome::NotApplied(_) => return None,
    };
    is_late(restore, now).then(|| End {
        finding: Finding::no(
            Reason::DeadlineExceeded,
            format!(
                "nothing was begun within spec.deadline, {}, because {why}. Nothing was written: make another restore",
                restore.spec.deadline
            ),
        ),
        result: None,
    })
}

/// How it ended, once it has.
fn end(restore: &RegistryRestore, found: &Found) -> Option<End> {
    let terminated = found.pod.as_ref().and_then(|pod| job::terminated(pod, CONTAINER));
    let result = terminated.and_then(|ended| RestoreResult::read(ended.message.as_deref()?));
    if let Some(result) = result {
        let too_long = found.job.as_ref().and_then(job::failure) == Some(TOO_LONG);
        let finding = if result.ending == Ending::Restored {
            Finding::yes(done(restore), result.message.clone())
        } else if too_long && result.reason == Reason::Interrupted {
            let message = format!("it took longer than spec.deadline, {}", restore.spec.deadline);
            Finding::no(Reason::DeadlineExceeded, format!("{message}; {}", result.message))
        } else {
            Finding::no(result.reason, result.message.clone())
        };
        return Some(End {
            finding,
            result: Some(result),
        });
    }
    let unsaid = |reason, message: String| {
        if empties(restore) {
            let message = format!("{message}; something of the rehearsal may still be in the database");
            return Some(End {
                finding: Finding::no(reason, message),
                result: None,
            });
        }
        Some(End {
            finding: Finding::no(
                reason,
                format!(
                    "{message}; if it had begun to write{}, the database is marked as not usable: make another restore with \
                     ifNotEmpty: Replace",
                    if restore.spec.assertions.is_empty() {
                        ""
                    } else {
                        ", and had not come to its questions"
                    }
                ),
            ),
            result: None,
        })
    };
    if let Some(ended) = terminated {
        if ended.reason.as_deref() == Some(OOM_KILLED) {
            let message = "it was killed at its memory limit: raise spec.sidecar.resources.limits.memory";
            return unsaid(Reason::OutOfMemory, message.to_owned());
        }
        let message = format!("its pod ended with status {} and left no result", ended.exit_code);
        return unsaid(Reason::Interrupted, with_reason(message, found.pod.as_ref()));
    }
    let Some(job) = &found.job else {
        return unsaid(Reason::Interrupted, "its Job is gone".to_owned());
    };
    if job::is_complete(job) {
        // The process ends well in one case only.
        let message = "its Job completed; its pod is gone, and with it the numbers";
        return Some(End {
            finding: Finding::yes(done(restore), message),
            result: None,
        });
    }
    let failed = job::failure(job)?;
    if failed == TOO_LONG {
        let message = format!("it took longer than spec.deadline, {}", restore.spec.deadline);
        return unsaid(Reason::DeadlineExceeded, message);
    }
    // Its pod may have been deleted or evicted before anybody read its last words.
    let message = format!("its Job failed ({failed})");
    unsaid(Reason::Interrupted, with_reason(message, found.pod.as_ref()))
}

/// Whether it only drops what a rehearsal has restored.
fn empties(restore: &RegistryRestore) -> bool {
    let rehearsal = restore.spec.rehearsal.as_ref();
    rehearsal.is_some_and(|rehearsal| rehearsal.empties)
}

/// What one that ended well has done.
fn done(restore: &RegistryRestore) -> Reason {
    if empties(restore) {
        Reason::CleanedUp
    } else {
        Reason::Restored
    }
}

/// What is to be said while it has not ended.
fn at_work(
    restore: &RegistryRestore,
    found: &Found,
    outcome: &Outcome,
    report: Option<&RestoreReport>,
    now: Timestamp,
) -> Finding {
    match outcome {
        Outcome::Refused(refusal) => return Finding::no(refusal.reason, refusal.message.clone()),
        Outcome::NotApplied(error) => return Finding::no(error.reason(), error.to_string()),
        Outcome::Applied | Outcome::Late => {}
    }
    if let Some(trouble) = pod::trouble(found.pod.as_ref(), None, WORDS) {
        return Finding::no(trouble.reason, trouble.message);
    }
    let Some(report) = report else {
        return match &found.report {
            Some(Err(error)) => Finding::no(
                Reason::SidecarSilent,
                format!(
                    "its pod runs and does not answer the operator ({error}): check network policies and its log"
                ),
            ),
            _ if job::has_no_pod(found.job.as_ref(), found.pod.as_ref(), now) => Finding::no(
                Reason::PodRefused,
                pod::none_made(
                    "Job",
                    &names::object(&restore.name_any()),
                    &restore.namespace().unwrap_or_default(),
                    found.refusal.as_deref(),
                ),
            ),
            _ => Finding::no(Reason::Applying, "its pod is starting"),
        };
    };
    if let Some(finding) = missing(restore, &report.missing_secrets) {
        return finding;
    }
    match &report.waits {
        Some(waits) => Finding::no(waits.reason, waits.message.clone()),
        None if empties(restore) => Finding::no(
            Reason::CleaningUp,
            "what the rehearsal has restored is being dropped",
        ),
        None => Finding::no(Reason::Restoring, words(&report.progress)),
    }
}

/// The sidecar knows its Secrets by what they are for, we by their names.
fn missing(restore: &RegistryRestore, missing: &[MissingSecret]) -> Option<Finding> {
    let spec = &restore.spec;
    let named = [
        (SecretRole::Retrieval, &spec.retrieval_credentials_ref.name),
        (SecretRole::Identity, &spec.identity_ref.name),
        (SecretRole::Database, &spec.target.credentials_ref.name),
        (SecretRole::DatabaseCa, &spec.target.tls.ca_ref.name),
    ];
    secrets::missing(missing, named)
}

fn take(status: &mut RegistryRestoreStatus, result: &RestoreResult) {
    // A wrong answer takes nothing of the copy away.
    if matches!(result.ending, Ending::Restored | Ending::Unconfirmed) {
        status.restored = Some(Restored {
            tables: number(result.tables),
            rows: number(result.rows),
            bytes: number(result.bytes),
            large_objects: number(result.large_objects),
            seconds: whole(result.seconds.ceil()),
        });
        status.progress = Some(RestoreProgress {
            words: "done".to_owned(),
            rows: number(result.rows),
            bytes: number(result.bytes),
            rate: status.progress.as_ref().map_or(0, |progress| progress.rate),
            eta_seconds: None,
        });
    }
    let mut kinds = std::collections::BTreeSet::new();
    status.left_out = result
        .left_out
        .iter()
        .filter(|left_out| kinds.insert(&left_out.kind))
        .map(|left_out| LeftOut {
            kind: left_out.kind.clone(),
            count: number(left_out.count),
        })
        .collect();
    let mut names = std::collections::BTreeSet::new();
    status.assertions = result
        .assertions
        .iter()
        .filter(|answer| !answer.name.is_empty() && names.insert(&answer.name))
        .map(|answer| GivenAnswer {
            name: answer.name.clone(),
            passed: answer.passed,
            expected: answer.expected.clone(),
            found: answer.found.clone(),
        })
        .collect();
}

fn progress(reported: &Reported) -> RestoreProgress {
    RestoreProgress {
        words: words(reported),
        rows: number(reported.rows),
        bytes: number(reported.bytes),
        rate: number(reported.rate),
        eta_seconds: reported.eta_seconds.map(number),
    }
}

impl Observed for RegistryRestore {
    type Status = RegistryRestoreStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    fn identity_since(status: &Self::Status) -> Option<&str> {
        status.identity.as_ref()?.present_since.as_deref()
    }
}

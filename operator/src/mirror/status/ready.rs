//! Whether the resource is followed: `Ready`, and `Stalled` where only a change of something helps.

use dataembassy_contract::Reason;
use dataembassy_contract::report::SecretRole;
use dataembassy_crds::{LastCopy, RegistryMirror};
use jiff::Timestamp;

use super::health::missing_secrets;
use crate::condition::Finding;
use crate::mirror::Outcome;
use crate::mirror::dereference::Found;
use crate::mirror::rollout::{Wait, killed_since};
use crate::pod::{self, Words};

/// How a mirror's process is spoken of.
const WORDS: Words = Words {
    process: "sidecar",
    settings: "spec.sidecar",
    memory: "192Mi",
};

/// Whether the sidecar runs with this generation: the spec is valid, the objects are applied, and the report echoes it.
pub(super) fn ready(
    found: &Found,
    outcome: &Outcome,
    mirror: &RegistryMirror,
    copy: Option<&LastCopy>,
    now: Timestamp,
) -> Finding {
    let generation = mirror.metadata.generation.unwrap_or_default();
    let applied = match outcome {
        Outcome::Refused(refusal) => return Finding::no(refusal.reason, refusal.message.clone()),
        Outcome::NotApplied(error) => return Finding::no(error.reason(), error.to_string()),
        Outcome::Applied(applied) => applied,
    };
    if !applied.runs {
        return Finding::yes(
            Reason::Suspended,
            "the mirror is suspended: no copies are made until spec.suspend is false",
        );
    }
    if let Some(trouble) = pod::trouble(found.pod.as_deref(), found.deployment.as_deref(), WORDS) {
        return Finding::no(trouble.reason, trouble.message);
    }
    match applied.waits {
        Some(Wait::RunInProgress) => {
            return Finding::no(
                Reason::RolloutPending,
                "a new pod is due and waits for the run in progress",
            );
        }
        Some(Wait::OthersFirst) => {
            return Finding::no(
                Reason::RolloutPending,
                "a new pod is due and waits for those of other mirrors",
            );
        }
        None if applied.replaces => {
            return Finding::no(Reason::Applying, "a new pod takes the place of the sidecar's");
        }
        None => {}
    }
    let report = match &found.report {
        None => return Finding::no(Reason::Applying, "the sidecar's pod is starting"),
        Some(Err(error)) => return silent(mirror, error),
        Some(Ok(report)) => report,
    };
    // The sidecar knows its Secrets by what they are for, we by their names.
    if let Some(finding) = missing_secrets(mirror, report, &SecretRole::ALL) {
        return finding;
    }
    match (&report.refused, &report.loaded) {
        (Some(fault), _) => Finding::no(fault.reason, fault.message.clone()),
        (None, Some(loaded)) if loaded.generation == generation => runs(found, copy, now),
        _ => Finding::no(
            Reason::NotYetLoaded,
            "the sidecar has not loaded the newest generation of this resource yet",
        ),
    }
}

/// The sidecar is as it should be, if it stays so. That it was killed for its memory is said until it has shown that it can do with what it has;
/// where that comes again and again, it is not ready in between either, or nobody would ever be called.
fn runs(found: &Found, copy: Option<&LastCopy>, now: Timestamp) -> Finding {
    let runs = "the sidecar runs with the newest generation of this resource";
    let Some(pod) = found.pod.as_deref() else {
        return Finding::yes(Reason::Loaded, runs);
    };
    if let Some(at) = killed_since(pod, copy, now) {
        let message = format!(
            "{runs}; {}",
            WORDS.was_out_of_memory(at, "has made no copy since")
        );
        return if pod::ends_often(pod) {
            Finding::no(Reason::OutOfMemory, message)
        } else {
            Finding::yes(Reason::OutOfMemory, message)
        };
    }
    // What was killed for its memory and has made a copy since can do with what it has.
    let has_copied_since = pod::out_of_memory_at(pod).is_some();
    match pod::relapse(pod, WORDS, now).filter(|_| !has_copied_since) {
        Some(trouble) => Finding::no(trouble.reason, trouble.message),
        None => Finding::yes(Reason::Loaded, runs),
    }
}

/// A process that has just started may not listen yet; one that was heard before has fallen silent.
fn silent(mirror: &RegistryMirror, error: &str) -> Finding {
    let heard = mirror
        .status
        .as_ref()
        .is_some_and(|status| status.signer.is_some());
    let message = format!(
        "the sidecar's pod runs and does not answer the operator ({error}): check network policies and its log"
    );
    if heard {
        Finding::unknown(Reason::SidecarSilent, message)
    } else {
        Finding::no(Reason::SidecarSilent, message)
    }
}

/// What cannot mend itself: the resource or something in its way has to be changed.
pub(super) fn stalled(found: &Found, outcome: &Outcome) -> Option<Finding> {
    let goes_on = if found.deployment.is_some() {
        "; the mirror goes on with its last valid configuration"
    } else {
        ""
    };
    match outcome {
        Outcome::Refused(refusal) => Some(Finding::yes(
            refusal.reason,
            format!("{}{goes_on}", refusal.message),
        )),
        Outcome::NotApplied(error) if error.is_permanent() => {
            Some(Finding::yes(error.reason(), format!("{error}{goes_on}")))
        }
        Outcome::NotApplied(_) | Outcome::Applied(_) => None,
    }
}

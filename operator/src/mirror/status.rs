//! What the resource says about itself: computed from what was applied and what the sidecar reports, never from hope.

use dataembassy_contract::Reason;
use dataembassy_contract::report::{
    Check, CheckState, FinishedRun, MissingSecret, Outcome as RunResult, Report, SecretRole,
};
use dataembassy_crds::{
    LastCopy, LedgerHead, RecentRun, RegistryMirror, RegistryMirrorStatus, RunInProgress, RunOutcome,
};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::condition::{Conditions, Finding, rfc3339};
use crate::event;
use crate::mirror::dereference::Found;
use crate::mirror::rollout::Wait;
use crate::mirror::{MANAGER, Outcome, names, pod};
use crate::run::{Context, ReconcileError};

/// The numbers of a ledger end here: JSON's integers are exact below 2⁵³.
const LAST_SEQUENCE: u64 = (1 << 53) - 1;

/// Computes the status. Pure.
#[must_use]
pub fn observe(
    mirror: &RegistryMirror,
    found: &Found,
    outcome: &Outcome,
    now: Timestamp,
) -> RegistryMirrorStatus {
    let before = mirror.status.clone().unwrap_or_default();
    let generation = mirror.metadata.generation.unwrap_or_default();
    let report = found.report.as_ref().and_then(|report| report.as_ref().ok());
    let mut status = facts(&before, report);
    status.observed_generation = Some(generation);
    if let Outcome::Applied(applied) = outcome {
        status.signing_key_secret.clone_from(&applied.signing_key_secret);
        if !applied.runs {
            status.next_schedule_time = None;
            status.run = None;
        }
    }

    let ready = ready(generation, found, outcome, mirror, status.last_copy.as_ref());
    let mut conditions = Conditions::new(&before.conditions, generation, now);
    let stalled = stalled(found, outcome);
    let settled = ready.status == dataembassy_crds::ConditionStatus::True || stalled.is_some();
    let reconciling = (!settled).then(|| Finding::yes(ready.reason, ready.message.clone()));
    conditions.set("Ready", ready);
    if let Some(reconciling) = reconciling {
        conditions.set("Reconciling", reconciling);
    }
    if let Some(stalled) = stalled {
        conditions.set("Stalled", stalled);
    }
    conditions.set(
        "SourceReachable",
        reachable(mirror, report, found, |report| &report.source, &SOURCE_SECRETS),
    );
    conditions.set(
        "StoreReachable",
        reachable(mirror, report, found, |report| &report.store, &STORE_SECRETS),
    );
    conditions.set("WithinRPO", within_rpo(mirror, status.last_copy.as_ref(), now));
    for (type_, fault) in [
        ("Fenced", report.and_then(|report| report.fenced.as_ref())),
        ("Suspicious", report.and_then(|report| report.suspicious.as_ref())),
    ] {
        if let Some(fault) = fault {
            conditions.set(type_, Finding::yes(fault.reason, fault.message.clone()));
        } else if report.is_none()
            && let Some(kept) = crate::condition::find(&before.conditions, type_)
        {
            // Silence takes nothing back.
            let reason = kept.reason.parse().unwrap_or(Reason::Other);
            conditions.set(type_, Finding::yes(reason, kept.message.clone()));
        }
    }
    status.conditions = conditions.finish();
    status
}

/// Writes the status and tells of it, if it changed.
pub async fn write(
    mirror: &RegistryMirror,
    status: RegistryMirrorStatus,
    context: &Context,
) -> Result<(), ReconcileError> {
    let before = mirror.status.clone().unwrap_or_default();
    if status == before {
        return Ok(());
    }
    let api: Api<RegistryMirror> =
        Api::namespaced(context.client.clone(), &mirror.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": RegistryMirror::api_version(&()),
        "kind": RegistryMirror::kind(&()),
        "status": status,
    });
    match api
        .patch_status(
            &mirror.name_any(),
            &PatchParams::apply(MANAGER).force(),
            &Patch::Apply(patch),
        )
        .await
    {
        Ok(_) => {}
        // Deleted meanwhile: there is nobody left to tell.
        Err(kube::Error::Api(error)) if error.code == 404 => return Ok(()),
        Err(source) => {
            return Err(ReconcileError::StatusNotWritten {
                source: Box::new(source),
            });
        }
    }
    context.metrics.wrote("RegistryMirror");
    let events = event::of_change(&before.conditions, &status.conditions);
    event::publish(&context.recorder, &mirror.object_ref(&()), events).await;
    Ok(())
}

/// What is known whatever the resource says; silence takes nothing back.
fn facts(before: &RegistryMirrorStatus, report: Option<&Report>) -> RegistryMirrorStatus {
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
            RunResult::Copied => RunOutcome::Copied,
            RunResult::Interrupted => RunOutcome::Interrupted,
            RunResult::Failed => RunOutcome::Failed,
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

/// Whether the sidecar runs with this generation: the spec is valid, the objects are applied, and the report echoes it.
fn ready(
    generation: i64,
    found: &Found,
    outcome: &Outcome,
    mirror: &RegistryMirror,
    copy: Option<&LastCopy>,
) -> Finding {
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
    if let Some(trouble) = pod::trouble(found.pod.as_deref(), found.deployment.as_deref()) {
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
        (None, Some(loaded)) if loaded.generation == generation => runs(found, copy),
        _ => Finding::no(
            Reason::NotYetLoaded,
            "the sidecar has not loaded the newest generation of this resource yet",
        ),
    }
}

/// The sidecar is as it should be. That it was killed for its memory is said until it has shown that it can do with what it has.
fn runs(found: &Found, copy: Option<&LastCopy>) -> Finding {
    let runs = "the sidecar runs with the newest generation of this resource";
    let committed = copy.and_then(|copy| copy.committed_at.parse::<Timestamp>().ok());
    let killed = found.pod.as_deref().and_then(pod::out_of_memory_at);
    match killed.filter(|at| committed.is_none_or(|committed| committed < *at)) {
        Some(at) => Finding::yes(
            Reason::OutOfMemory,
            format!("{runs}; {}", pod::was_out_of_memory(at)),
        ),
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
fn stalled(found: &Found, outcome: &Outcome) -> Option<Finding> {
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

const SOURCE_SECRETS: [SecretRole; 2] = [SecretRole::Database, SecretRole::DatabaseCa];
const STORE_SECRETS: [SecretRole; 2] = [SecretRole::Deposit, SecretRole::Signing];

fn reachable(
    mirror: &RegistryMirror,
    report: Option<&Report>,
    found: &Found,
    check: impl Fn(&Report) -> &Check,
    secrets: &[SecretRole],
) -> Finding {
    let Some(report) = report else {
        return match &found.report {
            Some(_) => Finding::unknown(Reason::SidecarSilent, "the sidecar does not answer the operator"),
            None => Finding::unknown(Reason::NotYetKnown, "there is no running sidecar that could say"),
        };
    };
    if let Some(finding) = missing_secrets(mirror, report, secrets) {
        return finding;
    }
    let check = check(report);
    match check.state {
        CheckState::True => Finding::yes(check.reason, check.message.clone()),
        CheckState::False => Finding::no(check.reason, check.message.clone()),
        CheckState::Unknown => Finding::unknown(Reason::NotYetKnown, "the sidecar has not looked yet"),
    }
}

/// Names the Secrets and the keys that the sidecar misses, of those with these roles.
fn missing_secrets(mirror: &RegistryMirror, report: &Report, roles: &[SecretRole]) -> Option<Finding> {
    let found: Vec<Finding> = roles
        .iter()
        .filter_map(|role| missing_secret(mirror, &report.missing_secrets, *role))
        .collect();
    let worst = found
        .iter()
        .find(|finding| finding.reason == Reason::SecretMissing)
        .or(found.first())?;
    let messages: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
    Some(Finding::no(worst.reason, messages.join("; ")))
}

/// The sidecar sees files only: where all keys are missing, the Secret may be.
fn missing_secret(mirror: &RegistryMirror, missing: &[MissingSecret], role: SecretRole) -> Option<Finding> {
    let keys: Vec<&str> = missing
        .iter()
        .filter(|missing| missing.secret == role)
        .map(|missing| missing.key.as_str())
        .collect();
    if keys.is_empty() {
        return None;
    }
    let name = secret_name(mirror, role).unwrap_or_else(|| "that the mirror names".to_owned());
    let all = keys.len() >= role.keys();
    let keys = keys.join(" and ");
    Some(if all {
        Finding::no(
            Reason::SecretMissing,
            format!("the Secret {name} is missing, or lacks what is needed of it: create it with {keys}"),
        )
    } else {
        Finding::no(
            Reason::SecretKeyMissing,
            format!("the Secret {name} lacks the key {keys}: add it"),
        )
    })
}

fn secret_name(mirror: &RegistryMirror, role: SecretRole) -> Option<String> {
    let spec = &mirror.spec;
    let postgresql = spec.source.postgresql.as_ref();
    let signer = spec
        .signing
        .as_ref()
        .and_then(|signing| signing.signer_ref.as_ref());
    match role {
        SecretRole::Deposit => Some(spec.deposit_credentials_ref.name.clone()),
        SecretRole::Database => postgresql.map(|source| source.credentials_ref.name.clone()),
        SecretRole::DatabaseCa => postgresql.map(|source| source.tls.ca_ref.name.clone()),
        SecretRole::Signing => Some(signer.map_or_else(
            || names::signing_key(&mirror.name_any()),
            |secret| secret.name.clone(),
        )),
        SecretRole::Other => None,
    }
}

fn within_rpo(mirror: &RegistryMirror, copy: Option<&LastCopy>, now: Timestamp) -> Finding {
    let objective = &mirror.spec.objectives.rpo;
    let Ok(rpo) = objective.parse::<dataembassy_contract::Duration>() else {
        return Finding::unknown(Reason::InvalidDuration, "spec.objectives.rpo is not a duration");
    };
    let older = |since: Timestamp| {
        SignedDuration::try_from(rpo.as_std()).is_ok_and(|rpo| now.duration_since(since) > rpo)
    };
    let Some(copy) = copy else {
        let message = "the ledger holds no copy of this registry yet";
        let created = mirror.metadata.creation_timestamp.as_ref().map(|time| time.0);
        return if created.is_some_and(older) {
            Finding::no(
                Reason::NoCopyYet,
                format!("{message}, although the mirror is older than {objective}"),
            )
        } else {
            Finding::unknown(Reason::NoCopyYet, message)
        };
    };
    let taken = &copy.taken_at;
    if taken.parse::<Timestamp>().is_ok_and(older) {
        Finding::no(
            Reason::RpoMissed,
            format!(
                "the latest copy was taken at {taken}, more than {objective} ago: look at recentRuns and the other conditions"
            ),
        )
    } else {
        Finding::yes(
            Reason::WithinObjective,
            format!("the latest copy is at most {objective} old"),
        )
    }
}

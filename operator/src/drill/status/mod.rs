//! What a drill says about itself: computed from the step that was taken and from what the run's pod and the custodian say.
//!
//! [`ready`] says whether the resource is followed, [`run`] how the run stands and how those went that have ended.

mod ready;
mod run;

use dataembassy_contract::{Duration, Reason};
use dataembassy_crds::{
    Condition, ConditionStatus, DrillOutcome, EndedDrill, IdentityStay, RegistryCustody, RegistryDrill,
    RegistryDrillStatus,
};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::events::Event;

use crate::apply::ApplyError;
use crate::condition::{Conditions, Finding, rfc3339};
use crate::drill::agenda::Look;
use crate::drill::course::Step;
use crate::drill::dereference::Found;
use crate::drill::validate::Checked;
use crate::embassy::validate::Refusal;
use crate::event::observed;
use crate::identity;
use crate::metrics::{Drilled, Metrics};
use crate::status::Observed;

/// What a reconcile has seen and done.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What the drill depends on.
    pub found: &'a Found,
    /// Whether it is valid.
    pub judged: &'a Result<Checked, Refusal>,
    /// What the agenda says; nothing where the schedule is not valid.
    pub look: Option<&'a Look>,
    /// The step that was to be taken.
    pub step: &'a Step,
    /// Whether it was.
    pub taken: Result<(), &'a ApplyError>,
}

/// Computes the status. Pure.
#[must_use]
pub fn observe(drill: &RegistryDrill, seen: &Seen<'_>, now: Timestamp) -> RegistryDrillStatus {
    let before = drill.status.clone().unwrap_or_default();
    let generation = drill.metadata.generation.unwrap_or_default();
    let mut status = RegistryDrillStatus {
        observed_generation: Some(generation),
        ..before.clone()
    };
    let begun = matches!(seen.step, Step::Begin(..)) && seen.taken.is_ok();
    status.next_schedule_time = seen.look.and_then(|look| look.announced(begun)).map(rfc3339);
    if let Some(look) = seen.look {
        let settled = look.settled(begun).map(rfc3339);
        if settled.is_some() || look.retracts {
            status.last_schedule_time = settled;
        }
        status.missed_runs = status.missed_runs.saturating_add(i64::from(look.missed(begun)));
    }
    let ready = ready::ready(drill, seen, now);
    if seen.taken.is_ok() {
        run::advance(&mut status, seen, &ready);
    }
    run::remember(&mut status.runs, drill.spec.history);
    status.identity = identity_of(drill, seen.found, now);

    let mut conditions = Conditions::new(&before.conditions, generation, now);
    let stalled = ready::is_stalled(seen);
    let is_ready = ready.status == ConditionStatus::True;
    conditions.set("Ready", ready.clone());
    if stalled {
        conditions.set("Stalled", Finding::yes(ready.reason, ready.message));
    } else if !is_ready {
        conditions.set("Reconciling", Finding::yes(ready.reason, ready.message));
    }
    conditions.set("Passed", passed(status.last.as_ref()));
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

/// How long the identity has lain there, as the pod that is at work tells.
fn identity_of(drill: &RegistryDrill, found: &Found, now: Timestamp) -> Option<IdentityStay> {
    let before = drill.status.as_ref().and_then(|status| status.identity.as_ref());
    let report = found.report.as_ref().and_then(|report| report.as_deref().ok());
    let sight = report.and_then(|report| identity::sight(&report.missing_secrets, report.copy.is_some()));
    identity::after(
        before,
        &drill.spec.identity_ref.name,
        found.pod.as_ref(),
        sight,
        now,
    )
}

/// How the latest drill ended.
fn passed(last: Option<&EndedDrill>) -> Finding {
    let Some(last) = last else {
        return Finding::unknown(Reason::NeverDrilled, "no drill has ended yet");
    };
    let reason = last.reason.parse().unwrap_or(Reason::Other);
    match last.result {
        DrillOutcome::Passed => Finding::yes(Reason::DrillPassed, last.message.clone()),
        DrillOutcome::Failed => Finding::no(reason, last.message.clone()),
        DrillOutcome::Inconclusive => Finding::unknown(reason, last.message.clone()),
    }
}

/// Shows a drill in the metrics.
pub fn show(
    drill: &RegistryDrill,
    status: &RegistryDrillStatus,
    custody: Option<&RegistryCustody>,
    metrics: &Metrics,
) {
    let every = custody.and_then(|custody| custody.spec.drills.as_ref()?.every.parse::<Duration>().ok());
    let passed = status.last_passed_time.as_ref();
    let passed = passed.and_then(|time| time.parse::<Timestamp>().ok());
    let drilled = Drilled {
        last_passed: passed.map_or(0, Timestamp::as_second),
        last_outcome: status.last.as_ref().map(|last| match last.result {
            DrillOutcome::Passed => 1,
            DrillOutcome::Failed => 0,
            DrillOutcome::Inconclusive => -1,
        }),
        expected_interval: every.map_or(0, |every| i64::try_from(every.as_secs()).unwrap_or(i64::MAX)),
        missed: u64::try_from(status.missed_runs).unwrap_or_default(),
    };
    let namespace = drill.namespace().unwrap_or_default();
    metrics.drilled(&namespace, &drill.name_any(), &drill.spec.registry.id, &drilled);
}

impl Observed for RegistryDrill {
    type Status = RegistryDrillStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    fn identity_since(status: &Self::Status) -> Option<&str> {
        status.identity.as_ref()?.present_since.as_deref()
    }

    /// One for each run that ended: two that fail alike change no condition.
    fn further_events(&self, before: &Self::Status, after: &Self::Status) -> Vec<Event> {
        let ended = |status: &Self::Status| status.last.as_ref().map(|last| last.order.clone());
        let Some(last) = after.last.as_ref().filter(|_| ended(before) != ended(after)) else {
            return Vec::new();
        };
        let word = match last.result {
            DrillOutcome::Passed => "PASSED",
            DrillOutcome::Failed => "FAILED",
            DrillOutcome::Inconclusive => "INCONCLUSIVE",
        };
        let copy = last
            .copy
            .as_ref()
            .map_or_else(String::new, |copy| format!(" of copy {}", copy.sequence));
        let note = format!("the drill {}{copy} {word}: {}", last.order, last.message);
        let is_good = last.result == DrillOutcome::Passed;
        vec![observed(is_good, &last.reason, &note)]
    }
}

//! What came of an order for one registry, written down once and handed to the custodian, which signs for it.
//!
//! The result stands in the status before it is asked for, and goes from there when the custodian has answered: nothing of it changes in
//! between, whoever is killed. A rehearsal ends when its report is answered, for afterwards nobody looks at it any more.

use dataembassy_contract::activation::{
    ActivationResult, Outcome, ReportedCopy, RestoredRows, StepTimes, Versions,
};
use dataembassy_contract::assertion::Answer;
use dataembassy_contract::custodian::{OrderAnswer, OrderState};
use dataembassy_contract::restore::LeftOut;
use dataembassy_contract::{Duration, Reason};
use dataembassy_crds::{
    ActivatedState, ActivationReport, RegistryPhase, RegistryRestoreStatus, RestoredCopy,
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{MAX_MESSAGE, Walk};
use crate::activation::{names, statement, steps};

/// The last number that a ledger has.
const LAST_SEQUENCE: u64 = 999_999_999_999;

/// Whether what came of this order, approved at this moment, is written down; or there is nothing to write.
#[must_use]
pub fn is_written(state: &ActivatedState, order: &str, approved_at: Timestamp) -> bool {
    let report = state.report.as_ref();
    outcome(state, order, approved_at).is_none()
        || report.is_some_and(|report| report.order == names::report(order))
}

/// Whether the custodian was asked about it too, and has answered.
#[must_use]
pub fn is_answered(state: &ActivatedState, order: &str, approved_at: Timestamp) -> bool {
    is_written(state, order, approved_at) && !state.report.as_ref().is_some_and(is_awaited)
}

/// Whether the custodian has not answered to a report yet.
#[must_use]
pub const fn is_awaited(report: &ActivationReport) -> bool {
    report.result.is_some() && report.reason.is_none()
}

/// Takes the custodian's answer to a report that is awaited; whether there is one.
pub fn hear(report: &mut ActivationReport, registry: &str, answers: &[OrderAnswer]) -> bool {
    let answer = answers.iter().find(|answer| answer.id == report.order);
    match answer.map(|answer| &answer.state) {
        Some(OrderState::Done { sequence }) if (1..=LAST_SEQUENCE).contains(sequence) => {
            report.entry = i64::try_from(*sequence).ok();
            report.path = Some(format!("registries/{registry}/reports/{}", report.order));
            "the custodian has signed for it".clone_into(&mut report.message);
            report.result = None;
            true
        }
        Some(OrderState::Refused { reason, message }) => {
            report.message = cut(&format!(
                "the custodian refuses to sign for it ({reason}): {message}"
            ));
            report.reason = Some(reason.to_string());
            true
        }
        Some(OrderState::Waiting { message, .. }) => {
            report.message = cut(&format!("the custodian cannot sign for it yet: {message}"));
            false
        }
        Some(OrderState::Done { .. }) | None => {
            "the custodian is being asked to sign for it".clone_into(&mut report.message);
            false
        }
    }
}

/// What came of the order, once it is over. One that goes on unfenced is told when home is fenced, for there is nothing in the ledger before
/// that it could be held against. What was not begun, or never fenced, has nothing to tell; and what an earlier order has brought about was
/// told by that. Which order it was stands in the step: a clock that is set back between the approval and the end must not make it an earlier one's.
fn outcome(state: &ActivatedState, order: &str, approved_at: Timestamp) -> Option<Outcome> {
    let is_of_this = |name: &str| match steps::find(state, name).and_then(|step| step.order.as_deref()) {
        Some(under) => under == order,
        // An operator that named none has ended it.
        None => {
            steps::ended_at(state, name).is_some_and(|ended| ended.as_second() >= approved_at.as_second())
        }
    };
    match state.phase {
        RegistryPhase::Serving if state.fence.is_some() => {
            Some(Outcome::Served).filter(|_| is_of_this(steps::SERVE))
        }
        RegistryPhase::StoodDown if state.release.is_some() => {
            Some(Outcome::StoodDown).filter(|_| is_of_this(steps::RELEASE))
        }
        RegistryPhase::Rehearsed => Some(Outcome::Rehearsed),
        RegistryPhase::Failed => Some(Outcome::Failed),
        _ => None,
    }
}

/// What is served and was told of under no other order, though by the times it is not this one's: the clock ran ahead when this one was approved,
/// or the registry was served without a fence by an earlier one, which left the telling to whoever finds the fence. A report on an even earlier
/// order, which failed perhaps, tells nothing of this.
fn untold(state: &ActivatedState, order: &str) -> Option<Outcome> {
    let is_served = state.phase == RegistryPhase::Serving
        && state.fence.is_some()
        && steps::has_ended(state, steps::SERVE);
    let served_under = steps::find(state, steps::SERVE).and_then(|step| step.order.as_deref());
    let is_told = |report: &ActivationReport| {
        report.order != order && served_under.is_none_or(|under| report.order == names::report(under))
    };
    let mut reports = state.report.iter();
    (is_served && !reports.any(is_told)).then_some(Outcome::Served)
}

impl Walk<'_> {
    /// Writes down what came of the order, and what the custodian says to it.
    pub(super) fn tell_of_the_end(&mut self) {
        let Some(about) = self.order().map(str::to_owned) else {
            return;
        };
        let order = names::report(&about);
        let outcome =
            outcome(&self.state, &about, self.scene.approved_at).or_else(|| untold(&self.state, &order));
        let Some(outcome) = outcome else {
            return;
        };
        let is_new = self
            .state
            .report
            .as_ref()
            .is_none_or(|report| report.order != order);
        if is_new {
            let result = self.result(outcome, &about, &order);
            if outcome == Outcome::Served {
                // Whoever comes later finds by this that it was told.
                steps::pass_on(&mut self.state, steps::SERVE, &about);
            }
            steps::forget(&mut self.state, &[steps::REPORT]);
            steps::begin(&mut self.state, steps::REPORT, self.scene.now);
            self.state.report = Some(ActivationReport {
                order,
                result: Some(result.to_json()),
                ..ActivationReport::default()
            });
            return;
        }
        self.hear();
    }

    /// What the custodian answers.
    fn hear(&mut self) {
        let answers = self.scene.found.report(&self.spec.id);
        let answers = answers.map_or(&[][..], |report| &report.orders);
        let report = self.state.report.as_mut().filter(|report| is_awaited(report));
        if report.is_some_and(|report| hear(report, &self.spec.id, answers)) {
            steps::end(&mut self.state, steps::REPORT, self.scene.now);
        }
    }

    /// How long the recovery took, in seconds, by the times that the report has: what an earlier order has let in, this one had not to recover.
    fn recovery(&self, outcome: Outcome) -> Option<i64> {
        if matches!(outcome, Outcome::StoodDown | Outcome::Failed) {
            return None;
        }
        let took = self.state.rto_seconds?;
        let was_served = outcome == Outcome::Served
            && steps::ended_at(&self.state, steps::SERVE).is_some_and(|ended| ended < self.scene.approved_at);
        Some(if was_served { 0 } else { took })
    }

    fn result(&self, outcome: Outcome, about: &str, order: &str) -> ActivationResult {
        let (scene, state) = (self.scene, &self.state);
        let status = self.restored().unwrap_or_default();
        let whole = |number: i64| u64::try_from(number).unwrap_or_default();
        let custody = scene.found.custody(&state.id).map(|custody| &custody.spec);
        let limit = |text: Option<&str>| Some(text?.parse::<Duration>().ok()?.as_secs());
        let goes_home = outcome == Outcome::StoodDown;
        ActivationResult {
            order: order.to_owned(),
            about: about.to_owned(),
            activation: names::full(scene.activation),
            registry: state.id.clone(),
            outcome,
            reason: state.reason.parse().unwrap_or(Reason::Other),
            message: state.message.clone(),
            approved_at: scene.approved_at,
            ended_at: self.ended_at(outcome),
            fence: state.fence.map(whole),
            copy: state.copy.as_ref().and_then(reported),
            rpo_seconds: state.rpo_seconds.map(whole).filter(|_| !goes_home),
            rpo_objective_seconds: limit(custody.map(|spec| spec.rpo.as_str())),
            rto_seconds: self.recovery(outcome).map(whole),
            rto_objective_seconds: limit(custody.and_then(|spec| spec.rto.as_deref())),
            target: statement::target(self.spec, scene.activation.spec.mode),
            attempts: whole(state.attempts),
            steps: state.steps.iter().filter_map(times).collect(),
            restored: status.restored.as_ref().map(|restored| RestoredRows {
                tables: whole(restored.tables),
                rows: whole(restored.rows),
                bytes: whole(restored.bytes),
                large_objects: whole(restored.large_objects),
                seconds: whole(restored.seconds),
            }),
            assertions: status
                .assertions
                .iter()
                .map(|answer| Answer {
                    name: answer.name.clone(),
                    passed: answer.passed,
                    expected: answer.expected.clone(),
                    found: answer.found.clone(),
                })
                .collect(),
            left_out: status
                .left_out
                .iter()
                .map(|one| LeftOut {
                    kind: one.kind.clone(),
                    count: whole(one.count),
                })
                .collect(),
            versions: Versions {
                operator: env!("CARGO_PKG_VERSION").to_owned(),
                sidecar: scene.sidecar_image.to_owned(),
                server: self
                    .spec
                    .target
                    .managed
                    .as_ref()
                    .map(|managed| managed.image.clone())
                    .unwrap_or_default(),
            },
        }
    }

    /// When it came to its end. What failed says so only now.
    fn ended_at(&self, outcome: Outcome) -> Timestamp {
        let (scene, state) = (self.scene, &self.state);
        let ended = match outcome {
            Outcome::Served => steps::ended_at(state, steps::SERVE),
            Outcome::Rehearsed => steps::ended_at(state, steps::RESTORE),
            Outcome::StoodDown => steps::ended_at(state, steps::RELEASE),
            Outcome::Failed => None,
        };
        ended.unwrap_or(scene.now).max(scene.approved_at)
    }

    /// What the restore says that did it, or was the last; of a stand-down there is none to tell of.
    fn restored(&self) -> Option<RegistryRestoreStatus> {
        let current = self.state.restore.as_ref()?;
        if self.state.phase == RegistryPhase::StoodDown {
            return None;
        }
        let mut restores = self.scene.found.restores.iter();
        let restore =
            restores.find(|restore| restore.name_any() == current.name && restore.uid() == current.uid)?;
        restore.status.clone()
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}

fn reported(copy: &RestoredCopy) -> Option<ReportedCopy> {
    Some(ReportedCopy {
        sequence: u64::try_from(copy.sequence).ok()?,
        copy_id: copy.copy_id.clone(),
        taken_at: copy.taken_at.parse().ok()?,
    })
}

fn times(step: &dataembassy_crds::ActivationStep) -> Option<StepTimes> {
    Some(StepTimes {
        name: step.name.clone(),
        started_at: step.started_at.parse().ok()?,
        ended_at: step.ended_at.as_ref().and_then(|time| time.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-28T{text}Z").parse().unwrap()
    }

    #[test]
    fn what_came_of_an_order_is_told_under_it_whatever_the_clock_has_shown_in_between() {
        for (phase, step, told) in [
            (RegistryPhase::Serving, steps::SERVE, Outcome::Served),
            (RegistryPhase::StoodDown, steps::RELEASE, Outcome::StoodDown),
        ] {
            let mut state = ActivatedState {
                phase,
                fence: Some(9),
                release: Some("e".repeat(64)),
                ..ActivatedState::default()
            };
            // The clock was set back by an hour after the approval.
            steps::end_under(&mut state, step, at("09:10:00"), Some("first"));
            assert_eq!(outcome(&state, "first", at("10:00:00")), Some(told));
            assert!(!is_written(&state, "first", at("10:00:00")));
            // And by another one before the next order.
            assert_eq!(outcome(&state, "second", at("08:00:00")), None);
            assert!(is_written(&state, "second", at("08:00:00")));
        }
    }

    #[test]
    fn what_is_served_is_told_once_whatever_an_even_earlier_order_has_told() {
        let reported = |order: &str| {
            Some(ActivationReport {
                order: names::report(order),
                ..ActivationReport::default()
            })
        };
        let mut state = ActivatedState {
            phase: RegistryPhase::Serving,
            report: reported("failed"),
            ..ActivatedState::default()
        };
        let of = |state: &ActivatedState, order: &str| untold(state, &names::report(order));
        steps::end_under(&mut state, steps::SERVE, at("10:10:00"), Some("unfenced"));
        assert_eq!(of(&state, "later"), None, "there is nothing to hold it against");
        state.fence = Some(9);
        assert_eq!(of(&state, "later"), Some(Outcome::Served));
        steps::pass_on(&mut state, steps::SERVE, "later");
        state.report = reported("later");
        assert_eq!(outcome(&state, "later", at("11:00:00")), Some(Outcome::Served));
        assert_eq!(of(&state, "last"), None, "it was told");
        // Of one that an operator has served which put no order down, any report is taken for its own.
        steps::forget(&mut state, &[steps::SERVE]);
        steps::end(&mut state, steps::SERVE, at("10:10:00"));
        assert_eq!(of(&state, "last"), None);
        state.report = None;
        assert_eq!(of(&state, "last"), Some(Outcome::Served));
    }

    #[test]
    fn of_a_step_whose_order_nobody_has_put_down_the_times_decide() {
        let mut state = ActivatedState {
            phase: RegistryPhase::Serving,
            fence: Some(9),
            ..ActivatedState::default()
        };
        steps::end(&mut state, steps::SERVE, at("10:10:00"));
        assert_eq!(outcome(&state, "first", at("10:00:00")), Some(Outcome::Served));
        assert_eq!(outcome(&state, "second", at("10:11:00")), None);
    }
}

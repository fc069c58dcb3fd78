//! Which steps take longer than they may.

use dataembassy_contract::Duration;
use dataembassy_crds::{ActivatedState, ActivationMode};
use jiff::{SignedDuration, Timestamp};

use super::{Scene, is_over};
use crate::activation::steps;

/// A step that takes longer than it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Of which registry.
    pub registry: String,
    /// Which step.
    pub step: &'static str,
    /// The message that says how the registry stands.
    pub message: String,
}

/// Steps that take longer than they may, in the order of the spec.
#[must_use]
pub fn overdue(scene: &Scene<'_>, states: &[ActivatedState]) -> Vec<Overdue> {
    let of_one = |state: &ActivatedState| {
        let steps = if is_over(state.phase) {
            Vec::new()
        } else {
            of_registry(scene, state)
        };
        steps.into_iter().chain(of_report(scene, state))
    };
    states.iter().flat_map(of_one).collect()
}

/// A report is signed for after everything else: whoever waits for it is served, or was told that it failed. It takes what a fence takes.
fn of_report(scene: &Scene<'_>, state: &ActivatedState) -> Option<Overdue> {
    let report = state.report.as_ref().filter(|report| report.result.is_some())?;
    let since = steps::began_at(state, steps::REPORT)?;
    let limit =
        SignedDuration::try_from(scene.checked.deadlines.fence.as_std()).unwrap_or(SignedDuration::MAX);
    (scene.now.duration_since(since) > limit).then(|| Overdue {
        registry: state.id.clone(),
        step: steps::REPORT,
        message: report.message.clone(),
    })
}

fn of_registry(scene: &Scene<'_>, state: &ActivatedState) -> Vec<Overdue> {
    let deadlines = &scene.checked.deadlines;
    let activates = scene.activation.spec.mode == ActivationMode::Activate;
    let since = |name: &str| {
        let is_open = !steps::has_ended(state, name);
        steps::began_at(state, name).filter(|_| is_open)
    };
    let is_unfenced = activates && !steps::has_ended(state, steps::FENCE);
    let steps = [
        (
            steps::FENCE,
            is_unfenced.then_some(scene.approved_at),
            deadlines.fence,
        ),
        (steps::DATABASE, since(steps::DATABASE), deadlines.database),
        (steps::RESTORE, since(steps::RESTORE), deadlines.restore),
    ];
    let late = |(step, since, limit): (&'static str, Option<Timestamp>, Duration)| {
        let limit = SignedDuration::try_from(limit.as_std()).unwrap_or(SignedDuration::MAX);
        (scene.now.duration_since(since?) > limit).then(|| Overdue {
            registry: state.id.clone(),
            step,
            message: state.message.clone(),
        })
    };
    steps.into_iter().filter_map(late).collect()
}

//! Which steps take longer than they may.

use dataembassy_contract::Duration;
use dataembassy_crds::{ActivatedState, ActivationMode, ActivationState, EmbassyActivation, RegistryPhase};
use jiff::{SignedDuration, Timestamp};

use super::{is_awaited, is_over};
use crate::activation::validate::Deadlines;
use crate::activation::{clean_up, last_copy, steps};
use crate::clock::has_passed;

/// A step, since when it goes on if it does, and how long it may.
type Step = (&'static str, Option<Timestamp>, Duration);

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

/// By what it is judged whether a step is overdue. What the activation depends on is no part of it: one that cannot go on is the later.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// The activation.
    pub activation: &'a EmbassyActivation,
    /// How long each step may take.
    pub deadlines: Deadlines,
    /// When enough had approved; now, while they have not.
    pub approved_at: Timestamp,
    /// The time.
    pub now: Timestamp,
}

impl Course<'_> {
    /// What began ahead of our time is late as well: somebody has to look whose clock it was, and it would be silent for as long as that was wrong by.
    fn is_past(&self, since: Timestamp, limit: Duration) -> bool {
        let limit = SignedDuration::try_from(limit.as_std()).unwrap_or(SignedDuration::MAX);
        has_passed(since, limit, self.now)
    }
}

/// Steps that take longer than they may, in the order of the spec.
#[must_use]
pub fn overdue(course: &Course<'_>, states: &[ActivatedState]) -> Vec<Overdue> {
    let goes_home = course.activation.spec.state == ActivationState::StoodDown;
    // Nothing is cleaned up before all are over.
    let all_over = states.iter().all(|state| is_over(state.phase));
    let over_since = states.iter().filter_map(last_step).max().filter(|_| all_over);
    let of_one = |state: &ActivatedState| {
        let is_there = if goes_home {
            state.phase == RegistryPhase::StoodDown
        } else {
            is_over(state.phase)
        };
        let steps = match (is_there, goes_home) {
            (true, _) => {
                let waits = over_since.filter(|_| is_left(state));
                let waits = waits.map(|since| since.max(course.approved_at));
                vec![(
                    steps::CLEAN,
                    since(state, steps::CLEAN).or(waits),
                    course.deadlines.close,
                )]
            }
            (false, true) => of_stand_down(course, state),
            (false, false) => of_registry(course, state),
        };
        let late = steps
            .into_iter()
            .filter(|(_, since, limit)| since.is_some_and(|since| course.is_past(since, *limit)));
        let late = late.map(|(step, _, _)| Overdue {
            registry: state.id.clone(),
            step,
            message: match &state.clean_up {
                Some(clean_up) if step == steps::CLEAN => clean_up.message.clone(),
                _ => state.message.clone(),
            },
        });
        late.chain(of_report(course, state)).collect::<Vec<_>>()
    };
    states.iter().flat_map(of_one).collect()
}

/// What a rehearsal that was changed, so that it waits for other approvals since `stated_at`, has left where it was restored.
#[must_use]
pub fn left(course: &Course<'_>, states: &[ActivatedState], stated_at: Option<Timestamp>) -> Vec<Overdue> {
    let left = states.iter().filter_map(|state| {
        let last = since(state, steps::CLEAN).or_else(|| last_step(state));
        let since = last.max(stated_at)?;
        course.is_past(since, course.deadlines.close).then_some(())?;
        Some(Overdue {
            registry: state.id.clone(),
            step: steps::CLEAN,
            message: clean_up::held(state)?,
        })
    });
    left.collect()
}

/// Whether a rehearsal has something to clean up, and has not begun to.
fn is_left(state: &ActivatedState) -> bool {
    state.rehearsed_in.is_some() && !steps::has_begun(state, steps::CLEAN)
}

/// When the last step of a rehearsal began.
fn last_step(state: &ActivatedState) -> Option<Timestamp> {
    let all = [steps::DATABASE, steps::RESTORE, steps::REPORT].into_iter();
    all.filter_map(|step| steps::began_at(state, step)).max()
}

/// A report is signed for after everything else: whoever waits for it is served, or was told that it failed. It takes what a fence takes.
fn of_report(course: &Course<'_>, state: &ActivatedState) -> Option<Overdue> {
    let report = state.report.as_ref().filter(|report| is_awaited(report))?;
    let since = steps::began_at(state, steps::REPORT)?;
    course.is_past(since, course.deadlines.fence).then(|| Overdue {
        registry: state.id.clone(),
        step: steps::REPORT,
        message: report.message.clone(),
    })
}

fn of_registry(course: &Course<'_>, state: &ActivatedState) -> Vec<Step> {
    let deadlines = &course.deadlines;
    if state.phase == RegistryPhase::StandingDown {
        // It was on its way home, and is to be served on.
        return vec![(steps::SERVE, Some(course.approved_at), deadlines.serve)];
    }
    let activates = course.activation.spec.mode == ActivationMode::Activate;
    let is_unfenced = activates && !steps::has_ended(state, steps::FENCE);
    // Until there is a copy that may be chosen, nothing that could be restored has begun.
    let unchosen = (!is_unfenced && state.copy.is_none())
        .then(|| steps::ended_at(state, steps::FENCE).unwrap_or(course.approved_at));
    let restores = since(state, steps::RESTORE).or(unchosen);
    vec![
        (
            steps::FENCE,
            is_unfenced.then_some(course.approved_at),
            deadlines.fence,
        ),
        (steps::DATABASE, since(state, steps::DATABASE), deadlines.database),
        (steps::RESTORE, restores, deadlines.restore),
        (steps::SERVE, since(state, steps::SERVE), deadlines.serve),
    ]
}

/// Whoever waits before the first step has waited since the approval: nobody is told of a stand-down that does not begin in any other way.
fn of_stand_down(course: &Course<'_>, state: &ActivatedState) -> Vec<Step> {
    let deadlines = &course.deadlines;
    let is_open = last_copy::was_served(state) && !steps::has_ended(state, steps::CLOSE);
    let is_uncopied = !is_open && !steps::has_begun(state, steps::COPY);
    let copies = since(state, steps::COPY).or_else(|| is_uncopied.then_some(course.approved_at));
    vec![
        (
            steps::CLOSE,
            is_open.then_some(course.approved_at),
            deadlines.close,
        ),
        (steps::COPY, copies, deadlines.copy),
        (steps::RELEASE, since(state, steps::RELEASE), deadlines.release),
    ]
}

/// When a step began that has not ended.
fn since(state: &ActivatedState, name: &str) -> Option<Timestamp> {
    steps::began_at(state, name).filter(|_| !steps::has_ended(state, name))
}

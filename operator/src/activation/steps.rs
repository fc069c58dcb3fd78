//! When each step of a registry began and ended. What has ended stays so.

use dataembassy_crds::{ActivatedState, ActivationStep};
use jiff::Timestamp;

use crate::clock::lies_ahead;
use crate::condition::rfc3339;

/// The gates refuse the registry's puts.
pub const CUT: &str = "cut";
/// The ledger holds the fence.
pub const FENCE: &str = "fence";
/// The managed database answers.
pub const DATABASE: &str = "database";
/// The copy is restored, and every question answered.
pub const RESTORE: &str = "restore";
/// Applications reach it.
pub const SERVE: &str = "serve";
/// Applications are shut out, so that nothing is written after the last copy.
pub const CLOSE: &str = "close";
/// At a stand-down: the last copy is committed.
pub const COPY: &str = "copy";
/// At a stand-down: the ledger holds the release.
pub const RELEASE: &str = "release";
/// After a rehearsal: what it restored into somebody else's database is dropped.
pub const CLEAN: &str = "clean";

/// The custodian signs for what came of the order.
pub const REPORT: &str = "report";

/// A step, if it has begun.
#[must_use]
pub fn find<'a>(state: &'a ActivatedState, name: &str) -> Option<&'a ActivationStep> {
    state.steps.iter().find(|step| step.name == name)
}

/// Whether a step has begun.
#[must_use]
pub fn has_begun(state: &ActivatedState, name: &str) -> bool {
    find(state, name).is_some()
}

/// Whether a step has ended.
#[must_use]
pub fn has_ended(state: &ActivatedState, name: &str) -> bool {
    find(state, name).is_some_and(|step| step.ended_at.is_some())
}

/// When a step began.
#[must_use]
pub fn began_at(state: &ActivatedState, name: &str) -> Option<Timestamp> {
    find(state, name)?.started_at.parse().ok()
}

/// When a step ended.
#[must_use]
pub fn ended_at(state: &ActivatedState, name: &str) -> Option<Timestamp> {
    find(state, name)?.ended_at.as_ref()?.parse().ok()
}

/// Lets a step begin, if it has not.
pub fn begin(state: &mut ActivatedState, name: &str, now: Timestamp) {
    if !has_begun(state, name) {
        state.steps.push(ActivationStep {
            name: name.to_owned(),
            started_at: rfc3339(now),
            ended_at: None,
            order: None,
        });
    }
}

/// Lets a step end, if it has not; one that never began has begun now too. A clock that was set back meanwhile lets none end before it begins, which
/// nobody would sign for.
pub fn end(state: &mut ActivatedState, name: &str, now: Timestamp) {
    begin(state, name, now);
    let now = began_at(state, name).map_or(now, |began| now.max(began));
    if let Some(step) = state.steps.iter_mut().find(|step| step.name == name)
        && step.ended_at.is_none()
    {
        step.ended_at = Some(rfc3339(now));
    }
}

/// The same of a step by which it is told what came of an order: whose it is stays, whatever becomes of the clock.
pub fn end_under(state: &mut ActivatedState, name: &str, now: Timestamp, order: Option<&str>) {
    if has_ended(state, name) {
        return;
    }
    end(state, name, now);
    if let Some(step) = state.steps.iter_mut().find(|step| step.name == name) {
        step.order = order.map(str::to_owned);
    }
}

/// From now on it is told by a step what came of this order: of the one under which it ended, nobody was told.
pub fn pass_on(state: &mut ActivatedState, name: &str, order: &str) {
    if let Some(step) = state.steps.iter_mut().find(|step| step.name == name) {
        step.order = Some(order.to_owned());
    }
}

/// Dates a step anew that ended ahead of our time, by a clock that was wrong: whoever waits from then on would wait for as long as it was wrong by.
pub fn end_again(state: &mut ActivatedState, name: &str, now: Timestamp) {
    if !ended_at(state, name).is_some_and(|ended| lies_ahead(ended, now)) {
        return;
    }
    if let Some(step) = state.steps.iter_mut().find(|step| step.name == name) {
        let began: Option<Timestamp> = step.started_at.parse().ok();
        step.started_at = rfc3339(began.map_or(now, |began| began.min(now)));
        step.ended_at = Some(rfc3339(now));
    }
}

/// Forgets steps, which are taken anew.
pub fn forget(state: &mut ActivatedState, names: &[&str]) {
    state.steps.retain(|step| !names.contains(&step.name.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-28T{text}Z").parse().unwrap()
    }

    #[test]
    fn a_clock_that_is_set_back_lets_no_step_end_before_it_begins() {
        let mut state = ActivatedState::default();
        begin(&mut state, CUT, at("10:00:00"));
        end(&mut state, CUT, at("09:58:00"));
        assert_eq!(ended_at(&state, CUT), Some(at("10:00:00")));
    }

    #[test]
    fn a_step_that_a_clock_ahead_has_dated_is_dated_anew_and_any_other_stays() {
        let mut state = ActivatedState::default();
        begin(&mut state, FENCE, at("10:00:00"));
        end(&mut state, FENCE, at("12:00:00"));
        end_again(&mut state, FENCE, at("11:56:00"));
        assert_eq!(
            ended_at(&state, FENCE),
            Some(at("12:00:00")),
            "clocks differ a little"
        );
        end_again(&mut state, FENCE, at("11:00:00"));
        assert_eq!(
            (began_at(&state, FENCE), ended_at(&state, FENCE)),
            (Some(at("10:00:00")), Some(at("11:00:00")))
        );
        // One that began ahead too ends no earlier than it begins.
        end_again(&mut state, FENCE, at("09:00:00"));
        assert_eq!(
            (began_at(&state, FENCE), ended_at(&state, FENCE)),
            (Some(at("09:00:00")), Some(at("09:00:00")))
        );
    }

    #[test]
    fn a_step_keeps_the_order_under_which_it_ended_first() {
        let mut state = ActivatedState::default();
        end_under(&mut state, SERVE, at("10:00:00"), Some("first"));
        end_under(&mut state, SERVE, at("11:00:00"), Some("second"));
        let step = find(&state, SERVE).unwrap();
        assert_eq!(step.order.as_deref(), Some("first"));
        assert_eq!(ended_at(&state, SERVE), Some(at("10:00:00")));
    }
}

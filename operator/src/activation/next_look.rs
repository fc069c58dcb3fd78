//! How soon an activation is looked at again. Pure.

use std::time::Duration;

use dataembassy_crds::{EmbassyActivationStatus, RegistryPhase};

use crate::activation::stage::Stage;
use crate::activation::{course, replaced};
use crate::backoff::jittered;

/// How soon the step after one that was taken follows.
pub const SOON: Duration = Duration::from_secs(1);
/// How often one that is carried out is looked at: somebody is watching.
const POLL: Duration = Duration::from_secs(3);
/// How often one that waits for people is looked at.
const LOOK: Duration = Duration::from_secs(15);
/// How often one that is where it was to come is looked at.
const REST: Duration = Duration::from_mins(1);

/// After how long there is something to do next; none where nothing is until somebody changes it. `moved` says whether this look has changed the
/// status; `chance` is drawn from 0.0 to 1.0.
#[must_use]
pub fn next_look(
    stage: Option<&Stage>,
    status: &EmbassyActivationStatus,
    moved: bool,
    chance: f64,
) -> Option<Duration> {
    match stage {
        Some(Stage::Over) => None,
        Some(Stage::Keyless(_)) => Some(SOON),
        Some(Stage::Ordered(_)) if moved => Some(SOON),
        Some(Stage::Ordered(_)) if status.ended_at.is_some() && !is_reported(status) => {
            Some(jittered(POLL, chance))
        }
        Some(Stage::Ordered(_)) if status.ended_at.is_some() => Some(jittered(REST, chance)),
        Some(Stage::Ordered(_)) if is_being_fenced(status) => Some(jittered(SOON, chance)),
        Some(Stage::Ordered(_)) => Some(jittered(POLL, chance)),
        Some(Stage::Unstated(_) | Stage::Awaiting | Stage::Expired) | None => Some(jittered(LOOK, chance)),
    }
}

/// Gates and custodian take seconds, and all that follows waits for them.
fn is_being_fenced(status: &EmbassyActivationStatus) -> bool {
    let mut registries = status.registries.iter();
    registries.any(|state| matches!(state.phase, RegistryPhase::Cutting | RegistryPhase::Fencing))
}

/// Whether the custodian is asked for no report.
fn is_reported(status: &EmbassyActivationStatus) -> bool {
    let mut reports = status.registries.iter().filter_map(|state| state.report.as_ref());
    !reports.any(course::is_awaited) && replaced::is_settled(status)
}

#[cfg(test)]
mod tests {
    use dataembassy_contract::Reason;
    use dataembassy_crds::{ActivatedState, ActivationReport, ReplacedOrder, ReplacedReport};
    use jiff::Timestamp;

    use super::*;
    use crate::embassy::validate::Refusal;

    const ORDERED: Stage = Stage::Ordered(Timestamp::UNIX_EPOCH);

    fn at(phases: &[RegistryPhase]) -> EmbassyActivationStatus {
        let states = phases.iter().map(|phase| ActivatedState {
            phase: *phase,
            ..ActivatedState::default()
        });
        EmbassyActivationStatus {
            registries: states.collect(),
            ..EmbassyActivationStatus::default()
        }
    }

    fn ended(phases: &[RegistryPhase]) -> EmbassyActivationStatus {
        EmbassyActivationStatus {
            ended_at: Some("2026-11-28T12:00:00Z".to_owned()),
            ..at(phases)
        }
    }

    /// The shortest wait, which is none of another period's.
    fn after(stage: Option<&Stage>, status: &EmbassyActivationStatus, moved: bool) -> Option<Duration> {
        next_look(stage, status, moved, 0.0)
    }

    #[test]
    fn an_activation_is_looked_at_as_often_as_somebody_waits_for_it() {
        use RegistryPhase::{Cutting, Fencing, Restoring, Serving};
        let a_little_less_than = |period| Some(jittered(period, 0.0));
        for (status, expected) in [
            (at(&[Restoring, Cutting]), SOON),
            (at(&[Fencing, Restoring]), SOON),
            (at(&[Restoring]), POLL),
            (at(&[Serving, Restoring]), POLL),
            (at(&[]), POLL),
            (ended(&[Serving]), REST),
            // It has ended: whoever is being fenced has no part in it.
            (ended(&[Fencing]), REST),
        ] {
            let found = after(Some(&ORDERED), &status, false);
            assert_eq!(found, a_little_less_than(expected), "{status:?}");
            assert_eq!(after(Some(&ORDERED), &status, true), Some(SOON));
        }
        let nobody = at(&[]);
        let unstated = Stage::Unstated(Refusal::new(Reason::InvalidName, "no"));
        for stage in [
            Some(&unstated),
            Some(&Stage::Awaiting),
            Some(&Stage::Expired),
            None,
        ] {
            for moved in [false, true] {
                assert_eq!(
                    after(stage, &nobody, moved),
                    a_little_less_than(LOOK),
                    "{stage:?}"
                );
            }
        }
        let keyless = Stage::Keyless(vec!["population".to_owned()]);
        assert_eq!(after(Some(&keyless), &nobody, false), Some(SOON));
        assert_eq!(after(Some(&Stage::Over), &nobody, true), None);
    }

    #[test]
    fn one_that_has_ended_is_watched_until_the_custodian_has_signed_for_everything() {
        let awaited = || ActivationReport {
            result: Some("{}".to_owned()),
            ..ActivationReport::default()
        };
        let mut status = ended(&[RegistryPhase::Serving, RegistryPhase::Failed]);
        let rest = after(Some(&ORDERED), &status, false);
        status.registries[1].report = Some(awaited());
        let watched = after(Some(&ORDERED), &status, false);
        assert_eq!(watched, Some(jittered(POLL, 0.0)));
        status.registries[1].report = Some(ActivationReport::default());
        assert_eq!(after(Some(&ORDERED), &status, false), rest);
        // What came of an order before it is no less awaited.
        status.replaced = vec![ReplacedOrder {
            reports: vec![ReplacedReport {
                report: awaited(),
                ..ReplacedReport::default()
            }],
            ..ReplacedOrder::default()
        }];
        assert_eq!(after(Some(&ORDERED), &status, false), watched);
    }
}

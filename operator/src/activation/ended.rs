//! When an activation has ended, and what is to be done before. Pure.

use dataembassy_crds::{
    ActivatedState, ActivationMode, ActivationPhase, EmbassyActivation, EmbassyActivationStatus,
};
use jiff::Timestamp;

use crate::activation::{course, replaced, statement};

/// What stands between an order and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Something goes on, or is not written down yet; or it has ended before.
    Later,
    /// A rehearsal is to be cleaned up; where the custodian has answered to everything, it ends with that.
    CleanUp {
        /// Whether the custodian has.
        is_answered: bool,
    },
    /// Nothing: it ends now.
    Now,
}

/// What stands between an order, approved at this moment, and its end. `status` is what this look has made of the one that the resource has.
///
/// A rehearsal cleans up before, once everything that its report tells is written down, and is over when the custodian has answered to that:
/// nobody looks at it afterwards.
#[must_use]
pub fn end(activation: &EmbassyActivation, status: &EmbassyActivationStatus, approved_at: Timestamp) -> End {
    let are_over = |states: &[ActivatedState]| states.iter().all(|state| course::is_over(state.phase));
    if status.ended_at.is_some() || !are_over(&status.registries) {
        return End::Later;
    }
    if activation.spec.mode == ActivationMode::Activate {
        return End::Now;
    }
    let order = status
        .statement
        .as_ref()
        .map_or("", |statement| statement.order.as_str());
    let all = |states: &[ActivatedState], is_so: fn(&ActivatedState, &str, Timestamp) -> bool| {
        states.iter().all(|state| is_so(state, order, approved_at))
    };
    // What a restore has answered is known to it alone until it stands in the status.
    let stands = activation
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.registries);
    if !are_over(stands) || !all(stands, course::is_written) {
        return End::Later;
    }
    let is_answered = all(&status.registries, course::is_answered) && replaced::is_settled(status);
    End::CleanUp { is_answered }
}

/// The record of a rehearsal that has ended: nothing is judged anew, unless the spec asks for another one.
#[must_use]
pub fn has_been_rehearsed(activation: &EmbassyActivation) -> Option<&EmbassyActivationStatus> {
    let status = activation.status.as_ref()?;
    let has_ended = activation.spec.mode == ActivationMode::Rehearse
        && status.ended_at.is_some()
        && status
            .statement
            .as_ref()
            .is_some_and(|stated| statement::is_of(stated, &activation.spec))
        && matches!(status.phase, ActivationPhase::Rehearsed | ActivationPhase::Failed);
    has_ended.then_some(status)
}

#[cfg(test)]
mod tests {
    use dataembassy_crds::{ActivationReport, RegistryPhase, ReplacedOrder, ReplacedReport, Statement};

    use super::*;
    use crate::activation::{names, sample::activation};

    /// A rehearsal whose registries are at these phases, with their reports.
    fn status(states: &[(RegistryPhase, Option<ActivationReport>)]) -> EmbassyActivationStatus {
        let states = states.iter().map(|(phase, report)| ActivatedState {
            phase: *phase,
            report: report.clone(),
            ..ActivatedState::default()
        });
        EmbassyActivationStatus {
            registries: states.collect(),
            statement: Some(Statement {
                order: "day-1".to_owned(),
                ..Statement::default()
            }),
            ..EmbassyActivationStatus::default()
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the state of a registry has it")]
    fn report(result: Option<&str>) -> Option<ActivationReport> {
        Some(ActivationReport {
            order: names::report("day-1"),
            result: result.map(str::to_owned),
            ..ActivationReport::default()
        })
    }

    /// What stands between it and its end, where the resource has `stands` and this look has made `status` of that.
    fn between(mode: &str, stands: &EmbassyActivationStatus, status: &EmbassyActivationStatus) -> End {
        let mut activation = activation(mode);
        activation.status = Some(stands.clone());
        end(&activation, status, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn an_activation_that_is_meant_ends_when_all_its_registries_are_where_they_were_to_come() {
        use RegistryPhase::{Failed, Restoring, Serving, Skipped, StoodDown};
        for (phases, expected) in [
            (vec![Serving, Restoring], End::Later),
            (vec![Restoring, Serving], End::Later),
            (vec![Serving, Failed, Skipped], End::Now),
            (vec![StoodDown], End::Now),
        ] {
            let registries: Vec<_> = phases.iter().map(|phase| (*phase, None)).collect();
            let mut status = status(&registries);
            assert_eq!(between("Activate", &status, &status), expected, "{phases:?}");
            status.ended_at = Some("2026-11-28T12:00:00Z".to_owned());
            assert_eq!(between("Activate", &status, &status), End::Later);
        }
    }

    #[test]
    fn a_rehearsal_cleans_up_when_all_that_its_report_tells_stands_in_the_resource() {
        use RegistryPhase::{Rehearsed, Restoring, Skipped};
        let told = status(&[(Rehearsed, report(Some("{}"))), (Skipped, None)]);
        let signed = status(&[(Rehearsed, report(None)), (Skipped, None)]);
        let untold = status(&[(Rehearsed, None), (Skipped, None)]);
        let at_work = status(&[(Restoring, None), (Skipped, None)]);
        let mut of_another = told.clone();
        of_another.registries[0].report.as_mut().unwrap().order = names::report("day-0");
        let clean_up = |is_answered| End::CleanUp { is_answered };
        for (stands, now, expected) in [
            (&told, &told, clean_up(false)),
            (&told, &signed, clean_up(true)),
            (&signed, &signed, clean_up(true)),
            (&told, &at_work, End::Later),
            (&at_work, &told, End::Later),
            (&untold, &told, End::Later),
            (&of_another, &told, End::Later),
        ] {
            assert_eq!(
                between("Rehearse", stands, now),
                expected,
                "{stands:?} and {now:?}"
            );
        }
        let mut owing = signed.clone();
        owing.replaced = vec![ReplacedOrder {
            reports: vec![ReplacedReport {
                report: report(Some("{}")).unwrap_or_default(),
                ..ReplacedReport::default()
            }],
            ..ReplacedOrder::default()
        }];
        assert_eq!(between("Rehearse", &owing, &owing), clean_up(false));
    }

    #[test]
    fn only_a_rehearsal_that_has_ended_with_this_spec_is_on_record() {
        type Change = fn(&mut EmbassyActivation);
        let mut ended = activation("Rehearse");
        ended.status = Some(EmbassyActivationStatus {
            phase: ActivationPhase::Rehearsed,
            ended_at: Some("2026-11-28T12:00:00Z".to_owned()),
            statement: Some(Statement {
                spec_sha256: statement::spec_digest(&ended.spec).to_string(),
                ..Statement::default()
            }),
            ..EmbassyActivationStatus::default()
        });
        assert_eq!(has_been_rehearsed(&ended), ended.status.as_ref());
        let mut failed = ended.clone();
        failed.status.as_mut().unwrap().phase = ActivationPhase::Failed;
        assert!(has_been_rehearsed(&failed).is_some());
        let changes: [Change; 5] = [
            |other| other.status = None,
            |other| other.status.as_mut().unwrap().ended_at = None,
            |other| other.status.as_mut().unwrap().statement = None,
            |other| other.status.as_mut().unwrap().phase = ActivationPhase::Recovering,
            |other| other.spec.valid_until = "2026-12-02T12:00:00Z".to_owned(),
        ];
        for (place, change) in changes.into_iter().enumerate() {
            let mut other = ended.clone();
            change(&mut other);
            assert_eq!(has_been_rehearsed(&other), None, "change {place}");
        }
        // Its statement is of another spec then, but a meant one is never on record, whatever its statement says.
        let mut meant = ended.clone();
        meant.spec.mode = ActivationMode::Activate;
        let digest = statement::spec_digest(&meant.spec).to_string();
        let stated = meant.status.as_mut().and_then(|status| status.statement.as_mut());
        stated.unwrap().spec_sha256 = digest;
        assert_eq!(has_been_rehearsed(&meant), None);
    }
}

//! Which lanes of the gate are closed: those that an activation has cut, and those whose registry the embassy holds. Pure.
//!
//! It fails closed: what is closed is opened only by a custodian that has read the ledger and finds that the registry is home's.

use std::collections::BTreeSet;
use std::sync::Arc;

use dataembassy_contract::custodian::{RegistryReport, TermHolder};
use dataembassy_contract::gate::LaneConfig;
use dataembassy_contract::report::CheckState;
use dataembassy_crds::{ActivatedState, ActivationMode, EmbassyActivation, RegistryPhase};

use crate::activation::steps;

/// The registries of the embassy called `embassy` that activations keep cut off.
#[must_use]
pub fn cut(embassy: &str, activations: &[Arc<EmbassyActivation>]) -> BTreeSet<String> {
    activations
        .iter()
        .filter(|activation| {
            activation.spec.embassy_ref.name == embassy
                && activation.spec.mode == ActivationMode::Activate
                && activation.metadata.deletion_timestamp.is_none()
        })
        .flat_map(|activation| activation.status.iter().flat_map(|status| &status.registries))
        .filter(|state| keeps_cut(state))
        .map(|state| state.id.clone())
        .collect()
}

/// From the step that cuts it off until it is on its way home. One that was given up before the ledger fenced it is home's still.
fn keeps_cut(state: &ActivatedState) -> bool {
    steps::has_begun(state, steps::CUT)
        && match state.phase {
            RegistryPhase::StandingDown | RegistryPhase::StoodDown => false,
            RegistryPhase::Failed | RegistryPhase::Skipped => state.fence.is_some(),
            _ => true,
        }
}

/// Whether nothing may be put into a lane.
#[must_use]
pub fn is_closed(is_cut: bool, report: Option<&RegistryReport>, before: Option<&LaneConfig>) -> bool {
    if is_cut {
        return true;
    }
    let was_closed = before.is_some_and(|lane| lane.fenced);
    let Some(report) = report.filter(|report| has_read_the_ledger(report)) else {
        return was_closed;
    };
    match &report.opening {
        Some(opening) if opening.holder == TermHolder::Embassy => true,
        // A ledger that ends in an earlier term than the one that is known was rolled back: it opens nothing.
        _ => was_closed && before.is_some_and(|lane| report.term < lane.term),
    }
}

/// A custodian that has just begun knows nothing yet.
fn has_read_the_ledger(report: &RegistryReport) -> bool {
    report.ledger.state != CheckState::Unknown || report.last_arrival.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(value: serde_json::Value) -> RegistryReport {
        serde_json::from_value(value).unwrap()
    }

    fn opened(holder: &str, term: u32) -> RegistryReport {
        report(json!({
            "registry": "population", "term": term, "ledger": {"state": "True", "reason": "LedgerIntact", "message": ""},
            "opening": {"holder": holder, "sequence": 4, "digest": "d", "signer": "s"},
        }))
    }

    fn lane(term: u32, fenced: bool) -> LaneConfig {
        LaneConfig {
            registry: "population".to_owned(),
            term,
            fenced,
            home_may_retrieve: false,
            quota_bytes: None,
            used_bytes: 0,
            bytes_per_second: None,
        }
    }

    #[test]
    fn a_registry_that_the_embassy_holds_is_closed_whoever_ordered_it() {
        assert!(is_closed(
            false,
            Some(&opened("Embassy", 2)),
            Some(&lane(1, false))
        ));
        assert!(!is_closed(false, Some(&opened("Home", 3)), Some(&lane(2, true))));
    }

    #[test]
    fn what_is_closed_stays_so_while_nobody_has_read_the_ledger() {
        let unread = report(
            json!({"registry": "population", "ledger": {"state": "Unknown", "reason": "NotYetKnown", "message": ""}}),
        );
        for said in [None, Some(&unread)] {
            assert!(is_closed(false, said, Some(&lane(2, true))));
            assert!(!is_closed(false, said, Some(&lane(1, false))));
            assert!(!is_closed(false, said, None));
        }
    }

    #[test]
    fn a_ledger_that_was_rolled_back_opens_nothing() {
        let old = report(
            json!({"registry": "population", "term": 1, "ledger": {"state": "False", "reason": "RolledBack", "message": ""}}),
        );
        assert!(is_closed(false, Some(&old), Some(&lane(2, true))));
        // Cut, and then given up before anything was written.
        assert!(!is_closed(false, Some(&old), Some(&lane(1, true))));
    }

    #[test]
    fn a_cut_is_kept_until_it_is_given_up_or_the_registry_goes_home() {
        let mut state = ActivatedState::default();
        assert!(!keeps_cut(&state));
        steps::begin(&mut state, steps::CUT, jiff::Timestamp::UNIX_EPOCH);
        for phase in [
            RegistryPhase::Cutting,
            RegistryPhase::Fencing,
            RegistryPhase::Serving,
        ] {
            state.phase = phase;
            assert!(keeps_cut(&state), "{phase:?}");
        }
        state.phase = RegistryPhase::Failed;
        assert!(!keeps_cut(&state));
        state.fence = Some(4);
        assert!(keeps_cut(&state));
        state.phase = RegistryPhase::StandingDown;
        assert!(!keeps_cut(&state));
    }

    #[test]
    fn what_another_embassy_a_rehearsal_or_a_deleted_activation_has_begun_cuts_nothing_off() {
        let activation = |field: &str, value: serde_json::Value| {
            let mut activation = json!({
                "apiVersion": "dataembassy.io/v1alpha1", "kind": "EmbassyActivation",
                "metadata": {"name": "home-lost", "namespace": "interior"},
                "spec": {
                    "embassyRef": {"name": "luxembourg"}, "mode": "Activate", "validUntil": "2036-01-01T00:00:00Z", "registries": [],
                },
            });
            *activation.pointer_mut(field).unwrap() = value;
            let mut activation: EmbassyActivation = serde_json::from_value(activation).unwrap();
            let mut state = ActivatedState {
                id: "population".to_owned(),
                ..ActivatedState::default()
            };
            steps::begin(&mut state, steps::CUT, jiff::Timestamp::UNIX_EPOCH);
            activation.status = Some(dataembassy_crds::EmbassyActivationStatus {
                registries: vec![state],
                ..dataembassy_crds::EmbassyActivationStatus::default()
            });
            Arc::new(activation)
        };
        let one = activation("/metadata/name", "home-lost".into());
        assert_eq!(cut("luxembourg", &[one]), ["population".to_owned()].into());
        let deleted = json!({"name": "home-lost", "deletionTimestamp": "2026-11-28T12:00:00Z"});
        for other in [
            activation("/spec/embassyRef/name", "tallinn".into()),
            activation("/spec/mode", "Rehearse".into()),
            activation("/metadata", deleted),
        ] {
            assert!(cut("luxembourg", &[other]).is_empty());
        }
    }
}

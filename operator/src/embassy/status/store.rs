//! How the store is, as the custodian sees it.

use dataembassy_contract::Reason;
use dataembassy_contract::report::CheckState;
use dataembassy_crds::DataEmbassyStatus;

use super::View;
use crate::condition::Finding;

/// A difference of clocks from which on it is an alarm, in seconds: ages of copies and locks are judged by both clocks.
const CLOCK_ALARM: u64 = 30;

/// `StoreReachable`.
pub(super) fn reachable(view: &View<'_>) -> Finding {
    let Some(report) = view.report else {
        return unheard(view);
    };
    let check = &report.store;
    match check.state {
        CheckState::True => Finding::yes(Reason::Reachable, check.message.clone()),
        CheckState::False => Finding::no(check.reason, check.message.clone()),
        CheckState::Unknown => Finding::unknown(Reason::NotYetKnown, "the custodian has not looked yet"),
    }
}

/// `SpaceSufficient`.
pub(super) fn space(view: &View<'_>) -> Finding {
    let Some(report) = view.report else {
        return unheard(view);
    };
    let check = &report.space.sufficient;
    match check.state {
        CheckState::True => Finding::yes(Reason::SpaceForecast, check.message.clone()),
        CheckState::False => Finding::no(check.reason, check.message.clone()),
        CheckState::Unknown if report.space.capacity_bytes.is_none() => Finding::unknown(
            Reason::CapacityUnknown,
            "nobody said how much the store can hold, so nothing is forecast: set spec.custodian.capacity",
        ),
        CheckState::Unknown => {
            Finding::unknown(Reason::NotYetKnown, "the custodian cannot forecast anything yet")
        }
    }
}

fn unheard(view: &View<'_>) -> Finding {
    match &view.found.report {
        Some(_) => Finding::unknown(
            Reason::CustodianSilent,
            "the custodian does not answer the operator",
        ),
        None => Finding::unknown(
            Reason::NotYetKnown,
            "there is no running custodian that could say",
        ),
    }
}

/// `UnknownRegistries`.
pub(super) fn unknown_registries(status: &DataEmbassyStatus) -> Option<Finding> {
    let unknown = &status.unknown_registries;
    if unknown.is_empty() {
        return None;
    }
    let message = format!(
        "the store has objects of registries that nobody accepted: {}; make a RegistryCustody for each that you know, or find out who \
         writes there",
        unknown.join(", ")
    );
    Some(Finding::yes(Reason::UnknownRegistry, message))
}

/// `StoreExposed`.
pub(super) fn exposed(status: &DataEmbassyStatus) -> Option<Finding> {
    let doors = status
        .store_doors
        .as_ref()
        .filter(|doors| !doors.open.is_empty())?;
    let message = format!(
        "without a gate, the store itself would let {} of {} probes through that must not pass: {}; so nobody but gate, custodian and \
         jobs may reach it",
        doors.open.len(),
        doors.tried,
        doors.open.join(", ")
    );
    Some(Finding::yes(Reason::StoreExposed, message))
}

/// `ClockSkewed`.
pub(super) fn clock_skewed(status: &DataEmbassyStatus) -> Option<Finding> {
    let difference = status.clock_difference_seconds?;
    if difference.unsigned_abs() < CLOCK_ALARM {
        return None;
    }
    let message = format!(
        "the store's clock is {} s {} the custodian's: set both by one source",
        difference.unsigned_abs(),
        if difference > 0 { "ahead of" } else { "behind" }
    );
    Some(Finding::yes(Reason::ClockSkewed, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_by_half_a_minute_are_an_alarm_whichever_is_ahead() {
        for (difference, words) in [
            (29, None),
            (-29, None),
            (30, Some("30 s ahead of")),
            (-30, Some("30 s behind")),
        ] {
            let finding = clock_skewed(&DataEmbassyStatus {
                clock_difference_seconds: Some(difference),
                ..DataEmbassyStatus::default()
            });
            assert_eq!(finding.is_some(), words.is_some(), "{difference}");
            if let (Some(finding), Some(words)) = (finding, words) {
                assert!(finding.message.contains(words), "{}", finding.message);
            }
        }
    }
}

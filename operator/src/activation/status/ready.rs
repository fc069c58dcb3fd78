//! `Ready`: what was ordered is so. And `Approved`.

use dataembassy_contract::Reason;
use dataembassy_crds::{ActivatedState, ActivationPhase, EmbassyActivationStatus, RegistryPhase};

use super::Seen;
use crate::activation::stage::Stage;
use crate::activation::{clean_up, course, steps};
use crate::condition::Finding;

/// Whether it comes on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// It is what it was to become.
    Settled,
    /// It is on its way.
    Moving,
    /// Somebody has to change something.
    Stuck,
}

/// What is said, and whether it comes on by itself.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) finding: Finding,
    pub(super) outlook: Outlook,
}

fn moving(reason: Reason, message: impl Into<String>) -> Ready {
    Ready {
        finding: Finding::no(reason, message),
        outlook: Outlook::Moving,
    }
}

fn stuck(reason: Reason, message: impl Into<String>) -> Ready {
    Ready {
        finding: Finding::no(reason, message),
        outlook: Outlook::Stuck,
    }
}

pub(super) fn ready(status: &EmbassyActivationStatus, seen: &Seen<'_>) -> Ready {
    if let Err(error) = seen.taken {
        let said = if error.is_permanent() { stuck } else { moving };
        return said(error.reason(), error.to_string());
    }
    if let Err(refusal) = seen.judged {
        return stuck(refusal.reason, refusal.message.clone());
    }
    match seen.stage {
        None | Some(Stage::Keyless(_)) => moving(
            Reason::Applying,
            "the keys that write the next term are being made",
        ),
        Some(Stage::Unstated(refusal)) if refusal.reason == Reason::NotYetKnown => {
            moving(refusal.reason, refusal.message.clone())
        }
        Some(Stage::Unstated(refusal)) => stuck(refusal.reason, refusal.message.clone()),
        Some(Stage::Awaiting) => moving(Reason::AwaitingApproval, with_held(status, &awaiting(status))),
        Some(Stage::Expired) => stuck(Reason::OrderExpired, with_held(status, EXPIRED)),
        Some(Stage::Ordered(_) | Stage::Over) => ordered(status),
    }
}

const EXPIRED: &str =
    "the order was not approved before spec.validUntil: set a later one, and have the new statement signed";

/// A rehearsal that was changed before its end has left something, which nobody should have to look for.
fn with_held(status: &EmbassyActivationStatus, message: &str) -> String {
    let held = status.registries.iter().find_map(clean_up::held);
    held.map_or_else(|| message.to_owned(), |held| format!("{message}; {held}"))
}

fn awaiting(status: &EmbassyActivationStatus) -> String {
    let words = status
        .approvals
        .as_ref()
        .map_or("0", |approvals| approvals.words.as_str());
    let digest = status
        .statement
        .as_ref()
        .map_or("", |statement| statement.sha256.as_str());
    format!(
        "{words} approvals: have status.statement.text, whose SHA-256 is {digest}, signed with ssh-keygen -Y sign -n \
         dataembassy-activation-v1, and put the signatures into spec.approvals"
    )
}

fn ordered(status: &EmbassyActivationStatus) -> Ready {
    let registries = &status.registries;
    let settled = |reason: Reason, message: String| Ready {
        finding: Finding::yes(reason, message),
        outlook: Outlook::Settled,
    };
    let recovery = status.recovery.as_deref().unwrap_or("an unknown time");
    match status.phase {
        ActivationPhase::Serving => {
            let in_need = registries.iter().find(|state| !course::is_well(state));
            if let Some(state) = in_need {
                return moving(reason_of(state), of_one(state));
            }
            match registries.iter().find(|state| state.fence.is_none()) {
                Some(state) => settled(Reason::Unfenced, of_one(state)),
                None => settled(
                    Reason::Serving,
                    format!("all registries are served from the embassy, {recovery} after the last approval"),
                ),
            }
        }
        ActivationPhase::Rehearsed => settled(
            Reason::Rehearsed,
            format!(
                "all registries could have been served, {recovery} after the last approval; what was made is removed"
            ),
        ),
        ActivationPhase::StoodDown => settled(
            Reason::StoodDown,
            "all registries were released to home: status.registries says by which releases".to_owned(),
        ),
        ActivationPhase::Failed => {
            let failed = registries
                .iter()
                .find(|state| state.phase == RegistryPhase::Failed);
            let failed = failed.or_else(|| {
                registries
                    .iter()
                    .find(|state| state.phase == RegistryPhase::Skipped)
            });
            failed.map_or_else(
                || stuck(Reason::Other, ""),
                |state| stuck(reason_of(state), of_one(state)),
            )
        }
        _ => {
            let at_work = registries.iter().find(|state| !course::is_over(state.phase));
            at_work.map_or_else(
                || match (
                    registries.iter().find_map(uncleaned),
                    registries.iter().find_map(unsigned),
                ) {
                    (Some(told), _) => moving(Reason::CleaningUp, told),
                    (None, Some(told)) => moving(Reason::ReportAwaited, told),
                    (None, None) => moving(Reason::Applying, "what the rehearsal made is being removed"),
                },
                |state| moving(reason_of(state), of_one(state)),
            )
        }
    }
}

/// What is said of a database of somebody else that still holds what a rehearsal has restored.
fn uncleaned(state: &ActivatedState) -> Option<String> {
    let clean_up = state
        .clean_up
        .as_ref()
        .filter(|_| !steps::has_ended(state, steps::CLEAN))?;
    Some(format!("{}: {}", state.id, clean_up.message))
}

/// What is said of a report that the custodian has not answered to.
fn unsigned(state: &ActivatedState) -> Option<String> {
    let report = state
        .report
        .as_ref()
        .filter(|report| course::is_awaited(report))?;
    Some(format!("{}: its report is awaited: {}", state.id, report.message))
}

fn reason_of(state: &ActivatedState) -> Reason {
    state.reason.parse().unwrap_or(Reason::Other)
}

fn of_one(state: &ActivatedState) -> String {
    format!("{}: {}", state.id, state.message)
}

/// Whether enough have signed the statement that is shown.
pub(super) fn approved(status: &EmbassyActivationStatus, seen: &Seen<'_>) -> Finding {
    let Some(approvals) = &status.approvals else {
        return Finding::unknown(
            Reason::NotYetKnown,
            "there is no statement yet that could be signed",
        );
    };
    let names = approvals.approved.join(", ");
    if status.approved_at.is_some() && !are_enough(&approvals.words) {
        let message = format!(
            "enough had approved, and now spec.approvals holds {}: put the signatures back, for no registry is fenced without them",
            approvals.words
        );
        return Finding::no(Reason::NotApproved, message);
    }
    if status.approved_at.is_some() {
        return Finding::yes(
            Reason::Approved,
            format!("{} have approved: {names}", approvals.words),
        );
    }
    if seen.stage == Some(&Stage::Expired) {
        return Finding::no(Reason::OrderExpired, "the order is not valid any more");
    }
    match approvals.refused.first() {
        Some(refused) => Finding::no(
            Reason::AwaitingApproval,
            format!(
                "{} approvals; spec.approvals[{}]: {}",
                approvals.words, refused.place, refused.message
            ),
        ),
        None => Finding::no(Reason::AwaitingApproval, format!("{} approvals", approvals.words)),
    }
}

/// Whether as many approve as must: `2/2` and more.
fn are_enough(words: &str) -> bool {
    let numbers = words
        .split_once('/')
        .map(|(given, needed)| (given.parse::<u32>(), needed.parse::<u32>()));
    matches!(numbers, Some((Ok(given), Ok(needed))) if given >= needed)
}

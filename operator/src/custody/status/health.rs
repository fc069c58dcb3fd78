//! Whether the registry is safe: conditions that are false on a bad day and hold up no deployment.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::RegistryReport;
use dataembassy_contract::report::{Check, CheckState};
use dataembassy_crds::{ConditionStatus, CustodyCopy, RegistryCustody, RegistryCustodyStatus};
use jiff::{SignedDuration, Timestamp};

use crate::clock::{has_passed, lies_ahead};
use crate::condition::{Finding, find};
use crate::custody::dereference::{Answer, Found};
use crate::custody::retreat::{Retreat, retreat};
use crate::custody::validate;
use crate::size::size;

/// How long a silent custodian's last word stands.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);
/// Alarms that are about space.
const OF_SPACE: [Reason; 3] = [Reason::QuotaExceeded, Reason::SpaceShort, Reason::StoreFull];

/// What the conditions are judged by.
pub(super) struct View<'a> {
    pub(super) registry: &'a str,
    pub(super) before: &'a RegistryCustodyStatus,
    pub(super) found: &'a Found,
    pub(super) report: Option<&'a RegistryReport>,
    pub(super) now: Timestamp,
}

/// `WithinRPO`. Of the two times of a copy the older one counts: home's clock may be wrong, or lie.
pub(super) fn within_rpo(custody: &RegistryCustody, copy: Option<&CustodyCopy>, now: Timestamp) -> Finding {
    let objective = &custody.spec.rpo;
    let registry = &custody.spec.registry.id;
    let Some(rpo) = validate::rpo(custody) else {
        return Finding::unknown(Reason::InvalidDuration, "spec.rpo is not a duration");
    };
    let older = |since: Timestamp| {
        SignedDuration::try_from(rpo.as_std()).is_ok_and(|rpo| now.duration_since(since) > rpo)
    };
    let Some(copy) = copy else {
        let message = format!("the ledger holds no copy of registry {registry} yet");
        let created = custody.metadata.creation_timestamp.as_ref().map(|time| time.0);
        return if created.is_some_and(older) {
            Finding::no(
                Reason::NoCopyYet,
                format!("{message}, although it was accepted more than {objective} ago"),
            )
        } else {
            Finding::unknown(Reason::NoCopyYet, message)
        };
    };
    let times = [&copy.taken_at, &copy.arrived_at];
    let Some(taken) = times.into_iter().filter_map(|time| time.parse().ok()).min() else {
        return Finding::unknown(Reason::Other, "the latest copy has no time that can be read");
    };
    if lies_ahead(taken, now) {
        let message = format!(
            "registry {registry}: the latest copy, {}, was taken and arrived at {taken}, which is still to come: a clock was wrong, so nobody \
             knows how old it is",
            copy.sequence
        );
        Finding::unknown(Reason::ClockSkewed, message)
    } else if older(taken) {
        let message = format!(
            "registry {registry}: the latest copy, {}, was taken at {taken}, more than {objective} ago: see HomeHeard, and the mirror at \
             home",
            copy.sequence
        );
        Finding::no(Reason::RpoMissed, message)
    } else {
        Finding::yes(
            Reason::WithinObjective,
            format!("the latest copy of registry {registry} is at most {objective} old"),
        )
    }
}

/// `LedgerSound`: the custodian's word, unless its ledger ends below or beside what the operator has seen.
pub(super) fn ledger_sound(view: &View<'_>) -> Finding {
    let sound = view
        .report
        .filter(|report| report.ledger.state == CheckState::True);
    if let Some(retreat) = sound.and_then(|report| retreat(view.before, report)) {
        return rolled_back(view.registry, &retreat);
    }
    of_check(
        view,
        "LedgerSound",
        |report| &report.ledger,
        Reason::LedgerIntact,
        "the ledger is whole, in order, and signed by who may",
    )
}

fn rolled_back(registry: &str, retreat: &Retreat) -> Finding {
    let (ends, stands) = match retreat.reported {
        Some(sequence) => (
            format!("ends at {sequence}"),
            format!("that chain up to entry {sequence}"),
        ),
        None => ("is empty".to_owned(), "nothing of that chain".to_owned()),
    };
    let message = format!(
        "registry {registry}: the {} chain {ends}, but entry {} with SHA-256 {} is known to have existed: an older or another state of the \
         store was put in its place. Lost: what later entries said. Stands: {stands}; nothing that is known is given up. {}",
        retreat.chain,
        retreat.known.sequence,
        retreat.known.digest,
        Reason::RolledBack.remedy()
    );
    Finding::no(Reason::RolledBack, message)
}

/// `Intact`.
pub(super) fn intact(view: &View<'_>) -> Finding {
    of_check(
        view,
        "Intact",
        |report| &report.intact,
        Reason::Proven,
        "every byte of the living copies was read back within the verification period and equals the ledger",
    )
}

fn of_check(
    view: &View<'_>,
    type_: &str,
    check: impl Fn(&RegistryReport) -> &Check,
    good: Reason,
    words: &str,
) -> Finding {
    let Some(report) = view.report else {
        return unheard(view, type_);
    };
    let check = check(report);
    let said = |otherwise: &str| {
        let message = check.message.as_str();
        about(
            view.registry,
            if message.is_empty() { otherwise } else { message },
        )
    };
    match check.state {
        CheckState::True => Finding::yes(good, said(words)),
        CheckState::False => {
            // The alarm of the fault says what is lost and what stands, whatever the check says.
            let alarm = report.alarms.iter().find(|alarm| alarm.reason == check.reason);
            let message = alarm.map(|alarm| about(view.registry, &alarm.message));
            Finding::no(
                check.reason,
                message.unwrap_or_else(|| said(check.reason.meaning())),
            )
        }
        CheckState::Unknown => Finding::unknown(check.reason, said("the custodian has not looked yet")),
    }
}

/// Words about a registry, which name it first.
fn about(registry: &str, words: &str) -> String {
    let named = words
        .strip_prefix("registry ")
        .and_then(|rest| rest.strip_prefix(registry))
        .is_some_and(|rest| rest.starts_with([':', ',', ' ']));
    if named {
        words.to_owned()
    } else {
        format!("registry {registry}: {words}")
    }
}

/// `Drilled`: false while the newest drill failed, unknown while none passed in time; else the copy that passed is named.
pub(super) fn drilled(view: &View<'_>) -> Finding {
    let Some(report) = view.report else {
        return unheard(view, "Drilled");
    };
    let alarm = |reason| report.alarms.iter().find(|alarm| alarm.reason == reason);
    if let Some(alarm) = alarm(Reason::DrillFailed) {
        return Finding::no(alarm.reason, about(view.registry, &alarm.message));
    }
    if let Some(alarm) = alarm(Reason::DrillOverdue) {
        return Finding::unknown(alarm.reason, about(view.registry, &alarm.message));
    }
    let message = match &report.last_drilled {
        Some(last) => {
            let message = format!(
                "copy {} was restored, and gave every answer as it must; the drill ended {:.0}, and its report is registries/{}/reports/{}.html",
                last.sequence, last.at, view.registry, last.order
            );
            return Finding::yes(Reason::Drilled, about(view.registry, &message));
        }
        None => "no living copy was restored and questioned yet, or none that was has passed",
    };
    Finding::unknown(Reason::NeverDrilled, about(view.registry, message))
}

/// `SpaceSufficient`: the registry's own alarms and quota first, then the store as a whole.
pub(super) fn space_sufficient(view: &View<'_>, custody: &RegistryCustody) -> Finding {
    let Some(report) = view.report else {
        return unheard(view, "SpaceSufficient");
    };
    if let Some(alarm) = report
        .alarms
        .iter()
        .find(|alarm| OF_SPACE.contains(&alarm.reason))
    {
        return Finding::no(alarm.reason, about(view.registry, &alarm.message));
    }
    let quota = custody
        .spec
        .quota
        .as_deref()
        .and_then(|quota| quota.parse::<dataembassy_contract::Quantity>().ok());
    if let Some(quota) = quota.filter(|quota| report.used_bytes >= quota.bytes()) {
        let message = format!(
            "registry {} has {} in the store and may have {quota}, so the gate takes nothing more: raise spec.quota, or keep less",
            view.registry,
            size(report.used_bytes)
        );
        return Finding::no(Reason::QuotaExceeded, message);
    }
    let Some(custodian) = &view.found.custodian else {
        return kept(view, "SpaceSufficient")
            .unwrap_or_else(|| Finding::unknown(Reason::NotYetKnown, "the custodian was not asked yet"));
    };
    let check = &custodian.space.sufficient;
    match check.state {
        CheckState::True => Finding::yes(Reason::SpaceForecast, check.message.clone()),
        CheckState::False => Finding::no(check.reason, check.message.clone()),
        CheckState::Unknown if custodian.space.capacity_bytes.is_none() => Finding::unknown(
            Reason::CapacityUnknown,
            "nobody said how much the store can hold, so nothing is forecast: set spec.custodian.capacity of the DataEmbassy",
        ),
        CheckState::Unknown => {
            Finding::unknown(Reason::NotYetKnown, "the custodian cannot forecast anything yet")
        }
    }
}

/// `Alarmed`: the worst of the alarms, which are listed worst first.
pub(super) fn alarmed(status: &RegistryCustodyStatus) -> Option<Finding> {
    let worst = status.alarms.first()?;
    let reason = worst.reason.parse().unwrap_or(Reason::Other);
    let more = match status.alarms.len() {
        1 => String::new(),
        count => format!(" (and {} more: see status.alarms)", count - 1),
    };
    Some(Finding::yes(reason, format!("{}{more}", worst.message)))
}

/// A custodian that is replaced is silent for a moment, which says nothing about the registry; one that stays silent leaves us without
/// knowledge.
fn unheard(view: &View<'_>, type_: &str) -> Finding {
    if let Some(kept) = kept(view, type_) {
        return kept;
    }
    match &view.found.answer {
        Answer::Silent(_) => Finding::unknown(
            Reason::CustodianSilent,
            about(
                view.registry,
                "the custodian does not answer the operator, so nobody knows",
            ),
        ),
        Answer::Nobody | Answer::NotKnown | Answer::Said(_) => Finding::unknown(
            Reason::NotYetKnown,
            about(view.registry, "there is no custodian that could say"),
        ),
    }
}

/// The condition as it was, as long as its last word stands.
fn kept(view: &View<'_>, type_: &str) -> Option<Finding> {
    let kept = find(&view.before.conditions, type_)?;
    let ready = find(&view.before.conditions, "Ready")?;
    let not_ready_since: Timestamp = ready.last_transition_time.parse().ok()?;
    let stands = ready.status == ConditionStatus::True || !has_passed(not_ready_since, PATIENCE, view.now);
    stands.then(|| Finding {
        status: kept.status,
        reason: kept.reason.parse().unwrap_or(Reason::Other),
        message: kept.message.clone(),
    })
}

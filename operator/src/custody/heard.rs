//! `HomeHeard`: whether home shows signs of life. The embassy finds out by itself: home's sidecars speak to the gate all the time, and no
//! other word of theirs is needed, nor trusted.

use dataembassy_contract::Reason;
use dataembassy_crds::{ConditionStatus, RegistryCustodyStatus};
use jiff::{SignedDuration, Timestamp};

use crate::clock::has_passed;
use crate::condition::{Finding, find, rfc3339};
use crate::embassy::gates::Sight;

/// Home's sidecars speak to the store every 20 seconds, while they rest and while they copy; a look at a database that does not answer takes ten
/// more. With the time between two polls of the gates, silence is told within a minute.
const SILENT_AFTER: SignedDuration = SignedDuration::from_secs(45);

/// What is found, and when home was heard last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The condition.
    pub finding: Finding,
    /// When home was heard last, as far as it is known.
    pub at: Option<Timestamp>,
}

/// Judges the registry's home by what the gates heard.
#[must_use]
pub fn judge(before: &RegistryCustodyStatus, sight: &Sight, registry: &str, now: Timestamp) -> Heard {
    let heard = sight.heard.get(registry).copied();
    let at = if is_misdated(before, now) {
        heard.or_else(|| at_the_latest(sight, now))
    } else {
        heard.max(remembered(before, now))
    };
    Heard {
        finding: find_out(before, sight, registry, at, now),
        at,
    }
}

/// What the status remembers; a time that lies ahead was written by a clock that was wrong, and would hide a silence.
fn remembered(before: &RegistryCustodyStatus, now: Timestamp) -> Option<Timestamp> {
    let known = before.last_heard_time.as_ref()?.parse().ok()?;
    (known <= now).then_some(known)
}

/// Whether the status says that home was heard, and not when.
fn is_misdated(before: &RegistryCustodyStatus, now: Timestamp) -> bool {
    before.last_heard_time.is_some() && remembered(before, now).is_none()
}

/// The latest moment at which a home was heard that none of these gates has heard: before the first of them began. `None` until they have listened
/// for so long that it would be a silence.
fn at_the_latest(sight: &Sight, now: Timestamp) -> Option<Timestamp> {
    let began = sight
        .since()
        .filter(|began| has_passed(*began, SILENT_AFTER, now))?;
    // One whose clock ran ahead has listened for no shorter.
    let silent = now.checked_sub(SILENT_AFTER).ok()?;
    Some(began.min(silent.checked_sub(SignedDuration::from_secs(1)).ok()?))
}

fn find_out(
    before: &RegistryCustodyStatus,
    sight: &Sight,
    registry: &str,
    at: Option<Timestamp>,
    now: Timestamp,
) -> Finding {
    let is_old = |time: Timestamp| now.duration_since(time) > SILENT_AFTER;
    if at.is_some_and(|at| !is_old(at)) {
        return Finding::yes(
            Reason::Heard,
            format!("registry {registry}: home was heard within the last 45 seconds"),
        );
    }
    let Some(listening_since) = sight.since() else {
        return Finding::unknown(
            Reason::GateDown,
            format!(
                "registry {registry}: no gate answers, so nobody knows whether home is there: see GateReady of the DataEmbassy"
            ),
        );
    };
    let Some(at) = at else {
        return Finding::unknown(
            Reason::NotYetKnown,
            format!(
                "registry {registry}: home was not heard yet: the mirror there speaks to the gate once it has endpoint and credentials"
            ),
        );
    };
    // A gate that has just begun has heard nobody, which is no silence of home's.
    if !has_passed(listening_since, SILENT_AFTER, now)
        && let Some(kept) = find(&before.conditions, "HomeHeard")
    {
        return Finding {
            status: kept.status,
            reason: kept.reason.parse().unwrap_or(Reason::Other),
            message: kept.message.clone(),
        };
    }
    let stands = match &before.last_copy {
        Some(copy) => format!(
            "the ledger up to copy {}, taken at {}",
            copy.sequence, copy.taken_at
        ),
        None => "no copy, as none has come yet".to_owned(),
    };
    let message = format!(
        "registry {registry}: home was last heard at {}. Lost: nothing that was committed. Stands: {stands}. Call home; if nobody answers, \
         think of activation",
        rfc3339(at)
    );
    Finding::no(Reason::HomeSilent, message)
}

/// The time that the status keeps: it moves with the condition only, or a settled operator would write all the time.
#[must_use]
pub fn last_heard_time(before: &RegistryCustodyStatus, heard: &Heard, now: Timestamp) -> Option<String> {
    if is_misdated(before, now) {
        // That home was heard at all is not forgotten until it is known when.
        return heard.at.map(rfc3339).or_else(|| before.last_heard_time.clone());
    }
    let status = |status: ConditionStatus| heard.finding.status == status;
    let same = find(&before.conditions, "HomeHeard").is_some_and(|then| status(then.status));
    match (&before.last_heard_time, heard.at) {
        (Some(known), _) if same => Some(known.clone()),
        (known, None) => known.clone(),
        (_, Some(at)) => Some(rfc3339(at)),
    }
}

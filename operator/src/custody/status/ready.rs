//! Whether the resource is followed: `Ready`, and `Stalled` where only a change of something helps.

use dataembassy_contract::Reason;
use dataembassy_crds::{RegistryCustody, RegistryCustodyStatus};

use crate::condition::Finding;
use crate::custody::Outcome;
use crate::custody::dereference::{Answer, Found};

/// Whether the custodian follows this generation: the spec is valid, and the report echoes it.
pub(super) fn ready(custody: &RegistryCustody, found: &Found, outcome: &Outcome) -> Finding {
    match outcome {
        Outcome::Refused(refusal) => return Finding::no(refusal.reason, refusal.message.clone()),
        Outcome::NotApplied(error) => return Finding::no(error.reason(), error.to_string()),
        Outcome::Applied => {}
    }
    let embassy = &custody.spec.embassy_ref.name;
    match &found.answer {
        Answer::Nobody => Finding::no(
            Reason::Applying,
            format!("the custodian is not running yet: see CustodianReady of the DataEmbassy {embassy}"),
        ),
        Answer::Silent(error) => {
            let message = format!(
                "the custodian does not answer the operator ({error}): see CustodianReady of the DataEmbassy {embassy}"
            );
            if is_heard(custody) {
                Finding::unknown(Reason::CustodianSilent, message)
            } else {
                Finding::no(Reason::CustodianSilent, message)
            }
        }
        Answer::NotKnown => Finding::no(
            Reason::NotYetLoaded,
            "the custodian has not loaded this registry yet",
        ),
        Answer::Said(report) if Some(report.generation) == custody.metadata.generation => Finding::yes(
            Reason::Loaded,
            "the custodian follows the newest generation of this resource",
        ),
        Answer::Said(_) => Finding::no(
            Reason::NotYetLoaded,
            "the custodian has not loaded the newest generation of this resource yet",
        ),
    }
}

/// Whether the custodian ever said anything about this registry.
fn is_heard(custody: &RegistryCustody) -> bool {
    custody
        .status
        .as_ref()
        .is_some_and(|status| status.verification.is_some())
}

/// What cannot mend itself: the resource or something in its way has to be changed.
pub(super) fn stalled(before: &RegistryCustodyStatus, outcome: &Outcome) -> Option<Finding> {
    let goes_on = if before.verification.is_some() {
        "; custody of the registry goes on with what was valid before"
    } else {
        ""
    };
    match outcome {
        Outcome::Refused(refusal) => Some(Finding::yes(
            refusal.reason,
            format!("{}{goes_on}", refusal.message),
        )),
        Outcome::NotApplied(error) if error.is_permanent() => {
            Some(Finding::yes(error.reason(), format!("{error}{goes_on}")))
        }
        Outcome::NotApplied(_) | Outcome::Applied => None,
    }
}

//! Which copy comes up: chosen once, when the registry is fenced, among those at or below its last entry.
//!
//! Home is fenced by then, so that there is none to choose is said for good only of what the custodian has had the time to see: a process that
//! began a moment ago has read the head alone, and what a store has damaged on one reading may be whole on the next.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{CopyReport, RegistryReport};
use dataembassy_contract::report::CheckState;
use dataembassy_crds::{ActivationCopy, RegistryPhase, RestoredCopy};
use jiff::SignedDuration;

use super::Walk;
use crate::activation::steps;
use crate::activation::validate::CheckedRegistry;
use crate::clock::has_passed;
use crate::condition::rfc3339;

/// How long what the custodian says may change before it is held to be the last word: it looks at damaged objects again twice in a minute.
const SETTLES: SignedDuration = SignedDuration::from_mins(2);

impl Walk<'_> {
    /// Chooses the copy; whether there is one.
    pub(super) fn choose(&mut self) -> bool {
        let found = self.scene.found;
        let report = found.report(&self.spec.id);
        let Some(report) = report.filter(|report| report.ledger.state != CheckState::Unknown) else {
            self.say(
                RegistryPhase::Fencing,
                Reason::NotYetKnown,
                "the custodian has not said yet which copies there are",
            );
            return false;
        };
        let head = match (found.opened_by(&self.state), &report.source_head) {
            (Some(opening), _) => opening.source_head.as_ref().map_or(0, |head| head.sequence),
            (None, Some(head)) => head.sequence,
            // Nothing was fenced, so what home has committed may be found in a moment.
            (None, None) => {
                self.say(
                    RegistryPhase::Fencing,
                    Reason::NotYetKnown,
                    "the custodian knows of no copy of it yet: the first that it finds intact comes up",
                );
                return false;
            }
        };
        let copy = match pick(&self.spec.copy, self.checked, report, head) {
            Ok(copy) => copy,
            Err(why) => {
                self.go_without(why, report, head);
                return false;
            }
        };
        let fenced_at = steps::ended_at(&self.state, steps::FENCE).unwrap_or(self.scene.now);
        let committed = report.copies.iter().filter(|copy| copy.sequence <= head);
        let committed = committed.max_by_key(|copy| copy.sequence);
        // Who dates a copy ahead makes it no younger than its entry is in the store.
        let moment = committed.map(|copy| copy.taken_at.min(copy.arrived_at));
        self.state.rpo_seconds = moment.map(|moment| fenced_at.duration_since(moment).as_secs().max(0));
        let sequence = i64::try_from(copy.sequence).unwrap_or_default();
        self.state.copy = Some(RestoredCopy {
            sequence,
            copy_id: copy.copy_id.clone(),
            taken_at: rfc3339(copy.taken_at),
        });
        self.say(
            RegistryPhase::Starting,
            Reason::StartingDatabase,
            &format!("copy {sequence} comes up"),
        );
        true
    }

    /// Says why no copy can be chosen; for good only if nothing that the custodian has still to see can change it.
    fn go_without(&mut self, why: Unchosen, report: &RegistryReport, head: u64) {
        let message = why.told(&self.spec.id, head);
        // A fence that a clock ahead has dated would be waited for as long as that was wrong by, and one that counts as past not at all.
        steps::end_again(&mut self.state, steps::FENCE, self.scene.now);
        let since = steps::ended_at(&self.state, steps::FENCE).unwrap_or(self.scene.approved_at);
        if let Unchosen::Unproven(_) = why {
            self.say(RegistryPhase::Fencing, Reason::AwaitingProof, &message);
        } else if report.reading {
            self.say(
                RegistryPhase::Fencing,
                Reason::NotYetKnown,
                &still_reading(&message),
            );
        } else if matches!(why, Unchosen::None) && !has_passed(since, SETTLES, self.scene.now) {
            let message = format!(
                "{message}; what the custodian finds is looked at for two minutes before that is final"
            );
            self.say(RegistryPhase::Fencing, Reason::NotYetKnown, &message);
        } else {
            self.fail(Reason::NoIntactCopy, &message);
        }
    }
}

fn still_reading(message: &str) -> String {
    format!(
        "the custodian is still reading what stood in the ledger before it started; by what it has read: {message}"
    )
}

/// Why no copy can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unchosen {
    /// There is none that the choice allows.
    None,
    /// None is proven yet; this one, the newest, may be in a moment: the custodian has still to read it.
    Unproven(u64),
    /// The one that the choice means may be among those that the custodian does not list: all below this number but pinned ones.
    Unlisted(u64),
}

impl Unchosen {
    fn told(self, registry: &str, head: u64) -> String {
        match self {
            Self::None => format!(
                "of its copies up to number {head} there is none that spec.registries[{registry}].copy allows, and a damaged one is never taken: \
                 kubectl get recoverypoints shows what there is; choose by another rule or by number"
            ),
            Self::Unproven(sequence) => format!(
                "the custodian has not read copy {sequence} back yet, and proven no older one: it comes up once it is found intact; \
                 copy.latest takes it as it is, and is another statement to sign"
            ),
            Self::Unlisted(from) => format!(
                "of its copies below number {from} the custodian lists only those that are pinned, so which of them \
                 spec.registries[{registry}].copy means cannot be told: find its number in the ledger, pin it in the RegistryCustody's \
                 spec.retention.pins, and name it in copy.sequence"
            ),
        }
    }
}

/// Whether the choice can be answered by what the custodian lists, before people sign for it.
pub fn judge_choice(
    choice: &ActivationCopy,
    checked: &CheckedRegistry,
    report: &RegistryReport,
) -> Result<(), (Reason, String)> {
    let head = report.source_head.as_ref().map_or(0, |head| head.sequence);
    match pick(choice, checked, report, head) {
        Err(unlisted @ Unchosen::Unlisted(_)) => {
            let message = unlisted.told(checked.id.as_str(), head);
            Err(if report.reading {
                (Reason::NotYetKnown, still_reading(&message))
            } else {
                (Reason::NoIntactCopy, message)
            })
        }
        // What is not there yet, or not read back yet, may be so when it is carried out.
        Ok(_) | Err(Unchosen::None | Unchosen::Unproven(_)) => Ok(()),
    }
}

/// The newest that the choice allows. One that is known to be damaged never is, and none below the number from which on all are listed, where
/// a newer one may be that is not: nothing is silently chosen wrong.
fn pick<'r>(
    choice: &ActivationCopy,
    checked: &CheckedRegistry,
    report: &'r RegistryReport,
    head: u64,
) -> Result<&'r CopyReport, Unchosen> {
    let named = choice.sequence.and_then(|number| u64::try_from(number).ok());
    let is_by_proof =
        named.is_none() && checked.at_or_before.is_none() && !choice.latest && !choice.latest_drilled;
    let allowed = |copy: &CopyReport| match (named, checked.at_or_before) {
        (Some(number), _) => copy.sequence == number,
        (None, Some(moment)) => copy.taken_at <= moment.as_jiff(),
        (None, None) if choice.latest => true,
        (None, None) if choice.latest_drilled => copy.drilled == CheckState::True,
        (None, None) => copy.intact == CheckState::True,
    };
    let sound = || {
        let copies = report.copies.iter();
        copies.filter(|copy| copy.sequence <= head && copy.intact != CheckState::False)
    };
    let picked = sound()
        .filter(|copy| allowed(copy))
        .max_by_key(|copy| copy.sequence);
    let unread = sound().map(|copy| copy.sequence).max().filter(|_| is_by_proof);
    let is_listed = |number: u64| report.complete_from.is_none_or(|from| number >= from);
    match (picked, report.complete_from) {
        (Some(copy), _) if named.is_some() || is_listed(copy.sequence) => Ok(copy),
        (None, _) if let Some(sequence) = unread => Err(Unchosen::Unproven(sequence)),
        (None, Some(from)) if named.is_none_or(|number| number < from) => Err(Unchosen::Unlisted(from)),
        (Some(_), Some(from)) => Err(Unchosen::Unlisted(from)),
        (None | Some(_), _) => Err(Unchosen::None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> RegistryReport {
        let copy = |sequence: u64, intact: &str, drilled: &str| {
            json!({
                "sequence": sequence, "digest": "a", "copyId": "b", "takenAt": format!("2026-11-23T1{sequence}:00:00Z"),
                "arrivedAt": "2026-11-23T20:00:00Z", "bytes": 1, "intact": intact, "drilled": drilled,
            })
        };
        let copies = [
            copy(5, "True", "Unknown"),
            copy(4, "False", "Unknown"),
            copy(3, "Unknown", "Unknown"),
            copy(2, "True", "True"),
            copy(1, "True", "True"),
        ];
        serde_json::from_value(json!({"registry": "population", "copies": copies})).unwrap()
    }

    fn picked(choice: &ActivationCopy, head: u64) -> Option<u64> {
        let checked = checked(choice.at_or_before.as_deref());
        pick(choice, &checked, &report(), head)
            .ok()
            .map(|copy| copy.sequence)
    }

    fn checked(at_or_before: Option<&str>) -> CheckedRegistry {
        CheckedRegistry {
            id: "population".parse().unwrap(),
            after: Vec::new(),
            home_signer: None,
            at_or_before: at_or_before
                .map(|text| dataembassy_ledger::Timestamp::from_jiff(text.parse().unwrap()).unwrap()),
        }
    }

    /// Copies 5 and 4 are the newest, 2 is pinned; 3 and 1 live, and are not listed.
    fn cut_report() -> RegistryReport {
        let mut report = report();
        report.copies.retain(|copy| [5, 4, 2].contains(&copy.sequence));
        report.copies[1].intact = CheckState::True;
        report.complete_from = Some(4);
        report.source_head = Some(dataembassy_contract::report::Head {
            sequence: 5,
            digest: "a".into(),
        });
        report
    }

    #[test]
    fn of_copies_that_are_not_all_listed_none_is_chosen_but_by_its_number() {
        let (report, any) = (cut_report(), ActivationCopy::default());
        let drilled = ActivationCopy {
            latest_drilled: true,
            ..ActivationCopy::default()
        };
        let by_number = |number| ActivationCopy {
            sequence: Some(number),
            ..ActivationCopy::default()
        };
        let early = checked(Some("2026-11-23T13:30:00Z"));
        let before = |moment: &str| checked(Some(moment));
        for (choice, checked, head, expected) in [
            (&any, &checked(None), 5, Ok(5)),
            // Copy 3 was taken before that moment, and is not listed.
            (&any, &early, 5, Err(Unchosen::Unlisted(4))),
            (&any, &before("2026-11-23T14:30:00Z"), 5, Ok(4)),
            (
                &any,
                &before("2026-11-23T10:30:00Z"),
                5,
                Err(Unchosen::Unlisted(4)),
            ),
            (&drilled, &checked(None), 5, Err(Unchosen::Unlisted(4))),
            (&any, &checked(None), 3, Err(Unchosen::Unlisted(4))),
            (&by_number(2), &checked(None), 5, Ok(2)),
            (&by_number(3), &checked(None), 5, Err(Unchosen::Unlisted(4))),
            (&by_number(5), &checked(None), 4, Err(Unchosen::None)),
            (&by_number(7), &checked(None), 5, Err(Unchosen::None)),
        ] {
            let found = pick(choice, checked, &report, head).map(|copy| copy.sequence);
            assert_eq!(found, expected, "{choice:?} up to {head}");
        }
        let (reason, why) = judge_choice(&any, &early, &report).unwrap_err();
        assert_eq!(reason, Reason::NoIntactCopy);
        assert!(
            why.contains("below number 4") && why.contains("copy.sequence"),
            "{why}"
        );
        assert_eq!(judge_choice(&any, &checked(None), &report), Ok(()));
        let begun = RegistryReport {
            reading: true,
            ..report
        };
        let (reason, _) = judge_choice(&any, &early, &begun).unwrap_err();
        assert_eq!(reason, Reason::NotYetKnown);
    }

    /// A registry's first copy arrives a moment before people sign: that nobody has read it back yet is no reason to give up.
    #[test]
    fn a_copy_that_is_not_read_back_yet_is_waited_for_where_no_proven_one_is_there() {
        let any = ActivationCopy::default();
        let drilled = ActivationCopy {
            latest_drilled: true,
            ..ActivationCopy::default()
        };
        let by_number = ActivationCopy {
            sequence: Some(2),
            ..ActivationCopy::default()
        };
        let mut unread = report();
        for copy in &mut unread.copies {
            copy.drilled = CheckState::Unknown;
            if copy.intact == CheckState::True {
                copy.intact = CheckState::Unknown;
            }
        }
        let mut damaged = report();
        for copy in &mut damaged.copies {
            copy.intact = CheckState::False;
        }
        let soon = checked(Some("2026-11-23T10:30:00Z"));
        for (choice, checked, report, head, expected) in [
            (&any, &checked(None), &unread, 5, Err(Unchosen::Unproven(5))),
            // Copy 4 is damaged.
            (&any, &checked(None), &unread, 4, Err(Unchosen::Unproven(3))),
            (&any, &checked(None), &unread, 0, Err(Unchosen::None)),
            (&any, &checked(None), &damaged, 5, Err(Unchosen::None)),
            (&any, &checked(None), &report(), 3, Ok(2)),
            // These do not ask for a proof.
            (&any, &soon, &unread, 5, Err(Unchosen::None)),
            (&drilled, &checked(None), &unread, 5, Err(Unchosen::None)),
            (&by_number, &checked(None), &unread, 1, Err(Unchosen::None)),
        ] {
            let found = pick(choice, checked, report, head).map(|copy| copy.sequence);
            assert_eq!(found, expected, "{choice:?} up to {head}");
        }
        assert_eq!(judge_choice(&any, &checked(None), &unread), Ok(()));
    }

    #[test]
    fn the_newest_copy_that_the_choice_allows_is_taken_and_none_behind_the_fence() {
        let intact = ActivationCopy::default();
        let latest = ActivationCopy {
            latest: true,
            ..ActivationCopy::default()
        };
        let drilled = ActivationCopy {
            latest_drilled: true,
            ..ActivationCopy::default()
        };
        let before = ActivationCopy {
            at_or_before: Some("2026-11-23T14:30:00Z".to_owned()),
            ..ActivationCopy::default()
        };
        for (choice, head, sequence) in [
            (&intact, 5, Some(5)),
            (&intact, 4, Some(2)),
            (&latest, 4, Some(3)),
            (&drilled, 5, Some(2)),
            (&before, 5, Some(3)),
            (&intact, 0, None),
        ] {
            assert_eq!(picked(choice, head), sequence, "{choice:?} up to {head}");
        }
    }
}

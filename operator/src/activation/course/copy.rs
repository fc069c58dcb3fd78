//! Which copy comes up: chosen once, when the registry is fenced, among those at or below its last entry.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{CopyReport, RegistryReport};
use dataembassy_contract::report::CheckState;
use dataembassy_crds::{ActivationCopy, RegistryPhase, RestoredCopy};

use super::Walk;
use crate::activation::steps;
use crate::activation::validate::CheckedRegistry;
use crate::condition::rfc3339;

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
        let head = match found.opened_by(&self.state) {
            Some(opening) => opening.source_head.as_ref(),
            None => report.source_head.as_ref(),
        };
        let head = head.map_or(0, |head| head.sequence);
        let Some(copy) = pick(&self.spec.copy, self.checked, report, head) else {
            let message = format!(
                "of its copies up to number {head} there is none that spec.registries[{}].copy allows: kubectl get recoverypoints shows \
                 what there is; copy.latest takes one that was not read back yet",
                self.spec.id
            );
            self.fail(Reason::NoIntactCopy, &message);
            return false;
        };
        let fenced_at = steps::ended_at(&self.state, steps::FENCE).unwrap_or(self.scene.now);
        let committed = report.copies.iter().filter(|copy| copy.sequence <= head);
        let committed = committed.max_by_key(|copy| copy.sequence);
        self.state.rpo_seconds =
            committed.map(|copy| fenced_at.duration_since(copy.taken_at).as_secs().max(0));
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
}

/// The newest that the choice allows. One that is known to be damaged never is.
fn pick<'r>(
    choice: &ActivationCopy,
    checked: &CheckedRegistry,
    report: &'r RegistryReport,
    head: u64,
) -> Option<&'r CopyReport> {
    let allowed = |copy: &CopyReport| match checked.at_or_before {
        Some(moment) => copy.taken_at <= moment.as_jiff(),
        None if choice.latest => true,
        None if choice.latest_drilled => copy.drilled == CheckState::True,
        None => copy.intact == CheckState::True,
    };
    let copies = report.copies.iter();
    copies
        .filter(|copy| copy.sequence <= head && copy.intact != CheckState::False && allowed(copy))
        .max_by_key(|copy| copy.sequence)
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
        let checked = CheckedRegistry {
            id: "population".parse().unwrap(),
            after: Vec::new(),
            home_signer: None,
            at_or_before: choice
                .at_or_before
                .as_deref()
                .map(|text| dataembassy_ledger::Timestamp::from_jiff(text.parse().unwrap()).unwrap()),
        };
        pick(choice, &checked, &report(), head).map(|copy| copy.sequence)
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

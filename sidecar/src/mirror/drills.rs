//! What the embassy's drills have shown of our copies, as its custody chain says: home restores nothing itself.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::LastDrilled;
use dataembassy_contract::report::{Check, CheckState};
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::entry::StandingDrill;
use dataembassy_ledger::value::RegistryId;

/// What is to be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drilled {
    /// Whether the newest drill passed; its `since` is not set.
    pub check: Check,
    /// The newest living copy that passed its latest drill.
    pub last: Option<LastDrilled>,
}

/// Judges what the custody chain says now. `trusting` is whether any custodian key is configured.
#[must_use]
pub fn judge(registry: &RegistryId, view: &CustodyView, trusting: bool) -> Drilled {
    let passed = view.latest_drilled();
    let (state, reason, message) = check(view, passed, trusting);
    Drilled {
        check: Check {
            state,
            reason,
            message: format!("registry {registry}: {message}"),
            since: None,
        },
        last: passed.map(|drill| LastDrilled {
            sequence: drill.source_sequence.get(),
            at: drill.at.as_jiff(),
            order: drill.order.to_string(),
        }),
    }
}

fn check(view: &CustodyView, passed: Option<&StandingDrill>, trusting: bool) -> (CheckState, Reason, String) {
    if !trusting {
        let why = "the DataEmbassy names no custodian key, so no drill counts: add the public key of the embassy's custodian to its \
                   spec.custodianKeys";
        return (CheckState::Unknown, Reason::NotYetKnown, why.to_owned());
    }
    let Some(newest) = view.drills().last() else {
        let why = "the embassy's custodian has signed for no drill yet: no copy was restored and questioned";
        return (CheckState::Unknown, Reason::NeverDrilled, why.to_owned());
    };
    if !newest.passed {
        let stands = passed.map_or_else(|| "no living copy has passed a drill".to_owned(), told);
        let message = format!(
            "copy {} did not pass the drill that ended {:.0} (custody entry {}); the embassy has the report {}. Lost: perhaps this copy. \
             Stands: {stands}. {}",
            newest.source_sequence,
            newest.at.as_jiff(),
            newest.entry,
            newest.order,
            Reason::DrillFailed.remedy()
        );
        return (CheckState::False, Reason::DrillFailed, message);
    }
    if let Some(drill) = passed {
        return (CheckState::True, Reason::Drilled, told(drill));
    }
    let why = format!(
        "no living copy has passed a drill: the last that did, copy {}, is gone",
        newest.source_sequence
    );
    (CheckState::Unknown, Reason::NeverDrilled, why)
}

fn told(drill: &StandingDrill) -> String {
    format!(
        "copy {} was restored at the embassy and gave every answer as it must; the drill ended {:.0} (custody entry {})",
        drill.source_sequence,
        drill.at.as_jiff(),
        drill.entry
    )
}

#[cfg(test)]
mod tests {
    use dataembassy_ledger::entry::{ProofBody, SequenceRange, Standing};
    use dataembassy_ledger::value::{Sequence, Sha256Digest, Timestamp};

    use super::*;

    /// A chain that tells of these drills, each of a copy and with its outcome, and of one expired copy.
    fn view(drills: &[(u64, bool)], expired: Option<u64>) -> CustodyView {
        let sequence = |number| Sequence::new(number).unwrap();
        let drills = drills
            .iter()
            .zip(1..)
            .map(|((copy, passed), entry)| StandingDrill {
                entry: sequence(entry),
                source_sequence: sequence(*copy),
                order: format!("nightly-{entry}").parse().unwrap(),
                passed: *passed,
                at: Timestamp::from_millisecond(1_795_000_000_000).unwrap(),
            });
        let expired = expired.map(|copy| SequenceRange {
            from: sequence(copy),
            until: sequence(copy),
        });
        let standing = Standing {
            drills: drills.collect(),
            expired: expired.into_iter().collect(),
            ..Standing::default()
        };
        let proof = ProofBody {
            standing: Some(standing),
            ..ProofBody::new(dataembassy_ledger::entry::EntryRef {
                sequence: sequence(99),
                digest: Sha256Digest::of(b"head"),
            })
        };
        CustodyView::standing_before(&proof).unwrap()
    }

    #[test]
    fn the_newest_drill_decides_and_the_message_says_what_stands() {
        for (drills, expired, trusting, state, reason, last, words) in [
            (
                vec![(7, true)],
                None,
                false,
                CheckState::Unknown,
                Reason::NotYetKnown,
                Some(7),
                "spec.custodianKeys",
            ),
            (
                vec![],
                None,
                true,
                CheckState::Unknown,
                Reason::NeverDrilled,
                None,
                "signed for no drill yet",
            ),
            (
                vec![(7, false), (8, true)],
                None,
                true,
                CheckState::True,
                Reason::Drilled,
                Some(8),
                "population: copy 8 was restored at the embassy and gave every answer as it must; the drill ended 2026-11-18T11:06:40Z (custody entry 2)",
            ),
            (
                vec![(7, true), (8, false)],
                None,
                true,
                CheckState::False,
                Reason::DrillFailed,
                Some(7),
                "Lost: perhaps this copy. Stands: copy 7 was restored",
            ),
            (
                vec![(8, false)],
                None,
                true,
                CheckState::False,
                Reason::DrillFailed,
                None,
                "copy 8 did not pass the drill that ended 2026-11-18T11:06:40Z (custody entry 1); the embassy has the report nightly-1",
            ),
            (
                vec![(7, true)],
                Some(7),
                true,
                CheckState::Unknown,
                Reason::NeverDrilled,
                None,
                "copy 7, is gone",
            ),
        ] {
            let drilled = judge(&"population".parse().unwrap(), &view(&drills, expired), trusting);
            let check = &drilled.check;
            assert_eq!((check.state, check.reason), (state, reason), "{}", check.message);
            assert_eq!(drilled.last.as_ref().map(|last| last.sequence), last);
            assert!(check.message.contains(words), "{}", check.message);
        }
    }
}

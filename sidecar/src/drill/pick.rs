//! Which copy is drilled, by what the ledger says of the living ones.

use std::collections::BTreeSet;

use dataembassy_contract::drill::Pick;
use dataembassy_ledger::{chain::CustodyView, value::Sequence};

/// The number of the copy to drill, of those up to the chain's head that have not expired and are not `void`; none where there is none left.
/// `draw` is a random number.
pub(super) fn choose(
    view: &CustodyView,
    head: Sequence,
    void: &BTreeSet<Sequence>,
    pick: Pick,
    draw: u64,
) -> Option<Sequence> {
    let mut living = (1..=head.get())
        .filter_map(|number| Sequence::new(number).ok())
        .filter(|sequence| !view.is_expired(*sequence) && !void.contains(sequence));
    match pick {
        Pick::Latest => living.next_back(),
        Pick::Random => {
            let living: Vec<Sequence> = living.collect();
            let count = u64::try_from(living.len()).ok().filter(|count| *count > 0)?;
            living.get(usize::try_from(draw % count).ok()?).copied()
        }
        Pick::OldestUndrilled => {
            let all: Vec<Sequence> = living.collect();
            let undrilled = all.iter().find(|sequence| view.drill_of(**sequence).is_none());
            let longest_ago = || {
                all.iter()
                    .min_by_key(|sequence| view.drill_of(**sequence).map(|drill| drill.entry))
            };
            undrilled.or_else(longest_ago).copied()
        }
    }
}

#[cfg(test)]
mod tests {
    use dataembassy_ledger::entry::{ProofBody, SequenceRange, Standing, StandingDrill};
    use dataembassy_ledger::{entry::EntryRef, value::Sha256Digest};

    use super::*;

    fn sequence(number: u64) -> Sequence {
        Sequence::new(number).unwrap()
    }

    /// Copies 1, 2 and 5 have expired; `drills` are copies, in the order of their drills.
    fn view(drills: &[u64]) -> CustodyView {
        let range = |from, until| SequenceRange {
            from: sequence(from),
            until: sequence(until),
        };
        let drill = |(place, copy): (usize, &u64)| StandingDrill {
            entry: sequence(place as u64 + 10),
            source_sequence: sequence(*copy),
            order: format!("order-{place}").parse().unwrap(),
            passed: true,
            at: dataembassy_ledger::Timestamp::from_jiff(jiff::Timestamp::UNIX_EPOCH).unwrap(),
        };
        let head = EntryRef {
            sequence: sequence(7),
            digest: Sha256Digest::of(b"head"),
        };
        let proof = ProofBody {
            standing: Some(Standing {
                openings: Vec::new(),
                void: Vec::new(),
                expired: vec![range(1, 2), range(5, 5)],
                pins: Vec::new(),
                drills: drills.iter().enumerate().map(drill).collect(),
                reports: Vec::new(),
            }),
            ..ProofBody::new(head)
        };
        CustodyView::standing_before(&proof).unwrap()
    }

    fn chosen(drills: &[u64], void: &[u64], pick: Pick, draw: u64) -> Option<u64> {
        let void = void.iter().map(|number| sequence(*number)).collect();
        choose(&view(drills), sequence(7), &void, pick, draw).map(Sequence::get)
    }

    #[test]
    fn the_latest_is_the_newest_that_lives() {
        assert_eq!(chosen(&[], &[], Pick::Latest, 0), Some(7));
        assert_eq!(chosen(&[], &[7, 6], Pick::Latest, 0), Some(4));
        assert_eq!(chosen(&[], &[3, 4, 6, 7], Pick::Latest, 0), None);
    }

    #[test]
    fn any_living_one_may_be_drawn_and_no_other() {
        let drawn: Vec<_> = (0..4)
            .filter_map(|draw| chosen(&[], &[], Pick::Random, draw))
            .collect();
        assert_eq!(drawn, [3, 4, 6, 7]);
        assert_eq!(chosen(&[], &[3], Pick::Random, u64::MAX), Some(4));
        assert_eq!(chosen(&[], &[3, 4, 6, 7], Pick::Random, 9), None);
    }

    #[test]
    fn the_oldest_undrilled_comes_first_and_then_the_one_drilled_longest_ago() {
        assert_eq!(chosen(&[], &[], Pick::OldestUndrilled, 0), Some(3));
        assert_eq!(chosen(&[3, 6], &[], Pick::OldestUndrilled, 0), Some(4));
        assert_eq!(chosen(&[6, 3, 4, 7], &[], Pick::OldestUndrilled, 0), Some(6));
        assert_eq!(chosen(&[6, 3, 4, 7, 6], &[], Pick::OldestUndrilled, 0), Some(3));
        assert_eq!(chosen(&[], &[3, 4, 6, 7], Pick::OldestUndrilled, 0), None);
    }
}

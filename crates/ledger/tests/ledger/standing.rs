//! A reader of the custody chain that starts late knows what one knows that read it whole.

use dataembassy_ledger::chain::{CustodyView, SignerRange};
use dataembassy_ledger::entry::{
    ConfirmBody, CustodyBody, CustodyEntry, EntryRef, ExpiryBody, MAX_STANDING_COPIES, MAX_STANDING_DRILLS,
    MAX_STANDING_RANGES, PinBody, ProofBody, ReportOutcome, SequenceRange, Standing, StandingDrill, TermBody,
    VerifiedEntry,
};
use dataembassy_ledger::{CopyId, OrderId, Sequence, Sha256Digest, Term};
use proptest::prelude::*;

use crate::sample::{self, custodian_key, embassy_key, genesis, home_key, sequence};

fn source(number: u64) -> EntryRef {
    EntryRef {
        sequence: sequence(number),
        digest: Sha256Digest::of(&number.to_be_bytes()),
    }
}

/// A custody chain that is written and read entry by entry.
struct Chain {
    view: CustodyView,
    entries: Vec<VerifiedEntry<CustodyBody>>,
    /// The source chain's head: proofs and openings name it, and it never goes back.
    head: u64,
}

impl Chain {
    fn new() -> Self {
        Self {
            view: CustodyView::new(),
            entries: Vec::new(),
            head: 1,
        }
    }

    fn write(&mut self, body: CustodyBody) {
        let prev = self.entries.last().map_or_else(genesis, |last| last.digest);
        let number = self.entries.len() as u64 + 1;
        let term = u64::from(self.view.current_term().get());
        let object = sample::custody_entry(number, term, prev, body)
            .sign(&custodian_key())
            .unwrap();
        let entry = CustodyEntry::verify(&object.bytes).unwrap();
        self.view.apply(&entry).unwrap();
        self.entries.push(entry);
    }

    fn prove(&mut self) {
        let standing = self.view.standing();
        assert!(standing.fits());
        self.write(CustodyBody::Proof(ProofBody {
            standing: Some(standing),
            ..ProofBody::new(source(self.head))
        }));
    }

    fn open(&mut self, activation: bool) {
        let body = TermBody {
            source_head: Some(source(self.head)),
            next_term: self.view.current_term().next().unwrap(),
            signer: if activation { embassy_key() } else { home_key() }.public_key(),
            order: None,
            warrant: None,
        };
        self.write(if activation {
            CustodyBody::Activation(body)
        } else {
            CustodyBody::Release(body)
        });
    }

    fn expire(&mut self, number: u8) {
        self.write(CustodyBody::Expiry(ExpiryBody {
            copies: vec![sample::expired(number)],
        }));
    }

    /// Writes a drill of a copy, under an order that tells its own place.
    fn drill(&mut self, copy: u64, passed: bool) {
        let order = order(self.entries.len() as u64 + 1);
        let mark = u8::try_from(copy).unwrap();
        let body = sample::drill(source(copy), mark, order.as_str(), passed);
        self.write(CustodyBody::Drill(body));
    }

    /// Writes a report, under an order that tells its own place.
    fn report(&mut self, copy: u64) {
        let order = reported(self.entries.len() as u64 + 1);
        let outcome = if copy == 1 {
            ReportOutcome::Failed
        } else {
            ReportOutcome::Served
        };
        let body = sample::report(source(copy), order.as_str(), outcome);
        self.write(CustodyBody::Report(body));
    }

    /// What a reader knows that starts at this proof and reads on to the end.
    fn read_from(&self, place: usize) -> CustodyView {
        let CustodyBody::Proof(proof) = &self.entries[place].entry.body else {
            panic!("a reader starts at a proof");
        };
        let mut view = CustodyView::standing_before(proof).unwrap();
        for entry in &self.entries[place..] {
            view.apply(entry).unwrap();
        }
        view
    }
}

/// The order of the drill at this place.
fn order(place: u64) -> OrderId {
    format!("nightly-{place}").parse().unwrap()
}

/// The order of the report at this place.
fn reported(place: u64) -> OrderId {
    format!("home-lost-{place}-report").parse().unwrap()
}

fn assert_same(late: &CustodyView, whole: &CustodyView) {
    assert_eq!(late.standing(), whole.standing());
    assert_eq!(late.openings(), whole.openings());
    assert_eq!(late.current_term(), whole.current_term());
    assert_eq!(late.head(), whole.head());
    assert_eq!(late.latest_proof(), whole.latest_proof());
    assert_eq!(late.intact(), whole.intact());
    assert_eq!(late.last_named_source(), whole.last_named_source());
    assert_eq!(late.pins(), whole.pins());
    assert_eq!(late.drills(), whole.drills());
    assert_eq!(late.latest_drilled(), whole.latest_drilled());
    for number in 1..400 {
        assert_eq!(
            late.carried_out(&order(number)),
            whole.carried_out(&order(number))
        );
        let reported = reported(number);
        assert_eq!(late.carried_out(&reported), whole.carried_out(&reported));
        assert_eq!(late.reported(&reported), whole.carried_out(&reported));
        assert!(
            late.reported(&order(number)).is_none(),
            "that is no report's order"
        );
    }
    for number in 1..60 {
        assert_eq!(late.drill_of(sequence(number)), whole.drill_of(sequence(number)));
        assert_eq!(late.term_of(sequence(number)), whole.term_of(sequence(number)));
        assert_eq!(
            late.is_expired(sequence(number)),
            whole.is_expired(sequence(number))
        );
    }
    for mark in 0..=u8::MAX {
        let copy = CopyId::from_bytes([mark; 16]);
        assert_eq!(late.is_void(copy), whole.is_void(copy));
    }
    let signers = [SignerRange::always(home_key().public_key())];
    for key in [home_key(), embassy_key()] {
        let next = sequence(60);
        let may = |view: &CustodyView| view.may_write(key.public_key(), &signers, next, None);
        assert_eq!(may(late), may(whole));
    }
}

#[derive(Clone, Debug)]
enum Event {
    Copies(u64),
    Void(Vec<u8>),
    Expire(u8),
    Pin(u64, bool),
    Open(bool),
    Confirm,
    Drill(u8, bool),
    Drills(u8),
    Report(u8),
    Reports,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_u64..4).prop_map(Event::Copies),
        prop::collection::btree_set(any::<u8>(), 1..20)
            .prop_map(|marks| Event::Void(marks.into_iter().collect())),
        (1_u8..60).prop_map(Event::Expire),
        (1_u64..60, any::<bool>()).prop_map(|(number, pinned)| Event::Pin(number, pinned)),
        any::<bool>().prop_map(Event::Open),
        Just(Event::Confirm),
        (any::<u8>(), any::<bool>()).prop_map(|(copy, passed)| Event::Drill(copy, passed)),
        // Enough of them, and older ones are forgotten.
        (30_u8..60).prop_map(Event::Drills),
        any::<u8>().prop_map(Event::Report),
        Just(Event::Reports),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever came before a proof and whatever comes after it: who starts at the proof ends where who read everything ends.
    #[test]
    fn a_reader_that_starts_at_a_proof_ends_with_the_same_view(
        before in prop::collection::vec(event(), 0..40), after in prop::collection::vec(event(), 0..12),
    ) {
        let mut chain = Chain::new();
        let happen = |chain: &mut Chain, event: Event| match event {
            Event::Copies(more) => chain.head += more,
            Event::Void(marks) => chain.write(sample::void(&marks)),
            Event::Expire(number) => chain.expire(number),
            Event::Pin(number, pinned) => chain.write(CustodyBody::Pin(PinBody { source_sequence: sequence(number), pinned, reason: None })),
            Event::Open(activation) => chain.open(activation),
            Event::Drill(copy, passed) => {
                let copy = 1 + u64::from(copy) % chain.head;
                chain.drill(copy, passed);
            }
            Event::Drills(count) => {
                for number in 0..u64::from(count) {
                    let copy = 1 + number % chain.head.min(5);
                    chain.drill(copy, number % 3 != 0);
                }
            }
            Event::Report(copy) => {
                let copy = 1 + u64::from(copy) % chain.head;
                chain.report(copy);
            }
            Event::Reports => (0..20).for_each(|_| chain.report(1)),
            Event::Confirm => {
                let source_head = source(chain.head);
                chain.write(CustodyBody::Confirm(ConfirmBody { source_head }));
            }
        };
        for event in before {
            happen(&mut chain, event);
        }
        let place = chain.entries.len();
        chain.prove();
        for event in after {
            happen(&mut chain, event);
        }
        assert_same(&chain.read_from(place), &chain.view);
    }

    /// Ranges of expired copies are those of a plain set of numbers, in whatever order the copies expire.
    #[test]
    fn expired_copies_are_joined_to_ranges_in_any_order(numbers in prop::collection::vec(1_u8..60, 0..60)) {
        let mut chain = Chain::new();
        for number in &numbers {
            chain.expire(*number);
        }
        let expected: std::collections::BTreeSet<u8> = numbers.into_iter().collect();
        for number in 1..=60 {
            prop_assert_eq!(chain.view.is_expired(sequence(number.into())), expected.contains(&number));
        }
        let ranges = chain.view.standing().expired;
        let listed: Vec<u64> = ranges.iter().flat_map(|range| range.from.get()..=range.until.get()).collect();
        prop_assert_eq!(listed, expected.iter().map(|number| u64::from(*number)).collect::<Vec<_>>());
        prop_assert!(ranges.windows(2).all(|pair| pair[0].until.get() + 1 < pair[1].from.get()));
    }
}

#[test]
fn a_copy_between_two_expired_ranges_joins_them() {
    let mut chain = Chain::new();
    for number in [1, 2, 4, 5] {
        chain.expire(number);
    }
    assert_eq!(chain.view.standing().expired.len(), 2);
    chain.expire(3);
    let joined = SequenceRange {
        from: sequence(1),
        until: sequence(5),
    };
    assert_eq!(chain.view.standing().expired, [joined]);
    chain.expire(3);
    assert_eq!(chain.view.standing().expired, [joined]);
}

#[test]
fn the_last_number_can_expire() {
    let mut chain = Chain::new();
    let copy = dataembassy_ledger::entry::ExpiredCopy {
        sequence: Sequence::LAST,
        copy_id: CopyId::from_bytes([1; 16]),
    };
    chain.write(CustodyBody::Expiry(ExpiryBody { copies: vec![copy] }));
    assert!(chain.view.is_expired(Sequence::LAST));
}

#[test]
fn of_void_copies_the_latest_256_are_known_to_early_and_late_readers_alike() {
    let mut chain = Chain::new();
    chain.write(sample::void(&[7]));
    chain.write(sample::void(&(20..=255).collect::<Vec<_>>()));
    chain.prove();
    let place = chain.entries.len() - 1;
    assert!(chain.view.is_void(CopyId::from_bytes([7; 16])));
    chain.write(sample::void(&(0..20).collect::<Vec<_>>()));
    // 256 ids, the seven among them for the second time: nothing was forgotten.
    assert!(chain.view.is_void(CopyId::from_bytes([7; 16])));
    assert_eq!(chain.view.standing().void.len(), MAX_STANDING_COPIES);
    chain.write(CustodyBody::Void(dataembassy_ledger::entry::VoidBody {
        copies: vec![CopyId::from_bytes(*b"0123456789abcdef")],
        order: None,
    }));
    assert!(!chain.view.is_void(CopyId::from_bytes([7; 16])));
    assert!(chain.view.is_void(CopyId::from_bytes([255; 16])));
    assert!(chain.view.standing().fits());
    assert_same(&chain.read_from(place), &chain.view);
}

#[test]
fn of_many_drills_those_are_forgotten_that_say_nothing_any_more() {
    let mut chain = Chain::new();
    chain.head = 50;
    chain.drill(1, true);
    chain.drill(2, true);
    chain.expire(2);
    for _ in 0..MAX_STANDING_DRILLS {
        chain.drill(3, false);
    }
    chain.prove();
    let place = chain.entries.len() - 1;
    for _ in 0..MAX_STANDING_DRILLS {
        chain.drill(4, true);
    }
    let view = &chain.view;
    assert_eq!(view.drills().len(), MAX_STANDING_DRILLS);
    // One word about each copy stays, however old; of the copy that is gone there is none, and the latest orders are all known.
    assert_eq!(view.drill_of(sequence(1)).unwrap().entry, sequence(1));
    assert_eq!(view.drill_of(sequence(2)), None);
    assert!(!view.drill_of(sequence(3)).unwrap().passed);
    let last = chain.entries.len() as u64;
    for number in last - 15..=last {
        assert_eq!(view.carried_out(&order(number)), Some(sequence(number)));
    }
    assert_eq!(view.carried_out(&order(2)), None);
    assert_eq!(view.carried_out(&order(last + 1)), None);
    assert_same(&chain.read_from(place), view);
}

#[test]
fn the_latest_drilled_copy_is_the_newest_living_one_whose_latest_drill_passed() {
    let mut chain = Chain::new();
    chain.head = 50;
    assert_eq!(chain.view.latest_drilled(), None);
    let latest = |chain: &Chain| {
        let drill = chain.view.latest_drilled();
        drill.map(|drill| (drill.source_sequence.get(), drill.entry.get()))
    };
    chain.drill(7, true);
    chain.drill(5, true);
    assert_eq!(latest(&chain), Some((7, 1)));
    chain.drill(7, true);
    assert_eq!(latest(&chain), Some((7, 3)));
    chain.drill(7, false);
    assert_eq!(latest(&chain), Some((5, 2)));
    chain.expire(5);
    assert_eq!(latest(&chain), None);
}

#[test]
fn where_a_standing_has_no_room_old_drills_give_way_for_early_and_late_readers_alike() {
    // Numbers of six digits, kept apart, beside drills with the longest orders: more than fits.
    let ranges = (0..MAX_STANDING_RANGES as u64 - 24).map(|number| SequenceRange {
        from: sequence(900_001 + 3 * number),
        until: sequence(900_002 + 3 * number),
    });
    let drills = (1..=MAX_STANDING_DRILLS as u64).map(|number| StandingDrill {
        entry: sequence(number),
        source_sequence: sequence(number),
        order: format!("{number:0>63}").parse().unwrap(),
        passed: true,
        at: sample::at(1),
    });
    let standing = Standing {
        expired: ranges.collect(),
        drills: drills.collect(),
        ..Standing::default()
    };
    assert!(!standing.fits());
    let proof = ProofBody {
        standing: Some(standing),
        ..ProofBody::new(source(40))
    };
    let mut early = CustodyView::standing_before(&proof).unwrap();
    assert_eq!(early.drills().len(), MAX_STANDING_DRILLS);
    let told = early.standing();
    assert!(told.fits());
    let numbers: Vec<u64> = told.drills.iter().map(|drill| drill.entry.get()).collect();
    assert!((16..MAX_STANDING_DRILLS).contains(&numbers.len()));
    // The oldest gave way.
    let first = MAX_STANDING_DRILLS as u64 + 1 - numbers.len() as u64;
    assert_eq!(numbers, (first..=MAX_STANDING_DRILLS as u64).collect::<Vec<_>>());

    let next = ProofBody {
        standing: Some(told),
        ..ProofBody::new(source(40))
    };
    let object = sample::custody_entry(200, 1, genesis(), CustodyBody::Proof(next.clone()))
        .sign(&custodian_key())
        .unwrap();
    let entry = CustodyEntry::verify(&object.bytes).unwrap();
    let mut late = CustodyView::standing_before(&next).unwrap();
    early.apply(&entry).unwrap();
    late.apply(&entry).unwrap();
    assert_eq!(early.drills().len(), numbers.len());
    assert_same(&late, &early);
}

#[test]
fn a_pin_holds_until_it_is_taken_back() {
    let mut chain = Chain::new();
    for (number, pinned) in [(3, true), (5, true), (3, false)] {
        chain.write(CustodyBody::Pin(PinBody {
            source_sequence: sequence(number),
            pinned,
            reason: None,
        }));
    }
    assert_eq!(chain.view.standing().pins, [sequence(5)]);
}

#[test]
fn a_proof_without_a_standing_is_no_place_to_start() {
    assert!(CustodyView::standing_before(&ProofBody::new(source(1))).is_none());
    let mut chain = Chain::new();
    chain.prove();
    assert_eq!(chain.read_from(0).current_term(), Term::FIRST);
}

#[test]
fn a_confirmation_counts_only_for_a_reader_that_reads_it() {
    let mut chain = Chain::new();
    chain.write(CustodyBody::Confirm(ConfirmBody {
        source_head: source(1),
    }));
    chain.prove();
    assert!(chain.view.is_confirmed());
    // An old word must not vouch for what the store shows to a custodian that wakes up without memory.
    assert!(!chain.read_from(1).is_confirmed());
}

#[test]
fn named_heads_do_not_pile_up_in_memory() {
    let mut chain = Chain::new();
    for head in 1..=300 {
        chain.head = head;
        chain.write(CustodyBody::Proof(ProofBody::new(source(head))));
        let first = chain.view.named_source(sequence(1));
        assert_eq!(first.is_some(), head <= 256, "after {head}");
    }
    assert_eq!(chain.view.last_named_source(), Some(source(300)));
    assert_eq!(chain.view.named_source(sequence(100)), Some(source(100).digest));
    assert_eq!(chain.view.named_source(sequence(1)), None);
}

#[test]
fn a_report_is_found_by_its_order_and_by_no_other() {
    let mut chain = Chain::new();
    for _ in 0..3 {
        chain.head += 1;
        chain.report(chain.head);
    }
    for place in 1..=3 {
        assert_eq!(chain.view.reported(&reported(place)), Some(sequence(place)));
        assert_eq!(chain.view.reported(&order(place)), None);
    }
    assert_eq!(chain.view.reported(&reported(4)), None);
}

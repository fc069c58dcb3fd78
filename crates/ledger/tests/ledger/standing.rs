//! A reader of the custody chain that starts late knows what one knows that read it whole.

use dataembassy_ledger::chain::{CustodyView, SignerRange};
use dataembassy_ledger::entry::{
    ConfirmBody, CustodyBody, CustodyEntry, EntryRef, ExpiryBody, MAX_STANDING_COPIES, PinBody, ProofBody,
    SequenceRange, TermBody, VerifiedEntry,
};
use dataembassy_ledger::{CopyId, Sequence, Sha256Digest, Term};
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

fn assert_same(late: &CustodyView, whole: &CustodyView) {
    assert_eq!(late.standing(), whole.standing());
    assert_eq!(late.openings(), whole.openings());
    assert_eq!(late.current_term(), whole.current_term());
    assert_eq!(late.head(), whole.head());
    assert_eq!(late.latest_proof(), whole.latest_proof());
    assert_eq!(late.intact(), whole.intact());
    assert_eq!(late.last_named_source(), whole.last_named_source());
    assert_eq!(late.pins(), whole.pins());
    for number in 1..60 {
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
    }
    assert_eq!(chain.view.last_named_source(), Some(source(300)));
    assert_eq!(chain.view.named_source(sequence(100)), Some(source(100).digest));
    assert_eq!(chain.view.named_source(sequence(1)), None);
}

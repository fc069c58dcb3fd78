//! Which entries count.

use dataembassy_ledger::chain::{
    Alarm, CustodianKey, CustodyAuthority, CustodyChain, CustodyView, Fence, OpeningKind, SignerRange,
    SourceAuthority, SourceChain, Start, Step, StoredVersion,
};
use dataembassy_ledger::entry::{
    CustodyBody, Entry, EntryRef, ProofBody, SignedObject, SourceBody, TermBody, VoidBody,
};
use dataembassy_ledger::{CopyId, ObjectKey, Role, Sha256Digest, SigningKey};
use proptest::prelude::*;

use crate::sample::{
    self, copy_entry, custodian_key, custody_entry, embassy_key, genesis, home_key, reference, sequence,
    sign_line, stored, stranger_key, term,
};

fn authority(view: CustodyView) -> SourceAuthority {
    let custodians = [CustodianKey {
        key: custodian_key().public_key(),
        until: None,
    }];
    SourceAuthority::new(
        vec![SignerRange::always(home_key().public_key())],
        &custodians,
        view,
    )
    .unwrap()
}

fn source_from(start: Start, view: CustodyView) -> SourceChain {
    SourceChain::new(sample::store_id(), sample::registry(), authority(view), start)
}

fn source() -> SourceChain {
    source_from(Start::Genesis(genesis()), CustodyView::new())
}

fn custody() -> CustodyChain {
    let keys = vec![CustodianKey {
        key: custodian_key().public_key(),
        until: None,
    }];
    let authority = CustodyAuthority::new(keys);
    CustodyChain::new(
        sample::store_id(),
        sample::registry(),
        authority,
        Start::Genesis(genesis()),
    )
}

/// Offers objects one after the other, each as the only version of its key; all must count.
fn walk(chain: &mut SourceChain, objects: &[SignedObject]) -> Vec<u64> {
    let mut decided = Vec::new();
    for object in objects {
        let step = chain.offer(&[stored("v1", object)]);
        assert!(step.advanced && step.alarms.is_empty(), "{:?}", step.alarms);
        decided.extend(
            step.decided
                .iter()
                .map(|found| found.entry.entry.header.sequence.get()),
        );
    }
    decided
}

fn head(chain: &SourceChain) -> Option<EntryRef> {
    chain.head().map(|found| found.entry.reference())
}

fn signed(number: u64, prev: Sha256Digest, mark: u8) -> SignedObject {
    copy_entry(number, 1, prev, mark).sign(&home_key()).unwrap()
}

fn only_alarm<B>(step: Step<B>) -> Alarm {
    assert!(!step.advanced);
    let mut alarms = step.alarms;
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    alarms.remove(0)
}

/// A view of a custody chain with these entries, all in its terms, and the digest of the last one.
fn view_of(bodies: Vec<CustodyBody>) -> (CustodyView, Sha256Digest) {
    let (mut chain, mut view, mut prev, mut in_term) = (custody(), CustodyView::new(), genesis(), 1);
    for (number, body) in (1..).zip(bodies) {
        let next = match &body {
            CustodyBody::Activation(opening) | CustodyBody::Release(opening) => {
                u64::from(opening.next_term.get())
            }
            _ => in_term,
        };
        let object = custody_entry(number, in_term, prev, body)
            .sign(&custodian_key())
            .unwrap();
        let step = chain.offer(&[stored("c", &object)]);
        assert!(step.advanced && step.alarms.is_empty(), "{:?}", step.alarms);
        view.apply(&chain.head().unwrap().entry).unwrap();
        (prev, in_term) = (object.digest, next);
    }
    (view, prev)
}

fn opening(next: u64, head: Option<EntryRef>, signer: &SigningKey) -> TermBody {
    TermBody {
        source_head: head,
        next_term: term(next),
        signer: signer.public_key(),
        order: None,
        warrant: None,
    }
}

#[test]
fn a_chain_is_walked_from_embassy_json_to_its_head() {
    let objects = sample::source_objects(5);
    let mut chain = source();
    assert_eq!(
        chain.next().unwrap().to_string(),
        "registries/population/source/0001-000000000001"
    );
    assert_eq!(chain.tip(), Some(genesis()));
    assert_eq!(walk(&mut chain, &objects), [1, 2, 3, 4]);
    assert_eq!(head(&chain), Some(reference(5, &objects[4])));
    assert_eq!(chain.tip(), Some(objects[4].digest));
    assert_eq!(chain.undecided().len(), 1);
    let end = chain.offer(&[]);
    assert!(!end.advanced && end.alarms.is_empty());
    assert_eq!(
        chain.next().unwrap().to_string(),
        "registries/population/source/0001-000000000006"
    );
}

#[test]
fn an_entry_that_skips_one_does_not_count() {
    let objects = sample::source_objects(3);
    let mut chain = source();
    walk(&mut chain, &objects[..1]);
    let alarm = only_alarm(chain.offer(&[stored("v", &objects[2])]));
    assert!(
        matches!(alarm, Alarm::Misplaced { what: "sequence", .. }),
        "{alarm}"
    );
}

#[test]
fn a_missing_entry_is_a_gap() {
    let mut chain = source();
    walk(&mut chain, &sample::source_objects(1));
    assert!(!chain.offer(&[]).advanced);
    let key = |text: &str| text.parse::<ObjectKey>().unwrap();
    let alarm = chain
        .beyond(&key("registries/population/source/0001-000000000003"))
        .unwrap();
    assert!(
        matches!(&alarm, Alarm::Gap { missing, .. } if missing.ends_with("0001-000000000002")),
        "{alarm}"
    );
    assert!(
        chain
            .beyond(&key("registries/population/source/0001-000000000002"))
            .is_none()
    );
    assert!(
        chain
            .beyond(&key("registries/health/source/0001-000000000003"))
            .is_none()
    );
    assert!(
        chain
            .beyond(&key("registries/population/custody/000000000003"))
            .is_none()
    );
}

#[test]
fn foreign_and_false_signatures_do_not_move_the_chain() {
    let mut chain = source();
    let foreign = copy_entry(1, 1, genesis(), 1).sign(&stranger_key()).unwrap();
    let alarm = only_alarm(chain.offer(&[stored("v", &foreign)]));
    assert!(
        matches!(&alarm, Alarm::ForeignSignature { signer, .. } if *signer == stranger_key().public_key())
    );

    let mut forged = signed(1, genesis(), 1);
    forged.bytes[20] ^= 1;
    assert!(matches!(
        only_alarm(chain.offer(&[stored("v", &forged)])),
        Alarm::WrongSignature { .. }
    ));

    let garbage = StoredVersion {
        version: "v".parse().unwrap(),
        bytes: b"garbage".to_vec(),
    };
    assert!(matches!(
        only_alarm(chain.offer(&[garbage])),
        Alarm::Unparsable { .. }
    ));

    let huge = StoredVersion {
        version: "v".parse().unwrap(),
        bytes: vec![b'x'; 64 * 1024 + 1],
    };
    assert!(matches!(
        only_alarm(chain.offer(&[huge])),
        Alarm::Unparsable { .. }
    ));

    walk(&mut chain, &[signed(1, genesis(), 1)]);
}

#[test]
fn an_entry_made_for_another_place_does_not_count() {
    let change = |old: &str, new: &str| {
        let line = sample::line_of(&signed(1, genesis(), 1)).replacen(old, new, 1);
        let bytes = sign_line(&line, Role::Source, &home_key());
        only_alarm(source().offer(&[StoredVersion {
            version: "v".parse().unwrap(),
            bytes,
        }]))
    };
    let store = sample::store_id().to_string();
    assert!(matches!(
        change(&store, &"0".repeat(32)),
        Alarm::Misplaced { what: "store", .. }
    ));
    assert!(matches!(
        change("\"population\"", "\"health\""),
        Alarm::Misplaced { what: "registry", .. }
    ));
    assert!(matches!(
        change("\"sequence\":1", "\"sequence\":2"),
        Alarm::Misplaced { what: "sequence", .. }
    ));
    // Nobody has authority in a term that was never opened.
    assert!(matches!(
        change("\"term\":1", "\"term\":2"),
        Alarm::ForeignSignature { .. }
    ));
    assert!(matches!(
        change(&genesis().to_string(), &"0".repeat(64)),
        Alarm::BrokenLink { .. }
    ));
}

#[test]
fn each_signer_signs_in_its_own_range() {
    let old = SignerRange {
        key: home_key().public_key(),
        from: sequence(1),
        until: Some(sequence(1)),
    };
    let new = SignerRange {
        key: stranger_key().public_key(),
        from: sequence(2),
        until: None,
    };
    let authority = SourceAuthority::new(vec![old, new], &[], CustodyView::new()).unwrap();
    let mut chain = SourceChain::new(
        sample::store_id(),
        sample::registry(),
        authority,
        Start::Genesis(genesis()),
    );
    let early = copy_entry(1, 1, genesis(), 1).sign(&stranger_key()).unwrap();
    assert!(matches!(
        only_alarm(chain.offer(&[stored("v", &early)])),
        Alarm::ForeignSignature { .. }
    ));
    let first = signed(1, genesis(), 1);
    walk(&mut chain, std::slice::from_ref(&first));
    let late = signed(2, first.digest, 2);
    assert!(matches!(
        only_alarm(chain.offer(&[stored("v", &late)])),
        Alarm::ForeignSignature { .. }
    ));
    walk(
        &mut chain,
        &[copy_entry(2, 1, first.digest, 2).sign(&stranger_key()).unwrap()],
    );
}

#[test]
fn a_key_that_is_signer_and_custodian_is_refused() {
    let custodians = [CustodianKey {
        key: home_key().public_key(),
        until: None,
    }];
    let signers = vec![SignerRange::always(home_key().public_key())];
    let error = SourceAuthority::new(signers, &custodians, CustodyView::new()).unwrap_err();
    assert_eq!(error.key, home_key().public_key());
}

#[test]
fn of_two_heads_the_first_in_the_store_is_the_head_until_a_successor_names_one() {
    let (one, two) = (signed(1, genesis(), 1), signed(1, genesis(), 2));
    for (named, other) in [(&one, &two), (&two, &one)] {
        let mut chain = source();
        let step = chain.offer(&[stored("a", &one), stored("b", &two)]);
        assert!(step.advanced && step.decided.is_empty());
        assert!(matches!(
            &step.alarms[..],
            [Alarm::SecondVersion { versions: 2, .. }]
        ));
        assert_eq!(head(&chain), Some(reference(1, &one)));

        let step = chain.offer(&[stored("c", &signed(2, named.digest, 3))]);
        assert!(step.advanced && step.alarms.is_empty());
        assert_eq!(step.decided.len(), 1);
        assert_eq!(step.decided[0].entry.digest, named.digest);
        assert_ne!(step.decided[0].entry.digest, other.digest);
    }
}

#[test]
fn a_second_version_that_is_no_entry_is_an_alarm_and_never_a_break() {
    let object = signed(1, genesis(), 1);
    let garbage = StoredVersion {
        version: "g".parse().unwrap(),
        bytes: b"garbage".to_vec(),
    };
    for versions in [
        vec![garbage.clone(), stored("v", &object)],
        vec![stored("v", &object), garbage],
    ] {
        let mut chain = source();
        let step = chain.offer(&versions);
        assert!(step.advanced);
        assert_eq!(step.alarms.len(), 2, "{:?}", step.alarms);
        assert_eq!(head(&chain), Some(reference(1, &object)));
    }
}

#[test]
fn the_same_bytes_twice_are_one_entry() {
    let object = signed(1, genesis(), 1);
    let mut chain = source();
    let step = chain.offer(&[stored("a", &object), stored("b", &object)]);
    assert!(step.advanced);
    assert!(matches!(&step.alarms[..], [Alarm::SecondVersion { .. }]));
    let step = chain.offer(&[stored("c", &signed(2, object.digest, 2))]);
    assert_eq!(step.decided[0].version.as_str(), "a");
}

#[test]
fn a_fork_that_lasts_is_decided_by_its_leaves() {
    let roots = [signed(1, genesis(), 1), signed(1, genesis(), 2)];
    let middle = [signed(2, roots[0].digest, 3), signed(2, roots[1].digest, 4)];
    let mut chain = source();
    assert_eq!(chain.rivals(), 0);
    chain.offer(&[stored("a", &roots[0]), stored("b", &roots[1])]);
    assert_eq!(chain.rivals(), 2);
    let step = chain.offer(&[stored("c", &middle[0]), stored("d", &middle[1])]);
    assert!(step.decided.is_empty());
    assert_eq!(head(&chain), Some(reference(2, &middle[0])));
    let path: Vec<_> = chain.undecided().iter().map(|found| found.entry.digest).collect();
    assert_eq!(path, [roots[0].digest, middle[0].digest]);
    let step = chain.offer(&[stored("e", &signed(3, middle[1].digest, 5))]);
    let decided: Vec<_> = step.decided.iter().map(|found| found.entry.digest).collect();
    assert_eq!(decided, [roots[1].digest, middle[1].digest]);
    assert_eq!(chain.rivals(), 1);
}

#[test]
fn a_custody_entry_decides_which_version_counts() {
    let (one, two) = (signed(1, genesis(), 1), signed(1, genesis(), 2));
    let (view, _) = view_of(vec![CustodyBody::Proof(ProofBody::new(reference(1, &two)))]);
    assert_eq!(view.last_named_source(), Some(reference(1, &two)));
    let mut chain = source_from(Start::Genesis(genesis()), view);
    let step = chain.offer(&[stored("a", &one), stored("b", &two)]);
    assert!(
        step.alarms
            .iter()
            .any(|alarm| matches!(alarm, Alarm::ContradictsCustody { .. }))
    );
    assert_eq!(head(&chain), Some(reference(1, &two)));
}

#[test]
fn a_walk_may_start_at_a_known_entry_and_takes_no_other() {
    let objects = sample::source_objects(4);
    let start = Start::Known(reference(2, &objects[1]));
    let mut chain = source_from(start, CustodyView::new());
    assert_eq!(
        chain.next().unwrap().to_string(),
        "registries/population/source/0001-000000000002"
    );
    assert_eq!(walk(&mut chain, &objects[1..]), [2, 3]);
    assert!(chain.rolled_back().is_none());

    let mut beside = source_from(start, CustodyView::new());
    let other = signed(2, objects[0].digest, 99);
    assert!(matches!(
        only_alarm(beside.offer(&[stored("v", &other)])),
        Alarm::BrokenLink { .. }
    ));
    assert!(matches!(beside.rolled_back(), Some(Alarm::RolledBack { .. })));
    assert_eq!(beside.tip(), None);
}

#[test]
fn a_ledger_below_or_beside_its_floor_was_rolled_back() {
    let objects = sample::source_objects(3);
    let floor = Some(reference(3, &objects[2]));
    let mut whole = source().with_floor(floor);
    walk(&mut whole, &objects);
    assert!(whole.rolled_back().is_none());

    let mut below = source().with_floor(floor);
    walk(&mut below, &objects[..2]);
    assert!(matches!(below.rolled_back(), Some(Alarm::RolledBack { .. })));

    let mut beside = source().with_floor(floor);
    walk(&mut beside, &objects[..2]);
    let other = signed(3, objects[1].digest, 99);
    assert!(matches!(
        only_alarm(beside.offer(&[stored("v", &other)])),
        Alarm::RolledBack { .. }
    ));
    assert!(beside.rolled_back().is_some());

    assert!(source().rolled_back().is_none());
}

#[test]
fn an_activation_cuts_the_old_term_and_fences_home() {
    let objects = sample::source_objects(3);
    let cut = reference(2, &objects[1]);
    let (view, digest) = view_of(vec![CustodyBody::Activation(opening(
        2,
        Some(cut),
        &embassy_key(),
    ))]);
    assert_eq!(view.current_term(), term(2));
    assert_eq!(
        view.head(),
        Some(EntryRef {
            sequence: sequence(1),
            digest
        })
    );

    let mut chain = source_from(Start::Genesis(genesis()), view.clone());
    walk(&mut chain, &objects[..2]);
    assert_eq!(
        chain.next().unwrap().to_string(),
        "registries/population/source/0002-000000000003"
    );
    // What home wrote in the old term beyond the cut is left behind with it, and is no gap.
    assert!(
        chain
            .beyond(&"registries/population/source/0001-000000000004".parse().unwrap())
            .is_none()
    );
    let late = chain.offer(&[stored("v", &objects[2])]);
    assert!(!late.advanced);
    walk(
        &mut chain,
        &[copy_entry(3, 2, objects[1].digest, 9)
            .sign(&embassy_key())
            .unwrap()],
    );

    let signers = [SignerRange::always(home_key().public_key())];
    let fence = view
        .may_write(home_key().public_key(), &signers, sequence(3), None)
        .unwrap_err();
    assert!(
        matches!(
            fence,
            Fence::Fenced {
                kind: OpeningKind::Activation,
                ..
            }
        ),
        "{fence}"
    );
    assert_eq!(
        view.may_write(embassy_key().public_key(), &[], sequence(3), None),
        Ok(term(2))
    );
}

#[test]
fn an_activation_of_a_registry_without_copies_opens_its_first_place() {
    let (view, _) = view_of(vec![CustodyBody::Activation(opening(2, None, &embassy_key()))]);
    let mut chain = source_from(Start::Genesis(genesis()), view);
    assert_eq!(
        chain.next().unwrap().to_string(),
        "registries/population/source/0002-000000000001"
    );
    assert!(!chain.offer(&[stored("v", &signed(1, genesis(), 1))]).advanced);
    walk(
        &mut chain,
        &[copy_entry(1, 2, genesis(), 1).sign(&embassy_key()).unwrap()],
    );
}

#[test]
fn home_writes_after_a_release_only_when_it_was_adopted() {
    let objects = sample::source_objects(1);
    let cut = Some(reference(1, &objects[0]));
    let (view, release) = view_of(vec![
        CustodyBody::Activation(opening(2, cut, &embassy_key())),
        CustodyBody::Release(opening(3, cut, &home_key())),
    ]);
    let may =
        |adopted: Option<&Sha256Digest>| view.may_write(home_key().public_key(), &[], sequence(2), adopted);
    assert_eq!(
        may(None),
        Err(Fence::ReleaseNotAdopted {
            term: term(3),
            digest: release
        })
    );
    assert!(may(Some(&Sha256Digest::of(b"another"))).is_err());
    assert_eq!(may(Some(&release)), Ok(term(3)));
    assert!(
        view.may_write(embassy_key().public_key(), &[], sequence(2), None)
            .is_err()
    );
    let mut chain = source_from(Start::Genesis(genesis()), view);
    walk(&mut chain, &objects);
    walk(
        &mut chain,
        &[copy_entry(2, 3, objects[0].digest, 9).sign(&home_key()).unwrap()],
    );
}

#[test]
fn before_any_activation_only_the_signers_of_the_place_may_write() {
    let view = CustodyView::new();
    let signers = [SignerRange {
        key: home_key().public_key(),
        from: sequence(5),
        until: Some(sequence(6)),
    }];
    assert_eq!(
        view.may_write(home_key().public_key(), &signers, sequence(5), None),
        Ok(term(1))
    );
    for number in [4, 7] {
        let refused = view.may_write(home_key().public_key(), &signers, sequence(number), None);
        assert!(matches!(refused, Err(Fence::NotASigner { .. })));
    }
}

#[test]
fn a_void_copy_does_not_count() {
    let (view, _) = view_of(vec![sample::void(&[4])]);
    assert!(view.is_void(CopyId::from_bytes([4; 16])));
    assert!(!view.is_void(CopyId::from_bytes([5; 16])));
}

#[test]
fn an_entry_of_a_newer_version_is_known_for_one_by_its_place_and_its_signer() {
    let key = |key: &str| key.parse::<ObjectKey>().unwrap();
    let (mut chain, place) = (custody(), key("registries/population/custody/000000000001"));
    let void = CustodyBody::Void(VoidBody {
        copies: vec![CopyId::from_bytes([7; 16])],
        order: None,
    });
    let line = sample::line_of(
        &custody_entry(1, 1, genesis(), void)
            .sign(&custodian_key())
            .unwrap(),
    );
    let newer = line.replacen("\"void\"", "\"truce\"", 1);
    let signed = |line: &str, key: &SigningKey| sign_line(line, Role::Custody, key);
    let bytes = signed(&newer, &custodian_key());
    assert!(chain.is_made_for(&place, &bytes));
    assert!(!chain.is_made_for(&key("registries/population/custody/000000000002"), &bytes));
    assert!(!chain.is_made_for(&key("registries/population/source/0001-000000000001"), &bytes));
    let elsewhere = newer.replacen("\"population\"", "\"health\"", 1);
    assert!(!chain.is_made_for(&place, &signed(&elsewhere, &custodian_key())));
    assert!(!chain.is_made_for(&place, &signed(&newer, &stranger_key())));
    assert!(!chain.is_made_for(&place, newer.as_bytes()));
    // Whose header cannot be read either is taken by its place.
    for unknown in [
        newer.replacen("dataembassy/1", "dataembassy/2", 1),
        "[]".to_owned(),
    ] {
        assert!(chain.is_made_for(&place, &signed(&unknown, &custodian_key())));
    }
    let version = StoredVersion {
        version: "v".parse().unwrap(),
        bytes,
    };
    let step = chain.offer(&[version]);
    assert!(!step.advanced && matches!(step.alarms[..], [Alarm::Unparsable { .. }]));
}

#[test]
fn a_custody_entry_in_the_wrong_term_does_not_count() {
    let mut chain = custody();
    let body = sample::void(&[4]);
    let object = custody_entry(1, 2, genesis(), body.clone())
        .sign(&custodian_key())
        .unwrap();
    assert!(matches!(
        only_alarm(chain.offer(&[stored("v", &object)])),
        Alarm::Misplaced { what: "term", .. }
    ));
    let activation = CustodyBody::Activation(opening(2, None, &embassy_key()));
    let first = custody_entry(1, 1, genesis(), activation)
        .sign(&custodian_key())
        .unwrap();
    assert!(chain.offer(&[stored("v", &first)]).advanced);
    let stale = custody_entry(2, 1, first.digest, body)
        .sign(&custodian_key())
        .unwrap();
    assert!(matches!(
        only_alarm(chain.offer(&[stored("v", &stale)])),
        Alarm::Misplaced { what: "term", .. }
    ));
}

#[test]
fn a_retired_custodian_key_signs_up_to_its_last_place() {
    let keys = vec![CustodianKey {
        key: custodian_key().public_key(),
        until: Some(sequence(1)),
    }];
    let start = Start::Genesis(genesis());
    let mut chain = CustodyChain::new(
        sample::store_id(),
        sample::registry(),
        CustodyAuthority::new(keys),
        start,
    );
    let body = sample::void(&[4]);
    let first = custody_entry(1, 1, genesis(), body.clone())
        .sign(&custodian_key())
        .unwrap();
    assert!(chain.offer(&[stored("v", &first)]).advanced);
    let second = custody_entry(2, 1, first.digest, body)
        .sign(&custodian_key())
        .unwrap();
    assert!(matches!(
        only_alarm(chain.offer(&[stored("v", &second)])),
        Alarm::ForeignSignature { .. }
    ));
}

#[test]
fn a_term_cannot_open_below_the_one_before() {
    let objects = sample::source_objects(2);
    let (mut view, digest) = view_of(vec![CustodyBody::Activation(opening(
        2,
        Some(reference(2, &objects[1])),
        &embassy_key(),
    ))]);
    let below = CustodyBody::Release(opening(3, Some(reference(1, &objects[0])), &home_key()));
    let object = custody_entry(2, 2, digest, below).sign(&custodian_key()).unwrap();
    let entry = Entry::<CustodyBody>::verify(&object.bytes).unwrap();
    assert_eq!(view.apply(&entry).unwrap_err().term, term(3));
    assert_eq!(view.current_term(), term(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever adds versions without a signer's key can raise alarms, and nothing else.
    #[test]
    fn versions_added_by_a_stranger_change_nothing(count in 1_u64..7, places in prop::collection::vec((0_u64..7, 0_u8..4, any::<bool>()), 0..6)) {
        let objects = sample::source_objects(count);
        let mut chain = source();
        let mut decided = Vec::new();
        for (place, object) in (0_u64..).zip(&objects) {
            let mut versions = vec![stored("ours", object)];
            for (_, kind, before) in places.iter().filter(|(at, ..)| *at == place) {
                let bytes = match kind {
                    0 => b"garbage".to_vec(),
                    1 => copy_entry(place + 1, 1, genesis(), 77).sign(&stranger_key()).unwrap().bytes,
                    2 => objects[0].bytes.clone(),
                    _ => object.bytes[..object.bytes.len() - 1].to_vec(),
                };
                let version = StoredVersion { version: "theirs".parse().unwrap(), bytes };
                if *before { versions.insert(0, version) } else { versions.push(version) }
            }
            let step = chain.offer(&versions);
            prop_assert!(step.advanced);
            prop_assert_eq!(versions.len() > 1, step.alarms.iter().any(|alarm| matches!(alarm, Alarm::SecondVersion { .. })));
            decided.extend(step.decided.iter().map(|found| found.entry.digest));
        }
        decided.extend(chain.undecided().iter().map(|found| found.entry.digest));
        prop_assert_eq!(decided, objects.iter().map(|object| object.digest).collect::<Vec<_>>());
    }
}

#[test]
fn an_endless_fork_is_decided_by_the_order_of_the_store() {
    let mut tips = [signed(1, genesis(), 1), signed(1, genesis(), 2)];
    let first = tips[0].digest;
    let mut chain = source();
    let mut decided = Vec::new();
    for number in 2..=60 {
        let step = chain.offer(&[stored("a", &tips[0]), stored("b", &tips[1])]);
        // Every reader decides at the same place: the fork may be 32 entries long, and is over with the next.
        let expected = match number {
            ..34 => 0,
            34 => 32,
            _ => 1,
        };
        assert_eq!(step.decided.len(), expected, "before entry {number}");
        decided.extend(step.decided.iter().map(|found| found.entry.digest));
        if !step.advanced {
            break;
        }
        tips = [
            signed(number, tips[0].digest, 1),
            signed(number, tips[1].digest, 2),
        ];
    }
    assert_eq!(decided.first(), Some(&first));
    assert!(chain.undecided().len() <= 33);
    let SourceBody::Copy(copy) = &chain.head().unwrap().entry.entry.body;
    assert_eq!(copy.copy_id, CopyId::from_bytes([1; 16]));
}

//! Entries read back as written; anything else about them is refused.

use dataembassy_ledger::entry::{
    Chain, ConfirmBody, CopyBody, CustodyBody, Entry, ExpiryBody, MAX_OBJECT_BYTES, PinBody, ProofBody,
    ReadError, SourceBody, TermBody, VoidBody, WriteError,
};
use dataembassy_ledger::signature::SignatureError;
use dataembassy_ledger::{CopyId, Role, StoreDocument};
use proptest::prelude::*;

use crate::sample::{self, sign_line};

type Source = Entry<SourceBody>;
type Custody = Entry<CustodyBody>;

fn source_line() -> String {
    sample::line_of(&sample::source_objects(1)[0])
}

fn refused(line: &str) -> ReadError {
    match Source::verify(&sign_line(line, Role::Source, &sample::home_key())) {
        Ok(_) => panic!("must be refused: {line}"),
        Err(error) => error,
    }
}

fn replaced(old: &str, new: &str) -> String {
    let line = source_line();
    assert!(line.contains(old), "{line} holds no {old}");
    line.replacen(old, new, 1)
}

#[test]
fn a_copy_entry_reads_back_as_written() {
    let entry = sample::copy_entry(1, 1, sample::genesis(), 7);
    let object = entry.sign(&sample::home_key()).unwrap();
    let read = Source::verify(&object.bytes).unwrap();
    assert_eq!(read.entry, entry);
    assert_eq!(read.signer, sample::home_key().public_key());
    assert_eq!(read.digest, object.digest);
    assert_eq!(
        entry.object_key().to_string(),
        "registries/population/source/0001-000000000001"
    );
}

#[test]
fn each_custody_kind_reads_back_as_written() {
    let head = sample::reference(1, &sample::source_objects(1)[0]);
    let opening = TermBody {
        source_head: Some(head),
        next_term: sample::term(2),
        signer: sample::embassy_key().public_key(),
        order: Some("activate-1".parse().unwrap()),
        warrant: None,
    };
    for body in [
        CustodyBody::Proof(ProofBody::new(head)),
        sample::void(&[4]),
        CustodyBody::Void(VoidBody {
            copies: vec![CopyId::from_bytes([4; 16]), CopyId::from_bytes([5; 16])],
            order: Some("sweep-1".parse().unwrap()),
        }),
        CustodyBody::Expiry(ExpiryBody {
            copies: vec![sample::expired(1), sample::expired(3)],
        }),
        CustodyBody::Pin(PinBody {
            source_sequence: sample::sequence(1),
            pinned: true,
            reason: Some("election of 2026".to_owned()),
        }),
        CustodyBody::Pin(PinBody {
            source_sequence: sample::sequence(1),
            pinned: false,
            reason: None,
        }),
        CustodyBody::Confirm(ConfirmBody { source_head: head }),
        CustodyBody::Activation(opening.clone()),
        CustodyBody::Release(TermBody {
            source_head: None,
            order: None,
            ..opening
        }),
    ] {
        let entry = sample::custody_entry(1, 1, sample::genesis(), body);
        let object = entry.sign(&sample::custodian_key()).unwrap();
        assert_eq!(Custody::verify(&object.bytes).unwrap().entry, entry);
    }
}

#[test]
fn an_unknown_kind_is_an_error_of_its_own() {
    let error = refused(&replaced("\"kind\":\"copy\"", "\"kind\":\"incremental\""));
    assert!(matches!(error, ReadError::UnknownKind { kind } if kind == "incremental"));
}

#[test]
fn every_single_change_to_an_entry_is_found() {
    let object = &sample::source_objects(1)[0].bytes;
    for place in 0..object.len() {
        let mut flipped = object.clone();
        flipped[place] ^= 1 << (place % 8);
        assert!(Source::verify(&flipped).is_err(), "bit flipped at {place}");
        let mut shorter = object.clone();
        shorter.remove(place);
        // Taking one of two equal neighbours gives the same bytes.
        assert!(Source::verify(&shorter).is_err(), "byte removed at {place}");
        let mut longer = object.clone();
        longer.insert(place, b' ');
        assert!(Source::verify(&longer).is_err(), "blank inserted at {place}");
        assert!(Source::verify(&object[..place]).is_err(), "cut at {place}");
    }
    for tail in ["\n", " ", "x", "{}"] {
        assert!(
            Source::verify(&[object.as_slice(), tail.as_bytes()].concat()).is_err(),
            "{tail:?} appended"
        );
    }
}

#[test]
fn a_signature_for_another_role_does_not_count() {
    let bytes = sign_line(&source_line(), Role::Custody, &sample::home_key());
    let error = Source::verify(&bytes).unwrap_err();
    assert!(
        matches!(
            error,
            ReadError::WrongSignature(SignatureError::WrongNamespace { .. })
        ),
        "{error}"
    );
}

#[test]
fn unknown_missing_and_repeated_keys_are_refused() {
    refused(&replaced("\"kind\":", "\"comment\":\"x\",\"kind\":"));
    refused(&replaced("\"engine\":", "\"edition\":\"x\",\"engine\":"));
    refused(&replaced(
        "\"kind\":\"copy\"",
        "\"kind\":\"copy\",\"kind\":\"copy\"",
    ));
    refused(&replaced("\"segments\":2", "\"segments\":2,\"segments\":3"));
    refused(&replaced(",\"parents\":[]", ""));
    refused(&replaced("\"term\":1,", ""));
}

#[test]
fn values_in_another_spelling_are_refused() {
    for (old, new) in [
        ("\"dataembassy/1\"", "\"dataembassy/2\""),
        ("\"chain\":\"source\"", "\"chain\":\"custody\""),
        ("\"sequence\":1", "\"sequence\":0"),
        ("\"sequence\":1", "\"sequence\":\"1\""),
        ("\"sequence\":1", "\"sequence\":1.0"),
        ("\"sequence\":1", "\"sequence\":9007199254740993"),
        ("\"term\":1", "\"term\":10000"),
        ("\"registry\":\"population\"", "\"registry\":\"Population\""),
        (".000Z\"", "Z\""),
        ("\"slot\":\"", "\"slot\":null,\"x\":\""),
        ("\"databaseOid\":16384", "\"databaseOid\":4294967296"),
        ("\"engine\":\"postgresql\"", "\"engine\":\"mariadb\""),
        ("manifest-0001", "manifest-1"),
        ("{\"format\"", "{ \"format\" "),
    ] {
        // Blanks between tokens are JSON; a reader of any kind understands them the same.
        let line = replaced(old, new);
        if new.starts_with("{ ") {
            assert!(Source::verify(&sign_line(&line, Role::Source, &sample::home_key())).is_ok());
        } else {
            refused(&line);
        }
    }
}

#[test]
fn a_copy_that_breaks_a_rule_is_neither_written_nor_read() {
    type Change = fn(&mut CopyBody);
    let changes: [Change; 14] = [
        |copy| copy.recipients.clear(),
        |copy| copy.recipients = vec![copy.recipients[0].clone(); 2],
        |copy| {
            let more = (0..16).map(|n| format!("age1{}", "q".repeat(n + 1)).parse().unwrap());
            copy.recipients.extend(more);
        },
        |copy| copy.copy_key.clear(),
        |copy| copy.copy_key.push('\n'),
        |copy| copy.copy_key = "YQ".to_owned(),
        |copy| copy.manifest.clear(),
        |copy| copy.inventory.clear(),
        |copy| copy.manifest.push(copy.manifest[0].clone()),
        |copy| copy.manifest.push(copy.inventory[0].clone()),
        |copy| copy.manifest[0].size = 8 * 1024 * 1024 + 1,
        |copy| copy.inventory[0].size = 8 * 1024 * 1024 + 1,
        |copy| copy.totals.segments = 0,
        |copy| copy.parents = vec![sample::reference(1, &sample::source_objects(1)[0])],
    ];
    for change in changes {
        let mut copy = sample::copy(1);
        change(&mut copy);
        let mut entry = sample::copy_entry(1, 1, sample::genesis(), 1);
        entry.body = SourceBody::Copy(Box::new(copy.clone()));
        let error = entry.sign(&sample::home_key()).unwrap_err();
        assert!(matches!(error, WriteError::BrokenRule(_)), "{error}: {copy:?}");
        // Written by somebody whose program does not check.
        let line = source_line();
        let (header, _) = line.split_once(",\"copyId\"").unwrap();
        let body = serde_json::to_string(&copy).unwrap();
        assert!(matches!(
            refused(&format!("{header},{}", &body[1..])),
            ReadError::BrokenRule(_)
        ));
    }
}

#[test]
fn a_term_opens_only_after_the_one_before() {
    let body = TermBody {
        source_head: None,
        next_term: sample::term(3),
        signer: sample::embassy_key().public_key(),
        order: None,
        warrant: None,
    };
    let entry = sample::custody_entry(1, 1, sample::genesis(), CustodyBody::Activation(body));
    assert!(matches!(
        entry.sign(&sample::custodian_key()),
        Err(WriteError::BrokenRule(_))
    ));
}

#[test]
fn an_entry_beyond_64_kib_is_neither_written_nor_read() {
    let mut entry = sample::copy_entry(1, 1, sample::genesis(), 1);
    let SourceBody::Copy(copy) = &mut entry.body;
    copy.copy_key = "QUJD".repeat(12 * 1024);
    copy.recipients = (0..8)
        .map(|n| format!("age1{}{n}", "q".repeat(2400)).parse().unwrap())
        .collect();
    assert!(matches!(
        entry.sign(&sample::home_key()),
        Err(WriteError::TooLarge { .. })
    ));
    let huge = vec![b'{'; MAX_OBJECT_BYTES + 1];
    assert!(matches!(Source::verify(&huge), Err(ReadError::TooLarge { .. })));
    assert!(matches!(
        Source::verify(&huge[1..]),
        Err(ReadError::NotSignedLine)
    ));
}

#[test]
fn an_entry_of_exactly_64_kib_is_written_and_read() {
    let mut entry = sample::copy_entry(1, 1, sample::genesis(), 1);
    let sized = |entry: &mut Source, length: usize| {
        let SourceBody::Copy(copy) = &mut entry.body;
        copy.copy_key = "QUJD".repeat(12 * 1024);
        copy.recipients = (0..8)
            .map(|n| {
                let more = if n == 7 { length % 8 } else { 0 };
                format!("age1{n}{}", "q".repeat(length / 8 + more))
                    .parse()
                    .unwrap()
            })
            .collect();
        entry.sign(&sample::home_key())
    };
    let fitting = MAX_OBJECT_BYTES - sized(&mut entry, 800).unwrap().bytes.len() + 800;
    let fullest = sized(&mut entry, fitting).unwrap();
    assert_eq!(fullest.bytes.len(), MAX_OBJECT_BYTES);
    assert_eq!(Source::verify(&fullest.bytes).unwrap().entry, entry);
    assert!(matches!(
        sized(&mut entry, fitting + 1),
        Err(WriteError::TooLarge { .. })
    ));
}

#[test]
fn the_chains_are_told_by_their_names() {
    assert_eq!(
        [Chain::Source, Chain::Custody].map(|chain| chain.to_string()),
        ["source", "custody"]
    );
}

#[test]
fn a_copy_for_many_recipients_with_long_keys_fits() {
    let mut entry = sample::copy_entry(1, 1, sample::genesis(), 1);
    let SourceBody::Copy(copy) = &mut entry.body;
    // Post-quantum keys have about 2,000 characters, and their stanzas as many bytes.
    copy.recipients = (0..8)
        .map(|n| format!("age1pq1{}{n}", "q".repeat(1950)).parse().unwrap())
        .collect();
    copy.copy_key = "QUJD".repeat(8 * 1700 / 3);
    let object = entry.sign(&sample::home_key()).unwrap();
    assert_eq!(Source::verify(&object.bytes).unwrap().entry, entry);
}

#[test]
fn the_store_document_is_signed_by_the_key_it_names() {
    let document = sample::document();
    let object = document.sign(&sample::custodian_key()).unwrap();
    let read = StoreDocument::verify(&object.bytes).unwrap();
    assert_eq!((read.document, read.digest), (document.clone(), object.digest));
    assert!(document.sign(&sample::home_key()).is_err());
    let line = sample::line_of(&object);
    assert!(StoreDocument::verify(&sign_line(&line, Role::Store, &sample::home_key())).is_err());
    assert!(StoreDocument::verify(&sign_line(&line, Role::Custody, &sample::custodian_key())).is_err());
    for place in 0..object.bytes.len() {
        let mut changed = object.bytes.clone();
        changed[place] ^= 1;
        assert!(StoreDocument::verify(&changed).is_err(), "bit flipped at {place}");
    }
}

proptest! {
    #[test]
    fn any_copy_reads_back_as_written(
        number in 1_u64..=999_999_999_999,
        in_term in 1_u64..=9999,
        trigger in proptest::option::of("[^\\p{C}]{1,60}"),
        segments in 1_u64..(1 << 53),
        sealed_bytes in 0_u64..(1 << 53),
        oid: u32,
    ) {
        let mut entry = sample::copy_entry(1, in_term, sample::genesis(), 1);
        entry.header.sequence = sample::sequence(number);
        let SourceBody::Copy(copy) = &mut entry.body;
        copy.trigger = trigger.map(|text| text.parse().unwrap());
        copy.totals.segments = segments;
        copy.totals.sealed_bytes = sealed_bytes;
        copy.source.database_oid = oid;
        let object = entry.sign(&sample::home_key()).unwrap();
        prop_assert_eq!(Source::verify(&object.bytes).unwrap().entry, entry);
    }

    #[test]
    fn numbers_that_readers_would_round_are_not_written(beyond in (1_u64 << 53)..) {
        let mut entry = sample::copy_entry(1, 1, sample::genesis(), 1);
        let SourceBody::Copy(copy) = &mut entry.body;
        copy.totals.sealed_bytes = beyond;
        prop_assert!(entry.sign(&sample::home_key()).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Source::verify(&bytes).is_err());
        let line = String::from_utf8_lossy(&bytes).replace('\n', " ");
        prop_assert!(Source::verify(&sign_line(&line, Role::Source, &sample::home_key())).is_err());
    }
}

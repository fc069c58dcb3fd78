//! Statements that order an activation: what is printed is read, nothing else is, and signatures are worth what they say.

use std::collections::BTreeSet;

use dataembassy_ledger::activation::{
    ApprovalFault, Approver, Approvers, Claim, MAX_APPROVERS, MAX_STATED, MAX_STATEMENT_BYTES, Mode, State,
    StatedFloor, StatedRegistry, Statement, StatementError, Unfenced, Warrant, WarrantFault, WrongLine,
};
use dataembassy_ledger::chain::OpeningKind;
use dataembassy_ledger::entry::{CustodyBody, CustodyEntry, EntryRef, MAX_OBJECT_BYTES, TermBody};
use dataembassy_ledger::signature::SignatureError;
use dataembassy_ledger::{PublicKey, Role, Sha256Digest, SigningKey, StoreId, Timestamp};
use proptest::prelude::*;

use crate::sample;

/// An approver's key.
pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[200 + number; 32])
}

pub(crate) fn approvers(count: u8, required: usize) -> Approvers {
    let approver = |number| Approver {
        name: format!("approver {number}"),
        key: key(number).public_key(),
    };
    Approvers::new((0..count).map(approver).collect(), required).unwrap()
}

fn stated(registry: &str, after: &[&str]) -> StatedRegistry {
    StatedRegistry {
        registry: registry.parse().unwrap(),
        after: after.iter().map(|one| one.parse().unwrap()).collect(),
        floor: Some(StatedFloor {
            term: sample::term(1),
            entry: EntryRef {
                sequence: sample::sequence(58),
                digest: Sha256Digest::from_bytes([0xaa; 32]),
            },
            taken_at: sample::at(30),
        }),
        copy: "latestDrilled".parse().unwrap(),
        target: "managed: postgresql:17, 50Gi".parse().unwrap(),
        signer: Some(sample::embassy_key().public_key()),
        questions: 2,
        questions_digest: Sha256Digest::from_bytes([0xbb; 32]),
        exposed: "Service interior/population, port 5432".parse().unwrap(),
    }
}

/// A statement of two registries, of which one has no copy yet.
pub(crate) fn statement() -> Statement {
    let approvers = approvers(3, 2);
    Statement {
        store: sample::store_id(),
        embassy: "luxembourg".parse().unwrap(),
        resource: "operations/the-day".parse().unwrap(),
        uid: "5f2d6a3e-8a0c-4d55-9c07-1d7c5a5f2d6a".parse().unwrap(),
        order: "the-day-5f2d6a3e-1".parse().unwrap(),
        mode: Mode::Activate,
        state: State::Active,
        valid_until: sample::at(86_400),
        unfenced: Unfenced::Refused,
        required: approvers.required(),
        approvers: approvers.digest(),
        spec: Sha256Digest::from_bytes([0xcc; 32]),
        registries: vec![
            stated("population", &[]),
            StatedRegistry {
                floor: None,
                questions: 0,
                ..stated("business", &["population"])
            },
        ],
    }
}

/// The signatures of these approvers under a text.
pub(crate) fn warrant(text: &str, numbers: &[u8]) -> Warrant {
    let sign = |number: &u8| key(*number).sign(Role::Activation, text.as_bytes()).unwrap();
    Warrant {
        statement: text.to_owned(),
        approvals: numbers.iter().map(sign).collect(),
    }
}

fn text() -> String {
    statement().render().unwrap()
}

#[test]
fn what_people_read_stands_in_plain_lines() {
    let text = text();
    for line in [
        "DataEmbassy activation statement".to_owned(),
        "ssh-keygen -Y sign -n dataembassy-activation-v1 -f YOUR-KEY THIS-FILE".to_owned(),
        "format: dataembassy-activation/1".to_owned(),
        format!("store: {}", sample::store_id()),
        "resource: operations/the-day".to_owned(),
        "mode: Activate".to_owned(),
        "state: Active".to_owned(),
        "unfenced: refused".to_owned(),
        "approvals: 2".to_owned(),
        "registry: population".to_owned(),
        "after: none".to_owned(),
        "after: population".to_owned(),
        format!("head: 0001-000000000058 {}", "aa".repeat(32)),
        "head: none".to_owned(),
        "target: managed: postgresql:17, 50Gi".to_owned(),
        format!("signer: {}", sample::embassy_key().public_key()),
        format!("questions: 2 {}", "bb".repeat(32)),
        "exposed: Service interior/population, port 5432".to_owned(),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert_eq!(Statement::read(&text).unwrap(), statement());
}

#[test]
fn a_mistyped_line_is_named() {
    let text = text();
    for (line, old, new, said) in [
        (
            1,
            "activation",
            "Activation",
            "'DataEmbassy activation statement'",
        ),
        (5, "/1", "/2", "the only one"),
        (6, "5e", "5E", "32 lower-case hex digits"),
        (7, "luxembourg", "Luxembourg", "embassy name"),
        (10, "the-day", "The-Day", "order id"),
        (11, "Activate", "activate", "a word that this version knows"),
        (12, "Active", "Passive", "a word that this version knows"),
        (13, "Z", "+00:00", "UTC with milliseconds"),
        (14, "refused", "no", "a word that this version knows"),
        (15, "2", "02", "without leading zeros"),
        (16, ": ", ":", "'approvers: …'"),
        (19, "population", "p", "registry id"),
        (21, "0001-", "1-", "whole number"),
        (21, "0001-0", "0001 0", "'head: none'"),
        (25, "ssh-ed25519", "ssh-rsa", "Ed25519"),
        (26, "2 ", "+2 ", "without leading zeros"),
        (27, "5432", "5432 ", "printable"),
    ] {
        let changed: String = text
            .lines()
            .enumerate()
            .map(|(place, found)| {
                if place + 1 == line {
                    found.replacen(old, new, 1) + "\n"
                } else {
                    format!("{found}\n")
                }
            })
            .collect();
        assert_ne!(changed, text, "line {line} has no {old}");
        let error = Statement::read(&changed).unwrap_err();
        let StatementError::WrongLine(WrongLine { line: named, .. }) = &error else {
            panic!("{old}: {error}");
        };
        assert_eq!(*named, line, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn lines_that_are_missing_added_or_no_text_are_refused() {
    let text = text();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let changed = text.replacen(&format!("{line}\n"), "", 1);
        assert!(Statement::read(&changed).is_err(), "without {line}");
    }
    for changed in [
        format!("{text}\n"),
        format!("\n{text}"),
        format!("{text}note: none\n"),
        text.replace('\n', "\r\n"),
        text.replacen("luxembourg", "luxémbourg", 1),
        text.replacen("latestDrilled", &"x".repeat(401), 1),
        text.replacen("latestDrilled", &"x".repeat(700), 1),
        text.trim_end().to_owned(),
        String::new(),
    ] {
        assert!(Statement::read(&changed).is_err(), "{changed}");
    }
    let endless = "x".repeat(MAX_STATEMENT_BYTES + 1);
    assert!(matches!(
        Statement::read(&endless),
        Err(StatementError::TooLarge { .. })
    ));
    assert!(!matches!(
        Statement::read(&endless[1..]),
        Err(StatementError::TooLarge { .. })
    ));
}

#[test]
fn rules_that_span_lines_hold_for_who_writes_and_for_who_reads() {
    let broken = |change: fn(&mut Statement)| {
        let mut statement = statement();
        change(&mut statement);
        let error = statement.render().unwrap_err();
        assert_eq!(Statement::read(&statement.to_string()).unwrap_err(), error);
        error.to_string()
    };
    for (error, said) in [
        (broken(|one| one.registries.clear()), "1 to 24 registries"),
        (broken(|one| one.required = 0), "1 to 16 approvals"),
        (broken(|one| one.required = 17), "1 to 16 approvals"),
        (
            broken(|one| one.registries[1] = one.registries[0].clone()),
            "no registry twice",
        ),
        (
            broken(|one| one.registries.reverse()),
            "after those that it depends on",
        ),
        (
            broken(|one| one.registries[1].after.push("population".parse().unwrap())),
            "twice after the same one",
        ),
        (
            broken(|one| one.registries[0].signer = None),
            "signer of the next term",
        ),
        (broken(|one| one.mode = Mode::Rehearse), "signer of the next term"),
        (
            broken(|one| {
                one.mode = Mode::Rehearse;
                one.state = State::StoodDown;
            }),
            "not stood down",
        ),
    ] {
        assert!(error.contains(said), "{error}");
    }
    // One registry more than may be is one line too many for who reads.
    let mut many = statement();
    many.registries = (0..=MAX_STATED)
        .map(|number| stated(&format!("registry-{number}"), &[]))
        .collect();
    assert!(many.render().is_err());
    assert!(Statement::read(&many.to_string()).is_err());
}

#[test]
fn a_rehearsal_names_no_signer() {
    let mut rehearsal = statement();
    rehearsal.mode = Mode::Rehearse;
    for one in &mut rehearsal.registries {
        one.signer = None;
    }
    let text = rehearsal.render().unwrap();
    assert!(text.contains("\nsigner: none\n"));
    assert_eq!(Statement::read(&text).unwrap(), rehearsal);
}

#[test]
fn approvals_are_worth_what_they_say() {
    let (text, approvers) = (text(), approvers(3, 2));
    let sign = |key: &SigningKey, role: Role, text: &str| key.sign(role, text.as_bytes()).unwrap();
    let other = text.replacen("unfenced: refused", "unfenced: accepted", 1);
    let good = |number| sign(&key(number), Role::Activation, &text);
    let approvals = vec![
        good(0),
        good(0),
        sign(&sample::stranger_key(), Role::Activation, &text),
        sign(&key(1), Role::Custody, &text),
        sign(&key(1), Role::Activation, &other),
        good(1).replacen("SIGNATURE", "SIGNATUR", 1),
        format!("{}\n", good(1)),
        String::new(),
    ];
    let judgement = approvers.judge(&text, &approvals);
    assert_eq!(judgement.approved, ["approver 0"]);
    assert!(!approvers.are_enough(&judgement));
    let faults: Vec<_> = judgement.refused.iter().map(|(_, fault)| fault).collect();
    assert_eq!(
        judgement
            .refused
            .iter()
            .map(|(place, _)| *place)
            .collect::<Vec<_>>(),
        (1..8).collect::<Vec<_>>()
    );
    assert!(matches!(faults[0], ApprovalFault::Twice { .. }), "{faults:?}");
    assert!(
        matches!(faults[1], ApprovalFault::NotAnApprover { .. }),
        "{faults:?}"
    );
    assert!(
        matches!(
            faults[2],
            ApprovalFault::WrongSignature(SignatureError::WrongNamespace { .. })
        ),
        "{faults:?}"
    );
    assert!(
        matches!(faults[3], ApprovalFault::WrongSignature(SignatureError::Mismatch)),
        "{faults:?}"
    );
    for fault in &faults[4..] {
        assert!(matches!(fault, ApprovalFault::WrongSignature(_)), "{fault:?}");
    }
    assert!(faults[3].to_string().contains("signed anew"), "{}", faults[3]);
    let enough = approvers.judge(&text, &[good(2), good(0)]);
    assert_eq!(enough.approved, ["approver 2", "approver 0"]);
    assert!(approvers.are_enough(&enough));
    // Beyond the first sixteen nobody looks.
    let mut many = vec![String::from("x"); MAX_APPROVERS];
    many.push(good(0));
    assert!(approvers.judge(&text, &many).approved.is_empty());
}

#[test]
fn approvers_are_known_by_their_keys_and_by_how_many_must() {
    let one = |name: &str, number| Approver {
        name: name.into(),
        key: key(number).public_key(),
    };
    let digest = |all: Vec<Approver>, required| Approvers::new(all, required).unwrap().digest();
    let known = digest(vec![one("a", 0), one("b", 1)], 1);
    // Names and order are for people.
    assert_eq!(known, digest(vec![one("c", 1), one("d", 0)], 1));
    assert_ne!(known, digest(vec![one("a", 0), one("b", 1)], 2));
    assert_ne!(known, digest(vec![one("a", 0), one("b", 2)], 1));
    // As anybody can make it.
    let mut keys = [key(0).public_key().to_string(), key(1).public_key().to_string()];
    keys.sort_unstable();
    let text = format!("required 1\n{}\n{}\n", keys[0], keys[1]);
    assert_eq!(known, Sha256Digest::of(text.as_bytes()));
    for (all, required) in [
        (Vec::new(), 1),
        (vec![one("a", 0), one("a", 1)], 1),
        (vec![one("a", 0), one("b", 0)], 1),
        (vec![one("a", 0)], 0),
        (vec![one("a", 0)], 2),
        (
            (0..17).map(|number| one(&number.to_string(), number)).collect(),
            1,
        ),
    ] {
        assert!(Approvers::new(all, required).is_err());
    }
}

/// What a warrant must order, unless a test says otherwise.
fn claim<'a>(
    registry: &'a dataembassy_ledger::RegistryId,
    order: &'a dataembassy_ledger::value::OrderId,
) -> Claim<'a> {
    Claim {
        store: sample::store_id(),
        registry,
        order,
        kind: OpeningKind::Activation,
        at: sample::at(100),
    }
}

#[test]
fn a_warrant_orders_what_it_says_and_nothing_else() {
    let (registry, order) = (sample::registry(), statement().order);
    let (claim, approvers) = (claim(&registry, &order), approvers(3, 2));
    let mut good = warrant(&text(), &[2, 0]);
    good.approvals.insert(1, "no signature".into());
    let ordered = claim.judge(&good, &approvers).unwrap();
    assert_eq!(ordered.statement, statement());
    assert_eq!(ordered.stated, statement().registries[0]);
    assert_eq!(ordered.approved, ["approver 2", "approver 0"]);
    assert_eq!(ordered.warrant, warrant(&text(), &[2, 0]));

    let other_order = "the-day-2".parse().unwrap();
    let unknown = "statistics".parse().unwrap();
    let last = sample::at(86_400);
    let late = sample::at(86_401);
    for (claim, said) in [
        (
            Claim {
                store: StoreId::from_bytes([1; 16]),
                ..claim
            },
            "about store",
        ),
        (
            Claim {
                order: &other_order,
                ..claim
            },
            "about order",
        ),
        (
            Claim {
                registry: &unknown,
                ..claim
            },
            "does not name registry statistics",
        ),
        (
            Claim {
                kind: OpeningKind::Release,
                ..claim
            },
            "about state Active, and not about StoodDown",
        ),
        (Claim { at: late, ..claim }, "could be carried out until"),
    ] {
        let error = claim.judge(&good, &approvers).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    assert!(Claim { at: last, ..claim }.judge(&good, &approvers).is_ok());
    let few = claim.judge(&warrant(&text(), &[1, 1]), &approvers).unwrap_err();
    assert!(matches!(few, WarrantFault::NotApproved { required: 2, .. }));
    assert_eq!(
        few.to_string(),
        "2 must approve its statement, and 1 did (approver 1); approval 2: approver 1 approved already: each counts once"
    );
    let nobody = warrant(&text(), &[]);
    assert!(
        claim
            .judge(&nobody, &approvers)
            .unwrap_err()
            .to_string()
            .contains("none did")
    );
    let unreadable = warrant("activate everything\n", &[0, 1]);
    assert!(matches!(
        claim.judge(&unreadable, &approvers),
        Err(WarrantFault::Unreadable(_))
    ));
    let mut rehearsal = statement();
    rehearsal.mode = Mode::Rehearse;
    rehearsal.registries.iter_mut().for_each(|one| one.signer = None);
    let rehearsal = warrant(&rehearsal.render().unwrap(), &[0, 1]);
    assert_eq!(claim.judge(&rehearsal, &approvers), Err(WarrantFault::Rehearsal));
}

fn opening(warrant: Warrant) -> CustodyEntry {
    let body = TermBody {
        source_head: None,
        next_term: sample::term(2),
        signer: sample::embassy_key().public_key(),
        order: Some(statement().order),
        warrant: Some(warrant),
    };
    sample::custody_entry(1, 1, sample::genesis(), CustodyBody::Activation(body))
}

#[test]
fn the_largest_statement_and_all_approvals_fit_one_entry() {
    let mut largest = statement();
    // Quotes take two bytes each in an entry.
    let filler = |length: usize| "\"".repeat(length).parse().unwrap();
    largest.registries = (0..MAX_STATED)
        .map(|number| StatedRegistry {
            target: filler(200),
            exposed: filler(150),
            ..stated(&format!("registry-{number}"), &[])
        })
        .collect();
    let length = largest.render().unwrap().len();
    let mut left = MAX_STATEMENT_BYTES - length;
    for one in &mut largest.registries {
        let more = left.min(200);
        one.target = filler(200 + more);
        left -= more;
        let more = left.min(250);
        one.exposed = filler(150 + more);
        left -= more;
    }
    let text = largest.render().unwrap();
    assert_eq!(text.len(), MAX_STATEMENT_BYTES);
    let all: Vec<u8> = (0..16).collect();
    let object = opening(warrant(&text, &all))
        .sign(&sample::custodian_key())
        .unwrap();
    assert!(object.bytes.len() <= MAX_OBJECT_BYTES, "{}", object.bytes.len());
    let read = CustodyEntry::verify(&object.bytes).unwrap();
    let CustodyBody::Activation(TermBody {
        warrant: Some(read), ..
    }) = read.entry.body
    else {
        panic!("it is an activation with a warrant");
    };
    assert_eq!(approvers(16, 16).approve(&read).unwrap().len(), 16);
    // What does not fit is not written.
    for bad in [
        warrant(&format!("{text}x"), &[0]),
        warrant(&text, &[]),
        Warrant {
            approvals: vec!["x".into(); 17],
            ..warrant(&text, &[0])
        },
        Warrant {
            approvals: vec!["x".repeat(1025)],
            ..warrant(&text, &[0])
        },
    ] {
        assert!(opening(bad).sign(&sample::custodian_key()).is_err());
    }
}

fn any_words() -> impl Strategy<Value = String> {
    "[!-~]([ -~]{0,60}[!-~])?"
}

fn any_key() -> impl Strategy<Value = PublicKey> {
    (1_u8..200).prop_map(|seed| SigningKey::from_seed(&[seed; 32]).public_key())
}

fn any_registry() -> impl Strategy<Value = StatedRegistry> {
    (
        "[a-z][a-z0-9-]{1,37}[a-z0-9]",
        prop::option::of((
            1_u64..10_000,
            1_u64..1_000_000_000_000,
            any::<[u8; 32]>(),
            0_i64..250_000_000_000_000,
        )),
        (any_words(), any_words(), any_words()),
        any_key(),
        (any::<u32>(), any::<[u8; 32]>()),
    )
        .prop_map(
            |(id, floor, (copy, target, exposed), signer, (questions, digest))| StatedRegistry {
                registry: id.parse().unwrap(),
                after: Vec::new(),
                floor: floor.map(|(term, number, digest, at)| StatedFloor {
                    term: sample::term(term),
                    entry: EntryRef {
                        sequence: sample::sequence(number),
                        digest: Sha256Digest::from_bytes(digest),
                    },
                    taken_at: Timestamp::from_millisecond(at).unwrap(),
                }),
                copy: copy.parse().unwrap(),
                target: target.parse().unwrap(),
                signer: Some(signer),
                questions,
                questions_digest: Sha256Digest::from_bytes(digest),
                exposed: exposed.parse().unwrap(),
            },
        )
}

fn any_statement() -> impl Strategy<Value = Statement> {
    (
        (
            any::<[u8; 16]>(),
            "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?",
            any_words(),
            any_words(),
        ),
        (
            "[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?",
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
        ),
        (
            0_i64..250_000_000_000_000,
            1_usize..=16,
            any::<[u8; 32]>(),
            any::<[u8; 32]>(),
        ),
        prop::collection::vec((any_registry(), any::<u32>()), 1..6),
    )
        .prop_map(
            |(
                (store, embassy, resource, uid),
                (order, meant, back, unfenced),
                (until, required, approvers, spec),
                found,
            )| {
                let mut registries: Vec<StatedRegistry> = Vec::new();
                let mut seen = BTreeSet::new();
                for (mut one, after) in found {
                    if !seen.insert(one.registry.clone()) {
                        continue;
                    }
                    let picked = registries
                        .iter()
                        .enumerate()
                        .filter(|(place, _)| after & (1 << place) != 0);
                    one.after = picked.map(|(_, other)| other.registry.clone()).collect();
                    one.signer = one.signer.filter(|_| meant);
                    registries.push(one);
                }
                Statement {
                    store: StoreId::from_bytes(store),
                    embassy: embassy.parse().unwrap(),
                    resource: resource.parse().unwrap(),
                    uid: uid.parse().unwrap(),
                    order: order.parse().unwrap(),
                    mode: if meant { Mode::Activate } else { Mode::Rehearse },
                    state: if meant && back {
                        State::StoodDown
                    } else {
                        State::Active
                    },
                    valid_until: Timestamp::from_millisecond(until).unwrap(),
                    unfenced: if unfenced {
                        Unfenced::Accepted
                    } else {
                        Unfenced::Refused
                    },
                    required,
                    approvers: Sha256Digest::from_bytes(approvers),
                    spec: Sha256Digest::from_bytes(spec),
                    registries,
                }
            },
        )
}

/// Every change of one byte, and every cut, of a text.
fn changes(text: &str) -> impl Iterator<Item = String> {
    let place = move |place: usize| {
        let bytes = (b'\n'..=b'~').filter(move |byte| *byte == b'\n' || *byte >= b' ');
        bytes.filter_map(move |byte| {
            let mut changed = text.as_bytes().to_vec();
            if changed[place] == byte {
                return None;
            }
            changed[place] = byte;
            String::from_utf8(changed).ok()
        })
    };
    (0..text.len())
        .flat_map(place)
        .chain((0..text.len()).map(|end| text[..end].to_owned()))
}

#[test]
fn a_statement_changed_in_one_byte_is_none_or_another_and_its_approvals_count_no_more() {
    let text = text();
    let signed = warrant(&text, &[0, 1]);
    let mut others = 0;
    for (number, changed) in changes(&text).enumerate() {
        if let Ok(read) = Statement::read(&changed) {
            assert_ne!(read, statement(), "{changed}");
            assert_eq!(read.render().unwrap(), changed, "it has two spellings");
            others += 1;
        }
        // Verifying takes its time: some of many.
        if number % 997 == 0 {
            let judgement = approvers(3, 2).judge(&changed, &signed.approvals);
            assert!(judgement.approved.is_empty(), "{changed}");
        }
    }
    assert!(
        others > 1_000,
        "only {others} changes make another statement: nothing was tried"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_statement_reads_back_as_it_was_printed(statement in any_statement()) {
        let text = statement.render().unwrap();
        prop_assert_eq!(Statement::read(&text).unwrap(), statement);
    }

    #[test]
    fn a_changed_byte_makes_another_statement_or_none(
        statement in any_statement(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let text = statement.render().unwrap();
        let signed = warrant(&text, &[0, 1]);
        let mut changed = text.clone().into_bytes();
        let place = place.index(changed.len());
        prop_assume!(changed[place] != byte);
        changed[place] = byte;
        if let Ok(changed) = String::from_utf8(changed) {
            if let Ok(read) = Statement::read(&changed) {
                prop_assert_ne!(&read, &statement);
                prop_assert_eq!(read.render().unwrap(), changed.clone());
            }
            prop_assert!(approvers(3, 2).judge(&changed, &signed.approvals).approved.is_empty());
        }
    }

    #[test]
    fn any_text_is_read_without_harm(text in "\\PC{0,300}") {
        prop_assert!(Statement::read(&text).is_err());
    }
}

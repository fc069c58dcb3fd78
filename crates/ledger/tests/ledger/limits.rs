//! Limits of entries and trust sheets: what is just within them is written and read, and what is just beyond is neither.

use dataembassy_ledger::activation::MAX_APPROVERS;
use dataembassy_ledger::chain::SignerRange;
use dataembassy_ledger::entry::{
    CopyBody, CustodyBody, DrillBody, Entry, EntryRef, MAX_COPY_KEY_LENGTH, MAX_PARENTS, MAX_PARTS,
    MAX_RECIPIENTS, MAX_REPORT_BYTES, PartRef, ProofBody, ReportBody, ReportOutcome, SourceBody,
    VerifiedRange, WriteError,
};
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::trust_sheet::{
    Expected, LineFault, MAX_CUSTODIANS, MAX_SHEET_BYTES, MAX_SIGNERS, MAX_TERMS, RetiredCustodian,
    SheetError, WrongLine,
};
use dataembassy_ledger::{PartNumber, PublicKey, Role, Sha256Digest, SigningKey, TrustSheet};

use crate::sample::{self, at, sequence};
use crate::trust_sheets::{sheet, sign_text};

fn reference(number: u64) -> EntryRef {
    EntryRef {
        sequence: sequence(number),
        digest: Sha256Digest::of(&number.to_be_bytes()),
    }
}

/// The rule that a custody entry breaks, in a place far behind all that it names; none where it is written and reads back.
fn broken_by(body: CustodyBody) -> Option<&'static str> {
    let entry = sample::custody_entry(900, 1, sample::genesis(), body);
    match entry.sign(&sample::custodian_key()) {
        Ok(object) => {
            assert_eq!(Entry::<CustodyBody>::verify(&object.bytes).unwrap().entry, entry);
            None
        }
        Err(WriteError::BrokenRule(rule)) => Some(rule),
        Err(error) => panic!("{error}"),
    }
}

fn drill(change: impl FnOnce(&mut DrillBody)) -> Option<&'static str> {
    let mut body = sample::drill(reference(3), 3, "nightly-1", true);
    change(&mut body);
    broken_by(CustodyBody::Drill(body))
}

fn report(outcome: ReportOutcome, change: impl FnOnce(&mut ReportBody)) -> Option<&'static str> {
    let mut body = sample::report(reference(3), "home-lost-report", outcome);
    change(&mut body);
    broken_by(CustodyBody::Report(body))
}

#[test]
fn a_drill_does_not_end_before_it_begins() {
    assert_eq!(drill(|_| {}), None);
    assert_eq!(drill(|drill| drill.ended_at = drill.started_at), None);
    let rule = drill(|drill| drill.ended_at = at(99));
    assert_eq!(rule, Some("a drill must not end before it begins"));
}

#[test]
fn a_report_in_the_store_has_1_byte_to_1_mib_in_either_form() {
    assert_eq!(MAX_REPORT_BYTES, 1_048_576);
    for (size, rule) in [
        (0, Some("a report must have 1 to 1048576 bytes")),
        (1, None),
        (MAX_REPORT_BYTES, None),
        (
            MAX_REPORT_BYTES + 1,
            Some("a report must have 1 to 1048576 bytes"),
        ),
    ] {
        assert_eq!(drill(|drill| drill.reports.json.size = size), rule, "{size}");
        assert_eq!(drill(|drill| drill.reports.html.size = size), rule, "{size}");
        let told = report(ReportOutcome::Served, |report| report.reports.html.size = size);
        assert_eq!(told, rule, "{size}");
    }
}

#[test]
fn a_report_is_about_another_order_and_a_copy_and_ends_when_it_has_begun() {
    use ReportOutcome::{Failed, Rehearsed, Served, StoodDown};
    for outcome in [Served, Rehearsed, StoodDown, Failed] {
        assert_eq!(report(outcome, |_| {}), None, "{outcome:?}");
        assert_eq!(
            report(outcome, |report| report.ended_at = report.started_at),
            None
        );
        let rule = report(outcome, |report| report.ended_at = at(99));
        assert_eq!(rule, Some("what is reported must not end before it begins"));
        let rule = report(outcome, |report| report.about = report.order.clone());
        let expected = "a report must have another order than the one that it is about";
        assert_eq!(rule, Some(expected));
        // Only what failed may have failed before a copy was chosen; it may also have failed later.
        let rule = report(outcome, |report| report.source_entry = None);
        let expected = "a report of what was done must name the copy's entry";
        assert_eq!(rule, (outcome != Failed).then_some(expected));
    }
    assert_eq!(
        report(Failed, |report| report.source_entry = Some(reference(3))),
        None
    );
}

#[test]
fn one_copy_that_was_read_back_is_a_range() {
    let range = VerifiedRange {
        from: sequence(3),
        until: sequence(3),
        at: at(1),
    };
    let proof = ProofBody {
        verified: vec![range],
        ..ProofBody::new(reference(3))
    };
    assert_eq!(broken_by(CustodyBody::Proof(proof)), None);
}

#[test]
fn what_is_signed_and_no_entry_of_this_version_still_says_who_signed_it_and_for_which_place() {
    let object = &sample::source_objects(1)[0];
    let signed = |bytes: &[u8]| Entry::<SourceBody>::signed(bytes);
    let found = signed(&object.bytes).unwrap();
    let header = sample::copy_entry(1, 1, sample::genesis(), 1).header;
    assert_eq!(
        (found.signer, found.header),
        (sample::home_key().public_key(), Some(header.clone()))
    );
    let (line, key) = (sample::line_of(object), sample::home_key());
    let newer = line.replacen("\"kind\":\"copy\"", "\"kind\":\"incremental\"", 1);
    let newer = signed(&sample::sign_line(&newer, Role::Source, &key)).unwrap();
    assert_eq!((newer.signer, newer.header), (key.public_key(), Some(header)));
    let foreign = signed(&sample::sign_line("{}", Role::Source, &key)).unwrap();
    assert_eq!((foreign.signer, foreign.header), (key.public_key(), None));
    assert_eq!(signed(&sample::sign_line(&line, Role::Custody, &key)), None);
}

#[test]
fn a_copy_is_written_up_to_each_of_its_limits_and_not_beyond() {
    type Change = fn(&mut CopyBody, usize);
    let parts = |copy: &CopyBody, count: usize, name: fn(PartNumber) -> CopyObject| -> Vec<PartRef> {
        let numbers = (1..=count as u64).map(|number| PartNumber::new(number).unwrap());
        numbers
            .map(|number| PartRef {
                name: name(number),
                ..copy.manifest[0].clone()
            })
            .collect()
    };
    let written = |change: &dyn Fn(&mut CopyBody)| {
        let mut entry = sample::copy_entry(900, 1, sample::genesis(), 1);
        let SourceBody::Copy(copy) = &mut entry.body;
        change(copy);
        match entry.sign(&sample::home_key()) {
            Ok(object) => Entry::<SourceBody>::verify(&object.bytes).unwrap().entry == entry,
            Err(WriteError::BrokenRule(_)) => false,
            Err(error) => panic!("{error}"),
        }
    };
    let cases: [(&str, usize, Change); 6] = [
        ("recipients", MAX_RECIPIENTS, |copy, count| {
            let all = (1..=count).map(|n| format!("age1{}", "q".repeat(n)).parse().unwrap());
            copy.recipients = all.collect();
        }),
        ("copyKey", MAX_COPY_KEY_LENGTH, |copy, length| {
            // Whole groups of four: the first length beyond the limit is four characters longer.
            copy.copy_key = "QUJD".repeat(length.div_ceil(4));
        }),
        ("parents", MAX_PARENTS, |copy, count| {
            copy.parents = (1..=count as u64).map(reference).collect();
        }),
        ("manifest part", 8 * 1024 * 1024, |copy, size| {
            copy.manifest[0].size = size as u64;
        }),
        ("inventory part", 8 * 1024 * 1024, |copy, size| {
            copy.inventory[0].size = size as u64;
        }),
        ("parent", 899, |copy, number| {
            copy.parents = vec![reference(number as u64)];
        }),
    ];
    for (what, most, change) in cases {
        assert!(written(&|copy| change(copy, most)), "{what}: {most}");
        assert!(
            !written(&|copy| change(copy, most + 1)),
            "{what}: one more than {most}"
        );
    }
    for (count, expected) in [(MAX_PARTS, true), (MAX_PARTS + 1, false)] {
        let manifest = written(&|copy| copy.manifest = parts(copy, count, CopyObject::Manifest));
        let inventory = written(&|copy| copy.inventory = parts(copy, count, CopyObject::Inventory));
        assert_eq!((manifest, inventory), (expected, expected), "{count}");
    }
    assert!(!written(&|copy| copy.manifest[0].size = 0));
    assert!(!written(&|copy| copy.inventory[0].size = 0));
    assert!(written(&|copy| copy.totals.segments = 1));
}

fn key(seed: u8) -> PublicKey {
    SigningKey::from_seed(&[seed; 32]).public_key()
}

fn retired(count: usize) -> Vec<RetiredCustodian> {
    let seeds = (100_u8..).take(count);
    seeds
        .map(|seed| RetiredCustodian {
            key: key(seed),
            until: sequence(9),
        })
        .collect()
}

#[test]
fn a_sheet_has_as_many_lines_of_each_kind_as_it_may_and_the_next_one_is_named() {
    type Change = fn(&mut TrustSheet, usize);
    let cases: [(&str, usize, Change); 4] = [
        ("custodian", MAX_CUSTODIANS, |sheet, count| {
            sheet.custodians.extend((150_u8..).map(key).take(count - 1));
        }),
        ("signer", MAX_SIGNERS, |sheet, count| {
            let signers = (1..=count as u64).map(|number| SignerRange {
                from: sequence(number),
                // Its last entry may be its first.
                until: Some(sequence(number)),
                key: sample::home_key().public_key(),
            });
            sheet.registries[1].signers = signers.collect();
        }),
        ("term", MAX_TERMS, |sheet, count| {
            sheet.registries[1].terms = vec![sample::embassy_key().public_key(); count];
        }),
        ("retired", MAX_CUSTODIANS, |sheet, count| {
            sheet.registries[1].retired = retired(count);
        }),
    ];
    for (word, most, change) in cases {
        let mut fullest = sheet();
        change(&mut fullest, most);
        let text = fullest.sign(&sample::custodian_key()).unwrap();
        assert_eq!(
            TrustSheet::verify(text.as_bytes()).unwrap().sheet,
            fullest,
            "{word}"
        );

        let mut more = sheet();
        change(&mut more, most + 1);
        let unsigned = more.sign(&sample::custodian_key()).unwrap_err();
        assert!(
            matches!(unsigned, SheetError::BrokenRule { .. }),
            "{word}: {unsigned}"
        );
        let text = more.to_string();
        let first = text.lines().position(|line| line == "registry: population");
        let from = if word == "custodian" { 0 } else { first.unwrap() };
        let mut of_kind = (1..)
            .zip(text.lines())
            .skip(from)
            .filter(|(_, line)| line.starts_with(&format!("{word}: ")));
        let (surplus, _) = of_kind.nth(most).unwrap();
        assert_eq!(wrong_line(&text).line, surplus, "{word}");
    }
}

fn wrong_line(text: &str) -> WrongLine {
    let signed = sign_text(text, Role::Store, &sample::custodian_key());
    match TrustSheet::verify(signed.as_bytes()).unwrap_err() {
        SheetError::WrongLine(wrong) => wrong,
        error => panic!("{error}"),
    }
}

#[test]
fn a_sheet_with_more_approvers_than_there_may_be_ends_where_they_should() {
    let text = sheet().to_string();
    let (before, rest) = text.split_once("approver: ").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let with = |count: usize| {
        let lines = (1_u8..).take(count);
        let lines = lines.map(|seed| format!("approver: a{seed} {}\n", key(200 + seed)));
        format!("{before}{}\n{after}", lines.collect::<Vec<_>>().concat())
    };
    let fullest = sign_text(&with(MAX_APPROVERS), Role::Store, &sample::custodian_key());
    assert!(TrustSheet::verify(fullest.as_bytes()).is_ok());
    let wrong = wrong_line(&with(MAX_APPROVERS + 1));
    assert_eq!(wrong.fault, LineFault::Expected(Expected::Text("")));
}

#[test]
fn a_sheet_is_read_up_to_1_mib_and_not_beyond() {
    let read = |size: usize| TrustSheet::verify(&vec![b'a'; size]).unwrap_err();
    assert!(matches!(read(MAX_SHEET_BYTES), SheetError::WrongLine(_)));
    let size = MAX_SHEET_BYTES + 1;
    assert_eq!(read(size), SheetError::TooLarge { size });
}

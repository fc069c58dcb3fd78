//! Golden objects: those in `tests/vectors` without `fail_` are read and are what this code writes; those with it are refused.
//!
//! A change that makes this fail changes the format. `cargo test -p dataembassy-ledger write_the_vectors -- --ignored` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use dataembassy_ledger::activation::{Mode, State, Statement};
use dataembassy_ledger::entry::{
    ConfirmBody, CustodyBody, Entry, EntryRef, ExpiryBody, PinBody, ProofBody, ReportOutcome, SourceBody,
    TermBody,
};
use dataembassy_ledger::manifest::{ManifestReader, ManifestWriter, SegmentRecord};
use dataembassy_ledger::{Role, SegmentNumber, Sha256Digest, StoreDocument, TrustSheet};

use crate::activations;
use crate::proofs;
use crate::sample::{self, sign_line};
use crate::trust_sheets;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn manifest() -> Vec<u8> {
    let mut writer = ManifestWriter::new();
    for number in [1, 2, 4, 3] {
        let record = SegmentRecord {
            number: SegmentNumber::new(number).unwrap(),
            version: format!("0a1b2c3d-{number}").parse().unwrap(),
            size: number * 1000,
            sha256: Sha256Digest::of(&[u8::try_from(number).unwrap()]),
        };
        assert_eq!(writer.push(&record).unwrap(), None);
    }
    writer.finish().unwrap()
}

fn vectors() -> BTreeMap<String, Vec<u8>> {
    let mut vectors = BTreeMap::new();
    let mut put = |name: &str, bytes: Vec<u8>| assert!(vectors.insert(name.to_owned(), bytes).is_none());
    put(
        "embassy.json",
        sample::document().sign(&sample::custodian_key()).unwrap().bytes,
    );

    let sources = sample::source_objects(2);
    put("source_copy", sources[0].bytes.clone());
    put("source_copy_next", sources[1].bytes.clone());
    for (name, bytes) in custody_vectors(sample::reference(2, &sources[1])) {
        put(&name, bytes);
    }
    let line = sample::line_of(&sources[0]);
    let mut fail = |name: &str, line: &str| {
        put(
            &format!("fail_source_{name}"),
            sign_line(line, Role::Source, &sample::home_key()),
        );
    };
    fail(
        "unknown_key",
        &line.replacen("\"kind\"", "\"note\":\"\",\"kind\"", 1),
    );
    fail(
        "duplicate_key",
        &line.replacen("\"kind\"", "\"term\":1,\"kind\"", 1),
    );
    fail("unknown_kind", &line.replacen("\"copy\"", "\"incremental\"", 1));
    fail(
        "newer_format",
        &line.replacen("dataembassy/1", "dataembassy/2", 1),
    );
    fail("large_integer", &line.replacen("20000000", "9007199254740992", 1));
    fail("time_without_milliseconds", &line.replacen(".000Z", "Z", 1));
    fail(
        "null",
        &line.replacen("\"slot\":\"", "\"slot\":null,\"trigger\":\"", 1),
    );
    fail(
        "no_recipients",
        &line.replacen("\"recipients\":[\"", "\"recipients\":[],\"x\":[\"", 1),
    );
    put(
        "fail_source_wrong_namespace",
        sign_line(&line, Role::Custody, &sample::home_key()),
    );
    let text = String::from_utf8(sources[0].bytes.clone()).unwrap();
    put(
        "fail_source_changed_line",
        text.replacen("population", "populatiom", 1).into_bytes(),
    );
    put("fail_source_without_signature", format!("{line}\n").into_bytes());
    put(
        "fail_source_text_after_signature",
        format!("{text}\n").into_bytes(),
    );
    put(
        "fail_source_carriage_returns",
        text.replace('\n', "\r\n").into_bytes(),
    );

    let text = String::from_utf8(manifest()).unwrap();
    put("manifest", manifest());
    put("fail_manifest_cut", text.as_bytes()[..text.len() - 1].to_vec());
    put(
        "fail_manifest_out_of_order",
        text.replacen("# 2 ", "# 3 ", 1).into_bytes(),
    );
    put(
        "fail_manifest_binary_mark",
        text.replacen("  0", " *0", 1).into_bytes(),
    );
    put(
        "fail_manifest_named_twice",
        text.replacen("  00000002", "  00000001", 1).into_bytes(),
    );
    for (name, text) in sheet_vectors().into_iter().chain(statement_vectors()) {
        put(&name, text.into_bytes());
    }
    vectors
}

/// A statement, that of a rehearsal, and those of which each breaks one rule.
fn statement_vectors() -> BTreeMap<String, String> {
    let text = activations::statement().render().unwrap();
    let mut rehearsal = activations::statement();
    rehearsal.mode = Mode::Rehearse;
    rehearsal.registries.iter_mut().for_each(|one| one.signer = None);
    let rehearsal = rehearsal.render().unwrap();
    let mut vectors = BTreeMap::new();
    for (name, old, new) in [
        ("newer_format", "activation/1", "activation/2"),
        ("unknown_field", "unfenced: ", "note: none\nunfenced: "),
        ("unknown_mode", "mode: Activate", "mode: Force"),
        ("unknown_state", "state: Active", "state: active"),
        ("unfenced_as_number", "unfenced: refused", "unfenced: 0"),
        ("leading_zero", "approvals: 2", "approvals: 02"),
        ("no_approvals", "approvals: 2", "approvals: 0"),
        ("upper_case_digest", "aaaa", "AAAA"),
        ("short_number", "0001-0", "0001-"),
        ("head_without_time", "\ntaken: ", "\ntime: "),
        ("without_signer", "signer: ssh", "signer: none\nsigner: ssh"),
        ("registry_twice", "registry: business", "registry: population"),
        ("after_what_comes_later", "after: none", "after: business"),
        ("after_itself", "after: population", "after: business"),
        ("two_blanks", "embassy: ", "embassy:  "),
        ("blank_at_the_end", "latestDrilled", "latestDrilled "),
        ("carriage_returns", "\n", "\r\n"),
        ("empty_line_at_the_end", "port 5432\n", "port 5432\n\n"),
    ] {
        assert!(text.contains(old), "{name}");
        let at = text.rfind(old).filter(|_| name == "empty_line_at_the_end");
        let changed = match at {
            Some(at) => text[..at].to_owned() + new,
            None => text.replacen(old, new, 1),
        };
        vectors.insert(format!("fail_statement_{name}"), changed);
    }
    vectors.insert("statement".to_owned(), text);
    vectors.insert("statement_rehearsal".to_owned(), rehearsal);
    vectors
}

/// A trust sheet, and those of which each breaks one rule.
fn sheet_vectors() -> BTreeMap<String, String> {
    let sheet = trust_sheets::sheet();
    let (text, printed) = (sheet.to_string(), trust_sheets::printed(&sheet));
    let custodian = sample::custodian_key();
    let mut vectors = BTreeMap::from([("sheet".to_owned(), printed.clone())]);
    let mut put = |name: &str, text: String| {
        assert_ne!(text, printed, "{name}");
        vectors.insert(format!("fail_sheet_{name}"), text);
    };
    for (name, old, new) in [
        ("newer_format", "sheet/1", "sheet/2"),
        ("unknown_field", "bucket: ", "note: none\nbucket: "),
        ("upper_case_digest", "aaaa", "AAAA"),
        ("leading_zero", "signer: 42-", "signer: 042-"),
        ("short_number", "0002-0", "0002-"),
        ("term_without_signer", "source: 0002", "source: 0003"),
        ("term_left_out", "term: 2", "term: 3"),
        (
            "registries_out_of_order",
            "registry: business",
            "registry: statistics",
        ),
        ("registry_twice", "registry: business", "registry: population"),
        ("no_head", "source: none\n", ""),
        ("more_approvals_than_approvers", "approvals: 2", "approvals: 4"),
        (
            "approver_twice",
            "approver: chief-justice",
            "approver: head-of-archive",
        ),
        ("no_word_about_approvers", "approvals: 2\n", ""),
        ("two_blanks", "embassy: ", "embassy:  "),
    ] {
        assert!(text.contains(old), "{name}");
        put(
            name,
            trust_sheets::sign_text(&text.replacen(old, new, 1), Role::Store, &custodian),
        );
    }
    let (custodian_key, home) = (
        custodian.public_key().to_string(),
        sample::home_key().public_key().to_string(),
    );
    put(
        "key_with_two_roles",
        trust_sheets::sign_text(&text.replacen(&home, &custodian_key, 1), Role::Store, &custodian),
    );
    put(
        "signed_by_a_stranger",
        trust_sheets::sign_text(&text, Role::Store, &sample::stranger_key()),
    );
    put(
        "wrong_namespace",
        trust_sheets::sign_text(&text, Role::Custody, &custodian),
    );
    put("without_signature", text);
    put("changed_letter", printed.replacen("aaaa", "aaab", 1));
    put("text_after_signature", format!("{printed}\n"));
    put("carriage_returns", printed.replace('\n', "\r\n"));
    vectors
}

/// The opening of a term by what two have approved.
fn warranted(term: &TermBody, state: State) -> TermBody {
    let mut statement = activations::statement();
    statement.state = state;
    TermBody {
        order: Some(statement.order.clone()),
        warrant: Some(activations::warrant(&statement.render().unwrap(), &[0, 2])),
        ..term.clone()
    }
}

/// Reports of every outcome.
fn reports(head: EntryRef) -> [(&'static str, CustodyBody); 4] {
    [
        (
            "custody_report",
            CustodyBody::Report(sample::report(
                head,
                "home-lost-5d11169e-report",
                ReportOutcome::Served,
            )),
        ),
        (
            "custody_report_rehearsed",
            CustodyBody::Report(sample::report(
                head,
                "exercise-1b2c3d4e-report",
                ReportOutcome::Rehearsed,
            )),
        ),
        (
            "custody_report_stood_down",
            CustodyBody::Report(sample::report(
                head,
                "home-lost-9f8e7d6c-report",
                ReportOutcome::StoodDown,
            )),
        ),
        (
            "custody_report_failed",
            CustodyBody::Report(sample::report(
                head,
                "home-lost-5d11169e-report",
                ReportOutcome::Failed,
            )),
        ),
    ]
}

/// A custody entry of each kind, and those of which each breaks one rule.
fn custody_vectors(head: EntryRef) -> BTreeMap<String, Vec<u8>> {
    let mut vectors = BTreeMap::new();
    let term = TermBody {
        source_head: Some(head),
        next_term: sample::term(2),
        signer: sample::embassy_key().public_key(),
        order: Some("activate-2026".parse().unwrap()),
        warrant: None,
    };
    let expiry = ExpiryBody {
        copies: vec![sample::expired(1), sample::expired(2)],
    };
    let pin = |pinned, reason: Option<&str>| PinBody {
        source_sequence: sample::sequence(2),
        pinned,
        reason: reason.map(str::to_owned),
    };
    for (name, body) in [
        ("custody_proof", CustodyBody::Proof(ProofBody::new(head))),
        ("custody_void", sample::void(&[7, 8])),
        ("custody_expiry", CustodyBody::Expiry(expiry)),
        (
            "custody_pin",
            CustodyBody::Pin(pin(true, Some("before the election"))),
        ),
        ("custody_unpin", CustodyBody::Pin(pin(false, None))),
        (
            "custody_confirm",
            CustodyBody::Confirm(ConfirmBody { source_head: head }),
        ),
        (
            "custody_drill",
            CustodyBody::Drill(sample::drill(head, 2, "nightly-20261123-0300", true)),
        ),
        (
            "custody_drill_failed",
            CustodyBody::Drill(sample::drill(head, 2, "nightly-20261124-0300", false)),
        ),
        (
            "custody_activation_warranted",
            CustodyBody::Activation(warranted(&term, State::Active)),
        ),
        (
            "custody_release_warranted",
            CustodyBody::Release(warranted(&term, State::StoodDown)),
        ),
        ("custody_activation", CustodyBody::Activation(term.clone())),
        ("custody_release", CustodyBody::Release(term)),
    ]
    .into_iter()
    .chain(reports(head))
    {
        let entry = sample::custody_entry(1, 1, sample::genesis(), body);
        vectors.insert(
            name.to_owned(),
            entry.sign(&sample::custodian_key()).unwrap().bytes,
        );
    }

    let whole = Entry {
        header: proofs::proof_header(),
        body: CustodyBody::Proof(proofs::whole_proof()),
    };
    let whole = whole.sign(&sample::custodian_key()).unwrap();
    vectors.insert("custody_proof_whole".to_owned(), whole.bytes.clone());
    let reported = Entry {
        header: proofs::proof_header(),
        body: CustodyBody::Proof(proofs::proof_of_reports()),
    };
    let reported = reported.sign(&sample::custodian_key()).unwrap();
    vectors.insert("custody_proof_reports".to_owned(), reported.bytes);
    for (name, line) in broken_custody_lines(&vectors, &sample::line_of(&whole)) {
        let bytes = sign_line(&line, Role::Custody, &sample::custodian_key());
        assert!(vectors.insert(name.clone(), bytes).is_none(), "{name}");
    }
    vectors
}

/// How each rule of a `drill` is broken: what is replaced, and by what.
const BROKEN_DRILLS: [(&str, &str, &str); 9] = [
    ("ends_before_it_begins", "T11:09:20.000Z", "T11:06:39.999Z"),
    ("report_of_no_bytes", "\"size\":4000", "\"size\":0"),
    ("report_too_large", "\"size\":20000", "\"size\":1048577"),
    ("report_missing", "\"html\":{", "\"pdf\":{"),
    ("report_without_version", "\"version\":\"v-json\",", ""),
    ("unknown_field", "\"passed\"", "\"note\":\"\",\"passed\""),
    ("passed_as_text", "\"passed\":true", "\"passed\":\"yes\""),
    ("order_in_capitals", "nightly-20261123-0300", "NIGHTLY"),
    (
        "of_no_copy",
        "\"sourceEntry\":{\"sequence\":2",
        "\"sourceEntry\":{\"sequence\":0",
    ),
];

/// How each rule of a `report` is broken: what is replaced, and by what.
const BROKEN_REPORTS: [(&str, &str, &str); 9] = [
    ("ends_before_it_begins", "T11:09:20.000Z", "T11:06:39.999Z"),
    ("report_too_large", "\"size\":20000", "\"size\":1048577"),
    ("unknown_field", "\"outcome\"", "\"note\":\"\",\"outcome\""),
    ("unknown_outcome", "\"served\"", "\"Served\""),
    (
        "about_itself",
        "\"about\":\"home-lost-5d11169e\"",
        "\"about\":\"home-lost-5d11169e-report\"",
    ),
    ("about_nothing", "\"about\":\"home-lost-5d11169e\",", ""),
    ("without_statement", "\"statement\"", "\"text\""),
    (
        "served_without_copy",
        "\"sourceEntry\":{\"sequence\":2",
        "\"sourceEntry\":{\"sequence\":0",
    ),
    ("copy_null", "\"sourceEntry\":{", "\"sourceEntry\":null,\"x\":{"),
];

/// How each rule of an opening and of its warrant is broken: in which entry, what is replaced, and by what.
fn broken_openings() -> [(&'static str, &'static str, &'static str, String); 10] {
    let (statement, approvals) = ("\"statement\":\"", "\"approvals\":[");
    let (activation, release) = ("activation_warranted", "release_warranted");
    let before = |text: &str| format!("{approvals}{text}");
    [
        (
            "activation",
            "skips_a_term",
            "\"nextTerm\":2",
            "\"nextTerm\":3".into(),
        ),
        (
            activation,
            "null",
            "\"warrant\":{",
            "\"warrant\":null,\"x\":{".into(),
        ),
        (
            activation,
            "unknown_field",
            statement,
            format!("\"note\":\"\",{statement}"),
        ),
        (activation, "without_statement", statement, "\"text\":\"".into()),
        (activation, "without_approvals", approvals, before("],\"x\":[")),
        (activation, "empty_approval", approvals, before("\"\",")),
        (activation, "approval_as_number", approvals, before("1,")),
        (
            activation,
            "too_many_approvals",
            approvals,
            before(&"\"x\",".repeat(15)),
        ),
        (
            release,
            "long_approval",
            approvals,
            before(&format!("\"{}\",", "x".repeat(1025))),
        ),
        (
            release,
            "long_statement",
            statement,
            format!("{statement}{}", "x".repeat(24 * 1024)),
        ),
    ]
}

/// Reports, and standings that list them, of which each breaks one rule.
fn broken_reports(fail: &mut impl FnMut(&str, &str, &str, &str)) {
    for (name, old, new) in BROKEN_REPORTS {
        fail("report", name, old, new);
    }
    fail(
        "report_failed",
        "rehearsed_without_copy",
        "\"failed\"",
        "\"rehearsed\"",
    );
    fail("proof_reports", "out_of_order", "{\"entry\":6,", "{\"entry\":8,");
    fail(
        "proof_reports",
        "not_before_the_proof",
        "{\"entry\":8,",
        "{\"entry\":10,",
    );
}

/// Standings of which each breaks one rule.
fn broken_standings(fail: &mut impl FnMut(&str, &str, &str, &str)) {
    fail(
        "proof",
        "standing_null",
        "\"standing\":{",
        "\"standing\":null,\"x\":{",
    );
    fail("proof", "standing_of_another_term", "\"term\":3", "\"term\":4");
    fail(
        "proof",
        "standing_lacks_an_opening",
        "\"nextTerm\":2",
        "\"nextTerm\":3",
    );
    fail(
        "proof",
        "standing_unknown_kind",
        "\"kind\":\"release\"",
        "\"kind\":\"rehearsal\"",
    );
    fail("proof", "standing_ranges_touch", "{\"from\":3,", "{\"from\":2,");
    fail(
        "proof",
        "standing_pins_out_of_order",
        "\"pins\":[2,30]",
        "\"pins\":[30,2]",
    );
    fail(
        "proof",
        "standing_drills_out_of_order",
        "{\"entry\":5,",
        "{\"entry\":9,",
    );
    fail(
        "proof",
        "standing_drill_not_before_the_proof",
        "{\"entry\":9,",
        "{\"entry\":10,",
    );
}

/// Custody entries of which each breaks one rule.
fn broken_custody_lines(good: &BTreeMap<String, Vec<u8>>, whole: &str) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut fail = |of: &str, name: &str, old: &str, new: &str| {
        let line = match of {
            "proof" => whole.to_owned(),
            kind => {
                let text = String::from_utf8(good[&format!("custody_{kind}")].clone()).unwrap();
                text.split_once('\n').unwrap().0.to_owned()
            }
        };
        assert!(line.contains(old), "{line} holds no {old}");
        lines.push((format!("fail_custody_{of}_{name}"), line.replacen(old, new, 1)));
    };
    fail(
        "proof",
        "unknown_field",
        "\"verified\"",
        "\"note\":\"\",\"verified\"",
    );
    fail("proof", "unknown_fault", "\"missing\"", "\"stolen\"");
    fail("proof", "ranges_overlap", "\"from\":6,", "\"from\":4,");
    fail("proof", "beyond_head", "\"until\":39", "\"until\":41");
    fail(
        "proof",
        "broken_out_of_order",
        "\"sequence\":8,\"fault\"",
        "\"sequence\":11,\"fault\"",
    );
    fail(
        "proof",
        "too_many_segments",
        "\"segments\":17",
        "\"segments\":100000000",
    );
    broken_standings(&mut fail);
    for (name, old, new) in BROKEN_DRILLS {
        fail("drill", name, old, new);
    }
    broken_reports(&mut fail);
    let id = "08".repeat(16);
    fail("void", "twice", &id, &"07".repeat(16));
    fail("void", "of_none", "\"copies\":[", "\"copies\":[],\"x\":[");
    fail("void", "short_id", &id, "08");
    fail("expiry", "of_none", "\"copies\":[", "\"copies\":[],\"x\":[");
    fail("expiry", "out_of_order", "{\"sequence\":2,", "{\"sequence\":1,");
    fail("expiry", "without_copy_id", "\"copyId\"", "\"copy\"");
    fail("pin", "reason_empty", "before the election", "");
    fail(
        "pin",
        "reason_of_two_lines",
        "before the election",
        "before\\nthe election",
    );
    fail("pin", "pinned_as_number", "\"pinned\":true", "\"pinned\":1");
    fail("confirm", "of_nothing", "\"sourceHead\":{", "\"source\":{");
    fail(
        "confirm",
        "sequence_zero",
        "\"sourceHead\":{\"sequence\":2",
        "\"sourceHead\":{\"sequence\":0",
    );
    for (of, name, old, new) in broken_openings() {
        fail(of, name, old, &new);
    }
    lines
}

fn is_read(name: &str, bytes: &[u8]) -> bool {
    let kind = name.strip_prefix("fail_").unwrap_or(name);
    if kind.starts_with("source_") {
        Entry::<SourceBody>::verify(bytes).is_ok()
    } else if kind.starts_with("custody_") {
        Entry::<CustodyBody>::verify(bytes).is_ok()
    } else if kind.starts_with("manifest") {
        ManifestReader::new().read_part(bytes).is_ok()
    } else if kind.starts_with("statement") {
        std::str::from_utf8(bytes).is_ok_and(|text| Statement::read(text).is_ok())
    } else if kind.starts_with("sheet") {
        TrustSheet::verify(bytes).is_ok()
    } else {
        StoreDocument::verify(bytes).is_ok()
    }
}

#[test]
fn the_vectors_are_what_this_code_writes() {
    let mut found = BTreeMap::new();
    for file in fs::read_dir(folder()).unwrap() {
        let file = file.unwrap();
        found.insert(
            file.file_name().into_string().unwrap(),
            fs::read(file.path()).unwrap(),
        );
    }
    let expected = vectors();
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &expected {
        assert!(found[name] == *bytes, "{name} differs");
    }
}

#[test]
fn good_vectors_are_read_and_the_others_refused() {
    let files = fs::read_dir(folder()).unwrap();
    let mut count = 0;
    for file in files {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        assert_eq!(
            is_read(&name, &fs::read(file.path()).unwrap()),
            !name.starts_with("fail_"),
            "{name}"
        );
        count += 1;
    }
    assert!(count > 20);
}

#[test]
#[ignore = "it writes the vectors"]
fn write_the_vectors() {
    fs::create_dir_all(folder()).unwrap();
    for (name, bytes) in vectors() {
        fs::write(folder().join(name), bytes).unwrap();
    }
}

//! Golden objects: those in `tests/vectors` without `fail_` are read and are what this code writes; those with it are refused.
//!
//! A change that makes this fail changes the format. `cargo test -p dataembassy-ledger write_the_vectors -- --ignored` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use dataembassy_ledger::entry::{CustodyBody, Entry, ProofBody, SourceBody, TermBody, VoidBody};
use dataembassy_ledger::manifest::{ManifestReader, ManifestWriter, SegmentRecord};
use dataembassy_ledger::{CopyId, Role, SegmentNumber, Sha256Digest, StoreDocument};

use crate::sample::{self, sign_line};

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
    let head = sample::reference(2, &sources[1]);
    let term = TermBody {
        source_head: Some(head),
        next_term: sample::term(2),
        signer: sample::embassy_key().public_key(),
        order: Some("activate-2026".parse().unwrap()),
    };
    let void = VoidBody {
        copy_id: CopyId::from_bytes([7; 16]),
        order: None,
    };
    for (name, body) in [
        ("custody_proof", CustodyBody::Proof(ProofBody::new(head))),
        ("custody_void", CustodyBody::Void(void)),
        ("custody_activation", CustodyBody::Activation(term.clone())),
        ("custody_release", CustodyBody::Release(term)),
    ] {
        let entry = sample::custody_entry(1, 1, sample::genesis(), body);
        put(name, entry.sign(&sample::custodian_key()).unwrap().bytes);
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
    vectors
}

fn is_read(name: &str, bytes: &[u8]) -> bool {
    let kind = name.strip_prefix("fail_").unwrap_or(name);
    if kind.starts_with("source_") {
        Entry::<SourceBody>::verify(bytes).is_ok()
    } else if kind.starts_with("custody_") {
        Entry::<CustodyBody>::verify(bytes).is_ok()
    } else if kind.starts_with("manifest") {
        ManifestReader::new().read_part(bytes).is_ok()
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

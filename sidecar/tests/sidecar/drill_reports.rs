//! The two forms of a drill's report: what they say, and what they never do, whatever a copy says of itself.
//!
//! `UPDATE_GENERATED=1 cargo test -p dataembassy-sidecar --test sidecar drill_reports` writes the samples in `docs/samples/reports` anew.

use std::path::Path;

use dataembassy_contract::drill::{AssertionKind, DrillResult, DrilledCopy, Found, Verdict};
use dataembassy_ledger::entry::{EntryRef, MAX_REPORT_BYTES};
use dataembassy_ledger::{CopyId, Sequence, Sha256Digest, SigningKey, StoreId};
use dataembassy_sidecar::custodian::registry::drills::report::{Record, Rendered};
use jiff::Timestamp;

use crate::bench::REGISTRY;
use crate::bench::drill::result;

const ORDER: &str = "population-nightly-20261128-0300";

fn source_entry() -> EntryRef {
    EntryRef {
        sequence: Sequence::new(1_412).unwrap(),
        digest: Sha256Digest::of(b"a sample"),
    }
}

fn copy() -> CopyId {
    CopyId::from_bytes([0xc0; 16])
}

fn sample(passed: bool) -> DrillResult {
    let start: Timestamp = "2026-11-28T03:00:12.482Z".parse().unwrap();
    let drilled = DrilledCopy {
        sequence: source_entry().sequence.get(),
        digest: source_entry().digest.to_string(),
        copy_id: copy().to_string(),
        taken_at: "2026-11-28T02:45:03.117Z".parse().unwrap(),
        sealed_bytes: 1_288_490_188,
        source_version: "17.12".into(),
    };
    result(ORDER, drilled, passed, start)
}

fn render(result: &DrillResult) -> Rendered {
    let (registry, order) = (REGISTRY.parse().unwrap(), ORDER.parse().unwrap());
    let record = Record {
        store: StoreId::from_bytes([0x5e; 16]),
        registry: &registry,
        order: &order,
        source_entry: source_entry(),
        copy: copy(),
        custodian: SigningKey::from_seed(&[2; 32]).public_key(),
        result,
    };
    record.render().unwrap()
}

fn page(result: &DrillResult) -> String {
    String::from_utf8(render(result).html.to_vec()).unwrap()
}

#[test]
fn the_samples_are_what_this_code_renders() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/reports");
    for (name, passed) in [("passed", true), ("failed", false)] {
        let rendered = render(&sample(passed));
        for (form, bytes) in [("json", &rendered.json), ("html", &rendered.html)] {
            let path = folder.join(format!("{name}.{form}"));
            if std::env::var_os("UPDATE_GENERATED").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, bytes).unwrap();
            }
            assert!(
                std::fs::read(&path).unwrap_or_default() == *bytes,
                "{name}.{form} has drifted: run this test with UPDATE_GENERATED=1"
            );
        }
    }
}

#[test]
fn the_first_words_say_whether_it_passed_how_old_the_copy_was_and_how_long_it_took() {
    let passed = page(&sample(true));
    for words in [
        "<title>Recovery drill of registry population: passed</title>",
        "<strong>PASSED</strong>",
        "The copy was 15 minutes 9 seconds old. The recovery took 12 minutes 3 seconds, and may take 2 hours.",
    ] {
        assert!(passed.contains(words), "{words}");
    }
    assert!(!passed.contains("FAILED"));
    let mut wrong = sample(false);
    wrong.recovery_seconds = None;
    let failed = page(&wrong);
    for words in [
        "population: failed</title>",
        "<strong>FAILED</strong>",
        "The recovery did not come to its end.",
        "must be younger than 26h",
        "<td class=\"failed\">FAILED</td>",
        "5 in all; 1 with an answer that was not as it must be.",
    ] {
        assert!(failed.contains(words), "{words}");
    }
    let mut late = sample(true);
    late.recovery_seconds = Some(7_300.0);
    late.copy.as_mut().unwrap().taken_at = "2026-11-28T04:00:00Z".parse().unwrap();
    let told = page(&late);
    assert!(told.contains("The recovery took 2 hours 1 minute, longer than the 2 hours that it may take."));
    assert!(told.contains("gave every answer as it must. How old the copy was cannot be told"));
    // The same as an assertion: a copy that is good, and a recovery that is not.
    late.verdict = Verdict::Failed;
    late.assertions[3].passed = false;
    assert!(page(&late).contains("gave every answer as it must, but the recovery took too long."));
}

#[test]
fn an_auditor_finds_copy_questions_steps_what_was_left_out_tools_and_signer() {
    let page = page(&sample(true));
    let digest = source_entry().digest.to_string();
    let key = SigningKey::from_seed(&[2; 32]).public_key().to_string();
    let blob = key.split_whitespace().nth(1).unwrap();
    for words in [
        "1,412",
        digest.as_str(),
        "2026-11-28 02:45:03 UTC",
        "1.1 GiB (1,288,490,188 bytes)",
        "not older than 26h",
        "2026-11-28T01:12:40Z",
        "Indexes and constraints",
        "201.770",
        "EVENT TRIGGER",
        "the options of a user mapping are secrets of the source",
        "with the value, the bounds or the age that the RegistryDrill names",
        "the database has grown to 5.1 GiB",
        blob,
        "SHA256:",
        "ssh-keygen -Y verify",
        "sha256sum population-nightly-20261128-0300.html",
        "drills/population-nightly",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let headings: Vec<&str> = page
        .match_indices("<h")
        .map(|(place, _)| &page[place + 1..place + 3])
        .filter(|name| name.as_bytes()[1].is_ascii_digit())
        .collect();
    assert_eq!(headings[0], "h1");
    assert!(headings[1..].iter().all(|name| *name == "h2"), "{headings:?}");
    // Each table has its caption, and each of its heads says what it is the head of.
    let (_, body) = page.split_once("</style>").unwrap();
    let count = |what: &str| body.matches(what).count();
    assert_eq!(count("<table>"), count("<caption "));
    assert_eq!(count("<th "), count("scope=\""));
    assert_eq!(count("<table>") + 1, count("tabindex=\"0\""));
}

#[test]
fn the_programs_form_holds_the_result_and_who_signs() {
    let result = sample(true);
    let json = render(&result).json;
    let document: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let keys: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
    for key in [
        "storeId",
        "registry",
        "order",
        "sourceEntry",
        "copyId",
        "custodianKey",
        "result",
    ] {
        assert!(keys.contains(&key), "{key}");
    }
    assert_eq!(
        document["sourceEntry"]["digest"],
        source_entry().digest.to_string()
    );
    let read: DrillResult = serde_json::from_value(document["result"].clone()).unwrap();
    assert_eq!(read, result);
    // Its fields keep their order, so that the same facts give the same bytes.
    let text = String::from_utf8(json.to_vec()).unwrap();
    let places: Vec<usize> = [
        "\"format\"",
        "\"storeId\"",
        "\"order\"",
        "\"result\"",
        "\"verdict\"",
        "\"assertions\"",
    ]
    .iter()
    .map(|key| text.find(key).unwrap())
    .collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(text.ends_with("}\n"));
    assert_eq!(render(&result), render(&result));
}

/// What a copy would say that wants to be a page of its own.
const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)><style>*{}</style>&amp;</bdi></td></table><a href=javascript:x>";
/// What turns the direction of writing, or hides.
const TURNING: &str = "a\u{202e}b\u{2066}c\u{200f}d\u{feff}e\u{7}f\u{1b}[31mg";

fn hostile(text: &str) -> DrillResult {
    let mut result = sample(false);
    let word = || text.to_owned();
    (result.drill, result.message) = (word(), word());
    result.copy.as_mut().unwrap().source_version = word();
    result.schema_digest = Some(word());
    for step in &mut result.steps {
        step.name = word();
    }
    for (place, one) in result.assertions.iter_mut().enumerate() {
        (one.name, one.expected, one.found) = (word(), word(), word());
        one.kind = if place == 0 {
            AssertionKind::Other
        } else {
            one.kind
        };
    }
    for one in &mut result.left_out {
        (one.kind, one.reason) = (word(), word());
    }
    result.notes = vec![word(); 3];
    (result.tools.sidecar, result.tools.pg_restore, result.tools.server) = (word(), word(), word());
    result
}

#[test]
fn a_hostile_copy_cannot_write_into_the_page() {
    let ordinary = page(&sample(false));
    let mut result = hostile(HOSTILE);
    result.bound();
    let attacked = page(&result);
    for element in ["<script", "<img", "<a ", "<style", "</table>", "</bdi>", "</td>"] {
        let found = attacked.matches(element).count();
        // One more note is one more `bdi`, and nothing else is more than it was.
        let more = if element == "</bdi>" {
            result.notes.len() - 1
        } else {
            0
        };
        assert_eq!(found, ordinary.matches(element).count() + more, "{element}");
    }
    assert!(attacked.contains("&lt;script&gt;alert(1)"));
    assert!(!attacked.contains("\"'>"));

    let mut result = hostile(TURNING);
    result.bound();
    let attacked = page(&result);
    assert!(attacked.contains("abcdef[31mg"));
    let hidden = |letter: char| {
        (letter.is_control() && letter != '\n')
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!attacked.contains(hidden));
}

#[test]
fn a_page_runs_loads_and_sends_nothing() {
    for passed in [true, false] {
        let page = page(&sample(passed));
        assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"));
        assert!(page.contains(
            "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'"
        ));
        for forbidden in [
            "<script", "<link", "<img", "<iframe", "<form", "src=", "url(", "@import", "http://", "https://",
            " on",
        ] {
            let inside = |attribute: &str| {
                page.split('<')
                    .any(|tag| tag.split('>').next().unwrap().contains(attribute))
            };
            let found = if forbidden == " on" {
                inside(forbidden)
            } else {
                page.contains(forbidden)
            };
            assert!(!found, "{forbidden}");
        }
        let links: Vec<&str> = page.split("href=\"").skip(1).map(|rest| &rest[..1]).collect();
        assert_eq!(links, ["#"]);
    }
}

#[test]
fn the_largest_result_makes_a_report_within_its_bound() {
    for letters in ["\"", "&", "\u{10ffff}"] {
        let mut result = hostile(&letters.repeat(3_000));
        result.verdict = Verdict::Failed;
        result.found = Found {
            tables: u64::MAX,
            rows: u64::MAX,
            bytes: u64::MAX,
            large_objects: u64::MAX,
            large_object_bytes: u64::MAX,
        };
        result.steps = vec![result.steps[0].clone(); 100];
        result.assertions = vec![result.assertions[0].clone(); 500];
        result.left_out = vec![result.left_out[0].clone(); 500];
        result.notes = vec![result.notes[0].clone(); 500];
        result.bound();
        let rendered = render(&result);
        for bytes in [rendered.json, rendered.html] {
            assert!(bytes.len() as u64 <= MAX_REPORT_BYTES, "{} bytes", bytes.len());
        }
    }
}

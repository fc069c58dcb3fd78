//! The two forms of an activation's report: what they say, and what they never do, whatever is told to them.
//!
//! `UPDATE_GENERATED=1 cargo test -p dataembassy-sidecar --test sidecar activation_reports` writes the samples in `docs/samples/reports` anew.

use std::path::Path;

use dataembassy_contract::activation::{ActivationResult, Outcome, ReportedCopy};
use dataembassy_contract::assertion::Answer;
use dataembassy_ledger::activation::{Mode, State, Unfenced};
use dataembassy_ledger::chain::{Opening, OpeningKind};
use dataembassy_ledger::entry::{EntryRef, MAX_REPORT_BYTES};
use dataembassy_ledger::{CopyId, Sequence, Sha256Digest, SigningKey, StoreId, Term};
use dataembassy_sidecar::custodian::registry::activations::report::{Approved, Record, Rendered};

use crate::bench::REGISTRY;
use crate::bench::activation_report::result;

const ORDER: &str = "home-lost-5d11169e";

fn entry(sequence: u64) -> EntryRef {
    EntryRef {
        sequence: Sequence::new(sequence).unwrap(),
        digest: Sha256Digest::of(&sequence.to_be_bytes()),
    }
}

fn sample(outcome: Outcome) -> ActivationResult {
    let copy = ReportedCopy {
        sequence: 1_412,
        copy_id: CopyId::from_bytes([0xc0; 16]).to_string(),
        taken_at: "2026-11-28T02:45:03.117Z".parse().unwrap(),
    };
    let mut told = result(
        ORDER,
        outcome,
        Some(copy),
        "2026-11-28T02:50:15Z".parse().unwrap(),
    );
    told.fence = (outcome == Outcome::Served).then_some(9);
    told
}

fn render(result: &ActivationResult, mode: Mode) -> Rendered {
    let state = if result.outcome == Outcome::StoodDown {
        State::StoodDown
    } else {
        State::Active
    };
    let statement = Approved {
        digest: Sha256Digest::of(b"what people signed"),
        mode,
        state,
        unfenced: Unfenced::Refused,
        valid_until: "2026-11-28T12:00:00.000Z".parse().unwrap(),
    };
    let opening = Opening {
        term: Term::new(if state == State::Active { 2 } else { 3 }).unwrap(),
        source_head: Some(entry(1_412)),
        signer: SigningKey::from_seed(&[5; 32]).public_key(),
        kind: if state == State::Active {
            OpeningKind::Activation
        } else {
            OpeningKind::Release
        },
        entry: entry(9),
        order: Some(ORDER.parse().unwrap()),
    };
    let (registry, order) = (REGISTRY.parse().unwrap(), result.order.parse().unwrap());
    let record = Record {
        store: StoreId::from_bytes([0x5e; 16]),
        registry: &registry,
        order: &order,
        statement: &statement,
        approved: &["minister-of-interior".to_owned(), "chief-justice".to_owned()],
        source_entry: result.copy.as_ref().map(|_| entry(1_412)),
        opening: (mode == Mode::Activate).then_some(&opening),
        custodian: SigningKey::from_seed(&[2; 32]).public_key(),
        result,
    };
    let rendered = record.render().unwrap();
    assert!(record.is_told_by(&rendered.json));
    assert!(!record.is_told_by(&rendered.html));
    rendered
}

fn page(result: &ActivationResult, mode: Mode) -> String {
    String::from_utf8(render(result, mode).html.to_vec()).unwrap()
}

#[test]
fn the_samples_are_what_this_code_renders() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/reports");
    for (name, outcome, mode) in [
        ("activation-served", Outcome::Served, Mode::Activate),
        ("activation-failed", Outcome::Failed, Mode::Activate),
        ("activation-rehearsed", Outcome::Rehearsed, Mode::Rehearse),
        ("activation-stood-down", Outcome::StoodDown, Mode::Activate),
    ] {
        let rendered = render(&sample(outcome), mode);
        for (form, bytes) in [("json", &rendered.json), ("html", &rendered.html)] {
            let path = folder.join(format!("{name}.{form}"));
            if std::env::var_os("UPDATE_GENERATED").is_some() {
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
fn the_first_words_say_what_came_of_it_how_old_the_copy_was_and_how_long_it_took() {
    let served = page(&sample(Outcome::Served), Mode::Activate);
    for words in [
        "<title>Activation of registry population: served</title>",
        "<strong>SERVED</strong>",
        "The last committed copy was 5 minutes 12 seconds old. The recovery took 2 minutes 30 seconds, from the last approval.",
    ] {
        assert!(served.contains(words), "{words}\n{served}");
    }
    let failed = page(&sample(Outcome::Failed), Mode::Activate);
    for words in [
        "Activation of registry population: failed",
        "<strong>FAILED</strong>",
        "The recovery did not come to its end.",
        "the question citizens was answered with 0",
    ] {
        assert!(failed.contains(words), "{words}");
    }
    let rehearsed = page(&sample(Outcome::Rehearsed), Mode::Rehearse);
    assert!(rehearsed.contains("Rehearsed activation of registry population: passed"));
    assert!(rehearsed.contains("Home was not fenced, nobody was let in"));
    let home = page(&sample(Outcome::StoodDown), Mode::Activate);
    assert!(home.contains("Return home of registry population: released"));
    assert!(!home.contains("Questions and answers"));
}

#[test]
fn an_auditor_finds_who_ordered_it_the_fence_each_step_and_the_objectives() {
    let served = page(&sample(Outcome::Served), Mode::Activate);
    let digest = Sha256Digest::of(b"what people signed").to_string();
    let fence = entry(9).digest.to_string();
    for words in [
        "minister-of-interior",
        "chief-justice",
        digest.as_str(),
        fence.as_str(),
        "which opened term 2",
        "managed postgres:17.12",
        "2026-11-28 02:50:15 UTC",
        "12,480,113",
        "SUBSCRIPTION",
        "ssh-keygen -Y verify",
        "sha256sum home-lost-5d11169e-report.html",
        "on the word of the operator alone",
    ] {
        assert!(served.contains(words), "{words}");
    }
    assert!(!served.contains("MISSED"));
    let mut late = sample(Outcome::Served);
    late.rto_objective_seconds = Some(60);
    assert!(page(&late, Mode::Activate).contains("<td class=\"failed\">MISSED</td>"));
}

#[test]
fn what_others_say_cannot_write_into_the_page_and_the_largest_result_has_room() {
    const HOSTILE: &str =
        "\"'><script>alert(1)</script><img src=x onerror=alert(1)></bdi></td></table>\u{202e}";
    for text in [HOSTILE.to_owned(), "\"".repeat(3_000), "\u{10ffff}".repeat(3_000)] {
        let mut told = sample(Outcome::Failed);
        for field in [
            &mut told.message,
            &mut told.target,
            &mut told.activation,
            &mut told.versions.operator,
            &mut told.versions.sidecar,
            &mut told.versions.server,
            &mut told.left_out[0].kind,
            &mut told.steps[0].name,
        ] {
            field.clone_from(&text);
        }
        let answer = Answer {
            name: text.clone(),
            passed: false,
            expected: text.clone(),
            found: text.clone(),
        };
        told.assertions = vec![answer; 200];
        told.left_out = vec![told.left_out[0].clone(); 200];
        told.bound();
        let rendered = render(&told, Mode::Activate);
        for bytes in [&rendered.json, &rendered.html] {
            assert!(bytes.len() as u64 <= MAX_REPORT_BYTES, "{} bytes", bytes.len());
        }
        let page = String::from_utf8(rendered.html.to_vec()).unwrap();
        for element in ["<script", "<img", "\u{202e}"] {
            assert!(!page.contains(element), "{element}");
        }
    }
}

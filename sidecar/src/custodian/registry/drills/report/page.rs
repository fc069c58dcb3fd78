//! The report for people: one page that needs nothing else, no script and no network. A minister reads its first sentence, an auditor the
//! rest.
//!
//! Names, values and messages come from a copy that may be hostile. The template escapes them all; each stands in an element of its own
//! (`bdi`), so that letters that run the other way cannot rearrange what stands beside them.

use std::collections::BTreeSet;

use dataembassy_contract::drill::{AssertionKind, AssertionResult, DrillResult, Verdict};
use maud::{Markup, html};

use super::{Record, words as special};
use crate::custodian::registry::documents::page::{Signed, facts, page, said, table, time};
use crate::custodian::registry::documents::words;

/// The page.
pub(super) fn render(record: &Record<'_>) -> String {
    let title = format!(
        "Recovery drill of registry {}: {}",
        record.registry,
        verdict(record.result)
    );
    let heading = html! { "Recovery drill of registry " (record.registry) };
    let body = html! {
        (in_short(record))
        (the_copy(record))
        (the_drill(record))
        (questions(record.result))
        (steps(record.result))
        (comparison(record.result))
        (left_out(record.result))
        (tools(record.result))
        (signer(record))
    };
    page(&title, &heading, &body)
}

fn verdict(result: &DrillResult) -> &'static str {
    if result.verdict == Verdict::Passed {
        "passed"
    } else {
        "failed"
    }
}

/// One sentence for whoever reads no further, and the drill's own words.
fn in_short(record: &Record<'_>) -> Markup {
    let result = record.result;
    html! {
        div class={ "verdict " (verdict(result)) } {
            strong { @if result.verdict == Verdict::Passed { "PASSED" } @else { "FAILED" } }
            "A copy of the registry " (record.registry) (came_to(result)) " "
            (age(result)) " " (recovery(result))
        }
        @if !result.message.is_empty() { p { "In the drill's own words: " (said(&result.message)) } }
    }
}

/// What became of the copy, for the sentence that has begun with it.
fn came_to(result: &DrillResult) -> &'static str {
    let is_late = |one: &AssertionResult| one.kind == AssertionKind::RecoveryTime;
    let mut wrong = result.assertions.iter().filter(|one| !one.passed).peekable();
    if result.verdict == Verdict::Passed {
        " was restored from the data embassy, and the restored database gave every answer as it must."
    } else if result.recovery_seconds.is_none() {
        " was taken from the data embassy to be restored, and it could not be restored."
    } else if wrong.peek().is_some() && wrong.all(is_late) {
        " was restored from the data embassy, and the restored database gave every answer as it must, but the recovery took too long."
    } else {
        " was restored from the data embassy, but the restored database did not give every answer as it must."
    }
}

fn age(result: &DrillResult) -> String {
    let Some(copy) = &result.copy else {
        return String::new();
    };
    let age = result.started_at.duration_since(copy.taken_at).as_secs_f64();
    if age < 0.0 {
        "How old the copy was cannot be told: the clocks of home and embassy differ.".to_owned()
    } else {
        format!("The copy was {} old.", words::length(age))
    }
}

fn recovery(result: &DrillResult) -> String {
    let budget = result.rto_seconds.map(|seconds| {
        #[expect(
            clippy::cast_precision_loss,
            reason = "nobody plans a recovery of 2^53 seconds"
        )]
        let seconds = seconds as f64;
        seconds
    });
    match (result.recovery_seconds, budget) {
        (None, _) => "The recovery did not come to its end.".to_owned(),
        (Some(took), None) => {
            format!(
                "The recovery took {}; nobody has said how long it may take.",
                words::length(took)
            )
        }
        (Some(took), Some(budget)) if took <= budget => {
            format!(
                "The recovery took {}, and may take {}.",
                words::length(took),
                words::length(budget)
            )
        }
        (Some(took), Some(budget)) => {
            format!(
                "The recovery took {}, longer than the {} that it may take.",
                words::length(took),
                words::length(budget)
            )
        }
    }
}

fn the_copy(record: &Record<'_>) -> Markup {
    let Some(copy) = &record.result.copy else {
        return html! {};
    };
    let rows = [
        ("Registry", html! { (record.registry) }),
        (
            "Number in the ledger",
            html! { (words::number(record.source_entry.sequence.get())) },
        ),
        (
            "SHA-256 of its entry",
            html! { code { (record.source_entry.digest) } },
        ),
        ("Copy id", html! { code { (record.copy) } }),
        (
            "Taken",
            html! { (time(copy.taken_at)) ", by the clock of the registry's server" },
        ),
        ("Sealed size", html! { (words::size(copy.sealed_bytes)) }),
        (
            "Server it was taken from",
            html! { "PostgreSQL " (said(&copy.source_version)) },
        ),
    ];
    html! {
        h2 { "The copy" }
        p { "The custodian has found this copy in the ledger of the registry. But for the server's version, which the drill has told, this is what the signed entry says." }
        (facts("copy", "The copy that was drilled", &rows))
    }
}

fn the_drill(record: &Record<'_>) -> Markup {
    let result = record.result;
    let found = &result.found;
    let rows = [
        ("Order", html! { code { (record.order) } }),
        ("RegistryDrill", said(&result.drill)),
        ("Picked", html! { (special::pick(result.pick)) }),
        ("Began", time(result.started_at)),
        ("Ended", time(result.ended_at)),
        ("Recovery", html! { (recovery(result)) }),
        ("Outcome", html! { (verdict(result)) " (" (result.reason) ")" }),
        ("Tables restored", html! { (words::number(found.tables)) }),
        (
            "Rows restored",
            html! { (words::number(found.rows)) ", " (words::size(found.bytes)) " as text" },
        ),
        (
            "Large objects restored",
            html! { (words::number(found.large_objects)) ", " (words::size(found.large_object_bytes)) },
        ),
    ];
    html! {
        h2 { "The drill" }
        p { "A drill opens a copy with its key, and restores it into a database that is made for it alone and destroyed after it. Times are by the clock of the drill." }
        (facts("drill", "The drill, and what it restored", &rows))
        @if !result.notes.is_empty() {
            p { "The drill notes:" }
            ul { @for note in &result.notes { li { (said(note)) } } }
        }
    }
}

fn questions(result: &DrillResult) -> Markup {
    let failed = result.assertions.iter().filter(|one| !one.passed).count();
    let head = html! {
        th scope="col" { "Question" } th scope="col" { "About" } th scope="col" { "Must be" } th scope="col" { "Was" } th scope="col" { "Outcome" }
    };
    let body = html! {
        @for one in &result.assertions {
            tr {
                th scope="row" { (said(&one.name)) }
                td { (special::question(one.kind)) }
                td { (said(&one.expected)) }
                td { (said(&one.found)) }
                @if one.passed { td class="passed" { "passed" } } @else { td class="failed" { "FAILED" } }
            }
        }
    };
    html! {
        h2 { "Questions and answers" }
        @if result.assertions.is_empty() {
            p { "The drill ended before a question was asked." }
        } @else {
            p { (result.assertions.len()) " in all; " (failed) " with an answer that was not as it must be." }
            (table("questions", "Each question, with its answer", &head, &body))
        }
    }
}

fn steps(result: &DrillResult) -> Markup {
    let head = html! { th scope="col" { "Step" } th scope="col" class="number" { "Took" } th scope="col" class="number" { "Seconds" } };
    let body = html! {
        @for step in &result.steps {
            tr {
                th scope="row" { (said(&step.name)) }
                td class="number" { (words::length(step.seconds)) }
                td class="number" { (format!("{:.3}", step.seconds)) }
            }
        }
    };
    html! {
        h2 { "Time of each step" }
        @if result.steps.is_empty() {
            p { "The drill ended before its first step was done." }
        } @else {
            (table("steps", "Steps, in the order in which they were done", &head, &body))
        }
    }
}

fn comparison(result: &DrillResult) -> Markup {
    let kinds: Vec<AssertionKind> = result.assertions.iter().map(|one| one.kind).collect();
    let mut told = BTreeSet::new();
    let compared: Vec<&str> = kinds
        .into_iter()
        .filter_map(special::compared)
        .filter(|text| told.insert(*text))
        .collect();
    html! {
        h2 { "What was compared with what" }
        ul {
            li { "Every object of the copy, as it was read: with the size and the SHA-256 that the signed ledger and the manifest name for it." }
            @for text in compared { li { (text) } }
        }
        @if let Some(digest) = &result.schema_digest {
            p { "SHA-256 of the definitions in this copy, to name in a RegistryDrill: " code { (said(digest)) } }
        }
    }
}

fn left_out(result: &DrillResult) -> Markup {
    let head = html! {
        th scope="col" { "What" } th scope="col" class="number" { "How many" } th scope="col" { "In the copy" } th scope="col" { "Why it is not there" }
    };
    let body = html! {
        @for one in &result.left_out {
            tr {
                th scope="row" { (said(&one.kind)) }
                td class="number" { (words::number(one.count)) }
                td { @if one.not_in_copy { "no" } @else { "yes" } }
                td { (said(&one.reason)) }
            }
        }
    };
    html! {
        h2 { "What was not restored" }
        @if result.left_out.is_empty() {
            p { "The drill names nothing that it left out." }
        } @else {
            p { "A drill does not trust a copy: what could act by itself is left out, and listed here. A recovery that trusts the source can restore what is in the copy." }
            (table("left-out", "What is not in the restored database, by kind", &head, &body))
        }
    }
}

fn tools(result: &DrillResult) -> Markup {
    let rows = [
        ("Sidecar", said(&result.tools.sidecar)),
        ("pg_restore", said(&result.tools.pg_restore)),
        ("Server that was restored into", said(&result.tools.server)),
    ];
    html! {
        h2 { "Tools" }
        (facts("tools", "Programs and their versions, as the drill tells them", &rows))
    }
}

fn signer(record: &Record<'_>) -> Markup {
    let signed = Signed {
        store: record.store,
        registry: record.registry,
        order: record.order,
        custodian: record.custodian,
        kind: "drill",
        of: "drill",
    };
    signed.told()
}

//! The report for people: one page that needs nothing else, no script and no network. A minister reads its first sentence, an auditor the
//! rest.
//!
//! Names, values and messages come from a copy that may be hostile. The template escapes them all; each stands in an element of its own
//! (`bdi`), so that letters that run the other way cannot rearrange what stands beside them.

use std::collections::BTreeSet;

use dataembassy_contract::drill::{AssertionKind, AssertionResult, DrillResult, Verdict};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Record, words};

/// Nothing on the page is ours but this and the template.
const STYLE: &str = include_str!("page.css");
/// The page may load nothing, run nothing and send nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The page.
pub(super) fn render(record: &Record<'_>) -> String {
    let title = format!(
        "Recovery drill of registry {}: {}",
        record.registry,
        verdict(record.result)
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#report" { "Skip to the report" }
                header { h1 { "Recovery drill of registry " (record.registry) } }
                main id="report" tabindex="-1" {
                    (in_short(record))
                    (the_copy(record))
                    (the_drill(record))
                    (questions(record.result))
                    (steps(record.result))
                    (comparison(record.result))
                    (left_out(record.result))
                    (tools(record.result))
                    (signer(record))
                }
                footer { p { "This page is complete in itself: it loads nothing, runs nothing, and tells nobody that it was opened." } }
            }
        }
    };
    let mut page = page.into_string();
    page.push('\n');
    page
}

fn verdict(result: &DrillResult) -> &'static str {
    if result.verdict == Verdict::Passed {
        "passed"
    } else {
        "failed"
    }
}

/// What stands on the copy's word or the drill's.
fn said(text: &str) -> Markup {
    html! { bdi { @if text.is_empty() { "–" } @else { (text) } } }
}

fn time(moment: jiff::Timestamp) -> Markup {
    html! { time datetime=(moment) { (words::moment(moment)) } }
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

/// A table that scrolls in a place of its own where it is too wide, also for those who use no mouse.
fn table(id: &str, caption: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        div class="wide" role="region" aria-labelledby=(id) tabindex="0" {
            table {
                caption id=(id) { (caption) }
                @if !head.0.is_empty() { thead { tr { (head) } } }
                tbody { (body) }
            }
        }
    }
}

/// Names and what stands for them.
fn facts(id: &str, caption: &str, rows: &[(&str, Markup)]) -> Markup {
    let body = html! { @for (name, value) in rows { tr { th scope="row" { (name) } td { (value) } } } };
    table(id, caption, &html! {}, &body)
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
        ("Picked", html! { (words::pick(result.pick)) }),
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
                td { (words::question(one.kind)) }
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
        .filter_map(words::compared)
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
    let rows = [
        ("Custodian's public key", html! { code { (record.custodian) } }),
        ("Its fingerprint", html! { code { (record.fingerprint()) } }),
        ("Store id", html! { code { (record.store) } }),
        (
            "Ledger",
            html! { code { "registries/" (record.registry) "/custody/" } },
        ),
        (
            "This report",
            html! { code { "registries/" (record.registry) "/reports/" (record.order) ".html" } " and " code { ".json" } },
        ),
    ];
    let check = format!(
        "sha256sum {order}.html {order}.json          # the two digests that the entry names under \"reports\"\n\
         head -n 1 ENTRY > line; tail -n +2 ENTRY > line.sig\n\
         grep -c '\"order\":\"{order}\"' line          # it is the entry of this drill\n\
         echo 'custodian {key}' > signers\n\
         ssh-keygen -Y verify -f signers -I custodian -n dataembassy-custody-v1 -s line.sig < line",
        order = record.order,
        key = record.custodian
    );
    html! {
        h2 { "Who signs" }
        p { "This page is not signed itself. The custodian of the embassy has signed an entry of kind " code { "drill" } " in the custody chain of the registry, which names this order, and the SHA-256 of this page and of its form for programs. A page that no such entry names is worth nothing, whatever it says." }
        (facts("signer", "The signer, and where its entry is", &rows))
        p { "Compare the key with the one on the trust sheet of the embassy, not with this page. Then, with the two files, and the entry as " code { "ENTRY" } ":" }
        div class="wide" role="region" aria-label="Commands to check this report" tabindex="0" { pre { code { (check) } } }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::STYLE;

    /// The colours of one block of the style, by name.
    fn colours(block: &str) -> BTreeMap<String, [f64; 3]> {
        let mut found = BTreeMap::new();
        for piece in block.split(';') {
            let Some((name, value)) = piece
                .trim()
                .strip_prefix("--")
                .and_then(|rest| rest.split_once(": #"))
            else {
                continue;
            };
            let digits = |place: usize| u8::from_str_radix(&value[place..place + 2], 16).unwrap();
            found.insert(
                name.to_owned(),
                [digits(0), digits(2), digits(4)].map(|one| f64::from(one) / 255.0),
            );
        }
        found
    }

    /// Of WCAG 2.
    fn luminance(colour: [f64; 3]) -> f64 {
        let [red, green, blue] = colour.map(|part| {
            if part <= 0.04045 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126f64.mul_add(red, 0.7152f64.mul_add(green, 0.0722 * blue))
    }

    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        (one / other).max(other / one)
    }

    #[test]
    fn letters_and_lines_stand_out_in_light_in_dark_and_on_paper() {
        let blocks: Vec<_> = STYLE
            .split(":root {")
            .skip(1)
            .map(|block| colours(block.split('}').next().unwrap()))
            .collect();
        assert_eq!(blocks.len(), 3);
        for block in &blocks {
            for (letters, paper, least) in [
                ("ink", "paper", 7.0),
                ("ink", "shade", 7.0),
                ("quiet", "paper", 4.5),
                ("link", "paper", 4.5),
                ("passed", "passed-paper", 4.5),
                ("failed", "failed-paper", 4.5),
                ("line", "paper", 3.0),
            ] {
                let found = contrast(block[letters], block[paper]);
                assert!(found >= least, "{letters} on {paper}: {found:.2}");
            }
        }
    }
}

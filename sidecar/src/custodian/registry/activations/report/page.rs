//! The report for people: one page that needs nothing else, no script and no network. A minister reads its first sentence, an auditor the
//! rest.

use dataembassy_contract::activation::{ActivationResult, Outcome};
use dataembassy_ledger::activation::{Mode, State, Unfenced};
use dataembassy_ledger::chain::OpeningKind;
use maud::{Markup, html};

use super::Record;
use crate::custodian::registry::documents::page::{Signed, facts, page, said, table, time};
use crate::custodian::registry::documents::words;

/// The page.
pub(super) fn render(record: &Record<'_>) -> String {
    let what = what(record);
    let title = format!(
        "{what} of registry {}: {}",
        record.registry,
        verdict(record.result)
    );
    let heading = html! { (what) " of registry " (record.registry) };
    let is_active = record.statement.state == State::Active;
    let body = html! {
        (in_short(record))
        (the_copy(record))
        (the_order(record))
        (steps(record.result))
        @if is_active {
            (objectives(record.result))
            (questions(record.result))
            (left_out(record))
        }
        (what_is_known(record))
        (versions(record.result))
        (signer(record))
    };
    page(&title, &heading, &body)
}

const fn what(record: &Record<'_>) -> &'static str {
    match (record.statement.mode, record.statement.state) {
        (Mode::Rehearse, _) => "Rehearsed activation",
        (Mode::Activate, State::Active) => "Activation",
        (Mode::Activate, State::StoodDown) => "Return home",
    }
}

const fn verdict(result: &ActivationResult) -> &'static str {
    match result.outcome {
        Outcome::Served => "served",
        Outcome::Rehearsed => "passed",
        Outcome::StoodDown => "released",
        Outcome::Failed => "failed",
    }
}

/// One sentence for whoever reads no further, and the operator's own words.
fn in_short(record: &Record<'_>) -> Markup {
    let result = record.result;
    let class = if result.outcome == Outcome::Failed {
        "failed"
    } else {
        "passed"
    };
    html! {
        div class={ "verdict " (class) } {
            strong { (verdict(result).to_uppercase()) }
            "The registry " (record.registry) " " (came_to(result.outcome)) " " (age(result)) " " (recovery(result))
        }
        @if !result.message.is_empty() { p { "In the operator's own words: " (said(&result.message)) } }
    }
}

const fn came_to(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Served => {
            "is served from the data embassy: home was fenced, a copy was restored, every question answered, and applications were let in."
        }
        Outcome::Rehearsed => {
            "could have been served from the data embassy: a copy was restored and every question answered. Home was not fenced, nobody was let in, and what was made was removed."
        }
        Outcome::StoodDown => {
            "was released from the data embassy to its home, which restores the last copy that the embassy wrote."
        }
        Outcome::Failed => "could not be brought up at the data embassy.",
    }
}

fn age(result: &ActivationResult) -> String {
    match result.rpo_seconds {
        None => String::new(),
        Some(age) => format!("The last committed copy was {} old.", words::length(seconds(age))),
    }
}

fn recovery(result: &ActivationResult) -> String {
    let took = result.rto_seconds.map(|took| words::length(seconds(took)));
    match (result.outcome, took) {
        (Outcome::StoodDown, _) => String::new(),
        (_, None) => "The recovery did not come to its end.".to_owned(),
        (_, Some(took)) => format!("The recovery took {took}, from the last approval."),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody counts a recovery in 2^53 seconds"
)]
const fn seconds(whole: u64) -> f64 {
    whole as f64
}

fn the_copy(record: &Record<'_>) -> Markup {
    let (Some(copy), Some(entry)) = (&record.result.copy, record.source_entry) else {
        return html! { h2 { "The copy" } p { "No copy was chosen." } };
    };
    let rows = [
        ("Registry", html! { (record.registry) }),
        (
            "Number in the ledger",
            html! { (words::number(entry.sequence.get())) },
        ),
        ("SHA-256 of its entry", html! { code { (entry.digest) } }),
        ("Copy id", html! { code { (copy.copy_id) } }),
        (
            "Taken",
            html! { (time(copy.taken_at)) ", by the clock of the registry's server" },
        ),
    ];
    let caption = match record.result.outcome {
        Outcome::StoodDown => "The last copy that the embassy wrote",
        _ => "The copy that was restored",
    };
    html! {
        h2 { "The copy" }
        p { "The custodian has found this copy in the ledger of the registry: this is what the signed entry says." }
        (facts("copy", caption, &rows))
    }
}

fn the_order(record: &Record<'_>) -> Markup {
    let (result, statement) = (record.result, record.statement);
    let mode = match statement.mode {
        Mode::Rehearse => "a rehearsal",
        Mode::Activate => "meant",
    };
    let unfenced = match statement.unfenced {
        Unfenced::Refused => "no",
        Unfenced::Accepted => "yes, it was accepted",
    };
    let mut rows = vec![
        ("Order", html! { code { (said(&result.about)) } }),
        ("EmbassyActivation", said(&result.activation)),
        ("It was", html! { (mode) }),
        ("SHA-256 of the statement", html! { code { (statement.digest) } }),
        (
            "Approved by",
            html! { @for (place, name) in record.approved.iter().enumerate() { @if place > 0 { ", " } (said(name)) } },
        ),
        ("Enough had approved", time(result.approved_at)),
        ("Valid until", time(statement.valid_until.as_jiff())),
        ("Might go on without a fence", html! { (unfenced) }),
    ];
    if let Some(opening) = record.opening {
        let (name, did) = match opening.kind {
            OpeningKind::Activation => ("Home was fenced", "by custody entry "),
            OpeningKind::Release => ("It was released", "by custody entry "),
        };
        rows.push((
            name,
            html! {
                (did) (words::number(opening.entry.sequence.get())) ", SHA-256 " code { (opening.entry.digest) }
                @if let Some(order) = &opening.order { ", order " code { (order) } }
                ", which opened term " (opening.term)
            },
        ));
    }
    rows.extend([
        ("Restored into", said(&result.target)),
        ("Restores", html! { (words::number(result.attempts)) }),
        ("Outcome", html! { (verdict(result)) " (" (result.reason) ")" }),
        ("Ended", time(result.ended_at)),
    ]);
    if let Some(restored) = &result.restored {
        rows.extend([
            ("Tables restored", html! { (words::number(restored.tables)) }),
            (
                "Rows restored",
                html! { (words::number(restored.rows)) ", " (words::size(restored.bytes)) " as text" },
            ),
            (
                "Large objects restored",
                html! { (words::number(restored.large_objects)) },
            ),
            (
                "The restore alone took",
                html! { (words::length(seconds(restored.seconds))) },
            ),
        ]);
    }
    html! {
        h2 { "The order, and what was done" }
        p { "People ordered it by signatures over a statement. The custodian has judged each signature by the approvers that the embassy names. Times are by the clock of the operator, in whole seconds." }
        (facts("order", "The order, who approved it, and what was done", &rows))
    }
}

fn steps(result: &ActivationResult) -> Markup {
    let head = html! {
        th scope="col" { "Step" } th scope="col" { "Began" } th scope="col" { "Ended" } th scope="col" class="number" { "Seconds" }
    };
    let body = html! {
        @for step in &result.steps {
            tr {
                th scope="row" { (said(&step.name)) }
                td { (time(step.started_at)) }
                @match step.ended_at {
                    Some(ended) => {
                        td { (time(ended)) }
                        td class="number" { (ended.duration_since(step.started_at).as_secs()) }
                    }
                    None => { td { "it did not end" } td class="number" { "–" } }
                }
            }
        }
    };
    html! {
        h2 { "Time of each step" }
        @if result.steps.is_empty() {
            p { "It ended before its first step was begun." }
        } @else {
            (table("steps", "Steps, in the order in which they began", &head, &body))
        }
    }
}

fn objectives(result: &ActivationResult) -> Markup {
    let row = |name: &str, took: Option<u64>, limit: Option<u64>| {
        html! {
            tr {
                th scope="row" { (name) }
                td { @match took { Some(took) => (words::length(seconds(took))), None => "unknown" } }
                td { @match limit { Some(limit) => (words::length(seconds(limit))), None => "nobody has said" } }
                @match took.zip(limit) {
                    Some((took, limit)) if took <= limit => td class="passed" { "met" },
                    Some(_) => td class="failed" { "MISSED" },
                    None => td { "–" },
                }
            }
        }
    };
    let head = html! {
        th scope="col" { "Objective" } th scope="col" { "Was" } th scope="col" { "May be" } th scope="col" { "Outcome" }
    };
    let body = html! {
        (row("Recovery point: age of the last committed copy", result.rpo_seconds, result.rpo_objective_seconds))
        (row("Recovery time: from the last approval", result.rto_seconds, result.rto_objective_seconds))
    };
    html! {
        h2 { "Objectives" }
        (table("objectives", "What was reached, and what the RegistryCustody allows", &head, &body))
    }
}

fn questions(result: &ActivationResult) -> Markup {
    let head = html! {
        th scope="col" { "Question" } th scope="col" { "Must be" } th scope="col" { "Was" } th scope="col" { "Outcome" }
    };
    let failed = result.assertions.iter().filter(|one| !one.passed).count();
    let body = html! {
        @for one in &result.assertions {
            tr {
                th scope="row" { (said(&one.name)) }
                td { (said(&one.expected)) }
                td { (said(&one.found)) }
                @if one.passed { td class="passed" { "passed" } } @else { td class="failed" { "FAILED" } }
            }
        }
    };
    html! {
        h2 { "Questions and answers" }
        @if result.assertions.is_empty() {
            p { "No answer to a question is known: none was asked, or it ended before." }
        } @else {
            p { (result.assertions.len()) " in all; " (failed) " with an answer that was not as it must be." }
            (table("questions", "Each question, with its answer", &head, &body))
        }
    }
}

fn left_out(record: &Record<'_>) -> Markup {
    let result = record.result;
    let head = html! { th scope="col" { "What" } th scope="col" class="number" { "How many" } };
    let body = html! {
        @for one in &result.left_out {
            tr { th scope="row" { (said(&one.kind)) } td class="number" { (words::number(one.count)) } }
        }
    };
    html! {
        h2 { "What was not restored" }
        @if result.restored.is_none() {
            p { "Nothing is known to have been restored." }
        } @else if result.left_out.is_empty() {
            p { "The restore names nothing in the copy that it left out." }
        } @else {
            (table("left-out", "What the copy holds and the database does not, by kind", &head, &body))
        }
    }
}

fn what_is_known(record: &Record<'_>) -> Markup {
    let is_rehearsal = record.statement.mode == Mode::Rehearse;
    html! {
        h2 { "What this rests on" }
        ul {
            li { "The copy, its age, who approved, and the entry that fenced home or gave the registry back: on the signed ledger and on signatures, which the custodian has judged itself." }
            @if is_rehearsal {
                li { "That nothing was fenced: the custodian found no entry of this order in the ledger but this report." }
            }
            li { "Tables, rows, digests, constraints and answers: on the restore, which has compared them with the inventory that was sealed together with the copy at home, and which pg_restore made. The operator has told of it." }
            li { "That applications could reach the database, and the times of the steps: on the word of the operator alone." }
        }
    }
}

fn versions(result: &ActivationResult) -> Markup {
    let versions = &result.versions;
    let rows = [
        ("Operator", said(&versions.operator)),
        ("Image that restored", said(&versions.sidecar)),
        ("Image of the server", said(&versions.server)),
    ];
    html! {
        h2 { "Versions" }
        (facts("versions", "Programs, as the operator tells them", &rows))
    }
}

fn signer(record: &Record<'_>) -> Markup {
    let signed = Signed {
        store: record.store,
        registry: record.registry,
        order: record.order,
        custodian: record.custodian,
        kind: "report",
        of: "report",
    };
    signed.told()
}

//! What came of a restore, as its last words say it.

use std::sync::atomic::Ordering::Relaxed;

use dataembassy_contract::{
    Reason,
    assertion::Answer,
    restore::{ChosenCopy, Ending, RestoreReport, RestoreResult},
};

use super::{Failure, board::Board, words};
use crate::restore::outcome::Outcome;

/// A copy that is in its database whole: whatever comes of the questions changes nothing of that.
pub(super) struct Whole {
    pub(super) outcome: Outcome,
    pub(super) answers: Vec<Answer>,
    copy: Option<ChosenCopy>,
    seconds: f64,
    questions: usize,
    rehearses: bool,
}

impl Whole {
    /// A copy that was restored in so many seconds, and will be asked so many questions.
    pub(super) fn new(outcome: Outcome, copy: Option<ChosenCopy>, seconds: f64, questions: usize) -> Self {
        Self {
            outcome,
            answers: Vec::new(),
            copy,
            seconds,
            questions,
            rehearses: false,
        }
    }

    /// Whether it is tried only: then the database stays marked until it is emptied.
    pub(super) const fn of_a_rehearsal(mut self, rehearses: bool) -> Self {
        self.rehearses = rehearses;
        self
    }

    /// The result.
    pub(super) fn result(self) -> RestoreResult {
        tell(&self.outcome);
        let (ending, reason, message) = self.judgement();
        if ending == Ending::Restored {
            tracing::info!(what = message, "the restore has ended");
        } else {
            tracing::error!(%reason, why = message, "the restore has ended");
        }
        let outcome = self.outcome;
        RestoreResult {
            ending,
            reason,
            message,
            copy: self.copy,
            tables: u64::try_from(outcome.tables.len()).unwrap_or(u64::MAX),
            rows: outcome.rows,
            bytes: outcome.bytes,
            large_objects: outcome.large_objects.objects,
            seconds: self.seconds,
            left_out: words::by_kind(&outcome.not_restored),
            assertions: self.answers,
        }
    }

    /// What the answers come to.
    fn judgement(&self) -> (Ending, Reason, String) {
        let outcome = &self.outcome;
        let (answered, all) = (self.answers.len(), self.questions);
        let wrong: Vec<&Answer> = self.answers.iter().filter(|answer| !answer.passed).collect();
        let marked = if self.rehearses {
            "until the rehearsal ends"
        } else {
            "and is not marked as unusable"
        };
        let held = format!("{} holds the copy whole {marked}", outcome.target.database);
        let unasked = match all.saturating_sub(answered) {
            0 => String::new(),
            rest => format!(", and {rest} were not asked, because it was told to end"),
        };
        if !wrong.is_empty() {
            let said = wrong
                .iter()
                .map(|one| format!("{}: {}, not {}", one.name, one.found, one.expected));
            let said = said.collect::<Vec<_>>().join("; ");
            // First what to do: answers may be long, and are cut at their end.
            let message = format!(
                "{held}, but gave a wrong answer: find out whether the copy or the question is wrong before anybody works with it. \
                 {} of {all} answers are not as they must be{unasked}: {said}",
                wrong.len()
            );
            return (Ending::Unconfirmed, Reason::AnswerWrong, message);
        }
        if answered < all {
            let message = format!(
                "{held}, but it was told to end when {answered} of {all} questions were answered: ask the others by hand, or make \
                 another restore with ifNotEmpty: Replace and a longer deadline"
            );
            return (Ending::Unconfirmed, Reason::Interrupted, message);
        }
        let asked = match all {
            0 => String::new(),
            all => format!(", and all {all} answers are as they must be"),
        };
        let sorting = match &outcome.sorted_otherwise {
            Some(words) => format!("; {words}"),
            None => String::new(),
        };
        let message = format!(
            "{} tables, {} rows and {} large objects are in {}; all counts and digests are equal{asked}{sorting}",
            outcome.tables.len(),
            outcome.rows,
            outcome.large_objects.objects,
            outcome.target.database
        );
        (Ending::Restored, Reason::Restored, message)
    }
}

/// The log names each thing that the result only counts.
fn tell(outcome: &Outcome) {
    for left in &outcome.not_restored {
        tracing::info!(
            kind = left.kind,
            name = left.name,
            reason = left.reason,
            "not restored"
        );
    }
    for left in &outcome.not_carried {
        tracing::info!(
            kind = left.kind,
            name = left.name,
            reason = left.reason,
            "not in the copy"
        );
    }
    for note in &outcome.notes {
        tracing::info!(note, "to be known");
    }
}

/// The result of a restore that ended before the copy was there.
pub(super) fn failed(failure: &Failure, board: &Board<RestoreReport>, seconds: f64) -> RestoreResult {
    let counters = &board.progress().counters;
    let said = words::of_the_resource(&failure.message);
    let (ending, message) = if failure.is_clean_up {
        let message = format!("something of the rehearsal may still be in the database: {said}");
        (Ending::Unfinished, message)
    } else if board.progress().has_written() {
        // First what to do: what a program said may be long, and is cut at its end.
        let marked = if failure.is_unmarked {
            "the database could not be marked, and nothing else was written"
        } else {
            "the database is marked as not usable: make another restore with ifNotEmpty: Replace"
        };
        (Ending::Unfinished, format!("{marked}. {said}"))
    } else if said.starts_with(words::NOTHING) {
        (Ending::NothingWritten, said)
    } else {
        (Ending::NothingWritten, format!("{}: {said}", words::NOTHING))
    };
    tracing::error!(reason = %failure.reason, why = message, "the restore failed");
    RestoreResult {
        ending,
        reason: failure.reason,
        message,
        copy: board.look(|report| report.copy.clone()),
        tables: 0,
        rows: counters.rows.load(Relaxed),
        bytes: counters.bytes.load(Relaxed),
        large_objects: 0,
        seconds,
        left_out: Vec::new(),
        assertions: Vec::new(),
    }
}

/// The result of a clean-up.
pub(super) fn cleaned_up(message: String, seconds: f64) -> RestoreResult {
    tracing::info!(what = message, "the clean-up has ended");
    RestoreResult {
        ending: Ending::Restored,
        reason: Reason::CleanedUp,
        message,
        copy: None,
        tables: 0,
        rows: 0,
        bytes: 0,
        large_objects: 0,
        seconds,
        left_out: Vec::new(),
        assertions: Vec::new(),
    }
}

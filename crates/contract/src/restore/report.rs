//! What the Job of a restore says while it works, at `GET /status`, and what it leaves when it has ended, as its container's termination
//! message. Both are claims of a pod in somebody's namespace: bounded here, and cleaned before they reach a resource.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::assertion::{Answer, MAX_ASSERTIONS};
use crate::reason::Reason;
use crate::report::{Fault, MAX_BYTES, MAX_TEXT, MissingSecret, clean, clean_missing};

/// The most characters of the message of a restore that ended: room for a list of what a target lacks.
pub const MAX_MESSAGE: usize = 2_000;
/// The most bytes of a result. The kubelet keeps 4,096 of a termination message, and half a document is none.
pub const MAX_RESULT_BYTES: usize = 4_096;
/// The most characters of a kind: it comes from the copy, and may be anything.
const MAX_KIND: usize = 64;
/// The most kinds of things that are told to be left out.
const MAX_LEFT_OUT: usize = 16;
/// What a value is not cut below before something else is given up, in characters.
const SHORT_VALUE: usize = 32;
/// What a message is not cut below before something else is given up, in characters.
const SHORT_MESSAGE: usize = 256;

/// How far a restore is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreReport {
    /// The version of the sidecar.
    pub version: String,
    /// Secrets that are not there yet, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_secrets: Vec<MissingSecret>,
    /// What it waits for before anything is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<Fault>,
    /// The copy, once it was chosen: it is not chosen again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<ChosenCopy>,
    /// How far it is.
    pub progress: RestoreProgress,
}

/// The copy that is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChosenCopy {
    /// The number of its entry in the source chain.
    pub sequence: u64,
    /// Its id, 32 hex digits.
    pub copy_id: String,
    /// The moment of its snapshot.
    pub taken_at: Timestamp,
}

/// How far a restore is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreProgress {
    /// What is being done.
    pub phase: RestorePhase,
    /// Bytes of rows and large objects that were loaded.
    pub bytes: u64,
    /// Rows that were loaded.
    pub rows: u64,
    /// The loaded share of the copy's bytes, 0.0 to 1.0; absent before the inventory was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Bytes per second, on average.
    pub rate: u64,
    /// Seconds left at this rate; absent while nothing can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
}

/// The steps of a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestorePhase {
    /// Secrets, store or target are not there yet.
    #[default]
    Waiting,
    /// The ledger, the copy and the target are looked at.
    Checking,
    /// What rows live in is made.
    Definitions,
    /// Rows and large objects are loaded.
    Rows,
    /// What was loaded is compared with the copy.
    Comparing,
    /// Indexes, constraints, triggers and views are made.
    Constraints,
    /// Statistics are gathered.
    Analysing,
    /// The restored database is asked.
    Questioning,
    /// Everything is done.
    Done,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

impl RestorePhase {
    /// Whether whoever is in it has begun to write into the target.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(
            self,
            Self::Definitions
                | Self::Rows
                | Self::Comparing
                | Self::Constraints
                | Self::Analysing
                | Self::Questioning
                | Self::Done
        )
    }
}

/// What came of a restore: terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreResult {
    /// How it ended.
    pub ending: Ending,
    /// `Restored`, or why not.
    pub reason: Reason,
    /// What, why, and what to do; at most [`MAX_MESSAGE`] characters.
    #[serde(default)]
    pub message: String,
    /// The copy, where one was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<ChosenCopy>,
    /// Tables that were restored and compared.
    #[serde(default)]
    pub tables: u64,
    /// Their rows.
    #[serde(default)]
    pub rows: u64,
    /// Their bytes as text.
    #[serde(default)]
    pub bytes: u64,
    /// Large objects that were restored.
    #[serde(default)]
    pub large_objects: u64,
    /// How long it took from the first look at the copy, in seconds.
    #[serde(default)]
    pub seconds: f64,
    /// What the copy holds and was not restored, by kind; the Job's log names each. At most 16 kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// What the restored database answered, at most 64. Where not all of them fit, texts are cut and answers that were as they must be are
    /// left out; wrong ones go last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Answer>,
}

/// How a restore ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The target holds the copy, and gave every answer as it must.
    Restored,
    /// The target holds the copy whole and is not marked, but an answer was not as it must be, or not every question was asked.
    Unconfirmed,
    /// Nothing was written.
    NothingWritten,
    /// Something was written, and the database is marked as not usable.
    #[serde(other)]
    Unfinished,
}

/// Things of one kind that were not restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// What they are, such as `EVENT TRIGGER`.
    pub kind: String,
    /// How many.
    pub count: u64,
}

impl RestoreReport {
    /// Reads a report that came over the network, cleaned; `None` if it is too long or none at all.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        let mut report: Self = serde_json::from_slice(bytes).ok()?;
        clean(&mut report.version, MAX_TEXT);
        clean_missing(&mut report.missing_secrets);
        if let Some(waits) = &mut report.waits {
            clean(&mut waits.message, MAX_MESSAGE);
        }
        if let Some(copy) = &mut report.copy {
            clean(&mut copy.copy_id, MAX_TEXT);
        }
        Some(report)
    }
}

impl RestoreResult {
    /// Reads a container's last words, cleaned; `None` if they are no result.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_RESULT_BYTES {
            return None;
        }
        let mut result: Self = serde_json::from_str(text).ok()?;
        clean_lines(&mut result.message, MAX_MESSAGE);
        if let Some(copy) = &mut result.copy {
            clean(&mut copy.copy_id, MAX_TEXT);
        }
        result.bound_lists();
        Some(result)
    }

    /// The last words: at most [`MAX_RESULT_BYTES`]. What is too long is cut at its end, a wrong answer last of all.
    #[must_use]
    pub fn to_json(mut self) -> String {
        self.bound_lists();
        cut(&mut self.message, MAX_MESSAGE);
        loop {
            // Texts and numbers: there is nothing in them that JSON cannot hold.
            let text = serde_json::to_string(&self).unwrap_or_default();
            if text.len() <= MAX_RESULT_BYTES {
                return text;
            }
            self.shorten();
        }
    }

    fn bound_lists(&mut self) {
        self.left_out.truncate(MAX_LEFT_OUT);
        for left_out in &mut self.left_out {
            clean(&mut left_out.kind, MAX_KIND);
        }
        self.assertions.truncate(MAX_ASSERTIONS);
        self.assertions.iter_mut().for_each(Answer::bound);
    }

    /// Gives up what is missed least of what it still says.
    fn shorten(&mut self) {
        let longest = self.assertions.iter().map(said).max().unwrap_or_default();
        let right = |answer: &Answer| answer.passed;
        if longest > SHORT_VALUE {
            let characters = (longest / 2).max(SHORT_VALUE);
            for answer in &mut self.assertions {
                cut(&mut answer.expected, characters);
                cut(&mut answer.found, characters);
            }
        } else if self
            .assertions
            .iter()
            .any(|answer| right(answer) && said(answer) > 0)
        {
            self.assertions
                .iter_mut()
                .filter(|answer| answer.passed)
                .for_each(name_only);
        } else if let Some(last) = self.assertions.iter().rposition(right) {
            self.assertions.remove(last);
        } else if self.message.chars().count() > SHORT_MESSAGE {
            let half = self.message.chars().count() / 2;
            cut(&mut self.message, half);
        } else if !self.left_out.is_empty() {
            self.left_out.truncate(self.left_out.len() / 2);
        } else if longest > 0 {
            self.assertions.iter_mut().for_each(name_only);
        } else if self.assertions.pop().is_none() {
            self.message.clear();
        }
    }
}

/// How many characters an answer has besides its name, in the longer one of its texts.
fn said(answer: &Answer) -> usize {
    answer.expected.chars().count().max(answer.found.chars().count())
}

fn name_only(answer: &mut Answer) {
    answer.expected.clear();
    answer.found.clear();
}

fn cut(text: &mut String, characters: usize) {
    *text = text.chars().take(characters).collect();
}

/// Cleans each line by itself: a list stays a list.
fn clean_lines(text: &mut String, limit: usize) {
    let lines = text.lines().map(|line| {
        let mut line = line.to_owned();
        clean(&mut line, limit);
        line
    });
    let joined = lines.collect::<Vec<_>>().join("\n");
    *text = joined.chars().take(limit).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(message: String) -> RestoreResult {
        RestoreResult {
            ending: Ending::NothingWritten,
            reason: Reason::TargetLacks,
            message,
            copy: None,
            tables: 0,
            rows: 0,
            bytes: 0,
            large_objects: 0,
            seconds: 1.5,
            left_out: vec![
                LeftOut {
                    kind: "ROLE".into(),
                    count: 3
                };
                40
            ],
            assertions: Vec::new(),
        }
    }

    /// Every third answer is wrong.
    fn answers(count: usize, name: &str, value: &str) -> Vec<Answer> {
        let answer = |number: usize| Answer {
            name: format!("{name}-{number}"),
            passed: !number.is_multiple_of(3),
            expected: value.to_owned(),
            found: value.to_owned(),
        };
        (0..count).map(answer).collect()
    }

    #[test]
    fn wrong_answers_are_told_whatever_else_must_be_left_out() {
        for value in ["42".to_owned(), "x".repeat(300), "😀\"\\".repeat(300)] {
            let mut result = failed(value.repeat(40));
            result.assertions = answers(64, "a-question-of-some-length", &value);
            let text = result.clone().to_json();
            assert!(text.len() <= MAX_RESULT_BYTES, "{}", text.len());
            let read = RestoreResult::read(&text).unwrap();
            let wrong = |answers: &[Answer]| -> Vec<String> {
                let wrong = answers.iter().filter(|answer| !answer.passed);
                wrong.map(|answer| answer.name.clone()).collect()
            };
            assert_eq!(wrong(&read.assertions), wrong(&result.assertions));
            assert!(!read.message.is_empty());
        }
    }

    #[test]
    fn answers_that_fit_are_told_whole_and_in_their_order() {
        let mut result = failed("short".into());
        result.assertions = answers(12, "question", "1234");
        let read = RestoreResult::read(&result.clone().to_json()).unwrap();
        assert_eq!(read.assertions, result.assertions);
    }

    #[test]
    fn more_answers_than_anybody_asked_for_and_names_of_any_length_stay_within_their_bounds() {
        let mut result = failed("ä".repeat(9_000));
        result.assertions = answers(1_000, &"😀".repeat(100), "\u{1b}[2J");
        let text = result.to_json();
        assert!(text.len() <= MAX_RESULT_BYTES, "{}", text.len());
        assert!(RestoreResult::read(&text).unwrap().assertions.len() <= MAX_ASSERTIONS);
        let flood = serde_json::json!({"ending": "Restored", "reason": "Restored", "assertions": vec![serde_json::json!({"name": "n"}); 200]});
        let read = RestoreResult::read(&flood.to_string()).unwrap();
        assert_eq!(read.assertions.len(), MAX_ASSERTIONS);
        assert!(
            read.assertions.iter().all(|answer| !answer.passed),
            "silence is no right answer"
        );
    }

    #[test]
    fn last_words_stay_within_what_the_kubelet_keeps_whatever_they_say() {
        for message in ["short".to_owned(), "\u{1}".repeat(9_000), "ä".repeat(9_000)] {
            let text = failed(message.clone()).to_json();
            assert!(text.len() <= MAX_RESULT_BYTES, "{}", text.len());
            let read = RestoreResult::read(&text).unwrap();
            assert_eq!(read.reason, Reason::TargetLacks);
            assert!(read.left_out.len() <= MAX_LEFT_OUT);
        }
    }

    #[test]
    fn kinds_that_somebody_has_made_up_do_not_push_the_result_out() {
        let mut result = failed("ä".repeat(3_000));
        for left_out in &mut result.left_out {
            left_out.kind = "😀".repeat(100_000);
        }
        let text = result.to_json();
        assert!(text.len() <= MAX_RESULT_BYTES, "{}", text.len());
        assert!(RestoreResult::read(&text).is_some());
    }

    #[test]
    fn a_list_stays_a_list_and_control_characters_do_not_reach_a_resource() {
        let text = failed("lacks:\n- a\u{1b}[2J\n- b\u{202e}".to_owned()).to_json();
        assert_eq!(RestoreResult::read(&text).unwrap().message, "lacks:\n- a[2J\n- b");
    }

    #[test]
    fn an_ending_that_this_version_does_not_know_counts_as_unfinished() {
        let text = r#"{"ending":"Vanished","reason":"Strange"}"#;
        let read = RestoreResult::read(text).unwrap();
        assert_eq!((read.ending, read.reason), (Ending::Unfinished, Reason::Other));
        assert!(RestoreResult::read("Killed").is_none());
    }
}

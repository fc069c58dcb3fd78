//! What a drill found: at most [`MAX_RESULT_BYTES`] of JSON. It travels from the Job to the operator, from there as an order's body to the
//! custodian, and lies in the store as the report. Each of them bounds and cleans it anew.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Pick;
use crate::assertion::{MAX_VALUE, clean_name};
use crate::reason::Reason;
use crate::report::{MAX_MESSAGE, MAX_TEXT, clean};

/// The most bytes of a result.
pub const MAX_RESULT_BYTES: usize = 32 * 1024;
/// The most assertions of a result: 64 of the user's, and ours.
const MAX_ASSERTIONS: usize = 80;
/// The most steps.
const MAX_STEPS: usize = 16;
/// The most kinds of things that were not restored.
const MAX_LEFT_OUT: usize = 24;
/// The most notes.
const MAX_NOTES: usize = 16;

/// What a drill found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillResult {
    /// The order that this run becomes, a DNS label.
    pub order: String,
    /// The `RegistryDrill`, as `namespace/name`.
    pub drill: String,
    /// The registry's id.
    pub registry: String,
    /// What is to be said of the copy.
    pub verdict: Verdict,
    /// `Drilled`, or why not.
    pub reason: Reason,
    /// What, why, and what to do; at most [`MAX_MESSAGE`] characters.
    #[serde(default)]
    pub message: String,
    /// How the copy was picked.
    #[serde(default)]
    pub pick: Pick,
    /// The copy; absent where none was picked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<DrilledCopy>,
    /// When the drill began to look at the copy, by its own clock.
    pub started_at: Timestamp,
    /// When the last question was answered, or the drill failed.
    pub ended_at: Timestamp,
    /// Seconds from the first look at the copy to the end of `ANALYZE`: the time that a recovery takes. Absent where it did not come so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_seconds: Option<f64>,
    /// What it may take, in seconds, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_seconds: Option<u64>,
    /// Each step, in order.
    #[serde(default)]
    pub steps: Vec<StepResult>,
    /// What was restored.
    #[serde(default)]
    pub found: Found,
    /// SHA-256 of the copy's definitions, 64 lower-case hex digits; absent where they were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_digest: Option<String>,
    /// Every assertion, passed or not, in the order in which they were made.
    #[serde(default)]
    pub assertions: Vec<AssertionResult>,
    /// What the copy holds and was not restored, and what it does not hold, by kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutOfDrill>,
    /// Programs and their versions.
    #[serde(default)]
    pub tools: Tools,
    /// What a person may want to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What is to be said of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It was restored, and gave every answer as it must.
    Passed,
    /// It was not restored, or gave a wrong answer, and that is its own fault.
    Failed,
    /// Nothing can be said: what was needed for the drill was not there, or it was stopped.
    #[serde(other)]
    Inconclusive,
}

/// The copy that was drilled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrilledCopy {
    /// The number of its entry in the source chain.
    pub sequence: u64,
    /// The SHA-256 of the entry.
    pub digest: String,
    /// Its id, 32 hex digits.
    pub copy_id: String,
    /// The moment of its snapshot.
    pub taken_at: Timestamp,
    /// Its sealed bytes.
    pub sealed_bytes: u64,
    /// The version of the server that it was taken from.
    pub source_version: String,
}

/// One step of a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepResult {
    /// Its name.
    pub name: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Found {
    /// Tables.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Their bytes as text.
    pub bytes: u64,
    /// Large objects.
    pub large_objects: u64,
    /// Bytes of large objects.
    pub large_object_bytes: u64,
}

/// One assertion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssertionResult {
    /// What it is called.
    pub name: String,
    /// What was asked.
    pub kind: AssertionKind,
    /// Whether the answer was as it must be.
    pub passed: bool,
    /// What it must be; at most 256 characters.
    #[serde(default)]
    pub expected: String,
    /// What it was, or why there was none; at most 256 characters.
    #[serde(default)]
    pub found: String,
}

/// What an assertion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AssertionKind {
    /// The tables that the inventory lists are there, with its rows and digests.
    Contents,
    /// The large objects that the inventory lists are there.
    LargeObjects,
    /// The definitions have the digest that somebody named.
    Schema,
    /// Every constraint that was valid at the source is valid.
    Constraints,
    /// The recovery took no longer than it may.
    RecoveryTime,
    /// A statement of the user's.
    Sql,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

/// Things of one kind that are not in the restored database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOutOfDrill {
    /// What they are, such as `EVENT TRIGGER`.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// Why the first of them is not there.
    #[serde(default)]
    pub reason: String,
    /// Whether the copy itself does not hold them.
    #[serde(default)]
    pub not_in_copy: bool,
}

/// Programs and their versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tools {
    /// The sidecar.
    pub sidecar: String,
    /// `pg_restore`.
    pub pg_restore: String,
    /// The server that was restored into.
    pub server: String,
}

impl DrillResult {
    /// Cuts lists and texts to their bounds, and takes control characters out.
    pub fn bound(&mut self) {
        for text in [&mut self.order, &mut self.drill, &mut self.registry] {
            clean(text, MAX_TEXT);
        }
        clean(&mut self.message, MAX_MESSAGE);
        if let Some(copy) = &mut self.copy {
            for text in [&mut copy.digest, &mut copy.copy_id, &mut copy.source_version] {
                clean(text, MAX_TEXT);
            }
        }
        if let Some(digest) = &mut self.schema_digest {
            clean(digest, MAX_TEXT);
        }
        for text in [
            &mut self.tools.sidecar,
            &mut self.tools.pg_restore,
            &mut self.tools.server,
        ] {
            clean(text, MAX_TEXT);
        }
        self.steps.truncate(MAX_STEPS);
        for step in &mut self.steps {
            clean_name(&mut step.name);
        }
        self.assertions.truncate(MAX_ASSERTIONS);
        for assertion in &mut self.assertions {
            clean_name(&mut assertion.name);
            clean(&mut assertion.expected, MAX_VALUE);
            clean(&mut assertion.found, MAX_VALUE);
        }
        self.left_out.truncate(MAX_LEFT_OUT);
        for left_out in &mut self.left_out {
            clean_name(&mut left_out.kind);
            clean(&mut left_out.reason, MAX_VALUE);
        }
        self.notes.truncate(MAX_NOTES);
        for note in &mut self.notes {
            clean(note, MAX_TEXT);
        }
    }

    /// The result as JSON, at most [`MAX_RESULT_BYTES`]: values, reasons and notes that are too long for it are cut. No assertion is ever
    /// left out.
    #[must_use]
    pub fn to_json(mut self) -> String {
        self.bound();
        let mut characters = MAX_VALUE;
        loop {
            // Texts and numbers: there is nothing in them that JSON cannot hold.
            let text = serde_json::to_string(&self).unwrap_or_default();
            if text.len() <= MAX_RESULT_BYTES || characters == 0 {
                return text;
            }
            characters /= 2;
            let cut = |text: &mut String| *text = text.chars().take(characters).collect();
            self.assertions.iter_mut().for_each(|assertion| {
                cut(&mut assertion.expected);
                cut(&mut assertion.found);
            });
            self.left_out
                .iter_mut()
                .for_each(|left_out| cut(&mut left_out.reason));
            self.notes.iter_mut().for_each(cut);
            if characters < 32 {
                self.message = self.message.chars().take(256).collect();
            }
        }
    }

    /// Reads a result, cleaned; `None` if it is too long or none at all.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_RESULT_BYTES {
            return None;
        }
        let mut result: Self = serde_json::from_str(text).ok()?;
        result.bound();
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(value: &str) -> DrillResult {
        let assertion = AssertionResult {
            name: value.into(),
            kind: AssertionKind::Sql,
            passed: false,
            expected: value.into(),
            found: value.into(),
        };
        let left_out = LeftOutOfDrill {
            kind: value.into(),
            count: 1,
            reason: value.into(),
            not_in_copy: false,
        };
        DrillResult {
            order: value.into(),
            drill: value.into(),
            registry: value.into(),
            verdict: Verdict::Failed,
            reason: Reason::DrillFailed,
            message: value.into(),
            pick: Pick::Latest,
            copy: None,
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::UNIX_EPOCH,
            recovery_seconds: Some(1.5),
            rto_seconds: Some(60),
            steps: vec![
                StepResult {
                    name: value.into(),
                    seconds: 1.0
                };
                40
            ],
            found: Found::default(),
            schema_digest: Some(value.into()),
            assertions: vec![assertion; 200],
            left_out: vec![left_out; 200],
            tools: Tools::default(),
            notes: vec![value.into(); 200],
        }
    }

    #[test]
    fn a_result_stays_within_its_size_whatever_it_says_and_no_assertion_is_lost() {
        for value in ["short".to_owned(), "\u{1}\"\\".repeat(3_000), "😀".repeat(3_000)] {
            let text = result(&value).to_json();
            assert!(text.len() <= MAX_RESULT_BYTES, "{} bytes", text.len());
            let read = DrillResult::read(&text).unwrap();
            assert_eq!(read.assertions.len(), MAX_ASSERTIONS);
            assert!(read.assertions.iter().all(|assertion| !assertion.passed));
        }
    }

    #[test]
    fn a_verdict_that_this_version_does_not_know_says_nothing_of_the_copy() {
        let text = result("x").to_json().replace("\"Failed\"", "\"Enchanted\"");
        assert_eq!(DrillResult::read(&text).unwrap().verdict, Verdict::Inconclusive);
        assert!(DrillResult::read("Killed").is_none());
    }
}

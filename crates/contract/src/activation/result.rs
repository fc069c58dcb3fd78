//! What came of an order of people for one registry: at most [`MAX_RESULT_BYTES`] of JSON. The operator writes it down once, in the status of
//! the `EmbassyActivation`; it travels from there as an order's body to the custodian, and lies in the store as the report. Each of them
//! bounds and cleans it anew.

use dataembassy_ledger::activation::Warrant;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::assertion::{Answer, MAX_ASSERTIONS, MAX_VALUE, clean_name};
use crate::reason::Reason;
use crate::report::{MAX_MESSAGE, MAX_TEXT, clean};
use crate::restore::LeftOut;

/// The most bytes of a result: a status holds up to 24 of them.
pub const MAX_RESULT_BYTES: usize = 16 * 1024;
/// The most steps.
const MAX_STEPS: usize = 16;
/// The most kinds of things that were not restored.
const MAX_LEFT_OUT: usize = 16;
/// The most characters of what names a target, and of a message: the rest of a result has to have room beside it.
const MAX_WORDS: usize = 400;

/// A result, and the order of people that it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivationReport {
    /// What came of it.
    pub result: ActivationResult,
    /// What was approved, and by whom.
    pub warrant: Warrant,
}

/// What came of an order for one registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivationResult {
    /// The order that this report becomes, a DNS label.
    pub order: String,
    /// The order that people approved.
    pub about: String,
    /// The `EmbassyActivation`, as `namespace/name`.
    pub activation: String,
    /// The registry's id.
    pub registry: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The word for it.
    pub reason: Reason,
    /// What, why, and what to do.
    #[serde(default)]
    pub message: String,
    /// When enough had approved.
    pub approved_at: Timestamp,
    /// When the registry was served, could have been, was released, or failed.
    pub ended_at: Timestamp,
    /// The number of the custody entry that fenced home; absent in a rehearsal, and where none was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// The copy that was restored; of a stand-down, the last one that the embassy wrote. Absent where none was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<ReportedCopy>,
    /// How old the last committed copy was at the fence, in seconds; in a rehearsal, when the copy was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_seconds: Option<u64>,
    /// How old it may be, in seconds, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_objective_seconds: Option<u64>,
    /// From the last approval until it was served, or could have been, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_seconds: Option<u64>,
    /// What that may take, in seconds, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_objective_seconds: Option<u64>,
    /// What it was restored into, in words.
    #[serde(default)]
    pub target: String,
    /// How often it was restored.
    #[serde(default)]
    pub attempts: u64,
    /// Each step, in order.
    #[serde(default)]
    pub steps: Vec<StepTimes>,
    /// What was restored and compared, where it came so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<RestoredRows>,
    /// What the restored database answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Answer>,
    /// What the copy holds and was not restored, by kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Programs and their versions.
    #[serde(default)]
    pub versions: Versions,
}

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The registry is served from the embassy.
    Served,
    /// In a rehearsal: it could have been.
    Rehearsed,
    /// It was released to home.
    StoodDown,
    /// It could not be brought up.
    #[serde(other)]
    Failed,
}

/// A copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedCopy {
    /// The number of its entry in the source chain.
    pub sequence: u64,
    /// Its id, 32 hex digits.
    pub copy_id: String,
    /// The moment of its snapshot.
    pub taken_at: Timestamp,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTimes {
    /// Its name.
    pub name: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; absent where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// What was restored and compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoredRows {
    /// Tables.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Their bytes as text.
    pub bytes: u64,
    /// Large objects.
    pub large_objects: u64,
    /// Seconds from the first look at the copy, `ANALYZE` included.
    pub seconds: u64,
}

/// Programs and their versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Versions {
    /// The operator.
    pub operator: String,
    /// The image of the restoring sidecar.
    pub sidecar: String,
    /// The image of the server, of a managed database.
    pub server: String,
}

impl ActivationResult {
    /// Cuts lists and texts to their bounds, and takes control characters out.
    pub fn bound(&mut self) {
        for text in [
            &mut self.order,
            &mut self.about,
            &mut self.activation,
            &mut self.registry,
            &mut self.versions.operator,
        ] {
            clean(text, MAX_TEXT);
        }
        for text in [
            &mut self.target,
            &mut self.versions.sidecar,
            &mut self.versions.server,
        ] {
            clean(text, MAX_WORDS);
        }
        clean(&mut self.message, MAX_MESSAGE);
        if let Some(copy) = &mut self.copy {
            clean(&mut copy.copy_id, MAX_TEXT);
        }
        self.steps.truncate(MAX_STEPS);
        for step in &mut self.steps {
            clean_name(&mut step.name);
        }
        self.assertions.truncate(MAX_ASSERTIONS);
        self.assertions.iter_mut().for_each(Answer::bound);
        self.left_out.truncate(MAX_LEFT_OUT);
        for left_out in &mut self.left_out {
            clean_name(&mut left_out.kind);
        }
    }

    /// The result as JSON, at most [`MAX_RESULT_BYTES`]: values and words that are too long for it are cut. No answer is ever left out.
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
            let cut = |text: &mut String, most: usize| *text = text.chars().take(most).collect();
            for answer in &mut self.assertions {
                cut(&mut answer.expected, characters);
                cut(&mut answer.found, characters);
            }
            if characters < 32 {
                cut(&mut self.message, 256);
                // Names of Kubernetes' objects, and of two of them together, are shorter.
                for text in [
                    &mut self.order,
                    &mut self.about,
                    &mut self.activation,
                    &mut self.registry,
                    &mut self.target,
                    &mut self.versions.operator,
                    &mut self.versions.sidecar,
                    &mut self.versions.server,
                ] {
                    cut(text, 128);
                }
            }
            if characters == 0 {
                self.left_out.clear();
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

    /// When a step ended, if it has.
    #[must_use]
    pub fn ended(&self, step: &str) -> Option<Timestamp> {
        self.steps.iter().find(|one| one.name == step)?.ended_at
    }

    /// Whether the objectives were met; absent where nothing can be compared.
    #[must_use]
    pub fn objectives_met(&self) -> Option<bool> {
        let within = |took: Option<u64>, limit: Option<u64>| Some(took? <= limit?);
        let met = [
            within(self.rpo_seconds, self.rpo_objective_seconds),
            within(self.rto_seconds, self.rto_objective_seconds),
        ];
        met.into_iter().flatten().reduce(|one, other| one && other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(value: &str) -> ActivationResult {
        let text = || value.to_owned();
        ActivationResult {
            order: text(),
            about: text(),
            activation: text(),
            registry: text(),
            outcome: Outcome::Failed,
            reason: Reason::AnswerWrong,
            message: text(),
            approved_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::UNIX_EPOCH,
            fence: Some(3),
            copy: Some(ReportedCopy {
                sequence: 1,
                copy_id: text(),
                taken_at: Timestamp::UNIX_EPOCH,
            }),
            rpo_seconds: Some(31),
            rpo_objective_seconds: Some(1_800),
            rto_seconds: None,
            rto_objective_seconds: Some(7_200),
            target: text(),
            attempts: 2,
            steps: vec![
                StepTimes {
                    name: text(),
                    started_at: Timestamp::UNIX_EPOCH,
                    ended_at: None
                };
                40
            ],
            restored: Some(RestoredRows::default()),
            assertions: vec![
                Answer {
                    name: text(),
                    passed: false,
                    expected: text(),
                    found: text()
                };
                200
            ],
            left_out: vec![
                LeftOut {
                    kind: text(),
                    count: u64::MAX
                };
                200
            ],
            versions: Versions {
                operator: text(),
                sidecar: text(),
                server: text(),
            },
        }
    }

    #[test]
    fn a_result_stays_within_its_size_whatever_it_says_and_no_answer_is_lost() {
        for value in ["short".to_owned(), "\u{1}\"\\".repeat(3_000), "😀".repeat(3_000)] {
            let text = result(&value).to_json();
            assert!(text.len() <= MAX_RESULT_BYTES, "{} bytes", text.len());
            let read = ActivationResult::read(&text).unwrap();
            assert_eq!(read.assertions.len(), MAX_ASSERTIONS);
            assert!(read.assertions.iter().all(|answer| !answer.passed));
        }
    }

    #[test]
    fn an_outcome_that_this_version_does_not_know_is_no_success() {
        let text = result("x").to_json().replace("\"Failed\"", "\"Enchanted\"");
        assert_eq!(ActivationResult::read(&text).unwrap().outcome, Outcome::Failed);
        assert!(ActivationResult::read("Killed").is_none());
    }

    #[test]
    fn objectives_are_met_when_each_that_can_be_compared_is() {
        let mut result = result("x");
        assert_eq!(result.objectives_met(), Some(true));
        result.rto_seconds = Some(7_201);
        assert_eq!(result.objectives_met(), Some(false));
        (result.rpo_seconds, result.rto_objective_seconds) = (None, None);
        assert_eq!(result.objectives_met(), None);
    }
}

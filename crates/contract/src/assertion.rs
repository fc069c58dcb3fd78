//! What a restored database is asked, what its answer must be, and what it was: the same for a drill and for a restore.

use serde::{Deserialize, Serialize};

use crate::report::clean;

/// The most questions that a restored database is asked.
pub const MAX_ASSERTIONS: usize = 64;
/// The most bytes of the name of a question.
pub const MAX_NAME: usize = 64;
/// The most characters of a value that was expected or found.
pub const MAX_VALUE: usize = 256;

/// One question, and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssertionConfig {
    /// What it is called where its answer is told: a DNS label of at most 63 characters.
    pub name: String,
    /// One statement that gives one row with one column; it runs read-only, as the role that restored.
    pub sql: String,
    /// What the value must be.
    pub expect: Expectation,
}

/// What the answer to a question must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Expectation {
    /// The value as PostgreSQL writes it is this text.
    Equals(String),
    /// The value is a number within these bounds, decimal; at least one is set.
    #[serde(rename_all = "camelCase")]
    Within {
        /// The least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<String>,
        /// The most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<String>,
    },
    /// The value is a `timestamptz` (or a `timestamp` in UTC, or a date) that lies at most so many seconds before the moment at which the copy
    /// was taken.
    NotOlderThan(u64),
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// What the question is called.
    pub name: String,
    /// Whether the answer was as it must be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed: bool,
    /// What it must be, in words; at most [`MAX_VALUE`] characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expected: String,
    /// What it was, or why there was none; at most [`MAX_VALUE`] characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub found: String,
}

impl Answer {
    /// Cuts texts to their bounds, and takes control characters out.
    pub fn bound(&mut self) {
        clean_name(&mut self.name);
        clean(&mut self.expected, MAX_VALUE);
        clean(&mut self.found, MAX_VALUE);
    }
}

/// A name is cut by bytes, so that all of them together have a bound that leaves room for what was found.
pub(crate) fn clean_name(text: &mut String) {
    clean(text, MAX_NAME);
    let end = text.floor_char_boundary(MAX_NAME);
    text.truncate(end);
}

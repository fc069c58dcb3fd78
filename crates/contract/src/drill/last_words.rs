//! What the container of a drill leaves as its termination message when it has ended: a few words, for whoever was not there to receive the
//! result itself.

use serde::{Deserialize, Serialize};

use super::{DrillResult, Verdict};
use crate::reason::Reason;
use crate::report::{MAX_MESSAGE, clean};

/// The most bytes of last words: the kubelet keeps 4,096 of a termination message, and half a document is none.
const MAX_BYTES: usize = 4_096;

/// How a drill ended, in a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastWords {
    /// What is to be said of the copy.
    pub verdict: Verdict,
    /// `Drilled`, or why not.
    pub reason: Reason,
    /// What, why, and what to do; at most [`MAX_MESSAGE`] characters.
    #[serde(default)]
    pub message: String,
}

impl LastWords {
    /// The last words of a drill with this result.
    #[must_use]
    pub fn of(result: &DrillResult) -> Self {
        Self {
            verdict: result.verdict,
            reason: result.reason,
            message: result.message.clone(),
        }
    }

    /// Reads a termination message, cleaned; `None` if it is none of a drill's.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut words: Self = serde_json::from_str(text).ok()?;
        clean(&mut words.message, MAX_MESSAGE);
        Some(words)
    }

    /// The termination message: at most 4,096 bytes. Words that are too many are cut at their end.
    #[must_use]
    pub fn to_json(mut self) -> String {
        clean(&mut self.message, MAX_MESSAGE);
        loop {
            // A text and two words: there is nothing in them that JSON cannot hold.
            let text = serde_json::to_string(&self).unwrap_or_default();
            if text.len() <= MAX_BYTES {
                return text;
            }
            let half = self.message.chars().count() / 2;
            self.message = self.message.chars().take(half).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_fit_whatever_they_say_and_are_read_back() {
        for message in [
            "short".to_owned(),
            "\\\"".repeat(3_000),
            "😀\u{1b}[2J".repeat(3_000),
        ] {
            let words = LastWords {
                verdict: Verdict::Failed,
                reason: Reason::AnswerWrong,
                message,
            };
            let text = words.to_json();
            assert!(text.len() <= MAX_BYTES, "{} bytes", text.len());
            let read = LastWords::read(&text).unwrap();
            assert_eq!(
                (read.verdict, read.reason),
                (Verdict::Failed, Reason::AnswerWrong)
            );
            assert!(!read.message.contains('\u{1b}'));
        }
        assert_eq!(LastWords::read("Segmentation fault"), None);
    }
}

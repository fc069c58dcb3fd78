//! Conditions: one place that knows when a transition time moves.

use dataembassy_contract::Reason;
use dataembassy_crds::{Condition, ConditionStatus};
use jiff::Timestamp;

use crate::clock::lies_ahead;

/// The most characters of a message, as the schema has it.
const MAX_MESSAGE: usize = 2048;

/// What a condition will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Which of the known reasons.
    pub reason: Reason,
    /// What, why, and what to do about it.
    pub message: String,
}

impl Finding {
    /// It holds.
    pub fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status: ConditionStatus::True,
            reason,
            message: message.into(),
        }
    }

    /// It does not.
    pub fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status: ConditionStatus::False,
            reason,
            message: message.into(),
        }
    }

    /// Nothing can be said.
    pub fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status: ConditionStatus::Unknown,
            reason,
            message: message.into(),
        }
    }
}

/// Conditions under construction, which keep their transition times where nothing changed.
#[derive(Debug)]
pub struct Conditions<'a> {
    before: &'a [Condition],
    generation: i64,
    now: Timestamp,
    now_there: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// Begins with what the resource says now.
    #[must_use]
    pub const fn new(before: &'a [Condition], generation: i64, now: Timestamp) -> Self {
        Self {
            before,
            generation,
            now,
            now_there: Vec::new(),
        }
    }

    /// Adds a condition. One that is not added is gone afterwards. None is without words: where nobody has said any, they are the reason's.
    pub fn set(&mut self, type_: &str, finding: Finding) {
        let Finding {
            status,
            reason,
            mut message,
        } = finding;
        if message.is_empty() {
            reason.meaning().clone_into(&mut message);
        }
        if let Some((cut, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(cut);
        }
        // A time ahead of ours was told by a wrong clock: whoever reckons from it would do so for as long as that was wrong by.
        let is_ahead = |before: &Condition| {
            let since = before.last_transition_time.parse::<Timestamp>();
            since.is_ok_and(|since| lies_ahead(since, self.now))
        };
        let same = find(self.before, type_).filter(|before| before.status == status && !is_ahead(before));
        let last_transition_time =
            same.map_or_else(|| rfc3339(self.now), |before| before.last_transition_time.clone());
        self.now_there.push(Condition {
            type_: type_.to_owned(),
            status,
            observed_generation: self.generation,
            last_transition_time,
            reason: reason.as_str().to_owned(),
            message,
        });
    }

    /// The conditions, in the order in which they were added.
    #[must_use]
    pub fn finish(self) -> Vec<Condition> {
        self.now_there
    }
}

/// The condition of a type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// A time as statuses carry it: RFC 3339, UTC, whole seconds.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_time_moves_with_the_status_only() {
        let first: Timestamp = "2026-11-23T10:00:00.5Z".parse().unwrap();
        let later: Timestamp = "2026-11-23T11:00:00Z".parse().unwrap();
        let mut conditions = Conditions::new(&[], 1, first);
        conditions.set("Ready", Finding::no(Reason::Applying, "starting"));
        let before = conditions.finish();
        assert_eq!(before[0].last_transition_time, "2026-11-23T10:00:00Z");

        let mut conditions = Conditions::new(&before, 2, later);
        conditions.set("Ready", Finding::no(Reason::NotYetLoaded, "loading"));
        let same = conditions.finish();
        assert_eq!(same[0].last_transition_time, "2026-11-23T10:00:00Z");
        assert_eq!(
            (same[0].observed_generation, same[0].reason.as_str()),
            (2, "NotYetLoaded")
        );

        let mut conditions = Conditions::new(&same, 2, later);
        conditions.set("Ready", Finding::yes(Reason::Loaded, ""));
        let after = conditions.finish();
        assert_eq!(after[0].last_transition_time, "2026-11-23T11:00:00Z");
    }

    #[test]
    fn a_transition_that_a_clock_ahead_has_dated_is_dated_anew() {
        let ahead: Timestamp = "2036-11-23T10:00:00Z".parse().unwrap();
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let mut conditions = Conditions::new(&[], 1, ahead);
        conditions.set("Ready", Finding::no(Reason::Applying, "starting"));
        let before = conditions.finish();
        let mut conditions = Conditions::new(&before, 1, now);
        conditions.set("Ready", Finding::no(Reason::Applying, "starting"));
        assert_eq!(
            conditions.finish()[0].last_transition_time,
            "2026-11-23T10:00:00Z"
        );
    }

    #[test]
    fn no_condition_is_without_words() {
        let mut conditions = Conditions::new(&[], 1, Timestamp::UNIX_EPOCH);
        for reason in Reason::ALL {
            conditions.set("Ready", Finding::yes(*reason, ""));
        }
        assert!(conditions.finish().iter().all(|one| !one.message.is_empty()));
    }

    #[test]
    fn a_message_is_cut_to_what_a_condition_may_hold() {
        let mut conditions = Conditions::new(&[], 1, Timestamp::UNIX_EPOCH);
        conditions.set(
            "Ready",
            Finding::no(Reason::Applying, "\u{e4}".repeat(MAX_MESSAGE + 1)),
        );
        assert_eq!(conditions.finish()[0].message, "\u{e4}".repeat(MAX_MESSAGE));
    }
}

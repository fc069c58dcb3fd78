//! What a probe is, and what came of it.

use serde::Serialize;

/// The most characters of a text of a result.
const MAX_TEXT: usize = 240;

/// What an open door lets somebody do. The order is: worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Harm {
    /// Changes, hides, unlocks or removes what is committed.
    Destroys,
    /// Reads what only the embassy may read.
    Reads,
    /// Changes how the bucket or its users are set up.
    Governs,
    /// Puts what is no new object of a copy in its place.
    Adds,
    /// Learns what home has no need to know.
    Learns,
}

impl Harm {
    /// For people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Destroys => "destroys",
            Self::Reads => "reads",
            Self::Governs => "governs",
            Self::Adds => "adds",
            Self::Learns => "learns",
        }
    }
}

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Something that must not be let through: does it get through?
    Door(Harm),
    /// Something that a store must do: does it?
    Duty,
    /// Something that a store should do. Where it does not, what our own clients send is protected by other means.
    Wish,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The gate refused.
    RefusedByGate,
    /// The store refused.
    RefusedByStore,
    /// The connection was closed without an answer.
    Closed,
    /// The store took the request and it changed nothing that it should not.
    WithoutEffect,
    /// It got through.
    Succeeded,
    /// A duty that is done, or a wish.
    Done,
    /// A duty that is not done, or a wish.
    Undone,
    /// It could not be tried.
    NotTried,
}

impl Outcome {
    /// For people, and for the table in the documentation.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::RefusedByGate => "refused by the gate",
            Self::RefusedByStore => "refused",
            Self::Closed => "closed",
            Self::WithoutEffect => "no effect",
            Self::Succeeded => "OPEN",
            Self::Done => "does",
            Self::Undone => "DOES NOT",
            Self::NotTried => "not tried",
        }
    }
}

/// What came of one probe, and how one knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The probe's word.
    pub probe: &'static str,
    /// What it asks.
    pub kind: Kind,
    /// What was sent, or what is demanded, as a sentence without a full stop.
    pub says: &'static str,
    /// Whether it must not succeed.
    pub must_not_succeed: bool,
    /// What came of it.
    pub outcome: Outcome,
    /// The HTTP status of the answer that decided; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code in that answer, or the word of the gate's refusal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// What was seen afterwards.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub seen: String,
}

impl Finding {
    pub(super) fn new(probe: &'static str, kind: Kind, says: &'static str, outcome: Outcome) -> Self {
        Self {
            probe,
            kind,
            says,
            must_not_succeed: matches!(kind, Kind::Door(_)),
            outcome,
            status: None,
            code: String::new(),
            seen: String::new(),
        }
    }

    pub(super) fn answered(mut self, status: u16, code: &str) -> Self {
        self.status = Some(status);
        self.code = bounded(code);
        self
    }

    pub(super) fn seeing(mut self, seen: &str) -> Self {
        self.seen = bounded(seen);
        self
    }

    /// Whether this is a reason not to build on the store, or, through a gate, not to trust the gate. What only a store refused has
    /// passed the gate, and another store might take it.
    #[must_use]
    pub fn is_bad(&self, through_gate: bool) -> bool {
        match self.outcome {
            Outcome::Undone => self.kind == Kind::Duty,
            Outcome::Succeeded | Outcome::WithoutEffect | Outcome::RefusedByStore => {
                through_gate && self.must_not_succeed
            }
            Outcome::RefusedByGate | Outcome::Closed | Outcome::Done | Outcome::NotTried => false,
        }
    }
}

/// A stranger's text, short and on one line.
fn bounded(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(MAX_TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_that_only_the_store_keeps_shut_is_a_hole_of_the_gate() {
        let door = |outcome| Finding::new("Copy", Kind::Door(Harm::Adds), "copies", outcome);
        for outcome in [
            Outcome::Succeeded,
            Outcome::WithoutEffect,
            Outcome::RefusedByStore,
        ] {
            assert!(door(outcome).is_bad(true) && !door(outcome).is_bad(false));
        }
        assert!(!door(Outcome::RefusedByGate).is_bad(true));
        let duty = Finding::new("Versioning", Kind::Duty, "keeps versions", Outcome::Undone);
        assert!(duty.is_bad(false) && duty.is_bad(true));
        let wish = Finding::new("SignedBody", Kind::Wish, "compares", Outcome::Undone);
        assert!(!wish.is_bad(false) && !wish.is_bad(true));
    }

    #[test]
    fn a_strangers_text_stays_on_its_line() {
        let finding = Finding::new("Copy", Kind::Duty, "copies", Outcome::Done)
            .answered(200, &"x\n".repeat(1000))
            .seeing("a\u{1b}[2Jb");
        assert_eq!(finding.code, "x".repeat(MAX_TEXT));
        assert_eq!(finding.seen, "a[2Jb");
    }
}

//! A statement as people read it: lines of a word and a value, in one order and one spelling.

use std::fmt;

use super::{Mode, STATEMENT_FORMAT, State, StatedRegistry, Statement, Unfenced};

/// The first lines of every statement.
pub(super) const TITLE: [&str; 3] = [
    "DataEmbassy activation statement",
    "Read every line: who signs this text orders what it says. Sign it as it is, to its last line:",
    "ssh-keygen -Y sign -n dataembassy-activation-v1 -f YOUR-KEY THIS-FILE",
];
/// What stands where there is nothing.
pub(super) const NONE: &str = "none";

impl Mode {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rehearse => "Rehearse",
            Self::Activate => "Activate",
        }
    }
}

impl State {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::StoodDown => "StoodDown",
        }
    }
}

impl Unfenced {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Accepted => "accepted",
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in TITLE {
            writeln!(formatter, "{line}")?;
        }
        writeln!(formatter)?;
        writeln!(formatter, "format: {STATEMENT_FORMAT}")?;
        writeln!(formatter, "store: {}", self.store)?;
        writeln!(formatter, "embassy: {}", self.embassy)?;
        writeln!(formatter, "resource: {}", self.resource)?;
        writeln!(formatter, "uid: {}", self.uid)?;
        writeln!(formatter, "order: {}", self.order)?;
        writeln!(formatter, "mode: {}", self.mode.word())?;
        writeln!(formatter, "state: {}", self.state.word())?;
        writeln!(formatter, "valid-until: {}", self.valid_until)?;
        writeln!(formatter, "unfenced: {}", self.unfenced.word())?;
        writeln!(formatter, "approvals: {}", self.required)?;
        writeln!(formatter, "approvers: {}", self.approvers)?;
        writeln!(formatter, "spec: {}", self.spec)?;
        for registry in &self.registries {
            write!(formatter, "\n{registry}")?;
        }
        Ok(())
    }
}

impl fmt::Display for StatedRegistry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "registry: {}", self.registry)?;
        if self.after.is_empty() {
            writeln!(formatter, "after: {NONE}")?;
        }
        for after in &self.after {
            writeln!(formatter, "after: {after}")?;
        }
        match &self.floor {
            Some(floor) => {
                let (term, sequence) = (floor.term.to_key(), floor.entry.sequence.to_key());
                writeln!(formatter, "head: {term}-{sequence} {}", floor.entry.digest)?;
                writeln!(formatter, "taken: {}", floor.taken_at)?;
            }
            None => writeln!(formatter, "head: {NONE}")?,
        }
        writeln!(formatter, "copy: {}", self.copy)?;
        writeln!(formatter, "target: {}", self.target)?;
        match &self.signer {
            Some(signer) => writeln!(formatter, "signer: {signer}")?,
            None => writeln!(formatter, "signer: {NONE}")?,
        }
        writeln!(
            formatter,
            "questions: {} {}",
            self.questions, self.questions_digest
        )?;
        writeln!(formatter, "exposed: {}", self.exposed)
    }
}

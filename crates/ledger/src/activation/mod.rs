//! Who may order that a registry is served from the embassy, or goes back home: a statement that people read and sign, and what their
//! signatures are worth.
//!
//! An approval is an SSH signature over exactly the statement's text, in the role [`Role::Activation`](crate::Role), so that it can be made
//! on a machine that nothing is connected to, with stock tools. The custodian judges it before it opens a term, and home's sidecar when it
//! meets that entry.

mod approval;
mod claim;
mod read;
mod text;

use serde::{Deserialize, Serialize};

pub use approval::{ApprovalFault, Approver, Approvers, Judgement};
pub use claim::{Claim, Ordered, WarrantFault, endorsed};

use crate::entry::EntryRef;
pub use crate::lines::WrongLine;
use crate::signature::PublicKey;
use crate::value::{
    EmbassyName, InvalidValue, OrderId, RegistryId, Sha256Digest, StoreId, Term, Timestamp, text_value,
};

/// The value of `format` in a statement.
pub const STATEMENT_FORMAT: &str = "dataembassy-activation/1";
/// The most bytes of a statement.
pub const MAX_STATEMENT_BYTES: usize = 24 * 1024;
/// The most registries of a statement.
pub const MAX_STATED: usize = 24;
/// The most approvals of an order, and the most approvers of an embassy.
pub const MAX_APPROVERS: usize = 16;
/// The most bytes of an approval: an armored signature with its LF.
pub const MAX_APPROVAL_BYTES: usize = 1024;

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The store's id.
    pub store: StoreId,
    /// The name of the `DataEmbassy`.
    pub embassy: EmbassyName,
    /// The resource, as `namespace/name`.
    pub resource: Words,
    /// Its UID: another resource of that name is another order.
    pub uid: Words,
    /// The order's id, never used twice for a registry.
    pub order: OrderId,
    /// Whether it is meant.
    pub mode: Mode,
    /// What is to be.
    pub state: State,
    /// Until when it may be carried out.
    pub valid_until: Timestamp,
    /// Whether it goes on where the store cannot be written, so that nothing keeps home from going on too.
    pub unfenced: Unfenced,
    /// How many approvals it needs.
    pub required: usize,
    /// The digest of those who may approve, as [`Approvers::digest`] makes it.
    pub approvers: Sha256Digest,
    /// The SHA-256 of the resource's spec without its approvals.
    pub spec: Sha256Digest,
    /// The registries, 1 to [`MAX_STATED`], none twice, in the order in which they come up.
    pub registries: Vec<StatedRegistry>,
}

/// What is ordered for one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatedRegistry {
    /// Its id.
    pub registry: RegistryId,
    /// Registries that must be served before it; each stands before it in the statement.
    pub after: Vec<RegistryId>,
    /// The head of its source chain when the statement was made; later heads are accepted. None where there was none.
    pub floor: Option<StatedFloor>,
    /// Which copy, in words.
    pub copy: Words,
    /// What it is restored into, in words.
    pub target: Words,
    /// Who writes the source chain in the term that the order opens; none in a rehearsal, which opens none.
    pub signer: Option<PublicKey>,
    /// How many questions the restored database is asked before it is served.
    pub questions: u32,
    /// The SHA-256 of those questions and their answers.
    pub questions_digest: Sha256Digest,
    /// Where it is served, in words.
    pub exposed: Words,
}

/// A head of the source chain that the approvers saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatedFloor {
    /// The term that it was written in.
    pub term: Term,
    /// The entry.
    pub entry: EntryRef,
    /// When its copy was taken.
    pub taken_at: Timestamp,
}

/// Whether an order is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Nothing is fenced, nobody is served, and everything is cleaned up.
    Rehearse,
    /// The registries are served from the embassy.
    Activate,
}

/// What an order is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The registries are served from the embassy.
    Active,
    /// They go back home.
    StoodDown,
}

/// Whether an order goes on where the store cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unfenced {
    /// It waits.
    Refused,
    /// It goes on, and home is not kept from going on too.
    Accepted,
}

/// Words for people in a line of a statement: 1 to 400 printable ASCII characters, no blank first or last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Words(String);

impl Words {
    fn check(text: &str) -> Result<(), InvalidValue> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if (1..=400).contains(&text.len()) && printable && text.trim() == text {
            return Ok(());
        }
        Err(InvalidValue::new(
            "statement",
            "a value must have 1 to 400 printable ASCII characters, neither beginning nor ending with a blank",
        ))
    }
}

text_value!(Words);

/// A statement and what was signed under it, as a custody entry carries them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Warrant {
    /// The statement's text, at most [`MAX_STATEMENT_BYTES`] bytes.
    pub statement: String,
    /// Armored signatures over it, 1 to [`MAX_APPROVERS`], each at most [`MAX_APPROVAL_BYTES`] bytes.
    pub approvals: Vec<String>,
}

impl Warrant {
    /// What no entry may break. Whether the statement can be read, and by whom it is signed, is the reader's question: it knows the approvers.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.statement.is_empty() || self.statement.len() > MAX_STATEMENT_BYTES {
            return Err("a warrant's statement must have 1 to 24576 bytes");
        }
        if !(1..=MAX_APPROVERS).contains(&self.approvals.len()) {
            return Err("a warrant must have 1 to 16 approvals");
        }
        if self
            .approvals
            .iter()
            .any(|approval| approval.is_empty() || approval.len() > MAX_APPROVAL_BYTES)
        {
            return Err("an approval must have 1 to 1024 bytes");
        }
        Ok(())
    }
}

/// Why a text is no statement, or why one cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// It is too large.
    #[error(
        "activation statement has {size} bytes, more than the {MAX_STATEMENT_BYTES} allowed: activate fewer registries at once"
    )]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// A line is not what must stand there.
    #[error("activation statement, {0}")]
    WrongLine(#[from] WrongLine),
    /// What the lines say together breaks a rule.
    #[error("activation statement breaks a rule: {0}")]
    BrokenRule(&'static str),
}

impl Statement {
    /// The text that is signed. It is read back as the same statement.
    pub fn render(&self) -> Result<String, StatementError> {
        self.check()?;
        let text = self.to_string();
        if text.len() > MAX_STATEMENT_BYTES {
            return Err(StatementError::TooLarge { size: text.len() });
        }
        Ok(text)
    }

    /// What it says of a registry.
    #[must_use]
    pub fn of(&self, registry: &RegistryId) -> Option<&StatedRegistry> {
        self.registries.iter().find(|stated| stated.registry == *registry)
    }

    /// The rules that no line breaks by itself.
    fn check(&self) -> Result<(), StatementError> {
        let broken = |rule| Err(StatementError::BrokenRule(rule));
        if !(1..=MAX_STATED).contains(&self.registries.len()) {
            return broken("it must name 1 to 24 registries");
        }
        if !(1..=MAX_APPROVERS).contains(&self.required) {
            return broken("it must need 1 to 16 approvals");
        }
        if self.mode == Mode::Rehearse && self.state == State::StoodDown {
            return broken("a rehearsal is not stood down: it cleans up by itself");
        }
        for (place, stated) in self.registries.iter().enumerate() {
            let before = &self.registries[..place];
            if before.iter().any(|other| other.registry == stated.registry) {
                return broken("it must name no registry twice");
            }
            let has_twice = |(place, after): (usize, &RegistryId)| stated.after[..place].contains(after);
            if stated.after.iter().enumerate().any(has_twice) {
                return broken("a registry must not come twice after the same one");
            }
            let comes_before = |after: &RegistryId| before.iter().any(|other| other.registry == *after);
            if !stated.after.iter().all(comes_before) {
                return broken("a registry must come after those that it depends on");
            }
            if stated.signer.is_some() != (self.mode == Mode::Activate) {
                return broken("a signer of the next term must be named unless it is a rehearsal");
            }
        }
        Ok(())
    }
}

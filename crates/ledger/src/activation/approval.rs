//! What signatures under a statement are worth.

use sha2::{Digest as _, Sha256};

use super::{MAX_APPROVERS, Warrant};
use crate::signature::{self, PublicKey, Role, SignatureError};
use crate::value::{InvalidValue, Sha256Digest};

/// Somebody who may approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    /// Who it is, for people.
    pub name: String,
    /// Their key.
    pub key: PublicKey,
}

/// Those who may approve, and how many of them must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approvers {
    all: Vec<Approver>,
    required: usize,
}

/// Why an approval does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalFault {
    /// It is no signature over this statement.
    #[error(
        "{0}. Sign exactly the text in status.statement.text, with 'ssh-keygen -Y sign -n dataembassy-activation-v1'; if the spec was changed after it was signed, it must be signed anew"
    )]
    WrongSignature(#[from] SignatureError),
    /// Nobody who may approve holds this key.
    #[error("it is signed by {key}, which is none of the approvers that the DataEmbassy names")]
    NotAnApprover {
        /// Who signed it.
        key: PublicKey,
    },
    /// The same person approved already.
    #[error("{name} approved already: each counts once")]
    Twice {
        /// Who.
        name: String,
    },
}

/// What approvals are worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Who approved, in the order of the approvals.
    pub approved: Vec<String>,
    /// Approvals that do not count, by their place in the list, from 0.
    pub refused: Vec<(usize, ApprovalFault)>,
}

impl Approvers {
    /// Those who may approve, 1 to [`MAX_APPROVERS`], no key and no name twice, and how many must, 1 to as many as there are.
    pub fn new(all: Vec<Approver>, required: usize) -> Result<Self, InvalidValue> {
        let wrong = |rule| Err(InvalidValue::new("approvers", rule));
        if !(1..=MAX_APPROVERS).contains(&all.len()) {
            return wrong("there must be 1 to 16");
        }
        let is_twice = |(place, one): (usize, &Approver)| {
            all[..place]
                .iter()
                .any(|other| other.key == one.key || other.name == one.name)
        };
        if all.iter().enumerate().any(is_twice) {
            return wrong("none may have the key or the name of another");
        }
        if !(1..=all.len()).contains(&required) {
            return wrong("as many must be required as there are, or fewer, and at least one");
        }
        Ok(Self { all, required })
    }

    /// How many must approve.
    #[must_use]
    pub const fn required(&self) -> usize {
        self.required
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Approver] {
        &self.all
    }

    /// The SHA-256 of how many must approve and of all keys, one a line, ascending: names are for people, and do not count.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        let mut keys: Vec<String> = self.all.iter().map(|one| one.key.to_string()).collect();
        keys.sort_unstable();
        let mut sum = Sha256::new();
        sum.update(format!("required {}\n", self.required));
        for key in keys {
            sum.update(key);
            sum.update("\n");
        }
        Sha256Digest::from_bytes(sum.finalize().into())
    }

    /// Says what approvals of a statement are worth. Only the first [`MAX_APPROVERS`] are looked at.
    #[must_use]
    pub fn judge(&self, statement: &str, approvals: &[String]) -> Judgement {
        let mut judgement = Judgement::default();
        for (place, approval) in approvals.iter().take(MAX_APPROVERS).enumerate() {
            match self.judge_one(statement, approval, &judgement.approved) {
                Ok(name) => judgement.approved.push(name),
                Err(fault) => judgement.refused.push((place, fault)),
            }
        }
        judgement
    }

    fn judge_one(&self, statement: &str, approval: &str, before: &[String]) -> Result<String, ApprovalFault> {
        let key = signature::verify(Role::Activation, statement.as_bytes(), approval.as_bytes())?;
        let known = self.all.iter().find(|one| one.key == key);
        let name = known.ok_or(ApprovalFault::NotAnApprover { key })?.name.clone();
        if before.contains(&name) {
            return Err(ApprovalFault::Twice { name });
        }
        Ok(name)
    }

    /// Whether enough of them approved.
    #[must_use]
    pub const fn are_enough(&self, judgement: &Judgement) -> bool {
        judgement.approved.len() >= self.required
    }

    /// Who approved a warrant, if they are enough.
    #[must_use]
    pub fn approve(&self, warrant: &Warrant) -> Option<Vec<String>> {
        let judgement = self.judge(&warrant.statement, &warrant.approvals);
        self.are_enough(&judgement).then_some(judgement.approved)
    }
}

//! Who may sign at which place of a chain.

use super::custody_view::CustodyView;
use crate::entry::{Body, CustodyBody, Header, SourceBody};
use crate::signature::PublicKey;
use crate::value::{Sequence, Sha256Digest, Term};

/// What a walk asks about its chain.
pub trait Authority<B: Body> {
    /// The term that an entry at `sequence` must be written in. `before` is the entry before it, none for the first one.
    fn term_at(&self, sequence: Sequence, before: Option<(&Header, &B)>) -> Term;

    /// Whether `signer` may sign an entry at this place, written in this term.
    fn may_sign(&self, term: Term, sequence: Sequence, signer: &PublicKey) -> bool;

    /// The digest that the entry at `sequence` must have because somebody with authority named it.
    fn named_at(&self, sequence: Sequence) -> Option<Sha256Digest>;
}

/// A key and the places at which it may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerRange {
    /// The key.
    pub key: PublicKey,
    /// Its first place.
    pub from: Sequence,
    /// Its last place; none while it is in use.
    pub until: Option<Sequence>,
}

impl SignerRange {
    /// A key that may sign everywhere.
    #[must_use]
    pub const fn always(key: PublicKey) -> Self {
        Self {
            key,
            from: Sequence::FIRST,
            until: None,
        }
    }

    /// Whether the range has this key at this place.
    #[must_use]
    pub fn allows(&self, key: &PublicKey, sequence: Sequence) -> bool {
        self.key == *key && self.from <= sequence && self.until.is_none_or(|until| sequence <= until)
    }
}

/// A custodian's key and, if it is retired, its last place in this registry's custody chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustodianKey {
    /// The key.
    pub key: PublicKey,
    /// Its last place; none while it is in use.
    pub until: Option<Sequence>,
}

/// A key stands among the source signers and among the custodian keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {key} is a source signer and a custodian key: a key has one role; replace one of them")]
pub struct KeyHasTwoRoles {
    /// The key.
    pub key: PublicKey,
}

/// Who may write a custody chain.
#[derive(Clone, Debug)]
pub struct CustodyAuthority {
    keys: Vec<CustodianKey>,
}

impl CustodyAuthority {
    /// Takes the custodian keys that the reader was told to trust.
    #[must_use]
    pub fn new(keys: Vec<CustodianKey>) -> Self {
        Self { keys }
    }
}

impl Authority<CustodyBody> for CustodyAuthority {
    fn term_at(&self, _: Sequence, before: Option<(&Header, &CustodyBody)>) -> Term {
        match before {
            Some((_, CustodyBody::Activation(opening) | CustodyBody::Release(opening))) => opening.next_term,
            Some((header, _)) => header.term,
            None => Term::FIRST,
        }
    }

    fn may_sign(&self, _: Term, sequence: Sequence, signer: &PublicKey) -> bool {
        self.keys
            .iter()
            .any(|key| key.key == *signer && key.until.is_none_or(|until| sequence <= until))
    }

    fn named_at(&self, _: Sequence) -> Option<Sha256Digest> {
        None
    }
}

/// Who may write a source chain: home's signers in term 1, and in each later term the signer whom the custody chain names.
#[derive(Clone, Debug)]
pub struct SourceAuthority {
    signers: Vec<SignerRange>,
    view: CustodyView,
}

impl SourceAuthority {
    /// Puts together the signers of term 1, the custodian keys and what the custody chain says.
    pub fn new(
        signers: Vec<SignerRange>,
        custodians: &[CustodianKey],
        view: CustodyView,
    ) -> Result<Self, KeyHasTwoRoles> {
        let sources = signers.iter().map(|signer| signer.key);
        let sources = sources.chain(view.openings().iter().map(|opening| opening.signer));
        for key in sources {
            if custodians.iter().any(|custodian| custodian.key == key) {
                return Err(KeyHasTwoRoles { key });
            }
        }
        Ok(Self { signers, view })
    }

    /// What the custody chain says.
    #[must_use]
    pub const fn view(&self) -> &CustodyView {
        &self.view
    }

    /// The signers of term 1.
    #[must_use]
    pub fn signers(&self) -> &[SignerRange] {
        &self.signers
    }
}

impl Authority<SourceBody> for SourceAuthority {
    fn term_at(&self, sequence: Sequence, _: Option<(&Header, &SourceBody)>) -> Term {
        self.view.term_of(sequence)
    }

    fn may_sign(&self, term: Term, sequence: Sequence, signer: &PublicKey) -> bool {
        match self.view.opening_of(term) {
            Some(opening) => opening.signer == *signer,
            None => term == Term::FIRST && self.signers.iter().any(|range| range.allows(signer, sequence)),
        }
    }

    fn named_at(&self, sequence: Sequence) -> Option<Sha256Digest> {
        self.view.named_source(sequence)
    }
}

//! What a custody chain says that the source chain's readers and writers must know: terms, named heads, void copies.

use std::collections::{BTreeMap, HashSet};

use super::authority::SignerRange;
use crate::entry::{CustodyBody, EntryRef, TermBody, VerifiedEntry};
use crate::signature::PublicKey;
use crate::value::{CopyId, Sequence, Sha256Digest, Term};

/// Which kind of entry opened a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningKind {
    /// The embassy serves the registry.
    Activation,
    /// The registry goes back home.
    Release,
}

/// The opening of a term after the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The term it opens.
    pub term: Term,
    /// The last source entry that counts in the term before; none when there is none.
    pub source_head: Option<EntryRef>,
    /// Who writes the source chain in the term.
    pub signer: PublicKey,
    /// What opened it.
    pub kind: OpeningKind,
    /// The custody entry that opened it; a mirror adopts a release by naming its digest.
    pub entry: EntryRef,
}

/// Why a signer may not write now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fence {
    /// Another party holds the registry.
    #[error(
        "registry is fenced: custody entry {entry} opened term {term} for {signer}; nothing may be mirrored from here until a release names this key"
    )]
    Fenced {
        /// The term in force.
        term: Term,
        /// The custody entry that opened it.
        entry: Sequence,
        /// What opened it.
        kind: OpeningKind,
        /// Who may write.
        signer: PublicKey,
    },
    /// The registry was released to this key, but nobody has said that the released copy was restored.
    #[error(
        "registry was released to this key by the custody entry with SHA-256 {digest}: restore the released copy, then name that digest in adoptRelease"
    )]
    ReleaseNotAdopted {
        /// The term the release opened.
        term: Term,
        /// The release's digest.
        digest: Sha256Digest,
    },
    /// The key may not sign at this place of term 1.
    #[error("key {key} may not sign source entry {sequence}: it is not among the signers for it")]
    NotASigner {
        /// The key.
        key: PublicKey,
        /// The place.
        sequence: Sequence,
    },
}

/// A custody entry says something about terms that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("custody entry {entry} opens term {term} at a source head below that of the term before")]
pub struct InvalidTerm {
    /// The entry.
    pub entry: Sequence,
    /// The term it would open.
    pub term: Term,
}

/// What the entries of a custody chain say, taken in one after the other.
#[derive(Clone, Debug, Default)]
pub struct CustodyView {
    openings: Vec<Opening>,
    named: BTreeMap<Sequence, Sha256Digest>,
    void: HashSet<CopyId>,
    head: Option<EntryRef>,
}

impl CustodyView {
    /// A chain without entries: term 1, nothing named.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next entry that counts, as the walk along the custody chain gives it.
    ///
    /// A reader that starts in the middle must not start behind an opening: an entry whose header has term 1, and which opens none itself,
    /// has none before it.
    pub fn apply(&mut self, entry: &VerifiedEntry<CustodyBody>) -> Result<(), InvalidTerm> {
        let reference = entry.reference();
        match &entry.entry.body {
            CustodyBody::Proof(proof) => self.name(proof.source_head),
            CustodyBody::Void(void) => {
                self.void.insert(void.copy_id);
            }
            CustodyBody::Activation(body) => self.open(body, OpeningKind::Activation, reference)?,
            CustodyBody::Release(body) => self.open(body, OpeningKind::Release, reference)?,
            CustodyBody::Opaque(_) => {}
        }
        self.head = Some(reference);
        Ok(())
    }

    fn name(&mut self, head: EntryRef) {
        // The first word counts: a later one that differs shows up as a broken link.
        self.named.entry(head.sequence).or_insert(head.digest);
    }

    fn open(&mut self, body: &TermBody, kind: OpeningKind, entry: EntryRef) -> Result<(), InvalidTerm> {
        let place = |head: Option<EntryRef>| head.map(|head| head.sequence);
        if self
            .openings
            .last()
            .is_some_and(|last| place(body.source_head) < place(last.source_head))
        {
            return Err(InvalidTerm {
                entry: entry.sequence,
                term: body.next_term,
            });
        }
        if let Some(head) = body.source_head {
            self.name(head);
        }
        let (term, source_head, signer) = (body.next_term, body.source_head, body.signer);
        self.openings.push(Opening {
            term,
            source_head,
            signer,
            kind,
            entry,
        });
        Ok(())
    }

    /// The head of the custody chain as far as it was taken in; a copy's entry names it.
    #[must_use]
    pub const fn head(&self) -> Option<EntryRef> {
        self.head
    }

    /// The openings of all terms after the first.
    #[must_use]
    pub fn openings(&self) -> &[Opening] {
        &self.openings
    }

    /// The term in force.
    #[must_use]
    pub fn current_term(&self) -> Term {
        self.openings.last().map_or(Term::FIRST, |opening| opening.term)
    }

    /// The opening of a term; none for the first and for one that was never opened.
    #[must_use]
    pub fn opening_of(&self, term: Term) -> Option<&Opening> {
        self.openings.iter().find(|opening| opening.term == term)
    }

    /// The term that a source entry at this place belongs to.
    #[must_use]
    pub fn term_of(&self, sequence: Sequence) -> Term {
        let before = |opening: &&Opening| opening.source_head.is_none_or(|head| head.sequence < sequence);
        self.openings
            .iter()
            .rev()
            .find(before)
            .map_or(Term::FIRST, |opening| opening.term)
    }

    /// The digest that a custody entry names for a source entry.
    #[must_use]
    pub fn named_source(&self, sequence: Sequence) -> Option<Sha256Digest> {
        self.named.get(&sequence).copied()
    }

    /// The last source entry that a custody entry names: a reader without a floor may start there.
    #[must_use]
    pub fn last_named_source(&self) -> Option<EntryRef> {
        self.named.last_key_value().map(|(sequence, digest)| EntryRef {
            sequence: *sequence,
            digest: *digest,
        })
    }

    /// Whether a copy was declared void: then its entry does not count, whenever it appears.
    #[must_use]
    pub fn is_void(&self, copy: CopyId) -> bool {
        self.void.contains(&copy)
    }

    /// Whether `key` may write the source entry at `next`, and in which term.
    ///
    /// `signers` are those of term 1. `adopted` is the digest that the mirror names in `adoptRelease`.
    pub fn may_write(
        &self,
        key: PublicKey,
        signers: &[SignerRange],
        next: Sequence,
        adopted: Option<&Sha256Digest>,
    ) -> Result<Term, Fence> {
        let Some(opening) = self.openings.last() else {
            let allowed = signers.iter().any(|range| range.allows(&key, next));
            return if allowed {
                Ok(Term::FIRST)
            } else {
                Err(Fence::NotASigner { key, sequence: next })
            };
        };
        let Opening {
            term,
            signer,
            kind,
            entry,
            ..
        } = *opening;
        if signer != key {
            return Err(Fence::Fenced {
                term,
                entry: entry.sequence,
                kind,
                signer,
            });
        }
        if kind == OpeningKind::Release && adopted != Some(&entry.digest) {
            return Err(Fence::ReleaseNotAdopted {
                term,
                digest: entry.digest,
            });
        }
        Ok(term)
    }
}

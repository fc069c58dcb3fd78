//! What a custody chain says that the source chain's readers and writers must know: terms, named heads, void copies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::authority::SignerRange;
pub use crate::entry::OpeningKind;
use crate::entry::{
    CustodyBody, DrillBody, EntryRef, IntactCopy, MAX_STANDING_COPIES, MAX_STANDING_DRILLS,
    MAX_STANDING_REPORTS, ProofBody, ReportBody, SequenceRange, Standing, StandingDrill, StandingOpening,
    StandingReport, TermBody, VerifiedEntry,
};
use crate::signature::PublicKey;
use crate::value::{CopyId, OrderId, Sequence, Sha256Digest, Term, Timestamp};

/// How many named source entries are remembered, those of the highest places: what descends from one of them is decided with it, and a chain
/// that is read every hour for years must not grow in memory.
const MAX_NAMED: usize = 256;
/// How many of the latest drills are remembered whatever they say.
const LATEST_DRILLS: usize = 16;

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
    /// The order that it carried out, if there was one.
    pub order: Option<OrderId>,
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
    #[error(
        "key {key} may not sign source entry {sequence}: it is not among the signers for it, or was retired before it"
    )]
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
    /// The latest void copies, oldest declaration first, as many as a [`Standing`] holds: whoever starts late knows no more either.
    void: VecDeque<CopyId>,
    /// First and last number of each range; ranges neither overlap nor touch.
    expired: BTreeMap<Sequence, Sequence>,
    pins: BTreeSet<Sequence>,
    /// As many drills as a [`Standing`] holds, oldest first.
    drills: Vec<StandingDrill>,
    /// The latest reports, as many as a [`Standing`] holds, oldest first.
    reports: VecDeque<StandingReport>,
    confirmed: bool,
    latest_proof: Option<(ProofBody, EntryRef, Timestamp)>,
    head: Option<EntryRef>,
}

impl CustodyView {
    /// A chain without entries: term 1, nothing named.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the entries before a `proof` say together, as it tells it: for a reader that starts there. None if it tells nothing; then such a
    /// reader must start further back. The proof itself is still to be [applied](Self::apply).
    #[must_use]
    pub fn standing_before(proof: &ProofBody) -> Option<Self> {
        let standing = proof.standing.as_ref()?;
        let mut view = Self::default();
        for opening in &standing.openings {
            view.openings.push(Opening {
                term: opening.next_term,
                source_head: opening.source_head,
                signer: opening.signer,
                kind: opening.kind,
                entry: opening.entry,
                order: opening.order.clone(),
            });
            if let Some(head) = opening.source_head {
                view.name(head);
            }
        }
        view.void.extend(&standing.void);
        view.expired
            .extend(standing.expired.iter().map(|range| (range.from, range.until)));
        view.pins.extend(&standing.pins);
        view.drills.extend(standing.drills.iter().cloned());
        view.reports.extend(standing.reports.iter().cloned());
        Some(view)
    }

    /// What the entries taken in so far say together, for the next `proof`.
    ///
    /// Where that is too large for an entry, drills are left out, in the order in which they are forgotten, down to the latest 16: a late
    /// reader can do without old drills, and not without a place to start. Whoever [applies](Self::apply) that proof forgets them too.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let mut standing = self.whole_standing();
        while !standing.fits() && standing.drills.len() > LATEST_DRILLS {
            standing.drills.remove(self.forgettable(&standing.drills));
        }
        standing
    }

    fn whole_standing(&self) -> Standing {
        Standing {
            openings: self
                .openings
                .iter()
                .map(|opening| StandingOpening {
                    entry: opening.entry,
                    kind: opening.kind,
                    source_head: opening.source_head,
                    next_term: opening.term,
                    signer: opening.signer,
                    order: opening.order.clone(),
                })
                .collect(),
            void: self.void.iter().copied().collect(),
            expired: self
                .expired
                .iter()
                .map(|(from, until)| SequenceRange {
                    from: *from,
                    until: *until,
                })
                .collect(),
            pins: self.pins.iter().copied().collect(),
            drills: self.drills.clone(),
            reports: self.reports.iter().cloned().collect(),
        }
    }

    /// Takes in the next entry that counts, as the walk along the custody chain gives it.
    ///
    /// A reader that starts in the middle starts at a `proof` that has a [`standing`](Self::standing_before), or would miss what came before.
    pub fn apply(&mut self, entry: &VerifiedEntry<CustodyBody>) -> Result<(), InvalidTerm> {
        let reference = entry.reference();
        match &entry.entry.body {
            CustodyBody::Proof(proof) => {
                self.name(proof.source_head);
                if let Some(standing) = &proof.standing {
                    // Early and late readers know the same drills, also where the proof had no room for all of them.
                    let is_told = |drill: &StandingDrill| standing.drills.contains(drill);
                    self.drills.retain(is_told);
                }
                self.latest_proof = Some((proof.clone(), reference, entry.entry.header.at));
            }
            CustodyBody::Void(void) => {
                void.copies.iter().for_each(|copy| self.give_up(*copy));
            }
            CustodyBody::Activation(body) => self.open(body, OpeningKind::Activation, reference)?,
            CustodyBody::Release(body) => self.open(body, OpeningKind::Release, reference)?,
            CustodyBody::Expiry(body) => {
                for copy in &body.copies {
                    self.expire(copy.sequence);
                }
            }
            CustodyBody::Pin(body) if body.pinned => {
                self.pins.insert(body.source_sequence);
            }
            CustodyBody::Pin(body) => {
                self.pins.remove(&body.source_sequence);
            }
            CustodyBody::Confirm(body) => {
                self.name(body.source_head);
                self.confirmed = true;
            }
            CustodyBody::Drill(body) => {
                self.name(body.source_entry);
                self.drill(body, reference.sequence);
            }
            CustodyBody::Report(body) => self.report(body, reference.sequence),
        }
        self.head = Some(reference);
        Ok(())
    }

    fn name(&mut self, head: EntryRef) {
        // The first word counts: a later one that differs shows up as a broken link.
        self.named.entry(head.sequence).or_insert(head.digest);
        if self.named.len() > MAX_NAMED {
            self.named.pop_first();
        }
    }

    fn give_up(&mut self, copy: CopyId) {
        if self.is_void(copy) {
            return;
        }
        if self.void.len() == MAX_STANDING_COPIES {
            self.void.pop_front();
        }
        self.void.push_back(copy);
    }

    fn expire(&mut self, sequence: Sequence) {
        if self.is_expired(sequence) {
            return;
        }
        let before = self
            .expired
            .range(..sequence)
            .next_back()
            .map(|(from, until)| (*from, *until))
            .filter(|(_, until)| until.next() == Some(sequence));
        let after = sequence.next().and_then(|next| self.expired.remove(&next));
        let from = before.map_or(sequence, |(from, _)| from);
        self.expired.insert(from, after.unwrap_or(sequence));
    }

    fn drill(&mut self, body: &DrillBody, entry: Sequence) {
        if self.drills.len() == MAX_STANDING_DRILLS {
            self.drills.remove(self.forgettable(&self.drills));
        }
        self.drills.push(StandingDrill {
            entry,
            source_sequence: body.source_entry.sequence,
            order: body.order.clone(),
            passed: body.passed,
            at: body.ended_at,
        });
    }

    fn report(&mut self, body: &ReportBody, entry: Sequence) {
        if let Some(source) = body.source_entry {
            self.name(source);
        }
        if self.reports.len() == MAX_STANDING_REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(StandingReport {
            entry,
            order: body.order.clone(),
        });
    }

    /// Which drill is forgotten first: the oldest about a copy that is gone or was drilled again, but none of the latest, whose orders may
    /// still be asked for; where there is none, the oldest.
    fn forgettable(&self, drills: &[StandingDrill]) -> usize {
        let (old, _) = drills.split_at(drills.len().saturating_sub(LATEST_DRILLS));
        let says_nothing = |(place, drill): (usize, &StandingDrill)| {
            let again = drills[place + 1..]
                .iter()
                .any(|later| later.source_sequence == drill.source_sequence);
            (again || self.is_expired(drill.source_sequence)).then_some(place)
        };
        old.iter().enumerate().find_map(says_nothing).unwrap_or_default()
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
            order: body.order.clone(),
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

    /// The digest that a custody entry names for a source entry; the 256 highest of the named places are remembered.
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

    /// Whether a copy is among the latest 256 that were declared void: then its entry does not count, whenever it appears.
    #[must_use]
    pub fn is_void(&self, copy: CopyId) -> bool {
        self.void.contains(&copy)
    }

    /// Whether a copy was recorded as expired: its objects may be gone.
    #[must_use]
    pub fn is_expired(&self, sequence: Sequence) -> bool {
        self.expired
            .range(..=sequence)
            .next_back()
            .is_some_and(|(_, until)| sequence <= *until)
    }

    /// The copies that are kept whatever their age.
    #[must_use]
    pub const fn pins(&self) -> &BTreeSet<Sequence> {
        &self.pins
    }

    /// The drills that are remembered, oldest first.
    #[must_use]
    pub fn drills(&self) -> &[StandingDrill] {
        &self.drills
    }

    /// The latest drill of a copy, if it is remembered.
    #[must_use]
    pub fn drill_of(&self, copy: Sequence) -> Option<&StandingDrill> {
        self.drills
            .iter()
            .rev()
            .find(|drill| drill.source_sequence == copy)
    }

    /// The newest copy that is not gone and whose latest drill it passed.
    #[must_use]
    pub fn latest_drilled(&self) -> Option<&StandingDrill> {
        let living = |drill: &&StandingDrill| drill.passed && !self.is_expired(drill.source_sequence);
        let passed = self.drills.iter().filter(living);
        passed
            .filter(|drill| {
                self.drill_of(drill.source_sequence).map(|latest| latest.entry) == Some(drill.entry)
            })
            .max_by_key(|drill| drill.source_sequence)
    }

    /// The custody entry that carried out an order, if it is remembered: those of all terms are, and those of drills as long as the drills.
    #[must_use]
    pub fn carried_out(&self, order: &OrderId) -> Option<Sequence> {
        let drill = self.drills.iter().find(|drill| drill.order == *order);
        let opening = self
            .openings
            .iter()
            .find(|opening| opening.order.as_ref() == Some(order));
        drill
            .map(|drill| drill.entry)
            .or_else(|| opening.map(|opening| opening.entry.sequence))
            .or_else(|| self.reported(order))
    }

    /// The entry that reports by this order, if it is among the latest that are remembered.
    #[must_use]
    pub fn reported(&self, order: &OrderId) -> Option<Sequence> {
        let report = self.reports.iter().find(|report| report.order == *order);
        report.map(|report| report.entry)
    }

    /// Whether a person has vouched for a head, among the entries taken in since the view began.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// The latest `proof`, as its entry said it.
    #[must_use]
    pub fn latest_proof(&self) -> Option<&ProofBody> {
        self.latest_proof.as_ref().map(|(proof, ..)| proof)
    }

    /// The entry of the latest `proof`, and when its writer signed it.
    #[must_use]
    pub fn latest_proof_entry(&self) -> Option<(EntryRef, Timestamp)> {
        self.latest_proof.as_ref().map(|(_, entry, at)| (*entry, *at))
    }

    /// The newest copy whose every byte was read back and equal, by the latest proof.
    #[must_use]
    pub fn intact(&self) -> Option<IntactCopy> {
        self.latest_proof().and_then(|proof| proof.intact)
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

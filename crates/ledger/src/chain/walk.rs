//! The walk from entry to entry.
//!
//! A place may have several versions although none should. Which one counts is decided by the entry after it, which names one of them; for a
//! head nobody names yet, the store's order decides. So the walk keeps the versions of the last places as a small tree whose leaves are the
//! versions of the last place, and lets go of an entry once every leaf descends from it.

use std::collections::VecDeque;

use super::MAX_VERSIONS;
use super::alarm::Alarm;
use super::authority::Authority;
use crate::entry::{Body, Chain, Entry, EntryRef, Header, ReadError, VerifiedEntry};
use crate::key::ObjectKey;
use crate::value::{RegistryId, Sequence, Sha256Digest, StoreId, Term, VersionId};

/// How many places may stay undecided. Beyond it the store's order decides: memory stays bounded whatever a signer writes.
const MAX_UNDECIDED: usize = 32;

/// One version of an object, as the store holds it.
#[derive(Clone, Debug)]
pub struct StoredVersion {
    /// The version.
    pub version: VersionId,
    /// Its bytes. Reading one byte more than an entry may have is enough to know that it is too large.
    pub bytes: Vec<u8>,
}

/// Where a walk starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Before the first entry, which names the digest of `embassy.json`.
    Genesis(Sha256Digest),
    /// At an entry that is known; the walk first asks for it and takes no other.
    Known(EntryRef),
}

/// An entry that counts, and the version it is.
#[derive(Clone, Debug)]
pub struct Found<B> {
    /// The version.
    pub version: VersionId,
    /// The entry.
    pub entry: VerifiedEntry<B>,
}

/// What one offer brought.
#[derive(Debug)]
pub struct Step<B> {
    /// Whether the head moved.
    pub advanced: bool,
    /// Entries that are decided now, in the order of the chain. The head is never among them.
    pub decided: Vec<Found<B>>,
    /// What was wrong.
    pub alarms: Vec<Alarm>,
}

struct Candidate<B> {
    found: Found<B>,
    /// The place of its parent among the candidates one level up.
    parent: usize,
}

/// A walk along one chain of one registry.
pub struct Walk<B: Body, A: Authority<B>> {
    store_id: StoreId,
    registry: RegistryId,
    authority: A,
    start: Start,
    floor: Option<EntryRef>,
    levels: VecDeque<Vec<Candidate<B>>>,
}

impl<B: Body, A: Authority<B>> Walk<B, A> {
    /// Begins a walk. Nothing has been read.
    #[must_use]
    pub fn new(store_id: StoreId, registry: RegistryId, authority: A, start: Start) -> Self {
        Self {
            store_id,
            registry,
            authority,
            start,
            floor: None,
            levels: VecDeque::new(),
        }
    }

    /// Names an entry that the chain is known to have: at its place no other is taken.
    #[must_use]
    pub fn with_floor(mut self, floor: Option<EntryRef>) -> Self {
        self.floor = floor;
        self
    }

    /// The head: the last entry of the chain as far as it was walked.
    #[must_use]
    pub fn head(&self) -> Option<&Found<B>> {
        self.levels
            .back()
            .and_then(|level| level.first())
            .map(|candidate| &candidate.found)
    }

    /// What the next entry must name as `prev`; none while the walk has not found the entry it starts at.
    #[must_use]
    pub fn tip(&self) -> Option<Sha256Digest> {
        match (self.head(), self.start) {
            (Some(head), _) => Some(head.entry.digest),
            (None, Start::Genesis(digest)) => Some(digest),
            (None, Start::Known(_)) => None,
        }
    }

    /// Who may sign.
    #[must_use]
    pub const fn authority(&self) -> &A {
        &self.authority
    }

    /// Judges the places that come next by another authority. What was walked already stays as it was judged.
    pub fn replace_authority(&mut self, authority: A) {
        self.authority = authority;
    }

    /// How many versions of the last place count for somebody: more than one is a fork that the entries to come must decide.
    #[must_use]
    pub fn rivals(&self) -> usize {
        self.levels.back().map_or(0, Vec::len)
    }

    /// The entries from the oldest undecided one to the head, in the order of the chain. For a chain without second versions this is the head
    /// alone.
    #[must_use]
    pub fn undecided(&self) -> Vec<&Found<B>> {
        let (mut path, mut index) = (Vec::with_capacity(self.levels.len()), 0);
        for level in self.levels.iter().rev() {
            let Some(candidate) = level.get(index) else { break };
            path.push(&candidate.found);
            index = candidate.parent;
        }
        path.reverse();
        path
    }

    /// The place that the walk asks for next; none behind the last one there can be.
    #[must_use]
    pub fn next_sequence(&self) -> Option<Sequence> {
        match (self.head(), self.start) {
            (Some(head), _) => head.entry.entry.header.sequence.next(),
            (None, Start::Genesis(_)) => Some(Sequence::FIRST),
            (None, Start::Known(known)) => Some(known.sequence),
        }
    }

    /// The key that the walk asks for next; none behind the last one there can be.
    #[must_use]
    pub fn next(&self) -> Option<ObjectKey> {
        let sequence = self.next_sequence()?;
        let before = self
            .head()
            .map(|head| (&head.entry.entry.header, &head.entry.entry.body));
        let registry = self.registry.clone();
        Some(match B::CHAIN {
            Chain::Source => ObjectKey::Source {
                registry,
                term: self.authority.term_at(sequence, before),
                sequence,
            },
            Chain::Custody => ObjectKey::Custody { registry, sequence },
        })
    }

    /// Judges all versions of the key that [`Self::next`] names, oldest first.
    pub fn offer(&mut self, versions: &[StoredVersion]) -> Step<B> {
        let mut step = Step {
            advanced: false,
            decided: Vec::new(),
            alarms: Vec::new(),
        };
        let (Some(key), Some(sequence)) = (self.next(), self.next_sequence()) else {
            return step;
        };
        if versions.len() > 1 {
            step.alarms.push(Alarm::SecondVersion {
                key: key.to_string(),
                versions: versions.len(),
            });
        }
        let mut level: Vec<Candidate<B>> = Vec::new();
        for stored in versions.iter().take(MAX_VERSIONS) {
            match self.judge(&key, sequence, stored) {
                // The same bytes twice are one entry: either version will do.
                Ok(candidate)
                    if level
                        .iter()
                        .any(|other| other.found.entry.digest == candidate.found.entry.digest) => {}
                Ok(candidate) => level.push(candidate),
                Err(alarm) => step.alarms.push(alarm),
            }
        }
        if !level.is_empty() {
            step.advanced = true;
            self.levels.push_back(level);
            self.prune();
            step.decided = self.decide();
        }
        step
    }

    fn judge(
        &self,
        key: &ObjectKey,
        sequence: Sequence,
        stored: &StoredVersion,
    ) -> Result<Candidate<B>, Alarm> {
        let (name, version) = (|| key.to_string(), || stored.version.clone());
        let entry = Entry::<B>::verify(&stored.bytes).map_err(|error| match error {
            ReadError::WrongSignature(error) => Alarm::WrongSignature {
                key: name(),
                version: version(),
                error,
            },
            error => Alarm::Unparsable {
                key: name(),
                version: version(),
                error,
            },
        })?;
        let header = &entry.entry.header;
        let misplaced = |what| Alarm::Misplaced {
            key: name(),
            version: version(),
            what,
        };
        if header.store_id != self.store_id {
            return Err(misplaced("store"));
        }
        if header.registry != self.registry {
            return Err(misplaced("registry"));
        }
        if header.sequence != sequence {
            return Err(misplaced("sequence"));
        }
        if !self
            .authority
            .may_sign(header.term, header.sequence, &entry.signer)
        {
            return Err(Alarm::ForeignSignature {
                key: name(),
                version: version(),
                signer: entry.signer,
                digest: entry.digest,
            });
        }
        let broken = || Alarm::BrokenLink {
            key: name(),
            version: version(),
            prev: header.prev,
        };
        let parent = self.parent_of(header, entry.digest).ok_or_else(broken)?;
        if !self.right_term(header, parent) {
            return Err(misplaced("term"));
        }
        if let Some(floor) = self
            .floor
            .filter(|floor| floor.sequence == sequence && floor.digest != entry.digest)
        {
            return Err(Alarm::RolledBack {
                chain: B::CHAIN,
                sequence: floor.sequence,
                digest: floor.digest,
            });
        }
        if self
            .authority
            .named_at(sequence)
            .is_some_and(|named| named != entry.digest)
        {
            return Err(Alarm::ContradictsCustody {
                key: name(),
                version: version(),
            });
        }
        Ok(Candidate {
            found: Found {
                version: version(),
                entry,
            },
            parent,
        })
    }

    /// Whether these bytes were made for this place and signed by who may sign there, also where this version cannot read them. Whether they are
    /// linked is not asked.
    #[must_use]
    pub fn is_made_for(&self, key: &ObjectKey, bytes: &[u8]) -> bool {
        let Some(signed) = Entry::<B>::signed(bytes) else {
            return false;
        };
        let (term, sequence) = match (B::CHAIN, key) {
            (Chain::Source, ObjectKey::Source { term, sequence, .. }) => (*term, *sequence),
            // Under a custody entry's key no term is told, and who may sign does not depend on it.
            (Chain::Custody, ObjectKey::Custody { sequence, .. }) => (Term::FIRST, *sequence),
            _ => return false,
        };
        let is_in_place = signed.header.is_none_or(|header| {
            header.store_id == self.store_id
                && header.registry == self.registry
                && header.sequence == sequence
                && (B::CHAIN == Chain::Custody || header.term == term)
        });
        is_in_place && self.authority.may_sign(term, sequence, &signed.signer)
    }

    /// The place, among the versions of the last place, of the one that an entry names. Before the first entry it is 0 if the entry is the
    /// one that the walk may start with.
    fn parent_of(&self, header: &Header, digest: Sha256Digest) -> Option<usize> {
        if let Some(tips) = self.levels.back() {
            return tips.iter().position(|tip| tip.found.entry.digest == header.prev);
        }
        let starts = match self.start {
            Start::Genesis(genesis) => header.prev == genesis,
            Start::Known(known) => digest == known.digest,
        };
        starts.then_some(0)
    }

    fn right_term(&self, header: &Header, parent: usize) -> bool {
        let before = self
            .levels
            .back()
            .and_then(|tips| tips.get(parent))
            .map(|tip| &tip.found.entry.entry);
        if before.is_none() && B::CHAIN == Chain::Custody && matches!(self.start, Start::Known(_)) {
            // Its digest is known, so its term is what it says.
            return true;
        }
        header.term
            == self
                .authority
                .term_at(header.sequence, before.map(|entry| (&entry.header, &entry.body)))
    }

    /// Lets go of every version from which no version of the last place descends.
    fn prune(&mut self) {
        for upper in (0..self.levels.len().saturating_sub(1)).rev() {
            let mut kept = vec![None; self.levels[upper].len()];
            for child in &self.levels[upper + 1] {
                kept[child.parent] = Some(0);
            }
            for (place, slot) in kept.iter_mut().flatten().enumerate() {
                *slot = place;
            }
            let mut living = kept.iter().map(Option::is_some);
            self.levels[upper].retain(|_| living.next().unwrap_or_default());
            for child in &mut self.levels[upper + 1] {
                child.parent = kept[child.parent].unwrap_or_default();
            }
        }
    }

    fn decide(&mut self) -> Vec<Found<B>> {
        if self.levels.len() > MAX_UNDECIDED {
            if let Some(leaves) = self.levels.back_mut() {
                leaves.truncate(1);
            }
            self.prune();
        }
        let mut decided = Vec::new();
        while self.levels.len() > 1 && self.levels[0].len() == 1 {
            decided.extend(
                self.levels
                    .pop_front()
                    .into_iter()
                    .flatten()
                    .map(|candidate| candidate.found),
            );
        }
        decided
    }

    /// The alarm for a key that a listing shows although [`Self::next`] is not there; none if the key does not matter to this chain.
    #[must_use]
    pub fn beyond(&self, key: &ObjectKey) -> Option<Alarm> {
        let missing = self.next()?;
        let gap = match (&missing, key) {
            (
                ObjectKey::Source {
                    registry,
                    term,
                    sequence,
                },
                ObjectKey::Source {
                    registry: other,
                    term: later_term,
                    sequence: later,
                },
            ) => registry == other && later > sequence && later_term >= term,
            (
                ObjectKey::Custody { registry, sequence },
                ObjectKey::Custody {
                    registry: other,
                    sequence: later,
                },
            ) => registry == other && later > sequence,
            _ => false,
        };
        gap.then(|| Alarm::Gap {
            missing: missing.to_string(),
            found: key.to_string(),
        })
    }

    /// The alarm for a walk that ended below its floor, or that did not find the entry it starts at.
    #[must_use]
    pub fn rolled_back(&self) -> Option<Alarm> {
        let head = self.head().map(|head| head.entry.entry.header.sequence);
        let known = match self.start {
            Start::Known(known) => Some(known),
            Start::Genesis(_) => None,
        };
        let missing = |known: &EntryRef| head.is_none_or(|head| head < known.sequence);
        let missed = known.filter(missing).or(self.floor.filter(missing))?;
        Some(Alarm::RolledBack {
            chain: B::CHAIN,
            sequence: missed.sequence,
            digest: missed.digest,
        })
    }
}

impl<B: Body, A: Authority<B>> std::fmt::Debug for Walk<B, A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head = self.head().map(|head| head.entry.reference());
        formatter
            .debug_struct("Walk")
            .field("registry", &self.registry)
            .field("head", &head)
            .finish_non_exhaustive()
    }
}

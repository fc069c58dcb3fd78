//! A pass over the listing of everything that a registry has in the store: are the objects of each living copy there, with their versions
//! and sizes; is every place of both chains taken; what is there that no entry names; and how many bytes is all of it.
//!
//! One sum for each copy, whatever it consists of; the listing streams by.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::value::{CopyId, RegistryId, Sequence, VersionId};
use jiff::Timestamp;
use rand::Rng as _;

use super::TURN;
use super::holdings::HoldingsState;
use super::listing::{Group, Listing};
use super::tally::{Tally, TallyKey};
use crate::custodian::finding::{Finding, Loss};
use crate::store::{LEAST_OBJECT_BYTES, Store, StoreError};

/// The most copies without an entry that are told apart; the bytes of all count. Expired ones are known by an entry and count by themselves.
const MAX_UNNAMED: usize = 1_024;
/// How many objects of living copies are drawn, for whoever wants to look at a sample.
const SAMPLE: usize = 8;
/// The most places of the chains that are told as faults.
const MAX_FAULTS: usize = 16;

/// Objects in the folder of a copy that no living entry names: an expired one's, or those of a run that never came to its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unnamed {
    /// When the oldest of them was written.
    pub oldest: Timestamp,
    /// When the newest of them was written.
    pub newest: Timestamp,
    /// How many versions they are.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Unnamed {
    fn add(&mut self, other: Self) {
        self.oldest = self.oldest.min(other.oldest);
        self.newest = self.newest.max(other.newest);
        self.objects += other.objects;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// One object of a living copy, drawn at random.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The copy.
    pub copy: CopyId,
    /// The object.
    pub object: CopyObject,
    /// Its version.
    pub version: VersionId,
}

/// What a pass found.
#[derive(Debug, Default)]
pub struct Census {
    /// Bytes of all versions, each as at least 4 KiB.
    pub used_bytes: u64,
    /// The sum of each living copy's objects.
    pub copies: BTreeMap<CopyId, Tally>,
    /// Folders of copies that are known to have expired.
    pub expired: BTreeMap<CopyId, Unnamed>,
    /// Folders of copies that no entry names, as far as is known: those of runs in progress, and of runs that were given up.
    pub unnamed: BTreeMap<CopyId, Unnamed>,
    /// A few objects of living copies.
    pub sample: Vec<Drawn>,
    /// What is wrong with the places of the chains, and with keys that are none.
    pub findings: Vec<Finding>,
}

/// What a pass is held against: the state when it began.
#[derive(Debug)]
pub struct Expected {
    registry: RegistryId,
    /// Living copies by id, and the version of each one's entry.
    copies: BTreeMap<CopyId, Sequence>,
    entries: BTreeMap<Sequence, VersionId>,
    /// Copies that have expired and may still be there.
    expired: BTreeSet<CopyId>,
    view: CustodyView,
    source_head: Option<Sequence>,
    custody_head: Option<Sequence>,
}

impl Expected {
    /// Notes what is there to be found.
    #[must_use]
    pub fn new(
        registry: RegistryId,
        holdings: &HoldingsState,
        view: CustodyView,
        source_head: Option<Sequence>,
        custody_head: Option<Sequence>,
    ) -> Self {
        let copies = holdings.copies.values().filter(|held| held.twin_of.is_none());
        let entries = holdings.copies.values();
        Self {
            registry,
            copies: copies.map(|held| (held.copy, held.reference.sequence)).collect(),
            entries: entries
                .map(|held| (held.reference.sequence, held.version.clone()))
                .collect(),
            expired: holdings.expired.keys().copied().collect(),
            view,
            source_head,
            custody_head,
        }
    }

    /// The living copies, and the number of each.
    #[must_use]
    pub const fn copies(&self) -> &BTreeMap<CopyId, Sequence> {
        &self.copies
    }
}

/// A pass that is being made, a piece at a time: a folder may hold millions of objects.
#[derive(Debug)]
pub struct Count {
    listing: Listing,
    expected: Expected,
    key: TallyKey,
    /// How long it has taken so far.
    took: Duration,
    census: Census,
    /// The next place of each chain that must be there.
    source: u64,
    custody: u64,
    /// Objects of living copies so far, for the sample.
    seen: usize,
}

/// How a pass stands after a piece of it.
#[derive(Debug)]
pub enum Counted {
    /// There is more.
    Partly(Box<Count>),
    /// It came to its end.
    Wholly(Box<Pass>),
}

/// A pass that came to its end.
#[derive(Debug)]
pub struct Pass {
    /// What was found.
    pub census: Census,
    /// What was expected.
    pub expected: Expected,
    /// How long it took, without the pauses.
    pub took: Duration,
}

impl Count {
    /// Begins to list everything below the registry's prefix.
    #[must_use]
    pub fn begin(store: &Store, expected: Expected, key: TallyKey) -> Self {
        let prefix = ObjectKey::registry_prefix(&expected.registry);
        Self {
            listing: Listing::new(store, &prefix, None),
            expected,
            key,
            took: Duration::ZERO,
            census: Census::default(),
            source: Sequence::FIRST.get(),
            custody: Sequence::FIRST.get(),
            seen: 0,
        }
    }

    /// Goes on for a moment.
    pub async fn advance(mut self: Box<Self>) -> Result<Counted, StoreError> {
        let began = Instant::now();
        while let Some(group) = self.listing.next().await? {
            self.take(&group);
            if began.elapsed() >= TURN {
                self.took += began.elapsed();
                return Ok(Counted::Partly(self));
            }
        }
        let took = self.took + began.elapsed();
        Ok(Counted::Wholly(Box::new(self.finish(took))))
    }

    fn take(&mut self, group: &Group) {
        let bytes: u64 = group
            .versions
            .iter()
            .map(|version| version.size.max(LEAST_OBJECT_BYTES))
            .sum();
        self.census.used_bytes = self.census.used_bytes.saturating_add(bytes);
        match group.key.parse::<ObjectKey>() {
            Ok(ObjectKey::Copy { copy, object, .. }) => self.take_object(copy, object, group),
            Ok(ObjectKey::Source { term, sequence, .. }) => {
                let counts = self.expected.view.term_of(sequence) == term
                    && Some(sequence) <= self.expected.source_head;
                if counts {
                    self.take_source(sequence, group);
                }
            }
            Ok(ObjectKey::Custody { sequence, .. }) if Some(sequence) <= self.expected.custody_head => {
                self.take_custody(sequence, group);
            }
            Ok(_) => {}
            Err(_) => self.note(Reason::LedgerUnreadable, None, Loss::Nothing, || {
                let key: String = group.key.chars().take(160).collect();
                format!("{key} is no key of a store, so whatever is there is nobody's")
            }),
        }
    }

    fn take_object(&mut self, copy: CopyId, object: CopyObject, group: &Group) {
        if !self.expected.copies.contains_key(&copy) {
            self.take_unnamed(copy, group);
            return;
        }
        let tally = self.census.copies.entry(copy).or_default();
        tally.add_listed(&self.key, object, group);
        if let Some(id) = group.objects().next().and_then(|version| version.version.clone()) {
            self.draw(Drawn {
                copy,
                object,
                version: id,
            });
        }
    }

    /// Keeps each object with the same chance, however many there are.
    fn draw(&mut self, drawn: Drawn) {
        self.seen += 1;
        if self.census.sample.len() < SAMPLE {
            self.census.sample.push(drawn);
            return;
        }
        let place = rand::rng().random_range(0..self.seen);
        if let Some(slot) = self.census.sample.get_mut(place) {
            *slot = drawn;
        }
    }

    fn take_unnamed(&mut self, copy: CopyId, group: &Group) {
        let is_expired = self.expected.expired.contains(&copy);
        let census = &mut self.census;
        let folders = if is_expired {
            &mut census.expired
        } else {
            &mut census.unnamed
        };
        if !is_expired && folders.len() == MAX_UNNAMED && !folders.contains_key(&copy) {
            return;
        }
        for version in &group.versions {
            // What has no time may have been written just now.
            let at = version.written_at.unwrap_or_else(Timestamp::now);
            let seen = Unnamed {
                oldest: at,
                newest: at,
                objects: 1,
                bytes: version.size,
            };
            match folders.entry(copy) {
                Entry::Vacant(folder) => {
                    folder.insert(seen);
                }
                Entry::Occupied(folder) => folder.into_mut().add(seen),
            }
        }
    }

    fn take_source(&mut self, sequence: Sequence, group: &Group) {
        self.missing_until(sequence);
        self.source = sequence.get() + 1;
        let known = self.expected.entries.get(&sequence);
        let there = |known: &VersionId| group.objects().any(|one| one.version.as_ref() == Some(known));
        if group.objects().next().is_none() || known.is_some_and(|known| !there(known)) {
            let key = &group.key;
            self.note(Reason::LedgerGap, Some(sequence), Loss::Copy, || {
                format!("entry {key} is not in the store any more; another object, or a delete marker, has its place")
            });
        } else if group.versions.len() > 1 {
            let (key, versions) = (&group.key, group.versions.len());
            self.note(Reason::SecondVersion, Some(sequence), Loss::Nothing, || {
                format!("entry {key} has {versions} versions; it must have one, and the one that the chain goes on from counts")
            });
        }
    }

    /// Places that the listing has passed over.
    fn missing_until(&mut self, sequence: Sequence) {
        let missing = self.source..sequence.get();
        for place in missing.clone().take(MAX_FAULTS) {
            let until = missing.end - 1;
            let sequence = Sequence::new(place).ok();
            let is_expired = sequence.is_some_and(|place| self.expected.view.is_expired(place));
            let lost = if is_expired { Loss::Nothing } else { Loss::Copy };
            self.note(Reason::LedgerGap, sequence, lost, || {
                format!("source entry {place} is not in the store, although entries up to {until} and beyond were there")
            });
        }
    }

    fn take_custody(&mut self, sequence: Sequence, group: &Group) {
        let missing = self.custody..sequence.get();
        self.custody = sequence.get() + 1;
        if !missing.is_empty() || group.objects().next().is_none() {
            let (first, last) = (missing.start, sequence.get());
            self.note(Reason::LedgerGap, None, Loss::Object, || {
                format!("custody entries are not in the store, between {first} and {last}")
            });
        } else if group.versions.len() > 1 {
            let (key, versions) = (&group.key, group.versions.len());
            self.note(Reason::SecondVersion, None, Loss::Nothing, || {
                format!("entry {key} has {versions} versions; it must have one")
            });
        }
    }

    fn note(
        &mut self,
        reason: Reason,
        sequence: Option<Sequence>,
        lost: Loss,
        what: impl FnOnce() -> String,
    ) {
        let told = |one: &Finding| one.reason == reason && one.sequence == sequence;
        if self.census.findings.len() < MAX_FAULTS && !self.census.findings.iter().any(told) {
            self.census.findings.push(Finding {
                reason,
                sequence,
                what: what(),
                lost,
            });
        }
    }

    fn finish(mut self, took: Duration) -> Pass {
        // The last place is the head itself, which the look at the chain judges; what is missing before it is told here.
        if let Some(head) = self.expected.source_head {
            self.missing_until(head);
        }
        Pass {
            census: self.census,
            expected: self.expected,
            took,
        }
    }
}

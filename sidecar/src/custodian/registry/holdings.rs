//! What the custodian knows of a registry's living copies: some hundred bytes each, whatever their size.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dataembassy_contract::Reason;
use dataembassy_ledger::entry::{CopyBody, CopyFault, EntryRef};
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::value::{CopyId, Sequence, Sha256Digest, Term, VersionId};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::comparison::Comparison;
use super::tally::Tally;
use crate::custodian::finding::{Finding, Loss};
use crate::store::ObjectLock;

/// How many damaged objects of a copy are remembered by name, to look at them again.
pub const MAX_REMEMBERED: usize = 16;

/// A living copy.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its entry.
    pub reference: EntryRef,
    /// The term in which the entry was written.
    pub term: Term,
    /// The entry's version.
    pub version: VersionId,
    /// When the entry came, by the store's clock.
    pub arrived_at: Timestamp,
    /// When the snapshot was taken, by the source's clock.
    pub taken_at: Timestamp,
    /// The copy's id.
    pub copy: CopyId,
    /// The earlier entry that has named the same id, where one has: the folder is that one's, and this is no copy of its own.
    pub twin_of: Option<Sequence>,
    /// The copies whose objects it needs.
    pub parents: Vec<Sequence>,
    /// Sealed bytes of all segments.
    pub bytes: u64,
    /// How many segments it has.
    pub segments: u64,
    /// Whether it is sealed to exactly the recipients that the configuration names.
    pub recipients_fit: bool,
    /// Its manifest, as level 1 read it.
    pub manifest: Manifest,
    /// Its objects, as listings show them.
    pub listed: Listed,
    /// Its bytes, as level 2 read them back.
    pub read: ReadBack,
    /// Its locks, as far as they were looked at.
    pub locks: Locks,
}

/// What is known of a copy's manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Manifest {
    /// It was not read yet.
    #[default]
    Unread,
    /// It is right, and these are the objects that it and the entry name.
    Sound(Tally),
    /// It is not.
    Wrong(Box<Damage>),
}

/// What listings show of a copy's objects.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// The sum of the listing that was compared last: another one must be compared anew.
    pub compared: Option<Tally>,
    /// What is missing or changed.
    pub damage: Option<Box<Damage>>,
    /// Objects that the copy does not name.
    pub surplus: Option<Box<Surplus>>,
}

/// Objects in a copy's folder that it does not name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surplus {
    /// Versions beside a named one, and delete markers over one.
    pub beside: u64,
    /// Objects under keys that the copy does not name.
    pub unnamed: u64,
    /// One of them.
    pub example: String,
}

/// What reading a copy back has shown.
#[derive(Clone, Debug, Default)]
pub struct ReadBack {
    /// When the last whole reading began in which every byte was equal.
    pub verified_at: Option<Timestamp>,
    /// A reading in progress.
    pub partial: Option<Partial>,
    /// Objects that are not what they should be.
    pub damage: Option<Box<ReadDamage>>,
}

/// How far a reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Segments, in the manifest's order, that were read and are equal.
    pub segments: u64,
    /// When it began.
    pub since: Timestamp,
}

/// What is wrong with a copy, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The worst of it.
    pub fault: CopyFault,
    /// How many objects it concerns.
    pub objects: u64,
    /// One of them, or why it cannot be said.
    pub example: String,
}

/// Objects that were read and found wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadDamage {
    /// The first few.
    pub objects: Vec<DamagedObject>,
    /// How many there are in all.
    pub count: u64,
    /// When they were looked at last.
    pub looked_at: Timestamp,
    /// Whether the whole copy was read since it began: then nothing else is wrong with it.
    pub complete: bool,
    /// When the reading began that found them.
    pub since: Timestamp,
}

/// An object that was read and found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedObject {
    /// Which.
    pub object: CopyObject,
    /// Its version.
    pub version: VersionId,
    /// Its size by the ledger.
    pub size: u64,
    /// Its digest by the ledger.
    pub sha256: Sha256Digest,
    /// What is wrong with it.
    pub fault: CopyFault,
}

/// What is known of a copy's locks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    /// The earliest end among those that were looked at last.
    pub until: Option<Timestamp>,
    /// What is wrong with one of them.
    pub fault: Option<Box<LockFault>>,
    /// Until when every object is locked at least, as whoever prolonged them last made sure.
    pub secured: Option<Timestamp>,
    /// Before this nobody tries again to prolong them.
    pub again: Option<Instant>,
}

/// A lock that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockFault {
    /// `LockMissing` or `LockTooShort`.
    pub reason: Reason,
    /// Which object, and what it has.
    pub what: String,
    /// The object, to look at it again.
    pub object: CopyObject,
    /// Its version.
    pub version: VersionId,
}

impl Held {
    /// Takes what an entry says of its copy.
    #[must_use]
    pub fn new(
        reference: EntryRef,
        term: Term,
        version: VersionId,
        arrived_at: Timestamp,
        body: &CopyBody,
    ) -> Self {
        Self {
            reference,
            term,
            version,
            arrived_at,
            taken_at: body.taken_at.as_jiff(),
            copy: body.copy_id,
            twin_of: None,
            parents: body.parents.iter().map(|parent| parent.sequence).collect(),
            bytes: body.totals.sealed_bytes,
            segments: body.totals.segments,
            recipients_fit: true,
            manifest: Manifest::Unread,
            listed: Listed::default(),
            read: ReadBack::default(),
            locks: Locks::default(),
        }
    }

    /// The latest moment that it can show: who dates a copy ahead makes it no younger than its entry is in the store.
    #[must_use]
    pub fn moment(&self) -> Timestamp {
        self.taken_at.min(self.arrived_at)
    }

    /// The worst that is known against it; `None` while nothing is.
    #[must_use]
    pub fn fault(&self) -> Option<CopyFault> {
        let manifest = match &self.manifest {
            Manifest::Wrong(damage) => Some(damage.fault),
            _ => None,
        };
        let listed = self.listed.damage.as_ref().map(|damage| damage.fault);
        let read = self.read.damage.as_ref();
        let read = read.and_then(|damage| damage.objects.iter().map(|object| object.fault).min());
        let recipients = (!self.recipients_fit).then_some(CopyFault::Recipients);
        let twin = self.twin_of.map(|_| CopyFault::Manifest);
        let faults = [manifest, listed, read, recipients, twin];
        faults.into_iter().flatten().min()
    }

    /// Takes over what its manifest shows. Where that was wrong, all that it names must be read again before it is believed.
    pub fn note_manifest(&mut self, manifest: Manifest) {
        if matches!(self.manifest, Manifest::Wrong(_)) && matches!(manifest, Manifest::Sound(_)) {
            self.read = ReadBack::default();
        }
        self.manifest = manifest;
    }

    /// Takes over what a listing has shown. What was missing and is there again must be read again before it is believed.
    pub fn note_listed(&mut self, listed: Listed) {
        if self.listed.damage.is_some() && listed.damage.is_none() {
            self.read = ReadBack::default();
        }
        self.listed = listed;
    }

    /// Whether its bytes are known to be whole: read back once, and nothing found against them since.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.read.verified_at.is_some() && self.fault().is_none()
    }

    /// What is to be told about it.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        let sequence = Some(self.reference.sequence);
        let of = move |reason, what, lost| Finding {
            reason,
            sequence,
            what,
            lost,
        };
        let manifest = match &self.manifest {
            Manifest::Wrong(damage) => Some(of(reason(damage.fault), damage.told(), Loss::Copy)),
            _ => None,
        };
        let twin = self.twin_of.map(|first| {
            let what = format!(
                "it names copy {}, which entry {first} has named before, and is no copy of its own",
                self.copy
            );
            of(Reason::ManifestInvalid, what, Loss::Copy)
        });
        let listed = self.listed.damage.as_ref();
        let listed = listed.map(|damage| of(reason(damage.fault), damage.told(), Loss::Copy));
        let read = self.read.damage.as_ref().and_then(|damage| damage.summary());
        let read = read.map(|damage| of(reason(damage.fault), damage.told(), Loss::Copy));
        let recipients = (!self.recipients_fit).then(|| {
            let what = "it is sealed to other recipients than the DataEmbassy names".to_owned();
            of(Reason::ForeignRecipients, what, Loss::Nothing)
        });
        let surplus = self.listed.surplus.as_ref().filter(|surplus| surplus.beside > 0);
        let surplus = surplus.map(|surplus| of(Reason::SecondVersion, surplus.told(), Loss::Nothing));
        let lock = self.locks.fault.as_ref();
        let lock = lock.map(|fault| of(fault.reason, fault.what.clone(), Loss::Nothing));
        let mut all: Vec<Finding> = Vec::new();
        for one in [twin, manifest, listed, read, recipients, surplus, lock]
            .into_iter()
            .flatten()
        {
            // One reason is told once for a copy; the first has the better words.
            if all.iter().all(|other| other.reason != one.reason) {
                all.push(one);
            }
        }
        all.into_iter()
    }
}

impl Listed {
    /// The listing shows exactly what the copy names.
    #[must_use]
    pub fn whole(found: Tally) -> Self {
        Self {
            compared: Some(found),
            ..Self::default()
        }
    }

    /// What an exact comparison has shown.
    #[must_use]
    pub fn compared(comparison: Comparison) -> Self {
        Self {
            compared: Some(comparison.found),
            damage: comparison.damage.map(Box::new),
            surplus: comparison.surplus.map(Box::new),
        }
    }
}

impl Locks {
    /// Takes over what was seen of one object's lock, and what is wrong with it.
    pub fn see(
        &mut self,
        object: CopyObject,
        version: &VersionId,
        lock: &ObjectLock,
        fault: Option<(Reason, String)>,
    ) {
        let is_the_faulty_one = self.fault.as_ref().is_some_and(|one| one.object == object);
        match fault {
            Some((reason, what)) if self.fault.is_none() || is_the_faulty_one => {
                self.fault = Some(Box::new(LockFault {
                    reason,
                    what: format!("object {object}: {what}"),
                    object,
                    version: version.clone(),
                }));
            }
            None if is_the_faulty_one => self.fault = None,
            _ => {}
        }
        // Who saw it before it was prolonged may tell of it only now.
        let Some(until) = lock.until.max(self.secured) else {
            return;
        };
        // The same object may have been prolonged; another one does not make the earliest end later.
        self.until = Some(match (self.until, is_the_faulty_one) {
            (Some(known), false) => known.min(until),
            _ => until,
        });
    }
}

impl Damage {
    fn told(&self) -> String {
        let objects = match self.objects {
            1 => "1 object of it is".to_owned(),
            count => format!("{count} objects of it are"),
        };
        let such_as = &self.example;
        match self.fault {
            CopyFault::Missing => format!("{objects} not in the store, such as {such_as}"),
            CopyFault::Changed => format!("{objects} not what the ledger says, such as {such_as}"),
            CopyFault::Unreadable => format!("{objects} not readable for the store, such as {such_as}"),
            CopyFault::Manifest => format!("its manifest cannot be used: {such_as}"),
            CopyFault::Recipients => such_as.clone(),
        }
    }
}

impl ReadDamage {
    /// The worst of it, counted.
    #[must_use]
    pub fn summary(&self) -> Option<Damage> {
        let worst = self.objects.iter().min_by_key(|object| object.fault)?;
        Some(Damage {
            fault: worst.fault,
            objects: self.count,
            example: worst.object.to_string(),
        })
    }
}

impl Surplus {
    fn told(&self) -> String {
        format!(
            "{} other versions or delete markers stand beside its objects, such as {}; its own versions are there",
            self.beside, self.example
        )
    }
}

/// The reason that a fault of a copy has for the user.
#[must_use]
pub const fn reason(fault: CopyFault) -> Reason {
    match fault {
        CopyFault::Missing => Reason::ObjectMissing,
        CopyFault::Changed => Reason::ObjectChanged,
        CopyFault::Unreadable => Reason::ObjectUnreadable,
        CopyFault::Manifest => Reason::ManifestInvalid,
        CopyFault::Recipients => Reason::ForeignRecipients,
    }
}

/// The living copies of a registry, shared between its keeper and the reader.
#[derive(Debug, Default)]
pub struct Holdings {
    state: Mutex<HoldingsState>,
    /// Something happened that the keeper should look at.
    pub news: Notify,
}

/// The state of [`Holdings`].
#[derive(Debug, Default)]
pub struct HoldingsState {
    /// The copies by their numbers.
    pub copies: BTreeMap<Sequence, Held>,
    /// Whose folder each is: the first entry that is known to name it. It may have gone since.
    folders: BTreeMap<CopyId, Sequence>,
    /// Expired copies whose objects may still be there.
    pub expired: BTreeMap<CopyId, Sequence>,
    /// Copies that were read back since the last proof told so.
    pub untold: BTreeSet<Sequence>,
    /// Whether what earlier proofs say of these copies was taken in: before that nothing is read back.
    pub history_known: bool,
    /// Bytes that were read back since the process started.
    pub bytes_read: u64,
    /// What reading has cost since then, each object at least what a request does: by this registries take turns.
    pub read_cost: u64,
}

impl Holdings {
    /// Looks at the copies, or changes them. Never hold this over something that waits.
    pub fn lock(&self) -> MutexGuard<'_, HoldingsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HoldingsState {
    /// Nothing is known any more but what was read since the process started.
    pub fn forget(&mut self) {
        *self = Self {
            bytes_read: self.bytes_read,
            read_cost: self.read_cost,
            ..Self::default()
        };
    }

    /// Takes in a copy that was not known. Of two entries that name one id, the folder is the earlier one's, in whichever order they come.
    pub fn take(&mut self, mut held: Held) {
        let sequence = held.reference.sequence;
        if self.copies.contains_key(&sequence) {
            return;
        }
        let first = self.folders.get(&held.copy).copied();
        let first = first.filter(|first| self.copies.get(first).is_some_and(|one| one.copy == held.copy));
        match first {
            Some(first) if first < sequence => held.twin_of = Some(first),
            Some(later) => {
                let twins = self.copies.range_mut(later..).map(|(_, one)| one);
                for twin in twins.filter(|one| one.copy == held.copy) {
                    twin.twin_of = Some(sequence);
                    twin.manifest = Manifest::Unread;
                    (twin.listed, twin.read) = (Listed::default(), ReadBack::default());
                }
                self.folders.insert(held.copy, sequence);
            }
            None => {
                self.folders.insert(held.copy, sequence);
            }
        }
        self.copies.insert(sequence, held);
    }

    /// The newest copy whose bytes were read back and equal the ledger.
    #[must_use]
    pub fn newest_intact(&self) -> Option<&Held> {
        self.copies.values().rev().find(|held| held.is_intact())
    }

    /// How many copies nothing is known against.
    #[must_use]
    pub fn sound(&self) -> usize {
        self.copies.values().filter(|held| held.fault().is_none()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custodian::registry::made_up::held;

    #[test]
    fn a_copy_whose_manifest_was_wrong_is_read_anew_and_one_whose_manifest_was_new_is_not() {
        let wrong = || {
            Manifest::Wrong(Box::new(Damage {
                fault: CopyFault::Unreadable,
                objects: 1,
                example: String::new(),
            }))
        };
        let read = Some(Timestamp::UNIX_EPOCH);
        for (before, still) in [(Manifest::Unread, read), (wrong(), None)] {
            let mut held = held(1);
            held.manifest = before;
            held.read.verified_at = read;
            held.note_manifest(Manifest::Sound(Tally::default()));
            assert_eq!(held.read.verified_at, still);
            held.note_manifest(wrong());
            assert_eq!(held.read.verified_at, still);
        }
    }
}

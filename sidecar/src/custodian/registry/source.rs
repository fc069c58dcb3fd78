//! The source chain: followed from the last head that is known, and filled in backwards with the living copies that came before.

use std::collections::BTreeSet;
use std::ops::Bound;

use dataembassy_contract::Reason;
use dataembassy_ledger::chain::{
    Authority as _, CustodianKey, CustodyView, Found, KeyHasTwoRoles, SourceAuthority, Start, StoredVersion,
};
use dataembassy_ledger::entry::{Entry, EntryRef, SourceBody, VerifiedEntry};
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::value::{Sequence, Sha256Digest};
use dataembassy_ledger::{ObjectKey, RegistryId};
use futures::StreamExt as _;

use super::chain::{Arrived, Followed, Look};
use super::custody::Identity;
use super::listing::{Group, Listing};
use super::places::{before, read_group};
use crate::custodian::configuration::RegistrySettings;
use crate::custodian::finding::{Finding, Loss};
use crate::store::{Store, StoreError};

/// How many places one turn of filling in covers.
const WINDOW: u64 = 500;
/// How many entries are read at a time.
const IN_FLIGHT: usize = 6;

/// The source chain of one registry.
pub struct Source {
    identity: Identity,
    chain: Followed<SourceBody, SourceAuthority>,
    /// The last head that is known: the floor that was given, or what the custody chain names.
    known: Option<EntryRef>,
    /// Whether the entry that the walk was to start at was found.
    started: bool,
    backwards: Backwards,
    gaps: Gaps,
}

/// How far filling in is, from the start of the walk downwards.
#[derive(Debug)]
enum Backwards {
    /// The walk has not found its start yet.
    NotBegun,
    /// Up to this place nothing was looked at yet. The entry after it, if it was read, names this one.
    At(Sequence, Option<Sha256Digest>),
    /// There is nothing more.
    Done,
}

/// Places at which filling in found no entry that counts, although none of them has expired. What stands there may be missing, or only not listed
/// now: as long as one is left, nothing goes.
#[derive(Debug, Default)]
struct Gaps {
    /// All of them: a store that lost its disk may have lost them by thousands.
    places: BTreeSet<Sequence>,
    /// The first of them one by one, and the rest together.
    told: Vec<Finding>,
}

/// The most places that are told one by one.
const MAX_TOLD: usize = 64;

impl Gaps {
    /// Takes in places that were found empty, and those that are not any more.
    fn change(&mut self, found: &[Sequence], healed: &[Sequence], key: impl Fn(Sequence) -> ObjectKey) {
        if found.is_empty() && healed.is_empty() {
            return;
        }
        self.places.extend(found);
        for place in healed {
            self.places.remove(place);
        }
        let first = self.places.iter().take(MAX_TOLD);
        self.told = first.map(|place| not_there(*place, &key(*place))).collect();
        if let (Some(last), more @ 1..) = (self.places.last(), self.places.len().saturating_sub(MAX_TOLD)) {
            self.told.push(Finding {
                reason: Reason::LedgerGap,
                sequence: None,
                what: format!("{more} more entries up to {last} are not at their places either"),
                lost: Loss::Copy,
            });
        }
    }
}

impl Source {
    /// Starts at the last head that is known: the floor, or what the custody chain names.
    pub fn open(
        identity: Identity,
        settings: &RegistrySettings,
        view: &CustodyView,
    ) -> Result<Self, KeyHasTwoRoles> {
        let authority = authority(settings, view)?;
        let floor = settings.source_floor;
        let named = view.last_named_source();
        let known = match (floor, named) {
            (Some(floor), Some(named)) if named.sequence > floor.sequence => Some(named),
            (floor, named) => floor.or(named),
        };
        let start = known.map_or(Start::Genesis(identity.genesis), Start::Known);
        let chain = Followed::new(identity.store_id, &identity.registry, authority, start, known);
        Ok(Self {
            identity,
            chain,
            known,
            started: matches!(start, Start::Genesis(_)),
            backwards: match start {
                Start::Genesis(_) => Backwards::Done,
                Start::Known(_) => Backwards::NotBegun,
            },
            gaps: Gaps::default(),
        })
    }

    /// The last entry that nobody contests.
    #[must_use]
    pub const fn head(&self) -> Option<EntryRef> {
        self.chain.head()
    }

    /// The last entry; where several claim to be that, the one that the store had first, as long as no entry decides.
    #[must_use]
    pub fn end(&self) -> Option<EntryRef> {
        self.chain.walk().head().map(|head| head.entry.reference())
    }

    /// Whether entries were taken in that a term has ended before, as is known now.
    #[must_use]
    pub fn is_beyond(&self, view: &CustodyView) -> bool {
        let head = self.chain.walk().head();
        head.is_some_and(|head| {
            let header = &head.entry.entry.header;
            header.term != view.term_of(header.sequence)
        })
    }

    /// What is wrong with the chain.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.chain.findings().chain(&self.gaps.told)
    }

    /// Whether all living copies are known.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.backwards, Backwards::Done)
    }

    /// Has the next look read what stands behind the head and does not count anew; whether anything does.
    pub fn doubt_next(&mut self) -> bool {
        self.chain.doubt_next()
    }

    /// Judges what comes next by what the custody chain says now.
    pub fn learn(&mut self, settings: &RegistrySettings, view: &CustodyView) -> Result<(), KeyHasTwoRoles> {
        self.chain.replace_authority(authority(settings, view)?);
        Ok(())
    }

    /// Takes in what is new.
    pub async fn look(&mut self, store: &Store) -> Result<Look<SourceBody>, StoreError> {
        let look = self.chain.look(store).await?;
        if let Some(first) = look.arrived.first()
            && !self.started
        {
            self.started = true;
            let header = &first.found.entry.entry.header;
            self.backwards = match below(header.sequence) {
                Some(below) => Backwards::At(below, Some(header.prev)),
                None => Backwards::Done,
            };
        }
        if !self.started && look.arrived.is_empty() && self.chain.is_rolled_back() {
            self.start_over();
        }
        Ok(look)
    }

    /// The head that is known is gone. What stands nevertheless is read from the beginning; that head stays the floor, so that nothing is taken
    /// for right before it is there again.
    fn start_over(&mut self) {
        tracing::error!(registry = %self.identity.registry, "the last known head is gone: what stands is read from the beginning");
        let authority = self.chain.walk().authority().clone();
        let start = Start::Genesis(self.identity.genesis);
        let (store_id, registry) = (self.identity.store_id, &self.identity.registry);
        self.chain = Followed::new(store_id, registry, authority, start, self.known);
        self.started = true;
        self.backwards = Backwards::Done;
    }

    /// Reads some of the living copies that came before the start, newest first.
    pub async fn fill_in(
        &mut self,
        store: &Store,
        view: &CustodyView,
    ) -> Result<Vec<Arrived<SourceBody>>, StoreError> {
        let Backwards::At(top, mut link) = self.backwards else {
            return Ok(Vec::new());
        };
        let low = Sequence::new(top.get().saturating_sub(WINDOW - 1).max(1)).unwrap_or(Sequence::FIRST);
        let groups = self.window(store, view, low, top).await?;
        let mut missing: BTreeSet<Sequence> = (low.get()..=top.get())
            .filter_map(|place| Sequence::new(place).ok())
            .filter(|place| !view.is_expired(*place))
            .collect();
        let living = groups.into_iter().rev();
        let living = living.filter(|(sequence, _)| !view.is_expired(*sequence));
        let reading = futures::stream::iter(living)
            .map(|(sequence, group)| async move {
                let stored = read_group(store, &group).await?;
                Ok::<_, StoreError>((sequence, group, stored))
            })
            .buffered(IN_FLIGHT);
        let mut reading = std::pin::pin!(reading);
        let (mut arrived, mut next) = (Vec::new(), top);
        while let Some(read) = reading.next().await {
            let (sequence, group, stored) = read?;
            if sequence != next {
                // Expired or missing ones stand between: the one after this must be asked for what it names.
                link = self.named_by(store, view, sequence).await?;
            }
            next = below(sequence).unwrap_or(sequence);
            let chosen = self.choose(sequence, &group, stored, link, view);
            link = chosen.as_ref().map(|one| one.found.entry.entry.header.prev);
            if let Some(one) = chosen {
                missing.remove(&sequence);
                arrived.push(one);
            }
        }
        let link = if next < low { link } else { None };
        self.backwards = below(low).map_or(Backwards::Done, |below| Backwards::At(below, link));
        let missing: Vec<Sequence> = missing.into_iter().collect();
        self.change_gaps(view, &missing, &[]);
        Ok(arrived)
    }

    /// Looks again at the places where filling in found nothing right.
    pub async fn recheck(
        &mut self,
        store: &Store,
        view: &CustodyView,
    ) -> Result<Vec<Arrived<SourceBody>>, StoreError> {
        let (mut arrived, mut healed) = (Vec::new(), Vec::new());
        let mut next = self.gaps.places.first().copied();
        while let Some(low) = next {
            let top = Sequence::new(low.get().saturating_add(WINDOW - 1)).unwrap_or(low);
            for (place, group) in self.window(store, view, low, top).await? {
                if !self.gaps.places.contains(&place) {
                    continue;
                }
                let stored = read_group(store, &group).await?;
                let link = self.named_by(store, view, place).await?;
                if let Some(one) = self.choose(place, &group, stored, link, view) {
                    healed.push(place);
                    arrived.push(one);
                }
            }
            let later = (Bound::Excluded(top), Bound::Unbounded);
            next = self.gaps.places.range(later).next().copied();
        }
        self.change_gaps(view, &[], &healed);
        Ok(arrived)
    }

    fn change_gaps(&mut self, view: &CustodyView, found: &[Sequence], healed: &[Sequence]) {
        let registry = &self.identity.registry;
        self.gaps
            .change(found, healed, |place| key_of(registry, view, place));
    }

    /// Whether the chain has this entry: it stands at its place, and the one after it, if there is one, names it.
    pub async fn has(&self, store: &Store, view: &CustodyView, wanted: EntryRef) -> Result<bool, StoreError> {
        let undecided = self.chain.walk().undecided();
        if undecided.iter().any(|found| found.entry.reference() == wanted) {
            return Ok(true);
        }
        let Some(head) = self.head().filter(|head| head.sequence >= wanted.sequence) else {
            return Ok(false);
        };
        if head.sequence == wanted.sequence {
            return Ok(head == wanted);
        }
        let key = self.key(view, wanted.sequence);
        let group = Group {
            key: key.to_string(),
            versions: store.versions_of(&key).await?,
        };
        let stored = read_group(store, &group).await?;
        let link = self.named_by(store, view, wanted.sequence).await?;
        let found = self.choose(wanted.sequence, &group, stored, link, view);
        Ok(found.is_some_and(|found| found.found.entry.digest == wanted.digest))
    }

    /// The version of a place that counts: signed by who may, and named by the entry after it where that was read.
    fn choose(
        &self,
        sequence: Sequence,
        group: &Group,
        stored: Vec<StoredVersion>,
        link: Option<Sha256Digest>,
        view: &CustodyView,
    ) -> Option<Arrived<SourceBody>> {
        stored.into_iter().find_map(|stored| {
            let entry = self.judge(sequence, &stored.bytes, view)?;
            if link.is_some_and(|link| link != entry.digest) {
                return None;
            }
            let version = stored.version;
            let listed = group.objects().find(|one| one.version.as_ref() == Some(&version));
            let written_at = listed
                .and_then(|one| one.written_at)
                .unwrap_or_else(|| entry.entry.header.at.as_jiff());
            let found = Found { version, entry };
            Some(Arrived { found, written_at })
        })
    }

    /// The keys of these places, as a listing shows them.
    async fn window(
        &self,
        store: &Store,
        view: &CustodyView,
        low: Sequence,
        top: Sequence,
    ) -> Result<Vec<(Sequence, Group)>, StoreError> {
        let prefix = ObjectKey::source_prefix(&self.identity.registry);
        let (first, last) = (self.key(view, low), self.key(view, top));
        let mut listing = Listing::new(store, &prefix, before(&first.to_string()));
        let mut groups = Vec::new();
        let last = last.to_string();
        while let Some(group) = listing.next().await? {
            if group.key > last {
                break;
            }
            let Ok(ObjectKey::Source { term, sequence, .. }) = group.key.parse() else {
                continue;
            };
            // In a term that has ended more may stand than counts.
            if view.term_of(sequence) == term && (low..=top).contains(&sequence) {
                groups.push((sequence, group));
            }
        }
        Ok(groups)
    }

    /// An entry that is signed by who may sign at its place; the link is the caller's to check.
    fn judge(
        &self,
        sequence: Sequence,
        bytes: &[u8],
        view: &CustodyView,
    ) -> Option<VerifiedEntry<SourceBody>> {
        let entry = Entry::<SourceBody>::verify(bytes).ok()?;
        let header = &entry.entry.header;
        let fits = header.store_id == self.identity.store_id
            && header.registry == self.identity.registry
            && header.sequence == sequence
            && header.term == view.term_of(sequence)
            && self
                .chain
                .walk()
                .authority()
                .may_sign(header.term, header.sequence, &entry.signer)
            && view
                .named_source(sequence)
                .is_none_or(|named| named == entry.digest)
            && self
                .known
                .filter(|known| known.sequence == sequence)
                .is_none_or(|known| known.digest == entry.digest);
        fits.then_some(entry)
    }

    /// What the entry after this place names as the one before it; `None` where that cannot be read.
    async fn named_by(
        &self,
        store: &Store,
        view: &CustodyView,
        sequence: Sequence,
    ) -> Result<Option<Sha256Digest>, StoreError> {
        let Some(after) = sequence.next() else {
            return Ok(None);
        };
        let object = match store.open(&self.key(view, after), None).await {
            Ok(object) => object,
            Err(StoreError::ObjectMissing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = object.read_up_to(MAX_OBJECT_BYTES as u64 + 1).await?;
        let entry = self.judge(after, &bytes, view);
        Ok(entry.map(|entry| entry.entry.header.prev))
    }

    fn key(&self, view: &CustodyView, sequence: Sequence) -> ObjectKey {
        key_of(&self.identity.registry, view, sequence)
    }
}

fn key_of(registry: &RegistryId, view: &CustodyView, sequence: Sequence) -> ObjectKey {
    ObjectKey::Source {
        registry: registry.clone(),
        term: view.term_of(sequence),
        sequence,
    }
}

fn authority(settings: &RegistrySettings, view: &CustodyView) -> Result<SourceAuthority, KeyHasTwoRoles> {
    let custodians: &[CustodianKey] = &settings.custodians;
    SourceAuthority::new(settings.signers.clone(), custodians, view.clone())
}

fn not_there(sequence: Sequence, key: &ObjectKey) -> Finding {
    Finding {
        reason: Reason::LedgerGap,
        sequence: Some(sequence),
        what: format!("no object under {key} is the entry that the one after it names"),
        lost: Loss::Copy,
    }
}

fn below(sequence: Sequence) -> Option<Sequence> {
    Sequence::new(sequence.get() - 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(numbers: impl IntoIterator<Item = u64>) -> Vec<Sequence> {
        numbers
            .into_iter()
            .map(|number| Sequence::new(number).unwrap())
            .collect()
    }

    #[test]
    fn no_gap_is_forgotten_however_many_there_are() {
        let key = |sequence| ObjectKey::Source {
            registry: "population".parse().unwrap(),
            term: dataembassy_ledger::Term::FIRST,
            sequence,
        };
        let mut gaps = Gaps::default();
        gaps.change(&places(501..=700), &[], key);
        gaps.change(&places([7, 501]), &[], key);
        assert_eq!((gaps.places.len(), gaps.told.len()), (201, 65));
        assert_eq!(gaps.told[0].sequence, Sequence::new(7).ok());
        let last = &gaps.told[64];
        assert_eq!((last.sequence, &last.lost), (None, &Loss::Copy));
        assert_eq!(
            last.what,
            "137 more entries up to 700 are not at their places either"
        );
        gaps.change(&[], &places(501..=700), key);
        assert_eq!((gaps.places.len(), gaps.told.len()), (1, 1));
        gaps.change(&[], &places([7]), key);
        assert!(gaps.told.is_empty());
    }
}

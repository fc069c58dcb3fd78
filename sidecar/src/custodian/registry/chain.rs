//! One chain of one registry, followed from its head on. What counts is the ledger crate's to judge; here it gets what is new, and what
//! stands where nothing may stand is found.
//!
//! A look is one listing from just before the head: a head that is gone, or that another object has replaced, shows at once. Where
//! nothing is new, that one request is all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::chain::{Authority, Found, Start, StoredVersion, Walk};
use dataembassy_ledger::entry::{Body, EntryRef};
use dataembassy_ledger::value::{RegistryId, Sequence, StoreId, VersionId};
use futures::StreamExt as _;
use jiff::Timestamp;

use super::listing::{Group, Listing};
use super::places::{before, finding, following, forked, read_group};
use crate::custodian::finding::{Finding, Loss};
use crate::store::{ObjectVersion, Store, StoreError};

/// How many entries are read at a time.
const IN_FLIGHT: usize = 6;
/// After this, what did not count is read once more: a store may have given other bytes than it keeps.
const READ_AGAIN: Duration = Duration::from_secs(30);
/// The most entries that one look takes in.
const MAX_AT_ONCE: usize = 256;

/// An entry that counts, and when it came.
#[derive(Clone, Debug)]
pub struct Arrived<B> {
    /// The entry and its version.
    pub found: Found<B>,
    /// When it was written, by the store's clock.
    pub written_at: Timestamp,
}

/// What a look brought.
#[derive(Debug)]
pub struct Look<B> {
    /// New entries that count and that nobody contests, in the order of the chain.
    pub arrived: Vec<Arrived<B>>,
    /// Whether there may be more: look again.
    pub more: bool,
}

/// One chain, followed.
pub struct Followed<B: Body, A: Authority<B>> {
    walk: Walk<B, A>,
    prefix: String,
    /// The last entry that was given out.
    given: Option<EntryRef>,
    /// When the versions were written that still wait for a decision.
    waiting: BTreeMap<(Sequence, VersionId), Timestamp>,
    /// What is wrong at the head, and with which versions it was found.
    head: Judged,
    /// What occupies the next place without counting.
    next: Judged,
    /// What stands beyond the next place.
    beyond: Option<(Finding, Group)>,
}

/// What was found about the versions of one key: the same versions need no second judgement for a while.
#[derive(Debug, Default)]
struct Judged {
    versions: Vec<ObjectVersion>,
    findings: Vec<Finding>,
    /// When they were read; none where nothing was.
    at: Option<Instant>,
}

impl<B: Body, A: Authority<B>> Followed<B, A> {
    /// Begins where `start` says. Nothing has been read.
    #[must_use]
    pub fn new(
        store_id: StoreId,
        registry: &RegistryId,
        authority: A,
        start: Start,
        floor: Option<EntryRef>,
    ) -> Self {
        let prefix = match B::CHAIN {
            dataembassy_ledger::entry::Chain::Source => ObjectKey::source_prefix(registry),
            dataembassy_ledger::entry::Chain::Custody => ObjectKey::custody_prefix(registry),
        };
        Self {
            walk: Walk::new(store_id, registry.clone(), authority, start).with_floor(floor),
            prefix,
            given: None,
            waiting: BTreeMap::new(),
            head: Judged::default(),
            next: Judged::default(),
            beyond: None,
        }
    }

    /// The walk.
    #[must_use]
    pub const fn walk(&self) -> &Walk<B, A> {
        &self.walk
    }

    /// Judges what comes next by another authority; what occupies the next place is judged anew.
    pub fn replace_authority(&mut self, authority: A) {
        self.walk.replace_authority(authority);
        self.next = Judged::default();
    }

    /// The last entry that nobody contests.
    #[must_use]
    pub const fn head(&self) -> Option<EntryRef> {
        self.given
    }

    /// What is wrong with the chain as the last look found it.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.head
            .findings
            .iter()
            .chain(&self.next.findings)
            .chain(self.beyond.as_ref().map(|(finding, _)| finding))
    }

    /// Whether the chain no longer has an entry that it is known to have had.
    #[must_use]
    pub fn is_rolled_back(&self) -> bool {
        self.findings()
            .any(|finding| finding.reason == Reason::RolledBack)
    }

    /// Lists from just before the head, and takes in what is new.
    pub async fn look(&mut self, store: &Store) -> Result<Look<B>, StoreError> {
        let mut look = Look {
            arrived: Vec::new(),
            more: false,
        };
        let prefix = self.prefix.clone();
        let mut listing = Listing::new(store, &prefix, self.marker());
        let mut group = listing.next().await?;
        if self.walk.head().is_some() && !self.check_head(store, group.as_ref()).await? {
            return Ok(look);
        }
        let head = self.head_key();
        if group
            .as_ref()
            .is_some_and(|group| Some(&group.key) == head.as_ref())
        {
            group = listing.next().await?;
        }
        self.beyond = None;
        if let (Some(one), Some(next)) = (&group, self.walk.next().map(|key| key.to_string()))
            && one.key < next
        {
            // What was squatted in a term that has ended stands between.
            listing = Listing::new(store, &prefix, before(&next));
            group = listing.next().await?;
        }
        self.take_in(store, &mut listing, group, &mut look).await?;
        if !look.more {
            self.note_rolled_back();
        }
        Ok(look)
    }

    /// Offers one key after the other to the walk until the next one is missing.
    async fn take_in(
        &mut self,
        store: &Store,
        listing: &mut Listing,
        mut group: Option<Group>,
        look: &mut Look<B>,
    ) -> Result<(), StoreError> {
        let mut taken = 0;
        loop {
            let mut run = Vec::new();
            let mut expected = self.walk.next();
            while let Some(one) = group.take_if(|one| {
                run.len() < MAX_AT_ONCE && expected.as_ref().is_some_and(|key| key.to_string() == one.key)
            }) {
                expected = expected.and_then(|key| following(&key));
                run.push(one);
                group = listing.next().await?;
            }
            if run.is_empty() {
                break;
            }
            taken += run.len();
            if !self.offer_run(store, run, look).await? {
                return Ok(());
            }
            if taken >= MAX_AT_ONCE {
                look.more = true;
                return Ok(());
            }
        }
        self.next = Judged::default();
        self.beyond = group.and_then(|group| {
            let alarm = self.walk.beyond(&group.key.parse().ok()?)?;
            Some((finding(&alarm, self.walk.next_sequence()), group))
        });
        Ok(())
    }

    /// Reads a run of keys and offers them; false where one does not count.
    async fn offer_run(
        &mut self,
        store: &Store,
        run: Vec<Group>,
        look: &mut Look<B>,
    ) -> Result<bool, StoreError> {
        if let Some(one) = run.first()
            && !self.next.versions.is_empty()
            && self.next.versions == one.versions
            && self.next.at.is_some_and(|at| at.elapsed() < READ_AGAIN)
        {
            // The same versions do not count a moment later either.
            return Ok(false);
        }
        let reading = futures::stream::iter(run)
            .map(|group| async { read_group(store, &group).await.map(|stored| (group, stored)) })
            .buffered(IN_FLIGHT);
        let mut reading = std::pin::pin!(reading);
        while let Some(read) = reading.next().await {
            let (group, stored) = read?;
            let Some(sequence) = self.walk.next_sequence() else {
                return Ok(false);
            };
            if self.walk.next().map(|key| key.to_string()).as_deref() != Some(group.key.as_str()) {
                look.more = true;
                return Ok(false);
            }
            if !self.offer(sequence, &group, &stored, look) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn offer(
        &mut self,
        sequence: Sequence,
        group: &Group,
        stored: &[StoredVersion],
        look: &mut Look<B>,
    ) -> bool {
        for version in group.objects() {
            if let (Some(id), Some(at)) = (&version.version, version.written_at) {
                self.waiting.insert((sequence, id.clone()), at);
            }
        }
        let step = self.walk.offer(stored);
        let findings = step.alarms.iter().map(|alarm| finding(alarm, Some(sequence)));
        let judged = Judged {
            versions: group.versions.clone(),
            findings: findings.collect(),
            at: Some(Instant::now()),
        };
        if !step.advanced {
            self.next = judged;
            return false;
        }
        self.next = Judged::default();
        self.head = judged;
        if self.walk.rivals() > 1 {
            self.head.findings.push(forked(sequence));
        }
        for found in step.decided {
            self.give(found, look);
        }
        let undecided = self.walk.undecided();
        if let ([head], 1) = (undecided.as_slice(), self.walk.rivals()) {
            let head = Found {
                version: head.version.clone(),
                entry: head.entry.clone(),
            };
            self.give(head, look);
        }
        true
    }

    fn give(&mut self, found: Found<B>, look: &mut Look<B>) {
        let sequence = found.entry.entry.header.sequence;
        let written_at = self.waiting.get(&(sequence, found.version.clone()));
        // A store that does not say when is taken by the writer's word.
        let written_at = written_at
            .copied()
            .unwrap_or_else(|| found.entry.entry.header.at.as_jiff());
        if self.given.is_none_or(|given| given.sequence < sequence) {
            self.given = Some(found.entry.reference());
            look.arrived.push(Arrived { found, written_at });
            self.waiting.retain(|(place, _), _| *place >= sequence);
        }
    }

    /// Takes in an entry that we have just written ourselves.
    pub fn take_ours(&mut self, stored: StoredVersion, written_at: Timestamp) -> Option<Arrived<B>> {
        let sequence = self.walk.next_sequence()?;
        // The next look lists it, and judges what stands beside it.
        let group = Group {
            key: self.walk.next()?.to_string(),
            versions: Vec::new(),
        };
        self.waiting
            .insert((sequence, stored.version.clone()), written_at);
        let mut look = Look {
            arrived: Vec::new(),
            more: false,
        };
        self.offer(sequence, &group, &[stored], &mut look);
        look.arrived.pop()
    }

    /// What occupies the next place and does not count, as the last look found it.
    #[must_use]
    pub fn squatters(&self) -> Option<Group> {
        let key = self.walk.next()?.to_string();
        let versions = self.next.versions.clone();
        (!versions.is_empty()).then_some(Group { key, versions })
    }

    /// Has the next look read what occupies the next place anew, however short ago that was; whether anything does.
    pub fn doubt_next(&mut self) -> bool {
        self.next.at = None;
        !self.next.versions.is_empty()
    }

    /// What stands beyond the next place, as the last look found it.
    #[must_use]
    pub fn beyond(&self) -> Option<&Group> {
        self.beyond.as_ref().map(|(_, group)| group)
    }

    /// Whether one of these objects is made for its place and signed by who may sign there: then it is an entry, whatever it says, also where a
    /// newer version has written it that says more than this one can read.
    pub async fn is_signed(&self, store: &Store, group: &Group) -> Result<bool, StoreError> {
        let Ok(key) = group.key.parse::<ObjectKey>() else {
            return Ok(false);
        };
        let stored = read_group(store, group).await?;
        Ok(stored
            .iter()
            .any(|stored| self.walk.is_made_for(&key, &stored.bytes)))
    }

    /// Looks at the head's own key; false where the head is not there any more.
    async fn check_head(&mut self, store: &Store, group: Option<&Group>) -> Result<bool, StoreError> {
        let (Some(head), Some(key)) = (self.walk.head(), self.head_key()) else {
            return Ok(true);
        };
        let (sequence, digest) = (head.entry.reference().sequence, head.entry.digest);
        let version = head.version.clone();
        let versions = group
            .filter(|group| group.key == key)
            .map(|group| group.versions.clone())
            .unwrap_or_default();
        // An entry of our own was never listed yet, so that none of its versions is known: that it is not there is no repetition of that.
        if !versions.is_empty() && versions == self.head.versions {
            return Ok(!self
                .head
                .findings
                .iter()
                .any(|one| one.reason == Reason::RolledBack));
        }
        let mut findings = Vec::new();
        let ours = |one: &&ObjectVersion| one.version.as_ref() == Some(&version) && !one.is_delete_marker;
        let there = versions.iter().find(ours);
        if there.is_none() {
            let what = if versions.is_empty() {
                format!("the last known entry, {key} with SHA-256 {digest}, is not in the store any more")
            } else {
                format!("the last known entry, {key} with SHA-256 {digest}, was replaced by another object")
            };
            findings.push(Finding {
                reason: Reason::RolledBack,
                sequence: Some(sequence),
                what,
                lost: Loss::Later,
            });
        } else if versions.len() > 1 {
            findings.push(
                self.rivals_of_head(store, &key, sequence, &versions, &version)
                    .await?,
            );
        }
        let sound = there.is_some();
        self.head = Judged {
            versions,
            findings,
            at: None,
        };
        Ok(sound)
    }

    /// What other versions beside the head mean: a fork where another one is signed by who may sign there.
    async fn rivals_of_head(
        &self,
        store: &Store,
        key: &str,
        sequence: Sequence,
        versions: &[ObjectVersion],
        ours: &VersionId,
    ) -> Result<Finding, StoreError> {
        let others = versions
            .iter()
            .filter(|one| one.version.as_ref() != Some(ours) && !one.is_delete_marker);
        let group = Group {
            key: key.to_owned(),
            versions: others.cloned().collect(),
        };
        if self.is_signed(store, &group).await? {
            return Ok(forked(sequence));
        }
        Ok(Finding {
            reason: Reason::SecondVersion,
            sequence: Some(sequence),
            what: format!(
                "entry {key} has {} versions; it must have one, and the one that was there first counts",
                versions.len()
            ),
            lost: Loss::Nothing,
        })
    }

    /// A walk that ended below its floor, or did not find where it starts.
    fn note_rolled_back(&mut self) {
        let Some(alarm) = self.walk.rolled_back() else {
            return;
        };
        if !self.is_rolled_back() {
            self.next.findings.push(finding(&alarm, None));
        }
    }

    fn head_key(&self) -> Option<String> {
        let header = &self.walk.head()?.entry.entry.header;
        let (registry, sequence) = (header.registry.clone(), header.sequence);
        Some(
            match B::CHAIN {
                dataembassy_ledger::entry::Chain::Source => ObjectKey::Source {
                    registry,
                    term: header.term,
                    sequence,
                },
                dataembassy_ledger::entry::Chain::Custody => ObjectKey::Custody { registry, sequence },
            }
            .to_string(),
        )
    }

    /// The key after which the listing begins: just before the head's, or before the next one's while there is no head.
    fn marker(&self) -> Option<String> {
        let key = self
            .head_key()
            .or_else(|| self.walk.next().map(|key| key.to_string()))?;
        before(&key)
    }
}

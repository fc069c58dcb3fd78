//! The custody chain: read from the last proof on, and written to, one conditional put at a time.
//!
//! Another custodian may write at the same time. Who comes second reads what the other wrote and decides anew; nothing is ever put over
//! an entry.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use dataembassy_contract::Reason;
use dataembassy_ledger::chain::{
    Authority as _, CustodianKey, CustodyAuthority, CustodyView, Start, StoredVersion,
};
use dataembassy_ledger::entry::{
    CustodyBody, CustodyEntry, Entry, EntryRef, Header, ProofBody, VerifiedEntry, WriteError,
};
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::value::{
    CopyId, RegistryId, Sequence, Sha256Digest, StoreId, Timestamp as LedgerTime,
};
use dataembassy_ledger::{ObjectKey, SigningKey};
use jiff::Timestamp;

use super::chain::{Arrived, Followed};
use super::listing::{Group, Listing};
use super::places::read_group;
use crate::custodian::finding::{Finding, Loss};
use crate::store::ledger::last_keys;
use crate::store::{CommitError, PutOutcome, Store, StoreError, commit};

/// How long one entry may take to be written.
const PATIENCE: Duration = Duration::from_secs(20);
/// Among so many entries, from the last one back, a proof that a reader can start at is looked for; else the chain is read from its
/// beginning.
const REACH: usize = 256;

/// Whose chain it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The store.
    pub store_id: StoreId,
    /// The digest of its `embassy.json`.
    pub genesis: Sha256Digest,
    /// The registry.
    pub registry: RegistryId,
}

/// A proof as it stands in the chain.
#[derive(Clone, Debug)]
pub struct WrittenProof {
    /// Its place.
    pub reference: EntryRef,
    /// The entry before it.
    pub prev: Sha256Digest,
    /// When it was written, by its writer's clock.
    pub at: Timestamp,
    /// What it says.
    pub body: ProofBody,
}

impl WrittenProof {
    /// Takes a proof from its entry; `None` of an entry of another kind.
    #[must_use]
    pub fn of(entry: &VerifiedEntry<CustodyBody>) -> Option<Self> {
        let CustodyBody::Proof(body) = &entry.entry.body else {
            return None;
        };
        Some(Self {
            reference: entry.reference(),
            prev: entry.entry.header.prev,
            at: entry.entry.header.at.as_jiff(),
            body: body.clone(),
        })
    }
}

/// The custody chain of one registry.
pub struct Custody {
    identity: Identity,
    chain: Followed<CustodyBody, CustodyAuthority>,
    view: CustodyView,
    last_proof: Option<WrittenProof>,
    /// The heads that `confirm` entries name, as far as the chain was read.
    confirmed: Vec<EntryRef>,
    /// The first entry that was taken in, and the one before it.
    first: Option<(Sequence, Sha256Digest)>,
    /// Copies that entries recorded as expired, as far as the chain was read and nobody has taken them over yet.
    expired: BTreeMap<CopyId, Sequence>,
    /// When the latest `expiry`, and the latest `void`, were signed, as far as the chain was read.
    recorded: Recorded,
    /// An entry that cannot be.
    impossible: Option<Finding>,
}

/// When something was last recorded that goes, by its writer's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The latest `expiry`.
    pub expiry: Option<Timestamp>,
    /// The latest `void`.
    pub void: Option<Timestamp>,
}

/// Why an entry was not written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another entry has the place: what is to be said must be decided anew.
    #[error("another custodian wrote first: its entry is read before anything else is written")]
    Moved,
    /// The store does not say whether the entry was written; the chain will tell.
    #[error("whether the entry was written is not known: {0}")]
    Unknown(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The entry cannot be made.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The chain is contested, has lost entries, or has no number left.
    #[error("the custody chain cannot be written to: nobody can say for certain what comes next in it")]
    NoPlace,
}

impl Custody {
    /// Finds where to start: at the last proof that tells what came before it and is not beyond the floor, or at the beginning.
    pub async fn open(
        store: &Store,
        identity: Identity,
        keys: Vec<CustodianKey>,
        floor: Option<EntryRef>,
    ) -> Result<Self, StoreError> {
        let authority = CustodyAuthority::new(keys);
        let proof = find_start(store, &identity, &authority, floor).await?;
        let view = proof.as_ref().and_then(|proof| match &proof.entry.body {
            CustodyBody::Proof(body) => CustodyView::standing_before(body),
            _ => None,
        });
        let (start, view) = match (proof, view) {
            (Some(proof), Some(view)) => (Start::Known(proof.reference()), view),
            _ => (Start::Genesis(identity.genesis), CustodyView::new()),
        };
        Ok(Self {
            chain: Followed::new(identity.store_id, &identity.registry, authority, start, floor),
            identity,
            view,
            last_proof: None,
            confirmed: Vec::new(),
            first: None,
            expired: BTreeMap::new(),
            recorded: Recorded::default(),
            impossible: None,
        })
    }

    /// What the chain says.
    #[must_use]
    pub const fn view(&self) -> &CustodyView {
        &self.view
    }

    /// The last entry that nobody contests.
    #[must_use]
    pub const fn head(&self) -> Option<EntryRef> {
        self.chain.head()
    }

    /// The latest proof.
    #[must_use]
    pub const fn last_proof(&self) -> Option<&WrittenProof> {
        self.last_proof.as_ref()
    }

    /// Whether a `confirm` entry names this head.
    #[must_use]
    pub fn confirms(&self, head: EntryRef) -> bool {
        self.confirmed.contains(&head)
    }

    /// The first entry that was taken in, and the digest of the one before it; `None` while there is none.
    #[must_use]
    pub const fn first(&self) -> Option<(Sequence, Sha256Digest)> {
        self.first
    }

    /// When something was last recorded that goes.
    #[must_use]
    pub const fn recorded(&self) -> Recorded {
        self.recorded
    }

    /// Hands over the copies that entries recorded as expired since it was asked last.
    pub fn take_expired(&mut self) -> BTreeMap<CopyId, Sequence> {
        std::mem::take(&mut self.expired)
    }

    /// What is wrong with the chain.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        let told = |finding: &Finding| Finding {
            // Its numbers are not those of copies.
            sequence: None,
            what: format!("in the custody chain, {}", finding.what),
            lost: match finding.lost {
                Loss::Later => Loss::Word,
                ref other => other.clone(),
            },
            ..finding.clone()
        };
        self.chain.findings().chain(&self.impossible).map(told)
    }

    /// Takes in what is new; true while there may be more.
    pub async fn look(&mut self, store: &Store) -> Result<bool, StoreError> {
        let look = self.chain.look(store).await?;
        for arrived in &look.arrived {
            self.take(arrived);
        }
        Ok(look.more)
    }

    /// Has the next look read what stands behind the head and does not count anew; whether anything does.
    pub fn doubt_next(&mut self) -> bool {
        self.chain.doubt_next()
    }

    fn take(&mut self, arrived: &Arrived<CustodyBody>) {
        let entry = &arrived.found.entry;
        if let Err(error) = self.view.apply(entry) {
            self.impossible = Some(Finding {
                reason: Reason::LedgerUnreadable,
                sequence: None,
                what: error.to_string(),
                lost: Loss::Object,
            });
        }
        let header = &entry.entry.header;
        self.first.get_or_insert((header.sequence, header.prev));
        match &entry.entry.body {
            CustodyBody::Proof(_) => self.last_proof = WrittenProof::of(entry),
            CustodyBody::Confirm(body) => self.confirmed.push(body.source_head),
            CustodyBody::Expiry(body) => {
                let copies = body.copies.iter();
                self.expired
                    .extend(copies.map(|copy| (copy.copy_id, copy.sequence)));
                self.recorded.expiry = self.recorded.expiry.max(Some(header.at.as_jiff()));
            }
            CustodyBody::Void(_) => {
                self.recorded.void = self.recorded.void.max(Some(header.at.as_jiff()));
            }
            _ => {}
        }
    }

    /// Whether an entry of a custodian stands where the chain does not lead: what came before it was lost, and writing would make that final.
    async fn has_hole(&self, store: &Store) -> Result<bool, StoreError> {
        let squatters = self.chain.squatters();
        for group in squatters.iter().chain(self.chain.beyond()) {
            if self.chain.is_signed(store, group).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The entry before one that is known, found by the digest that the known one names; `None` before the first, or where it is gone.
    pub async fn predecessor(
        &self,
        store: &Store,
        sequence: Sequence,
        prev: Sha256Digest,
    ) -> Result<Option<VerifiedEntry<CustodyBody>>, StoreError> {
        let Ok(before) = Sequence::new(sequence.get() - 1) else {
            return Ok(None);
        };
        let key = ObjectKey::Custody {
            registry: self.identity.registry.clone(),
            sequence: before,
        };
        let newest = match store.open(&key, None).await {
            Ok(object) => object.read_up_to(MAX_OBJECT_BYTES as u64 + 1).await?,
            Err(StoreError::ObjectMissing { .. }) => Bytes::new(),
            Err(error) => return Err(error),
        };
        if Sha256Digest::of(&newest) == prev {
            return Ok(Entry::verify(&newest).ok());
        }
        let group = Group {
            key: key.to_string(),
            versions: store.versions_of(&key).await?,
        };
        let stored = read_group(store, &group).await?;
        let right = stored
            .iter()
            .find(|stored| Sha256Digest::of(&stored.bytes) == prev);
        Ok(right.and_then(|stored| Entry::verify(&stored.bytes).ok()))
    }

    /// Writes the next entry.
    pub async fn append(
        &mut self,
        store: &Store,
        signer: &SigningKey,
        body: CustodyBody,
        now: Timestamp,
    ) -> Result<(), AppendError> {
        // What stood when it was looked at last may be gone, and an entry after it would make that final.
        let head = self.head();
        while self.look(store).await? {}
        if self.head() != head {
            return Err(AppendError::Moved);
        }
        if self.chain.is_rolled_back()
            || self.chain.walk().rivals() > 1
            || self.impossible.is_some()
            || self.has_hole(store).await?
        {
            return Err(AppendError::NoPlace);
        }
        let walk = self.chain.walk();
        let (sequence, prev) = walk.next_sequence().zip(walk.tip()).ok_or(AppendError::NoPlace)?;
        let at = LedgerTime::from_jiff(now).map_err(|_| AppendError::NoPlace)?;
        let header = Header {
            store_id: self.identity.store_id,
            registry: self.identity.registry.clone(),
            sequence,
            prev,
            term: self.view.current_term(),
            at,
        };
        let entry = CustodyEntry { header, body };
        let (key, object) = (entry.object_key(), entry.sign(signer)?);
        if self.chain.squatters().is_none() {
            let version = commit(store, &key, &object, PATIENCE).await;
            let version = version.map_err(|error| match error {
                CommitError::Superseded { .. } | CommitError::SecondVersion { .. } => AppendError::Moved,
                CommitError::Unknown { cause, .. } => AppendError::Unknown(cause.to_string()),
                CommitError::Store(error) => AppendError::Store(error),
            })?;
            let stored = StoredVersion {
                version,
                bytes: object.bytes,
            };
            if let Some(arrived) = self.chain.take_ours(stored, now) {
                self.take(&arrived);
            }
        } else {
            tracing::error!(%key, "an object that is no entry has the place of the next custody entry, which goes beside it");
            let newest = store.newest_etag(&key).await?.ok_or(AppendError::Moved)?;
            let bytes = Bytes::copy_from_slice(&object.bytes);
            if store.put_beside(&key, bytes, object.digest, &newest).await? == PutOutcome::Exists {
                return Err(AppendError::Moved);
            }
            self.look(store).await?;
        }
        if self.head().map(|head| head.digest) == Some(object.digest) {
            Ok(())
        } else {
            Err(AppendError::Moved)
        }
    }
}

/// The last proof with a standing, not beyond the floor.
async fn find_start(
    store: &Store,
    identity: &Identity,
    authority: &CustodyAuthority,
    floor: Option<EntryRef>,
) -> Result<Option<VerifiedEntry<CustodyBody>>, StoreError> {
    for group in last_groups(store, identity, floor).await?.into_iter().rev() {
        let Ok(ObjectKey::Custody { sequence, .. }) = group.key.parse() else {
            continue;
        };
        for stored in read_group(store, &group).await? {
            let Ok(entry) = Entry::<CustodyBody>::verify(&stored.bytes) else {
                continue;
            };
            let header = &entry.entry.header;
            let fits = header.store_id == identity.store_id
                && header.registry == identity.registry
                && header.sequence == sequence
                && authority.may_sign(header.term, header.sequence, &entry.signer);
            // At the floor's place only the floor itself is believed.
            let floored = floor
                .filter(|floor| floor.sequence == sequence)
                .is_none_or(|floor| floor.digest == entry.digest);
            let tells = matches!(&entry.entry.body, CustodyBody::Proof(body) if body.standing.is_some());
            if fits && floored && tells {
                return Ok(Some(entry));
            }
        }
    }
    Ok(None)
}

/// The last keys of the chain up to the floor; without a floor, up to its end.
async fn last_groups(
    store: &Store,
    identity: &Identity,
    floor: Option<EntryRef>,
) -> Result<VecDeque<Group>, StoreError> {
    let Some(floor) = floor else {
        let mut groups: VecDeque<Group> = VecDeque::new();
        for (_, version) in last_keys(store, &identity.registry, None).await? {
            match groups.back_mut().filter(|group| group.key == version.key) {
                Some(group) => group.versions.push(version),
                None => groups.push_back(Group {
                    key: version.key.clone(),
                    versions: vec![version],
                }),
            }
        }
        groups.drain(..groups.len().saturating_sub(REACH));
        return Ok(groups);
    };
    let prefix = ObjectKey::custody_prefix(&identity.registry);
    let key = |sequence: Sequence| {
        ObjectKey::Custody {
            registry: identity.registry.clone(),
            sequence,
        }
        .to_string()
    };
    let reach = floor.sequence.get().checked_sub(REACH as u64);
    let marker = reach.and_then(|from| Sequence::new(from).ok()).map(key);
    let last = key(floor.sequence);
    let mut listing = Listing::new(store, &prefix, marker);
    let mut groups = VecDeque::new();
    while let Some(group) = listing.next().await? {
        if group.key > last {
            break;
        }
        groups.push_back(group);
        if groups.len() > REACH {
            groups.pop_front();
        }
    }
    Ok(groups)
}

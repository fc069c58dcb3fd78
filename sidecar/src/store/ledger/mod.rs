//! Both chains of one registry, read from the store. What counts is the ledger crate's to judge; here it gets what the store holds.

mod custody;
mod follow;
mod left_behind;
mod named;
mod tail;

use bytes::Bytes;
use dataembassy_contract::Reason;
use dataembassy_ledger::chain::{
    Alarm, CustodianKey, CustodyView, Found, InvalidTerm, KeyHasTwoRoles, SignerRange, SourceAuthority,
    SourceChain, Start,
};
use dataembassy_ledger::entry::{Chain, EntryRef, ReadError, SourceBody, SourceEntry};
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::store_document::VerifiedStoreDocument;
use dataembassy_ledger::value::{RegistryId, Sequence, Sha256Digest, StoreId, Trigger};
use dataembassy_ledger::{ObjectKey, StoreDocument};

use super::{ObjectVersion, Store, StoreError};
use custody::{Known, Reading};
use follow::{Follower, Held, Judgement};
use left_behind::is_missed;
pub(crate) use named::read_named;
pub use tail::last_keys;

/// How many entries are looked at, from the head backwards, for the answer to a trigger.
const TRIGGER_MEMORY: usize = 100;

/// Who may write what, and what is known already.
#[derive(Clone, Debug)]
pub struct LedgerSettings {
    /// The registry.
    pub registry: RegistryId,
    /// Whose source entries count in term 1.
    pub signers: Vec<SignerRange>,
    /// Whose custody entries count.
    pub custodians: Vec<CustodianKey>,
    /// The last head that is known; a ledger below or beside it was rolled back.
    pub floor: Option<EntryRef>,
}

/// A registry's ledger as it stood when it was read.
#[derive(Debug)]
pub struct Ledger {
    /// The store it belongs to.
    pub store_id: StoreId,
    /// What the custody chain says.
    pub view: CustodyView,
    /// The head of the source chain; none while it is empty.
    pub head: Option<Found<SourceBody>>,
    /// What the next source entry must name as `prev`.
    pub tip: Sha256Digest,
    /// The place of the next source entry.
    pub next: Sequence,
    /// What is wrong and yet no reason to stop: second versions, anything in the custody chain, and for some readers what is no entry.
    pub alarms: Vec<Alarm>,
    /// What stands at the place of the next source entry, and does not count. Only who [reads copies](Self::read_copies) gets this far.
    pub at_next: Option<Taken>,
    /// What a custodian has put at the place of the next custody entry, and this version cannot take for one: which copies are void, expired or
    /// drilled is not known then. Only who [reads copies](Self::read_copies) gets this far.
    pub custody_at_next: Option<Taken>,
}

/// Something that does not count, where the next entry belongs: which entry is the last cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The reason that its alarm has for the user.
    pub reason: Reason,
    /// The alarm's words.
    pub words: String,
}

/// Why a ledger cannot be read, or must not be written to.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no `embassy.json`.
    #[error("bucket '{bucket}' has no embassy.json: run `store init` with the custodian's key first")]
    NotInitialised {
        /// The bucket.
        bucket: String,
    },
    /// `embassy.json` is not what it should be.
    #[error("embassy.json cannot be used: {0}")]
    DocumentInvalid(#[source] ReadError),
    /// `embassy.json` names a key that the configuration does not.
    #[error(
        "embassy.json names custodian key {found}, which the DataEmbassy does not: check endpoint and bucket, or its custodianKeys"
    )]
    OtherStore {
        /// The key it names.
        found: String,
    },
    /// Something in the source chain must not be there, or is missing.
    #[error("{}", told(.0))]
    Alarm(Alarm),
    /// A key has two roles.
    #[error(transparent)]
    KeyHasTwoRoles(#[from] KeyHasTwoRoles),
    /// The custody chain opens a term that cannot be.
    #[error(transparent)]
    InvalidTerm(#[from] InvalidTerm),
    /// The chain has no number left.
    #[error("the source chain has used its last number")]
    Exhausted,
}

impl LedgerError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Store(error) => error.reason(),
            Self::NotInitialised { .. } => Reason::StoreNotInitialised,
            Self::DocumentInvalid(_) | Self::InvalidTerm(_) | Self::Exhausted => Reason::LedgerUnreadable,
            Self::OtherStore { .. } => Reason::StoreMismatch,
            Self::Alarm(alarm) => alarm_reason(alarm),
            Self::KeyHasTwoRoles(_) => Reason::ForeignSignature,
        }
    }

    /// Whether trying again without a change by somebody is pointless.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Store(error) => error.is_permanent(),
            _ => true,
        }
    }
}

/// What is wrong, and what to do about it.
#[must_use]
pub fn told(alarm: &Alarm) -> String {
    format!("{alarm}. {}", alarm_reason(alarm).remedy())
}

/// The reason that an alarm has for the user.
#[must_use]
pub const fn alarm_reason(alarm: &Alarm) -> Reason {
    match alarm {
        Alarm::Unparsable { .. } | Alarm::Misplaced { .. } => Reason::LedgerUnreadable,
        Alarm::WrongSignature { .. } | Alarm::ForeignSignature { .. } => Reason::ForeignSignature,
        Alarm::BrokenLink { .. } | Alarm::Gap { .. } => Reason::LedgerGap,
        Alarm::SecondVersion { .. } => Reason::SecondVersion,
        Alarm::ContradictsCustody { .. } | Alarm::RolledBack { .. } => Reason::RolledBack,
    }
}

/// What a reader keeps of a ledger between two looks, so that a look at a ledger that has not changed costs an object and two listings, and so
/// that nothing that was seen once can be taken back. It is for one store and one set of settings.
#[derive(Debug, Default)]
pub struct LedgerMemory {
    custody: Option<Known>,
    source: Option<Held>,
    /// The last version of the custody chain, if no place to start at was found before it: then it is not looked for again.
    barren: Option<ObjectVersion>,
    /// Whether a source entry is believed that names a custody head.
    believes_entries: bool,
    /// What becomes of something in the source chain that is no entry.
    judgement: Judgement,
    /// The store, and what its custody chain said at the last look, if it could be read then, whatever came of the source chain.
    said: Option<(StoreId, CustodyView)>,
}

impl LedgerMemory {
    /// The memory of the one who signs source entries. They name the custody head that their writer had read: a custody chain that ends
    /// before it was rolled back. Another reader does not believe that, or whoever writes at home could keep the embassy from restoring.
    #[must_use]
    pub fn of_the_writer() -> Self {
        Self {
            believes_entries: true,
            judgement: Judgement::Writing,
            ..Self::default()
        }
    }

    /// The store, and what its custody chain said at the last look: also where the source chain could not be read, and not where it could not
    /// be read itself.
    #[must_use]
    pub fn said(&self) -> Option<(StoreId, &CustodyView)> {
        self.said.as_ref().map(|(store, view)| (*store, view))
    }
}

impl Ledger {
    /// Reads both chains: the custody chain from the last proof that says what came before it, the source chain from the last known head.
    pub async fn read(store: &Store, settings: &LedgerSettings) -> Result<Self, LedgerError> {
        Self::read_on(store, settings, &mut LedgerMemory::default()).await
    }

    /// The same for whoever wants copies that it names: what somebody put at its end, or beyond, is noted and does not keep them from reading.
    pub async fn read_copies(store: &Store, settings: &LedgerSettings) -> Result<Self, LedgerError> {
        let mut memory = LedgerMemory {
            judgement: Judgement::Lenient,
            ..LedgerMemory::default()
        };
        Self::read_on(store, settings, &mut memory).await
    }

    /// Reads both chains on from where the memory says they were left. After an error it still knows what it knew.
    pub async fn read_on(
        store: &Store,
        settings: &LedgerSettings,
        memory: &mut LedgerMemory,
    ) -> Result<Self, LedgerError> {
        memory.said = None;
        let document = read_document(store).await?;
        let named = document.document.custodian_key;
        if !settings.custodians.is_empty()
            && settings.custodians.iter().all(|custodian| custodian.key != named)
        {
            return Err(LedgerError::OtherStore {
                found: named.to_string(),
            });
        }
        let reading = Reading {
            store,
            settings,
            store_id: document.document.store_id,
            genesis: document.digest,
            judgement: memory.judgement,
        };
        // Boxed, here and below: futures that hold pages and walks are large, and a run's would carry them along.
        let custody = Box::pin(reading.read(memory.custody.as_ref(), &mut memory.barren)).await?;
        memory.said = Some((document.document.store_id, custody.view.clone()));
        let source = reading.read_source(custody.view, memory.source.as_ref());
        let (mut ledger, held) = Box::pin(source).await?;
        ledger.alarms.splice(..0, custody.alarms);
        ledger.custody_at_next = custody.at_next;
        let judged = !settings.custodians.is_empty();
        if let Some(alarm) = ledger.custody_rolled_back().filter(|_| judged) {
            if memory.believes_entries {
                return Err(LedgerError::Alarm(alarm));
            }
            ledger.alarms.push(alarm);
        }
        memory.custody = custody.known;
        memory.source = held;
        Ok(ledger)
    }

    /// The alarm for a custody chain that ends before the entry that the head of the source chain names.
    fn custody_rolled_back(&self) -> Option<Alarm> {
        let SourceBody::Copy(copy) = &self.head.as_ref()?.entry.entry.body;
        let seen = copy.custody_head?;
        let found = self.view.head().map(|head| head.sequence);
        (found < Some(seen.sequence)).then_some(Alarm::RolledBack {
            chain: Chain::Custody,
            sequence: seen.sequence,
            digest: seen.digest,
        })
    }

    /// The place and digest of the head of the source chain.
    #[must_use]
    pub fn head_reference(&self) -> Option<EntryRef> {
        self.head.as_ref().map(|head| head.entry.reference())
    }

    /// Whether one of the latest 100 entries answers this trigger. An answer further back, or behind an entry that is gone, is forgotten: a copy
    /// too many does no harm.
    pub async fn answers(
        &self,
        store: &Store,
        registry: &RegistryId,
        trigger: &Trigger,
    ) -> Result<bool, LedgerError> {
        let Some(mut found) = self.head.as_ref().map(|head| head.entry.clone()) else {
            return Ok(false);
        };
        for _ in 0..TRIGGER_MEMORY {
            let SourceBody::Copy(copy) = &found.entry.body;
            if copy.trigger.as_ref() == Some(trigger) {
                return Ok(true);
            }
            let header = &found.entry.header;
            let before = header
                .sequence
                .get()
                .checked_sub(1)
                .and_then(|number| Sequence::new(number).ok());
            let Some(sequence) = before else { return Ok(false) };
            let key = ObjectKey::Source {
                registry: registry.clone(),
                term: self.view.term_of(sequence),
                sequence,
            };
            let bytes = match read(store, &key).await {
                Err(StoreError::ObjectMissing { .. } | StoreError::ObjectTooLarge { .. }) => {
                    return Ok(false);
                }
                read => read?,
            };
            // The link decides: only the very object that our head descends from is believed.
            if Sha256Digest::of(&bytes) != header.prev {
                return Ok(false);
            }
            let Ok(entry) = SourceEntry::verify(&bytes) else {
                return Ok(false);
            };
            found = entry;
        }
        Ok(false)
    }
}

/// An entry, or what stands in its place, as it is now.
async fn read(store: &Store, key: &ObjectKey) -> Result<Bytes, StoreError> {
    store.open(key, None).await?.read(MAX_OBJECT_BYTES as u64).await
}

/// Reads and checks `embassy.json`.
pub async fn read_document(store: &Store) -> Result<VerifiedStoreDocument, LedgerError> {
    let bytes = match read(store, &ObjectKey::Embassy).await {
        Err(StoreError::ObjectMissing { .. }) => {
            return Err(LedgerError::NotInitialised {
                bucket: store.bucket().to_owned(),
            });
        }
        other => other?,
    };
    StoreDocument::verify(&bytes).map_err(LedgerError::DocumentInvalid)
}

impl Reading<'_> {
    /// Reads the source chain from the last known head on. One that was left behind in a term that had ended is not missed: then the end of that
    /// term is what is known.
    async fn read_source(
        &self,
        view: CustodyView,
        held: Option<&Held>,
    ) -> Result<(Ledger, Option<Held>), LedgerError> {
        let settings = self.settings;
        let authority = SourceAuthority::new(settings.signers.clone(), &settings.custodians, view.clone())?;
        let read = Box::pin(self.walk(&view, &authority, settings.floor, held)).await;
        let (Some(floor), Err(LedgerError::Alarm(alarm))) = (settings.floor, &read) else {
            return read;
        };
        if !is_missed(alarm, floor) {
            return read;
        }
        match Box::pin(self.left_behind(&view, &authority, floor)).await? {
            Some(opening) => {
                tracing::info!(
                    known = %floor.sequence,
                    term = %opening.term,
                    "the known head stands behind the end of its term, and does not count"
                );
                Box::pin(self.walk(&view, &authority, opening.source_head, held)).await
            }
            None => read,
        }
    }

    /// Reads the source chain on from what is known; the head's own object only if the store does not list what it did before.
    async fn walk(
        &self,
        view: &CustodyView,
        authority: &SourceAuthority,
        floor: Option<EntryRef>,
        held: Option<&Held>,
    ) -> Result<(Ledger, Option<Held>), LedgerError> {
        let settings = self.settings;
        // A reader without a floor starts at the last entry that the custodian has named.
        let known = floor.max(view.last_named_source());
        let start = known.map_or(Start::Genesis(self.genesis), Start::Known);
        let registry = settings.registry.clone();
        let mut walk = SourceChain::new(self.store_id, registry, authority.clone(), start).with_floor(floor);
        let prefix = ObjectKey::source_prefix(&settings.registry);
        let mut follower = Follower {
            store: self.store,
            judgement: self.judgement,
            at_next: None,
            held: held.cloned(),
            alarms: Vec::new(),
        };
        let walked = follower.follow(&mut walk, &prefix, |_| Ok(())).await;
        // A ledger that lost, or replaced, what it is known to have had is told as that, whatever else shows up.
        match (walked, walk.rolled_back()) {
            (Ok(()), None) => {}
            // It is there, and only who signed it is not believed any more.
            (Err(LedgerError::Alarm(alarm @ Alarm::ForeignSignature { digest, .. })), Some(_))
                if known.is_some_and(|known| known.digest == digest) =>
            {
                return Err(LedgerError::Alarm(alarm));
            }
            (Ok(()) | Err(LedgerError::Alarm(_)), Some(alarm)) => return Err(LedgerError::Alarm(alarm)),
            (Err(error), _) => return Err(error),
        }
        let ledger = Ledger {
            store_id: self.store_id,
            view: view.clone(),
            head: walk.head().cloned(),
            tip: walk.tip().unwrap_or(self.genesis),
            next: walk.next_sequence().ok_or(LedgerError::Exhausted)?,
            alarms: follower.alarms,
            at_next: follower.at_next,
            custody_at_next: None,
        };
        Ok((ledger, follower.held))
    }
}

//! Both chains of one registry, read from the store. What counts is the ledger crate's to judge; here it gets what the store holds.

use std::num::NonZeroUsize;

use dataembassy_contract::Reason;
use dataembassy_ledger::chain::{
    Alarm, Authority, CustodianKey, CustodyAuthority, CustodyView, Found, InvalidTerm, KeyHasTwoRoles,
    SignerRange, SourceAuthority, Start, StoredVersion, Walk,
};
use dataembassy_ledger::entry::{Body, CustodyBody, EntryRef, ReadError, SourceBody};
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::store_document::VerifiedStoreDocument;
use dataembassy_ledger::value::{RegistryId, Sequence, Sha256Digest, StoreId, Trigger};
use dataembassy_ledger::{ObjectKey, StoreDocument};

use super::{ObjectVersion, Store, StoreError};

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
    /// What is wrong and yet no reason to stop: second versions, and anything in the custody chain.
    pub alarms: Vec<Alarm>,
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

impl Ledger {
    /// Reads both chains, the source chain from the last known head on.
    pub async fn read(store: &Store, settings: &LedgerSettings) -> Result<Self, LedgerError> {
        let document = read_document(store).await?;
        let named = document.document.custodian_key;
        if !settings.custodians.is_empty()
            && settings.custodians.iter().all(|custodian| custodian.key != named)
        {
            return Err(LedgerError::OtherStore {
                found: named.to_string(),
            });
        }
        let store_id = document.document.store_id;
        let (view, mut alarms) = read_custody(store, settings, store_id, document.digest).await?;
        // A reader without a floor starts at the last entry that the custodian has named.
        let known = settings.floor.max(view.last_named_source());
        let authority = SourceAuthority::new(settings.signers.clone(), &settings.custodians, view.clone())?;
        let start = known.map_or(Start::Genesis(document.digest), Start::Known);
        let mut walk = Walk::<SourceBody, _>::new(store_id, settings.registry.clone(), authority, start)
            .with_floor(settings.floor);
        let prefix = ObjectKey::source_prefix(&settings.registry);
        let walked = follow(
            store,
            &mut walk,
            &prefix,
            |_| Ok(()),
            &mut alarms,
            Judgement::Strict,
        )
        .await;
        // A ledger that lost, or replaced, what it is known to have had is told as that, whatever else shows up.
        match (walked, walk.rolled_back()) {
            (Ok(()), None) => {}
            (Ok(()) | Err(LedgerError::Alarm(_)), Some(alarm)) => return Err(LedgerError::Alarm(alarm)),
            (Err(error), _) => return Err(error),
        }
        let head = walk.head().map(|head| Found {
            version: head.version.clone(),
            entry: head.entry.clone(),
        });
        let tip = walk.tip().unwrap_or(document.digest);
        let next = walk.next_sequence().ok_or(LedgerError::Exhausted)?;
        Ok(Self {
            store_id,
            view,
            head,
            tip,
            next,
            alarms,
        })
    }

    /// The place and digest of the head of the source chain.
    #[must_use]
    pub fn head_reference(&self) -> Option<EntryRef> {
        self.head.as_ref().map(|head| head.entry.reference())
    }

    /// Whether one of the latest 100 entries answers this trigger. An answer further back is forgotten: a copy too many does no harm.
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
            let bytes = store
                .open(&key, None)
                .await?
                .read(MAX_OBJECT_BYTES as u64)
                .await?;
            // The link decides: only the very object that our head descends from is believed.
            if Sha256Digest::of(&bytes) != header.prev {
                return Ok(false);
            }
            let Ok(entry) = dataembassy_ledger::entry::SourceEntry::verify(&bytes) else {
                return Ok(false);
            };
            found = entry;
        }
        Ok(false)
    }
}

/// Reads and checks `embassy.json`.
pub async fn read_document(store: &Store) -> Result<VerifiedStoreDocument, LedgerError> {
    let object = match store.open(&ObjectKey::Embassy, None).await {
        Err(StoreError::ObjectMissing { .. }) => {
            return Err(LedgerError::NotInitialised {
                bucket: store.bucket().to_owned(),
            });
        }
        other => other?,
    };
    let bytes = object.read(MAX_OBJECT_BYTES as u64).await?;
    StoreDocument::verify(&bytes).map_err(LedgerError::DocumentInvalid)
}

async fn read_custody(
    store: &Store,
    settings: &LedgerSettings,
    store_id: StoreId,
    genesis: Sha256Digest,
) -> Result<(CustodyView, Vec<Alarm>), LedgerError> {
    let authority = CustodyAuthority::new(settings.custodians.clone());
    let mut walk = Walk::<CustodyBody, _>::new(
        store_id,
        settings.registry.clone(),
        authority,
        Start::Genesis(genesis),
    );
    let (mut view, mut alarms) = (CustodyView::new(), Vec::new());
    let prefix = ObjectKey::custody_prefix(&settings.registry);
    let apply = |found: &Found<CustodyBody>| view.apply(&found.entry).map_err(LedgerError::from);
    // Whatever stands in the custodian's chain must not be able to stop home from writing its own.
    follow(store, &mut walk, &prefix, apply, &mut alarms, Judgement::Lenient).await?;
    let undecided: Vec<_> = walk
        .undecided()
        .into_iter()
        .map(|found| found.entry.clone())
        .collect();
    for entry in &undecided {
        view.apply(entry)?;
    }
    Ok((view, alarms))
}

/// What becomes of an alarm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judgement {
    /// It ends the reading, unless an entry that counts stands at the same place.
    Strict,
    /// It is noted.
    Lenient,
}

/// Offers to a walk what the store lists, key by key, until the list ends.
async fn follow<B: Body, A: Authority<B>>(
    store: &Store,
    walk: &mut Walk<B, A>,
    prefix: &str,
    mut apply: impl FnMut(&Found<B>) -> Result<(), LedgerError>,
    alarms: &mut Vec<Alarm>,
    judgement: Judgement,
) -> Result<(), LedgerError> {
    let mut from = walk
        .next()
        .and_then(|key| marker_before(&key))
        .map(|key| (key, None));
    let mut pending: Vec<ObjectVersion> = Vec::new();
    loop {
        let page = store.list_versions(prefix, from).await?;
        pending.extend(
            page.versions
                .into_iter()
                .filter(|version| !version.is_delete_marker),
        );
        from = page.next;
        while let Some(group) = next_group(&pending, from.is_none()) {
            let versions: Vec<ObjectVersion> = pending.drain(..group.get()).collect();
            let Ok(key) = versions[0].key.parse::<ObjectKey>() else {
                continue;
            };
            if walk.next().as_ref() != Some(&key) {
                let Some(alarm) = walk.beyond(&key) else { continue };
                if judgement == Judgement::Strict {
                    return Err(LedgerError::Alarm(alarm));
                }
                alarms.push(alarm);
                return Ok(());
            }
            let stored = read_versions(store, &key, &versions).await?;
            let step = walk.offer(&stored);
            for found in &step.decided {
                apply(found)?;
            }
            // Beside an entry that counts, anything else is an alarm and never a break.
            let stuck = !step.advanced && judgement == Judgement::Strict;
            for alarm in step.alarms {
                if stuck && !matches!(alarm, Alarm::SecondVersion { .. }) {
                    return Err(LedgerError::Alarm(alarm));
                }
                alarms.push(alarm);
            }
        }
        if from.is_none() {
            return Ok(());
        }
    }
}

/// The key before which nothing needs to be listed; none for the first place.
fn marker_before(key: &ObjectKey) -> Option<String> {
    let before = |sequence: Sequence| Sequence::new(sequence.get() - 1).ok();
    let marker = match key.clone() {
        ObjectKey::Source {
            registry,
            term,
            sequence,
        } => ObjectKey::Source {
            registry,
            term,
            sequence: before(sequence)?,
        },
        ObjectKey::Custody { registry, sequence } => ObjectKey::Custody {
            registry,
            sequence: before(sequence)?,
        },
        _ => return None,
    };
    Some(marker.to_string())
}

/// How many versions the first key of a listing has; none while more of them may follow on the next page.
fn next_group(pending: &[ObjectVersion], complete: bool) -> Option<NonZeroUsize> {
    let first = pending.first()?;
    let count = pending
        .iter()
        .take_while(|version| version.key == first.key)
        .count();
    if count == pending.len() && !complete {
        None
    } else {
        NonZeroUsize::new(count)
    }
}

/// Reads versions of one entry, oldest first; a store lists the newest first.
async fn read_versions(
    store: &Store,
    key: &ObjectKey,
    versions: &[ObjectVersion],
) -> Result<Vec<StoredVersion>, LedgerError> {
    let mut stored = Vec::new();
    for version in versions
        .iter()
        .rev()
        .take(dataembassy_ledger::chain::MAX_VERSIONS)
    {
        let Some(id) = &version.version else {
            return Err(StoreError::VersionMissing {
                target: key.to_string(),
            }
            .into());
        };
        let limit = MAX_OBJECT_BYTES as u64 + 1;
        let bytes = match store.open(key, Some(id)).await?.read_up_to(limit).await {
            Ok(bytes) => bytes.to_vec(),
            Err(error) => return Err(error.into()),
        };
        stored.push(StoredVersion {
            version: id.clone(),
            bytes,
        });
    }
    Ok(stored)
}

//! Offers to a walk what the store lists, key by key.

use std::num::NonZeroUsize;

use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::chain::{Alarm, Authority, Found, MAX_VERSIONS, StoredVersion, Walk};
use dataembassy_ledger::entry::{Body, Chain, Entry};
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::value::{RegistryId, Sequence, StoreId};

use super::{LedgerError, Taken, alarm_reason};
use crate::store::{ObjectVersion, Store, StoreError};

/// How many keys beyond a missing entry are looked at. One that holds an entry proves that it is missing; junk proves nothing.
const MAX_BEYOND: usize = 4;

/// The most versions of one key that are kept while more of them come: whoever has root's rights may write any number.
const MANY_VERSIONS: usize = 4_096;

/// What becomes of an alarm. An entry beyond a missing one, signed by who may, ends every reading: then what the chain says is not known. Where the
/// place before is taken, and nothing is missing, who reads what is there ends before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Judgement {
    /// For whoever vouches for the chain: it ends the reading, unless an entry that counts stands at the same place.
    #[default]
    Strict,
    /// For whoever writes the next entry: so it does where that entry's place is taken. Junk beyond is noted: anybody who may deposit could else
    /// keep home from writing.
    Writing,
    /// For whoever reads what is there: it is noted. Anybody who may deposit could else keep the embassy from reading.
    Lenient,
}

/// What the store holds under one key: the versions as it lists them, and their bytes. While it lists the same, they are not read again.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) versions: Vec<ObjectVersion>,
    pub(super) stored: Vec<StoredVersion>,
}

/// One reading of a chain.
pub(super) struct Follower<'a> {
    pub(super) store: &'a Store,
    pub(super) judgement: Judgement,
    /// What is known of the place that the walk starts at.
    pub(super) held: Option<Held>,
    /// What was found wrong.
    pub(super) alarms: Vec<Alarm>,
    /// What was found wrong at the place of the next entry, where nothing counts.
    pub(super) at_next: Option<Taken>,
}

impl Follower<'_> {
    /// Offers what the store lists until the list ends. `held` is then what the store holds at the head's place.
    pub(super) async fn follow<B: Body, A: Authority<B>>(
        &mut self,
        walk: &mut Walk<B, A>,
        prefix: &str,
        mut apply: impl FnMut(&Found<B>) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let mut from = walk
            .next()
            .and_then(|key| marker_before(&key))
            .map(|key| (key, None));
        let mut pending: Vec<ObjectVersion> = Vec::new();
        let mut beyond = 0;
        loop {
            let page = self.store.list_versions(prefix, from).await?;
            let objects = page.versions.into_iter();
            pending.extend(objects.filter(|version| !version.is_delete_marker));
            from = page.next;
            while let Some(group) = next_group(&pending, from.is_none()) {
                let versions: Vec<ObjectVersion> = pending.drain(..group.get()).collect();
                let Ok(key) = versions[0].key.parse::<ObjectKey>() else {
                    continue;
                };
                if walk.next().as_ref() != Some(&key) {
                    let Some(alarm) = walk.beyond(&key) else { continue };
                    self.judge_gap(walk, alarm, &key, &versions, beyond == 0).await?;
                    beyond += 1;
                    if beyond == MAX_BEYOND {
                        return Ok(());
                    }
                    continue;
                }
                self.offer(walk, &key, versions, &mut apply).await?;
            }
            // What is left are versions of one key, of which only the first few count.
            pending.truncate(MANY_VERSIONS);
            if from.is_none() {
                return Ok(());
            }
        }
    }

    async fn offer<B: Body, A: Authority<B>>(
        &mut self,
        walk: &mut Walk<B, A>,
        key: &ObjectKey,
        versions: Vec<ObjectVersion>,
        apply: &mut impl FnMut(&Found<B>) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let stored = match self.held.take() {
            Some(held) if held.versions == versions => held.stored,
            _ => read_versions(self.store, key, &versions).await?,
        };
        let step = walk.offer(&stored);
        // Home may put nothing into the custody chain, so that only what a custodian has signed for the place takes it, read or not: it may be a
        // fence. In the source chain anything may be an entry that was damaged.
        let is_taken = !step.advanced
            && (B::CHAIN == Chain::Source
                || stored.iter().any(|version| walk.is_made_for(key, &version.bytes)));
        for found in &step.decided {
            apply(found)?;
        }
        // Beside an entry that counts, anything else is an alarm and never a break.
        for alarm in step.alarms {
            if is_taken && !matches!(alarm, Alarm::SecondVersion { .. }) {
                if self.judgement != Judgement::Lenient {
                    return Err(LedgerError::Alarm(alarm));
                }
                self.at_next.get_or_insert_with(|| Taken {
                    reason: alarm_reason(&alarm),
                    words: alarm.to_string(),
                });
            }
            self.alarms.push(alarm);
        }
        if step.advanced {
            self.held = Some(Held { versions, stored });
        }
        Ok(())
    }

    /// What stands beyond an entry that is missing.
    async fn judge_gap<B: Body, A: Authority<B>>(
        &mut self,
        walk: &Walk<B, A>,
        alarm: Alarm,
        key: &ObjectKey,
        versions: &[ObjectVersion],
        first: bool,
    ) -> Result<(), LedgerError> {
        if self.judgement == Judgement::Strict {
            return Err(LedgerError::Alarm(alarm));
        }
        if self.judgement == Judgement::Lenient && self.at_next.is_some() {
            // The place before is taken, and not empty: nothing was removed, and what stands there was told.
            return Ok(());
        }
        let stored = read_versions(self.store, key, versions).await?;
        if stored.iter().any(|version| walk.is_made_for(key, &version.bytes)) {
            return Err(LedgerError::Alarm(alarm));
        }
        if first {
            self.alarms.push(alarm);
        }
        Ok(())
    }
}

/// The entry that these bytes are, if it is made for this place and signed by who may sign there. Whether it is linked is not asked.
pub(super) fn entry_at<B: Body>(
    bytes: &[u8],
    key: &ObjectKey,
    store_id: StoreId,
    registry: &RegistryId,
    authority: &impl Authority<B>,
) -> Option<dataembassy_ledger::entry::VerifiedEntry<B>> {
    let found = Entry::<B>::verify(bytes).ok()?;
    let header = &found.entry.header;
    let in_place =
        header.store_id == store_id && header.registry == *registry && found.entry.object_key() == *key;
    (in_place && authority.may_sign(header.term, header.sequence, &found.signer)).then_some(found)
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
pub(super) fn next_group(pending: &[ObjectVersion], complete: bool) -> Option<NonZeroUsize> {
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
pub(super) async fn read_versions(
    store: &Store,
    key: &ObjectKey,
    versions: &[ObjectVersion],
) -> Result<Vec<StoredVersion>, LedgerError> {
    let mut stored = Vec::new();
    for version in versions.iter().rev().take(MAX_VERSIONS) {
        let Some(id) = &version.version else {
            return Err(StoreError::VersionMissing {
                target: key.to_string(),
            }
            .into());
        };
        let limit = MAX_OBJECT_BYTES as u64 + 1;
        let bytes = store.open(key, Some(id)).await?.read_up_to(limit).await?;
        stored.push(StoredVersion {
            version: id.clone(),
            bytes: bytes.to_vec(),
        });
    }
    Ok(stored)
}

//! The way back along a source chain, from each entry to the one that it names.
//!
//! The key of an entry is known before the entries above it are read, so several places are asked for at once. What is found there is judged one
//! after the other, by the SHA-256 that the entry above names: a store that holds something else makes the way slow, and leads nowhere else.

use bytes::Bytes;
use dataembassy_ledger::{
    ObjectKey, RegistryId,
    entry::{SourceBody, SourceEntry, VerifiedEntry},
    signed_line::MAX_OBJECT_BYTES,
    value::{Sequence, Sha256Digest},
};
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};

use super::FindError;
use crate::store::{Ledger, LedgerError, Store, StoreError, ledger::read_named};

/// The most places that are asked for at once, of 64 KiB each. A gate answers 24 requests of a registry at once, and its mirror has some to send.
const MOST_AT_ONCE: usize = 16;

/// Reads one entry after the other, downwards.
///
/// For a listing of one key's versions MinIO reads the names of all entries, so no key is listed that need not be: an entry is written once, its
/// newest version is read unseen, and the digest tells whether that is the one. Only where it is not are the versions listed.
pub(super) struct WayBack<'a> {
    store: &'a Store,
    ledger: &'a Ledger,
    registry: &'a RegistryId,
    /// Below this place nothing is wanted.
    lowest: Sequence,
    /// The newest versions of the next places, downwards and without a gap.
    asked: FuturesOrdered<BoxFuture<'a, Result<Bytes, StoreError>>>,
    /// Entries in a row that were what the store gave first.
    straight: usize,
}

impl<'a> WayBack<'a> {
    /// Nothing is asked for yet; below `lowest` nothing will be.
    pub(super) fn new(
        store: &'a Store,
        ledger: &'a Ledger,
        registry: &'a RegistryId,
        lowest: Sequence,
    ) -> Self {
        Self {
            store,
            ledger,
            registry,
            lowest,
            asked: FuturesOrdered::new(),
            straight: 0,
        }
    }

    /// The entry at this place, the one just below the last: whatever else stands there, only what the entry above names by its digest counts.
    pub(super) async fn entry(
        &mut self,
        place: Sequence,
        named: Sha256Digest,
    ) -> Result<VerifiedEntry<SourceBody>, FindError> {
        self.ask_ahead(place);
        let key = self.key(place);
        let found = match self.asked.next().await {
            Some(Ok(bytes)) if Sha256Digest::of(&bytes) == named => entry_of(&key, &bytes),
            // It was waited for as long as a request may take; nobody is to wait twice as long before it is told.
            Some(Err(error @ StoreError::NoAnswer { .. })) => return Err(LedgerError::from(error).into()),
            _ => None,
        };
        if let Some(entry) = found {
            self.straight += 1;
            return Ok(entry);
        }
        // What was asked ahead would wait too long for who reads it, and may be in vain: where there is junk, there may be more, and a store that
        // has failed may have been asked for too much at once.
        self.asked = FuturesOrdered::new();
        self.straight = 0;
        let found = read_named(self.store, &key, named).await;
        let found = found.map_err(LedgerError::from)?;
        found
            .and_then(|bytes| entry_of(&key, &bytes))
            .ok_or(FindError::BrokenLink {
                sequence: place.get(),
            })
    }

    /// Asks for this place, and no further ahead than it has come straight so far: who wants a copy near the head asks for nothing in vain.
    fn ask_ahead(&mut self, place: Sequence) {
        let many = self.straight.clamp(1, MOST_AT_ONCE);
        while self.asked.len() < many {
            let below = place.get().checked_sub(self.asked.len() as u64);
            let below = below.and_then(|number| Sequence::new(number).ok());
            let Some(below) = below.filter(|below| *below >= self.lowest) else {
                return;
            };
            let (store, key) = (self.store, self.key(below));
            let newest = async move { store.open(&key, None).await?.read(MAX_OBJECT_BYTES as u64).await };
            self.asked.push_back(Box::pin(newest));
        }
    }

    fn key(&self, sequence: Sequence) -> ObjectKey {
        ObjectKey::Source {
            registry: self.registry.clone(),
            term: self.ledger.view.term_of(sequence),
            sequence,
        }
    }
}

/// The entry that these bytes are, if it was made for this key.
fn entry_of(key: &ObjectKey, bytes: &[u8]) -> Option<VerifiedEntry<SourceBody>> {
    let entry = SourceEntry::verify(bytes).ok()?;
    (entry.entry.object_key() == *key).then_some(entry)
}

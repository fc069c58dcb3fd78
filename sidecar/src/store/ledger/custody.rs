//! Reading the custody chain: from where it was left, from the last proof that says what came before it, or from its first entry.
//!
//! A deposit user cannot write below `custody/`, and what others put there counts only with a custodian's signature. Whoever owns the store
//! can hide the end of the chain, but not what a reader has seen: below that, the ledger was rolled back.

use std::collections::VecDeque;

use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::chain::{
    Alarm, CustodyAuthority, CustodyChain, CustodyView, Found, Start, StoredVersion,
};
use dataembassy_ledger::entry::{CustodyBody, EntryRef, VerifiedEntry};
use dataembassy_ledger::value::{Sequence, Sha256Digest, StoreId};

use super::follow::{Follower, Held, Judgement, entry_at, read_versions};
use super::tail::last_keys;
use super::{LedgerError, LedgerSettings, Taken};
use crate::store::{ObjectVersion, Store};

/// How many objects at the end of the chain are looked at for a proof to start at, before the chain is read from its first entry.
const MAX_LOOKED_AT: usize = 64;

/// A place in the chain from which a reader can go on.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The entry.
    pub(super) entry: EntryRef,
    /// What all entries before it say together.
    before: CustodyView,
    /// What the store holds at its place.
    held: Held,
}

/// What the chain says, and from where the next reader can go on.
pub(super) struct Custody {
    pub(super) view: CustodyView,
    pub(super) alarms: Vec<Alarm>,
    pub(super) known: Option<Known>,
    /// What a custodian has put at the place of the next entry, and this version cannot take for one.
    pub(super) at_next: Option<Taken>,
}

/// Where a reader without memory begins.
enum Beginning {
    /// Nowhere: the chain has no entry.
    Empty,
    /// At the first entry.
    First,
    /// At a proof.
    At(Box<Known>),
}

/// One reading.
pub(super) struct Reading<'a> {
    pub(super) store: &'a Store,
    pub(super) settings: &'a LedgerSettings,
    pub(super) store_id: StoreId,
    pub(super) genesis: Sha256Digest,
    /// What becomes of something in the source chain that is no entry. What is no custodian's in the custody chain is always noted and no more:
    /// home may not write there.
    pub(super) judgement: Judgement,
}

impl Reading<'_> {
    /// Reads the chain on from what is known, if anything is. `barren` is the last version of the chain if nothing to start at was found
    /// before it.
    pub(super) async fn read(
        &self,
        known: Option<&Known>,
        barren: &mut Option<ObjectVersion>,
    ) -> Result<Custody, LedgerError> {
        let nothing = Custody {
            view: CustodyView::new(),
            alarms: Vec::new(),
            known: None,
            at_next: None,
        };
        if self.settings.custodians.is_empty() {
            // Nothing in the chain could count.
            return Ok(nothing);
        }
        let Some(known) = known else {
            return match Box::pin(self.last_start(barren)).await? {
                Beginning::Empty => Ok(nothing),
                Beginning::First => self.read_from(None, None).await,
                Beginning::At(start) => self.read_from(Some(&start), None).await,
            };
        };
        match self.read_from(Some(known), Some(known.entry)).await {
            // An entry was lost, or is not for this version. Where a later proof says what came before it, nothing that it said is lost.
            Err(LedgerError::Alarm(alarm @ (Alarm::Gap { .. } | Alarm::Unparsable { .. }))) => {
                match self.last_start(barren).await? {
                    Beginning::At(later) if later.entry.sequence > known.entry.sequence => {
                        let mut custody = self.read_from(Some(&later), Some(later.entry)).await?;
                        custody.alarms.insert(0, alarm);
                        Ok(custody)
                    }
                    _ => Err(LedgerError::Alarm(alarm)),
                }
            }
            other => other,
        }
    }

    async fn read_from(
        &self,
        known: Option<&Known>,
        floor: Option<EntryRef>,
    ) -> Result<Custody, LedgerError> {
        let registry = &self.settings.registry;
        let start = known.map_or(Start::Genesis(self.genesis), |known| Start::Known(known.entry));
        let mut walk =
            CustodyChain::new(self.store_id, registry.clone(), self.authority(), start).with_floor(floor);
        let mut view = known.map_or_else(CustodyView::new, |known| known.before.clone());
        let mut follower = Follower {
            store: self.store,
            // Junk beyond is no custodian's, and ends the reading for nobody.
            judgement: match self.judgement {
                Judgement::Strict => Judgement::Writing,
                judgement => judgement,
            },
            at_next: None,
            held: known.map(|known| known.held.clone()),
            alarms: Vec::new(),
        };
        let prefix = ObjectKey::custody_prefix(registry);
        let apply = |found: &Found<CustodyBody>| view.apply(&found.entry).map_err(LedgerError::from);
        let outcome = follower.follow(&mut walk, &prefix, apply).await;
        match (outcome, walk.rolled_back()) {
            (Ok(()), None) => {}
            (Ok(()) | Err(LedgerError::Alarm(_)), Some(alarm)) => return Err(LedgerError::Alarm(alarm)),
            (Err(error), _) => return Err(error),
        }
        let undecided = walk.undecided();
        let next = match (&undecided[..], follower.held) {
            // A place that several versions contend for is decided by the entry after it, so nobody goes on from there.
            ([last], Some(held)) if held.versions.len() == 1 => Some(Known {
                entry: last.entry.reference(),
                before: view.clone(),
                held,
            }),
            _ => known.cloned(),
        };
        for found in undecided {
            view.apply(&found.entry)?;
        }
        Ok(Custody {
            view,
            alarms: follower.alarms,
            known: next,
            at_next: follower.at_next,
        })
    }

    /// Looks among the last entries for a proof that says what came before it and that a trusted custodian signed.
    async fn last_start(&self, barren: &mut Option<ObjectVersion>) -> Result<Beginning, LedgerError> {
        let mut left = MAX_LOOKED_AT;
        let (mut limit, mut end) = (None, None);
        while left > 0 {
            let mut tail = VecDeque::from(last_keys(self.store, &self.settings.registry, limit).await?);
            let Some((first, _)) = tail.front() else { break };
            limit = Some(*first);
            let last = tail.back().map(|(_, version)| version.clone());
            if last.is_some() && last == *barren {
                return Ok(Beginning::First);
            }
            end = end.or(last);
            while let Some((sequence, newest)) = tail.pop_back().filter(|_| left > 0) {
                let mut versions = vec![newest];
                while let Some((_, version)) = tail.pop_back_if(|(other, _)| *other == sequence) {
                    versions.insert(0, version);
                }
                left = left.saturating_sub(versions.len());
                if let Some(known) = self.start_at(sequence, versions).await? {
                    return Ok(Beginning::At(Box::new(known)));
                }
            }
        }
        if end.is_none() {
            return Ok(Beginning::Empty);
        }
        *barren = end;
        Ok(Beginning::First)
    }

    /// The place as one to start at, if what stands there is such a proof.
    async fn start_at(
        &self,
        sequence: Sequence,
        versions: Vec<ObjectVersion>,
    ) -> Result<Option<Known>, LedgerError> {
        let registry = &self.settings.registry;
        let key = ObjectKey::Custody {
            registry: registry.clone(),
            sequence,
        };
        let stored = read_versions(self.store, &key, &versions).await?;
        let authority = self.authority();
        let read =
            |version: &StoredVersion| entry_at(&version.bytes, &key, self.store_id, registry, &authority);
        let mut entries: Vec<VerifiedEntry<CustodyBody>> = stored.iter().filter_map(read).collect();
        entries.dedup_by_key(|entry| entry.digest);
        // Where two count, only an entry after them says which; a place further back is safe.
        let [entry] = &entries[..] else { return Ok(None) };
        let CustodyBody::Proof(proof) = &entry.entry.body else {
            return Ok(None);
        };
        Ok(CustodyView::standing_before(proof).map(|before| Known {
            entry: entry.reference(),
            before,
            held: Held { versions, stored },
        }))
    }

    fn authority(&self) -> CustodyAuthority {
        CustodyAuthority::new(self.settings.custodians.clone())
    }
}

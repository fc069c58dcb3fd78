//! A sheet against the store: does it still hold every entry that the paper names? What is missing was taken away since, or the store was
//! set back to an older state.

use std::fmt;

use dataembassy_ledger::entry::{Body, Chain, CustodyBody, Entry, EntryRef, SourceBody};
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::trust_sheet::RegistrySheet;
use dataembassy_ledger::value::{Sequence, Sha256Digest};
use dataembassy_ledger::{ObjectKey, RegistryId, TrustSheet};

use crate::store::ledger::{read_document, told};
use crate::store::{Ledger, LedgerError, LedgerSettings, Store, StoreError};

/// What a look at the store found, registry by registry, in the sheet's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// One for each registry.
    pub findings: Vec<Finding>,
}

/// What the store says to one registry of a sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It holds every entry that the sheet names. Where the chains end now, as numbers; 0 where a chain is empty.
    Holds {
        /// The source chain's.
        source: u64,
        /// The custody chain's.
        custody: u64,
    },
    /// It lacks an entry that the sheet names.
    RolledBack {
        /// Which chain.
        chain: Chain,
        /// The entry that the sheet names.
        named: EntryRef,
        /// What is there instead.
        instead: Standing,
    },
    /// The chains cannot be followed.
    Unreadable(String),
}

impl Checked {
    /// Whether the store holds all of it.
    pub fn verdict(&self) -> Result<(), String> {
        let bad = self.findings.iter().filter(|finding| !finding.is_well()).count();
        if bad == 0 {
            return Ok(());
        }
        Err(format!(
            "the store does not hold what the trust sheet says of {bad} of {} registries: an older state of it was put back, or entries \
             were taken away. Delete nothing, and see docs/runbooks/ledger-rolled-back.md",
            self.findings.len()
        ))
    }
}

impl Finding {
    const fn is_well(&self) -> bool {
        matches!(self, Self::Holds { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds { source, custody } => write!(
                formatter,
                "the store holds them, and ends at source entry {source} and custody entry {custody}"
            ),
            Self::RolledBack {
                chain,
                named,
                instead,
            } => write!(
                formatter,
                "ROLLED BACK: {chain} entry {} with SHA-256 {} {instead}",
                named.sequence, named.digest
            ),
            Self::Unreadable(told) => write!(formatter, "CANNOT BE READ: {told}"),
        }
    }
}

/// Holds a sheet against the store. Fails only where the store cannot be asked, or is another one.
pub async fn check(store: &Store, sheet: &TrustSheet) -> anyhow::Result<Checked> {
    let document = read_document(store).await?;
    anyhow::ensure!(
        document.digest == sheet.document && document.document.store_id == sheet.store_id,
        "this is another store than the trust sheet's: its embassy.json has SHA-256 {} and store id {}, and the sheet says {} and {}; check \
         endpoint and bucket",
        document.digest,
        document.document.store_id,
        sheet.document,
        sheet.store_id
    );
    let mut findings = Vec::new();
    for registry in &sheet.registries {
        findings.push(check_registry(store, sheet, registry).await?);
    }
    Ok(Checked { findings })
}

async fn check_registry(
    store: &Store,
    sheet: &TrustSheet,
    registry: &RegistrySheet,
) -> Result<Finding, StoreError> {
    let settings = LedgerSettings {
        registry: registry.registry.clone(),
        signers: registry.signers.clone(),
        custodians: sheet.custodians_of(registry),
        floor: None,
    };
    let ledger = match Box::pin(Ledger::read(store, &settings)).await {
        Ok(ledger) => ledger,
        Err(LedgerError::Store(error)) => return Err(error),
        Err(error) => return Ok(Finding::Unreadable(error.to_string())),
    };
    if let Some(alarm) = ledger.alarms.first() {
        return Ok(Finding::Unreadable(told(alarm)));
    }
    let place = Place::new(store, &registry.registry, &ledger);
    let source = registry.source_head.map(|head| (Chain::Source, head.entry));
    let custody = registry.custody_head.map(|head| (Chain::Custody, head));
    for (chain, named) in source.into_iter().chain(custody) {
        let instead = stands(&place, chain, named).await?;
        if !instead.is_there() {
            return Ok(Finding::RolledBack {
                chain,
                named,
                instead,
            });
        }
    }
    let number = |head: Option<EntryRef>| head.map_or(0, |head| head.sequence.get());
    Ok(Finding::Holds {
        source: number(ledger.head_reference()),
        custody: number(ledger.view.head()),
    })
}

/// How an entry that is known stands in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there, and the chain goes on from it.
    There,
    /// The chain ends before it, at this number; 0 where the chain is empty.
    EndsBefore(u64),
    /// Its place has another object, or none.
    Replaced,
    /// It is there, but what comes after it follows another one.
    Abandoned,
}

impl Standing {
    pub(super) const fn is_there(self) -> bool {
        matches!(self, Self::There)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::There => formatter.write_str("is there"),
            Self::EndsBefore(0) => formatter.write_str("is not there, and the chain is empty"),
            Self::EndsBefore(last) => write!(formatter, "is not there, and the chain ends at {last}"),
            Self::Replaced => formatter.write_str("is not there, although later ones are"),
            Self::Abandoned => formatter.write_str("is there, but the entries after it follow another one"),
        }
    }
}

/// A registry's chains as they were read just now.
pub(super) struct Place<'a> {
    store: &'a Store,
    registry: &'a RegistryId,
    ledger: &'a Ledger,
}

impl<'a> Place<'a> {
    pub(super) const fn new(store: &'a Store, registry: &'a RegistryId, ledger: &'a Ledger) -> Self {
        Self {
            store,
            registry,
            ledger,
        }
    }

    fn head(&self, chain: Chain) -> Option<EntryRef> {
        match chain {
            Chain::Source => self.ledger.head_reference(),
            Chain::Custody => self.ledger.view.head(),
        }
    }

    fn key(&self, chain: Chain, sequence: Sequence) -> ObjectKey {
        let registry = self.registry.clone();
        match chain {
            Chain::Source => ObjectKey::Source {
                registry,
                term: self.ledger.view.term_of(sequence),
                sequence,
            },
            Chain::Custody => ObjectKey::Custody { registry, sequence },
        }
    }

    /// Whether one of the objects under a key is as wanted.
    async fn any(&self, key: &ObjectKey, wanted: impl Fn(&[u8]) -> bool) -> Result<bool, StoreError> {
        for listed in self.store.versions_of(key).await? {
            let Some(version) = listed.version.filter(|_| !listed.is_delete_marker) else {
                continue;
            };
            let object = match self.store.open(key, Some(&version)).await {
                Err(StoreError::ObjectMissing { .. }) => continue,
                other => other?,
            };
            if wanted(&object.read_up_to(MAX_OBJECT_BYTES as u64 + 1).await?) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a chain has an entry that is known: it stands at its place, and the one after it, if there is one, follows it. The chain itself was
/// read before, from the custodian's last word on.
pub(super) async fn stands(place: &Place<'_>, chain: Chain, known: EntryRef) -> Result<Standing, StoreError> {
    let head = place.head(chain);
    if head == Some(known) {
        return Ok(Standing::There);
    }
    let last = head.map_or(0, |head| head.sequence.get());
    if last < known.sequence.get() {
        return Ok(Standing::EndsBefore(last));
    }
    let is_known = |bytes: &[u8]| Sha256Digest::of(bytes) == known.digest;
    if last == known.sequence.get() || !place.any(&place.key(chain, known.sequence), is_known).await? {
        return Ok(Standing::Replaced);
    }
    let Some(next) = known.sequence.next() else {
        return Ok(Standing::There);
    };
    let next = place.key(chain, next);
    let follows = match chain {
        Chain::Source => {
            place
                .any(&next, |bytes| follows::<SourceBody>(bytes, known))
                .await?
        }
        Chain::Custody => {
            place
                .any(&next, |bytes| follows::<CustodyBody>(bytes, known))
                .await?
        }
    };
    Ok(if follows {
        Standing::There
    } else {
        Standing::Abandoned
    })
}

fn follows<B: Body>(bytes: &[u8], known: EntryRef) -> bool {
    Entry::<B>::verify(bytes).is_ok_and(|entry| entry.entry.header.prev == known.digest)
}

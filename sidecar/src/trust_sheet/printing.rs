//! Reads each registry's chains and puts together what can be vouched for. One chain that is not as it must be, and nothing is printed: paper
//! lasts, and what it says is believed when nobody can ask any more.

use dataembassy_contract::Reason;
use dataembassy_ledger::chain::CustodianKey;
use dataembassy_ledger::entry::{Chain, EntryRef};
use dataembassy_ledger::trust_sheet::{RegistrySheet, RetiredCustodian, SourceHead};
use dataembassy_ledger::value::{InvalidValue, Timestamp};
use dataembassy_ledger::{RegistryId, TrustSheet};

use super::checking::{Place, stands};
use super::{Desk, Wanted};
use crate::store::ledger::{alarm_reason, read_document, told};
use crate::store::{Ledger, LedgerError, LedgerSettings, Store, StoreError};

/// Why no sheet can be printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The store, or its document.
    #[error("no trust sheet is printed: {0}")]
    Store(LedgerError),
    /// A chain cannot be read, or is not whole.
    #[error("no trust sheet is printed, because registry {registry} cannot be vouched for: {error}")]
    Ledger {
        /// The registry.
        registry: RegistryId,
        /// What is wrong.
        error: LedgerError,
    },
    /// Something stands in a chain that must not.
    #[error(
        "no trust sheet is printed, because registry {registry} cannot be vouched for: {told}. Find out what it is; until then print the \
         others, each named with --registry"
    )]
    Alarmed {
        /// The registry.
        registry: RegistryId,
        /// What is wrong, and what to do.
        told: String,
        /// The reason of it.
        reason: Reason,
    },
    /// A chain lacks what it is known to have had.
    #[error(
        "no trust sheet is printed, because registry {registry} was rolled back: its {chain} chain had entry {sequence} with SHA-256 \
         {digest}, and has it no more",
        sequence = .known.sequence,
        digest = .known.digest
    )]
    RolledBack {
        /// The registry.
        registry: RegistryId,
        /// Which of its chains.
        chain: Chain,
        /// What is known.
        known: EntryRef,
    },
    /// Nobody has said where the ledger stood before.
    #[error(
        "no trust sheet is printed, because nobody has said where the ledger of registry {registry} stood before this custodian came: an \
         older state of the store would look as good. Hold it against an older sheet with --verify, and name a head in confirmedHead; of a \
         registry that is new, its operator knows a head within two minutes"
    )]
    Unwitnessed {
        /// The registry.
        registry: RegistryId,
    },
    /// A value of the configuration cannot stand on a sheet.
    #[error("no trust sheet is printed: {0}")]
    InvalidValue(#[from] InvalidValue),
}

impl From<StoreError> for PrintError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl PrintError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Store(error) | Self::Ledger { error, .. } => error.reason(),
            Self::Alarmed { reason, .. } => *reason,
            Self::RolledBack { .. } => Reason::RolledBack,
            Self::Unwitnessed { .. } => Reason::Unwitnessed,
            Self::InvalidValue(_) => Reason::ConfigurationInvalid,
        }
    }
}

/// Reads the store and puts the sheet together.
pub async fn print(desk: &Desk, now: jiff::Timestamp) -> Result<TrustSheet, PrintError> {
    let document = read_document(&desk.store).await.map_err(PrintError::Store)?;
    let mut registries = Vec::new();
    for wanted in &desk.registries {
        registries.push(registry(&desk.store, wanted).await?);
    }
    registries.sort_by(|one, other| one.registry.cmp(&other.registry));
    Ok(TrustSheet {
        printed_at: Timestamp::from_jiff(now)?,
        embassy: desk.embassy.clone(),
        endpoint: desk.store.endpoint().parse()?,
        bucket: desk.store.bucket().parse()?,
        store_id: document.document.store_id,
        document: document.digest,
        custodians: desk.custodians.clone(),
        approvers: desk.approvers.clone(),
        registries,
    })
}

async fn registry(store: &Store, wanted: &Wanted) -> Result<RegistrySheet, PrintError> {
    let registry = &wanted.registry;
    let settings = LedgerSettings {
        registry: registry.clone(),
        signers: wanted.signers.clone(),
        custodians: wanted.custodians.clone(),
        floor: wanted.source_floor,
    };
    let ledger = Box::pin(Ledger::read(store, &settings)).await;
    let ledger = ledger.map_err(|error| PrintError::Ledger {
        registry: registry.clone(),
        error,
    })?;
    if let Some(alarm) = ledger.alarms.first() {
        return Err(PrintError::Alarmed {
            registry: registry.clone(),
            told: told(alarm),
            reason: alarm_reason(alarm),
        });
    }
    let is_witnessed = wanted.source_floor.is_some() || wanted.custody_floor.is_some();
    if wanted.must_be_witnessed && !is_witnessed && ledger.view.head().is_some() {
        return Err(PrintError::Unwitnessed {
            registry: registry.clone(),
        });
    }
    let place = Place::new(store, registry, &ledger);
    let source = wanted.source_floor.map(|floor| (Chain::Source, floor));
    let custody = wanted.custody_floor.map(|floor| (Chain::Custody, floor));
    for (chain, known) in source.into_iter().chain(custody) {
        if !stands(&place, chain, known).await?.is_there() {
            return Err(PrintError::RolledBack {
                registry: registry.clone(),
                chain,
                known,
            });
        }
    }
    Ok(RegistrySheet {
        registry: registry.clone(),
        signers: wanted.signers.clone(),
        terms: ledger
            .view
            .openings()
            .iter()
            .map(|opening| opening.signer)
            .collect(),
        retired: wanted.custodians.iter().filter_map(retired).collect(),
        source_head: ledger.head.as_ref().map(|head| SourceHead {
            term: head.entry.entry.header.term,
            entry: head.entry.reference(),
        }),
        custody_head: ledger.view.head(),
    })
}

fn retired(custodian: &CustodianKey) -> Option<RetiredCustodian> {
    custodian.until.map(|until| RetiredCustodian {
        key: custodian.key,
        until,
    })
}

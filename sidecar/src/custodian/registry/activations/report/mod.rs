//! The report of an activation, a rehearsal or a stand-down, in its two forms: the same facts give the same bytes, whoever renders them and
//! whenever.

mod document;
mod page;

use bytes::Bytes;
use dataembassy_contract::activation::ActivationResult;
use dataembassy_ledger::activation::{Mode, State, Unfenced};
use dataembassy_ledger::chain::Opening;
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{OrderId, RegistryId, StoreId, Timestamp};
use dataembassy_ledger::{PublicKey, Sha256Digest};

pub use crate::custodian::registry::documents::Rendered;

/// Everything that a report says.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The store.
    pub store: StoreId,
    /// The registry.
    pub registry: &'a RegistryId,
    /// The order that is carried out: to report.
    pub order: &'a OrderId,
    /// What people approved.
    pub statement: &'a Approved,
    /// Who they are: the custodian has judged their signatures.
    pub approved: &'a [String],
    /// The copy's entry, where there is a copy.
    pub source_entry: Option<EntryRef>,
    /// The entry that fenced home, or gave the registry back.
    pub opening: Option<&'a Opening>,
    /// Whose key signs the entry that names the report.
    pub custodian: PublicKey,
    /// What came of it, bounded; what it says of the copy's age is the ledger's word already.
    pub result: &'a ActivationResult,
}

/// What people approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// The SHA-256 of the statement's text.
    pub digest: Sha256Digest,
    /// Whether it was meant.
    pub mode: Mode,
    /// What it was to bring about.
    pub state: State,
    /// Whether it might go on without a fence.
    pub unfenced: Unfenced,
    /// Until when it could be carried out.
    pub valid_until: Timestamp,
}

impl Record<'_> {
    /// Renders both forms.
    pub fn render(&self) -> Result<Rendered, serde_json::Error> {
        Ok(Rendered {
            json: Bytes::from(document::render(self)?),
            html: Bytes::from(page::render(self)),
        })
    }

    /// Whether these bytes are a report for programs of this very result, whoever has rendered it.
    #[must_use]
    pub fn is_told_by(&self, document: &[u8]) -> bool {
        document::tells(document, self)
    }
}

//! A drill's report, in its two forms: the same facts give the same bytes, whoever renders them and whenever. No clock is read here, and
//! nothing says which process or version has rendered them, so that what lies in the store already can be told from what another wrote.

mod document;
mod page;
mod words;

use bytes::Bytes;
use dataembassy_contract::drill::DrillResult;
use dataembassy_ledger::PublicKey;
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{CopyId, OrderId, RegistryId, StoreId};

pub use crate::custodian::registry::documents::Rendered;

/// Everything that a report says.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The store.
    pub store: StoreId,
    /// The registry.
    pub registry: &'a RegistryId,
    /// The order that is carried out.
    pub order: &'a OrderId,
    /// The copy's entry.
    pub source_entry: EntryRef,
    /// The copy.
    pub copy: CopyId,
    /// Whose key signs the entry that names the report.
    pub custodian: PublicKey,
    /// What the drill found, bounded; what it says of the copy is the ledger's word already.
    pub result: &'a DrillResult,
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

//! The report for programs: what came of the order, by whose approval, and which entries of the ledger it rests on. Its fields keep their
//! order.

use dataembassy_contract::activation::ActivationResult;
use dataembassy_ledger::Sha256Digest;
use dataembassy_ledger::activation::{Mode, State, Unfenced};
use dataembassy_ledger::chain::OpeningKind;
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{OrderId, RegistryId, StoreId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Record;
use crate::custodian::registry::documents::{document, fingerprint, say_the_same};

/// Which shape the document has.
const FORMAT: &str = "dataembassy-activation-report/1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    format: &'static str,
    store_id: StoreId,
    registry: &'a RegistryId,
    order: &'a OrderId,
    statement: StatementTold,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_entry: Option<EntryRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opening: Option<OpeningTold>,
    #[serde(skip_serializing_if = "Option::is_none")]
    objectives_met: Option<bool>,
    custodian_key: String,
    custodian_key_fingerprint: String,
    result: &'a ActivationResult,
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatementTold {
    sha256: Sha256Digest,
    mode: Mode,
    state: State,
    unfenced: Unfenced,
    valid_until: Timestamp,
    approved: Vec<String>,
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpeningTold {
    kind: OpeningKind,
    entry: EntryRef,
    term: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_head: Option<EntryRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<OrderId>,
}

/// The document, with its final line feed.
pub(super) fn render(record: &Record<'_>) -> Result<Vec<u8>, serde_json::Error> {
    document(&Document {
        format: FORMAT,
        store_id: record.store,
        registry: record.registry,
        order: record.order,
        statement: StatementTold {
            sha256: record.statement.digest,
            mode: record.statement.mode,
            state: record.statement.state,
            unfenced: record.statement.unfenced,
            valid_until: record.statement.valid_until,
            approved: record.approved.to_vec(),
        },
        source_entry: record.source_entry,
        opening: record.opening.map(|opening| OpeningTold {
            kind: opening.kind,
            entry: opening.entry,
            term: opening.term.get(),
            source_head: opening.source_head,
            order: opening.order.clone(),
        }),
        objectives_met: record.result.objectives_met(),
        custodian_key: record.custodian.to_string(),
        custodian_key_fingerprint: fingerprint(record.custodian),
        result: record.result,
    })
}

/// What a document says of the order, as far as this version knows it. Who signs is not part of it.
#[derive(PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    store_id: StoreId,
    registry: RegistryId,
    order: OrderId,
    statement: StatementTold,
    #[serde(default)]
    source_entry: Option<EntryRef>,
    #[serde(default)]
    opening: Option<OpeningTold>,
    result: ActivationResult,
}

/// Whether a document tells of this very result.
pub(super) fn tells(document: &[u8], record: &Record<'_>) -> bool {
    render(record).is_ok_and(|ours| say_the_same(document, &ours, |told: &mut Told| told.result.bound()))
}

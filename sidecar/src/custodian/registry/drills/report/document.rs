//! The report for programs: the result of the drill, and whose copy, store and signer it is about. Its fields keep their order.

use dataembassy_contract::drill::DrillResult;
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{CopyId, OrderId, RegistryId, StoreId};
use serde::{Deserialize, Serialize};

use super::Record;
use crate::custodian::registry::documents::{document, fingerprint, say_the_same};

/// Which shape the document has.
const FORMAT: &str = "dataembassy-drill-report/1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    format: &'static str,
    store_id: StoreId,
    registry: &'a RegistryId,
    order: &'a OrderId,
    source_entry: EntryRef,
    copy_id: CopyId,
    custodian_key: String,
    custodian_key_fingerprint: String,
    result: &'a DrillResult,
}

/// The document, with its final line feed.
pub(super) fn render(record: &Record<'_>) -> Result<Vec<u8>, serde_json::Error> {
    document(&Document {
        format: FORMAT,
        store_id: record.store,
        registry: record.registry,
        order: record.order,
        source_entry: record.source_entry,
        copy_id: record.copy,
        custodian_key: record.custodian.to_string(),
        custodian_key_fingerprint: fingerprint(record.custodian),
        result: record.result,
    })
}

/// What a document says of the drill, as far as this version knows it. Who signs is not part of it.
#[derive(PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    store_id: StoreId,
    registry: RegistryId,
    order: OrderId,
    source_entry: EntryRef,
    copy_id: CopyId,
    result: DrillResult,
}

/// Whether a document tells of this very result.
pub(super) fn tells(document: &[u8], record: &Record<'_>) -> bool {
    render(record).is_ok_and(|ours| say_the_same(document, &ours, |told: &mut Told| told.result.bound()))
}

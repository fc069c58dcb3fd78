//! The report for programs: the result of the drill, and whose copy, store and signer it is about. Its fields keep their order.

use dataembassy_contract::drill::DrillResult;
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{CopyId, OrderId, RegistryId, StoreId};
use serde::{Deserialize, Serialize};

use super::Record;
use crate::custodian::registry::documents::fingerprint;

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
    let document = Document {
        format: FORMAT,
        store_id: record.store,
        registry: record.registry,
        order: record.order,
        source_entry: record.source_entry,
        copy_id: record.copy,
        custodian_key: record.custodian.to_string(),
        custodian_key_fingerprint: fingerprint(record.custodian),
        result: record.result,
    };
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    Ok(text)
}

/// What a document says of the drill, as far as this version knows it. Who signs is not part of it.
#[derive(Deserialize)]
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
    // Ours is written and read too: what a number loses on its way is lost on both sides.
    let read = |bytes: &[u8]| -> Option<Told> {
        let mut told: Told = serde_json::from_slice(bytes).ok()?;
        told.result.bound();
        Some(told)
    };
    let ours = render(record).ok().and_then(|bytes| read(&bytes));
    let Some((told, ours)) = read(document).zip(ours) else {
        return false;
    };
    told.store_id == ours.store_id
        && told.registry == ours.registry
        && told.order == ours.order
        && told.source_entry == ours.source_entry
        && told.copy_id == ours.copy_id
        && told.result == ours.result
}

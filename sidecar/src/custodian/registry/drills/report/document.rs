//! The report for programs: the result of the drill, and whose copy, store and signer it is about. Its fields keep their order.

use dataembassy_contract::drill::DrillResult;
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{CopyId, OrderId, RegistryId, StoreId};
use serde::Serialize;

use super::Record;

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
        custodian_key_fingerprint: record.fingerprint(),
        result: record.result,
    };
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    Ok(text)
}

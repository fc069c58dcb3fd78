//! Puts both forms of a report into the store, each once. What is there already is ours if it has our bytes.

use bytes::Bytes;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::Sha256Digest;
use dataembassy_ledger::entry::{DrillReports, MAX_REPORT_BYTES, ReportRef};
use dataembassy_ledger::key::ReportForm;
use dataembassy_ledger::value::{OrderId, RegistryId, VersionId};

use super::examination::Refusal;
use super::report::Rendered;
use crate::store::{PutOutcome, Store, StoreError};

/// Why the reports are not in the store.
#[derive(Debug, thiserror::Error)]
pub(super) enum DepositError {
    /// They never will be.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The store did not take them; it is tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Puts both forms, and says how an entry names them.
pub(super) async fn put(
    store: &Store,
    registry: &RegistryId,
    order: &OrderId,
    rendered: Rendered,
) -> Result<DrillReports, DepositError> {
    let key = |form| ObjectKey::Report {
        registry: registry.clone(),
        order: order.clone(),
        form,
    };
    Ok(DrillReports {
        json: put_one(store, &key(ReportForm::Json), rendered.json).await?,
        html: put_one(store, &key(ReportForm::Html), rendered.html).await?,
    })
}

async fn put_one(store: &Store, key: &ObjectKey, bytes: Bytes) -> Result<ReportRef, DepositError> {
    let size = bytes.len() as u64;
    if size > MAX_REPORT_BYTES {
        let message = format!("its report would have {size} bytes, and may have {MAX_REPORT_BYTES}");
        return Err(DepositError::Refused(Refusal::new(message)));
    }
    let sha256 = Sha256Digest::of(&bytes);
    let version = match store.put(key, bytes.clone(), sha256).await? {
        PutOutcome::Stored(version) => version,
        PutOutcome::Exists => find_ours(store, key, &bytes).await?.ok_or_else(|| {
            let message = format!(
                "{key} is in the store already, and is not the report of this result: another result has had this order's id, or another \
                 version of the custodian has rendered it"
            );
            DepositError::Refused(Refusal::new(message))
        })?,
    };
    Ok(ReportRef {
        version,
        size,
        sha256,
    })
}

/// The version that has our bytes: an earlier attempt put it.
async fn find_ours(store: &Store, key: &ObjectKey, ours: &Bytes) -> Result<Option<VersionId>, StoreError> {
    for version in store.versions_of(key).await? {
        let Some(id) = version
            .version
            .filter(|_| !version.is_delete_marker && version.size == ours.len() as u64)
        else {
            continue;
        };
        let object = store.open(key, Some(&id)).await?;
        if object.read_up_to(MAX_REPORT_BYTES + 1).await? == *ours {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

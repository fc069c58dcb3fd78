//! Puts both forms of a report into the store, each once. What is there already is ours if it has our bytes; a report of the same result that
//! another custodian has put stays where it is.

use bytes::Bytes;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::Sha256Digest;
use dataembassy_ledger::entry::{MAX_REPORT_BYTES, ReportForms, ReportRef};
use dataembassy_ledger::key::ReportForm;
use dataembassy_ledger::value::{OrderId, RegistryId, VersionId};

use super::Rendered;
use crate::custodian::registry::orders::Refusal;
use crate::store::{PutOutcome, Store, StoreError};

/// Whether a document for programs tells of the very result that is put here.
type Tells<'a> = &'a (dyn Fn(&[u8]) -> bool + Sync);

/// Why the reports are not in the store.
#[derive(Debug, thiserror::Error)]
pub(in crate::custodian::registry) enum DepositError {
    /// They never will be.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// Somebody else writes there at the same time; it is tried again.
    #[error("{0} was written by somebody else meanwhile")]
    Contended(String),
    /// The store did not take them; it is tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<serde_json::Error> for DepositError {
    fn from(error: serde_json::Error) -> Self {
        Self::Refused(Refusal::new(format!("its report cannot be written: {error}")))
    }
}

/// Puts both forms, and says how an entry names them. `tells` knows a document of the same result, whoever has rendered it.
///
/// The document says which result has this order's id. Where another custodian, one with another key or of another version, has put a report
/// of this very result and died before its entry, ours lies beside it as another version of the same key: what an entry names was rendered
/// by who signs it, byte for byte.
pub(in crate::custodian::registry) async fn put(
    store: &Store,
    (registry, order): (&RegistryId, &OrderId),
    rendered: Rendered,
    tells: Tells<'_>,
) -> Result<ReportForms, DepositError> {
    let key = |form| ObjectKey::Report {
        registry: registry.clone(),
        order: order.clone(),
        form,
    };
    Ok(ReportForms {
        json: put_one(store, &key(ReportForm::Json), rendered.json, Some(tells)).await?,
        html: put_one(store, &key(ReportForm::Html), rendered.html, None).await?,
    })
}

/// Puts one form. What is there already must be ours, or a document of the same result where there is one to compare with.
async fn put_one(
    store: &Store,
    key: &ObjectKey,
    bytes: Bytes,
    same: Option<Tells<'_>>,
) -> Result<ReportRef, DepositError> {
    let size = bytes.len() as u64;
    if size > MAX_REPORT_BYTES {
        let message = format!("its report would have {size} bytes, and may have {MAX_REPORT_BYTES}");
        return Err(DepositError::Refused(Refusal::new(message)));
    }
    let sha256 = Sha256Digest::of(&bytes);
    let version = match store.put(key, bytes.clone(), sha256).await? {
        PutOutcome::Stored(version) => version,
        PutOutcome::Exists => match find(store, key, |found| *found == bytes).await? {
            Some(version) => version,
            None => put_beside(store, key, bytes, sha256, same).await?,
        },
    };
    Ok(ReportRef {
        version,
        size,
        sha256,
    })
}

/// Puts ours beside what has its key.
async fn put_beside(
    store: &Store,
    key: &ObjectKey,
    bytes: Bytes,
    sha256: Sha256Digest,
    same: Option<Tells<'_>>,
) -> Result<VersionId, DepositError> {
    let contended = || DepositError::Contended(key.to_string());
    // Asked before what is there is read: what comes later makes the put fail.
    let newest = store.newest_etag(key).await?.ok_or_else(contended)?;
    if let Some(tells) = same
        && find(store, key, |found| tells(found)).await?.is_none()
    {
        let message = format!(
            "{key} is in the store already, and is not the report of this result: another result has had this order's id"
        );
        return Err(DepositError::Refused(Refusal::new(message)));
    }
    tracing::warn!(%key, "another custodian has put this report and written no entry; ours goes beside it");
    match store.put_beside(key, bytes, sha256, &newest).await? {
        PutOutcome::Stored(version) => Ok(version),
        PutOutcome::Exists => Err(contended()),
    }
}

/// The first version whose bytes are as they are wanted; longer ones than a report may be are none.
async fn find(
    store: &Store,
    key: &ObjectKey,
    wanted: impl Fn(&Bytes) -> bool,
) -> Result<Option<VersionId>, StoreError> {
    for version in store.versions_of(key).await? {
        let Some(id) = version
            .version
            .filter(|_| !version.is_delete_marker && version.size <= MAX_REPORT_BYTES)
        else {
            continue;
        };
        let object = store.open(key, Some(&id)).await?;
        if wanted(&object.read_up_to(MAX_REPORT_BYTES + 1).await?) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

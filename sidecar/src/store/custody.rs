//! The requests that only the custodian sends, to the store itself and never through a gate: locks, folders, and an entry beside an
//! object that has taken its place. A deposit user's policy would refuse most of them.

use aws_sdk_s3::types::ObjectLockMode;
use aws_smithy_types::DateTime;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dataembassy_contract::config::LockMode;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::entry::SignedObject;
use dataembassy_ledger::value::VersionId;
use jiff::Timestamp;

use super::{PutOutcome, Store, StoreError};

/// The lock of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectLock {
    /// Its mode; `None` where there is no lock, or the reader may not see it.
    pub mode: Option<LockMode>,
    /// When it ends.
    pub until: Option<Timestamp>,
}

impl ObjectLock {
    pub(super) fn read(mode: Option<&ObjectLockMode>, until: Option<&DateTime>) -> Self {
        Self {
            mode: match mode {
                Some(ObjectLockMode::Compliance) => Some(LockMode::Compliance),
                Some(ObjectLockMode::Governance) => Some(LockMode::Governance),
                _ => None,
            },
            until: until.and_then(read_time),
        }
    }
}

/// What a store says of a version without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    /// Its size in bytes.
    pub size: u64,
    /// Its lock.
    pub lock: ObjectLock,
}

/// A part of the list of folders below a prefix.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// Their names, without the prefix and the `/` behind.
    pub names: Vec<String>,
    /// Whether there are more than one request shows.
    pub truncated: bool,
}

impl Store {
    /// What the store says of one version.
    pub async fn head(&self, key: &ObjectKey, version: &VersionId) -> Result<ObjectHead, StoreError> {
        let target = key.to_string();
        let request = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(&target)
            .version_id(version.as_str());
        let answer = self.ask("HeadObject", &target, request.send()).await;
        let output = answer.map_err(|error| match error {
            // An answer to HEAD has no body, so the store's own code is not in it.
            StoreError::Failed { status: 404, .. } => StoreError::ObjectMissing {
                target: target.clone(),
            },
            other => other,
        })?;
        Ok(ObjectHead {
            size: output
                .content_length()
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or(0),
            lock: ObjectLock::read(output.object_lock_mode(), output.object_lock_retain_until_date()),
        })
    }

    /// The folders directly below a prefix that ends with `/`: the first thousand, in one request.
    pub async fn folders(&self, prefix: &str) -> Result<Folders, StoreError> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .delimiter("/");
        let output = self.ask("ListObjectsV2", prefix, request.send()).await?;
        let name = |folder: &str| {
            let name = folder.strip_prefix(prefix)?.strip_suffix('/')?;
            Some(name.to_owned())
        };
        Ok(Folders {
            names: output
                .common_prefixes()
                .iter()
                .filter_map(|folder| folder.prefix().and_then(name))
                .collect(),
            truncated: output.is_truncated().unwrap_or(false),
        })
    }

    /// Puts an entry beside objects that have its place and are no entries, if `newest` is still the newest of them.
    ///
    /// Nobody else may write there, and what is there is locked: without this, one object with root's rights would end a custody chain.
    pub async fn put_beside(
        &self,
        key: &ObjectKey,
        object: &SignedObject,
        newest: &str,
    ) -> Result<PutOutcome, StoreError> {
        let target = key.to_string();
        let body = Bytes::copy_from_slice(&object.bytes);
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&target)
            .if_match(newest)
            .content_length(i64::try_from(body.len()).unwrap_or(i64::MAX))
            .checksum_sha256(STANDARD.encode(object.digest.as_bytes()))
            .body(body.into());
        self.send_put(request, target).await
    }

    /// The `ETag` of the newest version of a key, for [`Store::put_beside`]; `None` where the newest is a delete marker or nothing.
    pub async fn newest_etag(&self, key: &ObjectKey) -> Result<Option<String>, StoreError> {
        let target = key.to_string();
        let request = self.client.head_object().bucket(&self.bucket).key(&target);
        match self.ask("HeadObject", &target, request.send()).await {
            Ok(output) => Ok(output.e_tag().map(str::to_owned)),
            Err(StoreError::ObjectMissing { .. } | StoreError::Failed { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Milliseconds that the store's clock is ahead of ours, to about one second; `None` before its first answer.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<i64> {
        self.clock.ahead()
    }

    /// How many requests this client and its clones have sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.clock.requests()
    }
}

/// A time as the S3 client has it.
pub(super) fn read_time(time: &DateTime) -> Option<Timestamp> {
    Timestamp::from_millisecond(time.to_millis().ok()?).ok()
}

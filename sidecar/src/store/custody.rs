//! The requests that only the custodian sends, to the store itself and never through a gate: locks, folders, deletions of single versions,
//! and an entry or a report beside an object that has taken its place. A deposit user's policy would refuse most of them.

use aws_sdk_s3::types::{ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode};
use aws_smithy_types::DateTime;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dataembassy_contract::config::LockMode;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::value::{CopyId, RegistryId, Sha256Digest, VersionId};
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

    /// Locks one version until a moment, to the second. Whoever asks must have seen that its lock ends before: that a store lets nobody
    /// shorten a lock is looked at when it is probed, and not relied on here.
    pub async fn prolong(
        &self,
        key: &ObjectKey,
        version: &VersionId,
        mode: LockMode,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let target = key.to_string();
        let retention = ObjectLockRetention::builder()
            .mode(match mode {
                LockMode::Compliance => ObjectLockRetentionMode::Compliance,
                LockMode::Governance => ObjectLockRetentionMode::Governance,
            })
            .retain_until_date(DateTime::from_secs(until.as_second()))
            .build();
        let request = self
            .client
            .put_object_retention()
            .bucket(&self.bucket)
            .key(&target)
            .version_id(version.as_str())
            .retention(retention);
        self.ask("PutObjectRetention", &target, request.send())
            .await
            .map(drop)
    }

    /// Deletes one version of an object of a copy, or one delete marker; that it is gone already is no error.
    ///
    /// There is no way to delete anything else, and none to delete without naming a version: that would only hide the object.
    pub async fn delete_version(
        &self,
        registry: &RegistryId,
        copy: CopyId,
        object: CopyObject,
        version: &VersionId,
    ) -> Result<(), StoreError> {
        let key = ObjectKey::Copy {
            registry: registry.clone(),
            copy,
            object,
        };
        let target = key.to_string();
        let request = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(&target)
            .version_id(version.as_str());
        match self.ask("DeleteObject", &target, request.send()).await {
            Ok(_) | Err(StoreError::ObjectMissing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Fails where the store answers nothing at all: who has failed at one object asks before the object is blamed.
    pub async fn answers(&self) -> Result<(), StoreError> {
        self.folders("registries/").await.map(drop)
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

    /// Puts an entry, or a report, beside objects that have its place and are none, if `newest` is still the newest of them.
    ///
    /// Nobody else may write there, and what is there is locked: without this, one object with root's rights would end a custody chain.
    pub async fn put_beside(
        &self,
        key: &ObjectKey,
        body: Bytes,
        sha256: Sha256Digest,
        newest: &str,
    ) -> Result<PutOutcome, StoreError> {
        let target = key.to_string();
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&target)
            .if_match(newest)
            .content_length(i64::try_from(body.len()).unwrap_or(i64::MAX))
            .checksum_sha256(STANDARD.encode(sha256.as_bytes()))
            .body(body.into());
        self.send_put(request, target, None).await
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

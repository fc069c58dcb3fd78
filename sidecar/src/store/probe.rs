//! What a store must show before a snapshot is taken: nothing is believed that can be asked. Only reads.

use std::time::Duration;

use aws_sdk_s3::types::{BucketVersioningStatus, ObjectLockEnabled, ObjectLockRetentionMode};
use dataembassy_contract::config::{ImmutabilityConfig, LockMode};

use super::error::plain;
use super::{Store, StoreError};

/// The most that our clock and the store's may differ: entries carry our time, locks are counted from the store's.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_mins(5);

/// What a bucket must do for each new object by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Whether a lock that a special right can shorten will do.
    pub governance_suffices: bool,
    /// The least default retention in days.
    pub least_days: u64,
}

impl Requirements {
    /// What a `DataEmbassy` demands. A store counts retention in whole days, so less than one is met by one.
    #[must_use]
    pub fn from_config(immutability: &ImmutabilityConfig) -> Self {
        Self {
            governance_suffices: immutability.mode == LockMode::Governance,
            least_days: immutability.lock_on_arrival.as_secs().div_ceil(86_400),
        }
    }

    fn describe(self) -> String {
        let mode = if self.governance_suffices {
            "GOVERNANCE or COMPLIANCE"
        } else {
            "COMPLIANCE"
        };
        format!("{mode} for at least {} days", self.least_days)
    }
}

/// Whether clocks with this difference, in milliseconds, agree well enough for entries that carry our time.
#[must_use]
pub fn clocks_agree(ahead: i64) -> bool {
    ahead.unsigned_abs() / 1000 <= MAX_CLOCK_DIFFERENCE.as_secs()
}

/// Refuses a difference, in milliseconds, with which entries must not be written.
pub fn judge_clock(ahead: i64) -> Result<(), StoreError> {
    if clocks_agree(ahead) {
        return Ok(());
    }
    Err(StoreError::ClockSkewed {
        seconds: ahead.unsigned_abs() / 1000,
        limit: MAX_CLOCK_DIFFERENCE.as_secs(),
    })
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// The days for which the bucket locks each new object.
    pub locked_days: u64,
    /// Milliseconds that the store's clock is ahead of ours, to about one second.
    pub clock_ahead: Option<i64>,
}

/// Asks whether the store is reachable with these keys, keeps versions, locks new objects, and has about our time.
pub async fn probe(store: &Store, requirements: Requirements) -> Result<ProbeReport, StoreError> {
    check_versioning(store).await?;
    let locked_days = check_object_lock(store, requirements).await?;
    let clock_ahead = store.clock.ahead();
    clock_ahead.map_or(Ok(()), judge_clock)?;
    Ok(ProbeReport {
        locked_days,
        clock_ahead,
    })
}

async fn check_versioning(store: &Store) -> Result<(), StoreError> {
    let request = store.client.get_bucket_versioning().bucket(&store.bucket);
    let output = store
        .ask("GetBucketVersioning", &store.bucket, request.send())
        .await?;
    match output.status() {
        Some(BucketVersioningStatus::Enabled) => Ok(()),
        other => Err(StoreError::NoVersioning {
            bucket: store.bucket.clone(),
            state: plain(other.map_or("off", BucketVersioningStatus::as_str)).to_lowercase(),
        }),
    }
}

async fn check_object_lock(store: &Store, requirements: Requirements) -> Result<u64, StoreError> {
    let refuse = |found: String| StoreError::NoObjectLock {
        bucket: store.bucket.clone(),
        found,
        demanded: requirements.describe(),
    };
    let request = store.client.get_object_lock_configuration().bucket(&store.bucket);
    let output = match store
        .ask("GetObjectLockConfiguration", &store.bucket, request.send())
        .await
    {
        Err(StoreError::NoObjectLock { found, .. }) => return Err(refuse(found)),
        other => other?,
    };
    let configuration = output.object_lock_configuration();
    if configuration.and_then(|lock| lock.object_lock_enabled()) != Some(&ObjectLockEnabled::Enabled) {
        return Err(refuse("Object Lock is off".into()));
    }
    let retention = configuration
        .and_then(|lock| lock.rule())
        .and_then(|rule| rule.default_retention())
        .ok_or_else(|| refuse("it has no default retention".into()))?;
    let days = u64::try_from(retention.days().unwrap_or(0)).unwrap_or(0)
        + 365 * u64::try_from(retention.years().unwrap_or(0)).unwrap_or(0);
    let mode_suffices = match retention.mode() {
        Some(ObjectLockRetentionMode::Compliance) => true,
        Some(ObjectLockRetentionMode::Governance) => requirements.governance_suffices,
        _ => false,
    };
    if !mode_suffices || days < requirements.least_days {
        let mode = retention
            .mode()
            .map_or("no mode", ObjectLockRetentionMode::as_str);
        return Err(refuse(plain(&format!("it has {mode} for {days} days"))));
    }
    Ok(days)
}

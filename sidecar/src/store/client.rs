//! The requests. Each is one that the gate lets through; none is repeated by the S3 client itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig, retry::RetryConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use dataembassy_contract::config::Addressing;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::value::{Sha256Digest, VersionId};
use jiff::Timestamp;
use tokio::sync::watch;

use super::StoreError;
use super::connection::{StoreClock, Wire, http_client};
use super::custody::{ObjectLock, read_time};
use super::error::{Attempt, plain};
use super::outgoing;
use super::settings::{DepositKeys, Patience, StoreSettings};

const LIST_VERSIONS: &str = "ListObjectVersions";
/// So many versions of a key are as good as all.
const MANY_VERSIONS: usize = 1_000;

/// A store, as one of its users reaches it. Cloning shares the connections.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) client: Client,
    pub(super) bucket: String,
    endpoint: String,
    pub(super) clock: Arc<StoreClock>,
    patience: Patience,
}

/// What came of a put that the store answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object was written, as this version.
    Stored(VersionId),
    /// An object of that key exists already; nothing was written.
    Exists,
}

/// One version of an object, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The key, not judged by the grammar.
    pub key: String,
    /// The version; `None` for one that was written while versioning was off.
    pub version: Option<VersionId>,
    /// Its size in bytes; 0 for a delete marker.
    pub size: u64,
    /// Whether it is the newest one of its key.
    pub is_latest: bool,
    /// Whether it is a delete marker and no object.
    pub is_delete_marker: bool,
    /// When it was written, by the store's clock.
    pub written_at: Option<Timestamp>,
}

/// A part of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The versions, in the store's order.
    pub versions: Vec<ObjectVersion>,
    /// Where the next part begins; `None` at the end.
    pub next: Option<(String, Option<String>)>,
}

/// An object that is being read.
#[derive(Debug)]
pub struct StoredObject {
    /// Its size in bytes.
    pub size: u64,
    /// Its version, if the store said it.
    pub version: Option<VersionId>,
    /// Its lock, as far as its reader may see it.
    pub lock: ObjectLock,
    body: ByteStream,
    received: u64,
    patience: Duration,
    target: String,
    endpoint: String,
}

impl Store {
    /// Prepares the client; nothing is sent yet.
    pub fn connect(settings: &StoreSettings, keys: &DepositKeys) -> Result<Self, StoreError> {
        let clock = StoreClock::new();
        let patience = settings.patience;
        let credentials = Credentials::new(
            keys.access_key_id.clone(),
            keys.secret_access_key.clone(),
            None,
            None,
            "dataembassy",
        );
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(credentials)
            .region(Region::new(settings.region.clone()))
            .endpoint_url(settings.endpoint.as_str())
            .force_path_style(settings.addressing == Addressing::Path)
            .http_client(http_client(settings)?)
            // A repeated put could meet its own first try; what to do then is ours to decide.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(patience.connect).build())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .interceptor(Wire {
                clock: Arc::clone(&clock),
            })
            .build();
        Ok(Self {
            client: Client::from_conf(config),
            bucket: settings.bucket.clone(),
            endpoint: settings.endpoint.to_string(),
            clock,
            patience,
        })
    }

    /// The same store, of which a put is given up after another time in which nothing goes on.
    #[must_use]
    pub fn with_put_patience(mut self, patience: Duration) -> Self {
        self.patience.put = patience;
        self
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The endpoint, for messages.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Puts a new object under a key that must be free. `sha256` is the digest of `body`; the store checks it.
    pub async fn put(
        &self,
        key: &ObjectKey,
        body: Bytes,
        sha256: Sha256Digest,
    ) -> Result<PutOutcome, StoreError> {
        self.put_telling(key, body, sha256, watch::Sender::default())
            .await
    }

    /// The same, and tells how many bytes of the body the connection has taken.
    pub async fn put_telling(
        &self,
        key: &ObjectKey,
        body: Bytes,
        sha256: Sha256Digest,
        taken: watch::Sender<u64>,
    ) -> Result<PutOutcome, StoreError> {
        let (target, length) = (key.to_string(), body.len() as u64);
        let heard = taken.subscribe();
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&target)
            .if_none_match("*")
            .content_length(i64::try_from(length).unwrap_or(i64::MAX))
            .checksum_sha256(STANDARD.encode(sha256.as_bytes()))
            .body(outgoing::told(body, taken));
        let sending = self.send_put(request, target.clone(), Some(heard));
        let limit = self.patience.put + outgoing::longest(length);
        match tokio::time::timeout(limit, sending).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.attempt("PutObject", &target, limit).no_answer()),
        }
    }

    /// Sends a conditional put; where the condition does not hold, nothing is written. It may take as long as its body, whose way out is heard
    /// of, goes on.
    pub(super) async fn send_put(
        &self,
        request: PutObjectFluentBuilder,
        target: String,
        mut heard: Option<watch::Receiver<u64>>,
    ) -> Result<PutOutcome, StoreError> {
        let attempt = self.attempt("PutObject", &target, self.patience.put);
        let began = Instant::now();
        let mut sending = Box::pin(request.send());
        let mut underway = Duration::ZERO;
        let answer = loop {
            let going_on = async {
                match &mut heard {
                    Some(heard) => {
                        let goes_on = heard.changed().await.is_ok();
                        (*heard.borrow_and_update(), goes_on)
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = &mut sending => break answer,
                (taken, goes_on) = going_on => if !goes_on {
                    // It is all out: now the store must answer.
                    underway = outgoing::underway(taken, began.elapsed());
                    heard = None;
                },
                () = tokio::time::sleep(self.patience.put + underway) => return Err(attempt.no_answer()),
            }
        };
        match answer {
            Ok(output) => {
                let version = output.version_id().and_then(parse_version);
                version
                    .map(PutOutcome::Stored)
                    .ok_or(StoreError::VersionMissing { target })
            }
            Err(error)
                if error
                    .raw_response()
                    .is_some_and(|answer| answer.status().as_u16() == 412) =>
            {
                Ok(PutOutcome::Exists)
            }
            Err(error) => Err(attempt.explain(&error)),
        }
    }

    /// Opens one version of an object, or its newest one, for reading.
    pub async fn open(
        &self,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<StoredObject, StoreError> {
        let target = key.to_string();
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(&target)
            .set_version_id(version.map(ToString::to_string));
        let output = self.ask("GetObject", &target, request.send()).await?;
        Ok(StoredObject {
            size: output
                .content_length()
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or(0),
            version: output.version_id().and_then(parse_version),
            lock: ObjectLock::read(output.object_lock_mode(), output.object_lock_retain_until_date()),
            body: output.body,
            received: 0,
            patience: self.patience.read,
            target,
            endpoint: self.endpoint.clone(),
        })
    }

    /// Lists the versions below a prefix, at most 1,000 at a time, from where the page before ended.
    pub async fn list_versions(
        &self,
        prefix: &str,
        from: Option<(String, Option<String>)>,
    ) -> Result<Page, StoreError> {
        let (key_marker, version_marker) = from.unzip();
        let request = self
            .client
            .list_object_versions()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_key_marker(key_marker.clone())
            .set_version_id_marker(version_marker.clone().flatten());
        let output = self.ask(LIST_VERSIONS, prefix, request.send()).await?;
        let objects = output.versions().iter().map(|version| ObjectVersion {
            key: version.key().unwrap_or_default().to_owned(),
            version: version.version_id().and_then(parse_version),
            size: version
                .size()
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or(0),
            is_latest: version.is_latest().unwrap_or(false),
            is_delete_marker: false,
            written_at: version.last_modified().and_then(read_time),
        });
        let markers = output.delete_markers().iter().map(|marker| ObjectVersion {
            key: marker.key().unwrap_or_default().to_owned(),
            version: marker.version_id().and_then(parse_version),
            size: 0,
            is_latest: marker.is_latest().unwrap_or(false),
            is_delete_marker: true,
            written_at: marker.last_modified().and_then(read_time),
        });
        let next = output
            .next_key_marker()
            .filter(|_| output.is_truncated().unwrap_or(false))
            .map(|key| (key.to_owned(), output.next_version_id_marker().map(str::to_owned)));
        let (objects, markers): (Vec<_>, Vec<_>) = (objects.collect(), markers.collect());
        let from = key_marker.map(|key| (key, version_marker.flatten()));
        for listed in [&objects, &markers] {
            in_order(listed, prefix, from.as_ref())?;
        }
        if let Some(next) = &next {
            goes_on(next, from.as_ref())?;
        }
        Ok(Page {
            versions: objects.into_iter().chain(markers).collect(),
            next,
        })
    }

    /// Every version of exactly this key, or at least a thousand where somebody has put that many.
    pub async fn versions_of(&self, key: &ObjectKey) -> Result<Vec<ObjectVersion>, StoreError> {
        let target = key.to_string();
        let mut versions = Vec::new();
        let mut from = None;
        loop {
            let page = self.list_versions(&target, from).await?;
            // A key that begins alike sorts after all versions of this one.
            let past = page.versions.iter().any(|version| version.key != target);
            versions.extend(page.versions.into_iter().filter(|version| version.key == target));
            from = page.next.filter(|_| !past && versions.len() < MANY_VERSIONS);
            if from.is_none() {
                return Ok(versions);
            }
        }
    }

    /// Sends a request that must be answered within the read patience.
    pub(super) async fn ask<T, E>(
        &self,
        operation: &'static str,
        target: &str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, StoreError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let attempt = self.attempt(operation, target, self.patience.read);
        // Boxed: the S3 client's futures are large, and ours would carry them along.
        match tokio::time::timeout(self.patience.read, Box::pin(request)).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(attempt.explain(&error)),
            Err(_) => Err(attempt.no_answer()),
        }
    }

    fn attempt<'a>(&'a self, operation: &'static str, target: &'a str, patience: Duration) -> Attempt<'a> {
        Attempt {
            operation,
            target,
            bucket: &self.bucket,
            endpoint: &self.endpoint,
            patience,
        }
    }
}

impl StoredObject {
    /// The next bytes; `None` at the end. Waits as long as the store keeps sending.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let next = tokio::time::timeout(self.patience, self.body.try_next()).await;
        match next {
            Ok(Ok(bytes)) => {
                self.received += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                Ok(bytes)
            }
            Ok(Err(error)) => Err(StoreError::BrokenOff {
                endpoint: self.endpoint.clone(),
                target: self.target.clone(),
                received: self.received,
                size: self.size,
                cause: error.to_string(),
            }),
            Err(_) => Err(StoreError::NoAnswer {
                endpoint: self.endpoint.clone(),
                operation: "GetObject",
                seconds: self.patience.as_secs(),
            }),
        }
    }

    /// Reads the first `limit` bytes, or all there are.
    pub async fn read_up_to(mut self, limit: u64) -> Result<Bytes, StoreError> {
        let mut begin = BytesMut::new();
        while (begin.len() as u64) < limit {
            match self.next().await? {
                Some(bytes) => begin.extend_from_slice(&bytes),
                None => break,
            }
        }
        begin.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(begin.freeze())
    }

    /// Reads the object whole; it may have at most `limit` bytes.
    pub async fn read(mut self, limit: u64) -> Result<Bytes, StoreError> {
        // Growing by doubling would hold twice of what is read. What the store announces is believed only up to the limit.
        let expected = usize::try_from(self.size.min(limit)).unwrap_or_default();
        let mut whole = BytesMut::new();
        loop {
            if self.size > limit || whole.len() as u64 > limit {
                return Err(StoreError::ObjectTooLarge {
                    target: self.target,
                    limit,
                });
            }
            match self.next().await? {
                // An object that comes in one piece, as every small one does, is not copied.
                Some(bytes) if whole.is_empty() && bytes.len() as u64 == self.size => return Ok(bytes),
                Some(bytes) => {
                    if whole.is_empty() {
                        whole.reserve(expected.max(bytes.len()));
                    }
                    whole.extend_from_slice(&bytes);
                }
                None => return Ok(whole.freeze()),
            }
        }
    }
}

/// Whether a listing shows what it was asked for, in its order: else who follows it would read in circles, and never end.
fn in_order(
    listed: &[ObjectVersion],
    prefix: &str,
    from: Option<&(String, Option<String>)>,
) -> Result<(), StoreError> {
    let mut before = from.map_or("", |(key, _)| key);
    for version in listed {
        if !version.key.starts_with(prefix) || version.key.as_str() < before {
            return Err(nonsense(&format!(
                "it lists {} below {prefix} after {before:?}",
                version.key
            )));
        }
        before = &version.key;
    }
    Ok(())
}

/// Whether the next page of a listing begins behind the place where this one did.
fn goes_on(
    next: &(String, Option<String>),
    from: Option<&(String, Option<String>)>,
) -> Result<(), StoreError> {
    let is_further = from.is_none_or(|from| next.0 > from.0 || next.0 == from.0 && next.1 != from.1);
    if is_further {
        return Ok(());
    }
    Err(nonsense(&format!(
        "its listing goes on at {}, where it began",
        next.0
    )))
}

fn nonsense(cause: &str) -> StoreError {
    StoreError::NotUnderstood {
        operation: LIST_VERSIONS,
        cause: plain(cause),
    }
}

/// A version id that the ledger could name; `null` is what a store says of an object without one.
fn parse_version(text: &str) -> Option<VersionId> {
    if text == "null" { None } else { text.parse().ok() }
}

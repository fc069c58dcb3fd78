//! Puts of a copy's own objects. A put without an answer is put again under the next free number: the deposit user cannot look whether
//! the first one arrived, and a number may be left unused.
//!
//! A slow line is no stalled store: as long as bytes of a put are taken, it goes on. Where a put had no answer all the same, the line may be too
//! narrow for several at once, and from then on they go one by one.

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dataembassy_archive::Sealed;
use dataembassy_contract::Reason;
use dataembassy_ledger::entry::PartRef;
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::manifest::SegmentRecord;
use dataembassy_ledger::value::{CopyId, InvalidValue, PartNumber, SegmentNumber, Sha256Digest, VersionId};
use dataembassy_ledger::{ObjectKey, RegistryId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::store::{PutOutcome, Store, StoreError, UNDERWAY, underway};

/// Between two tries of a put that was not answered.
const PAUSE: Duration = Duration::from_millis(500);

/// Why an object of a copy is not in the store.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store took and acknowledged nothing for too long, while a snapshot was held.
    #[error("the store took and acknowledged nothing for {seconds} s, so the run gave up its snapshot{}", lately(.last.as_ref()))]
    Stalled {
        /// How long.
        seconds: u64,
        /// The latest error, if it answered at all.
        last: Option<StoreError>,
    },
    /// The copy has used all numbers.
    #[error("the copy has no number left for another object: {0}")]
    NumbersExhausted(#[from] InvalidValue),
}

fn lately(error: Option<&StoreError>) -> String {
    error.map_or_else(String::new, |error| format!(" (lately: {error})"))
}

impl UploadError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Store(error) => error.reason(),
            Self::Stalled { .. } => Reason::StoreStalled,
            Self::NumbersExhausted(_) => Reason::InternalError,
        }
    }

    /// Whether trying again without a change by somebody is pointless.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Store(error) => error.is_permanent(),
            Self::Stalled { .. } => false,
            Self::NumbersExhausted(_) => true,
        }
    }
}

/// A put that was acknowledged.
struct Put {
    number: u64,
    object: CopyObject,
    version: VersionId,
}

/// Puts the objects of one copy.
#[derive(Debug)]
pub struct Uploader {
    store: Store,
    registry: RegistryId,
    copy: CopyId,
    stall: Duration,
    segments: AtomicU64,
    manifests: AtomicU64,
    inventories: AtomicU64,
    /// When a put was last acknowledged, or what was last taken has arrived at the latest.
    went_on: Mutex<Instant>,
    /// Whether the line has shown to be too narrow for several puts at once.
    is_narrow: AtomicBool,
    /// Held by the only put on a narrow line.
    narrow: tokio::sync::Mutex<()>,
}

impl Uploader {
    /// For one copy; `stall` is how long the store may take and acknowledge nothing.
    #[must_use]
    pub fn new(store: Store, registry: RegistryId, copy: CopyId, stall: Duration) -> Self {
        Self {
            // Shorter than the run's own patience: a connection that died leaves time for another try.
            store: store.with_put_patience(stall * 2 / 3),
            registry,
            copy,
            stall,
            segments: AtomicU64::new(0),
            manifests: AtomicU64::new(0),
            inventories: AtomicU64::new(0),
            went_on: Mutex::new(Instant::now()),
            is_narrow: AtomicBool::new(false),
            narrow: tokio::sync::Mutex::default(),
        }
    }

    /// Puts a segment and says how the manifest names it.
    pub async fn put_segment(&self, sealed: &Sealed) -> Result<SegmentRecord, UploadError> {
        let name = |number| Ok(CopyObject::Segment(SegmentNumber::new(number)?));
        let put = self
            .put(&self.segments, name, &sealed.bytes, sealed.sha256)
            .await?;
        let (number, version) = (SegmentNumber::new(put.number)?, put.version);
        Ok(SegmentRecord {
            number,
            version,
            size: sealed.bytes.len() as u64,
            sha256: sealed.sha256,
        })
    }

    /// Puts a part of the inventory and says how the entry names it.
    pub async fn put_inventory(&self, sealed: &Sealed) -> Result<PartRef, UploadError> {
        let part = |number| Ok(CopyObject::Inventory(PartNumber::new(number)?));
        self.put_part(&self.inventories, part, &sealed.bytes, sealed.sha256)
            .await
    }

    /// Puts a part of the manifest and says how the entry names it.
    pub async fn put_manifest(&self, part: Vec<u8>) -> Result<PartRef, UploadError> {
        let bytes = Bytes::from(part);
        let digest = Sha256Digest::of(&bytes);
        let name = |number| Ok(CopyObject::Manifest(PartNumber::new(number)?));
        self.put_part(&self.manifests, name, &bytes, digest).await
    }

    async fn put_part(
        &self,
        numbers: &AtomicU64,
        name: impl Fn(u64) -> Result<CopyObject, InvalidValue>,
        bytes: &Bytes,
        sha256: Sha256Digest,
    ) -> Result<PartRef, UploadError> {
        let put = self.put(numbers, name, bytes, sha256).await?;
        Ok(PartRef {
            name: put.object,
            version: put.version,
            size: bytes.len() as u64,
            sha256,
        })
    }

    async fn put(
        &self,
        numbers: &AtomicU64,
        name: impl Fn(u64) -> Result<CopyObject, InvalidValue>,
        bytes: &Bytes,
        sha256: Sha256Digest,
    ) -> Result<Put, UploadError> {
        let begun = Instant::now();
        let mut last = None;
        let mut tries = 0;
        loop {
            let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
            let object = name(number)?;
            let key = ObjectKey::Copy {
                registry: self.registry.clone(),
                copy: self.copy,
                object,
            };
            tries += 1;
            // From which byte on it shows that something goes on. A connection may have died, and of a second try what its sockets may swallow shows
            // nothing. A store that takes the same bytes again and again, and acknowledges none, stalls.
            let counts_from = match tries {
                1 => 0,
                2 => UNDERWAY,
                _ => u64::MAX,
            };
            match self
                .within_stall(begun, self.put_once(&key, bytes, sha256, counts_from))
                .await
            {
                Some(Ok(PutOutcome::Stored(version))) => {
                    self.note(Instant::now());
                    return Ok(Put {
                        number,
                        object,
                        version,
                    });
                }
                // The number is taken: by what we never heard of again, or by somebody else. The next one is as good, though not at once: a store
                // that says so of every number would be sent the same bytes without a pause.
                Some(Ok(PutOutcome::Exists)) => {}
                Some(Err(error)) if error.is_permanent() => return Err(error.into()),
                Some(Err(error)) => {
                    tracing::warn!(%error, object = %object, "a put was not acknowledged and is put again");
                    if error.may_be_a_slow_line() {
                        self.is_narrow.store(true, Ordering::Relaxed);
                    }
                    last = Some(error);
                }
                None => return Err(self.stalled(last)),
            }
            if self
                .within_stall(begun, tokio::time::sleep(PAUSE))
                .await
                .is_none()
            {
                return Err(self.stalled(last));
            }
        }
    }

    const fn stalled(&self, last: Option<StoreError>) -> UploadError {
        UploadError::Stalled {
            seconds: self.stall.as_secs(),
            last,
        }
    }

    #[tracing::instrument(name = "put", skip_all, fields(key = %key, bytes = bytes.len()))]
    async fn put_once(
        &self,
        key: &ObjectKey,
        bytes: &Bytes,
        sha256: Sha256Digest,
        counts_from: u64,
    ) -> Result<PutOutcome, StoreError> {
        let _alone = if self.is_narrow.load(Ordering::Relaxed) {
            Some(self.narrow.lock().await)
        } else {
            None
        };
        let began = Instant::now();
        let (taken, mut heard) = watch::channel(0);
        let mut putting = pin!(self.store.put_telling(key, bytes.clone(), sha256, taken));
        loop {
            tokio::select! {
                biased;
                outcome = &mut putting => return outcome,
                Ok(()) = heard.changed() => {
                    let (now, taken) = (Instant::now(), *heard.borrow_and_update());
                    if taken <= counts_from {
                        continue;
                    }
                    let is_out = taken >= bytes.len() as u64;
                    self.note(if is_out { now + underway(taken, now - began) } else { now });
                }
            }
        }
    }

    /// Waits for `action` until nothing at all went on for the stall time, counted from `begun` at the earliest.
    async fn within_stall<T>(&self, begun: Instant, action: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(action);
        loop {
            let limit = begun.max(self.last_noted()) + self.stall;
            tokio::select! {
                done = &mut action => return Some(done),
                () = tokio::time::sleep_until(limit) => {
                    if Instant::now() >= begun.max(self.last_noted()) + self.stall {
                        return None;
                    }
                }
            }
        }
    }

    /// Something went on at that moment.
    fn note(&self, moment: Instant) {
        let mut went_on = self
            .went_on
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *went_on = moment.max(*went_on);
    }

    fn last_noted(&self) -> Instant {
        *self
            .went_on
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

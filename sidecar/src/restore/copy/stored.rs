//! A copy in the store: found through the ledger, each of its objects read by version and compared with its SHA-256.

use std::time::Duration;

use bytes::Bytes;
use dataembassy_archive::{CopyKey, Identities, KeyError};
use dataembassy_contract::Reason;
use dataembassy_ledger::{
    ObjectKey, RegistryId,
    entry::{CopyBody, PartRef, SourceBody},
    key::CopyObject,
    manifest::{ManifestError, ManifestReader, SegmentRecord},
    value::{Sha256Digest, VersionId},
};
use tokio::sync::mpsc;

use super::choice::{Choice, find};
use super::{CopyError, CopyIdentity, SealedCopy, SealedSegment};
use crate::store::{Ledger, LedgerError, LedgerSettings, Store, StoreError, Taken};

/// How often an object is asked for before its copy is given up, and the pauses between.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// How often what the store gave is read anew before it is held to be what the store has.
pub(crate) const DOUBTS: u32 = 2;

/// Why no copy can be opened.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no such copy.
    #[error("registry {registry} has no such copy: {why}")]
    NoSuchCopy {
        /// The registry.
        registry: RegistryId,
        /// What was looked for.
        why: String,
    },
    /// Something stands where the next entry belongs.
    #[error(
        "{}; so which copy is the newest cannot be told: choose one by its number, or the latest that passed a drill", .0.words
    )]
    EndUnknown(Taken),
    /// The custody chain goes on in a way that cannot be read.
    #[error("{}; so which copies count, and which were drilled, cannot be told: choose one by its number", .0.words)]
    StandingUnknown(Taken),
    /// An entry cannot be found back from the one after it.
    #[error("entry {sequence} of the source chain is not the one that its successor names")]
    BrokenLink {
        /// Its place.
        sequence: u64,
    },
    /// The copy's key does not open.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The manifest breaks the format.
    #[error("the manifest breaks the format: {0}")]
    Manifest(#[from] ManifestError),
    /// The manifest is not what the entry says.
    #[error("manifest and entry disagree: {segments} segments of {sealed_bytes} bytes in the manifest")]
    ManifestDisagrees {
        /// Segments in the manifest.
        segments: u64,
        /// Their bytes.
        sealed_bytes: u64,
    },
    /// An object of the copy cannot be read.
    #[error(transparent)]
    Object(#[from] CopyError),
}

impl FindError {
    /// Whether it may be over in a moment, as what a store says that is busy.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Ledger(LedgerError::Store(error)) if !error.is_permanent())
    }

    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Ledger(error) => error.reason(),
            Self::NoSuchCopy { .. } => Reason::NoSuchCopy,
            Self::EndUnknown(taken) | Self::StandingUnknown(taken) => taken.reason,
            Self::BrokenLink { .. } => Reason::LedgerGap,
            Self::Key(_) => Reason::CopyNotOpened,
            Self::Manifest(_) | Self::ManifestDisagrees { .. } => Reason::ManifestInvalid,
            Self::Object(error) => error.reason(),
        }
    }

    /// Whether it is a judgement on what the store gave of the ledger: bytes that were damaged on their way are others when they are read anew.
    #[must_use]
    pub const fn is_by_the_ledger(&self) -> bool {
        match self {
            Self::Ledger(error) => !matches!(error, LedgerError::Store(_)),
            Self::NoSuchCopy { .. }
            | Self::EndUnknown(_)
            | Self::StandingUnknown(_)
            | Self::BrokenLink { .. } => true,
            Self::Key(_) | Self::Manifest(_) | Self::ManifestDisagrees { .. } | Self::Object(_) => false,
        }
    }
}

/// A copy in the store, opened.
pub struct StoredCopy {
    store: Store,
    identity: CopyIdentity,
    body: Box<CopyBody>,
    key: CopyKey,
}

/// A copy in the store, named by its ledger and not opened.
pub struct FoundCopy {
    store: Store,
    digest: Sha256Digest,
    identity: CopyIdentity,
    body: Box<CopyBody>,
}

impl FoundCopy {
    /// Finds a copy through the ledger.
    pub async fn find(
        store: Store,
        ledger: &Ledger,
        registry: &RegistryId,
        choice: Choice,
    ) -> Result<Self, FindError> {
        let entry = find(&store, ledger, registry, choice).await?;
        let (digest, header) = (entry.digest, entry.entry.header);
        let SourceBody::Copy(body) = entry.entry.body;
        let identity = CopyIdentity {
            registry: header.registry,
            sequence: header.sequence.get(),
            copy_id: body.copy_id,
            taken_at: body.taken_at,
            sealed_bytes: body.totals.sealed_bytes,
        };
        Ok(Self {
            store,
            digest,
            identity,
            body,
        })
    }

    /// Which copy it is.
    #[must_use]
    pub const fn identity(&self) -> &CopyIdentity {
        &self.identity
    }

    /// The SHA-256 of its entry.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// What its entry says.
    #[must_use]
    pub const fn body(&self) -> &CopyBody {
        &self.body
    }

    /// Opens its key and checks its manifest.
    pub async fn open(self, identities: &Identities) -> Result<StoredCopy, FindError> {
        let key = CopyKey::unwrap(&self.body.copy_key, identities)?;
        let copy = StoredCopy {
            store: self.store,
            identity: self.identity,
            body: self.body,
            key,
        };
        copy.check_manifest().await?;
        Ok(copy)
    }
}

impl StoredCopy {
    /// Finds a copy through the ledger, opens its key and checks its manifest.
    pub async fn open(
        store: Store,
        settings: &LedgerSettings,
        choice: Choice,
        identities: &Identities,
    ) -> Result<Self, FindError> {
        let ledger = Ledger::read_copies(&store, settings).await?;
        for alarm in &ledger.alarms {
            tracing::warn!(%alarm, "the ledger holds something that must not be there");
        }
        let found = FoundCopy::find(store, &ledger, &settings.registry, choice).await?;
        found.open(identities).await
    }

    async fn check_manifest(&self) -> Result<(), FindError> {
        let mut manifest = ManifestReader::new();
        for part in &self.body.manifest {
            manifest.read_part(&self.part(part).await?)?;
        }
        let (segments, sealed_bytes) = (manifest.segments(), manifest.sealed_bytes());
        let totals = &self.body.totals;
        if (segments, sealed_bytes) == (totals.segments, totals.sealed_bytes) {
            Ok(())
        } else {
            Err(FindError::ManifestDisagrees {
                segments,
                sealed_bytes,
            })
        }
    }

    async fn part(&self, part: &PartRef) -> Result<Bytes, CopyError> {
        self.object(part.name, &part.version, part.size, part.sha256)
            .await
    }

    /// Reads one object by version and compares it with what the ledger says of it. One that differs is read anew: its bytes may have been damaged
    /// on their way, and a restore that ends over that is hours lost.
    async fn object(
        &self,
        object: CopyObject,
        version: &VersionId,
        size: u64,
        sha256: Sha256Digest,
    ) -> Result<Bytes, CopyError> {
        let key = ObjectKey::Copy {
            registry: self.identity.registry.clone(),
            copy: self.identity.copy_id,
            object,
        };
        let mut doubts = DOUBTS;
        loop {
            let bytes = self.read(&key, version, size).await?;
            let wrong = if bytes.len() as u64 == size {
                let content = bytes.clone();
                let found = tokio::task::spawn_blocking(move || Sha256Digest::of(&content))
                    .await
                    .map_err(|_| CopyError::Ended)?;
                (found != sha256).then(|| format!("its SHA-256 is {found}, not {sha256}"))
            } else {
                Some(format!("{} bytes instead of {size}", bytes.len()))
            };
            let Some(why) = wrong else { return Ok(bytes) };
            if doubts == 0 {
                return Err(CopyError::NotTheOneNamed {
                    object: key.to_string(),
                    why,
                });
            }
            doubts -= 1;
            tracing::warn!(%key, why, "an object is not the one that the ledger names, and is read again");
        }
    }

    /// Reads one object by version, and again after a pause where the store has failed.
    async fn read(&self, key: &ObjectKey, version: &VersionId, size: u64) -> Result<Bytes, CopyError> {
        let mut pauses = PAUSES.iter();
        loop {
            match self.fetch(key, version, size).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => match pauses.next() {
                    Some(pause) if !error.is_permanent() => {
                        tracing::warn!(%error, %key, "reading an object failed and is tried again");
                        tokio::time::sleep(*pause).await;
                    }
                    _ => {
                        return Err(CopyError::Unreadable {
                            object: key.to_string(),
                            error,
                        });
                    }
                },
            }
        }
    }

    async fn fetch(&self, key: &ObjectKey, version: &VersionId, size: u64) -> Result<Bytes, StoreError> {
        self.store.open(key, Some(version)).await?.read(size).await
    }

    async fn send_segments(
        &self,
        into: &mpsc::Sender<Result<SealedSegment, CopyError>>,
    ) -> Result<(), CopyError> {
        let mut manifest = ManifestReader::new();
        let mut sent = 0;
        for part in &self.body.manifest {
            let bytes = self.part(part).await?;
            let records = manifest.read_part(&bytes);
            let records = records.map_err(|error| CopyError::NotTheOneNamed {
                object: part.name.to_string(),
                why: error.to_string(),
            })?;
            for record in records {
                let SegmentRecord {
                    number,
                    version,
                    size,
                    sha256,
                } = record;
                let object = CopyObject::Segment(number);
                let bytes = self.object(object, &version, size, sha256).await?;
                sent += 1;
                let segment = SealedSegment {
                    name: object.to_string(),
                    bytes,
                    is_last: sent == self.body.totals.segments,
                };
                if into.send(Ok(segment)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl SealedCopy for StoredCopy {
    fn identity(&self) -> &CopyIdentity {
        &self.identity
    }

    fn key(&self) -> &CopyKey {
        &self.key
    }

    async fn inventory(&self) -> Result<Vec<Bytes>, CopyError> {
        let mut parts = Vec::new();
        for part in &self.body.inventory {
            parts.push(self.part(part).await?);
        }
        Ok(parts)
    }

    async fn segments(&self, into: mpsc::Sender<Result<SealedSegment, CopyError>>) {
        if let Err(error) = self.send_segments(&into).await {
            // Where nobody listens any more, nobody wants to know.
            let _ = into.send(Err(error)).await;
        }
    }
}

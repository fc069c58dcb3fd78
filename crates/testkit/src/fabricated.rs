//! Ledgers and copies made up out of random bytes, put into a real store within moments: for whoever judges copies without opening them.
//!
//! The entries are signed, linked and in order, the manifests right, the digests true. Only what is sealed is not: segments and inventories
//! are noise.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dataembassy_ledger::entry::{
    CopyBody, CopyTotals, Engine, Entry, EntryRef, Header, PartRef, SignedObject, SourceBody, SourceEntry,
    SourceIdentity,
};
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::manifest::{ManifestWriter, SegmentRecord};
use dataembassy_ledger::{
    CopyId, ObjectKey, PartNumber, Recipient, RegistryId, SegmentNumber, Sequence, Sha256Digest, SigningKey,
    StoreDocument, StoreId, Term, Timestamp, VersionId,
};
use hyper::Method;
use jiff::SignedDuration;

use crate::https::Line;
use crate::minio::SignedClient;

/// The age key that made-up copies claim to be sealed to; nobody has its private half.
pub const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// A store's document, as it is needed to begin chains.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The store.
    pub store_id: StoreId,
    /// The digest of its `embassy.json`.
    pub genesis: Sha256Digest,
}

/// Puts objects into one bucket over one connection.
pub struct Depositor<'a> {
    client: &'a SignedClient,
    line: Line,
    bucket: String,
    lock: Option<Duration>,
    age: Option<Duration>,
}

impl<'a> Depositor<'a> {
    /// Connects as the client's user.
    pub async fn connect(client: &'a SignedClient, bucket: &str) -> Result<Self> {
        Ok(Self {
            client,
            line: client.line().await?,
            bucket: bucket.to_owned(),
            lock: None,
            age: None,
        })
    }

    /// Locks what it puts from now on for so long, COMPLIANCE, whatever the bucket does by itself.
    #[must_use]
    pub fn locking(self, lock: Option<Duration>) -> Self {
        Self { lock, ..self }
    }

    /// What it puts from now on looks as if it had been put so long ago: MinIO believes whoever may replicate.
    #[must_use]
    pub fn backdating(self, age: Duration) -> Self {
        Self {
            age: Some(age),
            ..self
        }
    }

    /// Writes `embassy.json`, signed by this key.
    pub async fn initialise(&mut self, custodian: &SigningKey) -> Result<Origin> {
        let store_id = StoreId::from_bytes([0x5e; 16]);
        let document = StoreDocument {
            store_id,
            custodian_key: custodian.public_key(),
            at: now()?,
        };
        let object = document.sign(custodian)?;
        self.put(&ObjectKey::Embassy, &object.bytes).await?;
        Ok(Origin {
            store_id,
            genesis: object.digest,
        })
    }

    /// Puts an object, whatever is there already, and returns its version.
    pub async fn put(&mut self, key: &ObjectKey, bytes: &[u8]) -> Result<VersionId> {
        let path = format!("/{}/{key}", self.bucket);
        let now = jiff::Timestamp::now();
        let until = self.lock.map(|lock| now.checked_add(lock)).transpose()?;
        let until = until.map(|until| format!("{until:.3}"));
        let written_at = self.age.map(|age| now.checked_sub(age)).transpose()?;
        let written_at = written_at.map(|at| format!("{at:.9}"));
        let mut headers = Vec::new();
        if let Some(until) = &until {
            headers.push(("x-amz-object-lock-mode", "COMPLIANCE"));
            headers.push(("x-amz-object-lock-retain-until-date", until));
        }
        if let Some(at) = &written_at {
            headers.push(("x-minio-source-mtime", at));
        }
        let request = self
            .client
            .request(Method::PUT, &path, &[], &headers, bytes.to_vec())?;
        let answer = self.line.send(request).await?;
        ensure!(
            answer.status().is_success(),
            "PUT {key}: {}: {}",
            answer.status(),
            String::from_utf8_lossy(answer.body())
        );
        let version = answer.headers().get("x-amz-version-id");
        let version = version.context("the store gave no version")?.to_str()?;
        Ok(version.parse()?)
    }
}

/// What a made-up copy is like.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How many segments it has.
    pub segments: u64,
    /// The bytes of each.
    pub segment_bytes: usize,
    /// Whether segments are only named and never put: for copies larger than any disk.
    pub phantom: bool,
    /// Between the numbers of two segments.
    pub stride: u64,
    /// Whom it claims to be sealed to.
    pub recipients: Vec<Recipient>,
    /// How long ago its snapshot was taken.
    pub age: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            segments: 3,
            segment_bytes: 2_000,
            phantom: false,
            stride: 1,
            recipients: RECIPIENT.parse().into_iter().collect(),
            age: Duration::ZERO,
        }
    }
}

/// A copy that was made up.
#[derive(Clone, Debug)]
pub struct MadeCopy {
    /// Its entry.
    pub reference: EntryRef,
    /// The entry's object.
    pub entry: SignedObject,
    /// The entry's version.
    pub version: VersionId,
    /// What the entry says.
    pub body: CopyBody,
    /// Its segments; none of a phantom.
    pub segments: Vec<SegmentRecord>,
}

/// A source chain that is being made up.
#[derive(Clone, Debug)]
pub struct MadeLedger {
    origin: Origin,
    registry: RegistryId,
    signer: SigningKey,
    term: Term,
    next: Sequence,
    prev: Sha256Digest,
    noise: Noise,
    off: SignedDuration,
}

impl MadeLedger {
    /// An empty chain.
    #[must_use]
    pub fn new(origin: Origin, registry: RegistryId, signer: SigningKey) -> Self {
        let noise = Noise::new(registry.as_str());
        Self {
            origin,
            registry,
            signer,
            term: Term::FIRST,
            next: Sequence::FIRST,
            prev: origin.genesis,
            noise,
            off: SignedDuration::ZERO,
        }
    }

    /// The same chain, continued by somebody who makes up other bytes and ids.
    #[must_use]
    pub fn apart(&self, seed: &str) -> Self {
        Self {
            noise: Noise::new(seed),
            ..self.clone()
        }
    }

    /// Goes on in the next term, with what comes next signed by its signer.
    pub fn hand_over(&mut self, signer: SigningKey) -> Result<()> {
        self.term = self.term.next().context("no term is left")?;
        self.signer = signer;
        Ok(())
    }

    /// Goes on in the same term with another key, as a mirror does whose key was exchanged.
    pub fn sign_on_with(&mut self, signer: SigningKey) {
        self.signer = signer;
    }

    /// Dates what it makes up from now on so much later than it is, or earlier: whoever holds home's key can.
    pub const fn set_clock(&mut self, off: SignedDuration) {
        self.off = off;
    }

    /// Now, by the chain's own clock.
    fn now(&self) -> Result<jiff::Timestamp> {
        Ok(jiff::Timestamp::now().checked_add(self.off)?)
    }

    /// The registry.
    #[must_use]
    pub const fn registry(&self) -> &RegistryId {
        &self.registry
    }

    /// The key of an object of one of the registry's copies.
    #[must_use]
    pub fn object(&self, copy: CopyId, object: CopyObject) -> ObjectKey {
        ObjectKey::Copy {
            registry: self.registry.clone(),
            copy,
            object,
        }
    }

    /// The key of a source entry in the chain's term.
    #[must_use]
    pub fn entry_key(&self, sequence: Sequence) -> ObjectKey {
        ObjectKey::Source {
            registry: self.registry.clone(),
            term: self.term,
            sequence,
        }
    }

    /// Puts a whole copy, its entry last, and goes on from there.
    pub async fn copy(&mut self, depositor: &mut Depositor<'_>, shape: &Shape) -> Result<MadeCopy> {
        let body = self.objects(depositor, shape).await?;
        self.commit(depositor, body).await
    }

    /// Puts the objects of a copy and no entry.
    pub async fn objects(
        &mut self,
        depositor: &mut Depositor<'_>,
        shape: &Shape,
    ) -> Result<(CopyBody, Vec<SegmentRecord>)> {
        let copy = CopyId::from_bytes(self.noise.id());
        let mut manifest = ManifestWriter::new();
        let (mut parts, mut segments) = (Vec::new(), Vec::new());
        for number in 1..=shape.segments {
            let number = SegmentNumber::new(number * shape.stride)?;
            let record = self.segment(depositor, copy, number, shape).await?;
            if let Some(part) = manifest.push(&record)? {
                parts.push(part);
            }
            if !shape.phantom {
                segments.push(record);
            }
        }
        let totals = CopyTotals {
            segments: manifest.segments(),
            sealed_bytes: manifest.sealed_bytes(),
        };
        parts.push(manifest.finish()?);
        let noise = self.noise.bytes(300);
        let inventory = self
            .part(depositor, copy, CopyObject::Inventory(PartNumber::FIRST), &noise)
            .await?;
        let mut named = Vec::new();
        for (place, part) in (1..).zip(&parts) {
            let name = CopyObject::Manifest(PartNumber::new(place)?);
            named.push(self.part(depositor, copy, name, part).await?);
        }
        let taken_at = self.now()?.checked_sub(shape.age)?;
        let taken_at = Timestamp::from_jiff(taken_at)?;
        let body = CopyBody {
            copy_id: copy,
            started_at: taken_at,
            taken_at,
            slot: None,
            trigger: None,
            source: SourceIdentity {
                engine: Engine::Postgresql,
                version: "17.2".parse()?,
                system_identifier: "7".parse()?,
                database_oid: 5,
            },
            recipients: shape.recipients.clone(),
            copy_key: "YWdl".into(),
            manifest: named,
            inventory: vec![inventory],
            totals,
            parents: Vec::new(),
            custody_head: None,
        };
        Ok((body, segments))
    }

    async fn segment(
        &mut self,
        depositor: &mut Depositor<'_>,
        copy: CopyId,
        number: SegmentNumber,
        shape: &Shape,
    ) -> Result<SegmentRecord> {
        let size = shape.segment_bytes as u64;
        if shape.phantom {
            let mark = self.noise.id();
            return Ok(SegmentRecord {
                number,
                version: String::from(CopyId::from_bytes(mark)).parse()?,
                size,
                sha256: Sha256Digest::of(&mark),
            });
        }
        let bytes = self.noise.bytes(shape.segment_bytes);
        let key = self.object(copy, CopyObject::Segment(number));
        Ok(SegmentRecord {
            number,
            version: depositor.put(&key, &bytes).await?,
            size,
            sha256: Sha256Digest::of(&bytes),
        })
    }

    async fn part(
        &self,
        depositor: &mut Depositor<'_>,
        copy: CopyId,
        name: CopyObject,
        bytes: &[u8],
    ) -> Result<PartRef> {
        Ok(PartRef {
            name,
            version: depositor.put(&self.object(copy, name), bytes).await?,
            size: bytes.len() as u64,
            sha256: Sha256Digest::of(bytes),
        })
    }

    /// Puts the next entry, for objects that are there, and goes on from there.
    pub async fn commit(
        &mut self,
        depositor: &mut Depositor<'_>,
        (body, segments): (CopyBody, Vec<SegmentRecord>),
    ) -> Result<MadeCopy> {
        let entry = self.next_entry(body.clone())?.sign(&self.signer)?;
        let (sequence, key) = (self.next, self.entry_key(self.next));
        let version = depositor.put(&key, &entry.bytes).await?;
        self.prev = entry.digest;
        self.next = sequence.next().context("no number is left")?;
        Ok(MadeCopy {
            reference: EntryRef {
                sequence,
                digest: entry.digest,
            },
            entry,
            version,
            body,
            segments,
        })
    }

    /// The next entry as the chain stands, to be signed by whoever wants to.
    pub fn next_entry(&self, body: CopyBody) -> Result<SourceEntry> {
        Ok(Entry {
            header: Header {
                store_id: self.origin.store_id,
                registry: self.registry.clone(),
                sequence: self.next,
                prev: self.prev,
                term: self.term,
                at: Timestamp::from_jiff(self.now()?)?,
            },
            body: SourceBody::Copy(Box::new(body)),
        })
    }
}

fn now() -> Result<Timestamp> {
    Ok(Timestamp::from_jiff(jiff::Timestamp::now())?)
}

/// Bytes that look random and are the same on each run, at some hundred megabytes a second.
#[derive(Clone, Debug)]
struct Noise(u64);

impl Noise {
    fn new(seed: &str) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&Sha256Digest::of(seed.as_bytes()).as_bytes()[..8]);
        Self(u64::from_le_bytes(first) | 1)
    }

    /// The next number of the generator xorshift64*.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    fn id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next().to_le_bytes());
        id[8..].copy_from_slice(&self.next().to_le_bytes());
        id
    }
}

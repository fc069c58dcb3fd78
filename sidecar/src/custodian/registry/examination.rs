//! Level 1 of a copy: its manifest, read by version, compared with its digest, parsed, and added up. No segment is opened.

use bytes::Bytes;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::entry::{CopyBody, CopyFault, Entry, PartRef, SourceBody};
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::manifest::ManifestReader;
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::value::{CopyId, RegistryId, Sha256Digest};

use super::holdings::{Damage, Held, Manifest};
use super::tally::{Tally, TallyKey};
use crate::store::{ObjectLock, Store, StoreError};

/// What is left to be told of a copy whose objects were looked at: its fault, or that the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The object is not what it should be.
    #[error("{}", .0.example)]
    Damaged(Damage),
    /// The store failed; nothing is known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ObjectError {
    fn damaged(fault: CopyFault, example: String) -> Self {
        Self::Damaged(Damage {
            fault,
            objects: 1,
            example,
        })
    }
}

/// What level 1 found.
#[derive(Debug)]
pub struct Examined {
    /// The manifest.
    pub manifest: Manifest,
    /// The locks that were seen on the way.
    pub locks: Vec<(PartRef, ObjectLock)>,
}

/// Reads the entry of a copy again, by version.
pub async fn read_entry(
    store: &Store,
    registry: &RegistryId,
    held: &Held,
) -> Result<Box<CopyBody>, ObjectError> {
    let key = ObjectKey::Source {
        registry: registry.clone(),
        term: held.term,
        sequence: held.reference.sequence,
    };
    let object = store.open(&key, Some(&held.version)).await;
    let object = object.map_err(|error| explain(error, "its entry".into()))?;
    let bytes = object.read_up_to(MAX_OBJECT_BYTES as u64 + 1).await?;
    if Sha256Digest::of(&bytes) != held.reference.digest {
        return Err(ObjectError::damaged(CopyFault::Changed, "its entry".into()));
    }
    match Entry::<SourceBody>::verify(&bytes) {
        Ok(entry) => {
            let SourceBody::Copy(body) = entry.entry.body;
            Ok(body)
        }
        Err(error) => Err(ObjectError::damaged(
            CopyFault::Changed,
            format!("its entry: {error}"),
        )),
    }
}

/// Reads a copy's manifest and adds up what it and the entry name.
pub async fn examine(
    store: &Store,
    registry: &RegistryId,
    body: &CopyBody,
    key: &TallyKey,
) -> Result<Examined, StoreError> {
    let mut tally = Tally::default();
    for part in body.manifest.iter().chain(&body.inventory) {
        tally.add(key, part.name, &part.version, part.size);
    }
    let (mut reader, mut locks) = (ManifestReader::new(), Vec::new());
    for part in &body.manifest {
        let (bytes, lock) = match read_part(store, registry, body.copy_id, part).await {
            Ok(read) => read,
            Err(ObjectError::Damaged(damage)) => return Ok(wrong(damage, locks)),
            Err(ObjectError::Store(error)) => return Err(error),
        };
        locks.push((part.clone(), lock));
        let records = reader.records(&bytes).and_then(|records| {
            for record in records {
                let record = record?;
                let object = CopyObject::Segment(record.number);
                tally.add(key, object, &record.version, record.size);
            }
            Ok(())
        });
        if let Err(error) = records {
            return Ok(unusable(format!("{}: {error}", part.name), locks));
        }
    }
    if (reader.segments(), reader.sealed_bytes()) != (body.totals.segments, body.totals.sealed_bytes) {
        let why = format!(
            "it names {} segments of {} bytes, the entry {} of {}",
            reader.segments(),
            reader.sealed_bytes(),
            body.totals.segments,
            body.totals.sealed_bytes
        );
        return Ok(unusable(why, locks));
    }
    Ok(Examined {
        manifest: Manifest::Sound(tally),
        locks,
    })
}

fn unusable(example: String, locks: Vec<(PartRef, ObjectLock)>) -> Examined {
    let damage = Damage {
        fault: CopyFault::Manifest,
        objects: 1,
        example,
    };
    wrong(damage, locks)
}

fn wrong(damage: Damage, locks: Vec<(PartRef, ObjectLock)>) -> Examined {
    Examined {
        manifest: Manifest::Wrong(Box::new(damage)),
        locks,
    }
}

/// Reads a part of a manifest by version and compares it with its digest.
pub async fn read_part(
    store: &Store,
    registry: &RegistryId,
    copy: CopyId,
    part: &PartRef,
) -> Result<(Bytes, ObjectLock), ObjectError> {
    let key = ObjectKey::Copy {
        registry: registry.clone(),
        copy,
        object: part.name,
    };
    let name = || part.name.to_string();
    let object = store.open(&key, Some(&part.version)).await;
    let object = object.map_err(|error| explain(error, name()))?;
    let lock = object.lock;
    if object.size != part.size {
        return Err(ObjectError::damaged(CopyFault::Changed, name()));
    }
    let bytes = object.read(part.size).await?;
    if digest(&bytes).await != Some(part.sha256) {
        return Err(ObjectError::damaged(CopyFault::Changed, name()));
    }
    Ok((bytes, lock))
}

/// The digest of a part. What takes longer than a moment does not hold up the others.
async fn digest(bytes: &Bytes) -> Option<Sha256Digest> {
    const A_MOMENT: usize = 256 * 1024;
    if bytes.len() <= A_MOMENT {
        return Some(Sha256Digest::of(bytes));
    }
    let hashed = bytes.clone();
    let hashing = tokio::task::spawn_blocking(move || Sha256Digest::of(&hashed));
    hashing.await.ok()
}

fn explain(error: StoreError, name: String) -> ObjectError {
    match error {
        StoreError::ObjectMissing { .. } => ObjectError::damaged(CopyFault::Missing, name),
        error => ObjectError::Store(error),
    }
}

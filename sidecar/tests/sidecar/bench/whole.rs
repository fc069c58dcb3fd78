//! Whether the copies of a ledger are whole: everything they name is in the store, byte for byte.

use dataembassy_ledger::entry::{CopyBody, PartRef, SourceBody, SourceEntry};
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::manifest::ManifestReader;
use dataembassy_ledger::value::{Sequence, Sha256Digest, VersionId};
use dataembassy_ledger::{ObjectKey, RegistryId};
use dataembassy_sidecar::store::{Ledger, Store};

const LIMIT: u64 = 64 * 1024 * 1024;

/// Counts the copies of a ledger, each of them whole.
pub async fn count(store: &Store, ledger: &Ledger) -> u64 {
    count_from(1, store, ledger).await
}

/// The same, of the copies from this number on; those before are counted, and not looked at.
pub async fn count_from(first: u64, store: &Store, ledger: &Ledger) -> u64 {
    let registry = super::registry();
    let copies = ledger.next.get() - 1;
    for number in first..=copies {
        let sequence = Sequence::new(number).unwrap();
        let key = ObjectKey::Source {
            registry: registry.clone(),
            term: ledger.view.term_of(sequence),
            sequence,
        };
        let bytes = store.open(&key, None).await.unwrap().read(LIMIT).await.unwrap();
        let SourceBody::Copy(copy) = SourceEntry::verify(&bytes).unwrap().entry.body;
        check(store, &registry, &copy).await;
    }
    copies
}

async fn check(store: &Store, registry: &RegistryId, copy: &CopyBody) {
    let read = async |object: CopyObject, version: &VersionId, size: u64, sha256: Sha256Digest| {
        let key = ObjectKey::Copy {
            registry: registry.clone(),
            copy: copy.copy_id,
            object,
        };
        let bytes = store
            .open(&key, Some(version))
            .await
            .unwrap()
            .read(LIMIT)
            .await
            .unwrap();
        assert_eq!(
            (bytes.len() as u64, Sha256Digest::of(&bytes)),
            (size, sha256),
            "{key}"
        );
        bytes
    };
    for PartRef {
        name,
        version,
        size,
        sha256,
    } in &copy.inventory
    {
        read(*name, version, *size, *sha256).await;
    }
    let mut manifest = ManifestReader::new();
    for PartRef {
        name,
        version,
        size,
        sha256,
    } in &copy.manifest
    {
        let part = read(*name, version, *size, *sha256).await;
        for segment in manifest.read_part(&part).unwrap() {
            read(
                CopyObject::Segment(segment.number),
                &segment.version,
                segment.size,
                segment.sha256,
            )
            .await;
        }
    }
    assert_eq!(manifest.segments(), copy.totals.segments);
    assert_eq!(manifest.sealed_bytes(), copy.totals.sealed_bytes);
}

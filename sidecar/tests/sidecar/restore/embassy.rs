//! A store with a copy in it, published as a mirror does, and what is compared once it was restored.

use std::{path::PathBuf, process::Command, sync::Arc, time::Duration};

use crate::bench::{REGISTRY, StoreBench, copy_entry, registry};
use crate::sealed::{MemoryCopy, OWNER, options};
use crate::support::{plain_copy, source_as};
use bytes::Bytes;
use dataembassy_archive::{Identities, Recipients};
use dataembassy_ledger::{
    ObjectKey, SigningKey,
    chain::{CustodianKey, SignerRange},
    entry::{CopyBody, PartRef, SourceBody},
    key::CopyObject,
    manifest::{ManifestWriter, SegmentRecord},
    value::{CopyId, PartNumber, Recipient, SegmentNumber, Sha256Digest},
};
use dataembassy_sidecar::{
    restore::{
        copy::{FindError, StoredCopy},
        outcome::Outcome,
        progress::Progress,
        restore,
    },
    store::{Ledger, LedgerSettings, PutOutcome, Store, commit, init::initialise},
};
use dataembassy_testkit::{
    minio::{BUCKET, Credentials, StoreUser},
    postgresql::{Database, Server},
    provisioned,
};

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// A store made ready, and a person's identity as `age-keygen` makes it.
pub(crate) struct Embassy {
    pub(crate) bench: StoreBench,
    pub(crate) retrieval: Credentials,
    pub(crate) identity: String,
}

impl Embassy {
    pub(crate) async fn start() -> Self {
        let bench = StoreBench::start().await;
        initialise(&bench.custody().await, &key(9)).await.unwrap();
        let registry = REGISTRY.to_owned();
        let user = StoreUser::Retrieval { registry };
        let retrieval = bench.minio.add_user(BUCKET, &user).await.unwrap();
        Self {
            bench,
            retrieval,
            identity: age_keygen(),
        }
    }

    pub(crate) fn recipient(&self) -> Recipient {
        let line = self
            .identity
            .lines()
            .find_map(|line| line.strip_prefix("# public key: "));
        line.unwrap().parse().unwrap()
    }

    pub(crate) fn retrieval(&self) -> Store {
        StoreBench::store_as(&self.bench.settings(BUCKET), &self.retrieval)
    }

    pub(crate) fn trust() -> LedgerSettings {
        LedgerSettings {
            registry: registry(),
            signers: vec![SignerRange::always(key(1).public_key())],
            custodians: vec![CustodianKey {
                key: key(9).public_key(),
                until: None,
            }],
            floor: None,
        }
    }

    /// Puts a copy and commits its entry, as a mirror does: with deposit credentials.
    pub(crate) async fn publish(&self, copy: &MemoryCopy, id: u8) {
        self.publish_with(copy, id, |_, bytes| bytes.clone(), |_| ())
            .await;
    }

    /// The same in a store that keeps something else of a segment than it was given, and of an entry that was changed before it was signed.
    pub(crate) async fn publish_with(
        &self,
        copy: &MemoryCopy,
        id: u8,
        keeps: impl Fn(u32, &Bytes) -> Bytes,
        change: impl FnOnce(&mut CopyBody),
    ) {
        let store = self.bench.deposit().await;
        let id = CopyId::from_bytes([id; 16]);
        assert_eq!(id, copy.identity.copy_id, "the inventory names the copy");
        let mut manifest = ManifestWriter::new();
        for (place, bytes) in copy.segments.iter().enumerate() {
            let number = SegmentNumber::new(place as u64 + 1).unwrap();
            let kept = keeps(number.get(), bytes);
            let part = put(&store, id, CopyObject::Segment(number), &kept).await;
            let record = SegmentRecord {
                number,
                version: part.version,
                size: bytes.len() as u64,
                sha256: Sha256Digest::of(bytes),
            };
            assert!(manifest.push(&record).unwrap().is_none());
        }
        let ledger = Ledger::read(&store, &Self::trust()).await.unwrap();
        let mut entry = copy_entry(&ledger, None);
        let SourceBody::Copy(body) = &mut entry.body;
        body.copy_id = id;
        body.taken_at = copy.identity.taken_at;
        body.recipients = vec![self.recipient()];
        body.copy_key = copy
            .key
            .wrap(&Recipients::parse(&body.recipients).unwrap())
            .unwrap();
        body.totals.segments = manifest.segments();
        body.totals.sealed_bytes = manifest.sealed_bytes();
        let text = Bytes::from(manifest.finish().unwrap());
        body.manifest = vec![put(&store, id, CopyObject::Manifest(PartNumber::FIRST), &text).await];
        assert_eq!(copy.inventory.len(), 1);
        let object = CopyObject::Inventory(PartNumber::FIRST);
        body.inventory = vec![put(&store, id, object, &copy.inventory[0]).await];
        change(body);
        let signed = entry.sign(&key(1)).unwrap();
        commit(&store, &entry.object_key(), &signed, Duration::from_secs(20))
            .await
            .unwrap();
    }

    pub(crate) async fn open(&self, choice: &str) -> Result<StoredCopy, FindError> {
        let identities = Identities::parse(&self.identity).unwrap();
        StoredCopy::open(
            self.retrieval(),
            &Self::trust(),
            choice.parse().unwrap(),
            &identities,
        )
        .await
    }

    pub(crate) async fn restore_into(&self, target: &Database) -> Result<Outcome, String> {
        let copy = self.open("latest").await.map_err(|error| error.to_string())?;
        let into = source_as(target.server, &target.name, OWNER);
        let restored = restore(&Arc::new(copy), &into, &options(), &Progress::default()).await;
        restored.map_err(|error| error.to_string())
    }
}

pub(crate) async fn put(store: &Store, copy: CopyId, object: CopyObject, bytes: &Bytes) -> PartRef {
    let key = ObjectKey::Copy {
        registry: registry(),
        copy,
        object,
    };
    let sha256 = Sha256Digest::of(bytes);
    let PutOutcome::Stored(version) = store.put(&key, bytes.clone(), sha256).await.unwrap() else {
        panic!("{key} exists");
    };
    PartRef {
        name: object,
        version,
        size: bytes.len() as u64,
        sha256,
    }
}

pub(crate) fn stock() -> PathBuf {
    provisioned::path("rootfs-stock").unwrap()
}

/// A Go program, which needs no library.
pub(crate) fn age_keygen() -> String {
    let made = Command::new(stock().join("usr/bin/age-keygen")).output().unwrap();
    String::from_utf8(made.stdout).unwrap()
}

pub(crate) const CONTENT: &str = "\
    CREATE TABLE \"Ödd \"\"one\" (id int PRIMARY KEY, text text);
    INSERT INTO \"Ödd \"\"one\" SELECT n, E'row\\t' || md5(n::text) FROM generate_series(1, 60000) n;
    CREATE TABLE \"with line
feed\" (a text); INSERT INTO \"with line
feed\" VALUES (E'\\\\.');
    CREATE TABLE huge (value text); INSERT INTO huge VALUES (repeat('x', 5000000));
    CREATE TABLE small (a int REFERENCES \"Ödd \"\"one\"); INSERT INTO small VALUES (1), (2);
    CREATE SEQUENCE s; SELECT nextval('s');
    SELECT lo_from_bytea(4711, 'small'); SELECT lo_from_bytea(4713, decode(repeat('ab', 3000000), 'hex'));";

pub(crate) const COMPARED: [&str; 5] = [
    "SELECT * FROM \"Ödd \"\"one\" ORDER BY id",
    "SELECT * FROM \"with line\nfeed\"",
    "SELECT md5(value), length(value) FROM huge",
    "SELECT small.*, s.last_value FROM small, s ORDER BY a",
    "SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid",
];

pub(crate) fn assert_equal(source: &Database, target: &Database) {
    for query in COMPARED {
        assert_eq!(plain_copy(source, query), plain_copy(target, query), "{query}");
    }
}

pub(crate) async fn filled(server: &'static Server) -> Database {
    let database = server.database().await.unwrap();
    database.execute(CONTENT).await.unwrap();
    database
}

/// Loses an object's data on the store's own disk, as a broken store could.
pub(crate) fn lose(embassy: &Embassy, object: &str) {
    std::fs::rename(on_disk(embassy, object), lost(embassy)).unwrap();
}

/// Puts back what [`lose`] took away.
pub(crate) fn find_again(embassy: &Embassy, object: &str) {
    std::fs::rename(lost(embassy), on_disk(embassy, object)).unwrap();
}

/// Where a lost object is: on the same disk, and nowhere for the store.
fn lost(embassy: &Embassy) -> PathBuf {
    embassy.bench.minio.data_directory().with_file_name("lost")
}

/// An object of the one copy that is published.
fn on_disk(embassy: &Embassy, object: &str) -> PathBuf {
    let key = ObjectKey::Copy {
        registry: registry(),
        copy: CopyId::from_bytes([7; 16]),
        object: object.parse().unwrap(),
    };
    let folder = embassy.bench.minio.data_directory();
    folder.join(BUCKET).join(key.to_string())
}

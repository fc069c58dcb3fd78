//! Every kind of tampering once, on a real store, by somebody who owns it: who may take versions away, and put other bytes under the very
//! version ids that the ledger names. What changes a hundred thousand times in the crates' own tests is changed here where it is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bench::custodian::{CustodianBench, alarm, custodian_key, custody_of, home};
use dataembassy_contract::Reason;
use dataembassy_contract::config::Floor;
use dataembassy_contract::custodian::RegistryReport;
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::value::SegmentNumber;
use dataembassy_ledger::{ObjectKey, Sequence};
use dataembassy_testkit::fabricated::{Depositor, MadeCopy, MadeLedger, Shape};
use dataembassy_testkit::minio::{BUCKET, BucketKind, Minio};
use hyper::Method;

/// A kind, which its registry is named after, what it is told as, and where.
const KINDS: [(&str, Reason, &str); 14] = [
    ("flip", Reason::ObjectChanged, "copy 2"),
    ("cut", Reason::ObjectChanged, "copy 2"),
    ("extend", Reason::ObjectChanged, "copy 2"),
    ("swap", Reason::ObjectChanged, "copy 2"),
    ("rename", Reason::ObjectMissing, "copy 2"),
    ("delete", Reason::LedgerGap, "copy 2"),
    ("duplicate", Reason::LedgerUnreadable, "000000000004"),
    ("replay", Reason::LedgerUnreadable, "000000000004"),
    ("roll-back", Reason::RolledBack, "3"),
    ("fork", Reason::RolledBack, "3"),
    ("re-sign", Reason::ForeignSignature, "copy 3"),
    ("mix", Reason::ObjectChanged, "copy 2"),
    ("forge-newer", Reason::SecondVersion, "copy 2"),
    ("forge-older", Reason::SecondVersion, "copy 2"),
];
const UNTOUCHED: &str = "untouched";

/// A registry before it is tampered with.
struct Victim {
    /// Where its chain stood before its last copy.
    before_last: MadeLedger,
    copies: Vec<MadeCopy>,
}

/// Who owns the store.
struct Owner<'a> {
    minio: &'a Minio,
    victims: BTreeMap<&'static str, Victim>,
}

impl Victim {
    fn segment(&self, copy: usize, number: u64) -> Place {
        let (copy, record) = (&self.copies[copy - 1], usize::try_from(number).unwrap() - 1);
        let object = CopyObject::Segment(SegmentNumber::new(number).unwrap());
        Place {
            key: self.before_last.object(copy.body.copy_id, object),
            version: copy.segments[record].version.to_string(),
        }
    }

    fn entry(&self, number: usize) -> Place {
        Place {
            key: self.place_of(number as u64),
            version: self.copies[number - 1].version.to_string(),
        }
    }

    fn place_of(&self, number: u64) -> ObjectKey {
        self.before_last.entry_key(Sequence::new(number).unwrap())
    }
}

/// One version of an object.
struct Place {
    key: ObjectKey,
    version: String,
}

impl Owner<'_> {
    async fn read(&self, place: &Place) -> Vec<u8> {
        let (key, version) = (place.key.to_string(), &place.version);
        let bytes = self.minio.root().get_version(BUCKET, &key, version).await;
        bytes.unwrap().to_vec()
    }

    async fn remove(&self, place: &Place) {
        let path = format!("/{BUCKET}/{}", place.key);
        let query = [("versionId", place.version.as_str())];
        let root = self.minio.root();
        let removed = root.expect(Method::DELETE, &path, &query, &[], Vec::new()).await;
        removed.unwrap();
    }

    /// Puts other bytes under the same key and the same version id, as one store that copies another does.
    async fn replace(&self, place: &Place, bytes: Vec<u8>) {
        self.remove(place).await;
        let path = format!("/{BUCKET}/{}", place.key);
        let query = [("versionId", place.version.as_str())];
        let written_at = format!("{:.9}", jiff::Timestamp::now());
        let headers = [
            ("x-minio-source-mtime", written_at.as_str()),
            ("x-minio-source-replication-request", "true"),
        ];
        let root = self.minio.root();
        root.expect(Method::PUT, &path, &query, &headers, bytes)
            .await
            .unwrap();
        let versions = root.versions(BUCKET, &place.key.to_string()).await.unwrap();
        let ids: Vec<_> = versions.iter().map(|version| version.id.as_str()).collect();
        assert_eq!(ids, [place.version.as_str()], "the store gave another version");
    }

    async fn put(&self, key: &ObjectKey, bytes: Vec<u8>) {
        self.minio.put(BUCKET, &key.to_string(), bytes).await.unwrap();
    }

    async fn tamper(&self, kind: &'static str) {
        let victim = &self.victims[kind];
        let object = victim.segment(2, 2);
        match kind {
            "flip" => {
                let mut bytes = self.read(&object).await;
                bytes[1_000] ^= 1;
                self.replace(&object, bytes).await;
            }
            "cut" => {
                let mut bytes = self.read(&object).await;
                bytes.pop();
                self.replace(&object, bytes).await;
            }
            "extend" => {
                let mut bytes = self.read(&object).await;
                bytes.push(0);
                self.replace(&object, bytes).await;
            }
            "swap" => {
                let other = victim.segment(2, 3);
                let (first, second) = (self.read(&object).await, self.read(&other).await);
                self.replace(&object, second).await;
                self.replace(&other, first).await;
            }
            "rename" => {
                let bytes = self.read(&object).await;
                self.remove(&object).await;
                let another = CopyObject::Segment(SegmentNumber::new(4).unwrap());
                let copy = victim.copies[1].body.copy_id;
                self.put(&victim.before_last.object(copy, another), bytes).await;
            }
            "delete" => self.remove(&victim.entry(2)).await,
            "duplicate" => {
                let bytes = self.read(&victim.entry(2)).await;
                self.put(&victim.place_of(4), bytes).await;
            }
            "replay" => {
                let bytes = self.read(&self.victims[UNTOUCHED].entry(3)).await;
                self.put(&victim.place_of(4), bytes).await;
            }
            "roll-back" => self.remove(&victim.entry(3)).await,
            "fork" => {
                self.remove(&victim.entry(3)).await;
                let mut other = victim.before_last.apart("fork");
                let mut depositor = Depositor::connect(self.minio.root(), BUCKET).await.unwrap();
                other.copy(&mut depositor, &Shape::default()).await.unwrap();
            }
            "re-sign" => {
                let body = victim.copies[2].body.clone();
                let entry = victim.before_last.next_entry(body).unwrap();
                let bytes = entry.sign(&custodian_key()).unwrap().bytes;
                self.replace(&victim.entry(3), bytes).await;
            }
            "mix" => {
                let bytes = self.read(&victim.segment(1, 2)).await;
                self.replace(&object, bytes).await;
            }
            "forge-newer" => self.put(&object.key, b"newer".to_vec()).await,
            "forge-older" => {
                let depositor = Depositor::connect(self.minio.root(), BUCKET).await.unwrap();
                let mut depositor = depositor.backdating(Duration::from_hours(1));
                depositor.put(&object.key, b"older").await.unwrap();
            }
            other => panic!("{other} is no kind"),
        }
    }
}

/// A store with a registry for each kind, of three copies each, and one that is left alone.
async fn bench() -> (CustodianBench, BTreeMap<&'static str, Victim>) {
    let mut bench = CustodianBench::start_with(BucketKind::Lockable).await;
    let mut victims = BTreeMap::new();
    let mut registries = Vec::new();
    let mut depositor = bench.depositor().await;
    for name in KINDS.iter().map(|kind| kind.0).chain([UNTOUCHED]) {
        let mut ledger = MadeLedger::new(bench.origin, name.parse().unwrap(), home());
        let mut copies = Vec::new();
        let mut before_last = ledger.clone();
        for _ in 0..3 {
            before_last = ledger.clone();
            copies.push(ledger.copy(&mut depositor, &Shape::default()).await.unwrap());
        }
        let head = copies[2].reference;
        let mut custody = custody_of(name);
        // The operator remembers where the ledger stood.
        custody.source_floor = Some(Floor {
            sequence: head.sequence.get(),
            digest: head.digest.to_string(),
        });
        registries.push(custody);
        victims.insert(name, Victim { before_last, copies });
    }
    drop(depositor);
    bench.config.registries = registries;
    bench.write_config();
    (bench, victims)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_tampering_is_told_by_its_name_and_costs_no_other_registry_anything() {
    let (bench, victims) = bench().await;
    let owner = Owner {
        minio: &bench.minio,
        victims,
    };
    for (kind, ..) in KINDS {
        owner.tamper(kind).await;
    }
    let custodian = bench.custodian();
    for (kind, reason, words) in KINDS {
        let told = |report: &RegistryReport| alarm(report, reason).is_some();
        let what = format!("{kind} as {reason}");
        let report = custodian.until_named(kind, &what, told).await;
        let message = alarm(&report, reason).unwrap();
        for word in [format!("registry {kind}").as_str(), words] {
            assert!(message.contains(word), "{kind}, {word:?}: {message}");
        }
    }
    let read_back = |report: &RegistryReport| report.verification.verified == 3;
    let report = custodian
        .until_named(UNTOUCHED, "all of it to be read back", read_back)
        .await;
    assert_eq!(report.ledger.state, CheckState::True, "{report:#?}");
    assert_eq!(report.intact.state, CheckState::True, "{report:#?}");
}

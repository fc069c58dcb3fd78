//! The ledger over a real store: made ready once, read link by link, committed to once.

use std::time::Duration;

use crate::bench;
use crate::bench::{REGISTRY, StoreBench, entry, registry};
use dataembassy_contract::Reason;
use dataembassy_ledger::chain::SignerRange;
use dataembassy_ledger::entry::{ConfirmBody, CustodyBody, EntryRef, SignedObject};
use dataembassy_ledger::value::Sequence;
use dataembassy_ledger::{ObjectKey, SigningKey};
use dataembassy_sidecar::store::init::{Initialised, initialise};
use dataembassy_sidecar::store::{CommitError, Ledger, LedgerMemory, LedgerSettings, Store, commit};
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::BUCKET;
use hyper::{Method, StatusCode};

const PATIENCE: Duration = Duration::from_secs(20);

struct LedgerBench {
    bench: StoreBench,
    store: Store,
    settings: LedgerSettings,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

impl LedgerBench {
    async fn start() -> Self {
        let bench = StoreBench::start().await;
        initialise(&bench.custody().await, &key(9)).await.unwrap();
        let store = bench.deposit().await;
        let settings = LedgerSettings {
            registry: registry(),
            signers: vec![SignerRange::always(key(1).public_key())],
            custodians: bench::custody::trusted(),
            floor: None,
        };
        Self {
            bench,
            store,
            settings,
        }
    }

    async fn read(&self) -> Ledger {
        Ledger::read(&self.store, &self.settings).await.unwrap()
    }

    async fn reason(&self) -> Reason {
        Ledger::read(&self.store, &self.settings)
            .await
            .unwrap_err()
            .reason()
    }

    /// The next entry as the ledger stands.
    async fn next(&self, signer: u8, trigger: Option<&str>) -> SignedObject {
        let ledger = self.read().await;
        bench::copy_entry(&ledger, trigger).sign(&key(signer)).unwrap()
    }

    async fn append(&self, trigger: Option<&str>) -> SignedObject {
        let next = self.read().await.next;
        let object = self.next(1, trigger).await;
        commit(&self.store, &entry(next.get()), &object, PATIENCE)
            .await
            .unwrap();
        object
    }

    async fn put_as_root(&self, sequence: u64, bytes: Vec<u8>) {
        self.bench
            .minio
            .put(BUCKET, &entry(sequence).to_string(), bytes)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_store_is_made_ready_once_and_belongs_to_one_custodian() {
    let bench = StoreBench::start().await;
    let store = bench.custody().await;
    assert_eq!(initialise(&store, &key(9)).await.unwrap(), Initialised::Written);
    assert_eq!(initialise(&store, &key(9)).await.unwrap(), Initialised::Already);
    assert!(initialise(&store, &key(8)).await.is_err());
    assert_eq!(bench.minio.keys(BUCKET, "").await.unwrap(), ["embassy.json"]);
}

#[tokio::test]
async fn a_bucket_without_embassy_json_is_not_a_store() {
    let bench = StoreBench::start().await;
    let settings = LedgerSettings {
        registry: registry(),
        signers: Vec::new(),
        custodians: Vec::new(),
        floor: None,
    };
    let error = Ledger::read(&bench.deposit().await, &settings).await.unwrap_err();
    // Without the right to list it, a store that hides what is missing would say 403; MinIO says 404 to who may read it.
    assert_eq!(error.reason(), Reason::StoreNotInitialised, "{error}");
}

#[tokio::test]
async fn entries_are_found_by_walking_and_the_head_is_the_last() {
    let bench = LedgerBench::start().await;
    assert!(bench.read().await.head.is_none());
    for _ in 0..3 {
        bench.append(None).await;
    }
    let ledger = bench.read().await;
    assert_eq!(ledger.next, Sequence::new(4).unwrap());
    assert!(ledger.alarms.is_empty());
    bench::assert_gate_lets_through(&bench.bench.proxy.seen(), REGISTRY);
}

#[tokio::test]
async fn a_known_head_spares_what_is_before_it() {
    let mut bench = LedgerBench::start().await;
    for _ in 0..5 {
        bench.append(None).await;
    }
    bench.settings.floor = bench.read().await.head_reference();
    let before = bench.bench.proxy.asked();
    bench.read().await;
    let asked = bench.bench.proxy.asked() - before;
    assert_eq!(asked, 4, "embassy.json, two listings and the head");
}

#[tokio::test]
async fn a_ledger_below_its_floor_was_rolled_back() {
    let mut bench = LedgerBench::start().await;
    let object = bench.append(None).await;
    bench.settings.floor = Some(EntryRef {
        sequence: Sequence::new(2).unwrap(),
        digest: object.digest,
    });
    assert_eq!(bench.reason().await, Reason::RolledBack);
    let other = bench::sha256(b"another ledger");
    bench.settings.floor = Some(EntryRef {
        sequence: Sequence::FIRST,
        digest: other,
    });
    assert_eq!(bench.reason().await, Reason::RolledBack);
}

#[tokio::test]
async fn a_known_head_is_missed_in_another_store_and_it_is_told_what_makes_it_forgotten() {
    let known = LedgerBench::start().await;
    known.append(None).await;
    let mut other = LedgerBench::start().await;
    let before = known.read().await;
    assert_ne!(other.read().await.store_id, before.store_id);
    // Empty, and then with an entry of its own at that number: both are well by themselves.
    for is_empty in [true, false] {
        if !is_empty {
            other.append(None).await;
        }
        other.settings.floor = before.head_reference();
        let error = Ledger::read(&other.store, &other.settings).await.unwrap_err();
        assert_eq!(error.reason(), Reason::RolledBack, "{error}");
        let told = error.to_string();
        for words in [
            "Find out what became of the store",
            "whatever store the DataEmbassy names",
            "only where your own people have chosen another one",
            "delete the RegistryMirror",
            "make it again",
            "deletes no copy and no key",
        ] {
            assert!(told.contains(words), "{told}");
        }
        other.settings.floor = None;
    }
}

#[tokio::test]
async fn a_missing_entry_is_a_gap() {
    let bench = LedgerBench::start().await;
    let mut third = bench::copy_entry(&bench.read().await, None);
    third.header.sequence = Sequence::new(3).unwrap();
    bench.put_as_root(3, third.sign(&key(1)).unwrap().bytes).await;
    let error = Ledger::read(&bench.store, &bench.settings).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LedgerGap);
    let told = error.to_string();
    for word in ["0001-000000000001 is missing", "Find out who removed it"] {
        assert!(told.contains(word), "{told}");
    }
}

#[tokio::test]
async fn junk_ahead_of_the_chain_keeps_nobody_from_writing_or_reading_and_an_entry_there_does() {
    let bench = LedgerBench::start().await;
    bench.append(None).await;
    bench.put_as_root(40, b"squatted".to_vec()).await;
    assert_eq!(bench.reason().await, Reason::LedgerGap, "who vouches for it");
    let mut memory = LedgerMemory::of_the_writer();
    let writer = Ledger::read_on(&bench.store, &bench.settings, &mut memory)
        .await
        .unwrap();
    assert_eq!((writer.next.get(), writer.alarms.len()), (2, 1));
    let second = bench::copy_entry(&writer, None).sign(&key(1)).unwrap();
    commit(&bench.store, &entry(2), &second, PATIENCE).await.unwrap();
    let reader = Ledger::read_copies(&bench.store, &bench.settings).await.unwrap();
    assert_eq!(reader.head_reference().unwrap().digest, second.digest);
    assert!(reader.at_next.is_none() && reader.alarms.len() == 1);

    // What who may sign has signed there proves that something before it is gone.
    let mut far = bench::copy_entry(&reader, None);
    far.header.sequence = Sequence::new(41).unwrap();
    bench.put_as_root(41, far.sign(&key(1)).unwrap().bytes).await;
    let writer = Ledger::read_on(&bench.store, &bench.settings, &mut memory).await;
    assert_eq!(writer.unwrap_err().reason(), Reason::LedgerGap);
    let reader = Ledger::read_copies(&bench.store, &bench.settings).await;
    assert_eq!(reader.unwrap_err().reason(), Reason::LedgerGap);
}

#[tokio::test]
async fn where_the_next_place_is_taken_nobody_writes_and_the_copies_before_it_are_read() {
    let bench = LedgerBench::start().await;
    let first = bench.append(None).await;
    bench.put_as_root(2, b"taken".to_vec()).await;
    let mut memory = LedgerMemory::of_the_writer();
    let writer = Ledger::read_on(&bench.store, &bench.settings, &mut memory).await;
    assert!(writer.is_err());
    let reader = Ledger::read_copies(&bench.store, &bench.settings).await.unwrap();
    assert_eq!(reader.head_reference().unwrap().digest, first.digest);
    assert!(reader.at_next.is_some());
}

#[tokio::test]
async fn a_custody_entry_of_a_newer_version_keeps_home_from_writing_and_nobody_from_restoring() {
    let bench = LedgerBench::start().await;
    let first = bench.append(None).await;
    let head = bench.read().await.head_reference().unwrap();
    let mut custody = bench::custody::CustodyWriter::begin(bench.bench.custody().await).await;
    let proof = custody.proof(head);
    custody.write(proof).await;
    let mut memory = LedgerMemory::of_the_writer();
    Ledger::read_on(&bench.store, &bench.settings, &mut memory)
        .await
        .unwrap();

    let (key, object) = custody.sign(CustodyBody::Confirm(ConfirmBody { source_head: head }));
    let put = async |key: &ObjectKey, bytes: Vec<u8>| {
        let minio = &bench.bench.minio;
        minio.put(BUCKET, &key.to_string(), bytes).await.unwrap();
    };
    let newer = bench::custody::of_a_newer_version(&object, &bench::custody::custodian());
    put(&key, newer.bytes).await;
    for memory in [&mut memory, &mut LedgerMemory::of_the_writer()] {
        let writer = Ledger::read_on(&bench.store, &bench.settings, memory).await;
        let error = writer.unwrap_err();
        assert_eq!(error.reason(), Reason::LedgerUnreadable);
        let told = error.to_string();
        for part in [&key.to_string(), "\"truce\"", "upgrade this one"] {
            assert!(told.contains(part), "{told}");
        }
    }
    // A second one, which may be any entry at all for this version, is no hole.
    let key_of_newer = key.to_string();
    let (key, object) = custody.sign(CustodyBody::Confirm(ConfirmBody { source_head: head }));
    let newer = bench::custody::of_a_newer_version(&object, &bench::custody::custodian());
    put(&key, newer.bytes).await;
    let reader = Ledger::read_copies(&bench.store, &bench.settings).await.unwrap();
    assert_eq!(reader.head_reference().unwrap().digest, first.digest);
    assert_eq!(reader.alarms.len(), 1);
    assert!(
        reader.custody_at_next.unwrap().words.contains(&key_of_newer),
        "nobody knows which copies count"
    );
    let writer = Ledger::read_on(&bench.store, &bench.settings, &mut memory).await;
    assert_eq!(writer.unwrap_err().reason(), Reason::LedgerUnreadable);

    // A later proof that this version can read says what came before it.
    let proof = custody.proof(head);
    custody.write(proof).await;
    let writer = Ledger::read_on(&bench.store, &bench.settings, &mut memory)
        .await
        .unwrap();
    assert_eq!((writer.next.get(), writer.alarms.len()), (2, 1));
}

#[tokio::test]
async fn an_entry_of_a_foreign_key_does_not_count() {
    let bench = LedgerBench::start().await;
    let foreign = bench.next(2, None).await;
    bench.put_as_root(1, foreign.bytes).await;
    assert_eq!(bench.reason().await, Reason::ForeignSignature);
}

#[tokio::test]
async fn what_is_no_entry_does_not_advance_the_chain() {
    let bench = LedgerBench::start().await;
    bench.put_as_root(1, b"{}\n".to_vec()).await;
    assert_eq!(bench.reason().await, Reason::ForeignSignature);
}

#[tokio::test]
async fn a_second_version_is_an_alarm_and_never_a_break() {
    let bench = LedgerBench::start().await;
    bench.append(None).await;
    let second = bench.append(None).await;
    bench.put_as_root(1, b"something else".to_vec()).await;
    let ledger = bench.read().await;
    assert_eq!(ledger.head_reference().unwrap().digest, second.digest);
    assert!(!ledger.alarms.is_empty());
}

#[tokio::test]
async fn a_lost_reply_to_an_entry_is_recognised_as_our_own_commit() {
    let bench = LedgerBench::start().await;
    let object = bench.next(1, None).await;
    bench
        .bench
        .proxy
        .inject(1, Fault::LoseReply, |method, _| method == Method::PUT);
    commit(&bench.store, &entry(1), &object, PATIENCE).await.unwrap();
    assert_eq!(bench.bench.proxy.faults_left(), 0);
    assert_eq!(bench.read().await.head_reference().unwrap().digest, object.digest);
    assert_eq!(
        bench.bench.minio.keys(BUCKET, "registries/").await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn who_comes_second_is_superseded() {
    let bench = LedgerBench::start().await;
    let (ours, theirs) = (
        bench.next(1, Some("ours")).await,
        bench.next(1, Some("theirs")).await,
    );
    commit(&bench.store, &entry(1), &theirs, PATIENCE).await.unwrap();
    let error = commit(&bench.store, &entry(1), &ours, PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error, CommitError::Superseded { .. }), "{error}");
    assert_eq!(bench.read().await.head_reference().unwrap().digest, theirs.digest);
}

#[tokio::test]
async fn an_entry_that_is_listed_late_or_read_damaged_is_still_our_own() {
    for (fault, asks) in [
        (Fault::Hide, "versions"),
        (Fault::Flip(77), "versionId"),
        (Fault::Truncate(9), "versionId"),
        (Fault::EndlessList, "versions"),
    ] {
        let bench = LedgerBench::start().await;
        let object = bench.next(1, None).await;
        bench
            .bench
            .proxy
            .inject(1, fault, move |_, target| target.contains(asks));
        commit(&bench.store, &entry(1), &object, PATIENCE).await.unwrap();
        assert_eq!(bench.bench.proxy.faults_left(), 0);
        assert_eq!(bench.read().await.head_reference().unwrap().digest, object.digest);
    }
}

#[tokio::test]
async fn a_place_that_holds_no_entry_is_not_told_as_another_writers() {
    let bench = LedgerBench::start().await;
    let object = bench.next(1, None).await;
    let key = entry(1).to_string();
    bench
        .bench
        .minio
        .put(BUCKET, &key, b"junk".to_vec())
        .await
        .unwrap();
    let error = commit(&bench.store, &entry(1), &object, Duration::from_secs(2))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::CommitUnknown, "{error}");
    assert!(
        error.to_string().contains("neither our entry nor another one"),
        "{error}"
    );
    assert_eq!(bench.reason().await, Reason::LedgerUnreadable);
}

#[tokio::test]
async fn a_store_that_never_says_leaves_the_commit_unknown() {
    let bench = LedgerBench::start().await;
    let object = bench.next(1, None).await;
    let unavailable = Fault::Answer(StatusCode::SERVICE_UNAVAILABLE);
    bench
        .bench
        .proxy
        .inject(usize::MAX, unavailable, |method, _| method == Method::PUT);
    let error = commit(&bench.store, &entry(1), &object, Duration::from_secs(2))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::CommitUnknown, "{error}");
}

#[tokio::test]
async fn an_answered_trigger_is_found_further_back() {
    let bench = LedgerBench::start().await;
    bench.append(Some("before the upgrade")).await;
    bench.append(None).await;
    let ledger = bench.read().await;
    let answered = async |trigger: &str| {
        ledger
            .answers(&bench.store, &registry(), &trigger.parse().unwrap())
            .await
            .unwrap()
    };
    assert!(answered("before the upgrade").await);
    assert!(!answered("after the upgrade").await);
}

#[tokio::test]
async fn a_trigger_whose_answer_may_have_stood_in_an_entry_that_is_gone_is_not_answered() {
    let bench = LedgerBench::start().await;
    bench.append(Some("before the upgrade")).await;
    bench.append(None).await;
    let ledger = bench.read().await;
    let gone = Fault::Say {
        status: StatusCode::NOT_FOUND,
        code: "NoSuchKey",
        retry_after: None,
    };
    let first = entry(1).to_string();
    bench
        .bench
        .proxy
        .inject(usize::MAX, gone, move |_, target| target.contains(&first));
    let trigger = "before the upgrade".parse().unwrap();
    let answered = ledger.answers(&bench.store, &registry(), &trigger).await;
    assert!(!answered.unwrap());
}

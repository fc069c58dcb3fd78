//! A copy far back in its chain: what finding it asks of the store, and what somebody has put beside the entries on the way, or in their place.

use dataembassy_contract::Reason;
use dataembassy_ledger::entry::{SourceBody, SourceEntry};
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::value::{CopyId, Sha256Digest, Timestamp};
use dataembassy_sidecar::restore::copy::{Choice, FindError, FoundCopy};
use dataembassy_sidecar::store::{Ledger, LedgerSettings, Store};
use dataembassy_testkit::fabricated::{Depositor, MadeCopy, MadeLedger, Shape};
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::{BUCKET, Minio, StoreUser};
use hyper::Method;

use super::embassy::{Embassy, key};
use crate::bench::{REGISTRY, StoreBench, assert_gate_lets_through, entry, registry, sequence};

/// How many entries the chain has.
const LENGTH: u8 = 45;
/// How many are asked for at once, at most.
const AT_ONCE: usize = 16;

/// A store with a long chain, and the ledger as it was read before anybody looked back.
struct Chain {
    bench: StoreBench,
    /// As who restores reaches it, through the proxy that counts.
    store: Store,
    ledger: Ledger,
    made: Vec<MadeCopy>,
}

impl Chain {
    async fn start() -> Self {
        let bench = StoreBench::start().await;
        let made = make(&bench.minio).await;
        let user = StoreUser::Retrieval {
            registry: REGISTRY.into(),
        };
        let retrieval = bench.minio.add_user(BUCKET, &user).await.unwrap();
        let store = StoreBench::store_as(&bench.settings(BUCKET), &retrieval);
        let trust = LedgerSettings {
            floor: made.last().map(|head| head.reference),
            ..Embassy::trust()
        };
        let ledger = Ledger::read_copies(&store, &trust).await.unwrap();
        Self {
            bench,
            store,
            ledger,
            made,
        }
    }

    fn made(&self, place: u64) -> &MadeCopy {
        &self.made[usize::try_from(place).unwrap() - 1]
    }

    fn digest(&self, place: u64) -> Sha256Digest {
        self.made(place).reference.digest
    }

    /// The digest of the entry that is found, and the targets of the requests which that took.
    async fn find(&self, choice: Choice) -> (Result<Sha256Digest, FindError>, Vec<String>) {
        let before = self.bench.proxy.asked();
        let found = FoundCopy::find(self.store.clone(), &self.ledger, &registry(), choice).await;
        let asked = self.bench.proxy.seen().split_off(before);
        let asked = asked.into_iter().map(|seen| seen.target).collect();
        (found.map(|found| found.digest()), asked)
    }

    /// Puts something beside what stands at a place, or where nothing stands any more.
    async fn put(&self, place: u64, bytes: Vec<u8>) {
        let key = entry(place).to_string();
        self.bench.minio.put(BUCKET, &key, bytes).await.unwrap();
    }

    /// Takes everything at a place away as somebody with root on the store's machine would.
    fn remove(&self, place: u64) {
        let folder = self.bench.minio.data_directory().join(BUCKET);
        std::fs::remove_dir_all(folder.join(entry(place).to_string())).unwrap();
    }

    /// Another entry for a place, right in every way but that the one above does not name it.
    fn rival(&self, place: u64) -> Vec<u8> {
        let mut rival = SourceEntry::verify(&self.made(place).entry.bytes).unwrap().entry;
        let SourceBody::Copy(body) = &mut rival.body;
        body.copy_id = CopyId::from_bytes([0xee; 16]);
        rival.sign(&key(1)).unwrap().bytes
    }
}

/// A chain whose entries all name the same objects, under ids of their own.
async fn make(minio: &Minio) -> Vec<MadeCopy> {
    let mut depositor = Depositor::connect(minio.root(), BUCKET).await.unwrap();
    let origin = depositor.initialise(&key(9)).await.unwrap();
    let mut ledger = MadeLedger::new(origin, registry(), key(1));
    let (body, _) = ledger.objects(&mut depositor, &Shape::default()).await.unwrap();
    let mut made = Vec::new();
    for number in 1..=LENGTH {
        let mut body = body.clone();
        body.copy_id = CopyId::from_bytes([number; 16]);
        body.taken_at = taken_at(number.into());
        let copy = ledger.commit(&mut depositor, (body, Vec::new())).await;
        made.push(copy.unwrap());
    }
    made
}

/// One copy a minute.
fn taken_at(place: u64) -> Timestamp {
    format!("2026-01-01T00:{place:02}:00.000Z").parse().unwrap()
}

fn place(target: &str) -> u64 {
    let path = target.split('?').next().unwrap();
    path.rsplit('-').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_copy_far_back_takes_one_request_for_each_entry_and_the_head_takes_none() {
    let chain = Chain::start().await;
    for (choice, place, requests) in [
        (Choice::Latest, 45, 0),
        (Choice::Sequence(sequence(45)), 45, 0),
        (Choice::AtOrBefore(taken_at(59)), 45, 0),
        (Choice::AtOrBefore(taken_at(44)), 44, 1),
        (Choice::AtOrBefore(taken_at(43)), 43, 2),
        (Choice::Sequence(sequence(3)), 3, 42),
        (Choice::Sequence(sequence(1)), 1, 44),
    ] {
        let (found, asked) = chain.find(choice).await;
        assert_eq!(found.unwrap(), chain.digest(place), "{choice:?}");
        assert_eq!(asked.len(), requests, "{choice:?}: {asked:#?}");
    }
    let (none, asked) = chain.find(Choice::AtOrBefore(taken_at(0))).await;
    assert!(matches!(none, Err(FindError::NoSuchCopy { .. })), "{none:?}");
    assert_eq!(asked.len(), 44, "nothing stands below the first: {asked:#?}");
    // By its time nobody knows where it stands, so what was asked ahead is in vain.
    let (found, asked) = chain.find(Choice::AtOrBefore(taken_at(20))).await;
    assert_eq!(found.unwrap(), chain.digest(20));
    assert!((25..25 + AT_ONCE).contains(&asked.len()), "{asked:#?}");
    assert_gate_lets_through(&chain.bench.proxy.seen(), REGISTRY);
}

#[tokio::test]
async fn what_does_not_come_is_not_read_past() {
    let chain = Chain::start().await;
    let stalled = entry(20).to_string();
    let proxy = &chain.bench.proxy;
    proxy.inject(1, Fault::Stall, move |_, target| target.contains(&stalled));
    let (found, asked) = chain.find(Choice::Sequence(sequence(1))).await;
    let error = found.unwrap_err();
    assert!(error.may_pass(), "{error}");
    let mut places: Vec<u64> = asked.iter().map(|target| place(target)).collect();
    places.sort_unstable();
    let last = 20 - (AT_ONCE as u64 - 1);
    assert_eq!(places, (last..=44).collect::<Vec<_>>(), "each of them once");
}

#[tokio::test]
async fn what_was_put_beside_entries_is_passed_over() {
    let chain = Chain::start().await;
    let root = chain.bench.minio.root();
    chain.put(40, b"junk".to_vec()).await;
    chain.put(39, vec![b'x'; MAX_OBJECT_BYTES + 1]).await;
    chain.put(38, chain.rival(38)).await;
    for number in 0..20 {
        chain.put(37, format!("junk {number}").into_bytes()).await;
    }
    let deleted = format!("/{BUCKET}/{}", entry(36));
    root.expect(Method::DELETE, &deleted, &[], &[], Vec::new())
        .await
        .unwrap();

    let (found, asked) = chain.find(Choice::Sequence(sequence(3))).await;
    assert_eq!(found.unwrap(), chain.digest(3));
    // Beside the newest of each entry a listing and the right version of the five, and what was asked ahead in vain.
    assert!(asked.len() < 42 + 2 * 5 + AT_ONCE, "{asked:#?}");
    let named = chain.made(39).version.to_string();
    let beside = root.versions(BUCKET, &entry(39).to_string()).await.unwrap();
    let too_large = beside.iter().find(|version| version.id != named).unwrap();
    let reads = |id: &str| asked.iter().any(|target| target.contains(id));
    assert!(reads(&named) && !reads(&too_large.id), "{asked:#?}");
}

#[tokio::test]
async fn where_the_entry_that_is_named_is_gone_the_way_ends() {
    let chain = Chain::start().await;
    chain.remove(30);
    for junk in [None, Some(b"junk".to_vec()), Some(chain.rival(30))] {
        if let Some(junk) = junk {
            chain.put(30, junk).await;
        }
        for choice in [Choice::Sequence(sequence(3)), Choice::AtOrBefore(taken_at(30))] {
            let error = chain.find(choice).await.0.unwrap_err();
            assert!(
                matches!(error, FindError::BrokenLink { sequence: 30 }),
                "{choice:?}: {error}"
            );
            assert_eq!(error.reason(), Reason::LedgerGap);
        }
    }
    let (above, _) = chain.find(Choice::Sequence(sequence(31))).await;
    assert_eq!(above.unwrap(), chain.digest(31));
}

//! A reader that starts late, and one that goes on from its last look: few requests, and nothing of what was seen is taken back.

use dataembassy_contract::Reason;
use dataembassy_ledger::SigningKey;
use dataembassy_ledger::chain::{Alarm, SignerRange};
use dataembassy_ledger::entry::{
    Chain, ConfirmBody, CustodyBody, EntryRef, OpeningKind, PinBody, ProofBody, SourceBody,
};
use dataembassy_sidecar::store::init::initialise;
use dataembassy_sidecar::store::{Ledger, LedgerError, LedgerMemory, LedgerSettings, Store, StoreError};
use dataembassy_testkit::fabricated::Depositor;
use dataembassy_testkit::minio::BUCKET;

use crate::bench::custody::{CustodyWriter, custodian, custody_folder, custody_key, put, somewhere, trusted};
use crate::bench::{self, REGISTRY, StoreBench, assert_gate_lets_through, registry, sequence};

fn home() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

struct Bench {
    place: StoreBench,
    /// The store as home reaches it, through the proxy that counts.
    store: Store,
    custody: CustodyWriter,
    settings: LedgerSettings,
    memory: LedgerMemory,
}

impl Bench {
    async fn start() -> Self {
        let bench = StoreBench::start().await;
        let custody = bench.custody().await;
        initialise(&custody, &custodian()).await.unwrap();
        Self {
            store: bench.deposit().await,
            custody: CustodyWriter::begin(custody).await,
            settings: LedgerSettings {
                registry: registry(),
                signers: vec![SignerRange::always(home().public_key())],
                custodians: trusted(),
                floor: None,
            },
            place: bench,
            memory: LedgerMemory::of_the_writer(),
        }
    }

    /// Reads without memory.
    async fn read(&self) -> Result<Ledger, LedgerError> {
        Ledger::read(&self.store, &self.settings).await
    }

    /// Looks again.
    async fn look(&mut self) -> Result<Ledger, LedgerError> {
        Ledger::read_on(&self.store, &self.settings, &mut self.memory).await
    }

    /// How many requests have gone through the proxy.
    fn requests(&self) -> usize {
        self.place.proxy.asked()
    }

    /// Commits a copy that names the custody head as its writer has read it.
    async fn copy(&self) -> EntryRef {
        let ledger = self.read().await.unwrap();
        let mut copy = bench::copy_entry(&ledger, None);
        copy.header.term = ledger.view.current_term();
        let SourceBody::Copy(body) = &mut copy.body;
        body.custody_head = ledger.view.head();
        let object = copy.sign(&home()).unwrap();
        let reference = EntryRef {
            sequence: copy.header.sequence,
            digest: object.digest,
        };
        put(&self.store, &copy.object_key(), object).await;
        reference
    }

    /// Takes an entry away as somebody with root on the store's machine would.
    fn remove(&self, number: u64) {
        let folder = self
            .place
            .minio
            .data_directory()
            .join(BUCKET)
            .join(custody_folder(number));
        std::fs::remove_dir_all(folder).unwrap();
    }

    async fn put_as_root(&self, number: u64, bytes: Vec<u8>) {
        let key = custody_key(number).to_string();
        self.place.minio.put(BUCKET, &key, bytes).await.unwrap();
    }

    fn pin(number: u64) -> CustodyBody {
        CustodyBody::Pin(PinBody {
            source_sequence: sequence(number),
            pinned: true,
            reason: None,
        })
    }
}

#[tokio::test]
async fn a_ledger_with_ten_thousand_custody_entries_takes_a_handful_of_requests() {
    let mut bench = Bench::start().await;
    let head = bench.copy().await;
    let embassy = SigningKey::from_seed(&[3; 32]);
    // What must not be missed lies far back: an activation and a pin, after them only proofs.
    let mut entries = vec![
        bench.custody.sign(
            bench
                .custody
                .opening(OpeningKind::Activation, Some(head), &embassy),
        ),
        bench.custody.sign(Bench::pin(1)),
    ];
    while entries.len() < 10_000 {
        let proof = bench.custody.proof(head);
        entries.push(bench.custody.sign(proof));
    }
    // Past our own client, which would work for most of a minute: what is shown is how they are read.
    let root = bench.place.minio.root();
    let lines = entries.chunks(entries.len().div_ceil(8)).map(|part| async move {
        let mut depositor = Depositor::connect(root, BUCKET).await.unwrap();
        for (key, object) in part {
            depositor.put(key, &object.bytes).await.unwrap();
        }
    });
    futures::future::join_all(lines).await;

    let before = bench.requests();
    let ledger = bench.look().await.unwrap();
    let asked = bench.requests() - before;
    assert!(asked <= 14, "{asked} requests");
    assert_eq!(ledger.view.head(), bench.custody.view.head());
    assert_eq!(ledger.view.standing(), bench.custody.view.standing());
    assert_eq!(ledger.head_reference(), Some(head));
    let may = |key: &SigningKey| {
        let signers = &bench.settings.signers;
        ledger
            .view
            .may_write(key.public_key(), signers, ledger.next, None)
            .is_ok()
    };
    assert!(may(&embassy) && !may(&home()));

    let before = bench.requests();
    bench.look().await.unwrap();
    assert_eq!(
        bench.requests() - before,
        3,
        "embassy.json and a listing of each chain"
    );
    assert_gate_lets_through(&bench.place.proxy.seen(), REGISTRY);
}

#[tokio::test]
async fn a_look_reads_only_what_is_new() {
    let mut bench = Bench::start().await;
    let head = bench.copy().await;
    bench.custody.write(bench.custody.proof(head)).await;
    bench.look().await.unwrap();
    bench.custody.write(Bench::pin(1)).await;
    let before = bench.requests();
    let ledger = bench.look().await.unwrap();
    assert_eq!(
        bench.requests() - before,
        4,
        "embassy.json, two listings, the new entry"
    );
    assert_eq!(ledger.view.head(), bench.custody.view.head());
    let head = bench.copy().await;
    let before = bench.requests();
    assert_eq!(bench.look().await.unwrap().head_reference(), Some(head));
    assert_eq!(
        bench.requests() - before,
        4,
        "embassy.json, two listings, the new copy"
    );
}

#[tokio::test]
async fn a_reader_starts_further_back_where_the_last_proofs_say_nothing_of_what_came_before() {
    let mut bench = Bench::start().await;
    let head = bench.copy().await;
    bench.custody.write(Bench::pin(1)).await;
    bench.custody.write(bench.custody.proof(head)).await;
    bench.custody.write(Bench::pin(2)).await;
    for _ in 0..3 {
        bench
            .custody
            .write(CustodyBody::Proof(ProofBody::new(head)))
            .await;
    }
    let ledger = bench.read().await.unwrap();
    assert_eq!(ledger.view.standing(), bench.custody.view.standing());
    assert_eq!(ledger.view.head(), bench.custody.view.head());
    let seen = bench.place.proxy.seen();
    let asked = |number: u64| {
        let read = format!("custody/{number:012}?");
        seen.iter().any(|request| request.target.contains(&read))
    };
    assert!(asked(2) && !asked(1));
}

#[tokio::test]
async fn a_chain_without_such_a_proof_is_read_from_its_first_entry() {
    let mut bench = Bench::start().await;
    let head = bench.copy().await;
    bench.custody.write(Bench::pin(1)).await;
    bench
        .custody
        .write(CustodyBody::Proof(ProofBody::new(head)))
        .await;
    bench
        .custody
        .write(CustodyBody::Confirm(ConfirmBody { source_head: head }))
        .await;
    let ledger = bench.read().await.unwrap();
    assert_eq!(ledger.view.standing(), bench.custody.view.standing());
    assert!(ledger.view.is_confirmed() && ledger.alarms.is_empty());
}

#[tokio::test]
async fn a_proof_that_no_trusted_custodian_signed_is_no_place_to_start() {
    let mut bench = Bench::start().await;
    let head = bench.copy().await;
    let embassy = SigningKey::from_seed(&[3; 32]);
    bench
        .custody
        .write(
            bench
                .custody
                .opening(OpeningKind::Activation, Some(head), &embassy),
        )
        .await;
    bench.custody.write(bench.custody.proof(head)).await;
    // A forged proof, right in every other way, that forgets the activation: as home's own key and as a stranger's.
    let mut liar = CustodyWriter::begin(bench.custody.store.clone()).await;
    liar.sign(CustodyBody::Proof(ProofBody::new(head)));
    liar.sign(CustodyBody::Proof(ProofBody::new(head)));
    for seed in [1, 8] {
        let forged = liar.sign_as(liar.proof(head), &SigningKey::from_seed(&[seed; 32]));
        bench.put_as_root(3, forged.bytes).await;
    }
    bench.put_as_root(4, b"no entry at all".to_vec()).await;
    bench.put_as_root(999_999_999_999, b"far ahead".to_vec()).await;
    let ledger = bench.read().await.unwrap();
    assert_eq!(ledger.view.standing(), bench.custody.view.standing());
    assert_eq!(ledger.view.openings().len(), 1);
    assert!(
        ledger
            .alarms
            .iter()
            .any(|alarm| matches!(alarm, Alarm::ForeignSignature { .. }))
    );
    // The custodian goes on beside what took its place.
    let (_, object) = bench.custody.sign(Bench::pin(1));
    bench.put_as_root(3, object.bytes).await;
    assert_eq!(
        bench.read().await.unwrap().view.standing(),
        bench.custody.view.standing()
    );
}

#[tokio::test]
async fn who_may_only_deposit_cannot_write_the_custody_chain() {
    let mut bench = Bench::start().await;
    let head = bench.copy().await;
    bench.custody.write(bench.custody.proof(head)).await;
    let (key, object) = bench.custody.sign(Bench::pin(1));
    let refused = bench.store.put(&key, object.bytes.into(), object.digest).await;
    assert!(
        matches!(refused, Err(StoreError::AccessDenied { .. })),
        "{refused:?}"
    );
    assert_eq!(
        bench.read().await.unwrap().view.head().unwrap().sequence,
        sequence(1)
    );
}

#[tokio::test]
async fn what_was_seen_of_the_custody_chain_cannot_be_taken_back() {
    let mut bench = Bench::start().await;
    let head = bench.copy().await;
    bench.custody.write(bench.custody.proof(head)).await;
    let embassy = SigningKey::from_seed(&[3; 32]);
    bench
        .custody
        .write(
            bench
                .custody
                .opening(OpeningKind::Activation, Some(head), &embassy),
        )
        .await;
    assert_eq!(bench.look().await.unwrap().view.openings().len(), 1);
    bench.remove(2);
    for _ in 0..2 {
        let error = bench.look().await.unwrap_err();
        assert_eq!(error.reason(), Reason::RolledBack, "{error}");
        assert!(
            error.to_string().contains("custody chain is below or beside"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_writer_believes_its_own_entries_about_the_custody_head_and_others_are_told() {
    let mut bench = Bench::start().await;
    let head = bench.copy().await;
    bench.custody.write(bench.custody.proof(head)).await;
    bench.custody.write(Bench::pin(1)).await;
    bench.copy().await;
    bench.look().await.unwrap();
    bench.remove(2);
    bench.memory = LedgerMemory::of_the_writer();
    let error = bench.look().await.unwrap_err();
    assert_eq!(error.reason(), Reason::RolledBack, "{error}");
    // A home that lies about it must not keep the embassy from restoring.
    let ledger = bench.read().await.unwrap();
    let told = |alarm: &Alarm| {
        matches!(
            alarm,
            Alarm::RolledBack {
                chain: Chain::Custody,
                ..
            }
        )
    };
    assert!(ledger.alarms.iter().any(told), "{:?}", ledger.alarms);
}

#[tokio::test]
async fn an_entry_that_was_lost_stops_the_reader_until_a_later_proof_says_what_came_before() {
    let mut bench = Bench::start().await;
    let head = bench.copy().await;
    bench.custody.write(bench.custody.proof(head)).await;
    bench.look().await.unwrap();
    bench.custody.write(Bench::pin(1)).await;
    bench.custody.write(Bench::pin(2)).await;
    bench.remove(2);
    for error in [bench.look().await.unwrap_err(), bench.read().await.unwrap_err()] {
        assert_eq!(error.reason(), Reason::LedgerGap, "{error}");
    }
    bench.custody.write(bench.custody.proof(head)).await;
    let ledger = bench.look().await.unwrap();
    assert_eq!(ledger.view.standing(), bench.custody.view.standing());
    assert!(
        matches!(ledger.alarms[..], [Alarm::Gap { .. }]),
        "{:?}",
        ledger.alarms
    );
    let ledger = bench.look().await.unwrap();
    assert!(ledger.alarms.is_empty(), "{:?}", ledger.alarms);
}

#[tokio::test]
async fn a_reader_without_custodian_keys_reads_the_source_chain_alone() {
    let mut bench = Bench::start().await;
    let head = bench.copy().await;
    bench.custody.write(bench.custody.proof(head)).await;
    bench.settings.custodians.clear();
    let ledger = bench.read().await.unwrap();
    assert_eq!((ledger.view.head(), ledger.head_reference()), (None, Some(head)));
}

#[tokio::test]
async fn a_chain_of_a_key_that_is_not_trusted_is_not_searched_again_and_again() {
    let mut bench = Bench::start().await;
    bench.custody.signer = SigningKey::from_seed(&[8; 32]);
    for number in 1..=20 {
        bench.custody.write(bench.custody.proof(somewhere(number))).await;
    }
    let ledger = bench.look().await.unwrap();
    assert_eq!(ledger.view.head(), None);
    assert!(matches!(ledger.alarms[0], Alarm::ForeignSignature { .. }));
    let before = bench.requests();
    bench.look().await.unwrap();
    let asked = bench.requests() - before;
    assert!(asked <= 9, "{asked} requests");
}

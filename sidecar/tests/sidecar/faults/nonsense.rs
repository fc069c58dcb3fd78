//! Servers that answer without an end, or nonsense: whoever asks them gives up with a reason, and has taken little.

use std::time::{Duration, Instant};

use crate::bench::{StoreBench, entry, sha256};
use crate::support::{network, source, take};
use dataembassy_contract::Reason;
use dataembassy_ledger::SigningKey;
use dataembassy_sidecar::store::init::initialise;
use dataembassy_sidecar::store::{Ledger, LedgerSettings, PutOutcome, Requirements, StoreError, probe};
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::postgresql::{DatabaseToxic, FaultRelay, Place, Server};
use dataembassy_testkit::seed::Dice;
use hyper::Method;

/// What anybody may take of an answer that is no object.
const MOST_TAKEN: u64 = 32 * 1024 * 1024;

async fn bench() -> (StoreBench, LedgerSettings) {
    let bench = StoreBench::start().await;
    initialise(&bench.custody().await, &SigningKey::from_seed(&[9; 32]))
        .await
        .unwrap();
    let settings = LedgerSettings {
        registry: crate::bench::registry(),
        signers: Vec::new(),
        custodians: Vec::new(),
        floor: None,
    };
    (bench, settings)
}

#[tokio::test]
async fn of_an_answer_without_an_end_little_is_taken() {
    let (bench, settings) = bench().await;
    let store = bench.deposit().await;
    for what in ["versioning", "object-lock", "versions"] {
        let matches = move |_: &Method, target: &str| target.contains(what);
        bench.proxy.inject(1, Fault::Endless, matches);
        let before = bench.proxy.endless_taken();
        let begun = Instant::now();
        let demanded = Requirements {
            governance_suffices: false,
            least_days: 1,
        };
        let reason = if what == "versions" {
            Ledger::read(&store, &settings).await.unwrap_err().reason()
        } else {
            probe(&store, demanded).await.unwrap_err().reason()
        };
        assert_eq!(reason, Reason::StoreFailed, "{what}");
        let taken = bench.proxy.endless_taken() - before;
        assert!(
            taken < MOST_TAKEN,
            "{what}: {taken} bytes in {:?}",
            begun.elapsed()
        );
        assert_eq!(bench.proxy.faults_left(), 0);
    }
    bench
        .proxy
        .inject(1, Fault::Endless, |method, _| method == Method::PUT);
    let put = store.put(&entry(1), b"entry"[..].into(), sha256(b"entry")).await;
    assert!(matches!(put, Ok(PutOutcome::Stored(_)) | Err(_)), "{put:?}");
    assert!(bench.proxy.endless_taken() < 4 * MOST_TAKEN);
    // It goes on as if nothing had been.
    bench.proxy.heal();
    assert!(!store.versions_of(&entry(1)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_listing_that_never_comes_to_its_end_is_not_followed() {
    let (bench, settings) = bench().await;
    let store = bench.deposit().await;
    store
        .put(&entry(1), b"entry"[..].into(), sha256(b"entry"))
        .await
        .unwrap();
    bench.proxy.inject(usize::MAX, Fault::EndlessList, |_, _| true);
    let asked = tokio::time::timeout(Duration::from_secs(20), store.versions_of(&entry(1))).await;
    let error = asked.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::NotUnderstood { .. }), "{error}");
    let read = tokio::time::timeout(Duration::from_secs(20), Ledger::read(&store, &settings)).await;
    assert_eq!(read.unwrap().unwrap_err().reason(), Reason::StoreFailed);
    bench.proxy.heal();
    assert_eq!(store.versions_of(&entry(1)).await.unwrap().len(), 1);
}

/// How many answers are changed, by one bit or by what is missing at their end.
const CHANGED: u64 = 1_000;

#[tokio::test]
async fn an_answer_of_the_store_that_was_changed_at_any_place_is_understood_or_refused() {
    answers_are_changed(CHANGED).await;
}

#[tokio::test]
#[ignore = "long: twenty thousand answers take a quarter of an hour"]
async fn each_of_twenty_thousand_answers_that_were_changed_is_understood_or_refused() {
    answers_are_changed(20 * CHANGED).await;
}

async fn answers_are_changed(count: u64) {
    let dice = Dice::of_the_environment("a store whose answers are changed");
    let (bench, settings) = bench().await;
    let store = bench.deposit().await;
    for sequence in 1..=4 {
        store
            .put(&entry(sequence), b"entry"[..].into(), sha256(b"entry"))
            .await
            .unwrap();
    }
    let demanded = Requirements {
        governance_suffices: false,
        least_days: 1,
    };
    let (mut places, mut refused) = (dice.part("places"), 0);
    for round in 0..count {
        let place = places.below(1 << 15);
        let fault = if round % 2 == 0 {
            Fault::Flip(place)
        } else {
            Fault::Truncate(1 + place % 1_024)
        };
        bench.proxy.inject(1, fault, |_, _| true);
        let asked = async {
            match round / 2 % 5 {
                0 => store.versions_of(&entry(1)).await.map(drop).is_err(),
                1 => store.folders("registries/").await.map(drop).is_err(),
                2 => probe(&store, demanded).await.is_err(),
                // What is missing is told in XML too.
                3 => store.open(&entry(9), None).await.map(drop).is_err(),
                _ => Ledger::read(&store, &settings).await.is_err(),
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(30), asked).await;
        let ended = asked.unwrap_or_else(|_| panic!("round {round} does not end: {}", dice.how_to_replay()));
        refused += u64::from(ended);
        assert_eq!(bench.proxy.faults_left(), 0, "round {round}");
        bench.proxy.heal();
    }
    assert!(refused > count / 5, "only {refused} were refused");
    assert_eq!(store.versions_of(&entry(1)).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_talks_nonsense_ends_a_dump_with_a_reason_at_every_place() {
    let dice = Dice::of_the_environment("a database that talks nonsense");
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute("CREATE TABLE person AS SELECT generate_series(1, 2000) AS id")
        .await
        .unwrap();
    let relay = FaultRelay::start(server).await.unwrap();
    let mut through = source(server, &database.name);
    network(&mut through).port = relay.port();
    for round in 0..8 {
        for toxic in [DatabaseToxic::Garbage, DatabaseToxic::EndlessMessage] {
            let mut has_struck = false;
            for (place, farthest) in [Place::ANYWHERE, Place::FIRST].into_iter().enumerate() {
                if has_struck {
                    break;
                }
                let name = format!("{toxic:?} {round} {place}");
                relay.poison_within(toxic, &mut dice.part(&name), farthest);
                let taken = tokio::time::timeout(Duration::from_mins(1), take(&through)).await;
                has_struck = relay.met() > 0;
                match taken.unwrap_or_else(|_| panic!("{name}: the dump does not end")) {
                    Err(error) => assert!(error.reason() != Reason::InternalError, "{name}: {error}"),
                    // The place lies beyond all that was said, or where nobody listened any more; the first connection's beginning does not.
                    Ok(_) => assert_eq!(place, 0, "{name}: nonsense was understood"),
                }
                relay.heal();
            }
            assert!(has_struck, "{toxic:?} has struck nothing in round {round}");
        }
    }
    take(&through).await.unwrap();
}

//! A store whose XML is made up: nested without sense, without an end to its words, full of entities or of nothing. Whatever was asked ends with a
//! reason, in words that a person can read, and whoever asked has taken little.

use std::time::{Duration, Instant};

use crate::bench::custodian::CustodianBench;
use crate::bench::{REGISTRY, StoreBench, entry, registry, sha256};
use dataembassy_contract::Reason;
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::SigningKey;
use dataembassy_ledger::value::VersionId;
use dataembassy_sidecar::store::init::initialise;
use dataembassy_sidecar::store::{
    Ledger, LedgerSettings, PutOutcome, Requirements, Store, StoreError, probe,
};
use dataembassy_testkit::fabricated::Shape;
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::invented_xml::{Invention, Root};
use dataembassy_testkit::seed::Dice;
use hyper::{Method, StatusCode};

use super::{MOST_MEMORY, assert_no_panic};

/// How many answers are made up.
const MADE_UP: u64 = 1_000;
/// The longest that a person may have to read.
const MOST_LETTERS: usize = 2_000;
/// As many empty elements as fit into what is read of an answer.
const AS_MANY_AS_FIT: u64 = 800_000;
/// What was found wrong is looked at again after half a minute, whether it was a lie or not.
const HEALING: Duration = Duration::from_secs(150);
/// With what a store refuses.
const REFUSALS: [StatusCode; 6] = [
    StatusCode::BAD_REQUEST,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::INSUFFICIENT_STORAGE,
];

/// What a store is asked.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Versions,
    Folders,
    Versioning,
    Lock,
    Object,
    Head,
    Put,
    Ledger,
}

const ASKED: [Asked; 8] = [
    Asked::Versions,
    Asked::Folders,
    Asked::Versioning,
    Asked::Lock,
    Asked::Object,
    Asked::Head,
    Asked::Put,
    Asked::Ledger,
];

impl Asked {
    /// What an answer to it would be, and what its target has that is to be answered so; none where only a refusal has words.
    const fn root(self) -> (Option<Root>, &'static str) {
        match self {
            Self::Versions | Self::Ledger => (Some(Root::Versions), "versions"),
            Self::Folders => (Some(Root::Objects), "list-type"),
            Self::Versioning => (Some(Root::Versioning), "versioning"),
            Self::Lock => (Some(Root::Lock), "object-lock"),
            Self::Object | Self::Head | Self::Put => (None, "/source/"),
        }
    }

    async fn of(self, store: &Store, version: &VersionId) -> Result<(), (Reason, String)> {
        let told = |error: StoreError| (error.reason(), error.to_string());
        let demanded = Requirements {
            governance_suffices: false,
            least_days: 1,
        };
        match self {
            Self::Versions => store.versions_of(&entry(1)).await.map(drop).map_err(told),
            Self::Folders => store.folders("registries/").await.map(drop).map_err(told),
            Self::Versioning | Self::Lock => probe(store, demanded).await.map(drop).map_err(told),
            Self::Object => store.open(&entry(1), None).await.map(drop).map_err(told),
            Self::Head => store.head(&entry(1), version).await.map(drop).map_err(told),
            Self::Put => {
                let key = entry(2);
                let put = store.put(&key, b"entry"[..].into(), sha256(b"entry"));
                put.await.map(drop).map_err(told)
            }
            Self::Ledger => {
                let settings = LedgerSettings {
                    registry: registry(),
                    signers: Vec::new(),
                    custodians: Vec::new(),
                    floor: None,
                };
                let read = Ledger::read(store, &settings).await;
                read.map(drop)
                    .map_err(|error| (error.reason(), error.to_string()))
            }
        }
    }
}

async fn answers_are_made_up(count: u64) {
    let dice = Dice::of_the_environment("a store whose answers are made up");
    let bench = StoreBench::start().await;
    initialise(&bench.custody().await, &SigningKey::from_seed(&[9; 32]))
        .await
        .unwrap();
    let store = bench.deposit().await;
    let put = store.put(&entry(1), b"entry"[..].into(), sha256(b"entry")).await;
    let Ok(PutOutcome::Stored(version)) = put else {
        panic!("{put:?}")
    };
    let mut refused = 0;
    for round in 0..count {
        let mut dice = dice.part(&format!("round {round}"));
        let invention = Invention::ALL[dice.place(Invention::ALL.len())];
        let asked = ASKED[dice.place(ASKED.len())];
        let (root, part) = asked.root();
        let (status, root) = match root {
            Some(root) if dice.below(4) > 0 => (StatusCode::OK, root),
            _ => (REFUSALS[dice.place(REFUSALS.len())], Root::Error),
        };
        let name = format!("round {round}, {asked:?}, {status}, {invention:?}");
        let answer = invention.answer(root, &entry(1).to_string(), &mut dice);
        bench
            .proxy
            .inject(1, Fault::Tell(status, answer), move |_, target| {
                target.contains(part)
            });
        let ended = tokio::time::timeout(Duration::from_secs(30), asked.of(&store, &version)).await;
        let ended = ended.unwrap_or_else(|_| panic!("{name} does not end"));
        assert_eq!(bench.proxy.faults_left(), 0, "{name} was not met");
        bench.proxy.heal();
        if let Err((reason, message)) = ended {
            refused += 1;
            assert!(reason != Reason::InternalError, "{name}: {message}");
            let letters = message.chars().count();
            assert!((1..MOST_LETTERS).contains(&letters), "{name}: {letters} letters");
            assert!(!message.chars().any(char::is_control), "{name}: {message:?}");
        } else {
            assert_eq!(status, StatusCode::OK, "{name}: a refusal was taken for none");
        }
    }
    assert!(refused > count / 5, "only {refused} were refused");
    assert_eq!(store.versions_of(&entry(1)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_of_the_store_that_was_made_up_is_understood_or_refused_in_few_words() {
    answers_are_made_up(MADE_UP).await;
}

#[tokio::test]
#[ignore = "long: twenty thousand answers take many minutes"]
async fn each_of_twenty_thousand_answers_that_were_made_up_is_understood_or_refused_in_few_words() {
    answers_are_made_up(20 * MADE_UP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custodian_whose_store_makes_long_answers_up_takes_little_and_knows_all_when_it_is_over() {
    let mut dice = Dice::of_the_environment("a custodian and long answers that are made up");
    let mut bench = CustodianBench::start().await;
    bench.copies(2, &Shape::default()).await;
    let custodian = bench.custodian();
    let both = |report: &dataembassy_contract::custodian::RegistryReport| {
        report.verification.verified == 2
            && report.ledger.state == CheckState::True
            && report.alarms.is_empty()
    };
    custodian.until_registry("both copies", both).await;
    for invention in Invention::ALL {
        let count = if invention == Invention::ManyEmpty {
            AS_MANY_AS_FIT
        } else {
            Invention::MOST
        };
        let prefix = format!("registries/{REGISTRY}/source/");
        let answer = invention.answer_of(count, Root::Versions, &prefix, &mut dice);
        let is_listing = |method: &Method, target: &str| {
            *method == Method::GET && target.contains("versions") && target.contains("source")
        };
        bench
            .proxy
            .inject(1, Fault::Tell(StatusCode::OK, answer), is_listing);
        let begun = Instant::now();
        while bench.proxy.faults_left() > 0 {
            assert!(begun.elapsed() < HEALING, "{invention:?}: nobody looks");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    bench.proxy.heal();
    let begun = Instant::now();
    while !custodian.registry().await.is_some_and(|report| both(&report)) {
        let report = custodian.registry().await;
        assert!(begun.elapsed() < HEALING, "{report:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let peak = custodian.peak_kibibytes();
    assert!(peak < MOST_MEMORY, "the custodian took {peak} KiB");
    assert_no_panic(&bench.log());
}

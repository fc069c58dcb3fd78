//! A restore from a store, or into a database, that has each fault there is: it fails with a reason, or what it restored is the copy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bench::sequence;
use crate::restore::embassy::Embassy;
use crate::sealed::{Making, OWNER, options, seal_with, target};
use crate::support::{network, plain_copy, source, source_as};
use dataembassy_archive::Identities;
use dataembassy_contract::{Reason, restore::IfNotEmpty};
use dataembassy_ledger::entry::EntryRef;
use dataembassy_sidecar::postgresql::source::Source;
use dataembassy_sidecar::restore::Options;
use dataembassy_sidecar::restore::copy::{Choice, StoredCopy};
use dataembassy_sidecar::restore::{progress::Progress, restore};
use dataembassy_sidecar::store::Ledger;
use dataembassy_testkit::fault_proxy::{Fault, Toxic};
use dataembassy_testkit::postgresql::{Database, DatabaseToxic, FaultRelay, Server};
use dataembassy_testkit::seed::Dice;
use hyper::Method;
use jiff::Timestamp;

use super::{PLACES, assert_patient, each, poison};

/// The longest that a restore of this little may take, a store that says nothing included.
const DEADLINE: Duration = Duration::from_mins(1);
/// How long a database may say nothing before the restore is told to end, as a Job's deadline does.
const SILENCE: Duration = Duration::from_secs(8);

const CONTENT: &str = "CREATE TABLE person (id int PRIMARY KEY, name text);
    INSERT INTO person SELECT n, md5(n::text) FROM generate_series(1, 3000) n;
    CREATE TABLE huge (value text); INSERT INTO huge VALUES (repeat('x', 400000));
    CREATE TABLE copies (number int); INSERT INTO copies VALUES (1);
    SELECT lo_from_bytea(4711, 'small');";
const COMPARED: [&str; 4] = [
    "SELECT * FROM person ORDER BY id",
    "SELECT md5(value) FROM huge",
    "SELECT number FROM copies",
    "SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid",
];

/// A store with two copies, and where the second one is restored into again and again.
struct Subject {
    embassy: Embassy,
    database: Database,
    target: Database,
    /// A moment at which there was only the first copy.
    between: Timestamp,
    head: EntryRef,
}

impl Subject {
    async fn start() -> Self {
        let (embassy, server) = (Embassy::start().await, Server::shared(17));
        let database = server.database().await.unwrap();
        database.execute(CONTENT).await.unwrap();
        let publish = async |id: u8| {
            let making = Making {
                cut: 2,
                copy: id,
                ..Making::default()
            };
            let copy = seal_with(&source(server, &database.name), making).await;
            embassy.publish(&copy, id).await;
        };
        publish(7).await;
        let between = Timestamp::now();
        database.execute("UPDATE copies SET number = 2").await.unwrap();
        publish(8).await;
        let ledger = Ledger::read(&embassy.retrieval(), &Embassy::trust())
            .await
            .unwrap();
        assert_eq!(ledger.next, sequence(3));
        Self {
            target: target(server).await,
            head: ledger.head_reference().unwrap(),
            embassy,
            database,
            between,
        }
    }

    /// Restores the latest copy, over whatever an earlier try has left.
    async fn restore(&self, into: &Source) -> Result<(), (Reason, String)> {
        let identities = Identities::parse(&self.embassy.identity).unwrap();
        let mut trust = Embassy::trust();
        trust.floor = Some(self.head);
        let store = self.embassy.retrieval();
        let copy = StoredCopy::open(store, &trust, Choice::Latest, &identities).await;
        let copy = copy.map_err(|error| (error.reason(), error.to_string()))?;
        let options = Options {
            if_not_empty: IfNotEmpty::Replace,
            ..options()
        };
        let restored = restore(&Arc::new(copy), into, &options, &Progress::default()).await;
        restored
            .map(drop)
            .map_err(|error| (error.reason(), error.to_string()))
    }

    fn way_in(&self) -> Source {
        source_as(self.target.server, &self.target.name, OWNER)
    }

    /// Restores while something is wrong with the store, and again if that failed; whether it has struck any request.
    async fn suffers(&self, toxic: Toxic, name: &str, dice: &mut Dice, farthest: u64) -> bool {
        let proxy = &self.embassy.bench.proxy;
        let (begun, before) = (Instant::now(), proxy.asked());
        if toxic == Toxic::StaleList {
            proxy.inject(usize::MAX, Fault::ListAsOf(self.between), |_, _| true);
        } else {
            poison(proxy, toxic, dice, farthest, |_, _| true);
        }
        let restored = tokio::time::timeout(DEADLINE, self.restore(&self.way_in())).await;
        let has_struck = proxy.faults_met() > 0;
        assert_patient(name, proxy.asked() - before, begun);
        proxy.heal();
        match restored.unwrap_or_else(|_| panic!("{name}: the restore does not end")) {
            Ok(()) => self.assert_equal(name),
            Err(told) => {
                assert_told(name, &told);
                assert!(!toxic.is_harmless(), "{name}: {told:?}");
                let again = tokio::time::timeout(DEADLINE, self.restore(&self.way_in())).await;
                again
                    .unwrap()
                    .unwrap_or_else(|told| panic!("{name} was over: {told:?}"));
                self.assert_equal(name);
            }
        }
        has_struck
    }

    fn assert_equal(&self, name: &str) {
        for query in COMPARED {
            let (source, target) = (plain_copy(&self.database, query), plain_copy(&self.target, query));
            assert_eq!(source, target, "{name}: {query}");
        }
    }
}

fn assert_told(name: &str, (reason, message): &(Reason, String)) {
    assert!(
        *reason != Reason::InternalError && !message.is_empty(),
        "{name}: {reason}: {message}"
    );
}

async fn restores_from_a_bad_store(rounds: u64) {
    let dice = Dice::of_the_environment("the restore's matrix, store");
    let subject = Subject::start().await;
    for (toxic, name, mut dice) in each(&dice, rounds, Toxic::ALL) {
        // A restore puts nothing.
        if !toxic.meets(&Method::GET) {
            continue;
        }
        let mut has_struck = false;
        for farthest in PLACES {
            has_struck = has_struck || subject.suffers(toxic, &name, &mut dice, farthest).await;
        }
        assert!(has_struck, "{name} has struck nothing");
    }
}

async fn restores_into_a_bad_database(rounds: u64) {
    let dice = Dice::of_the_environment("the restore's matrix, database");
    let subject = Subject::start().await;
    let relay = FaultRelay::start(subject.target.server).await.unwrap();
    let mut through = subject.way_in();
    network(&mut through).port = relay.port();
    for (toxic, name, mut dice) in each(&dice, rounds, DatabaseToxic::ALL) {
        relay.poison(toxic, &mut dice);
        // A database may be busy for hours with one statement, so silence ends nothing by itself: the Job's deadline does.
        let patience = if toxic.is_silent() { SILENCE } else { DEADLINE };
        let restored = tokio::time::timeout(patience, subject.restore(&through)).await;
        relay.heal();
        let has_restored = match &restored {
            Ok(Ok(())) => true,
            Ok(Err(told)) => {
                assert_told(&name, told);
                false
            }
            Err(_) => {
                assert!(toxic.is_silent(), "{name}: the restore does not end");
                false
            }
        };
        assert!(has_restored || !toxic.is_harmless(), "{name}: {restored:?}");
        if !has_restored {
            let again = tokio::time::timeout(DEADLINE, subject.restore(&through)).await;
            again
                .unwrap()
                .unwrap_or_else(|told| panic!("{name} was over: {told:?}"));
        }
        subject.assert_equal(&name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_from_a_bad_store_fails_with_a_reason_or_is_the_copy() {
    restores_from_a_bad_store(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_into_a_bad_database_fails_with_a_reason_or_is_the_copy() {
    restores_into_a_bad_database(1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: each fault at ten places, which takes many minutes"]
async fn a_restore_amid_each_fault_at_many_places_fails_with_a_reason_or_is_the_copy() {
    restores_from_a_bad_store(10).await;
    restores_into_a_bad_database(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_list_is_not_taken_for_the_latest_copy_by_who_knows_better() {
    let subject = Subject::start().await;
    let stale = Fault::ListAsOf(subject.between);
    subject.embassy.bench.proxy.inject(usize::MAX, stale, |_, _| true);
    let (reason, message) = subject.restore(&subject.way_in()).await.unwrap_err();
    assert_eq!(reason, Reason::RolledBack, "{message}");
}

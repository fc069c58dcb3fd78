//! A name that changes its answer between the check and the use. Whoever connects has asked once and goes to the addresses that were
//! judged; to where the name leads the next moment no connection is ever made.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dataembassy_contract::sovereignty::{Loopback, Sovereignty};
use dataembassy_contract::{Endpoint, Reason};
use dataembassy_sidecar::postgresql::source::{AddressGuard, Source};
use dataembassy_sidecar::postgresql::{Connection, ConnectionError};
use dataembassy_sidecar::resolver::Resolver;
use dataembassy_sidecar::store::{StoreError, StoreSettings};
use dataembassy_testkit::minio::BUCKET;
use dataembassy_testkit::postgresql::{Database, Server};
use futures::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::bench::{StoreBench, entry};
use crate::support::{network, source, take};

/// Where the servers of the tests are: the one address that is allowed here.
const GOOD: &str = "127.0.0.1";
/// Where somebody else waits for who is led astray.
const TRAP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// Where a name may lead once it has turned. The first three are the trap, in three spellings.
const ASTRAY: [&str; 9] = [
    "127.0.0.66",
    "::ffff:127.0.0.66",
    "64:ff9b::127.0.0.66",
    "::1",
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "169.254.7.7",
    "fe80::1",
    "fd00:ec2::254",
];

/// The guard of a resource that allows the servers' own address and nothing beside it.
fn guard() -> Sovereignty {
    Sovereignty::parse::<&str, _>(&[], &["127.0.0.1/32"])
        .unwrap()
        .with_loopback(Loopback::Allowed)
}

/// A name that leads to the server when it is asked for the first time, and elsewhere from then on.
struct Turning {
    resolver: Resolver,
    asked: Arc<AtomicUsize>,
}

impl Turning {
    fn to(elsewhere: &[&str]) -> Self {
        let parse = |addresses: &[&str]| -> Vec<IpAddr> {
            addresses.iter().map(|address| address.parse().unwrap()).collect()
        };
        let (first, later) = (parse(&[GOOD]), parse(elsewhere));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let resolver = Resolver::new(move |_| {
            let answer = match count.fetch_add(1, Ordering::Relaxed) {
                0 => first.clone(),
                _ => later.clone(),
            };
            std::future::ready(io::Result::Ok(answer)).boxed()
        });
        Self { resolver, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Listens at the forbidden address, at the server's own port, and remembers who comes.
struct Trap {
    port: u16,
    came: mpsc::UnboundedReceiver<SocketAddr>,
}

impl Trap {
    async fn at(port: u16) -> Self {
        let listener = TcpListener::bind((TRAP, port)).await.unwrap();
        let (tell, came) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((_, from)) = listener.accept().await {
                if tell.send(from).is_err() {
                    return;
                }
            }
        });
        Self { port, came }
    }

    /// How many have come before one who comes now, which shows that whoever had come would have been seen.
    async fn visitors(mut self) -> usize {
        let last = TcpStream::connect((TRAP, self.port)).await.unwrap();
        let last = last.local_addr().unwrap();
        let mut others = 0;
        while self.came.recv().await.unwrap() != last {
            others += 1;
        }
        others
    }
}

/// The store under a name.
fn store_of(bench: &StoreBench, name: &Turning) -> StoreSettings {
    let endpoint = format!("https://localhost:{}", bench.proxy.port());
    let endpoint = Endpoint::parse(&endpoint, false).unwrap();
    StoreSettings::new(endpoint, BUCKET.into(), "us-east-1".into(), guard())
        .unwrap()
        .with_ca_bundle(Some(bench.minio.authority().certificate()))
        .unwrap()
        .with_resolver(name.resolver.clone())
}

#[tokio::test]
async fn the_store_is_reached_where_its_name_led_when_it_was_judged_and_nowhere_else() {
    let bench = StoreBench::start().await;
    let keys = bench.deposit_keys().await;
    let trap = Trap::at(bench.proxy.port()).await;
    for astray in ASTRAY {
        // Alone, and behind the address that is right.
        for elsewhere in [vec![astray], vec![GOOD, astray]] {
            let name = Turning::to(&elsewhere);
            let settings = store_of(&bench, &name);
            // With a client of its own each time: nobody goes over a connection that there is.
            let look = async || {
                let store = StoreBench::store_as(&settings, &keys);
                store.versions_of(&entry(1)).await
            };
            look().await.unwrap();
            assert_eq!(name.asked(), 1, "{elsewhere:?}");
            let error = look().await.unwrap_err();
            assert!(
                matches!(&error, StoreError::LeadsAstray { .. }),
                "{elsewhere:?}: {error}"
            );
            assert_eq!(error.reason(), Reason::NotSovereign);
            assert_eq!(name.asked(), 2, "{elsewhere:?}");
        }
    }
    assert_eq!(trap.visitors().await, 0);
}

/// The database under a name.
fn database_of(database: &Database, name: &Turning) -> Source {
    let mut source = source(database.server, &database.name);
    let (network, guard) = (network(&mut source), guard());
    network.resolver = name.resolver.clone();
    network.address_guard =
        AddressGuard::new(move |address| guard.judge_address(address).map_err(|error| error.to_string()));
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_reached_where_its_name_led_when_it_was_judged_and_nowhere_else() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
        .await
        .unwrap();
    let trap = Trap::at(server.port()).await;
    for astray in ASTRAY {
        let name = Turning::to(&[astray]);
        let source = database_of(&database, &name);
        let connection = Connection::open(&source).await.unwrap();
        // What cancels it does not ask again, either.
        connection.cancel_key().cancel(&source).await.unwrap();
        connection.close().await;
        assert_eq!(name.asked(), 1, "{astray}");
        let error = Connection::open(&source).await.map(drop).unwrap_err();
        let is_refused = matches!(&error, ConnectionError::AddressRefused { .. });
        assert!(is_refused, "{astray}: {error}");
        assert_eq!(error.reason(), Reason::NotSovereign);
    }

    // A whole dump asks once: leader, planner and workers go where the first of them went.
    let name = Turning::to(&ASTRAY[..1]);
    let source = database_of(&database, &name);
    let taken = take(&source).await.unwrap();
    assert_eq!(taken.tables()["public.t"].rows, 1000);
    assert_eq!(name.asked(), 1);
    let error = take(&source).await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::NotSovereign, "{error}");
    assert_eq!(trap.visitors().await, 0);
}

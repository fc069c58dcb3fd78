//! Each fault that a store, a gate or a database can have, at seeded places, against each thing that we do with them. What is shown is
//! always the same: it ends, and says why; nothing that was committed is lost; nothing is called whole that is not; and once the fault is
//! gone, the next try succeeds.
//!
//! A failure prints its seed; `DATAEMBASSY_FAULT_SEED` throws the same again.

mod clock;
mod custodian;
mod database;
mod full;
mod harm;
mod invented;
mod kills;
mod mirror;
mod nonsense;
mod outage;
mod restore;
mod retention;
mod source;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use crate::bench::mirror::MirrorBench;
use crate::bench::{StoreBench, registry};
use crate::sealed::{OWNER, options, target};
use crate::support::source_as;
use dataembassy_archive::Identities;
use dataembassy_contract::config::RecipientConfig;
use dataembassy_contract::files;
use dataembassy_ledger::chain::{CustodianKey, SignerRange};
use dataembassy_sidecar::restore::copy::{Choice, StoredCopy};
use dataembassy_sidecar::restore::{progress::Progress, restore};
use dataembassy_sidecar::store::LedgerSettings;
use dataembassy_testkit::fault_proxy::{FaultProxy, Toxic};
use dataembassy_testkit::minio::{BUCKET, StoreUser};
use dataembassy_testkit::postgresql::{Database, PASSWORD, Server};
use dataembassy_testkit::seed::Dice;
use hyper::Method;

/// The most that a process may be resident with while it is lied to, in KiB.
const MOST_MEMORY: u64 = 192 * 1024;
/// Before how many requests a toxic acts: at first anywhere among those of a run, and where nothing came so far, at once; and once more, since a busy
/// machine may have let nobody ask meanwhile. One that has struck nothing shows nothing.
const PLACES: [u64; 3] = [24, 1, 1];
/// Puts of a small copy: a segment, an inventory, a manifest and the entry.
const PUTS: u64 = 4;
/// How many requests a second nobody sends who waits between two tries, whatever is wrong; and how many a run has in any case.
const MOST_REQUESTS: (f64, f64) = (60.0, 300.0);

/// Poisons a proxy: the toxic acts at a seeded request before the `farthest` of those that `matches` accepts, and at some after it.
fn poison(
    proxy: &FaultProxy,
    toxic: Toxic,
    dice: &mut Dice,
    farthest: u64,
    matches: impl Fn(&Method, &str) -> bool + Send + 'static,
) {
    let fault = toxic.fault(dice);
    let farthest = if toxic.meets(&Method::GET) {
        farthest
    } else {
        farthest.min(PUTS)
    };
    let spared = if toxic.lasts() { 0 } else { dice.below(farthest) };
    let times = if toxic.lasts() {
        u64::MAX
    } else {
        1 + dice.below(3)
    };
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    proxy.inject_later(number(spared), number(times), fault, move |method, target| {
        toxic.meets(method) && matches(method, target)
    });
}

/// Each toxic once a round: with its name, and with dice of its own.
fn each<T: Copy + Debug>(
    dice: &Dice,
    rounds: u64,
    toxics: impl IntoIterator<Item = T> + Copy,
) -> impl Iterator<Item = (T, String, Dice)> {
    (0..rounds).flat_map(move |round| {
        toxics.into_iter().map(move |toxic| {
            let name = format!("{toxic:?} {round}");
            let dice = dice.part(&name);
            (toxic, name, dice)
        })
    })
}

/// Nobody tries again and again without a pause: `asked` requests were sent since `begun`.
fn assert_patient(name: &str, asked: usize, begun: Instant) {
    let (a_second, a_run) = MOST_REQUESTS;
    let (asked, took) = (f64::from(u32::try_from(asked).unwrap()), begun.elapsed());
    assert!(
        asked < a_run + a_second * took.as_secs_f64(),
        "{name}: {asked} requests in {took:?}"
    );
}

/// No process has come to an end that nobody thought of.
fn assert_no_panic(log: &str) {
    for word in ["panicked", "\"reason\":\"InternalError\"", "overflow"] {
        let line = log.lines().find(|line| line.contains(word));
        assert!(line.is_none(), "{line:?}");
    }
}

/// Copies are sealed to who has this identity, as `age-keygen` has written it.
fn sealed_to(identity: &str) -> Vec<RecipientConfig> {
    let mut lines = identity.lines();
    let public_key = lines.find_map(|line| line.strip_prefix("# public key: "));
    vec![RecipientConfig {
        name: "ministry".into(),
        public_key: public_key.unwrap().into(),
    }]
}

/// A database into which a copy of a mirror's was restored, by nothing but the store and who the copy is sealed to.
async fn restored(bench: &MirrorBench, identity: &str, choice: Choice) -> Database {
    let user = StoreUser::Retrieval {
        registry: registry().to_string(),
    };
    let keys = bench.store.minio.add_user(BUCKET, &user).await.unwrap();
    let store = StoreBench::store_as(&bench.store.settings(BUCKET), &keys);
    let trust = LedgerSettings {
        registry: registry(),
        signers: vec![SignerRange::always(bench.signer.public_key())],
        custodians: vec![CustodianKey {
            key: bench.custodian.public_key(),
            until: None,
        }],
        floor: bench.ledger().await.head_reference(),
    };
    let identities = Identities::parse(identity).unwrap();
    let copy = StoredCopy::open(store, &trust, choice, &identities)
        .await
        .unwrap();
    let target = target(Server::shared(17)).await;
    let into = source_as(target.server, &target.name, OWNER);
    restore(&Arc::new(copy), &into, &options(), &Progress::default())
        .await
        .unwrap();
    target
}

/// Gives the mirror's configuration a role of its own, which sees all rows; returns its name.
async fn reads_by_itself(bench: &mut MirrorBench) -> String {
    let role = format!("reader_of_{}", bench.database.name);
    let make = format!("CREATE ROLE {role} LOGIN BYPASSRLS PASSWORD '{PASSWORD}' IN ROLE pg_read_all_data");
    bench.database.execute(&make).await.unwrap();
    bench.write_secret(files::DATABASE_USERNAME, &role);
    bench.write_config();
    role
}

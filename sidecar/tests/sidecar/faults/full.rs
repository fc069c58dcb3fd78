//! A store that is really full: a MinIO on a volume of its own. What it has stays whole, what it cannot take is told, what may go goes, and once there
//! is room everything goes on.

use std::time::{Duration, Instant};

use crate::bench::StoreBench;
use crate::bench::custodian::{CustodianBench, newest_only};
use crate::bench::mirror::{MirrorBench, Sidecar};
use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{CustodianReport, RegistryReport};
use dataembassy_contract::report::{CheckState, FinishedRun, Outcome, Report};
use dataembassy_ledger::entry::CustodyBody;
use dataembassy_testkit::fabricated::Shape;
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::{BUCKET, BucketKind, Minio};
use hyper::Method;

use super::assert_no_panic;

/// The store's volume, in MiB: too small for the second copy, and large enough for the first.
const SMALL: u32 = 48;
/// Large enough for both, and for what the one that failed has left.
const LARGE: u32 = 256;
/// Fifty megabytes that cannot be compressed.
const SCANS: &str = "CREATE EXTENSION pgcrypto; \
    CREATE UNLOGGED TABLE scan AS SELECT generate_series(1, 50000) AS id, gen_random_bytes(1024) AS page";
/// What a MinIO without room makes us say.
const FULL: &str = "the store takes no more data (XMinioStorageFull): add space, or raise the quota";
/// How long a copy is locked that goes as soon as it may: longer than it takes to record that it goes and to find the store full, which on a busy
/// machine is found out by trying.
const LOCKS: [Duration; 3] = [
    Duration::from_secs(40),
    Duration::from_secs(100),
    Duration::from_mins(4),
];
/// How long anything else may be waited for.
const PATIENCE: Duration = Duration::from_mins(2);

/// Asks for a copy and waits for the run's end.
async fn asked(bench: &mut MirrorBench, sidecar: &Sidecar, trigger: &str) -> FinishedRun {
    bench.config.trigger = Some(trigger.to_owned());
    bench.write_config();
    let run_of = |report: &Report| {
        let mut runs = report.recent_runs.iter();
        runs.find(|run| run.trigger.as_deref() == Some(trigger)).cloned()
    };
    let report = sidecar
        .until("the run's end", |report| run_of(report).is_some())
        .await;
    run_of(&report).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fills_while_a_copy_is_put_keeps_what_it_has_and_takes_the_next_one_when_there_is_room()
{
    let minio = Minio::start_small(SMALL).await.unwrap();
    let store = StoreBench::start_at(minio, BucketKind::Locked).await;
    let mut bench = MirrorBench::start_at(store).await;
    bench.config.embassy.store.endpoint = bench.store.minio.endpoint();
    bench.write_config();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    bench.database.execute(SCANS).await.unwrap();

    let run = asked(&mut bench, &sidecar, "too-large").await;
    let ended = (run.outcome, run.reason);
    assert_eq!(ended, (Outcome::Failed, Reason::StoreFull), "{run:#?}");
    assert!(run.message.contains(FULL), "{run:#?}");
    let is_told = |report: &Report| {
        let store = &report.store;
        (store.state, store.reason) == (CheckState::False, Reason::StoreFull)
    };
    let report = sidecar.until("the full store to be told", is_told).await;
    assert_eq!(report.store.message, FULL, "{report:#?}");
    assert_eq!(report.last_copy.unwrap().sequence, 1);
    assert_eq!(bench.whole_copies().await, 1);

    bench.store.minio.resize(LARGE).unwrap();
    let run = asked(&mut bench, &sidecar, "room-again").await;
    assert_eq!(run.outcome, Outcome::Copied, "{run:#?}");
    let is_well = |report: &Report| report.store.state == CheckState::True;
    sidecar.until("the store to be well", is_well).await;
    // What failed may have been tried once more before.
    assert!(bench.whole_copies().await >= 2);
    assert_no_panic(&bench.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_custodian_of_a_full_store_says_that_it_cannot_write_and_proves_all_copies_when_there_is_room() {
    let minio = Minio::start_small(SMALL).await.unwrap();
    let mut bench = CustodianBench::start_at(minio, BucketKind::Locked).await;
    bench.timing.push(("--prove-every", "1s"));
    bench.config.capacity_bytes = Some(u64::from(SMALL) << 20);
    bench.write_config();
    bench.copies(4, &Shape::default()).await;
    let before = bench.minio.keys(BUCKET, "registries/").await.unwrap();
    bench.minio.fill().unwrap();

    let custodian = bench.custodian();
    let is_told = |report: &RegistryReport| {
        let ledger = (report.ledger.state, report.ledger.reason);
        ledger == (CheckState::True, Reason::StoreFull) && report.verification.verified == 4
    };
    let report = custodian.until_registry("the full store", is_told).await;
    let told = format!("nothing can be written into its custody chain: {FULL}");
    assert!(report.ledger.message.contains(&told), "{report:#?}");
    let alarms: Vec<_> = report.alarms.iter().map(|alarm| alarm.reason).collect();
    assert_eq!(alarms, [Reason::StoreFull], "{report:#?}");
    let is_short = |report: &CustodianReport| report.space.sufficient.state == CheckState::False;
    let report = custodian.until("the forecast", is_short).await;
    assert_eq!(report.space.sufficient.reason, Reason::SpaceShort, "{report:#?}");
    let now = bench.minio.keys(BUCKET, "registries/").await.unwrap();
    assert_eq!(now, before, "a full store has lost or taken something");

    bench.minio.make_room().unwrap();
    let is_proven = |report: &RegistryReport| {
        report.ledger.reason == Reason::LedgerIntact && report.custody_head.is_some()
    };
    let report = custodian.until_registry("the proof", is_proven).await;
    assert_eq!(report.verification.verified, 4, "{report:#?}");
    let entries = bench.custody_entries().await;
    let told = entries.iter().flat_map(|entry| match entry {
        CustodyBody::Proof(proof) => proof.verified.as_slice(),
        other => panic!("{other:#?}"),
    });
    let told: Vec<_> = told.map(|range| (range.from.get(), range.until.get())).collect();
    assert_eq!(told, [(1, 4)], "{entries:#?}");
    let now = bench.minio.keys(BUCKET, "registries/").await.unwrap();
    assert!(before.iter().all(|key| now.contains(key)), "{now:#?}");
    assert_no_panic(&bench.log());
}

/// Nothing else makes room in a full store.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_no_entry_any_more_loses_what_was_recorded_to_go_all_the_same() {
    for lock in LOCKS {
        if is_lost_while_full(lock).await {
            return;
        }
    }
    panic!("each of these locks had ended before the store was full: {LOCKS:?}");
}

/// Waits until a copy that was recorded to go has gone from a full store; false where its lock ended before the store was full.
async fn is_lost_while_full(lock: Duration) -> bool {
    let mut bench = CustodianBench::start_with(BucketKind::Lockable).await;
    bench.lock = Some(lock);
    bench
        .timing
        .extend([("--prove-every", "1s"), ("--expire-every", "1s")]);
    bench.config.immutability.lock_on_arrival = format!("{}s", lock.as_secs()).parse().unwrap();
    bench.config.registries[0].retention = newest_only();
    bench.write_config();
    let made = bench.copies(2, &Shape::default()).await;
    let oldest = made[0].body.copy_id;
    let custodian = bench.custodian();
    let begun = Instant::now();
    let is_recorded = |entry: &CustodyBody| match entry {
        CustodyBody::Expiry(body) => body.copies.iter().any(|copy| copy.copy_id == oldest),
        _ => false,
    };
    while !bench.custody_entries().await.iter().any(is_recorded) {
        assert!(begun.elapsed() < lock + PATIENCE, "the oldest copy is not let go");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let is_entry = |method: &Method, target: &str| {
        *method == Method::PUT && target.contains("/custody/") && !target.contains("retention")
    };
    bench.proxy.inject(usize::MAX, Fault::full(), is_entry);
    bench.copies(1, &Shape::default()).await;
    let is_told = |report: &RegistryReport| report.ledger.reason == Reason::StoreFull;
    custodian.until_registry("the full store", is_told).await;
    if bench.folder(oldest).await.is_empty() {
        return false;
    }
    while !bench.folder(oldest).await.is_empty() {
        let report = custodian.registry().await;
        assert!(
            begun.elapsed() < lock + PATIENCE,
            "what may go stays: {report:#?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(bench.proxy.faults_met() > 0);
    assert_no_panic(&bench.log());
    true
}

//! What a gate bounds: time, bytes, and how much of it one registry may take from the others.

use dataembassy_contract::gate::GateReport;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dataembassy_contract::Reason;
use dataembassy_sidecar::store::PutOutcome;
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::BUCKET;
use hyper::Method;
use tokio::sync::Notify;

use super::bench::{GateBench, OTHER, peak_kib};
use super::raw::{self, Raw};
use crate::bench::pauses::briefly;
use crate::bench::{REGISTRY, segment, sha256};

const MEBI: usize = 1 << 20;

fn path(number: u64) -> String {
    format!("/{BUCKET}/{}", segment(number))
}

fn body(bytes: usize) -> Bytes {
    Bytes::from(vec![7; bytes])
}

/// A process of its own, so that its peak is that of these puts and of nothing else.
#[tokio::test]
async fn memory_stays_small_under_sixteen_puts_at_once() {
    let bench = GateBench::start().await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let body = body(16 * MEBI);
    let digest = sha256(&body);
    for round in 0..2 {
        let puts = (1..=16).map(|number| {
            let (store, body) = (store.clone(), body.clone());
            async move {
                store
                    .put(&segment(round * 16 + number), body, digest)
                    .await
                    .unwrap()
            }
        });
        futures::future::join_all(puts).await;
    }
    assert_eq!(bench.lane(REGISTRY).await.bytes_put, 32 * 16 * MEBI as u64);
    let peak = peak_kib(bench.process_id());
    assert!(peak <= 48 * 1024, "{peak} KiB");
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_cut() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let whole = body(MEBI);
    let mut connection = Raw::open(&client).await;
    connection.send(raw::put(&client, &path(1), &whole, &[])).await;
    connection.send(&whole[..1000]).await;
    let begun = Instant::now();
    let answer = connection.answer().await.unwrap();
    assert_eq!((answer.status, answer.refusal()), (400, "Slow"), "{answer:?}");
    assert!(answer.body.contains("RequestTimeout"), "{}", answer.body);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert!(connection.end().await.is_empty());
    assert_eq!(bench.refused(REGISTRY, "Slow").await, 1);
    assert!(bench.store.minio.keys(BUCKET, "").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let head = raw::get(&client, &format!("/{BUCKET}/embassy.json"), &[]);
    let mut connection = Raw::open(&client).await;
    connection.send(&head[..head.len() - 2]).await;
    let begun = Instant::now();
    connection.end().await;
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    // Nor is one that goes on for ever.
    let mut connection = Raw::open(&client).await;
    connection.send(&head[..head.len() - 2]).await;
    let mut sent = 0;
    while connection
        .send("user-agent: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
        .await
        && sent < 100_000
    {
        sent += 1;
    }
    assert!(sent < 100_000);
    assert_eq!(bench.reached(), 0);
}

#[tokio::test]
async fn what_a_registry_may_store_ends_at_its_quota_until_it_is_counted_anew() {
    let mut bench = GateBench::start_with(|config| {
        config.lanes[0].quota_bytes = Some(5 * MEBI as u64);
        config.lanes[0].used_bytes = 2 * MEBI as u64;
    })
    .await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let put = async |number: u64| {
        let body = body(2 * MEBI);
        let digest = sha256(&body);
        store.put(&segment(number), body, digest).await
    };
    assert!(matches!(put(1).await.unwrap(), PutOutcome::Stored(_)));
    let error = put(2).await.unwrap_err();
    assert_eq!(error.reason(), Reason::QuotaExceeded, "{error}");
    assert!(error.is_permanent());
    // A put that the store does not take uses nothing up.
    assert!(matches!(
        store
            .put(&segment(1), body(MEBI), sha256(&body(MEBI)))
            .await
            .unwrap(),
        PutOutcome::Exists
    ));
    assert!(matches!(
        store
            .put(&segment(3), body(MEBI), sha256(&body(MEBI)))
            .await
            .unwrap(),
        PutOutcome::Stored(_)
    ));
    assert_eq!(bench.refused(REGISTRY, "Quota").await, 1);
    let used = format!(
        "dataembassy_gate_used_bytes{{registry=\"population\"}} {}",
        5 * MEBI
    );
    assert!(bench.metrics().await.contains(&used));
    // The custodian has looked again, and retention has made room.
    bench
        .configure(|config| config.lanes[0].used_bytes = 3 * MEBI as u64)
        .await;
    assert!(matches!(put(4).await.unwrap(), PutOutcome::Stored(_)));
    // The other registry has a quota of its own, or none.
    let other = bench.client(&bench.deposit(OTHER).await);
    let key = segment(1).to_string().replace(REGISTRY, OTHER).parse().unwrap();
    let stored = other
        .put(&key, body(6 * MEBI), sha256(&body(6 * MEBI)))
        .await
        .unwrap();
    assert!(matches!(stored, PutOutcome::Stored(_)));
}

#[tokio::test]
async fn puts_are_paced_at_the_rate_and_sent_away_far_above_it() {
    const RATE: u64 = 512 * 1024;
    let bench = GateBench::start_with(|config| config.lanes[0].bytes_per_second = Some(RATE)).await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let put = |number: u64, bytes: usize| {
        let store = store.clone();
        async move {
            let body = body(bytes);
            let digest = sha256(&body);
            store.put(&segment(number), body, digest).await
        }
    };
    let begun = Instant::now();
    // Ten seconds' worth pass at once, the rest at the rate; one more would have to wait for too long.
    let (paced, refused) = tokio::join!(put(1, 7 * MEBI), async {
        bench
            .until("the put to be under way", |_| bench.reached() == 1)
            .await;
        put(2, 7 * MEBI).await
    });
    assert!(matches!(paced.unwrap(), PutOutcome::Stored(_)));
    let took = begun.elapsed();
    assert!(
        (Duration::from_secs(3)..Duration::from_secs(12)).contains(&took),
        "{took:?} for 7 MiB, of which 2 are paced at half a MiB a second"
    );
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("(Rate)"), "{error}");
    assert!(!error.is_permanent(), "it may be tried again");
    assert_eq!(bench.refused(REGISTRY, "Rate").await, 1);
}

#[tokio::test]
async fn a_fenced_registry_puts_nothing_and_reads_on() {
    let mut bench = GateBench::start().await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    store.put(&segment(1), body(10), sha256(&body(10))).await.unwrap();
    let is_open = |report: &GateReport| report.open.as_ref().unwrap().contains(&REGISTRY.to_owned());
    assert!(is_open(&bench.report().await.unwrap()));
    bench.configure(|config| config.lanes[0].fenced = true).await;
    assert!(!is_open(&bench.report().await.unwrap()));
    let error = store
        .put(&segment(2), body(10), sha256(&body(10)))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::Fenced, "{error}");
    store
        .list_versions("registries/population/source/", None)
        .await
        .unwrap();
    let metrics = bench.metrics().await;
    assert!(
        metrics.contains("dataembassy_gate_fenced{registry=\"population\"} 1"),
        "{metrics}"
    );
    bench.configure(|config| config.lanes[0].fenced = false).await;
    store.put(&segment(2), body(10), sha256(&body(10))).await.unwrap();
    assert_eq!(bench.refused(REGISTRY, "Fenced").await, 1);
}

#[tokio::test]
async fn a_fence_cuts_the_put_that_is_under_way() {
    let mut bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let whole = body(MEBI);
    let mut connection = Raw::open(&client).await;
    connection.send(raw::put(&client, &path(1), &whole, &[])).await;
    connection.send(&whole[..MEBI / 2]).await;
    bench
        .until("the put to be under way", |_| bench.reached() == 1)
        .await;
    bench.configure(|config| config.lanes[0].fenced = true).await;
    let answer = connection.answer().await.unwrap();
    assert_eq!(answer.refusal(), "Fenced", "{answer:?}");
    assert!(bench.store.minio.keys(BUCKET, "").await.unwrap().is_empty());
}

/// Somebody with the keys of one registry opens more connections than there is room for, and ends no request.
#[tokio::test]
async fn a_flood_of_one_registry_does_not_starve_another() {
    let bench = GateBench::start().await;
    let flood = bench.signed(bench.deposit(OTHER).await);
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let path = path(1).replace(REGISTRY, OTHER);
    let head = raw::put(&flood, &path, &body(MEBI), &[]);
    let mut connections = Vec::new();
    for _ in 0..600 {
        let mut connection = Raw::open(&flood).await;
        connection.send(&head).await;
        connections.push(connection);
    }
    for number in 1..=8 {
        let began = Instant::now();
        store
            .put(&segment(number), body(MEBI), sha256(&body(MEBI)))
            .await
            .unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    bench
        .until("the flood to be sent away", |report| {
            let rows = report.lanes.iter().flat_map(|lane| &lane.refused);
            rows.filter(|row| row.refusal == "Busy")
                .map(|row| row.count)
                .sum::<u64>()
                > 0
        })
        .await;
}

/// More at once than may be answered: the rest waits for its turn and is answered too.
#[tokio::test]
async fn requests_beyond_a_registrys_turns_wait_for_theirs() {
    let bench = GateBench::start().await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let go_on = Arc::new(Notify::new());
    let waiting = Arc::clone(&go_on);
    let hold = Fault::before(move || {
        let waiting = Arc::clone(&waiting);
        async move { waiting.notified().await }
    });
    bench
        .store
        .proxy
        .inject(usize::MAX, hold, |method, _| method == Method::PUT);
    let puts = (1..=40).map(|number| {
        let store = store.clone();
        async move { store.put(&segment(number), body(10), sha256(&body(10))).await }
    });
    let puts = tokio::spawn(futures::future::join_all(puts));
    // Nobody has shown the registry's keys yet, so half of its turns are open.
    bench.until("the first twelve", |_| bench.reached() == 12).await;
    bench.store.proxy.heal();
    while !puts.is_finished() {
        go_on.notify_one();
        briefly().await;
    }
    for outcome in puts.await.unwrap() {
        assert!(matches!(outcome.unwrap(), PutOutcome::Stored(_)));
    }
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_not_waited_for() {
    let bench = GateBench::start_with(|config| config.lanes[0].home_may_retrieve = true).await;
    let client = bench.signed(bench.retrieval(REGISTRY).await);
    let large = vec![7; 32 * MEBI];
    let key = segment(1).to_string();
    bench.store.minio.put(BUCKET, &key, large).await.unwrap();
    let versions = bench.store.minio.root().versions(BUCKET, &key).await.unwrap();
    let query = [("versionId", versions[0].id.as_str())];
    let mut connection = Raw::open(&client).await;
    connection.send(raw::get(&client, &path(1), &query)).await;
    let under_way = async |count: u32| {
        let row = format!("dataembassy_gate_requests_under_way {count}\n");
        while !bench.metrics().await.contains(&row) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    under_way(1).await;
    let begun = Instant::now();
    tokio::time::timeout(Duration::from_secs(45), under_way(0))
        .await
        .expect("the answer is given up");
    assert!(begun.elapsed() > Duration::from_secs(20), "{:?}", begun.elapsed());
}

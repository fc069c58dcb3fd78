//! The authority that has signed the store's certificate is exchanged while objects pass a gate: what is under way is finished where the store
//! lets it, and the rest passes by the same process.

use std::sync::Arc;

use bytes::Bytes;
use dataembassy_contract::Reason;
use dataembassy_contract::gate::GateReport;
use dataembassy_contract::report::CheckState;
use dataembassy_sidecar::store::{PutOutcome, Store, StoreError};
use dataembassy_testkit::authority::Authority;
use dataembassy_testkit::fault_proxy::Fault;
use hyper::Method;
use tokio::sync::Notify;

use super::bench::GateBench;
use crate::bench::{REGISTRY, segment, sha256};

/// Whom the store is known by on loopback.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];

async fn put(store: &Store, number: u64) -> Result<PutOutcome, StoreError> {
    let body = Bytes::from(vec![7; 100_000]);
    let digest = sha256(&body);
    store.put(&segment(number), body, digest).await
}

async fn passes(store: &Store, number: u64) {
    let outcome = put(store, number).await.unwrap();
    assert!(matches!(outcome, PutOutcome::Stored(_)), "{outcome:?}");
}

#[tokio::test]
async fn the_stores_authority_that_is_exchanged_in_order_amid_a_put_costs_no_put() {
    let mut bench = GateBench::start().await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let former = bench.store.minio.authority().certificate();
    let next = Authority::new("the store's next authority").unwrap();
    passes(&store, 1).await;
    let told = Arc::new(Notify::new());
    let wait = Arc::clone(&told);
    let waits = Fault::before(move || {
        let wait = Arc::clone(&wait);
        async move { wait.notified().await }
    });
    let is_put = |method: &Method, _: &str| method == Method::PUT;
    bench.store.proxy.inject(1, waits, is_put);
    let held = tokio::spawn({
        let store = store.clone();
        async move { put(&store, 2).await }
    });
    bench
        .until("the put to be under way", |_| {
            bench.store.proxy.faults_left() == 0
        })
        .await;
    // First both are trusted, then the store shows what the next one signed, then the former one goes.
    bench
        .configure(|config| config.store.ca_bundle = Some(format!("{former}{}", next.certificate())))
        .await;
    bench.store.proxy.show(&next.sign(&NAMES).unwrap()).unwrap();
    passes(&store, 3).await;
    bench
        .configure(|config| config.store.ca_bundle = Some(next.certificate()))
        .await;
    passes(&store, 4).await;
    // It goes on by the connection that was there when it began.
    told.notify_one();
    let outcome = held.await.unwrap().unwrap();
    assert!(matches!(outcome, PutOutcome::Stored(_)), "{outcome:?}");
    let lane = bench.lane(REGISTRY).await;
    assert_eq!(lane.passed, 4, "{lane:#?}");
    assert!(lane.refused.is_empty(), "{lane:#?}");
}

#[tokio::test]
async fn the_stores_authority_that_is_exchanged_at_once_is_told_by_the_gate_and_costs_no_restart() {
    let mut bench = GateBench::start().await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let next = Authority::new("the store's next authority").unwrap();
    passes(&store, 1).await;
    bench.store.proxy.restart(&next.sign(&NAMES).unwrap()).unwrap();
    // Who still trusts the former one alone lets nothing through to a store that he does not know.
    put(&store, 2).await.unwrap_err();
    let is_told = |report: &GateReport| {
        report.store.state == CheckState::False && report.store.reason == Reason::StoreTlsFailed
    };
    bench.until("what is wrong", is_told).await;
    bench
        .configure(|config| config.store.ca_bundle = Some(next.certificate()))
        .await;
    passes(&store, 3).await;
    let is_reached = |report: &GateReport| report.store.state == CheckState::True;
    bench.until("the store", is_reached).await;
}

//! The authority that has signed the store's certificate is exchanged while a custodian reads: what it read is read once more, and nothing else
//! comes of it.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{CustodianReport, RegistryReport};
use dataembassy_contract::report::CheckState;
use dataembassy_testkit::authority::Authority;
use dataembassy_testkit::fabricated::Shape;
use dataembassy_testkit::fault_proxy::Fault;
use hyper::Method;

use super::rotation::proven;
use crate::bench::custodian::{Custodian, CustodianBench};

/// Whom the store is known by on loopback.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];

/// A custodian that has asked for a segment of the only copy, and gets no answer.
async fn reading() -> (CustodianBench, Custodian) {
    let mut bench = CustodianBench::start().await;
    let is_segment = |method: &Method, target: &str| {
        let is_other = target.contains("manifest") || target.contains("inventory");
        method == Method::GET && target.contains("/copies/") && !is_other
    };
    bench.proxy.inject(1, Fault::Stall, is_segment);
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let is_held = |_: &CustodianReport| bench.proxy.faults_left() == 0;
    custodian.until("a segment that is being read", is_held).await;
    (bench, custodian)
}

/// The copy that was being read is proven, and so is the next one, by the same process.
async fn goes_on(bench: &mut CustodianBench, custodian: &Custodian) {
    custodian.until_registry("the first proof", proven(1)).await;
    bench.copies(1, &Shape::default()).await;
    // What was told of the store meanwhile is taken back by the next look, and a copy that was called broken would not be.
    let is_well = |report: &RegistryReport| proven(2)(report) && report.alarms.is_empty();
    custodian.until_registry("the second proof", is_well).await;
    let is_reached = |report: &CustodianReport| report.store.state == CheckState::True;
    custodian.until("the store", is_reached).await;
}

#[tokio::test]
async fn the_stores_authority_that_is_exchanged_in_order_amid_a_reading_is_no_fault() {
    let (mut bench, custodian) = reading().await;
    let former = bench.minio.authority().certificate();
    let next = Authority::new("the store's next authority").unwrap();
    // First both are trusted, then the store shows what the next one signed, then the former one goes.
    bench.config.store.ca_bundle = Some(format!("{former}{}", next.certificate()));
    bench.config.generation += 1;
    bench.write_config();
    let generation = bench.config.generation;
    let is_loaded = |report: &CustodianReport| {
        let loaded = report.loaded.as_ref();
        loaded.is_some_and(|loaded| loaded.generation == generation)
    };
    custodian.until("the new configuration", is_loaded).await;
    bench.proxy.restart(&next.sign(&NAMES).unwrap()).unwrap();
    custodian.until_registry("the first proof", proven(1)).await;
    bench.config.store.ca_bundle = Some(next.certificate());
    bench.write_config();
    goes_on(&mut bench, &custodian).await;
}

#[tokio::test]
async fn the_stores_authority_that_is_exchanged_at_once_amid_a_reading_is_told_and_costs_no_restart() {
    let (mut bench, custodian) = reading().await;
    let next = Authority::new("the store's next authority").unwrap();
    bench.proxy.restart(&next.sign(&NAMES).unwrap()).unwrap();
    // Who still trusts the former one alone says that, and calls no copy broken for it.
    let is_told = |report: &CustodianReport| {
        report.store.state == CheckState::False && report.store.reason == Reason::StoreTlsFailed
    };
    custodian.until("what is wrong", is_told).await;
    let report = custodian.until_registry("a report", |_| true).await;
    assert_ne!(report.intact.state, CheckState::False, "{report:#?}");
    bench.config.store.ca_bundle = Some(next.certificate());
    bench.write_config();
    goes_on(&mut bench, &custodian).await;
}

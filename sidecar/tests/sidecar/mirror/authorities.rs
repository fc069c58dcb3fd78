//! Authority and certificate of store or database are exchanged at once, in the middle of a copy: that copy is finished or its failure told as
//! what it is, and the next one is made by the same process.

use dataembassy_contract::report::{Outcome, Report};
use dataembassy_contract::{Reason, files};
use dataembassy_testkit::authority::Authority;
use dataembassy_testkit::postgresql::Server;

use super::rotation::{copy_again, copy_held};
use crate::bench::mirror::{MirrorBench, Sidecar};

/// Whom a server is known by on loopback.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Writes the configuration under a new generation, and waits until it is loaded with whatever else is in the folder.
async fn reloaded(bench: &mut MirrorBench, sidecar: &Sidecar) {
    bench.config.generation += 1;
    bench.write_config();
    let generation = bench.config.generation;
    let is_loaded = |report: &Report| {
        let loaded = report.loaded.as_ref();
        loaded.is_some_and(|loaded| loaded.generation == generation)
    };
    sidecar.until("the new configuration", is_loaded).await;
}

/// Waits for the second copy, made by the run that was held or by the next one, and asks for a third.
async fn goes_on(bench: &mut MirrorBench, sidecar: &Sidecar, refused: Reason) {
    let report = sidecar.until_copy(2).await;
    // Who still trusts the former authority alone cannot make another connection, and says that.
    let is_told = report
        .recent_runs
        .iter()
        .all(|run| run.outcome == Outcome::Copied || run.reason == refused);
    assert!(is_told, "{report:#?}");
    let report = copy_again(bench, sidecar, 3).await;
    let latest = report.recent_runs.first().map(|run| run.outcome);
    assert_eq!(latest, Some(Outcome::Copied), "{report:#?}");
    assert_eq!(bench.whole_copies().await, 3);
}

#[tokio::test]
async fn the_stores_authority_that_is_exchanged_amid_a_copy_costs_no_restart() {
    let mut bench = MirrorBench::start(17).await;
    let next = Authority::new("the store's next authority").unwrap();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let go_on = copy_held(&mut bench, 2).await;
    let certificate = next.sign(&NAMES).unwrap();
    bench.store.proxy.show(&certificate).unwrap();
    bench.config.embassy.store.ca_bundle = Some(next.certificate());
    reloaded(&mut bench, &sidecar).await;
    go_on.notify_one();
    goes_on(&mut bench, &sidecar, Reason::StoreTlsFailed).await;
}

#[tokio::test]
async fn the_databases_authority_that_is_exchanged_amid_a_copy_costs_no_restart() {
    let server = Server::lasting(17).unwrap();
    let mut bench = MirrorBench::of(server.database().await.unwrap()).await;
    let next = Authority::new("the database's next authority").unwrap();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let go_on = copy_held(&mut bench, 2).await;
    server.show(&next.sign(&NAMES).unwrap()).unwrap();
    bench.write_secret(files::DATABASE_CA, &next.certificate());
    reloaded(&mut bench, &sidecar).await;
    go_on.notify_one();
    goes_on(&mut bench, &sidecar, Reason::SourceTlsFailed).await;
}

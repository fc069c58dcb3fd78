//! What a restore holds is exchanged: the next one is made with what is new, of copies that are older than it.

use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_contract::restore::{Ending, IfNotEmpty, RestoreResult};
use dataembassy_testkit::authority::Authority;
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::postgresql::{Database, Server};
use hyper::Method;

use super::embassy::{Embassy, assert_equal};
use super::job::{Folder, PATIENCE, published};
use crate::sealed::target;

#[tokio::test(flavor = "multi_thread")]
async fn retrieval_credentials_are_exchanged_and_open_what_was_put_before() {
    let (mut embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let former = Folder::new(&embassy, &target, |_| ());
    let minio = &embassy.bench.minio;
    embassy.retrieval = minio
        .change_secret(&embassy.retrieval, "another-secret-of-a-test")
        .await
        .unwrap();
    let refused = former.run().await;
    assert_eq!(
        (refused.ending, refused.reason),
        (Ending::NothingWritten, Reason::StoreCredentialsRefused),
        "{}",
        refused.message
    );
    let restored = Folder::new(&embassy, &target, |_| ()).run().await;
    assert_eq!(restored.ending, Ending::Restored, "{}", restored.message);
    assert_equal(&database, &target);
}

/// A restore, over whatever an earlier one has left, from the store behind the proxy, whose certificate these authorities may sign.
async fn restored(embassy: &Embassy, target: &Database, trusted: String) -> RestoreResult {
    let folder = Folder::new(embassy, target, |config| {
        config.store.endpoint = embassy.bench.proxy.endpoint();
        config.store.ca_bundle = Some(trusted);
        config.if_not_empty = IfNotEmpty::Replace;
    });
    folder.run().await
}

/// The same, where the store begins anew in the middle of it, with a certificate that another authority has signed.
async fn restored_over(
    embassy: &Embassy,
    target: &Database,
    trusted: String,
    next: &Authority,
) -> RestoreResult {
    let proxy = &embassy.bench.proxy;
    let is_segment = |method: &Method, target: &str| {
        let is_other = target.contains("manifest") || target.contains("inventory");
        method == Method::GET && target.contains("/copies/") && !is_other
    };
    proxy.inject_later(1, 1, Fault::Stall, is_segment);
    let exchange = async {
        let begun = Instant::now();
        while proxy.faults_left() > 0 {
            assert!(begun.elapsed() < PATIENCE, "no segment was read");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let certificate = next.sign(&["127.0.0.1", "localhost"]).unwrap();
        proxy.restart(&certificate).unwrap();
    };
    let (restored, ()) = tokio::join!(restored(embassy, target, trusted), exchange);
    restored
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_authority_that_is_exchanged_in_order_amid_a_restore_costs_nothing() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let next = Authority::new("the store's next authority").unwrap();
    let both = embassy.bench.minio.authority().certificate() + &next.certificate();
    let result = restored_over(&embassy, &target, both, &next).await;
    assert_eq!(result.ending, Ending::Restored, "{}", result.message);
    assert_equal(&database, &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_authority_that_is_exchanged_at_once_amid_a_restore_is_told_and_the_next_one_is_whole() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let next = Authority::new("the store's next authority").unwrap();
    let former = embassy.bench.minio.authority().certificate();
    let result = restored_over(&embassy, &target, former, &next).await;
    assert_ne!(result.ending, Ending::Restored);
    // Before anything is written the store is at fault; after that, what is to be done about the database comes first.
    let reasons = [Reason::StoreTlsFailed, Reason::RestoreFailed];
    assert!(
        reasons.contains(&result.reason),
        "{}: {}",
        result.reason,
        result.message
    );
    // It goes by what it began with, whatever comes into its folder: its words say so, and that the next one does not.
    for why in [
        "no trusted TLS connection to the store",
        "the next one goes by what is there now",
    ] {
        assert!(result.message.contains(why), "{}", result.message);
    }
    let result = restored(&embassy, &target, next.certificate()).await;
    assert_eq!(result.ending, Ending::Restored, "{}", result.message);
    assert_equal(&database, &target);
}

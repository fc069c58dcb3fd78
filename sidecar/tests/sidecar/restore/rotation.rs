//! What a restore holds is exchanged: the next one is made with what is new, of copies that are older than it.

use dataembassy_contract::Reason;
use dataembassy_contract::restore::Ending;
use dataembassy_testkit::postgresql::Server;

use super::embassy::assert_equal;
use super::job::{Folder, published};
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

//! The store of the tests is itself tested: a fault that the test kit swallowed would be a fault nobody sees.

use dataembassy_testkit::fault_proxy::{Fault, FaultProxy};
use dataembassy_testkit::minio::{BUCKET, BucketKind, Minio, SignedClient, StoreUser};
use hyper::{Method, StatusCode};

#[tokio::test]
async fn a_deposit_user_puts_segments_and_cannot_read_them() {
    let minio = Minio::start().await.unwrap();
    minio.make_bucket(BUCKET, BucketKind::Locked).await.unwrap();
    let user = StoreUser::Deposit {
        registry: "population".into(),
    };
    let credentials = minio.add_user(BUCKET, &user).await.unwrap();
    let client = SignedClient::new(&minio.authority().certificate(), minio.address(), credentials).unwrap();
    let own = "/registries/registries/population/copies/c/00000001";
    let foreign = "/registries/registries/health/copies/c/00000001";
    let status = async |method: Method, path: &str| {
        client
            .send(method, path, &[], &[], b"segment".to_vec())
            .await
            .unwrap()
            .status()
    };
    assert_eq!(status(Method::PUT, own).await, StatusCode::OK);
    assert_eq!(status(Method::GET, own).await, StatusCode::FORBIDDEN);
    assert_eq!(status(Method::DELETE, own).await, StatusCode::FORBIDDEN);
    assert_eq!(status(Method::PUT, foreign).await, StatusCode::FORBIDDEN);
    let keys = minio.keys(BUCKET, "registries/").await.unwrap();
    assert_eq!(keys, ["registries/population/copies/c/00000001"]);
}

#[tokio::test]
async fn a_lost_reply_leaves_the_object_in_the_store() {
    let minio = Minio::start().await.unwrap();
    minio.make_bucket(BUCKET, BucketKind::Locked).await.unwrap();
    let proxy = FaultProxy::start(minio.address(), minio.authority())
        .await
        .unwrap();
    proxy.inject(1, Fault::LoseReply, |method, target| {
        method == Method::PUT && target.ends_with("/lost")
    });
    let address = proxy.endpoint().replace("https://", "");
    let client = SignedClient::new(
        &minio.authority().certificate(),
        address,
        minio.root().credentials().clone(),
    )
    .unwrap();
    assert!(
        client
            .send(Method::PUT, "/registries/lost", &[], &[], b"x".to_vec())
            .await
            .is_err()
    );
    assert_eq!(minio.get(BUCKET, "lost").await.unwrap(), b"x");
    assert_eq!(proxy.faults_left(), 0);
}

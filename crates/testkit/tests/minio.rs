//! The store of the tests is itself tested: a fault that the test kit swallowed would be a fault nobody sees.

use std::time::{Duration, Instant};

use dataembassy_testkit::fault_proxy::{Fault, FaultProxy};
use dataembassy_testkit::minio::{BUCKET, BucketKind, Minio, SignedClient, StoreUser, Traffic};
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

/// Who has root's keys and reaches the store through the proxy.
fn as_root_through(minio: &Minio, proxy: &FaultProxy) -> anyhow::Result<SignedClient> {
    let address = proxy.endpoint().replace("https://", "");
    let credentials = minio.root().credentials().clone();
    SignedClient::new(&minio.authority().certificate(), address, credentials)
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
    let client = as_root_through(&minio, &proxy).unwrap();
    assert!(
        client
            .send(Method::PUT, "/registries/lost", &[], &[], b"x".to_vec())
            .await
            .is_err()
    );
    assert_eq!(minio.get(BUCKET, "lost").await.unwrap(), b"x");
    assert_eq!(proxy.faults_left(), 0);
}

#[tokio::test]
async fn what_is_swallowed_is_acknowledged_and_nowhere() {
    let minio = Minio::start().await.unwrap();
    minio.make_bucket(BUCKET, BucketKind::Locked).await.unwrap();
    let proxy = FaultProxy::start(minio.address(), minio.authority())
        .await
        .unwrap();
    proxy.inject(usize::MAX, Fault::Swallow, |method, target| {
        method == Method::PUT && target.ends_with("/nowhere")
    });
    let client = as_root_through(&minio, &proxy).unwrap();
    let put = async |path: &str| {
        let answer = client
            .send(Method::PUT, path, &[], &[], vec![b'x'; 1 << 20])
            .await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers().contains_key("x-amz-version-id"));
    };
    put("/registries/nowhere").await;
    put("/registries/here").await;
    assert_eq!(minio.keys(BUCKET, "").await.unwrap(), ["here"]);
    assert_eq!(proxy.faults_met(), 1);
}

#[tokio::test]
async fn what_a_store_is_asked_is_counted_by_requests_and_bytes() {
    let minio = Minio::start().await.unwrap();
    minio.make_bucket(BUCKET, BucketKind::Plain).await.unwrap();
    let before = minio.traffic().await.unwrap();
    minio.put(BUCKET, "key", vec![b'x'; 1000]).await.unwrap();
    minio.get(BUCKET, "key").await.unwrap();
    let expected = Traffic {
        requests: 2.0,
        received: 1000.0,
    };
    let begun = Instant::now();
    // A request is counted a moment after it was answered.
    loop {
        let asked = minio.traffic().await.unwrap().since(before);
        if asked == expected {
            break;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "{asked:?}");
    }
}

#[tokio::test]
async fn a_small_store_is_full_when_it_is_filled_keeps_what_it_has_and_takes_more_when_there_is_room() {
    const MEBIBYTES: u32 = 16;
    let minio = Minio::start_small(MEBIBYTES).await.unwrap();
    minio.make_bucket(BUCKET, BucketKind::Locked).await.unwrap();
    minio.put(BUCKET, "before", b"kept".to_vec()).await.unwrap();
    let put = async |name: &str, body: Vec<u8>| {
        let path = format!("/{BUCKET}/{name}");
        let answer = minio
            .root()
            .send(Method::PUT, &path, &[], &[], body)
            .await
            .unwrap();
        (
            answer.status(),
            String::from_utf8_lossy(answer.body()).into_owned(),
        )
    };
    // How much room there is, it looks once a second.
    let until = async |wanted: StatusCode, body: &[u8]| {
        let begun = Instant::now();
        loop {
            let (status, told) = put("put", body.to_vec()).await;
            if status == wanted {
                return told;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "{status}: {told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    minio.fill().unwrap();
    let told = until(StatusCode::INSUFFICIENT_STORAGE, &b"small"[..]).await;
    assert!(told.contains("XMinioStorageFull"), "{told}");
    assert_eq!(minio.get(BUCKET, "before").await.unwrap(), b"kept");

    minio.make_room().unwrap();
    until(StatusCode::OK, &b"small"[..]).await;
    let large = vec![7; MEBIBYTES as usize * (1 << 20)];
    let (status, told) = put("large", large.clone()).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{told}");
    minio.resize(8 * MEBIBYTES).unwrap();
    until(StatusCode::OK, large.as_slice()).await;
    assert_eq!(minio.get(BUCKET, "before").await.unwrap(), b"kept");
}

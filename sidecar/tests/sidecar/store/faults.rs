//! Each thing that can be wrong with a store has its own reason, found before anything is written.

use std::time::{Duration, Instant};

use crate::bench;
use crate::bench::{StoreBench, sha256};
use bytes::Bytes;
use dataembassy_contract::{Endpoint, Reason, Sovereignty};
use dataembassy_sidecar::store::{DepositKeys, PutOutcome, Requirements, StoreError, StoreSettings, probe};
use dataembassy_testkit::authority::Authority;
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::{BUCKET, BucketKind, StoreUser};
use hyper::{Method, StatusCode};

const DEMANDED: Requirements = Requirements {
    governance_suffices: false,
    least_days: 1,
};

async fn reason_in(bench: &StoreBench, bucket: &str) -> Reason {
    let user = StoreUser::Deposit {
        registry: "population".into(),
    };
    let keys = bench.minio.add_user(bucket, &user).await.unwrap();
    let store = StoreBench::store_as(&bench.settings(bucket), &keys);
    probe(&store, DEMANDED).await.unwrap_err().reason()
}

#[tokio::test]
async fn a_bucket_that_keeps_versions_and_locks_passes_the_probe() {
    let bench = StoreBench::start().await;
    let report = probe(&bench.deposit().await, DEMANDED).await.unwrap();
    assert_eq!(report.locked_days, 1);
    assert!(report.clock_ahead.unwrap().abs() < 2_000, "{report:?}");
}

#[tokio::test]
async fn a_bucket_without_versions_or_lock_is_refused() {
    let bench = StoreBench::start().await;
    bench.minio.make_bucket("plain", BucketKind::Plain).await.unwrap();
    assert_eq!(reason_in(&bench, "plain").await, Reason::NoVersioning);
    bench
        .minio
        .make_bucket("versioned", BucketKind::Versioned)
        .await
        .unwrap();
    assert_eq!(reason_in(&bench, "versioned").await, Reason::NoObjectLock);
    bench
        .minio
        .make_bucket("lockable", BucketKind::Lockable)
        .await
        .unwrap();
    assert_eq!(reason_in(&bench, "lockable").await, Reason::NoObjectLock);
}

#[tokio::test]
async fn a_lock_shorter_than_demanded_is_refused() {
    let bench = StoreBench::start().await;
    let demanded = Requirements {
        least_days: 14,
        ..DEMANDED
    };
    let error = probe(&bench.deposit().await, demanded).await.unwrap_err();
    assert_eq!(error.reason(), Reason::NoObjectLock);
    assert!(error.to_string().contains("COMPLIANCE for 1 days"), "{error}");
}

#[tokio::test]
async fn a_missing_bucket_is_named() {
    let bench = StoreBench::start().await;
    assert_eq!(reason_in(&bench, "nowhere").await, Reason::BucketMissing);
}

#[tokio::test]
async fn wrong_keys_are_told_from_missing_rights() {
    let bench = StoreBench::start().await;
    let mut keys = bench.deposit_keys().await;
    keys.secret_key.push('x');
    let store = StoreBench::store_as(&bench.settings(BUCKET), &keys);
    assert_eq!(
        probe(&store, DEMANDED).await.unwrap_err().reason(),
        Reason::StoreCredentialsRefused
    );
    keys.access_key = "nobody".into();
    let store = StoreBench::store_as(&bench.settings(BUCKET), &keys);
    assert_eq!(
        probe(&store, DEMANDED).await.unwrap_err().reason(),
        Reason::StoreCredentialsRefused
    );
    let store = StoreBench::store_as(
        &bench.settings("registries-of-others"),
        &bench.deposit_keys().await,
    );
    assert_eq!(
        probe(&store, DEMANDED).await.unwrap_err().reason(),
        Reason::StoreAccessDenied
    );
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let bench = StoreBench::start().await;
    let other = Authority::new("somebody else").unwrap().certificate();
    let settings = bench.settings(BUCKET).with_ca_bundle(Some(other)).unwrap();
    let store = StoreBench::store_as(&settings, &bench.deposit_keys().await);
    let error = probe(&store, DEMANDED).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreTlsFailed, "{error}");
    assert!(error.is_permanent());
}

#[tokio::test]
async fn a_certificate_that_has_ended_or_not_begun_is_refused_and_that_is_said() {
    let bench = StoreBench::start().await;
    for (from, until, said) in [(2001, 2002, "expired"), (2100, 2101, "not valid yet")] {
        let authority = bench.minio.authority();
        let certificate = authority.sign_between(&["127.0.0.1", "localhost"], from, until);
        bench.proxy.show(&certificate.unwrap()).unwrap();
        let error = probe(&bench.deposit().await, DEMANDED).await.unwrap_err();
        assert_eq!(error.reason(), Reason::StoreTlsFailed);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_bundle_without_certificates_is_refused() {
    let bench = StoreBench::start().await;
    for bundle in [
        "",
        "none",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let error = bench
            .settings(BUCKET)
            .with_ca_bundle(Some(bundle.into()))
            .unwrap_err();
        assert_eq!(error.reason(), Reason::InvalidCaBundle, "{bundle:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_gone_is_unreachable_and_may_come_back() {
    let mut bench = StoreBench::start().await;
    let store = bench.deposit().await;
    bench.minio.stop();
    let error = probe(&store, DEMANDED).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreUnreachable, "{error}");
    assert!(!error.is_permanent());
    bench.minio.resume().await.unwrap();
    probe(&store, DEMANDED).await.unwrap();
}

#[tokio::test]
async fn a_name_that_leads_to_a_forbidden_address_is_not_connected_to() {
    let bench = StoreBench::start().await;
    let endpoint = bench.minio.endpoint().replace("127.0.0.1", "localhost");
    let endpoint = Endpoint::parse(&endpoint, false).unwrap();
    // The name passes, as `localhost` is allowed here by the starter's word; the network list does not hold its address.
    let networks = Sovereignty::parse::<&str, _>(&[], &["203.0.113.0/24"]).unwrap();
    let sovereignty = networks.with_loopback(dataembassy_contract::sovereignty::Loopback::Allowed);
    let settings = StoreSettings::new(endpoint, BUCKET.into(), "us-east-1".into(), sovereignty)
        .unwrap()
        .with_ca_bundle(Some(bench.minio.authority().certificate()))
        .unwrap();
    let store = StoreBench::store_as(&settings, &bench.deposit_keys().await);
    let error = probe(&store, DEMANDED).await.unwrap_err();
    assert_eq!(error.reason(), Reason::NotSovereign, "{error}");
    let told = error.to_string();
    assert!(
        told.contains("https://localhost") && told.contains("allowedNetworks"),
        "{told}"
    );
}

#[tokio::test]
async fn home_puts_a_segment_once_and_cannot_read_it() {
    let bench = StoreBench::start().await;
    let store = bench.deposit().await;
    let (key, body) = (bench::segment(1), Bytes::from_static(b"sealed"));
    let first = store.put(&key, body.clone(), sha256(&body)).await.unwrap();
    assert!(matches!(first, PutOutcome::Stored(_)));
    assert_eq!(
        store.put(&key, body.clone(), sha256(&body)).await.unwrap(),
        PutOutcome::Exists
    );
    assert_eq!(
        store.open(&key, None).await.unwrap_err().reason(),
        Reason::StoreAccessDenied
    );
}

#[tokio::test]
async fn bytes_that_do_not_match_their_digest_are_not_stored() {
    let bench = StoreBench::start().await;
    let store = bench.deposit().await;
    let key = bench::segment(1);
    let error = store
        .put(&key, Bytes::from_static(b"changed"), sha256(b"sealed"))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::StoreFailed, "{error}");
    assert_eq!(
        bench.minio.keys(BUCKET, "registries/").await.unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_lost_reply_is_an_open_question_and_not_a_failure() {
    let bench = StoreBench::start().await;
    let store = bench.deposit().await;
    let body = Bytes::from_static(b"sealed");
    bench
        .proxy
        .inject(1, Fault::LoseReply, |method, _| method == Method::PUT);
    let error = store
        .put(&bench::segment(1), body.clone(), sha256(&body))
        .await
        .unwrap_err();
    assert!(!error.is_permanent(), "{error}");
    assert_eq!(
        bench.minio.keys(BUCKET, "registries/").await.unwrap(),
        [bench::segment(1).to_string()]
    );
}

#[tokio::test]
async fn the_client_repeats_nothing_by_itself() {
    let bench = StoreBench::start().await;
    let store = bench.deposit().await;
    let body = Bytes::from_static(b"sealed");
    bench
        .proxy
        .inject(5, Fault::Answer(StatusCode::SERVICE_UNAVAILABLE), |method, _| {
            method == Method::PUT
        });
    let error = store
        .put(&bench::segment(1), body.clone(), sha256(&body))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Failed { status: 503, .. }), "{error}");
    assert_eq!(bench.proxy.faults_left(), 4);
}

#[tokio::test]
async fn a_put_may_take_as_long_as_it_goes_on() {
    let bench = StoreBench::start().await;
    let store = bench.deposit().await;
    let body = Bytes::from(vec![7; 16 * 1024 * 1024]);
    let pace = Fault::Pace(2 * 1024 * 1024);
    bench.proxy.inject(1, pace, |method, _| method == Method::PUT);
    let began = Instant::now();
    let outcome = store
        .put(&bench::segment(1), body.clone(), sha256(&body))
        .await
        .unwrap();
    assert!(matches!(outcome, PutOutcome::Stored(_)), "{outcome:?}");
    // The bench's patience with a put is three seconds.
    assert!(began.elapsed() > Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stalled_store_is_given_up_within_patience() {
    let bench = StoreBench::start().await;
    let store = bench.deposit().await;
    let body = Bytes::from_static(b"sealed");
    bench
        .proxy
        .inject(1, Fault::Stall, |method, _| method == Method::PUT);
    let error = store
        .put(&bench::segment(1), body.clone(), sha256(&body))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn an_object_that_breaks_off_in_the_middle_is_told_apart_from_a_store_that_is_gone() {
    let bench = StoreBench::start().await;
    let body = Bytes::from(vec![7; 400_000]);
    let key = bench::segment(1);
    bench
        .deposit()
        .await
        .put(&key, body.clone(), sha256(&body))
        .await
        .unwrap();
    let user = StoreUser::Retrieval {
        registry: bench::REGISTRY.into(),
    };
    let keys = bench.minio.add_user(BUCKET, &user).await.unwrap();
    let store = StoreBench::store_as(&bench.settings(BUCKET), &keys);
    bench
        .proxy
        .inject(1, Fault::BreakOff, |method, _| method == Method::GET);
    let object = store.open(&key, None).await.unwrap();
    let error = object.read(1_000_000).await.unwrap_err();
    assert!(
        matches!(error, StoreError::BrokenOff { size: 400_000, .. }),
        "{error}"
    );
    let told = error.to_string();
    for words in ["is there", &key.to_string(), "of 400000 bytes", "disks"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("endpoint, network"), "{told}");
    assert!(!error.is_permanent(), "it may come whole the next time");
    let object = store.open(&key, None).await.unwrap();
    assert_eq!(object.read(1_000_000).await.unwrap(), body);
}

#[test]
fn keys_do_not_show_in_debug() {
    let keys = DepositKeys {
        access_key_id: "population".into(),
        secret_access_key: "hunter2".into(),
    };
    assert_eq!(format!("{keys:?}"), "DepositKeys");
}

#[tokio::test]
async fn each_request_is_one_that_the_gate_lets_through() {
    let bench = StoreBench::start().await;
    let store = bench.deposit().await;
    probe(&store, DEMANDED).await.unwrap();
    let body = Bytes::from_static(b"sealed");
    store
        .put(&bench::segment(1), body.clone(), sha256(&body))
        .await
        .unwrap();
    store.versions_of(&bench::entry(1)).await.unwrap();
    let _ = store.open(&bench::entry(1), None).await.unwrap_err();
    bench::assert_gate_lets_through(&bench.proxy.seen(), "population");
}

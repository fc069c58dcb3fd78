//! A gate whose configuration and certificate change while it works, and how it begins and ends.

use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_contract::files;
use dataembassy_contract::gate::GateReport;
use dataembassy_contract::report::{CheckState, SecretRole};
use dataembassy_testkit::authority::Authority;
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::{BUCKET, SignedClient};
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use rustls::CipherSuite;

use super::bench::GateBench;
use super::raw::{self, Raw};
use crate::bench::pauses::briefly;
use crate::bench::{REGISTRY, StoreBench, segment, sha256};

async fn passes(connection: &mut Raw, client: &SignedClient) -> bool {
    connection
        .send(raw::get(client, &format!("/{BUCKET}"), &[("versioning", "")]))
        .await;
    connection
        .answer()
        .await
        .is_some_and(|answer| answer.status == 200)
}

#[tokio::test]
async fn the_gate_chooses_the_cipher_that_costs_least_whatever_the_client_likes_best() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let liked = client.tls().crypto_provider().cipher_suites[0].suite();
    assert_eq!(liked, CipherSuite::TLS13_AES_256_GCM_SHA384);
    let connection = Raw::open(&client).await;
    assert_eq!(connection.cipher(), Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_who_comes_and_disturbs_nobody_who_is_there() {
    let bench = GateBench::start().await;
    let keys = bench.deposit(REGISTRY).await;
    let client = bench.signed(keys.clone());
    let mut connection = Raw::open(&client).await;
    assert!(passes(&mut connection, &client).await);
    let ends = bench.report().await.unwrap().certificate_ends_at.unwrap();
    assert_eq!(ends.to_string(), "4096-01-01T00:00:00Z");

    // From another authority, so that it can be told which one is shown.
    let authority = Authority::new("another authority").unwrap();
    bench.certify(&authority.sign(&["127.0.0.1"]).unwrap());
    let newcomer = SignedClient::new(&authority.certificate(), bench.gate.to_string(), keys).unwrap();
    let path = format!("/{BUCKET}");
    let query = [("versioning", "")];
    bench
        .until("the configuration to be whole", |report| report.refused.is_none())
        .await;
    let begun = std::time::Instant::now();
    while newcomer
        .send(Method::GET, &path, &query, &[], Vec::new())
        .await
        .is_err()
    {
        assert!(begun.elapsed() < Duration::from_secs(15));
        assert!(passes(&mut connection, &client).await);
        briefly().await;
    }
    assert!(
        passes(&mut connection, &client).await,
        "the old connection goes on"
    );
    client
        .send(Method::GET, &path, &query, &[], Vec::new())
        .await
        .unwrap_err();
}

#[tokio::test]
async fn what_cannot_be_used_is_reported_and_what_was_in_effect_stays() {
    let mut bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let mut connection = Raw::open(&client).await;
    let good = bench.certificate();
    let refused = |reason: Reason| {
        move |report: &GateReport| {
            report
                .refused
                .as_ref()
                .is_some_and(|fault| fault.reason == reason)
        }
    };
    let other = bench.certificate();
    bench.write(files::GATE_CERTIFICATE_KEY, &other.key);
    let report = bench
        .until("the mismatch", refused(Reason::CertificateInvalid))
        .await;
    assert!(report.refused.unwrap().message.contains("do not belong together"));
    // A certificate that cannot be used does not keep a configuration out.
    bench.configure(|config| config.lanes[0].fenced = true).await;
    assert!(passes(&mut Raw::open(&client).await, &client).await);

    bench.certify(&good);
    bench.write(files::CONFIG_FILE, "{\"embassy\":");
    bench
        .until("the fault", refused(Reason::ConfigurationInvalid))
        .await;
    assert!(passes(&mut Raw::open(&client).await, &client).await);
    assert!(passes(&mut connection, &client).await);
    assert!(
        bench
            .metrics()
            .await
            .contains("dataembassy_gate_configuration_current 0")
    );
    bench.configure(|config| config.lanes[0].fenced = false).await;
    let report = bench.report().await.unwrap();
    assert!(report.refused.is_none(), "{report:#?}");
}

#[tokio::test]
async fn a_gate_without_a_certificate_is_not_ready_and_says_what_is_missing() {
    let mut bench = GateBench::prepare(StoreBench::start().await);
    bench.write_config();
    bench.run();
    let report = loop {
        if let Some(report) = bench.report().await.filter(|report| report.refused.is_some()) {
            break report;
        }
        briefly().await;
    };
    assert_eq!(report.refused.unwrap().reason, Reason::SecretMissing);
    let keys: Vec<_> = report
        .missing_secrets
        .iter()
        .map(|missing| missing.key.as_str())
        .collect();
    assert_eq!(keys, ["tls.crt", "tls.key"]);
    assert_eq!(report.missing_secrets[0].secret, SecretRole::GateTls);
    assert_eq!(
        bench.status("/readyz", None).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(bench.status("/livez", None).await.status(), StatusCode::OK);
    bench.certify(&bench.certificate());
    bench
        .until("the certificate", |report| {
            report.refused.is_none() && report.missing_secrets.is_empty()
        })
        .await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    assert!(passes(&mut Raw::open(&client).await, &client).await);
    assert_eq!(bench.status("/readyz", None).await.status(), StatusCode::OK);
}

/// An older report would be taken for what is so now, and its times for older than they are.
#[tokio::test]
async fn every_report_tells_the_time_at_the_gate_even_where_nothing_else_has_changed() {
    let bench = GateBench::start().await;
    bench
        .until("a look at the store", |report| {
            report.store.state == CheckState::True
        })
        .await;
    let before = Timestamp::now();
    let answer = bench.status(files::STATUS_PATH, None).await;
    let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
    let told = GateReport::read(answer.body()).unwrap().at.unwrap();
    assert!(before <= told && told <= Timestamp::now(), "{told}");
    let again = bench.status(files::STATUS_PATH, Some(&tag)).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert!(GateReport::read(again.body()).unwrap().at.unwrap() > told);
}

#[tokio::test]
async fn a_registry_that_is_taken_from_the_configuration_passes_no_more_and_its_metrics_end() {
    let mut bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let mut connection = Raw::open(&client).await;
    assert!(passes(&mut connection, &client).await);
    let before = bench.metrics().await;
    assert!(before.contains("registry=\"population\""), "{before}");
    bench
        .configure(|config| config.lanes.retain(|lane| lane.registry != REGISTRY))
        .await;
    connection
        .send(raw::get(&client, &format!("/{BUCKET}"), &[("versioning", "")]))
        .await;
    assert_eq!(connection.answer().await.unwrap().refusal(), "UnknownUser");
    let metrics = bench.metrics().await;
    assert!(!metrics.contains("registry=\"population\""), "{metrics}");
}

#[tokio::test]
async fn a_request_under_way_is_finished_before_the_process_ends() {
    let mut bench = GateBench::start().await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let go_on = std::sync::Arc::new(tokio::sync::Notify::new());
    let told = std::sync::Arc::clone(&go_on);
    let hold = Fault::before(move || {
        let told = std::sync::Arc::clone(&told);
        async move { told.notified().await }
    });
    bench
        .store
        .proxy
        .inject(1, hold, |method, _| method == Method::PUT);
    let putting = tokio::spawn(async move {
        let body = bytes::Bytes::from_static(b"the last one");
        store.put(&segment(1), body, sha256(b"the last one")).await
    });
    bench
        .until("the put to be under way", |_| bench.reached() == 1)
        .await;
    let gate = bench.gate;
    let (status, put) = tokio::join!(bench.terminate(), async {
        // Nobody comes in any more; who is in is served.
        while tokio::net::TcpStream::connect(gate).await.is_ok() {
            briefly().await;
        }
        go_on.notify_one();
        putting.await.unwrap()
    });
    put.unwrap();
    assert_eq!(status, 0);
}

#[tokio::test]
async fn puts_go_on_while_configuration_and_certificate_change() {
    let mut bench = GateBench::start().await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let (ending, ended) = tokio::sync::watch::channel(false);
    let putting = (1..=4_u64).map(|sender| {
        let (store, ended) = (store.clone(), ended.clone());
        tokio::spawn(async move {
            let mut put = 0;
            while !*ended.borrow() {
                let body = bytes::Bytes::from(vec![7; 100_000]);
                let digest = sha256(&body);
                store
                    .put(&segment(sender * 100_000 + put), body, digest)
                    .await
                    .unwrap();
                put += 1;
            }
            put
        })
    });
    let putting: Vec<_> = putting.collect();
    for round in 1..=3 {
        bench.certify(&bench.certificate());
        bench
            .configure(|config| config.lanes[0].quota_bytes = Some(round << 40))
            .await;
    }
    ending.send_replace(true);
    let mut puts = 0;
    for sender in putting {
        puts += sender.await.unwrap();
    }
    let lane = bench.lane(REGISTRY).await;
    assert_eq!((lane.passed, lane.bytes_put), (puts, puts * 100_000));
    assert!(puts > 10 && lane.refused.is_empty(), "{lane:#?}");
}

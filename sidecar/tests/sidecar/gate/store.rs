//! A gate before a store in trouble: what the client is told, and what the report says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dataembassy_contract::Reason;
use dataembassy_contract::report::CheckState;
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::BUCKET;
use hyper::{Method, StatusCode};

use super::bench::GateBench;
use super::raw::{self, Raw};
use crate::bench::{REGISTRY, segment, sha256};

const MEBI: usize = 1 << 20;

fn path(number: u64) -> String {
    format!("/{BUCKET}/{}", segment(number))
}

/// Points the gate at MinIO itself, which can be stopped.
async fn without_proxy() -> GateBench {
    let mut bench = GateBench::start().await;
    let endpoint = bench.store.minio.endpoint();
    bench.configure(|config| config.store.endpoint = endpoint).await;
    bench
}

#[tokio::test]
async fn a_store_that_is_down_is_told_to_clients_and_in_the_report_until_it_is_back() {
    let mut bench = without_proxy().await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let put = async |number: u64| {
        store
            .put(&segment(number), Bytes::from_static(b"body"), sha256(b"body"))
            .await
    };
    put(1).await.unwrap();
    bench.store.minio.stop();
    let error = put(2).await.unwrap_err();
    assert!(!error.is_permanent(), "{error}");
    assert!(error.to_string().contains("503"), "{error}");
    let report = bench
        .until("the fault", |report| report.store.state == CheckState::False)
        .await;
    assert_eq!(report.store.reason, Reason::StoreUnreachable, "{report:#?}");
    assert!(
        bench
            .metrics()
            .await
            .contains("dataembassy_gate_store_reachable 0")
    );
    bench.store.minio.resume().await.unwrap();
    put(3).await.unwrap();
    let report = bench.report().await.unwrap();
    assert_eq!(report.store.state, CheckState::True);
    assert_eq!(report.lanes[0].passed, 2);
}

#[tokio::test]
async fn a_fault_of_the_store_is_found_without_any_request() {
    let mut bench = without_proxy().await;
    bench
        .until("a look", |report| report.store.state == CheckState::True)
        .await;
    bench.store.minio.stop();
    let report = bench
        .until("the fault", |report| report.store.state == CheckState::False)
        .await;
    assert_eq!(report.store.reason, Reason::StoreUnreachable);
}

#[tokio::test]
async fn a_store_with_a_certificate_of_another_authority_is_not_talked_to() {
    let bench = GateBench::start_with(|config| {
        let authority = dataembassy_testkit::authority::Authority::new("another authority").unwrap();
        config.store.ca_bundle = Some(authority.certificate());
    })
    .await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let mut connection = Raw::open(&client).await;
    connection
        .send(raw::get(&client, &format!("/{BUCKET}"), &[("versioning", "")]))
        .await;
    let answer = connection.answer().await.unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("StoreTlsFailed"), "{}", answer.body);
    let report = bench
        .until("the fault", |report| report.store.state == CheckState::False)
        .await;
    assert_eq!(report.store.reason, Reason::StoreTlsFailed, "{report:#?}");
    assert_eq!(bench.reached(), 0);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_not_taken_for_a_refusal() {
    let bench = GateBench::start().await;
    bench
        .store
        .proxy
        .inject(1, Fault::LoseReply, |method, _| method == Method::PUT);
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let mut connection = Raw::open(&client).await;
    connection.send(raw::put(&client, &path(1), b"body", &[])).await;
    connection.send("body").await;
    let answer = connection.answer().await.unwrap();
    assert_eq!((answer.status, answer.refusal()), (502, "none"), "{answer:?}");
    // The store has it, so it counts as if the answer had come.
    let used = "dataembassy_gate_used_bytes{registry=\"population\"} 4096";
    assert!(bench.metrics().await.contains(used));
}

#[tokio::test]
async fn what_the_store_answers_with_an_error_costs_no_quota() {
    let bench = GateBench::start().await;
    let unavailable = Fault::Answer(StatusCode::SERVICE_UNAVAILABLE);
    bench
        .store
        .proxy
        .inject(1, unavailable, |method, _| method == Method::PUT);
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let mut connection = Raw::open(&client).await;
    connection.send(raw::put(&client, &path(1), b"body", &[])).await;
    connection.send("body").await;
    let answer = connection.answer().await.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    let used = "dataembassy_gate_used_bytes{registry=\"population\"} 0";
    let metrics = bench.metrics().await;
    assert!(metrics.contains(used), "{metrics}");
}

#[tokio::test]
async fn a_store_that_takes_nothing_more_is_given_up() {
    let bench = GateBench::start().await;
    bench
        .store
        .proxy
        .inject(1, Fault::Stall, |method, _| method == Method::PUT);
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let body = vec![7; 32 * MEBI];
    let mut connection = Raw::open(&client).await;
    connection.send(raw::put(&client, &path(1), &body, &[])).await;
    let begun = Instant::now();
    let sending = tokio::time::timeout(Duration::from_secs(40), connection.send(&body)).await;
    assert!(
        sending.is_ok(),
        "the gate stops to take what nobody takes from it"
    );
    let answer = connection.answer().await.unwrap();
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_stores_own_no_to_a_long_body_reaches_the_client() {
    let bench = without_proxy().await;
    let mut keys = bench.deposit(REGISTRY).await;
    keys.secret_key.push('x');
    let store = bench.client(&keys);
    let body = Bytes::from(vec![7; 16 * MEBI]);
    let digest = sha256(&body);
    let error = store.put(&segment(1), body, digest).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreCredentialsRefused, "{error}");
}

#[tokio::test]
async fn a_connection_that_the_store_has_closed_is_not_used_again() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let query = [("versioning", "")];
    for round in 0..4 {
        // The proxy cuts the connection of every second request after its answer is known.
        if round % 2 == 1 {
            bench.store.proxy.inject(
                1,
                Fault::Answer(StatusCode::SERVICE_UNAVAILABLE),
                |method, target| method == Method::GET && target.contains("versioning"),
            );
        }
        let answer = client
            .send(Method::GET, &format!("/{BUCKET}"), &query, &[], Vec::new())
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), if round % 2 == 1 { 503 } else { 200 });
    }
}

#[tokio::test]
async fn a_store_without_tls_needs_a_word_of_permission() {
    let plain = plain::Store::start().await;
    let mut bench = GateBench::start().await;
    let endpoint = plain.endpoint();
    bench.config.store.endpoint.clone_from(&endpoint);
    bench.config.store.ca_bundle = None;
    bench.write_config();
    let report = bench
        .until("the refusal", |report| report.refused.is_some())
        .await;
    assert_eq!(report.refused.unwrap().reason, Reason::InsecureEndpoint);
    bench.configure(|config| config.store.allow_insecure = true).await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let mut connection = Raw::open(&client).await;
    connection
        .send(raw::get(&client, &format!("/{BUCKET}"), &[("versioning", "")]))
        .await;
    let answer = connection.answer().await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "in the clear"));
}

/// Answers everything in one way, without TLS.
mod plain {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    pub struct Store(u16, tokio::task::JoinHandle<()>);

    impl Store {
        pub async fn start() -> Self {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let answering = tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut head = [0; 8192];
                    let _ = stream.read(&mut head).await;
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\nset-cookie: a\r\nconnection: close\r\n\r\nin the clear";
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            });
            Self(port, answering)
        }

        pub fn endpoint(&self) -> String {
            format!("http://127.0.0.1:{}", self.0)
        }
    }

    impl Drop for Store {
        fn drop(&mut self) {
            self.1.abort();
        }
    }
}

#[tokio::test]
async fn a_large_answer_passes_whole_and_an_endless_one_is_cut() {
    let bench = without_proxy().await;
    let keys = bench.retrieval(REGISTRY).await;
    let mut bench = bench;
    bench
        .configure(|config| config.lanes[0].home_may_retrieve = true)
        .await;
    let whole: Vec<u8> = (0..20 * MEBI).map(|at| u8::try_from(at % 251).unwrap()).collect();
    bench
        .store
        .minio
        .put(BUCKET, &segment(1).to_string(), whole.clone())
        .await
        .unwrap();
    let versions = bench
        .store
        .minio
        .root()
        .versions(BUCKET, &segment(1).to_string())
        .await
        .unwrap();
    let client = bench.signed(keys);
    let query = [("versionId", versions[0].id.as_str())];
    let answer = client
        .send(Method::GET, &path(1), &query, &[], Vec::new())
        .await
        .unwrap();
    assert!(answer.status().is_success() && answer.body().as_ref() == whole);

    let too_large = vec![7; 65 * MEBI];
    bench
        .store
        .minio
        .put(BUCKET, &segment(2).to_string(), too_large)
        .await
        .unwrap();
    let versions = bench
        .store
        .minio
        .root()
        .versions(BUCKET, &segment(2).to_string())
        .await
        .unwrap();
    let query = [("versionId", versions[0].id.as_str())];
    let answer = client
        .send(Method::GET, &path(2), &query, &[], Vec::new())
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
}

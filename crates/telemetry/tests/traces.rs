//! Traces reach a collector, and only one that is set.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use dataembassy_telemetry::{AddressGuard, Collector, Level, Settings, start};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_span_is_delivered_before_the_process_stops() {
    let (seen, mut arrived) = mpsc::channel(8);
    let collector = Router::new().route(
        "/v1/traces",
        post(move |headers: HeaderMap, body: Bytes| {
            let seen = seen.clone();
            async move {
                seen.send((headers, body)).await.unwrap();
            }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, collector).await });

    let telemetry = start(&Settings {
        service: "dataembassy-test",
        version: "0.0.0",
        level: Level::default(),
        collector: Some(Collector {
            endpoint,
            certificates: None,
        }),
        address_guard: AddressGuard::none(),
    })
    .unwrap();
    tracing::info_span!(target: "dataembassy_test", "one_run", registry = "population").in_scope(|| {
        tracing::info_span!(target: "somebody_elses_library", "inner").in_scope(|| {});
    });
    tokio::task::spawn_blocking(|| telemetry.stop(Duration::from_secs(5)))
        .await
        .unwrap();

    let (headers, body) = tokio::time::timeout(Duration::from_secs(5), arrived.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let holds = |word: &str| body.windows(word.len()).any(|window| window == word.as_bytes());
    assert!(holds("one_run") && holds("population") && holds("dataembassy-test"));
    assert!(!holds("inner"), "spans of libraries are not ours to send");
}

#[test]
fn an_https_collector_without_certificates_is_refused() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _within = runtime.enter();
    let error = start(&Settings {
        service: "dataembassy-test",
        version: "0.0.0",
        level: Level::default(),
        collector: Some(Collector {
            endpoint: "https://collector:4318".to_owned(),
            certificates: None,
        }),
        address_guard: AddressGuard::none(),
    })
    .unwrap_err();
    assert!(error.to_string().contains("name a PEM file"), "{error}");
}

#[test]
fn a_level_that_is_no_level_is_refused_with_the_ones_there_are() {
    let error = "dataembassy=debug".parse::<Level>().unwrap_err().to_string();
    assert!(error.contains("error, warn, info, debug or trace"), "{error}");
}

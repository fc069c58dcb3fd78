//! One run is one trace: from what it answers to each put and to the commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::bench::mirror::MirrorBench;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use dataembassy_contract::files;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// A collector that keeps what it gets.
async fn collector() -> (String, Arc<Mutex<Vec<Span>>>) {
    let spans = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&spans);
    let take = move |body: Bytes| async move {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let scopes = request
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans);
        kept.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route("/v1/traces", post(take));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (endpoint, spans)
}

#[tokio::test]
async fn a_triggered_run_is_one_trace_with_each_of_its_puts() {
    let (endpoint, spans) = collector().await;
    let mut bench = MirrorBench::start(17).await;
    bench.environment.push((files::OTLP_ENDPOINT_VARIABLE, endpoint));
    bench.config.suspend = true;
    bench.config.trigger = Some("before the upgrade".into());
    bench.write_config();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    assert_eq!(sidecar.terminate().await, 0);
    let spans = std::mem::take(&mut *spans.lock().unwrap());
    let runs: Vec<&Span> = spans.iter().filter(|span| span.name == "run").collect();
    let [run] = runs.as_slice() else {
        panic!("{} runs", runs.len())
    };
    assert!(run.parent_span_id.is_empty());
    assert!(format!("{:?}", run.attributes).contains("before the upgrade"));
    let parents: BTreeMap<&[u8], &[u8]> = spans
        .iter()
        .map(|span| (span.span_id.as_slice(), span.parent_span_id.as_slice()))
        .collect();
    let descends = |span: &Span| {
        let mut above = span.parent_span_id.as_slice();
        while above != run.span_id {
            // A parent that nobody sent, or none, is no way to the run.
            let Some(&next) = parents.get(above) else {
                return false;
            };
            above = next;
        }
        true
    };
    let of_run = |name: &str| {
        let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        for &span in &named {
            assert_eq!(span.trace_id, run.trace_id, "{span:?} is of another trace");
            assert!(descends(span), "{span:?} does not descend from the run");
        }
        named.len()
    };
    let objects = bench
        .store
        .minio
        .keys("registries", "registries/population/copies/")
        .await
        .unwrap();
    assert_eq!(of_run("put"), objects.len());
    assert_eq!(of_run("commit"), 1);
}

//! What does not pass: well-formed requests with good signatures, which the store would partly do. Each is refused, counted, and
//! reaches nobody.

use bytes::Bytes;
use dataembassy_contract::Reason;
use dataembassy_testkit::minio::{BUCKET, SignedClient};
use hyper::{Method, Response};

use super::bench::{GateBench, OTHER};
use super::raw::{self, Raw};
use crate::bench::{REGISTRY, segment, sha256};

const COPY: &str = "registries/population/copies/0123456789abcdef0123456789abcdef";

/// A request that must be refused, and the word of it.
struct Attempt {
    method: Method,
    path: String,
    query: Vec<(&'static str, &'static str)>,
    headers: Vec<(&'static str, &'static str)>,
    word: &'static str,
}

fn attempt(method: Method, path: &str, word: &'static str) -> Attempt {
    Attempt {
        method,
        path: format!("/{BUCKET}{path}"),
        query: Vec::new(),
        headers: Vec::new(),
        word,
    }
}

impl Attempt {
    fn query(mut self, name: &'static str, value: &'static str) -> Self {
        self.query.push((name, value));
        self
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    async fn send(&self, client: &SignedClient) -> Response<Bytes> {
        let body = if self.method == Method::PUT || self.method == Method::POST {
            b"a body".to_vec()
        } else {
            Vec::new()
        };
        let method = self.method.clone();
        client
            .send(method, &self.path, &self.query, &self.headers, body)
            .await
            .unwrap()
    }
}

fn attempts() -> Vec<Attempt> {
    let segment = format!("/{COPY}/00000001");
    let put = |word| attempt(Method::PUT, &segment, word).header("if-none-match", "*");
    let entry = "/registries/population/source/0001-000000000001";
    vec![
        attempt(Method::PUT, &segment, "Unconditional"),
        put("Query").query("versionId", "8a7b0d9c-8a26-4e3d-9d4f-6a1e0f3a2b1c"),
        put("Query").query("partNumber", "1").query("uploadId", "abc"),
        put("Query").query("retention", ""),
        put("Query").query("tagging", ""),
        put("Header").header("x-amz-meta-snowball-auto-extract", "true"),
        put("Header").header("x-amz-copy-source", "/registries/embassy.json"),
        put("Header").header("x-amz-object-lock-mode", "GOVERNANCE"),
        put("Header").header("x-minio-source-mtime", "2020-01-01T00:00:00Z"),
        put("Header").header("x-amz-tagging", "a=b"),
        put("Header").header("content-encoding", "aws-chunked"),
        put("Header").header("content-type", "multipart/form-data; boundary=b"),
        attempt(Method::POST, &segment, "Method"),
        attempt(Method::POST, "", "Method"),
        attempt(Method::POST, &segment, "Method").query("uploads", ""),
        attempt(Method::DELETE, &segment, "Method"),
        attempt(Method::DELETE, entry, "Method"),
        attempt(Method::PUT, "", "Method"),
        attempt(Method::GET, "", "Query").query("policy", ""),
        attempt(Method::GET, "", "Query").query("uploads", ""),
        attempt(Method::GET, "", "OtherPlace")
            .query("list-type", "2")
            .query("prefix", "registries/"),
        attempt(Method::GET, "", "OtherPlace")
            .query("prefix", "registries/business/source/")
            .query("versions", ""),
        attempt(Method::GET, &segment, "OtherPlace"),
        attempt(
            Method::GET,
            "/registries/business/source/0001-000000000001",
            "OtherPlace",
        ),
        attempt(
            Method::PUT,
            "/registries/business/copies/0123456789abcdef0123456789abcdef/00000001",
            "OtherPlace",
        )
        .header("if-none-match", "*"),
        attempt(
            Method::PUT,
            "/registries/population/custody/000000000001",
            "OtherPlace",
        )
        .header("if-none-match", "*"),
        attempt(Method::PUT, "/embassy.json", "OtherPlace").header("if-none-match", "*"),
        attempt(
            Method::PUT,
            "/registries/population/source/0002-000000000001",
            "OtherTerm",
        )
        .header("if-none-match", "*"),
        attempt(Method::PUT, "/registries/population/notes.txt", "Target").header("if-none-match", "*"),
        attempt(Method::GET, "/../minio/admin/v3/info", "Target"),
        attempt(Method::GET, entry, "Header").header("range", "bytes=0-1"),
    ]
}

#[tokio::test]
async fn everything_but_the_work_of_a_mirror_is_refused_counted_and_reaches_nobody() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let mut counts = std::collections::BTreeMap::new();
    for attempt in attempts() {
        let answer = attempt.send(&client).await;
        let what = format!("{} {} {:?}", attempt.method, attempt.path, attempt.query);
        let word = answer
            .headers()
            .get("x-dataembassy-refused")
            .map(|word| word.to_str().unwrap());
        assert_eq!(word, Some(attempt.word), "{what}: {answer:?}");
        assert_eq!(answer.status(), 403, "{what}");
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        assert!(body.contains("<Code>AccessDenied</Code>"), "{what}: {body}");
        assert!(body.contains(&format!("({})", attempt.word)), "{what}: {body}");
        *counts.entry(attempt.word).or_insert(0) += 1;
    }
    for (word, count) in counts {
        assert_eq!(bench.refused(REGISTRY, word).await, count, "{word}");
    }
    assert_eq!(bench.reached(), 0);
    assert!(bench.store.minio.keys(BUCKET, "").await.unwrap().is_empty());
    let metrics = bench.metrics().await;
    let row = "dataembassy_gate_refused_total{registry=\"population\",refusal=\"Method\"}";
    assert!(metrics.contains(row), "{metrics}");
    let log = bench.log();
    assert!(log.contains("a request was refused"), "{log}");
}

#[tokio::test]
async fn lengths_are_demanded_and_bounded() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let path = format!("/{BUCKET}/{}", segment(1));
    for (length, status, code, word) in [
        (None, 411, "MissingContentLength", "NoLength"),
        (Some("0"), 400, "EntityTooLarge", "Length"),
        (Some("67108865"), 400, "EntityTooLarge", "Length"),
    ] {
        let more: Vec<_> = length
            .map(|length| ("content-length", length))
            .into_iter()
            .collect();
        let head = raw::head(
            &client,
            "PUT",
            &path,
            &[],
            &[("if-none-match", "*")],
            raw::EMPTY,
            &more,
        );
        let mut connection = Raw::open(&client).await;
        connection.send(head).await;
        let answer = connection.answer().await.unwrap();
        assert_eq!((answer.status, answer.refusal()), (status, word), "{answer:?}");
        assert!(answer.body.contains(code), "{}", answer.body);
    }
    assert_eq!(bench.reached(), 0);
}

#[tokio::test]
async fn who_is_no_user_of_a_registry_here_passes_nothing_and_is_counted_apart() {
    let bench = GateBench::start().await;
    let root = bench.signed(bench.store.minio.root().credentials().clone());
    let unknown = bench.signed(bench.deposit("health").await);
    let path = format!("/{BUCKET}/embassy.json");
    for client in [&root, &unknown] {
        let answer = client
            .send(Method::GET, &path, &[], &[], Vec::new())
            .await
            .unwrap();
        assert_eq!(answer.headers()["x-dataembassy-refused"], "UnknownUser");
    }
    let mut connection = Raw::open(&root).await;
    connection
        .send(format!("GET {path} HTTP/1.1\r\nhost: gate\r\n\r\n"))
        .await;
    assert_eq!(connection.answer().await.unwrap().refusal(), "NotSigned");
    // A query can be signed as well; presigned requests do not pass.
    let presigned = format!("{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=population%2F20261123");
    connection
        .send(format!("GET {presigned} HTTP/1.1\r\nhost: gate\r\n\r\n"))
        .await;
    assert_eq!(connection.answer().await.unwrap().refusal(), "NotSigned");
    let report = bench
        .until("the counts", |report| report.unclaimed.len() == 2)
        .await;
    let rows = report.unclaimed.iter();
    let counts: Vec<_> = rows.map(|row| (row.refusal.as_str(), row.count)).collect();
    assert_eq!(counts, [("NotSigned", 2), ("UnknownUser", 2)]);
    assert!(report.lanes.is_empty(), "{report:#?}");
    assert_eq!(bench.reached(), 0);
}

#[tokio::test]
async fn the_store_and_not_the_gate_finds_a_wrong_signature() {
    let bench = GateBench::start().await;
    let mut keys = bench.deposit(REGISTRY).await;
    keys.secret_key.push('x');
    let client = bench.signed(keys);
    let answer = client
        .send(
            Method::GET,
            &format!("/{BUCKET}/embassy.json"),
            &[],
            &[],
            Vec::new(),
        )
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    let body = String::from_utf8(answer.body().to_vec()).unwrap();
    assert!(body.contains("SignatureDoesNotMatch"), "{body}");
    // Nobody who holds no key makes a registry look alive.
    let lane = bench.lane(REGISTRY).await;
    assert_eq!((lane.passed, lane.heard_at), (1, None));
}

#[tokio::test]
async fn a_registry_that_the_gate_does_not_know_is_told_so_by_our_own_client() {
    let bench = GateBench::start_with(|config| config.lanes.retain(|lane| lane.registry == OTHER)).await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let error = store
        .put(&segment(1), Bytes::from_static(b"body"), sha256(b"body"))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::GateRefused, "{error}");
    assert!(error.is_permanent());
    assert!(
        error
            .to_string()
            .contains("the gate knows no registry of this user"),
        "{error}"
    );
}

#[tokio::test]
async fn copies_are_read_back_by_version_and_only_while_that_is_allowed() {
    let mut bench = GateBench::start().await;
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let outcome = store
        .put(&segment(1), Bytes::from_static(b"body"), sha256(b"body"))
        .await
        .unwrap();
    let dataembassy_sidecar::store::PutOutcome::Stored(version) = outcome else {
        panic!("{outcome:?}");
    };
    let retrieval = bench.client(&bench.retrieval(REGISTRY).await);
    let refused = retrieval.open(&segment(1), Some(&version)).await.unwrap_err();
    assert!(refused.to_string().contains("RetrievalClosed"), "{refused}");
    bench
        .configure(|config| config.lanes[0].home_may_retrieve = true)
        .await;
    let read = retrieval.open(&segment(1), Some(&version)).await.unwrap();
    assert_eq!(read.read(100).await.unwrap(), "body");
    let listed = retrieval.versions_of(&segment(1)).await.unwrap();
    assert_eq!(listed.len(), 1);
    let refused = retrieval.open(&segment(1), None).await.unwrap_err();
    assert!(refused.to_string().contains("(Query)"), "{refused}");
    let refused = retrieval
        .put(&segment(2), Bytes::from_static(b"body"), sha256(b"body"))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("(OtherPlace)"), "{refused}");
    assert!(bench.lane(REGISTRY).await.retrieved_at.is_some());
    assert!(
        bench
            .metrics()
            .await
            .contains("dataembassy_gate_retrieval_open{registry=\"population\"} 1")
    );
    bench
        .configure(|config| config.lanes[0].home_may_retrieve = false)
        .await;
    retrieval.open(&segment(1), Some(&version)).await.unwrap_err();
    assert_eq!(bench.refused(REGISTRY, "RetrievalClosed").await, 2);
}

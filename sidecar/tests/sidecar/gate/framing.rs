//! Requests that two readers could understand differently, and bytes after them: what the gate judges is all that the store gets.

use dataembassy_testkit::minio::{BUCKET, SignedClient};
use hyper::Method;

use super::bench::GateBench;
use super::raw::{self, Raw};
use crate::bench::{REGISTRY, entry, segment, sha256};

fn path() -> String {
    format!("/{BUCKET}/{}", segment(1))
}

/// A put of `body`, complete, as somebody hides it behind something else.
fn hidden(client: &SignedClient) -> String {
    let body = b"smuggled";
    let path = format!("/{BUCKET}/{}", segment(66));
    raw::put(client, &path, body, &[]) + "smuggled"
}

async fn nothing_arrived(bench: &GateBench) {
    assert_eq!(bench.reached(), 0, "{:#?}", bench.store.proxy.seen());
    assert!(bench.store.minio.keys(BUCKET, "").await.unwrap().is_empty());
}

/// Each is wrong in one thing; `@` stands for the target.
#[tokio::test]
async fn heads_that_could_be_read_in_two_ways_are_refused() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let digest = sha256(b"body").to_string();
    let (target, signed) = client.sign("PUT", &path(), &[], &[("if-none-match", "*")], &digest);
    let signed: Vec<String> = signed
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let signed = signed.concat();
    for (first, more) in [
        (
            "PUT @ HTTP/1.1",
            "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        ),
        (
            "PUT @ HTTP/1.1",
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        ),
        ("PUT @ HTTP/1.1", "transfer-encoding: chunked\r\n"),
        ("PUT @ HTTP/1.1", "transfer-encoding: identity\r\n"),
        (
            "PUT @ HTTP/1.1",
            "transfer-encoding: xchunked\r\ncontent-length: 4\r\n",
        ),
        (
            "PUT @ HTTP/1.1",
            "transfer-encoding:\x0bchunked\r\ncontent-length: 4\r\n",
        ),
        (
            "PUT @ HTTP/1.1",
            "transfer-encoding : chunked\r\ncontent-length: 4\r\n",
        ),
        ("PUT @ HTTP/1.1", "content-length: 4\r\ncontent-length: 5\r\n"),
        ("PUT @ HTTP/1.1", "content-length: 4, 4\r\n"),
        ("PUT @ HTTP/1.1", "content-length: +4\r\n"),
        ("PUT @ HTTP/1.1", "content-length: 04\r\n"),
        ("PUT @ HTTP/1.1", "content-length: 0x4\r\n"),
        ("PUT @ HTTP/1.1", "content-length: 99999999999999999999\r\n"),
        (
            "PUT @ HTTP/1.1",
            "content-length: 4\r\nuser-agent: a\r\n b: c\r\n",
        ),
        ("PUT @ HTTP/1.1", "content-length: 4\r\nif-none-match: *\r\n"),
        ("PUT @ HTTP/1.1", "content-length: 4\r\nhost: other\r\n"),
        (
            "PUT @ HTTP/1.1",
            "content-length: 4\r\nauthorization: AWS4-HMAC-SHA256 Credential=root\r\n",
        ),
        (
            "PUT @ HTTP/1.1",
            "content-length: 4\r\nconnection: if-none-match\r\n",
        ),
        (
            "PUT @ HTTP/1.1",
            "content-length: 4\r\nconnection: upgrade\r\nupgrade: h2c\r\n",
        ),
        ("PUT @ HTTP/1.1", "content-length: 4\r\nte: trailers\r\n"),
        ("PUT @ HTTP/1.1", "content-length: 4\r\nuser-agent: a\rb\r\n"),
        ("PUT @ HTTP/1.1", "content-length: 4\r\nuser-agent: a\0b\r\n"),
        ("PUT @ HTTP/1.1", "content-length: 4\r\nx y: z\r\n"),
        ("PUT @ HTTP/1.0", "content-length: 4\r\n"),
        ("PUT @ HTTP/2.0", "content-length: 4\r\n"),
        ("PUT @", "content-length: 4\r\n"),
        ("PUT https://gate@ HTTP/1.1", "content-length: 4\r\n"),
        ("PUT //gate@ HTTP/1.1", "content-length: 4\r\n"),
        ("PUT @ @ HTTP/1.1", "content-length: 4\r\n"),
        ("PUT\t@ HTTP/1.1", "content-length: 4\r\n"),
        ("P\0UT @ HTTP/1.1", "content-length: 4\r\n"),
        ("PUT @%00 HTTP/1.1", "content-length: 4\r\n"),
        ("PUT @;a HTTP/1.1", "content-length: 4\r\n"),
        ("OPTIONS * HTTP/1.1", ""),
        ("CONNECT store:9000 HTTP/1.1", ""),
        ("TRACE @ HTTP/1.1", ""),
    ] {
        let head = format!("{}\r\n{signed}{more}\r\n", first.replace('@', &target));
        let mut connection = Raw::open(&client).await;
        connection.send(head).await;
        // A chunk, and the body that the length says: whichever way it is read, something follows.
        connection.send("4\r\nbody\r\n0\r\n\r\nbody").await;
        connection.send(hidden(&client)).await;
        let answer = connection.answer().await;
        let refused = answer
            .as_ref()
            .is_none_or(|answer| (400..500).contains(&answer.status) || answer.status == 505);
        assert!(refused, "{first:?} {more:?}: {answer:?}");
        let rest = connection.end().await;
        assert!(!rest.contains("HTTP/1.1 2"), "{first:?} {more:?}: {rest}");
    }
    nothing_arrived(&bench).await;
}

#[tokio::test]
async fn the_preface_of_another_protocol_ends_the_connection() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let mut connection = Raw::open(&client).await;
    connection
        .send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    let said = connection.end().await;
    assert!(!said.contains(" 200 "), "{said}");
    nothing_arrived(&bench).await;
    let malformed = |report: &dataembassy_contract::gate::GateReport| {
        report.unclaimed.iter().any(|row| row.refusal == "Malformed")
    };
    bench.until("the count", malformed).await;
}

#[tokio::test]
async fn the_body_of_a_refused_put_is_not_taken_for_a_request() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let body = hidden(&client);
    let elsewhere = path().replace("population", "business");
    let head = raw::put(&client, &elsewhere, body.as_bytes(), &[]);
    for expect in [false, true] {
        let mut connection = Raw::open(&client).await;
        let head = if expect {
            head.replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n")
        } else {
            head.clone()
        };
        connection.send(head).await;
        if expect {
            // It is answered before its body is asked for.
            let answer = connection.answer().await.unwrap();
            assert_eq!((answer.status, answer.refusal()), (403, "OtherPlace"));
            assert_eq!(answer.header("connection"), Some("close"));
            connection.send(&body).await;
        } else {
            connection.send(&body).await;
            let answer = connection.answer().await.unwrap();
            assert_eq!((answer.status, answer.refusal()), (403, "OtherPlace"));
        }
        let rest = connection.end().await;
        assert!(rest.is_empty(), "{rest}");
    }
    nothing_arrived(&bench).await;
}

#[tokio::test]
async fn a_body_of_a_read_is_refused_and_not_taken_for_a_request() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let body = hidden(&client);
    let length = body.len().to_string();
    for (framing, value) in [
        ("content-length", length.as_str()),
        ("transfer-encoding", "chunked"),
    ] {
        let entry = format!("/{BUCKET}/{}", entry(1));
        let head = raw::head(&client, "GET", &entry, &[], &[], raw::EMPTY, &[(framing, value)]);
        let mut connection = Raw::open(&client).await;
        connection.send(head).await;
        connection.send(&body).await;
        let answer = connection.answer().await.unwrap();
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(connection.end().await.is_empty());
    }
    nothing_arrived(&bench).await;
}

#[tokio::test]
async fn bytes_after_a_body_are_a_request_of_their_own_and_judged_as_one() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let other = format!("/{BUCKET}/registries/business/source/0001-000000000001");
    let both = raw::put(&client, &path(), b"body", &[]) + "body" + &raw::get(&client, &other, &[]);
    let mut connection = Raw::open(&client).await;
    connection.send(both).await;
    assert_eq!(connection.answer().await.unwrap().status, 200);
    assert_eq!(connection.answer().await.unwrap().refusal(), "OtherPlace");
    // More than was declared: the object has what was declared, and the rest is no request.
    let path = path().replace("00000001", "00000002");
    let more = raw::put(&client, &path, b"body", &[]) + "bodyand more of it\r\n\r\n";
    let mut connection = Raw::open(&client).await;
    connection.send(more).await;
    assert_eq!(connection.answer().await.unwrap().status, 200);
    assert!(!connection.end().await.contains(" 200 "));
    let stored = bench
        .store
        .minio
        .get(BUCKET, &segment(2).to_string())
        .await
        .unwrap();
    assert_eq!(stored, b"body");
    assert_eq!(bench.reached(), 2);
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_turn() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    bench
        .store
        .minio
        .put(BUCKET, "embassy.json", b"{}".to_vec())
        .await
        .unwrap();
    let one = raw::get(&client, &format!("/{BUCKET}/embassy.json"), &[]);
    let two = raw::get(&client, &format!("/{BUCKET}"), &[("policy", "")]);
    let three = raw::get(&client, &format!("/{BUCKET}"), &[("versioning", "")]);
    let mut connection = Raw::open(&client).await;
    connection.send(one.clone() + &two + &three + &one).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        let answer = connection.answer().await.unwrap();
        answers.push((answer.status, answer.refusal().to_owned()));
    }
    let passed = (200, "none".to_owned());
    let refused = (403, "Query".to_owned());
    assert_eq!(answers, [passed.clone(), refused, passed.clone(), passed]);
}

#[tokio::test]
async fn a_body_that_ends_early_is_no_object() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let mut connection = Raw::open(&client).await;
    let body = vec![7; 300_000];
    connection.send(raw::put(&client, &path(), &body, &[])).await;
    connection.send(&body[..200_000]).await;
    drop(connection);
    bench
        .until("the count", |report| {
            let rows = report.lanes.iter().flat_map(|lane| &lane.refused);
            rows.filter(|row| row.refusal == "Incomplete").count() == 1
        })
        .await;
    assert!(bench.store.minio.keys(BUCKET, "").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_put_that_expects_to_be_told_is_told_when_it_may_go_on() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let mut connection = Raw::open(&client).await;
    connection
        .send(raw::put(&client, &path(), b"body", &[("expect", "100-continue")]))
        .await;
    assert_eq!(connection.answer().await.unwrap().status, 100);
    connection.send("body").await;
    assert_eq!(connection.answer().await.unwrap().status, 200);
    let seen = bench.store.proxy.seen();
    let put = seen.iter().find(|seen| seen.method == Method::PUT).unwrap();
    assert_eq!(put.headers["expect"], "100-continue");
}

#[tokio::test]
async fn a_refused_put_is_read_to_its_answer_even_by_who_sends_all_of_it_first() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let elsewhere = path().replace("population", "business");
    let body = vec![7; 8 << 20];
    let mut connection = Raw::open(&client).await;
    connection.send(raw::put(&client, &elsewhere, &body, &[])).await;
    connection.send(&body).await;
    let answer = connection.answer().await.unwrap();
    assert_eq!(answer.refusal(), "OtherPlace");
}

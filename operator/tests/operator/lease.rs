//! The write lease against an API server that goes silent, or whose answers are lost.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use dataembassy_operator::lease::{LENGTH, WriteLease};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// What becomes of a write.
#[derive(Clone, Copy, PartialEq)]
enum Answers {
    /// It is made and acknowledged.
    Right,
    /// Nothing is answered, and nothing made.
    Never,
    /// The next write is made, and its acknowledgement lost.
    LostOnce,
}

/// One lease, and how the API server treats whoever writes it.
struct ApiServer {
    lease: Option<Value>,
    version: u64,
    answers: Answers,
}

impl ApiServer {
    /// Status and body of an answer; none where nobody answers.
    fn answer(&mut self, method: &http::Method, body: &[u8]) -> Option<(u16, Value)> {
        if self.answers == Answers::Never {
            return None;
        }
        if *method == http::Method::GET {
            return Some(match &self.lease {
                Some(lease) => (200, lease.clone()),
                None => refusal(404, "NotFound"),
            });
        }
        let mut lease: Value = serde_json::from_slice(body).unwrap();
        let based_on = &lease["metadata"]["resourceVersion"];
        if self
            .lease
            .as_ref()
            .is_some_and(|stands| stands["metadata"]["resourceVersion"] != *based_on)
        {
            return Some(refusal(409, "Conflict"));
        }
        self.version += 1;
        lease["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.lease = Some(lease.clone());
        if self.answers == Answers::LostOnce {
            self.answers = Answers::Right;
            return None;
        }
        Some((200, lease))
    }
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code});
    (code, status)
}

fn start() -> (Arc<Mutex<ApiServer>>, WriteLease) {
    let server = Arc::new(Mutex::new(ApiServer {
        lease: None,
        version: 0,
        answers: Answers::Right,
    }));
    let asked = Arc::clone(&server);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let asked = Arc::clone(&asked);
        async move {
            let method = request.method().clone();
            let bytes = request.into_body().collect().await?.to_bytes();
            let answer = asked.lock().unwrap().answer(&method, &bytes);
            let Some((status, body)) = answer else {
                return std::future::pending().await;
            };
            let response = http::Response::builder().status(status);
            Ok::<_, kube::Error>(response.body(Body::from(body.to_string().into_bytes())).unwrap())
        }
    });
    let client = Client::new(service, "default");
    (server, WriteLease::new(client, "system", "one".to_owned()))
}

#[tokio::test]
async fn whoever_holds_it_ends_before_another_may_take_it_although_nobody_answers() {
    let (server, lease) = start();
    let held = lease.acquire().await;
    let last = Instant::now();
    server.lock().unwrap().answers = Answers::Never;
    let end = lease.hold(held).await.to_string();
    let went_on = last.elapsed();
    assert!(went_on < LENGTH, "{went_on:?}");
    assert!(went_on > LENGTH / 2, "it gives up too early: {went_on:?}");
    assert!(end.contains("has not answered"), "{end}");
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_is_ours() {
    let (server, lease) = start();
    let held = lease.acquire().await;
    server.lock().unwrap().answers = Answers::LostOnce;
    let held_on = tokio::time::timeout(LENGTH * 2, lease.hold(held)).await;
    assert!(held_on.is_err(), "{held_on:?}");
    assert!(server.lock().unwrap().version > 5);
}

#[tokio::test]
async fn a_lease_that_another_has_taken_is_lost_at_once() {
    let (server, lease) = start();
    let held = lease.acquire().await;
    {
        let mut server = server.lock().unwrap();
        let stands = server.lease.as_mut().unwrap();
        stands["spec"]["holderIdentity"] = "another".into();
        stands["metadata"]["resourceVersion"] = "99".into();
    }
    let begun = Instant::now();
    let end = lease.hold(held).await.to_string();
    assert!(end.contains("another operator"), "{end}");
    assert!(begun.elapsed() < LENGTH / 2);
}

#[tokio::test]
async fn whoever_waits_for_an_answer_that_never_comes_holds_nothing() {
    let (server, lease) = start();
    server.lock().unwrap().answers = Answers::Never;
    assert!(tokio::time::timeout(LENGTH / 2, lease.acquire()).await.is_err());
    server.lock().unwrap().answers = Answers::LostOnce;
    lease.acquire().await;
    assert_eq!(server.lock().unwrap().version, 2, "its own, taken anew");
}

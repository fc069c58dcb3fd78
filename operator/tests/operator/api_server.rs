//! The whole operator of home against an API server that has bad days: watches are gone, and lists and writes are refused, because it is busy or
//! broken, and it takes seconds for each answer. What is asked of it meanwhile is counted.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use dataembassy_operator::backoff::FIRST;
use dataembassy_operator::run;
use futures::stream::{self, StreamExt as _};
use http::{Method, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::mirror::OBJECTS;
use crate::pulse::Pulse;
use crate::world::{embassy, mirror, settings};

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_mins(3);
/// Who is not let run for longer than that cannot renew a lease in time, which is lost after ten seconds.
const STANDSTILL: Duration = Duration::from_secs(3);
/// How often everything is begun on a machine that stands still again and again.
const TRIES: usize = 4;
/// The shortest time between two lists of one controller: it waits for all that it watches together.
const BETWEEN: Duration = Duration::from_millis(800);
/// What the operator made is watched in lists that may be long, each by a watch of its own.
const OURS: [&str; 6] = [
    "list /api/v1/configmaps",
    "list /api/v1/serviceaccounts",
    "list /api/v1/pods",
    "list /apis/apps/v1/deployments",
    "list /apis/apps/v1/replicasets",
    "list /apis/networking.k8s.io/v1/networkpolicies",
];
/// What is written of the one resource that there is.
pub(crate) const WRITTEN: &str = "PATCH /apis/dataembassy.io/v1alpha1/dataembassies/luxembourg/status";

/// Where the one mirror is, if there is one, and all that is made for it.
const INTERIOR: &str = "/namespaces/interior/";
/// Its key, which is made first.
const KEY: &str = "POST /api/v1/namespaces/interior/secrets";
/// What it says, which is written last.
const SAID: &str =
    "PATCH /apis/dataembassy.io/v1alpha1/namespaces/interior/registrymirrors/population/status";
/// How long a slow API server takes for an answer.
const SLOW: Duration = Duration::from_secs(2);

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;
/// How often something was asked for: `list`, `watch` or a method, and the path.
pub(crate) type Asked = BTreeMap<String, usize>;

#[tokio::test]
async fn watches_that_are_gone_are_opened_again_each_once_and_what_there_is_is_judged_anew() {
    beside(ApiServer::new, async |server| {
        server.is_settled().await;
        let (lists, watches) = (server.asked("list "), server.asked("watch "));
        let written = server.count(WRITTEN);
        server.gone.send_replace(());
        server
            .until("every watch again", |state| {
                asked(state, "watch ") == twice(&watches) && count(state, WRITTEN) > written
            })
            .await;
        // Who is in a hurry would ask once more in this time.
        server.renewals(1).await;
        assert_eq!(server.asked("list "), twice(&lists));
        assert_eq!(server.asked("watch "), twice(&watches));
        assert_eq!(server.count(WRITTEN), written + 1);
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_is_busy_is_asked_ever_more_seldom_and_the_operator_goes_on_when_it_answers() {
    refused(429).await;
}

#[tokio::test]
async fn an_api_server_that_is_broken_is_asked_ever_more_seldom_and_the_operator_goes_on_when_it_answers() {
    refused(500).await;
}

async fn refused(code: u16) {
    beside(ApiServer::new, async |server| {
        server.is_settled().await;
        let (lists, watches) = (server.asked("list "), server.asked("watch "));
        let begun = Instant::now();
        server.refuse(Some(code), Some(code));
        server.gone.send_replace(());
        // Long enough to tell waits that grow from those that do not.
        server.renewals(3).await;
        // A machine that is busy may have renewed late, three times in a row, and have had no time for anything else.
        server
            .until("another attempt of everybody", |state| {
                OURS.iter().all(|what| count(state, what) > lists[*what])
            })
            .await;
        let (now, passed) = (server.asked("list "), begun.elapsed());
        for (what, before) in &lists {
            let again = now[what] - before;
            let most = if OURS.contains(&what.as_str()) {
                attempts(passed)
            } else {
                before * (1 + usize::try_from(passed.as_millis() / BETWEEN.as_millis()).unwrap())
            };
            assert!(again <= most, "{what}: {again} times in {passed:?}");
        }
        assert_eq!(server.asked("watch "), watches);

        // Reads are answered again; what is judged anew cannot be written yet.
        let (healed, written) = (Instant::now(), server.count(WRITTEN));
        server.refuse(None, Some(code));
        server
            .until("every watch again, and attempts to write", |state| {
                asked(state, "watch ") == twice(&watches) && count(state, WRITTEN) >= written + 3
            })
            .await;
        let (again, passed) = (server.count(WRITTEN) - written, healed.elapsed());
        assert!(again <= 1 + attempts(passed), "{again} writes in {passed:?}");
        let taken = server.state().taken;
        server.refuse(None, None);
        server.until("the write", |state| state.taken == taken + 1).await;
        let written = server.count(WRITTEN);
        server.renewals(1).await;
        assert_eq!(server.count(WRITTEN), written, "it writes although all is said");
    })
    .await;
}

#[tokio::test]
async fn what_is_written_of_a_mirror_is_tried_ever_more_seldom_while_the_api_server_is_busy_and_then_once() {
    unwritten(429).await;
}

#[tokio::test]
async fn what_is_written_of_a_mirror_is_tried_ever_more_seldom_while_the_api_server_is_broken_and_then_once()
{
    unwritten(500).await;
}

async fn unwritten(code: u16) {
    let refusing = || {
        let server = ApiServer::with_a_mirror();
        server.refuse(None, Some(code));
        server
    };
    beside(refusing, async |server| {
        let begun = Instant::now();
        server
            .until("attempts to make its key and to say why not", |state| {
                count(state, SAID) >= 3
            })
            .await;
        server.renewals(2).await;
        let passed = begun.elapsed();
        for what in [KEY, SAID] {
            let asked = server.count(what);
            // What is watched comes in pieces, each of which is worth a look.
            assert!(
                asked <= 3 + attempts(passed),
                "{what}: {asked} times in {passed:?}"
            );
        }
        // Nothing is made before its key.
        for path in OBJECTS {
            assert_eq!(server.count(&format!("PATCH {path}")), 0, "{path}");
        }
        server.refuse(None, None);
        server.has_a_mirror_written_in_full().await;
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_takes_seconds_for_each_answer_is_not_asked_again_meanwhile() {
    let slow = || {
        let server = ApiServer::with_a_mirror();
        server.state().delay = SLOW;
        server
    };
    beside(slow, async |server| {
        let begun = Instant::now();
        server.has_a_mirror_written_in_full().await;
        let requests = 2 + 2 * OBJECTS.len();
        let least = SLOW * u32::try_from(requests - 1).unwrap();
        assert!(
            begun.elapsed() >= least,
            "its answers were not slow: {:?}",
            begun.elapsed()
        );
        let (lists, watches) = (server.asked("list "), server.asked("watch "));
        assert!(OURS.iter().all(|what| lists[*what] == 1), "{lists:?}");
        assert_eq!(lists.len(), watches.len(), "{lists:?} {watches:?}");
    })
    .await;
}

/// Runs the operator while `scene` lasts; it does not end by itself. One whose machine has let nobody run for so long that its lease was lost ends as it
/// must, and shows nothing of the scene: another one begins, with an API server of its own.
pub(crate) async fn beside(make: impl Fn() -> Arc<ApiServer>, scene: impl AsyncFn(Arc<ApiServer>)) {
    for _ in 0..TRIES {
        let (server, pulse) = (make(), Pulse::begin());
        let operator = run::run(client(&server), settings(), "one".to_owned(), 0, 0);
        tokio::select! {
            ended = operator => assert!(pulse.longest() > STANDSTILL, "the operator has ended: {ended:?}"),
            () = scene(server) => return,
            () = pulse.beat() => {}
        }
    }
    panic!("the machine stood still {TRIES} times, each time until the lease was lost");
}

/// The most attempts in this time of who waits at least half of [`FIRST`] at first, and twice as long each time.
fn attempts(passed: Duration) -> usize {
    let (mut attempts, mut wait) = (0, FIRST / 2);
    let mut next = wait;
    while next <= passed {
        attempts += 1;
        wait *= 2;
        next += wait;
    }
    attempts
}

fn twice(before: &Asked) -> Asked {
    before
        .iter()
        .map(|(what, times)| (what.clone(), times * 2))
        .collect()
}

fn asked(state: &State, what: &str) -> Asked {
    let asked = state.asked.iter().filter(|(asked, _)| asked.starts_with(what));
    asked.map(|(what, times)| (what.clone(), *times)).collect()
}

fn count(state: &State, what: &str) -> usize {
    state.asked.get(what).copied().unwrap_or_default()
}

/// One `DataEmbassy`, which nobody has judged yet, a mirror where one is wanted, and how the API server treats who asks.
pub(crate) struct ApiServer {
    state: Mutex<State>,
    /// Told when every open watch is to end, because what it continues from is forgotten.
    gone: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    lease: Option<Value>,
    /// How often the lease was written.
    renewals: usize,
    asked: Asked,
    /// How many writes of [`WRITTEN`] were taken.
    taken: usize,
    refuses_reads: Option<u16>,
    refuses_writes: Option<u16>,
    /// How long each answer takes.
    delay: Duration,
    has_mirror: bool,
    /// What was made for the mirror, by path.
    made: BTreeMap<String, Value>,
    /// How often something was written that was taken.
    done: Asked,
}

impl ApiServer {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            gone: watch::Sender::new(()),
        })
    }

    /// One with a mirror, for which nothing was made yet.
    fn with_a_mirror() -> Arc<Self> {
        let server = Self::new();
        server.state().has_mirror = true;
        server
    }

    /// Waits until all of the mirror is written, and for a while in which it would be written again by who does not know it.
    async fn has_a_mirror_written_in_full(&self) {
        self.until("what the mirror says", |state| state.done.contains_key(SAID))
            .await;
        self.renewals(1).await;
        let objects = OBJECTS.map(|path| format!("PATCH {path}"));
        let state = self.state();
        for what in [KEY, SAID].into_iter().chain(objects.iter().map(String::as_str)) {
            let done = state.done.get(what).copied().unwrap_or_default();
            // The watch here tells nothing of what was written, so that another look may write it once more.
            assert!((1..=2).contains(&done), "{what}: {:?}", state.done);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn asked(&self, what: &str) -> Asked {
        asked(&self.state(), what)
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        count(&self.state(), what)
    }

    fn refuse(&self, reads: Option<u16>, writes: Option<u16>) {
        let mut state = self.state();
        (state.refuses_reads, state.refuses_writes) = (reads, writes);
    }

    async fn until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.state()) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.state().asked);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the lease was written so many times more: every four seconds.
    pub(crate) async fn renewals(&self, more: usize) {
        let before = self.state().renewals;
        self.until("renewals of the lease", |state| state.renewals >= before + more)
            .await;
    }

    /// Waits until all is watched and said.
    pub(crate) async fn is_settled(&self) {
        self.until("what is said first", |state| state.taken > 0).await;
        self.renewals(1).await;
        self.until("everything watched, and listed once", |state| {
            let of = |what: &str| -> Vec<(String, usize)> {
                let asked = asked(state, what).into_iter();
                asked
                    .map(|(path, times)| (path.replace(what, ""), times))
                    .collect()
            };
            of("list ") == of("watch ") && OURS.iter().all(|what| count(state, what) == 1)
        })
        .await;
    }

    fn answer(&self, method: &Method, uri: &Uri, body: &[u8]) -> Answer {
        let (path, mut state) = (uri.path(), self.state());
        // Leases have a priority of their own: who leads is not settled by who is busy.
        if path.contains("/leases") {
            return state.lease(method, body);
        }
        let is_read = *method == Method::GET;
        let is_watch = uri.query().is_some_and(|query| query.contains("watch=true"));
        let is_one = path.contains(INTERIOR);
        let how = match (is_read, is_watch) {
            (true, true) => "watch",
            (true, false) if !is_one => "list",
            _ => method.as_str(),
        };
        let what = format!("{how} {path}");
        let is_judgement = what == WRITTEN;
        *state.asked.entry(what.clone()).or_default() += 1;
        let refused = if is_read {
            state.refuses_reads
        } else {
            state.refuses_writes
        };
        if let Some(code) = refused {
            return refusal(code);
        }
        state.taken += usize::from(is_judgement);
        match (is_read, is_watch) {
            (true, true) => open(self.gone.subscribe()),
            (true, false) if is_one => match state.made.get(path) {
                Some(object) => whole(200, object),
                None => refusal(404),
            },
            (true, false) => whole(200, &list(path, state.has_mirror)),
            (false, _) => {
                *state.done.entry(what).or_default() += 1;
                let object = written(path, body);
                state.made.insert(path.to_owned(), object.clone());
                whole(200, &object)
            }
        }
    }
}

impl State {
    fn lease(&mut self, method: &Method, body: &[u8]) -> Answer {
        if *method != Method::GET {
            self.renewals += 1;
            let mut lease: Value = serde_json::from_slice(body).unwrap();
            lease["metadata"]["resourceVersion"] = self.renewals.to_string().into();
            self.lease = Some(lease);
        }
        match &self.lease {
            Some(lease) => whole(200, lease),
            None => refusal(404),
        }
    }
}

fn client(server: &Arc<ApiServer>) -> Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let answer = server.answer(&head.method, &head.uri, &body);
            // Who leads is settled in time all the same.
            if !head.uri.path().contains("/leases") {
                let delay = server.state().delay;
                tokio::time::sleep(delay).await;
            }
            Ok::<_, kube::Error>(answer)
        }
    });
    Client::new(service, "default")
}

fn list(path: &str, has_mirror: bool) -> Value {
    let mut items = match path.rsplit('/').next() {
        Some("dataembassies") => vec![embassy()],
        Some("registrymirrors") if has_mirror => vec![mirror("population")],
        _ => Vec::new(),
    };
    for item in &mut items {
        item["metadata"]["resourceVersion"] = "1".into();
    }
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
}

/// What was written, as an object of its kind.
fn written(path: &str, body: &[u8]) -> Value {
    let body: Value = serde_json::from_slice(body).unwrap();
    if !path.ends_with("/status") {
        return body;
    }
    let mut object = if path.contains("/registrymirrors/") {
        mirror("population")
    } else {
        embassy()
    };
    object["status"] = body["status"].clone();
    object
}

fn failure(code: u16) -> Value {
    let reason = match code {
        404 => "NotFound",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "message": reason, "code": code})
}

fn refusal(code: u16) -> Answer {
    let mut answer = whole(code, &failure(code));
    if code == 429 {
        let headers = answer.headers_mut();
        headers.insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    answer
}

fn whole(code: u16, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

/// A watch that tells nothing until it is gone, and does not end by itself.
fn open(mut gone: watch::Receiver<()>) -> Answer {
    let end = async move {
        // A sender that is gone means that the test is over.
        let _ = gone.changed().await;
        let event = json!({"type": "ERROR", "object": failure(410)});
        Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{event}\n"))))
    };
    Response::new(StreamBody::new(stream::once(end).chain(stream::pending())).boxed_unsync())
}

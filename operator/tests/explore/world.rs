//! The world that a simulated operator meets: the API server at the other end of its client, the processes that it asks for reports, the time,
//! and the faults that strike its requests. All of it answers in memory, so that hundreds of schedules run in a second.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use dataembassy_operator::backoff::Chance;
use dataembassy_operator::clock::Clock;
use dataembassy_operator::poll::{Answer, PollError, Target, Wire};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::cluster::{Cluster, Place, Refusal, kind_of};
use super::random::Random;
use super::tally::{Fault, Tally};

/// A request of the operator.
#[derive(Clone, Debug)]
struct Asked {
    method: String,
    path: String,
    query: String,
    is_merge: bool,
    body: Value,
}

/// The faults that strike a request.
const STRIKES: [Fault; 7] = [
    Fault::ErrorWithoutEffect,
    Fault::ErrorAfterEffect,
    Fault::TooManyRequests,
    Fault::Conflict,
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::LeaderChange,
];

/// Everything outside of the operator.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    /// What each process answers, by address and path.
    pub(crate) processes: BTreeMap<(IpAddr, String), Value>,
    /// Processes that were shown that their answer was received.
    pub(crate) received: Vec<IpAddr>,
    /// The operator's time of day, which jumps.
    pub(crate) now: Timestamp,
    /// What has passed since the beginning, whatever the time of day.
    pub(crate) elapsed: Duration,
    born: Instant,
    /// Faults that may still come.
    pub(crate) faults: usize,
    pub(crate) random: Random,
    /// What spreads the operator's waits: a stream of its own, since a wait that is drawn is no part of the schedule.
    waits: Random,
    pub(crate) tally: Tally,
    /// Whether the operator that runs has died: nothing that it asks for happens any more.
    pub(crate) is_dead: bool,
    late: Option<Asked>,
    /// How many writes the operator has asked for.
    pub(crate) writes: usize,
    /// What happened, where somebody wants to read it.
    pub(crate) story: Option<Vec<String>>,
}

/// The world, as everybody in it holds it.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn new(seed: u64, is_told: bool) -> Self {
        let now: Timestamp = "2026-11-28T09:00:00Z".parse().unwrap();
        Self(Arc::new(Mutex::new(World {
            cluster: Cluster::new(now),
            processes: BTreeMap::new(),
            received: Vec::new(),
            now,
            elapsed: Duration::ZERO,
            born: Instant::now(),
            faults: 0,
            random: Random::new(seed),
            waits: Random::new(!seed),
            tally: Tally::default(),
            is_dead: false,
            late: None,
            writes: 0,
            story: is_told.then(Vec::new),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// A client whose requests this world answers.
    pub(crate) fn client(&self) -> Client {
        let world = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let world = world.clone();
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await?.to_bytes();
                // Nothing hangs on events, and they are many.
                if parts.uri.path().contains("/events") {
                    return Ok(Response::new(Body::from(bytes)));
                }
                let content = parts.headers.get("content-type");
                let asked = Asked {
                    method: parts.method.to_string(),
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    is_merge: content.is_some_and(|content| content == "application/merge-patch+json"),
                    body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
                };
                let (status, answer) = world.lock().answer(&asked);
                let body = serde_json::to_vec(&*answer).unwrap();
                Ok::<_, kube::Error>(Response::builder().status(status).body(Body::from(body)).unwrap())
            }
        });
        Client::new(service, "default")
    }

    /// What spreads the operator's waits, the same with every run.
    pub(crate) fn chance(&self) -> Chance {
        let world = self.clone();
        Chance::new(move || world.lock().waits.share())
    }

    /// The clock on the operator's machine.
    pub(crate) fn clock(&self) -> Clock {
        let world = self.clone();
        Clock::new(move || {
            let world = world.lock();
            (world.now, world.born + world.elapsed)
        })
    }
}

impl Wire for Shared {
    fn get<'a>(
        &'a self,
        target: Target<'a>,
        tag: Option<HeaderValue>,
        _max_bytes: usize,
    ) -> BoxFuture<'a, Result<Answer, PollError>> {
        let answer = self.lock().tell(target.address, target.path, tag.as_ref());
        async move { answer }.boxed()
    }
}

impl World {
    /// Tells the story on, if somebody listens.
    pub(crate) fn tell_story(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    /// Lets time pass, everywhere.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.elapsed += time;
        let time = SignedDuration::try_from(time).unwrap();
        self.now = self.now.checked_add(time).unwrap();
        self.cluster.now = self.cluster.now.checked_add(time).unwrap();
    }

    /// Whether one of the faults that are left comes now.
    pub(crate) fn strikes(&mut self, one_in: usize) -> bool {
        let strikes = self.faults > 0 && self.random.one_in(one_in);
        if strikes {
            self.faults -= 1;
        }
        strikes
    }

    fn tell(
        &mut self,
        address: SocketAddr,
        path: &str,
        tag: Option<&HeaderValue>,
    ) -> Result<Answer, PollError> {
        if self.is_dead {
            return Err(PollError::TimedOut);
        }
        if self.strikes(40) {
            self.tell_story(|| format!("  {path} of {address} is not answered"));
            self.tally.count(Fault::SilentProcess);
            return Err(PollError::TimedOut);
        }
        let said = self.processes.get(&(address.ip(), path.to_owned()));
        let said = said.ok_or(PollError::Refused(StatusCode::NOT_FOUND))?;
        let body = said.to_string();
        let etag = etag(&body);
        if tag == Some(&etag) {
            self.received.push(address.ip());
            return Ok(Answer::Unchanged);
        }
        Ok(Answer::Said {
            etag: Some(etag),
            body: Bytes::from(body),
        })
    }

    /// Answers a request, or lets a fault strike it.
    fn answer(&mut self, asked: &Asked) -> (u16, Arc<Value>) {
        let lost = || (500, Arc::new(failure(500, "InternalError")));
        if self.is_dead {
            return lost();
        }
        if !self.strikes(25) {
            return self.carry_out(asked);
        }
        let strike = self.random.choose(&STRIKES);
        self.tell_story(|| format!("  fault: {strike:?} at"));
        if strike != Fault::Conflict {
            self.tally.count(strike);
        }
        match strike {
            Fault::ErrorWithoutEffect => {
                self.tell_story(|| format!("  ({} {})", asked.method, asked.path));
                lost()
            }
            Fault::ErrorAfterEffect => {
                self.carry_out(asked);
                lost()
            }
            Fault::TooManyRequests => (429, Arc::new(failure(429, "TooManyRequests"))),
            Fault::Conflict => {
                self.touch(asked);
                self.carry_out(asked)
            }
            Fault::CrashBefore => {
                self.is_dead = true;
                lost()
            }
            Fault::CrashAfter => {
                self.carry_out(asked);
                self.is_dead = true;
                lost()
            }
            Fault::LeaderChange => {
                self.is_dead = true;
                self.late = Some(asked.clone());
                lost()
            }
            other => panic!("{other:?} strikes no request"),
        }
    }

    /// The request that was on its way when its operator lost the lease arrives.
    pub(crate) fn land(&mut self) {
        if let Some(asked) = self.late.take() {
            self.tell_story(|| "  late:".to_owned());
            self.carry_out(&asked);
        }
    }

    /// Somebody else writes the object that a request is about.
    fn touch(&mut self, asked: &Asked) {
        if let Some((place, _)) = place(&asked.path).filter(|(place, _)| !place.name.is_empty()) {
            if self.cluster.get(&place).is_some() && asked.method != "GET" {
                self.tally.count(Fault::OtherWrite);
            }
            let version = self.elapsed.as_millis() + u128::try_from(self.writes).unwrap();
            self.cluster.edit(&place, |object| {
                object["metadata"]["annotations"]["example.org/touched"] = version.to_string().into();
            });
        }
    }

    fn carry_out(&mut self, asked: &Asked) -> (u16, Arc<Value>) {
        let Some((place, is_status)) = place(&asked.path) else {
            panic!("nobody knows this path: {} {}", asked.method, asked.path)
        };
        self.cluster.is_ours = true;
        let done = self.carry_out_at(asked, &place, is_status);
        self.cluster.is_ours = false;
        self.tally.requests += 1;
        if asked.method != "GET" {
            self.writes += 1;
        }
        if matches!(done, Err(Refusal::Conflict)) {
            self.tally.count(Fault::Conflict);
        }
        self.tell_story(|| {
            let code = done.as_ref().map_or_else(|refusal| refusal.code(), |_| 200);
            format!(
                "  {} {} → {code}{}",
                asked.method,
                asked.path,
                brief(asked, is_status)
            )
        });
        match done {
            Ok(object) => (200, object),
            Err(refusal) => (
                refusal.code(),
                Arc::new(failure(refusal.code(), refusal.reason())),
            ),
        }
    }

    fn carry_out_at(&mut self, asked: &Asked, place: &Place, is_status: bool) -> Result<Arc<Value>, Refusal> {
        match asked.method.as_str() {
            "GET" if place.name.is_empty() => Ok(Arc::new(self.list(place, &asked.query))),
            "GET" => self.cluster.get(place).cloned().ok_or(Refusal::NotFound),
            "POST" => {
                let name = asked.body["metadata"]["name"].as_str().unwrap();
                let place = Place::new(place.kind, &place.namespace, name);
                self.cluster.create(&place, asked.body.clone())
            }
            "PATCH" if asked.is_merge => self.cluster.patch(place, &asked.body),
            "PATCH" => {
                let mut pairs = asked.query.split('&');
                let manager = pairs.find_map(|pair| pair.strip_prefix("fieldManager=")).unwrap();
                self.cluster.apply(place, manager, is_status, &asked.body)
            }
            "DELETE" => {
                let uid = asked.body["preconditions"]["uid"].as_str();
                self.cluster.delete(place, uid)?;
                Ok(Arc::new(
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
                ))
            }
            other => panic!("{other} {}", asked.path),
        }
    }

    fn list(&self, place: &Place, query: &str) -> Value {
        let selector = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("labelSelector="));
        let (label, value) = selector
            .unwrap_or_default()
            .rsplit_once("%3D")
            .unwrap_or_default();
        let label = label.replace("%2F", "/");
        let items: Vec<Value> = self
            .cluster
            .of_kind(place.kind)
            .filter(|(found, object)| {
                found.namespace == place.namespace
                    && (label.is_empty() || object["metadata"]["labels"][&label] == value)
            })
            .map(|(_, object)| (**object).clone())
            .collect();
        json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
    }
}

/// What of a write is worth reading.
fn brief(asked: &Asked, is_status: bool) -> String {
    if !is_status {
        return String::new();
    }
    let mut status = asked.body["status"].clone();
    if let Some(status) = status.as_object_mut() {
        status.remove("conditions");
    }
    format!(" {status}")
}

/// Where a path leads, and whether to the status alone. A collection has no name.
fn place(path: &str) -> Option<(Place, bool)> {
    let mut parts = path.trim_start_matches('/').split('/');
    // api/v1 or apis/group/version
    if parts.next()? == "apis" {
        parts.next()?;
    }
    parts.next()?;
    let mut parts = parts.peekable();
    let mut namespace = "";
    if parts.peek() == Some(&"namespaces") {
        parts.next();
        namespace = parts.next()?;
    }
    let kind = kind_of(parts.next()?)?;
    let name = parts.next().unwrap_or_default();
    let is_status = parts.next() == Some("status");
    Some((Place::new(kind, namespace, name), is_status))
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "no"})
}

/// A tag for a body: FNV, which is the same with every build.
fn etag(body: &str) -> HeaderValue {
    let hash = body.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    HeaderValue::from_str(&format!("\"{hash:x}\"")).unwrap()
}

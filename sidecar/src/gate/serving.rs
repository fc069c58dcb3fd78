//! One request: judged, let in, passed on, answered.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::door::{self, Action, MAX_HEADERS_LENGTH, Passage, Refusal, User};
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Uri, Version};
use tokio_util::sync::CancellationToken;

use super::allowance::Put;
use super::crowd::Place;
use super::download::{Answer, Held, MAX_ANSWER, Passing};
use super::effective::Effective;
use super::lane::Lane;
use super::upload::{Progress, Sent, Upload};
use super::upstream::NoAnswer;
use super::wire::Lingering;
use super::{Gate, words};
use crate::store::StoreError;

/// Headers of the store's answers that are passed on; those of every checksum are, too.
const ANSWER_HEADERS: &[&str] = &[
    "accept-ranges",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "retry-after",
    "x-amz-bucket-region",
    "x-amz-checksum-type",
    "x-amz-delete-marker",
    "x-amz-id-2",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-size",
    "x-amz-replication-status",
    "x-amz-request-id",
    "x-amz-storage-class",
    "x-amz-version-id",
    "x-minio-error-code",
    "x-minio-error-desc",
];
/// The beginning of headers that carry a checksum.
const CHECKSUMS: &str = "x-amz-checksum-";

/// What answers the requests of one connection.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) gate: Arc<Gate>,
    pub(super) place: Place,
    pub(super) peer: IpAddr,
    pub(super) lingering: Lingering,
}

/// Why a request is not answered by the store.
enum Failure {
    Refused(Refusal),
    NotSent(StoreError),
    Unknown(StoreError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A request that was let in. A put is settled when it is dropped: what the store may have counts as if it had.
struct Passed<'a> {
    lane: &'a Arc<Lane>,
    /// What is put, by one that puts: nothing else has a body.
    put: Option<Put>,
    progress: Arc<Progress>,
    /// Cancelled when a put must end.
    cut: CancellationToken,
    refused_by_store: bool,
}

impl<'a> Passed<'a> {
    fn begin(lane: &'a Arc<Lane>, passage: &Passage, rules: &door::Lane) -> Result<Self, Refusal> {
        let (put, cut) = match &passage.action {
            Action::Put { key, length } => {
                let put = Put {
                    length: *length,
                    commits: matches!(key, ObjectKey::Source { .. }),
                };
                let cut = lane.putting(rules)?;
                lane.reserve(put)?;
                (Some(put), cut)
            }
            _ => (None, CancellationToken::new()),
        };
        Ok(Self {
            lane,
            put,
            progress: Progress::begin(put.map_or(0, |put| put.length)),
            cut,
            refused_by_store: false,
        })
    }

    fn sent(&self, body: Incoming) -> Sent {
        if self.put.is_none() {
            return Sent::Nothing;
        }
        Sent::Upload(Upload::new(
            body,
            Arc::clone(&self.progress),
            Arc::clone(self.lane),
        ))
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        if let Some(put) = self.put {
            let stored = self.progress.is_complete() && !self.refused_by_store;
            self.lane.settle(put, self.progress.came(), stored);
        }
    }
}

impl Serving {
    /// Answers one request: by the store's answer, or by our own words.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        let has_body = !request.body().is_end_stream();
        let is_head = request.method() == Method::HEAD;
        let answered = match self.gate.effective() {
            Some(effective) => self.judge(&effective, request).await,
            None => Err(words::refused(&Refusal::Busy)),
        };
        let mut answer = match answered {
            Ok(answer) => return Ok(answer),
            Err(answer) => answer,
        };
        if has_body {
            // What is left of the body must not be taken for another request.
            self.lingering.demand();
            words::close(&mut answer);
        }
        if is_head {
            *answer.body_mut() = Answer::Said(None);
        }
        Ok(answer)
    }

    /// Judges a request and passes it on; what else is to be said is the error.
    async fn judge(
        &self,
        effective: &Effective,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Response<Answer>> {
        let (head, body) = request.into_parts();
        let claimed = claimed(&head.headers);
        let lane = claimed.as_ref().and_then(|user| effective.lane(user.registry()));
        self.place.claim(lane.map(|lane| lane.registry()));
        let passage = match judged(effective, &head) {
            Ok(passage) => passage,
            Err(refusal) => return Err(self.refuse(lane, &refusal)),
        };
        // It is the same one: the grammar takes only one claim.
        let Some(lane) = effective.lane(passage.user.registry()) else {
            return Err(self.refuse(None, &Refusal::UnknownUser));
        };
        match self.pass(effective, lane, &passage, head, body).await {
            Ok(answer) => Ok(answer),
            Err(Failure::Refused(refusal)) => Err(self.refuse(Some(lane), &refusal)),
            Err(Failure::NotSent(error)) => {
                self.gate.store_failed(&error);
                Err(words::store_unreachable(&error))
            }
            Err(Failure::Unknown(error)) => {
                self.gate.store_failed(&error);
                Err(words::store_silent(&error))
            }
        }
    }

    fn refuse(&self, lane: Option<&Arc<Lane>>, refusal: &Refusal) -> Response<Answer> {
        match lane {
            Some(lane) => lane.refused(refusal),
            None => self.gate.refused(refusal),
        }
        words::refused(refusal)
    }

    /// Waits for the request's turn, sends it to the store, and answers with what the store says.
    async fn pass(
        &self,
        effective: &Effective,
        lane: &Arc<Lane>,
        passage: &Passage,
        head: Parts,
        body: Incoming,
    ) -> Result<Response<Answer>, Failure> {
        let hold = Held {
            _turn: lane.turn(self.peer, self.gate.common()).await?,
            _counted: self.gate.metrics().under_way(),
            _answering: self.place.answering(),
        };
        let rules = effective.rules().lanes.get(lane.registry());
        let rules = rules.ok_or(Refusal::UnknownUser)?;
        let mut passed = Passed::begin(lane, passage, rules)?;
        let request = onward(head, passed.sent(body));
        let upstream = effective.upstream();
        let asked = upstream
            .ask(lane.registry(), request, &passed.progress, &passed.cut)
            .await;
        let (answer, link) = match asked {
            Ok(answered) => answered,
            Err(_) if passed.progress.is_broken() => return Err(Refusal::Incomplete.into()),
            Err(NoAnswer::Client(refusal)) => return Err(refusal.into()),
            Err(NoAnswer::NotSent(error)) => return Err(Failure::NotSent(error)),
            Err(NoAnswer::Unknown(error)) => return Err(Failure::Unknown(error)),
        };
        self.gate.store_answered();
        lane.answered(passage, answer.status().as_u16(), self.peer);
        passed.refused_by_store = !answer.status().is_success();
        check(&answer)?;
        let progress = Arc::clone(&passed.progress);
        let (mut head, body) = answer.into_parts();
        head.headers = back(&head.headers);
        head.version = Version::HTTP_11;
        head.extensions.clear();
        let is_whole = progress.is_complete();
        let passing = Passing::new(body, link, Arc::clone(upstream), Arc::clone(lane), progress, hold);
        let mut answer = Response::from_parts(head, Answer::Passed(Box::new(passing)));
        if !is_whole {
            // The store has made up its mind; the rest of the body is nobody's.
            passed.progress.stop();
            self.lingering.demand();
            words::close(&mut answer);
        }
        Ok(answer)
    }
}

/// Refuses answers that no store of ours gives.
fn check(answer: &Response<Incoming>) -> Result<(), Failure> {
    let cause = if answer.body().size_hint().lower() > MAX_ANSWER {
        format!("its answer is longer than {MAX_ANSWER} bytes")
    } else if answer.status().is_informational() {
        format!("its answer is {}", answer.status())
    } else {
        return Ok(());
    };
    Err(Failure::Unknown(StoreError::NotUnderstood {
        operation: "a request that passed the gate",
        cause,
    }))
}

/// Whose a request says that it is.
fn claimed(headers: &HeaderMap) -> Option<User> {
    headers
        .get(AUTHORIZATION)
        .and_then(|value| User::claimed(value.as_bytes()))
}

/// Judges a request by the rules in effect.
fn judged(effective: &Effective, head: &Parts) -> Result<Passage, Refusal> {
    // A server of HTTP/1.0 may frame a body by the end of the connection.
    if head.version != Version::HTTP_11 {
        return Err(Refusal::Malformed);
    }
    let target = target(&head.uri);
    let headers = head.headers.iter();
    effective.rules().judge(&door::Request {
        method: head.method.as_str(),
        target: &target,
        headers: headers
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect(),
    })
}

/// The target as it came: one with a host in it must not look like one without.
fn target(uri: &Uri) -> String {
    match uri.path_and_query() {
        Some(plain) if uri.authority().is_none() && uri.scheme().is_none() => plain.as_str().to_owned(),
        _ => uri.to_string(),
    }
}

/// The request as the store gets it: the very one that was judged, but for what belongs to this connection.
fn onward(head: Parts, sent: Sent) -> Request<Sent> {
    let mut request = Request::new(sent);
    *request.method_mut() = head.method;
    *request.uri_mut() = head.uri;
    *request.headers_mut() = head.headers;
    request.headers_mut().remove(CONNECTION);
    request
}

/// The headers of an answer that are passed on.
fn back(headers: &HeaderMap) -> HeaderMap {
    let is_known =
        |name: &HeaderName| ANSWER_HEADERS.contains(&name.as_str()) || name.as_str().starts_with(CHECKSUMS);
    let known = headers.iter().filter(|(name, _)| is_known(name));
    let mut passed = HeaderMap::new();
    let mut length = 0;
    for (name, value) in known {
        length += name.as_str().len() + value.len();
        if length <= MAX_HEADERS_LENGTH || *name == CONTENT_LENGTH {
            passed.append(name, value.clone());
        }
    }
    passed
}

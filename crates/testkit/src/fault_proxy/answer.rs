//! One request: passed on, or not, and answered as the fault says that is due.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper::header::{CONTENT_LENGTH, DATE, ETAG, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::body::{self, Body, BrokenOff, End, Failure, Half};
use super::fault::Fault;
use super::{Seen, Shared, listing, lock, next_fault};

/// The largest object that is remembered for [`Fault::Older`].
const REMEMBERED: usize = 1024 * 1024;

type Answered = Result<Response<Body>, Failure>;

/// Answers a request, as it should be or as the fault says that is due.
pub(super) async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Answered {
    let target = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let due = next_fault(&shared, &method, &target);
    lock(&shared.seen).push(Seen {
        method: method.clone(),
        target: target.clone(),
        headers,
    });
    let Some(fault) = due else {
        return pass(&shared, request, &method, &target).await;
    };
    match fault {
        Fault::LoseReply => {
            forward(&shared, request).await?.into_body().collect().await?;
            Err("the reply is lost".into())
        }
        Fault::WithholdReply => {
            forward(&shared, request).await?.into_body().collect().await?;
            std::future::pending().await
        }
        Fault::StallMidway => held(&shared, request.map(Half::of)).await,
        Fault::Swallow => swallow(request.into_body()).await,
        Fault::Refuse => Err("the connection is refused".into()),
        Fault::Stall => std::future::pending().await,
        Fault::Before(action) => {
            action().await;
            pass(&shared, request, &method, &target).await
        }
        Fault::Delay(time) => {
            tokio::time::sleep(time).await;
            pass(&shared, request, &method, &target).await
        }
        Fault::Pace(rate) => {
            let answer = send(&shared, request.map(|body| body::paced(body, rate))).await?;
            Ok(answer.map(|body| body::paced(body, rate)))
        }
        Fault::StallAfter(bytes) => {
            let end = End::Stall(shared.healed.subscribe());
            cut(&shared, request, bytes, end).await
        }
        Fault::ResetAfter(bytes) => cut(&shared, request, bytes, End::Reset).await,
        other => match said(&other, &method, &target) {
            Some(answer) => {
                request.into_body().collect().await?;
                answer
            }
            None => told_wrong(&shared, request, &other, &target).await,
        },
    }
}

/// The answer to a request that is not passed on; none where it is.
fn said(fault: &Fault, method: &Method, target: &str) -> Option<Answered> {
    let is_read = *method != Method::PUT && is_object(target) && !listing::is_listing(target);
    match fault {
        Fault::Answer(status) => Some(words(*status, None, Bytes::new())),
        Fault::Retell(told) => Some(words(StatusCode::OK, None, Bytes::from_static(told.as_bytes()))),
        Fault::Tell(status, told) => Some(words(*status, None, told.clone())),
        Fault::Say {
            status,
            code,
            retry_after,
        } => Some(say(*status, code, *retry_after)),
        Fault::WrongChecksum if *method == Method::PUT => {
            Some(say(StatusCode::BAD_REQUEST, "XAmzContentChecksumMismatch", None))
        }
        Fault::Hide if is_read => Some(say(StatusCode::NOT_FOUND, "NoSuchKey", None)),
        _ => None,
    }
}

/// Reads a body to its end, keeps none of it, and says that it is stored.
async fn swallow(mut body: Incoming) -> Answered {
    while let Some(frame) = body.frame().await {
        drop(frame?);
    }
    let stored = Response::builder()
        .header(ETAG, "\"d41d8cd98f00b204e9800998ecf8427e\"")
        .header("x-amz-version-id", "00000000-0000-4000-8000-000000000000");
    Ok(stored.body(body::of(Bytes::new()))?)
}

/// Passes a request on, and another answer than the store's.
async fn told_wrong(shared: &Shared, request: Request<Incoming>, fault: &Fault, target: &str) -> Answered {
    let (mut head, body) = forward(shared, request).await?.into_parts();
    match fault {
        Fault::ShiftClock(seconds) => {
            let date = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(*seconds))?;
            let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            head.headers.insert(DATE, date.parse()?);
        }
        Fault::WrongChecksum => {
            let wrong = HeaderValue::from_static("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
            head.headers.insert("x-amz-checksum-sha256", wrong);
            let wrong = HeaderValue::from_static("\"d41d8cd98f00b204e9800998ecf8427e\"");
            head.headers.insert(ETAG, wrong);
        }
        Fault::BreakOff => {
            let body = BrokenOff::of(&body.collect().await?.to_bytes());
            return Ok(Response::from_parts(head, body));
        }
        _ if head.status.is_success() => {
            let bytes = body.collect().await?.to_bytes();
            head.headers.remove(CONTENT_LENGTH);
            head.headers.remove(TRANSFER_ENCODING);
            let body = match change(shared, fault, target, &bytes) {
                Some(changed) => body::of(changed),
                None => body::endless(bytes, Arc::clone(&shared.endless)),
            };
            return Ok(Response::from_parts(head, body));
        }
        _ => {}
    }
    Ok(Response::from_parts(head, body::whole(body)))
}

/// What becomes of an answer's bytes; nothing where they never end.
fn change(shared: &Shared, fault: &Fault, target: &str, bytes: &Bytes) -> Option<Bytes> {
    let is_listing = listing::is_listing(target);
    let listed = |edit: &dyn Fn(&str) -> String| match std::str::from_utf8(bytes) {
        Ok(text) if is_listing => Bytes::from(edit(text)),
        _ => bytes.clone(),
    };
    Some(match fault {
        Fault::Truncate(cut) => {
            let cut = usize::try_from(*cut).unwrap_or(usize::MAX).min(bytes.len());
            bytes.slice(..bytes.len() - cut)
        }
        Fault::Flip(place) if !bytes.is_empty() => {
            let mut flipped = bytes.to_vec();
            let bit = usize::try_from(*place % (bytes.len() as u64 * 8)).unwrap_or_default();
            flipped[bit / 8] ^= 1 << (bit % 8);
            Bytes::from(flipped)
        }
        Fault::ListAsOf(moment) => listed(&|text| listing::as_of(text, *moment)),
        Fault::Hide => listed(&listing::without_last_key),
        Fault::EndlessList => listed(&|text| listing::never_ending(text, target)),
        Fault::Older => {
            let path = path_of(target);
            let read = lock(&shared.read);
            match read.get(folder_of(path)) {
                Some((other, older)) if is_object(target) && other != path => older.clone(),
                _ => bytes.clone(),
            }
        }
        Fault::Endless => return None,
        _ => bytes.clone(),
    })
}

/// Passes a request on, and remembers what was read by it.
async fn pass(shared: &Shared, request: Request<Incoming>, method: &Method, target: &str) -> Answered {
    let answer = forward(shared, request).await?;
    let path = path_of(target);
    let is_first = || !lock(&shared.read).contains_key(folder_of(path));
    let small = answer
        .body()
        .size_hint_exact()
        .is_some_and(|size| size <= REMEMBERED as u64);
    if method != Method::GET || !answer.status().is_success() || !is_object(target) || !small || !is_first() {
        return Ok(answer.map(body::whole));
    }
    let (head, body) = answer.into_parts();
    let bytes = body.collect().await?.to_bytes();
    lock(&shared.read)
        .entry(folder_of(path).to_owned())
        .or_insert_with(|| (path.to_owned(), bytes.clone()));
    Ok(Response::from_parts(head, body::of(bytes)))
}

trait ExactSize {
    fn size_hint_exact(&self) -> Option<u64>;
}

impl ExactSize for Incoming {
    fn size_hint_exact(&self) -> Option<u64> {
        hyper::body::Body::size_hint(self).exact()
    }
}

/// Cuts both bodies after so many bytes. An answer to a request with a body has none to speak of: that it comes is what is cut.
async fn cut(shared: &Shared, request: Request<Incoming>, bytes: u64, end: End) -> Answered {
    if hyper::body::Body::is_end_stream(request.body()) {
        let answer = forward(shared, request).await?;
        return Ok(answer.map(|body| body::ending(body, bytes, end)));
    }
    held(shared, request.map(|body| body::ending(body, bytes, end))).await
}

/// Sends a request by a connection that is polled here and not in a task, so that the store is let go of when the client is gone.
async fn held(shared: &Shared, request: Request<Body>) -> Answered {
    let (mut sender, connection) = connect(shared).await?;
    tokio::select! {
        ended = connection => Err(ended.err().map_or_else(|| "the store has hung up".into(), Failure::from)),
        answer = sender.send_request(request) => Ok(answer?.map(body::whole)),
    }
}

/// The store's own words for something.
fn say(status: StatusCode, code: &str, retry_after: Option<u64>) -> Answered {
    let told = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>as the fault bench has it</Message></Error>"
    );
    words(status, retry_after, Bytes::from(told))
}

fn words(status: StatusCode, retry_after: Option<u64>, told: Bytes) -> Answered {
    let mut answer = Response::builder().status(status);
    if let Some(seconds) = retry_after {
        answer = answer.header(RETRY_AFTER, seconds);
    }
    Ok(answer.body(body::of(told))?)
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Whether a request is about an object, and not about the bucket.
fn is_object(target: &str) -> bool {
    path_of(target).trim_matches('/').contains('/')
}

async fn forward(shared: &Shared, request: Request<Incoming>) -> Result<Response<Incoming>, Failure> {
    send(shared, request.map(body::whole)).await
}

async fn send(shared: &Shared, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
    let (mut sender, connection) = connect(shared).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

type Upstream = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;

async fn connect(shared: &Shared) -> Result<(SendRequest<Body>, Connection<Upstream, Body>), Failure> {
    let stream = TcpStream::connect(&shared.upstream).await?;
    let stream = TlsConnector::from(Arc::clone(&shared.tls))
        .connect(shared.upstream_name.clone(), stream)
        .await?;
    Ok(hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?)
}

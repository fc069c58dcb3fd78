//! A TLS proxy in front of a real store that loses replies, stalls, refuses and intervenes on demand, and that remembers each
//! request. What it passes on, it passes on unchanged, the signature included.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::authority::{Authority, ServerCertificate};
use crate::https;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Body = BoxBody<Bytes, hyper::Error>;
type Hook = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;
type Matcher = Box<dyn Fn(&Method, &str) -> bool + Send>;

/// What the proxy does to a request.
#[derive(Clone)]
pub enum Fault {
    /// Passes the request on and cuts the connection instead of answering: the store has done what it was asked.
    LoseReply,
    /// Passes the request on and keeps the answer to itself, until the client is gone: the store has done what it was asked.
    WithholdReply,
    /// Passes the request on, and cuts the connection in the middle of the answer's body.
    BreakOff,
    /// Passes half of the body on, and then nothing until the client is gone.
    StallMidway,
    /// Answers with this status without passing the request on.
    Answer(StatusCode),
    /// Cuts the connection without passing the request on.
    Refuse,
    /// Passes nothing on and never answers.
    Stall,
    /// Passes the request on, and moves the date of the answer by so many seconds: a store whose clock is ahead, or behind.
    ShiftClock(i64),
    /// Does something first, such as another writer's put, and then passes the request on.
    Before(Hook),
}

impl Fault {
    /// A fault that does `action` first and then passes the request on.
    pub fn before<F>(action: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::Before(Arc::new(move || Box::pin(action())))
    }
}

/// A request that has reached the proxy.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
}

struct Rule {
    matches: Matcher,
    fault: Fault,
    left: usize,
}

struct Shared {
    upstream: String,
    upstream_name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    shown: Mutex<TlsAcceptor>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
}

/// A running proxy; dropping it closes its port.
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

impl FaultProxy {
    /// Starts a proxy before the server at `upstream` (`127.0.0.1:<port>`); the same authority signs for both.
    pub async fn start(upstream: String, authority: &Authority) -> Result<Self> {
        let certificate = authority.sign(&["127.0.0.1", "localhost"])?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Self::listen(listener, &certificate, upstream, &authority.certificate())
    }

    /// Starts a proxy that shows `certificate` to those who come to `listener`, before the server at `upstream` (`host:port`), whose
    /// certificate `authority` (PEM) has signed.
    pub fn listen(
        listener: TcpListener,
        certificate: &ServerCertificate,
        upstream: String,
        authority: &str,
    ) -> Result<Self> {
        let shown = TlsAcceptor::from(https::server_config(certificate)?);
        let tls = https::client_config(authority)?;
        let (host, _) = upstream.rsplit_once(':').context("the upstream has no port")?;
        let upstream_name = ServerName::try_from(host.to_owned())?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            upstream,
            upstream_name,
            tls,
            shown: Mutex::new(shown),
            rules: Mutex::default(),
            seen: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            port,
            shared,
            accepting,
        })
    }

    /// The port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address as `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Does `fault` to the next `times` requests that `matches` accepts by method and path with query. Earlier rules go first.
    pub fn inject(
        &self,
        times: usize,
        fault: Fault,
        matches: impl Fn(&Method, &str) -> bool + Send + 'static,
    ) {
        lock(&self.shared.rules).push(Rule {
            matches: Box::new(matches),
            fault,
            left: times,
        });
    }

    /// Shows another certificate to whoever comes from now on; connections that there are stay.
    pub fn show(&self, certificate: &ServerCertificate) -> Result<()> {
        *lock(&self.shared.shown) = TlsAcceptor::from(https::server_config(certificate)?);
        Ok(())
    }

    /// Forgets all faults that were not met yet.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }

    /// How many requests each rule still waits for, together.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        lock(&self.shared.rules).iter().map(|rule| rule.left).sum()
    }

    /// Each request so far, in order of arrival.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (lock(&shared.shown).clone(), Arc::clone(&shared));
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let answer = service_fn(|request| handle(Arc::clone(&shared), request));
            // An error here is a connection that we cut, or that the client did.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    let target = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let fault = next_fault(&shared, &method, &target);
    lock(&shared.seen).push(Seen {
        method,
        target,
        headers,
    });
    match fault {
        None => forward(&shared, request).await,
        Some(Fault::LoseReply) => {
            let answer = forward(&shared, request).await?;
            answer.into_body().collect().await?;
            Err("the reply is lost".into())
        }
        Some(Fault::WithholdReply) => {
            let answer = forward(&shared, request).await?;
            answer.into_body().collect().await?;
            std::future::pending().await
        }
        Some(Fault::BreakOff) => {
            let (head, body) = forward(&shared, request).await?.into_parts();
            let body = BrokenOff::of(&body.collect().await?.to_bytes());
            Ok(Response::from_parts(
                head,
                body.map_err(|never| match never {}).boxed(),
            ))
        }
        Some(Fault::StallMidway) => {
            let (mut sender, connection) = connect(&shared).await?;
            let half = request.map(|body| Half::of(body).boxed());
            // Polled here and not in a task, so that the store is let go of when the client is gone.
            tokio::select! {
                ended = connection => Err(ended.err().map_or_else(|| "the store has hung up".into(), Failure::from)),
                answer = sender.send_request(half) => Ok(answer?.map(BodyExt::boxed)),
            }
        }
        Some(Fault::Answer(status)) => {
            request.into_body().collect().await?;
            let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
            Ok(Response::builder().status(status).body(body)?)
        }
        Some(Fault::Refuse) => Err("the connection is refused".into()),
        Some(Fault::Stall) => std::future::pending().await,
        Some(Fault::ShiftClock(seconds)) => {
            let mut answer = forward(&shared, request).await?;
            let date = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(seconds))?;
            let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            answer.headers_mut().insert(hyper::header::DATE, date.parse()?);
            Ok(answer)
        }
        Some(Fault::Before(action)) => {
            action().await;
            forward(&shared, request).await
        }
    }
}

fn next_fault(shared: &Shared, method: &Method, target: &str) -> Option<Fault> {
    let mut rules = lock(&shared.rules);
    let rule = rules
        .iter_mut()
        .find(|rule| rule.left > 0 && (rule.matches)(method, target))?;
    rule.left -= 1;
    Some(rule.fault.clone())
}

async fn forward(shared: &Shared, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    let (mut sender, connection) = connect(shared).await?;
    tokio::spawn(connection);
    let answer = sender.send_request(request.map(BodyExt::boxed)).await?;
    Ok(answer.map(BodyExt::boxed))
}

type Upstream = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;

async fn connect(shared: &Shared) -> Result<(SendRequest<Body>, Connection<Upstream, Body>), Failure> {
    let stream = TcpStream::connect(&shared.upstream).await?;
    let stream = TlsConnector::from(Arc::clone(&shared.tls))
        .connect(shared.upstream_name.clone(), stream)
        .await?;
    Ok(hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?)
}

/// A body whose second half never comes.
struct Half {
    body: Incoming,
    left: usize,
}

impl Half {
    fn of(body: Incoming) -> Self {
        let whole = hyper::body::Body::size_hint(&body).exact().unwrap_or_default();
        let left = usize::try_from(whole / 2).unwrap_or(usize::MAX);
        Self { body, left }
    }
}

impl hyper::body::Body for Half {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // Nobody will wake this up: it is dropped with the connection.
        if self.left == 0 {
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|data| {
                    let first = data.slice(..data.len().min(self.left));
                    self.left -= first.len();
                    first
                })
            })
        }))
    }

    /// The length that was announced, which is the whole.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that announces all of its bytes and ends after half of them: whoever sends it cuts the connection.
struct BrokenOff {
    half: Option<Bytes>,
    whole: u64,
    has_paused: bool,
}

impl BrokenOff {
    fn of(whole: &Bytes) -> Self {
        Self {
            half: Some(whole.slice(..whole.len() / 2)),
            whole: whole.len() as u64,
            has_paused: false,
        }
    }
}

impl hyper::body::Body for BrokenOff {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        // What was given is sent before the end is seen.
        if !self.has_paused {
            self.has_paused = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.whole)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A TLS proxy in front of a real store that loses replies, stalls, refuses and intervenes on demand, and that remembers each
//! request. What it passes on, it passes on unchanged, the signature included.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::authority::Authority;
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
    /// Answers with this status without passing the request on.
    Answer(StatusCode),
    /// Cuts the connection without passing the request on.
    Refuse,
    /// Passes nothing on and never answers.
    Stall,
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
    tls: Arc<ClientConfig>,
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
        let server = https::server_config(&authority.sign(&["127.0.0.1", "localhost"])?)?;
        let tls = https::client_config(&authority.certificate())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            upstream,
            tls,
            rules: Mutex::default(),
            seen: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(server), Arc::clone(&shared)));
        Ok(Self {
            port,
            shared,
            accepting,
        })
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

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
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
        Some(Fault::Answer(status)) => {
            request.into_body().collect().await?;
            let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
            Ok(Response::builder().status(status).body(body)?)
        }
        Some(Fault::Refuse) => Err("the connection is refused".into()),
        Some(Fault::Stall) => std::future::pending().await,
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
    let stream = TcpStream::connect(&shared.upstream).await?;
    let name = ServerName::try_from("127.0.0.1")?;
    let stream = TlsConnector::from(Arc::clone(&shared.tls))
        .connect(name, stream)
        .await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Response::from_parts(head, body.boxed()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

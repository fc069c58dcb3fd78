//! Connections to the store, kept for the next request of the same registry. A request and its answer run in the task of the client's
//! connection: whoever goes away takes its part of the store's side along.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use dataembassy_ledger::RegistryId;
use dataembassy_ledger::door::Refusal;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::BUFFER;
use super::upload::{Lapse, Progress, Sent};
use super::wire::{Lingering, Wire};
use crate::store::way::{Stream, Way};
use crate::store::{StoreError, StoreSettings};

/// How long an idle connection is kept. Shorter than stores keep theirs, so that a request seldom meets one that is closing.
const IDLE: Duration = Duration::from_secs(10);
/// The most idle connections of one registry.
const MAX_IDLE: usize = 16;
/// The most headers of an answer.
const MAX_ANSWER_HEADERS: usize = 64;
/// Between two looks at whether a request takes too long.
const LOOK: Duration = Duration::from_secs(1);
/// How long the store may take to answer a probe.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// One connection to the store. It is moved on by whoever waits for something on it.
pub(super) struct Link {
    sender: SendRequest<Sent>,
    connection: Pin<Box<Connection<TokioIo<Stream<Wire>>, Sent>>>,
    ended: bool,
    idle_since: Instant,
}

/// Why a request that passed has no answer of the store.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The client is at fault, or is not let in any more.
    Client(Refusal),
    /// Nothing was sent.
    NotSent(StoreError),
    /// It may have been done.
    Unknown(StoreError),
}

/// The store as one configuration describes it.
pub(super) struct Upstream {
    way: Way,
    bucket: String,
    idle: Mutex<BTreeMap<RegistryId, Vec<Link>>>,
}

impl Link {
    /// Moves the connection on.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended && self.connection.as_mut().poll(cx).is_ready() {
            self.ended = true;
        }
    }

    /// Whether another request may be sent.
    fn is_fit(&mut self) -> bool {
        // What it last waited for does not matter any more; whoever uses it next polls it anew.
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready()
    }
}

impl Upstream {
    pub(super) fn new(settings: &StoreSettings) -> Result<Self, StoreError> {
        Ok(Self {
            way: Way::to(settings)?,
            bucket: settings.bucket().to_owned(),
            idle: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RegistryId, Vec<Link>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Link, StoreError> {
        let stream = self.way.connect().await?;
        let stream = self.way.secure(Wire::new(stream, Lingering::default())).await?;
        let (sender, connection) = Builder::new()
            .max_buf_size(BUFFER)
            .max_headers(MAX_ANSWER_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.way.unreachable(error.to_string()))?;
        Ok(Link {
            sender,
            connection: Box::pin(connection),
            ended: false,
            idle_since: Instant::now(),
        })
    }

    /// Takes a connection that is fit for another request.
    fn take(&self, registry: &RegistryId) -> Option<Link> {
        loop {
            // The latest one is the least likely to be closed by now.
            let mut link = self.lock().get_mut(registry)?.pop()?;
            if link.idle_since.elapsed() < IDLE && link.is_fit() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection for the next request of the registry, if it is fit for one.
    pub(super) fn keep(&self, registry: &RegistryId, mut link: Link) {
        if !link.is_fit() {
            return;
        }
        link.idle_since = Instant::now();
        let mut idle = self.lock();
        let links = idle.entry(registry.clone()).or_default();
        if links.len() < MAX_IDLE {
            links.push(link);
        }
    }

    /// Closes connections that nobody has used for a while.
    pub(super) fn tidy(&self) {
        self.lock().retain(|_, links| {
            links.retain(|link| link.idle_since.elapsed() < IDLE);
            !links.is_empty()
        });
    }

    /// Sends a request and waits for the head of its answer, which comes with the connection that its body comes by.
    pub(super) async fn ask(
        &self,
        registry: &RegistryId,
        mut request: Request<Sent>,
        progress: &Arc<Progress>,
        cut: &CancellationToken,
    ) -> Result<(Response<Incoming>, Link), NoAnswer> {
        loop {
            let (mut link, is_fresh) = match self.take(registry) {
                Some(link) => (link, false),
                None => (self.connect().await.map_err(NoAnswer::NotSent)?, true),
            };
            let sending = link.sender.try_send_request(request);
            let mut sending = std::pin::pin!(sending);
            let answer = tokio::select! {
                biased;
                () = cut.cancelled() => return Err(NoAnswer::Client(Refusal::Fenced)),
                answer = poll_fn(|cx| {
                    // First the connection, then what it may have brought.
                    link.drive(cx);
                    sending.as_mut().poll(cx)
                }) => answer,
                lapse = lapse(progress) => return Err(match lapse {
                    Lapse::Client(refusal) => NoAnswer::Client(refusal),
                    Lapse::Store(seconds) => NoAnswer::Unknown(self.silent(seconds)),
                }),
            };
            match answer {
                Ok(answer) => return Ok((answer, link)),
                // It was closed before anything of the request was sent on it.
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if !is_fresh => request = unsent,
                    _ => {
                        let error = self.way.unreachable(failed.into_error().to_string());
                        return Err(NoAnswer::Unknown(error));
                    }
                },
            }
        }
    }

    fn silent(&self, seconds: u64) -> StoreError {
        StoreError::NoAnswer {
            endpoint: self.way.endpoint().to_string(),
            operation: "a request that passed the gate",
            seconds,
        }
    }

    /// Asks the store for anything at all, unsigned: what it answers does not matter, as long as it is not in trouble itself.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        let probing = async {
            let mut link = self.connect().await?;
            let mut request = Request::new(Sent::Nothing);
            *request.method_mut() = Method::HEAD;
            *request.uri_mut() = format!("/{}", self.bucket)
                .parse()
                .map_err(|_| self.way.unreachable("its bucket has no address"))?;
            let host = HeaderValue::from_str(self.way.authority())
                .map_err(|_| self.way.unreachable("it has no host"))?;
            request.headers_mut().insert(HOST, host);
            let sending = link.sender.send_request(request);
            let mut sending = std::pin::pin!(sending);
            let answer = poll_fn(|cx| {
                link.drive(cx);
                sending.as_mut().poll(cx)
            });
            let answer = answer
                .await
                .map_err(|error| self.way.unreachable(error.to_string()))?;
            let status = answer.status();
            if status.is_server_error() {
                return Err(StoreError::Failed {
                    operation: "a probe of the gate",
                    status: status.as_u16(),
                    code: String::new(),
                    message: status.canonical_reason().unwrap_or_default().to_owned(),
                });
            }
            Ok(())
        };
        tokio::time::timeout(PROBE_PATIENCE, probing)
            .await
            .unwrap_or_else(|_| Err(self.silent(PROBE_PATIENCE.as_secs())))
    }
}

/// Waits until a request has taken too long.
async fn lapse(progress: &Progress) -> Lapse {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(lapse) = progress.lapsed(Instant::now()) {
            return lapse;
        }
    }
}

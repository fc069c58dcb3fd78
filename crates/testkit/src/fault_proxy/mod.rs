//! A TLS proxy in front of a real store, or of a gate, that loses replies, stalls, refuses, lies and intervenes on demand, and that
//! remembers each request. What it passes on, it passes on unchanged, the signature included.
//!
//! [`fault`] names what it can do, [`answer`] does it, with the bodies of [`body`] and the listings of [`listing`].

mod answer;
mod body;
mod fault;
mod listing;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, ServerCertificate};
use crate::https;
pub use fault::{Fault, Toxic};

type Matcher = Box<dyn Fn(&Method, &str) -> bool + Send>;

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
    /// Requests that it lets pass before the first one that it is for.
    spared: usize,
    left: usize,
    met: usize,
}

struct Shared {
    upstream: String,
    upstream_name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    shown: Mutex<TlsAcceptor>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    /// The first object that was read in each folder: its path and its bytes.
    read: Mutex<BTreeMap<String, (String, Bytes)>>,
    /// How often all faults were forgotten.
    healed: watch::Sender<u64>,
    /// How often all connections were cut.
    restarted: watch::Sender<u64>,
    /// Bytes of endless bodies that somebody has taken.
    endless: Arc<AtomicU64>,
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
            read: Mutex::default(),
            healed: watch::Sender::default(),
            restarted: watch::Sender::default(),
            endless: Arc::default(),
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
        self.inject_later(0, times, fault, matches);
    }

    /// The same, sparing the first `spared` requests that `matches` accepts.
    pub fn inject_later(
        &self,
        spared: usize,
        times: usize,
        fault: Fault,
        matches: impl Fn(&Method, &str) -> bool + Send + 'static,
    ) {
        lock(&self.shared.rules).push(Rule {
            matches: Box::new(matches),
            fault,
            spared,
            left: times,
            met: 0,
        });
    }

    /// Shows another certificate to whoever comes from now on; connections that there are stay.
    pub fn show(&self, certificate: &ServerCertificate) -> Result<()> {
        *lock(&self.shared.shown) = TlsAcceptor::from(https::server_config(certificate)?);
        Ok(())
    }

    /// Cuts all connections, and shows another certificate to whoever comes back: a server that was started anew with it.
    pub fn restart(&self, certificate: &ServerCertificate) -> Result<()> {
        self.show(certificate)?;
        self.shared.restarted.send_modify(|times| *times += 1);
        Ok(())
    }

    /// Forgets all faults that were not met yet, and cuts what [`Fault::StallAfter`] holds up.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
        self.shared.healed.send_modify(|times| *times += 1);
    }

    /// How many bytes of [`Fault::Endless`] bodies were taken so far.
    #[must_use]
    pub fn endless_taken(&self) -> u64 {
        self.shared.endless.load(Ordering::Relaxed)
    }

    /// How many requests each rule still waits for, together.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        lock(&self.shared.rules).iter().map(|rule| rule.left).sum()
    }

    /// How many requests the rules have met since the last [`Self::heal`].
    #[must_use]
    pub fn faults_met(&self) -> usize {
        lock(&self.shared.rules).iter().map(|rule| rule.met).sum()
    }

    /// How many requests have come so far.
    #[must_use]
    pub fn asked(&self) -> usize {
        lock(&self.shared.seen).len()
    }

    /// How many of the requests so far are such. For whoever asks again and again: nothing is copied.
    #[must_use]
    pub fn asked_for(&self, is_such: impl Fn(&Seen) -> bool) -> usize {
        let seen = lock(&self.shared.seen);
        seen.iter().filter(|one| is_such(one)).count()
    }

    /// A copy of each request so far, in order of arrival: thousands of them where a test is long.
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
        let mut restarted = shared.restarted.subscribe();
        let (tls, shared) = (lock(&shared.shown).clone(), Arc::clone(&shared));
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let answer = service_fn(|request| answer::handle(Arc::clone(&shared), request));
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::select! {
                // An error here is a connection that we cut, or that the client did.
                _ = serving => {}
                _ = restarted.changed() => {}
            }
        });
    }
}

fn next_fault(shared: &Shared, method: &Method, target: &str) -> Option<Fault> {
    let mut rules = lock(&shared.rules);
    let rule = rules
        .iter_mut()
        .find(|rule| rule.left > 0 && (rule.matches)(method, target))?;
    if rule.spared > 0 {
        rule.spared -= 1;
        return None;
    }
    rule.left -= 1;
    rule.met += 1;
    Some(rule.fault.clone())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

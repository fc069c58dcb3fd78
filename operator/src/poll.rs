//! Asking one of our processes for a report, directly at its pod: bounded, within two seconds, and only when it changed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataembassy_contract::custodian::{self, CustodianReport, RegistryReport};
use dataembassy_contract::drill::DrillReport;
use dataembassy_contract::gate::{self, GateReport};
use dataembassy_contract::report::{self, Report};
use dataembassy_contract::restore::RestoreReport;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ETAG, HOST, HeaderValue, IF_NONE_MATCH};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::net::TcpStream;

use crate::pod;
use crate::run::Context;

/// How long a process has for its answer.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// A report that can be asked for.
pub trait Reported: Sized {
    /// The most bytes of it that are read.
    const MAX_BYTES: usize;

    /// Reads what came over the network, cleaned; `None` if it is too long or no such report.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Reported for Report {
    const MAX_BYTES: usize = report::MAX_BYTES;

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }
}

impl Reported for GateReport {
    const MAX_BYTES: usize = gate::MAX_BYTES;

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }
}

impl Reported for CustodianReport {
    const MAX_BYTES: usize = custodian::MAX_BYTES;

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }
}

impl Reported for RegistryReport {
    const MAX_BYTES: usize = custodian::MAX_BYTES;

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }
}

impl Reported for RestoreReport {
    const MAX_BYTES: usize = report::MAX_BYTES;

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }
}

impl Reported for DrillReport {
    const MAX_BYTES: usize = report::MAX_BYTES;

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }
}

/// A report and what to ask with next time.
#[derive(Debug, PartialEq)]
pub struct Known<R> {
    /// The pod it came from.
    pub pod_uid: String,
    /// The tag that says which state it is of.
    pub etag: Option<HeaderValue>,
    /// The report, cleaned.
    pub report: Arc<R>,
}

impl<R> Clone for Known<R> {
    fn clone(&self) -> Self {
        Self {
            pod_uid: self.pod_uid.clone(),
            etag: self.etag.clone(),
            report: Arc::clone(&self.report),
        }
    }
}

/// What was said last, by the object that it is about.
#[derive(Debug)]
pub struct Memory<R>(Mutex<HashMap<String, Known<R>>>);

impl<R> Default for Memory<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R> Memory<R> {
    /// What was said last about `object`.
    pub fn get(&self, object: &str) -> Option<Known<R>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(object)
            .cloned()
    }

    /// Keeps what was said about `object`, to be asked for changes only.
    pub fn keep(&self, object: String, known: Known<R>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(object, known);
    }

    /// Forgets what was said about `object`, so that it is asked for all of it.
    pub fn forget(&self, object: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(object);
    }

    /// Forgets what was said about objects that are gone.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|object, _| is_there(object));
    }
}

/// Whom to ask for what.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// The report's path.
    pub path: &'a str,
    /// Its pod: what another pod said before means nothing.
    pub pod_uid: &'a str,
}

/// Why a process gave no report.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// Nothing came within [`TIMEOUT`].
    #[error("it did not answer within two seconds")]
    TimedOut,
    /// No connection.
    #[error("no connection to it: {0}")]
    NotConnected(std::io::Error),
    /// Not HTTP.
    #[error("it does not speak HTTP: {0}")]
    NotHttp(hyper::Error),
    /// Another status.
    #[error("it answered with status {0}")]
    Refused(StatusCode),
    /// Too long, cut off, or not a report.
    #[error("its report cannot be read")]
    Unreadable,
}

/// What a process answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What the tag says is still so.
    Unchanged,
    /// This.
    Said {
        /// The tag that says which state it is of.
        etag: Option<HeaderValue>,
        /// The report as it came, at most as long as was asked for.
        body: Bytes,
    },
}

/// How processes are asked: over the network, or as a test answers for them.
pub trait Wire: Send + Sync {
    /// Asks for a report of at most `max_bytes`, or whether what `tag` says is still so.
    fn get<'a>(
        &'a self,
        target: Target<'a>,
        tag: Option<HeaderValue>,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<Answer, PollError>>;
}

/// Asks a pod that runs, and remembers the answer as that about `object`; `None` where it does not run yet.
pub async fn ask_pod<R: Reported>(
    pod: &Pod,
    (port, path): (u16, &str),
    object: &str,
    memory: &Memory<R>,
    context: &Context,
) -> Option<Result<Arc<R>, PollError>> {
    let address = SocketAddr::new(pod::address(pod)?, port);
    let pod_uid = &pod.uid()?;
    let target = Target {
        address,
        path,
        pod_uid,
    };
    Some(match ask(&*context.wire, target, memory.get(object)).await {
        Ok(known) => {
            context.metrics.polled("ok");
            let report = Arc::clone(&known.report);
            memory.keep(object.to_owned(), known);
            Ok(report)
        }
        Err(error) => {
            context.metrics.polled("failed");
            Err(error)
        }
    })
}

/// Asks for a report; `known` is what the same pod said last.
pub async fn ask<R: Reported>(
    wire: &dyn Wire,
    target: Target<'_>,
    known: Option<Known<R>>,
) -> Result<Known<R>, PollError> {
    let known = known.filter(|known| known.pod_uid == target.pod_uid);
    let tag = known.as_ref().and_then(|known| known.etag.clone());
    let answer = tokio::time::timeout(TIMEOUT, wire.get(target, tag, R::MAX_BYTES))
        .await
        .map_err(|_| PollError::TimedOut)??;
    match (answer, known) {
        (Answer::Unchanged, Some(known)) => Ok(known),
        (Answer::Unchanged, None) => Err(PollError::Refused(StatusCode::NOT_MODIFIED)),
        (Answer::Said { etag, body }, _) => Ok(Known {
            pod_uid: target.pod_uid.to_owned(),
            etag,
            report: Arc::new(R::read(&body).ok_or(PollError::Unreadable)?),
        }),
    }
}

/// Asks over the network, directly and without a proxy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network;

impl Wire for Network {
    fn get<'a>(
        &'a self,
        target: Target<'a>,
        tag: Option<HeaderValue>,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<Answer, PollError>> {
        Box::pin(exchange(target, tag, max_bytes))
    }
}

async fn exchange(
    target: Target<'_>,
    tag: Option<HeaderValue>,
    max_bytes: usize,
) -> Result<Answer, PollError> {
    let stream = TcpStream::connect(target.address)
        .await
        .map_err(PollError::NotConnected)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(PollError::NotHttp)?;
    let mut request = Request::get(target.path).header(HOST, target.address.to_string());
    if let Some(tag) = tag {
        request = request.header(IF_NONE_MATCH, tag);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|_| PollError::Unreadable)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(PollError::NotHttp)?;
        match response.status() {
            StatusCode::NOT_MODIFIED => Ok(Answer::Unchanged),
            StatusCode::OK => {
                let etag = response.headers().get(ETAG).cloned();
                let body = Limited::new(response.into_body(), max_bytes).collect().await;
                let body = body.map_err(|_| PollError::Unreadable)?.to_bytes();
                Ok(Answer::Said { etag, body })
            }
            status => Err(PollError::Refused(status)),
        }
    };
    // The connection is driven beside the exchange and dropped with it: no task outlives a poll. It may end first, with the answer
    // read already; if it failed, so does the exchange.
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use dataembassy_contract::files::STATUS_PATH;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with `answer` and gives back what was asked.
    async fn serve(answer: Vec<u8>) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            // The other side may hang up on an answer that it does not want.
            drop(stream.write_all(&answer).await);
            String::from_utf8(asked).unwrap()
        });
        (port, task)
    }

    fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    async fn ask_local<R: Reported>(
        port: u16,
        pod_uid: &str,
        known: Option<Known<R>>,
    ) -> Result<Known<R>, PollError> {
        let target = Target {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            path: STATUS_PATH,
            pod_uid,
        };
        ask(&Network, target, known).await
    }

    #[tokio::test]
    async fn an_unchanged_report_is_not_sent_again() {
        let (port, _) = serve(answer(
            "200 OK",
            "etag: \"7\"\r\n",
            r#"{"process":"p","consecutiveFailures":2}"#,
        ))
        .await;
        let first = ask_local::<Report>(port, "uid", None).await.unwrap();
        assert_eq!(first.report.consecutive_failures, 2);
        let (port, asked) = serve(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()).await;
        let second = ask_local::<Report>(port, "uid", Some(first.clone()))
            .await
            .unwrap();
        assert_eq!(second, first);
        assert!(asked.await.unwrap().contains("if-none-match: \"7\""));
    }

    #[tokio::test]
    async fn another_pod_is_asked_anew() {
        let known = Known {
            pod_uid: "old".into(),
            etag: Some(HeaderValue::from_static("\"7\"")),
            report: Arc::default(),
        };
        let (port, asked) = serve(answer("200 OK", "", "{}")).await;
        ask_local::<Report>(port, "new", Some(known)).await.unwrap();
        assert!(!asked.await.unwrap().contains("if-none-match"));
    }

    #[tokio::test]
    async fn a_report_without_end_is_refused() {
        let endless = answer(
            "200 OK",
            "",
            &format!(r#"{{"process":"{}"}}"#, "x".repeat(report::MAX_BYTES)),
        );
        let (port, _) = serve(endless).await;
        assert!(matches!(
            ask_local::<Report>(port, "uid", None).await,
            Err(PollError::Unreadable)
        ));
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let (port, _) = serve(answer("302 Found", "location: http://169.254.169.254/\r\n", "")).await;
        assert!(matches!(
            ask_local::<Report>(port, "uid", None).await,
            Err(PollError::Refused(StatusCode::FOUND))
        ));
    }

    #[tokio::test]
    async fn control_characters_do_not_reach_a_resource() {
        let body =
            r#"{"source":{"state":"False","reason":"SourceUnreachable","message":"a\u001b[2Jb\u202ec"}}"#;
        let (port, _) = serve(answer("200 OK", "", body)).await;
        let known = ask_local::<Report>(port, "uid", None).await.unwrap();
        assert_eq!(known.report.source.message, "a[2Jbc");
    }
}

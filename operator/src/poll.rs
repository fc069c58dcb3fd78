//! Asking a sidecar for its report, directly at its pod: at most 64 KiB, within two seconds, and only when it changed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dataembassy_contract::files::STATUS_PATH;
use dataembassy_contract::report::{MAX_BYTES, Report};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ETAG, HOST, HeaderValue, IF_NONE_MATCH};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long a sidecar has for its answer.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// A report and what to ask with next time.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The pod it came from.
    pub pod_uid: String,
    /// The tag that says which state it is of.
    pub etag: Option<HeaderValue>,
    /// The report, cleaned.
    pub report: Report,
}

/// Why a sidecar gave no report.
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

/// Asks the sidecar at `address`; `known` is what the same pod said last.
pub async fn ask(
    address: IpAddr,
    port: u16,
    pod_uid: &str,
    known: Option<Known>,
) -> Result<Known, PollError> {
    let known = known.filter(|known| known.pod_uid == pod_uid);
    tokio::time::timeout(TIMEOUT, exchange(SocketAddr::new(address, port), pod_uid, known))
        .await
        .map_err(|_| PollError::TimedOut)?
}

async fn exchange(address: SocketAddr, pod_uid: &str, known: Option<Known>) -> Result<Known, PollError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(PollError::NotConnected)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(PollError::NotHttp)?;
    let mut request = Request::get(STATUS_PATH).header(HOST, address.to_string());
    if let Some(tag) = known.as_ref().and_then(|known| known.etag.clone()) {
        request = request.header(IF_NONE_MATCH, tag);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|_| PollError::Unreadable)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(PollError::NotHttp)?;
        match (response.status(), known) {
            (StatusCode::NOT_MODIFIED, Some(known)) => Ok(known),
            (StatusCode::OK, _) => {
                let etag = response.headers().get(ETAG).cloned();
                let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
                let body = body.map_err(|_| PollError::Unreadable)?.to_bytes();
                let report = Report::read(&body).ok_or(PollError::Unreadable)?;
                Ok(Known {
                    pod_uid: pod_uid.to_owned(),
                    etag,
                    report,
                })
            }
            (status, _) => Err(PollError::Refused(status)),
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

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn an_unchanged_report_is_not_sent_again() {
        let (port, _) = serve(answer(
            "200 OK",
            "etag: \"7\"\r\n",
            r#"{"process":"p","consecutiveFailures":2}"#,
        ))
        .await;
        let first = ask(LOCAL, port, "uid", None).await.unwrap();
        assert_eq!(first.report.consecutive_failures, 2);
        let (port, asked) = serve(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()).await;
        let second = ask(LOCAL, port, "uid", Some(first.clone())).await.unwrap();
        assert_eq!(second, first);
        assert!(asked.await.unwrap().contains("if-none-match: \"7\""));
    }

    #[tokio::test]
    async fn another_pod_is_asked_anew() {
        let known = Known {
            pod_uid: "old".into(),
            etag: Some(HeaderValue::from_static("\"7\"")),
            report: Report::default(),
        };
        let (port, asked) = serve(answer("200 OK", "", "{}")).await;
        ask(LOCAL, port, "new", Some(known)).await.unwrap();
        assert!(!asked.await.unwrap().contains("if-none-match"));
    }

    #[tokio::test]
    async fn a_report_without_end_is_refused() {
        let endless = answer(
            "200 OK",
            "",
            &format!(r#"{{"process":"{}"}}"#, "x".repeat(MAX_BYTES)),
        );
        let (port, _) = serve(endless).await;
        assert!(matches!(
            ask(LOCAL, port, "uid", None).await,
            Err(PollError::Unreadable)
        ));
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let (port, _) = serve(answer("302 Found", "location: http://169.254.169.254/\r\n", "")).await;
        assert!(matches!(
            ask(LOCAL, port, "uid", None).await,
            Err(PollError::Refused(StatusCode::FOUND))
        ));
    }

    #[tokio::test]
    async fn control_characters_do_not_reach_a_resource() {
        let body =
            r#"{"source":{"state":"False","reason":"SourceUnreachable","message":"a\u001b[2Jb\u202ec"}}"#;
        let (port, _) = serve(answer("200 OK", "", body)).await;
        let known = ask(LOCAL, port, "uid", None).await.unwrap();
        assert_eq!(known.report.source.message, "a[2Jbc");
    }
}

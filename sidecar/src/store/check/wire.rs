//! One raw HTTP/1.1 request over a connection of its own.
//!
//! An S3 client sends only what is well formed; what a gate has to refuse is not, so requests are written byte by byte here. Each
//! address is judged before it is connected to, as everywhere else.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::store::way::Way;
use crate::store::{StoreError, StoreSettings};

/// The most bytes of an answer that are read: a listing of a thousand versions is cut, and nothing here asks for one.
const MAX_ANSWER: usize = 256 * 1024;

/// A request as its bytes will be, but for the signature.
#[derive(Clone, Debug)]
pub(super) struct RawRequest {
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// Headers in this order, repetitions included; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The bytes after the head.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    /// Whether the request did what it asked.
    pub(super) fn is_success(&self) -> bool {
        (200..400).contains(&self.status)
    }

    /// A header's first value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    /// The body, as far as it is text.
    pub(super) fn text(&self) -> &str {
        &self.body
    }

    /// The text of the first `<name>…</name>` of an XML answer.
    pub(super) fn element(&self, name: &str) -> Option<&str> {
        element(&self.body, name)
    }
}

/// The text of the first `<name>…</name>`.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// Where raw requests go.
#[derive(Clone)]
pub(super) struct Wire {
    way: Way,
    patience: Duration,
}

impl Wire {
    /// Prepares; nothing is sent yet.
    pub(super) fn to(settings: &StoreSettings) -> Result<Self, StoreError> {
        Ok(Self {
            way: Way::to(settings)?,
            patience: settings.patience.put,
        })
    }

    /// Scheme, host and port, as signatures cover them; the port only where it is not the scheme's own.
    pub(super) fn origin(&self) -> String {
        self.way.endpoint().to_string()
    }

    /// The `Host` header.
    pub(super) fn authority(&self) -> String {
        self.way.authority().to_owned()
    }

    /// Sends a request and reads the answer; `None` if the other side closed the connection without one.
    pub(super) async fn send(&self, request: &RawRequest) -> Result<Option<Answer>, StoreError> {
        let exchange = async {
            let stream = self.way.secure(self.way.connect().await?).await?;
            converse(stream, request).await
        };
        tokio::time::timeout(self.patience, exchange)
            .await
            .unwrap_or_else(|_| {
                Err(StoreError::NoAnswer {
                    endpoint: self.way.endpoint().to_string(),
                    operation: request.method,
                    seconds: self.patience.as_secs(),
                })
            })
    }
}

/// Writes the request and reads what comes until the end. Whoever refuses early may close while we still write, so an error of writing
/// is none as long as there is an answer; and whoever ends TLS rudely has still answered.
async fn converse<S>(mut stream: S, request: &RawRequest) -> Result<Option<Answer>, StoreError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method, request.target).into_bytes();
    for (name, value) in &request.headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"connection: close\r\n\r\n");
    bytes.extend_from_slice(&request.body);
    let _ = stream.write_all(&bytes).await;
    let _ = stream.flush().await;
    let mut received = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    while received.len() < MAX_ANSWER && !is_whole(&received, request.method) {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => received.extend_from_slice(&chunk[..read]),
        }
    }
    Ok(parse(&received))
}

/// Splits off the head of the final answer.
fn final_head(received: &[u8]) -> Option<(&str, &[u8])> {
    let mut rest = received;
    loop {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 4..];
        if !head.starts_with("HTTP/1.1 1") {
            return Some((head, rest));
        }
    }
}

/// Whether nothing more has to be waited for: not everybody closes although told to.
fn is_whole(received: &[u8], method: &str) -> bool {
    let Some((head, body)) = final_head(received) else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    match length {
        _ if method == "HEAD" => true,
        Some(length) => body.len() >= length,
        None => body.ends_with(b"0\r\n\r\n"),
    }
}

fn parse(received: &[u8]) -> Option<Answer> {
    let (head, body) = final_head(received)?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Answer {
        status,
        headers,
        body: String::from_utf8_lossy(body).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interim_answer_is_not_the_answer() {
        let answer = parse(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nX-Amz-Request-Id: 1\r\n\r\n<Error><Code>AccessDenied</Code></Error>",
        )
        .unwrap();
        assert_eq!(answer.status, 403);
        assert_eq!(answer.header("x-amz-request-id"), Some("1"));
        assert_eq!(answer.element("Code"), Some("AccessDenied"));
    }

    #[test]
    fn an_answer_without_its_head_is_none() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Le").is_none());
        assert!(parse(b"").is_none());
        assert!(!is_whole(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "GET"
        ));
        assert!(is_whole(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "GET"
        ));
        assert!(is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD"));
    }
}

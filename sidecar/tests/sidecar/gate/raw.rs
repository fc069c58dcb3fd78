//! Requests byte by byte, as nobody's client sends them.

use std::fmt::Write as _;
use std::time::Duration;

use dataembassy_testkit::minio::SignedClient;
use rustls::CipherSuite;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// The SHA-256 of nothing.
pub const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A connection to the gate.
pub struct Raw {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The word of the gate's refusal.
    pub fn refusal(&self) -> &str {
        self.header("x-dataembassy-refused").unwrap_or("none")
    }
}

impl Raw {
    /// Connects as a client of the gate does.
    pub async fn open(client: &SignedClient) -> Self {
        let stream = TcpStream::connect(client.address()).await.unwrap();
        let (host, _) = client.address().rsplit_once(':').unwrap();
        let stream = TlsConnector::from(client.tls().clone())
            .connect(ServerName::try_from(host.to_owned()).unwrap(), stream)
            .await
            .unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// The cipher that both sides agreed on.
    pub fn cipher(&self) -> Option<CipherSuite> {
        let (_, session) = self.stream.get_ref();
        session.negotiated_cipher_suite().map(|suite| suite.suite())
    }

    /// Sends bytes; whether they could be.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// The next answer; `None` where the connection ends without one.
    pub async fn answer(&mut self) -> Option<Answer> {
        let deadline = tokio::time::timeout(DEADLINE, self.read_answer(false)).await;
        deadline.expect("an answer in time")
    }

    /// The next answer to a `HEAD`, which has no body whatever its headers say.
    pub async fn answer_to_head(&mut self) -> Option<Answer> {
        let deadline = tokio::time::timeout(DEADLINE, self.read_answer(true)).await;
        deadline.expect("an answer in time")
    }

    async fn read_answer(&mut self, of_head: bool) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, value)| value.parse::<usize>().unwrap());
        let length = if of_head || status < 200 { 0 } else { length };
        while self.read.len() < length {
            self.more().await?;
        }
        let body = String::from_utf8_lossy(&self.read[..length]).into_owned();
        self.read.drain(..length);
        Some(Answer {
            status,
            headers,
            body,
        })
    }

    async fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes).await.unwrap_or(0);
        self.read.extend_from_slice(&bytes[..read]);
        (read > 0).then_some(())
    }

    /// Waits until the gate has closed the connection; what it still says is returned.
    pub async fn end(&mut self) -> String {
        let ended = async { while self.more().await.is_some() {} };
        tokio::time::timeout(DEADLINE, ended)
            .await
            .expect("the connection is closed in time");
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

/// The head of a request, as its signature covers it, with more headers that are not signed.
pub fn head(
    client: &SignedClient,
    method: &str,
    path: &str,
    query: &[(&str, &str)],
    signed: &[(&str, &str)],
    payload: &str,
    unsigned: &[(&str, &str)],
) -> String {
    let (target, headers) = client.sign(method, path, query, signed, payload);
    written(method, &target, &headers, unsigned)
}

/// A head as its bytes are.
pub fn written(method: &str, target: &str, headers: &[(String, String)], more: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    for (name, value) in more {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head + "\r\n"
}

/// The head of a put of these bytes, with their length.
pub fn put(client: &SignedClient, path: &str, body: &[u8], unsigned: &[(&str, &str)]) -> String {
    let payload = crate::bench::sha256(body).to_string();
    let length = body.len().to_string();
    let mut unsigned = unsigned.to_vec();
    unsigned.push(("content-length", &length));
    let signed = [("if-none-match", "*")];
    head(client, "PUT", path, &[], &signed, &payload, &unsigned)
}

/// The head of a get.
pub fn get(client: &SignedClient, path: &str, query: &[(&str, &str)]) -> String {
    head(client, "GET", path, query, &[], EMPTY, &[])
}

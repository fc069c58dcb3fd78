//! Requests signed with AWS Signature Version 4: the tests' own, independent of the client under test.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use hyper::{Method, Request, Response};
use rustls::ClientConfig;

use crate::https::{self, Line};

/// An access key and its secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The access key, which is the store user's name.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

/// Signs and sends requests as one store user.
pub struct SignedClient {
    tls: Arc<ClientConfig>,
    address: String,
    credentials: Credentials,
}

impl SignedClient {
    /// A client of the server at `address` (`host:port`), trusting `authority` (PEM).
    pub fn new(authority: &str, address: String, credentials: Credentials) -> Result<Self> {
        Ok(Self {
            tls: https::client_config(authority)?,
            address,
            credentials,
        })
    }

    /// Whose requests these are.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Sends one request and returns the answer, whatever its status. `query` must be sorted by name.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Response<Bytes>> {
        let request = self.request(method, path, query, headers, body)?;
        https::send(&self.tls, &self.address, request).await
    }

    /// Waits until a server of ours that was just started answers its root user; if it does not, its log says why.
    pub(crate) async fn until_it_answers(&self, server: &str, log: &Path) -> Result<()> {
        let ready = async {
            loop {
                // Listing buckets needs the whole server: MinIO refuses it until its users are loaded.
                match self.send(Method::GET, "/", &[], &[], Vec::new()).await {
                    Ok(answer) if answer.status().is_success() => return,
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(1), ready)
            .await
            .with_context(|| {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                format!("{server} did not become ready; its log:\n{log}")
            })
    }

    /// A connection that is kept, for many requests one after the other.
    pub async fn line(&self) -> Result<Line> {
        Line::open(&self.tls, &self.address).await
    }

    /// A signed request; it must be sent soon.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Request<Bytes>> {
        let payload = hex(digest::digest(&digest::SHA256, &body).as_ref());
        let (target, signed) = self.sign(method.as_str(), path, query, headers, &payload);
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in signed {
            request = request.header(name, value);
        }
        Ok(request.body(Bytes::from(body))?)
    }

    /// Signs a request that somebody else sends: its target, and its headers in lower case with `host`, the date, `payload` as digest of
    /// the body, and `authorization`. `query` must be sorted by name.
    #[must_use]
    pub fn sign(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        payload: &str,
    ) -> (String, Vec<(String, String)>) {
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let query = query.join("&");
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut signed: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        signed.push(("host".into(), self.address.clone()));
        signed.push(("x-amz-content-sha256".into(), payload.to_owned()));
        signed.push(("x-amz-date".into(), time.clone()));
        signed.sort();
        let authorization = self.authorization(method, path, &query, &signed, payload, &time);
        signed.push(("authorization".into(), authorization));
        let target = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        };
        (target, signed)
    }

    /// TLS as these requests are sent by.
    #[must_use]
    pub fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }

    /// Where these requests are sent, as `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends one request that must succeed.
    pub async fn expect(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Response<Bytes>> {
        let what = format!("{method} {path}");
        let answer = self
            .send(method, path, query, headers, body)
            .await
            .with_context(|| what.clone())?;
        if !answer.status().is_success() {
            bail!(
                "{what}: {}: {}",
                answer.status(),
                String::from_utf8_lossy(answer.body())
            );
        }
        Ok(answer)
    }

    fn authorization(
        &self,
        method: &str,
        path: &str,
        query: &str,
        signed: &[(String, String)],
        payload: &str,
        time: &str,
    ) -> String {
        let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let lines = signed.iter().fold(String::new(), |lines, (name, value)| {
            lines + name + ":" + value + "\n"
        });
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}");
        let scope = format!("{}/us-east-1/s3/aws4_request", &time[..8]);
        let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let message = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let mut key = format!("AWS4{}", self.credentials.secret_key).into_bytes();
        for part in scope.split('/') {
            key = mac(&key, part);
        }
        let signature = hex(&mac(&key, &message));
        let access_key = &self.credentials.access_key;
        format!(
            "AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
    }
}

fn mac(key: &[u8], message: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes())
        .as_ref()
        .to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Percent-encodes all but the characters that a signature leaves as they are.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    })
}

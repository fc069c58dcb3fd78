//! One HTTP request over TLS, answered whole: enough for administration and for asserting what a server holds.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::authority::ServerCertificate;

/// Settings of a client that trusts one authority and nobody else.
pub fn client_config(authority: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Settings of a server that shows `certificate`.
pub fn server_config(certificate: &ServerCertificate) -> Result<Arc<ServerConfig>> {
    let chain = vec![CertificateDer::from_pem_slice(
        certificate.certificate.as_bytes(),
    )?];
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

/// Sends one request to `address` (`host:port`) over TLS and reads the answer whole.
pub async fn send(
    tls: &Arc<ClientConfig>,
    address: &str,
    request: Request<Bytes>,
) -> Result<Response<Bytes>> {
    Line::open(tls, address).await?.send(request).await
}

/// A connection that is kept, for many requests one after the other.
pub struct Line {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Line {
    /// Connects to `address` (`host:port`) over TLS.
    pub async fn open(tls: &Arc<ClientConfig>, address: &str) -> Result<Self> {
        let host = address
            .rsplit_once(':')
            .context("address has no port")?
            .0
            .to_owned();
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("{address} does not answer"))?;
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(ServerName::try_from(host)?, stream)
            .await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            sender,
            connection: tokio::spawn(connection),
        })
    }

    /// Sends one request and reads the answer whole.
    pub async fn send(&mut self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.map(Full::new)).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

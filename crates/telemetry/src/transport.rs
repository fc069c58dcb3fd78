//! How traces reach the collector: hyper over rustls, the one TLS stack there is.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::runtime::Handle;

use crate::Collector;
use crate::guard::{AddressGuard, GuardedResolver};

/// The most bytes of an answer that are read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Why a collector cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// TLS without anything to check it against.
    #[error(
        "the collector {endpoint} uses https, and no certificates are set to check it against: name a PEM file"
    )]
    NoCertificates {
        /// The collector's endpoint.
        endpoint: String,
    },
    /// The file cannot be used.
    #[error("cannot read certificates for the collector from {path}: {why}")]
    UnusableCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is written as an address that must not be connected to, or by a name of somebody who must not be told anything.
    #[error("traces must not go to {endpoint}: {why}")]
    Refused {
        /// The collector's endpoint.
        endpoint: String,
        /// What the guard says.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS for the collector: {0}")]
    Tls(#[from] rustls::Error),
    /// There is nothing to run exports on.
    #[error("exporting traces needs a Tokio runtime: {0}")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
}

/// An HTTP client whose requests run on the process's runtime, whichever thread asks: the exporter has a thread of its own.
#[derive(Debug)]
pub(crate) struct Client {
    pool: Pool<HttpsConnector<HttpConnector<GuardedResolver>>, Full<Bytes>>,
    runtime: Handle,
}

impl Client {
    pub(crate) fn new(collector: &Collector, guard: &AddressGuard) -> Result<Self, TransportError> {
        judge_written(&collector.endpoint, guard)?;
        let mut roots = RootCertStore::empty();
        match &collector.certificates {
            Some(path) => add_certificates(&mut roots, path)?,
            None if collector.endpoint.starts_with("https:") => {
                return Err(TransportError::NoCertificates {
                    endpoint: collector.endpoint.clone(),
                });
            }
            None => {}
        }
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        let mut http = HttpConnector::new_with_resolver(GuardedResolver(guard.clone()));
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self {
            pool: Pool::builder(TokioExecutor::new()).build(connector),
            runtime: Handle::try_current()?,
        })
    }
}

/// A literal address never reaches the resolver, so this is where it is judged; a name is judged before anything is sent, so that whoever
/// starts the process reads it.
fn judge_written(endpoint: &str, guard: &AddressGuard) -> Result<(), TransportError> {
    let uri = endpoint.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let judged = match host.parse::<IpAddr>() {
        Ok(address) => guard.judge(address),
        Err(_) => guard.judge_name(host),
    };
    judged.map_err(|why| TransportError::Refused {
        endpoint: endpoint.to_owned(),
        why,
    })
}

fn add_certificates(roots: &mut RootCertStore, path: &PathBuf) -> Result<(), TransportError> {
    let unusable = |why: String| TransportError::UnusableCertificates {
        path: path.clone(),
        why,
    };
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    Ok(())
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let pool = self.pool.clone();
        let exchange = async move {
            let (head, body) = pool.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        self.runtime.spawn(exchange).await?
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_collector_whose_name_or_address_leads_astray_is_not_connected_to() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let guard = AddressGuard::new(|address| Err(format!("{address} is a loopback address")));
        let collector = |endpoint: String| Collector {
            endpoint,
            certificates: None,
        };
        let named = collector(format!("http://localhost:{}", address.port()));
        let client = Client::new(&named, &guard).unwrap();
        let request = Request::post(named.endpoint.as_str()).body(Bytes::new());
        client.send_bytes(request.unwrap()).await.unwrap_err();
        // Who comes first is who comes now.
        let ours = TcpStream::connect(address).await.unwrap();
        let (_, first) = listener.accept().await.unwrap();
        assert_eq!(first, ours.local_addr().unwrap());

        for literal in [format!("http://{address}"), "http://[::1]:4318".to_owned()] {
            let error = Client::new(&collector(literal), &guard).unwrap_err();
            assert!(matches!(error, TransportError::Refused { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn a_collector_whose_name_is_refused_is_neither_asked_for_nor_connected_to() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let guard = AddressGuard::none().with_names(|name| match name.to_ascii_lowercase().as_str() {
            "localhost" => Err(format!("{name} is somebody else's")),
            _ => Ok(()),
        });
        let named = |host: &str| Collector {
            endpoint: format!("http://{host}:{}", address.port()),
            certificates: None,
        };
        let error = Client::new(&named("LocalHost"), &guard).unwrap_err();
        assert!(error.to_string().contains("somebody else's"), "{error}");
        // Whoever comes to the resolver by another way is judged there.
        let client = Client::new(&named("127.0.0.1"), &guard).unwrap();
        let astray = Request::post(named("localhost").endpoint).body(Bytes::new());
        client.send_bytes(astray.unwrap()).await.unwrap_err();
        let ours = TcpStream::connect(address).await.unwrap();
        let (_, first) = listener.accept().await.unwrap();
        assert_eq!(first, ours.local_addr().unwrap());
    }
}

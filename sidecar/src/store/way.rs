//! The way to the store below the S3 client, for who sends bytes of another's: its address, judged each time it is resolved, and TLS as
//! the settings demand it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dataembassy_contract::Endpoint;
use dataembassy_contract::endpoint::EndpointHost;
use dataembassy_contract::sovereignty::Sovereignty;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{StoreError, StoreSettings};
use crate::resolver::Resolver;

/// How long one address, or the resolver, may take to answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long TLS may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How the store is reached.
#[derive(Clone)]
pub(crate) struct Way {
    endpoint: Endpoint,
    sovereignty: Sovereignty,
    resolver: Resolver,
    /// None where the traffic is not encrypted, which only `allowInsecure` permits.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A connection to the store, by way of `S`.
pub(crate) enum Stream<S> {
    /// In the clear.
    Plain(S),
    /// Over TLS.
    Secure(Box<TlsStream<S>>),
}

impl Way {
    /// Prepares; nothing is sent yet.
    pub(crate) fn to(settings: &StoreSettings) -> Result<Self, StoreError> {
        let endpoint = settings.endpoint().clone();
        let tls = if endpoint.is_secure() {
            let name = match endpoint.host() {
                EndpointHost::Address(address) => ServerName::from(*address),
                EndpointHost::Name(name) => {
                    ServerName::try_from(name.clone()).map_err(|error| StoreError::TlsFailed {
                        endpoint: endpoint.to_string(),
                        cause: error.to_string(),
                    })?
                }
            };
            Some((TlsConnector::from(client_config(settings.ca_bundle())?), name))
        } else {
            None
        };
        Ok(Self {
            endpoint,
            sovereignty: settings.sovereignty().clone(),
            resolver: settings.resolver.clone(),
            tls,
        })
    }

    /// The endpoint, for messages.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The endpoint's host, with its port where it is not the scheme's own: the `Host` header.
    pub(crate) fn authority(&self) -> &str {
        let endpoint = self.endpoint.as_str();
        endpoint
            .split_once("://")
            .map_or(endpoint, |(_, authority)| authority)
    }

    /// Connects. Every address is judged before anything connects to it.
    pub(crate) async fn connect(&self) -> Result<TcpStream, StoreError> {
        let mut failure = self.unreachable("its name has no address");
        for address in self.addresses().await? {
            match connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = self.unreachable(error.to_string()),
            }
        }
        Err(failure)
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, StoreError> {
        let port = self.endpoint.port();
        let addresses: Vec<SocketAddr> = match self.endpoint.host() {
            EndpointHost::Address(address) => vec![SocketAddr::new(*address, port)],
            EndpointHost::Name(name) => {
                let resolving = self.resolver.addresses(name);
                let resolved = tokio::time::timeout(CONNECT_PATIENCE, resolving).await;
                let resolved = resolved.map_err(|_| self.unreachable("its name was not resolved in time"))?;
                let resolved = resolved.map_err(|error| self.unreachable(error.to_string()))?;
                let addresses = resolved.into_iter();
                addresses.map(|address| SocketAddr::new(address, port)).collect()
            }
        };
        // One address that is refused refuses the name: half a way abroad is none.
        for address in &addresses {
            self.judge(address.ip())?;
        }
        Ok(addresses)
    }

    fn judge(&self, address: IpAddr) -> Result<(), StoreError> {
        self.sovereignty
            .judge_address(address)
            .map_err(|refused| StoreError::LeadsAstray {
                endpoint: self.endpoint.to_string(),
                refused,
            })
    }

    /// Speaks TLS, if that is how the store is reached.
    pub(crate) async fn secure<S>(&self, stream: S) -> Result<Stream<S>, StoreError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some((connector, name)) = &self.tls else {
            return Ok(Stream::Plain(stream));
        };
        let failed = |cause: String| StoreError::TlsFailed {
            endpoint: self.endpoint.to_string(),
            cause,
        };
        let connecting = connector.connect(name.clone(), stream);
        match tokio::time::timeout(HANDSHAKE_PATIENCE, connecting).await {
            Ok(Ok(stream)) => Ok(Stream::Secure(Box::new(stream))),
            Ok(Err(error)) => Err(
                match error
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                {
                    Some(tls) => failed(tls.to_string()),
                    None => self.unreachable(error.to_string()),
                },
            ),
            // Its certificate has not even come.
            Err(_) => Err(self.unreachable(format!(
                "it did not answer the TLS handshake within {} s",
                HANDSHAKE_PATIENCE.as_secs()
            ))),
        }
    }

    /// What an error of the connection is to who asked.
    pub(crate) fn unreachable(&self, cause: impl Into<String>) -> StoreError {
        StoreError::Unreachable {
            endpoint: self.endpoint.to_string(),
            cause: cause.into(),
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(address))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// TLS toward the store: its own authorities where they are given, else the system's.
fn client_config(ca_bundle: Option<&str>) -> Result<Arc<ClientConfig>, StoreError> {
    let mut roots = RootCertStore::empty();
    match ca_bundle {
        Some(bundle) => {
            for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
                let certificate = certificate.map_err(|_| StoreError::CaBundleInvalid)?;
                roots.add(certificate).map_err(|_| StoreError::CaBundleInvalid)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| StoreError::CaBundleInvalid)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl<S> AsyncRead for Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl<S> AsyncWrite for Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Secure(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Secure(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Secure(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use dataembassy_contract::sovereignty::Loopback;
    use futures::FutureExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const TRAP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 67);

    /// A way to a name that leads to 127.0.0.1 at first, and to both of these from then on.
    fn turning(port: u16, elsewhere: [&str; 2]) -> Way {
        let elsewhere: Vec<IpAddr> = elsewhere.iter().map(|address| address.parse().unwrap()).collect();
        let asked = AtomicUsize::new(0);
        let resolver = Resolver::new(move |_| {
            let answer = match asked.fetch_add(1, Ordering::Relaxed) {
                0 => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                _ => elsewhere.clone(),
            };
            ready(io::Result::Ok(answer)).boxed()
        });
        let guard = Sovereignty::parse::<&str, _>(&[], &["127.0.0.1/32"]).unwrap();
        let guard = guard.with_loopback(Loopback::Allowed);
        let endpoint = Endpoint::parse(&format!("http://store.example:{port}"), true).unwrap();
        let settings = StoreSettings::new(endpoint, "registries".into(), "us-east-1".into(), guard);
        Way::to(&settings.unwrap().with_resolver(resolver)).unwrap()
    }

    #[tokio::test]
    async fn a_gate_goes_where_the_stores_name_led_when_it_was_judged_and_nowhere_else() {
        let store = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = store.local_addr().unwrap();
        let trap = TcpListener::bind((TRAP, address.port())).await.unwrap();
        for astray in [
            "127.0.0.67",
            "::ffff:127.0.0.67",
            "::1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
        ] {
            let way = turning(address.port(), ["127.0.0.1", astray]);
            assert_eq!(way.connect().await.unwrap().peer_addr().unwrap(), address);
            let error = way.connect().await.map(drop).unwrap_err();
            assert!(
                matches!(&error, StoreError::LeadsAstray { .. }),
                "{astray}: {error}"
            );
        }
        // Who comes first to the trap is who comes now.
        let ours = TcpStream::connect((TRAP, address.port())).await.unwrap();
        let (_, first) = trap.accept().await.unwrap();
        assert_eq!(first, ours.local_addr().unwrap());
    }
}

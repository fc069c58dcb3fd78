//! From a source to a stream. Over the network: resolve, ask the guard, connect, keep alive, shake hands. In a cell: a socket.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{ConnectionError, tls};
use crate::postgresql::source::{Network, Source, Way};

/// A peer that acknowledges nothing for this long is gone. A session whose rows may have to wait for the store has a longer one at its server.
pub(crate) const USER_TIMEOUT: Duration = Duration::from_mins(2);
/// Bytes read ahead of TLS, which by itself asks the kernel for 4 KiB at a time.
const READ_AHEAD: usize = 64 * 1024;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// What a session's bytes go over.
pub(crate) enum Stream {
    /// To an address, always encrypted.
    Tls(Box<TlsStream<BufReader<TcpStream>>>),
    /// Within a pod.
    Socket(UnixStream),
}

/// The very server that was connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The one at this address.
    Address(SocketAddr),
    /// The one of the cell.
    Cell,
}

/// Connects to the source, or to the one address of it that a run has settled on.
pub(super) async fn connect(source: &Source, peer: Option<Peer>) -> Result<(Stream, Peer), ConnectionError> {
    match &source.way {
        Way::Network(network) => {
            let address = match peer {
                Some(Peer::Address(address)) => Some(address),
                Some(Peer::Cell) | None => None,
            };
            let (stream, address) = connect_encrypted(network, address).await?;
            Ok((Stream::Tls(Box::new(stream)), Peer::Address(address)))
        }
        Way::Cell(socket) => {
            let connected = UnixStream::connect(socket.path()).await;
            let stream = connected.map_err(|error| ConnectionError::Unreachable {
                place: source.way.to_string(),
                error,
            })?;
            Ok((Stream::Socket(stream), Peer::Cell))
        }
    }
}

async fn connect_encrypted(
    network: &Network,
    address: Option<SocketAddr>,
) -> Result<(TlsStream<BufReader<TcpStream>>, SocketAddr), ConnectionError> {
    let (mut socket, peer) = dial(network, address).await?;
    tune(&socket).map_err(ConnectionError::Lost)?;
    request_tls(&mut socket).await?;
    let name = ServerName::try_from(network.host.clone()).map_err(|_| ConnectionError::TlsMaterial {
        what: "host",
        why: format!("{} is no DNS name or address", network.host),
    })?;
    let stream = TlsConnector::from(tls::client_config(network)?)
        .connect(name, BufReader::with_capacity(READ_AHEAD, socket))
        .await
        .map_err(|error| ConnectionError::TlsFailed {
            host: network.host.clone(),
            error,
        })?;
    Ok((stream, peer))
}

async fn dial(
    network: &Network,
    address: Option<SocketAddr>,
) -> Result<(TcpStream, SocketAddr), ConnectionError> {
    let addresses: Vec<SocketAddr> = if let Some(address) = address {
        vec![address]
    } else {
        let resolved = network.resolver.addresses(&network.host).await;
        let addresses = resolved.map_err(|error| ConnectionError::Resolve {
            host: network.host.clone(),
            error,
        })?;
        let addresses = addresses.into_iter();
        addresses
            .map(|address| SocketAddr::new(address, network.port))
            .collect()
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        // The very address that is connected to is judged, each time: a name may resolve differently the next moment.
        network
            .address_guard
            .judge(address.ip())
            .map_err(|reason| ConnectionError::AddressRefused {
                host: network.host.clone(),
                address: address.ip(),
                reason,
            })?;
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok((socket, address)),
            Err(error) => last = error,
        }
    }
    Err(ConnectionError::Unreachable {
        place: format!("{}:{}", network.host, network.port),
        error: last,
    })
}

fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL),
    )?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

async fn request_tls(socket: &mut TcpStream) -> Result<(), ConnectionError> {
    let mut request = BytesMut::with_capacity(8);
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await.map_err(ConnectionError::Lost)?;
    // Exactly one byte: whatever a man in the middle sends ahead in the clear stays out of the session.
    match socket.read_u8().await.map_err(ConnectionError::Lost)? {
        b'S' => Ok(()),
        b'N' => Err(ConnectionError::TlsRefused),
        other => Err(ConnectionError::Protocol(format!(
            "answered the TLS request with byte {other:#04x}"
        ))),
    }
}

/// Asks the server to cancel what the session with this key is doing, by the same way as everything else.
pub(super) async fn cancel(
    source: &Source,
    peer: Peer,
    process_id: i32,
    secret_key: i32,
) -> Result<(), ConnectionError> {
    let (mut stream, _) = connect(source, Some(peer)).await?;
    let mut request = BytesMut::with_capacity(16);
    frontend::cancel_request(process_id, secret_key, &mut request);
    stream.write_all(&request).await.map_err(ConnectionError::Lost)?;
    stream.flush().await.map_err(ConnectionError::Lost)?;
    // The server closes once it has passed the request on; only then has it been heard.
    let mut end = [0; 1];
    match stream.read(&mut end).await {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Ok(_) => Err(ConnectionError::Protocol("answered a cancel request".into())),
        Err(error) => Err(ConnectionError::Lost(error)),
    }
}

impl Stream {
    /// The certificate that the server showed.
    pub(super) fn server_certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Tls(stream) => stream.get_ref().1.peer_certificates()?.first().map(AsRef::as_ref),
            Self::Socket(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Socket(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_write(context, buffer),
            Self::Socket(stream) => Pin::new(stream).poll_write(context, buffer),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Socket(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Socket(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

//! A relay that ends TLS before a real server and looks at every message of the server's: what a pooler or a man in the
//! middle is.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::{Context, Result, ensure};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::Server;
use crate::{authority::ServerCertificate, https};

/// Length 8 and the number that asks for TLS.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What becomes of a message of the server's, by its type and body: another body, or nothing.
type Change = dyn Fn(u8, Vec<u8>) -> Option<Vec<u8>> + Send + Sync;

/// The two ends of a relay: what clients see of it, and how it reaches the server.
pub(super) struct Ends {
    ours: TlsAcceptor,
    theirs: Arc<ClientConfig>,
    /// The server's port on 127.0.0.1.
    server: u16,
}

impl Ends {
    /// Those of a relay before `server` that shows `certificate`.
    pub(super) fn before(server: &Server, certificate: &ServerCertificate) -> Result<Self> {
        Ok(Self {
            ours: TlsAcceptor::from(https::server_config(certificate)?),
            theirs: https::client_config(&server.authority().certificate())?,
            server: server.port(),
        })
    }

    /// Takes a client's TLS and begins the server's.
    pub(super) async fn join(
        &self,
        mut client: TcpStream,
    ) -> Result<(server::TlsStream<TcpStream>, client::TlsStream<TcpStream>)> {
        // Small messages go at once, as a server's do.
        client.set_nodelay(true)?;
        let mut request = [0; 8];
        client.read_exact(&mut request).await?;
        ensure!(request == TLS_REQUEST, "a session that does not begin with TLS");
        client.write_all(b"S").await?;
        let client = self.ours.accept(client).await?;

        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server)).await?;
        server.set_nodelay(true)?;
        server.write_all(&TLS_REQUEST).await?;
        ensure!(server.read_u8().await? == b'S', "the server has no TLS");
        let name = ServerName::try_from("localhost").context("a name")?;
        let server = TlsConnector::from(Arc::clone(&self.theirs))
            .connect(name, server)
            .await?;
        Ok((client, server))
    }
}

/// A running relay; dropping it closes its port.
pub struct Relay {
    port: u16,
    accepting: JoinHandle<()>,
}

struct Shared {
    ends: Ends,
    change: Box<Change>,
}

impl Relay {
    /// Stands before `server`, shows `certificate` to those who come, and passes on what `change` makes of each message.
    pub async fn start(
        server: &Server,
        certificate: &ServerCertificate,
        change: impl Fn(u8, Vec<u8>) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            ends: Ends::before(server, certificate)?,
            change: Box::new(change),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                // How a connection ends is its client's business.
                connections.spawn(relay(client, Arc::clone(&shared)));
            }
        });
        Ok(Self { port, accepting })
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(client: TcpStream, shared: Arc<Shared>) -> Result<()> {
    let (client, server) = shared.ends.join(client).await?;
    let (mut from_client, to_client) = io::split(client);
    let (from_server, mut to_server) = io::split(server);
    tokio::select! {
        asked = io::copy(&mut from_client, &mut to_server) => drop(asked?),
        answered = answer(from_server, to_client, &shared.change) => answered?,
    }
    Ok(())
}

async fn answer(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    change: &Change,
) -> Result<()> {
    loop {
        let tag = from.read_u8().await?;
        let length = from.read_u32().await?.checked_sub(4).context("a length")?;
        let mut body = vec![0; usize::try_from(length)?];
        from.read_exact(&mut body).await?;
        let Some(body) = change(tag, body) else { continue };
        let length = u32::try_from(body.len() + 4)?;
        to.write_all(&[&[tag][..], &length.to_be_bytes(), &body].concat())
            .await?;
        to.flush().await?;
    }
}

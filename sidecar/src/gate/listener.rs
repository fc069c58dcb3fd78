//! The gate's port: connections come in, are served, and go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dataembassy_ledger::door::{MAX_HEADERS, MAX_HEADERS_LENGTH, Refusal};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::crowd::Place;
use super::serving::Serving;
use super::wire::{Lingering, Wire};
use super::{BUFFER, Gate};
use crate::process::server::Status as _;

/// How long TLS may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long the head of a request may take, from when the one before was answered: also how long a connection may be idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// How long requests under way may take when the process is told to end.
const LAST_REQUESTS: Duration = Duration::from_secs(20);
/// After a failure to take a connection, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Room for the request line beside the headers, for the lines' ends and for what is refused with a word.
const HEAD_LENGTH: usize = 2 * MAX_HEADERS_LENGTH + 8192;

/// Takes connections until told to end, and then lets requests under way finish.
pub(super) async fn serve(
    gate: Arc<Gate>,
    listener: TcpListener,
    tls: TlsAcceptor,
    ending: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = ending.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Without room, and before a certificate is there, the connection is closed at once.
                if gate.is_ready()
                    && let Some(place) = gate.join()
                {
                    let connection = connection(
                        Arc::clone(&gate),
                        stream,
                        peer,
                        place,
                        tls.clone(),
                        ending.clone(),
                    );
                    connections.spawn(connection);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let finishing = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_REQUESTS, finishing).await.is_err() {
        tracing::warn!("requests under way were cut");
    }
}

async fn connection(
    gate: Arc<Gate>,
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    tls: TlsAcceptor,
    ending: CancellationToken,
) {
    let _counted = gate.metrics().connected();
    let leaving = place.leaving().clone();
    let serving = serve_one(gate, stream, peer, place, tls, ending);
    tokio::select! {
        () = leaving.cancelled() => {}
        () = serving => {}
    }
}

async fn serve_one(
    gate: Arc<Gate>,
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    tls: TlsAcceptor,
    ending: CancellationToken,
) {
    // A socket that cannot be told so is gone already.
    let _ = stream.set_nodelay(true);
    let lingering = Lingering::default();
    let accepting = tls.accept(Wire::new(stream, lingering.clone()));
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_PATIENCE, accepting).await else {
        return;
    };
    let serving = Arc::new(Serving {
        gate: Arc::clone(&gate),
        place,
        peer: peer.ip().to_canonical(),
        lingering,
    });
    let service = service_fn(move |request| {
        let serving = Arc::clone(&serving);
        async move { serving.answer(request).await }
    });
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        // More than may pass, so that a request with too many headers is refused in words that are counted.
        .max_headers(2 * MAX_HEADERS)
        .max_header_size(HEAD_LENGTH)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // Everything else is a connection that one of both sides has cut.
    if served.is_err_and(|error| error.is_parse()) {
        gate.refused(&Refusal::Malformed);
    }
}

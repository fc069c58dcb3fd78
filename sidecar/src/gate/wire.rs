//! One TCP connection, below TLS: reads ahead in large pieces, gives up on a peer that takes nothing, and closes so that the peer still
//! reads what it was told last.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

/// What is read at once. TLS asks for 4 KiB at a time, which would be a system call each.
const AHEAD: usize = 64 * 1024;
/// How long a peer may take nothing of what it is sent.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How long a peer that has more to send than it may is listened to, so that it reads our answer before the connection is gone: a
/// connection closed upon unread bytes is reset, and a reset may overtake the answer.
const LINGER: Duration = Duration::from_secs(3);

/// Whether a connection must linger at its end; shared with whoever answers on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lingering(Arc<AtomicBool>);

impl Lingering {
    /// The peer may still be sending what nobody reads.
    pub(super) fn demand(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_demanded(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A TCP connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    ahead: BytesMut,
    /// Since when the peer takes nothing; the timer is kept, since most waits end soon and many follow.
    stalled: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    lingering: Lingering,
    closed: Option<Instant>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, lingering: Lingering) -> Self {
        Self {
            stream,
            ahead: BytesMut::new(),
            stalled: None,
            timer: Box::pin(tokio::time::sleep(WRITE_PATIENCE)),
            lingering,
            closed: None,
        }
    }

    /// Passes the result of a write on, and turns one that stays pending for too long into an error.
    fn watched<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        if self.until(cx, since + WRITE_PATIENCE).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Ready from `deadline` on. The timer may be set for an earlier wait; then it is set anew when it fires, not before.
    fn until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.ahead.is_empty() {
            wire.ahead.reserve(AHEAD);
            let read = poll_read_buf(Pin::new(&mut wire.stream), cx, &mut wire.ahead);
            if wire.ahead.is_empty() {
                // Who waits, or has ended, needs no buffer.
                wire.ahead = BytesMut::new();
            }
            ready!(read)?;
        }
        let length = wire.ahead.len().min(buffer.remaining());
        buffer.put_slice(&wire.ahead[..length]);
        wire.ahead.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.stream).poll_write(cx, bytes);
        wire.watched(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.stream).poll_write_vectored(cx, slices);
        wire.watched(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let flushed = Pin::new(&mut wire.stream).poll_flush(cx);
        wire.watched(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.closed.is_none() {
            ready!(Pin::new(&mut wire.stream).poll_shutdown(cx))?;
        }
        let closed = *wire.closed.get_or_insert_with(Instant::now);
        if !wire.lingering.is_demanded() {
            return Poll::Ready(Ok(()));
        }
        loop {
            wire.ahead.clear();
            wire.ahead.reserve(AHEAD);
            match poll_read_buf(Pin::new(&mut wire.stream), cx, &mut wire.ahead) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Ok(())),
                // A peer that never stops does not keep this loop: time is looked at in between.
                Poll::Ready(Ok(_)) if closed.elapsed() < LINGER => {}
                Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
                Poll::Pending => return wire.until(cx, closed + LINGER).map(Ok),
            }
        }
    }
}

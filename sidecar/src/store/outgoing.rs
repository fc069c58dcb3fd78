//! The body of a put on its way out: it tells how much of it the connection has taken, so that a put may take as long as it goes on.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;

/// Bytes that are handed over at once. At the slowest rate that the gate takes, one goes out each two seconds.
const PIECE: usize = 128 * 1024;

/// What the kernels on both sides may hold of what a connection has taken, at the most: the usual limit of a socket's buffer.
const UNDERWAY: u64 = 4 * 1024 * 1024;
/// The bytes a second of the slowest line: at less, the gate takes a client for one that holds it up.
const SLOWEST: u64 = 64 * 1024;

/// How long the last of so many bytes may still be on its way when the connection has taken them.
pub(crate) fn underway(taken: u64) -> Duration {
    Duration::from_secs(taken.min(UNDERWAY) / SLOWEST)
}

/// Bytes in pieces, none of them copied.
struct Outgoing {
    left: Bytes,
    taken: watch::Sender<u64>,
}

/// A body that tells of each piece that is taken. At its end, or when it is given up, the telling ends.
pub(super) fn told(body: Bytes, taken: watch::Sender<u64>) -> ByteStream {
    ByteStream::new(SdkBody::from_body_1_x(Outgoing { left: body, taken }))
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let outgoing = self.get_mut();
        if outgoing.left.is_empty() {
            return Poll::Ready(None);
        }
        let piece = outgoing.left.split_to(PIECE.min(outgoing.left.len()));
        outgoing.taken.send_modify(|taken| *taken += piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

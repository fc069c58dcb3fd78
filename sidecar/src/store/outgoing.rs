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
pub(crate) const UNDERWAY: u64 = 4 * 1024 * 1024;
/// The bytes a second of the slowest line: at less, whoever takes a body, or sends it, holds the other up.
pub(crate) const SLOWEST: u64 = 64 * 1024;

/// How long the last of so many bytes may still be on its way when the connection has taken them all, in that time: as long as the buffers take
/// to empty at the rate at which the bytes before them went, and at most as long as at the slowest one.
pub(crate) fn underway(taken: u64, within: Duration) -> Duration {
    let slowest = Duration::from_secs(taken.min(UNDERWAY) / SLOWEST);
    let gone = taken.saturating_sub(UNDERWAY);
    if gone == 0 {
        return slowest;
    }
    #[expect(clippy::cast_precision_loss, reason = "a guess needs no more digits")]
    let shares = UNDERWAY as f64 / gone as f64;
    Duration::try_from_secs_f64(within.as_secs_f64() * shares).map_or(slowest, |guess| guess.min(slowest))
}

/// How long so many bytes may take at all: at half the slowest rate, whoever takes them holds us up.
pub(super) fn longest(length: u64) -> Duration {
    Duration::from_secs((length + UNDERWAY) / (SLOWEST / 2))
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

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn what_went_fast_is_not_waited_for_as_if_the_line_were_slow() {
        let seconds = Duration::from_secs;
        // Small: nothing is known of the line.
        assert_eq!(underway(MIB, seconds(0)), seconds(16));
        // 12 MiB went in three seconds, so the last four take one.
        assert_eq!(underway(16 * MIB, seconds(3)), seconds(1));
        // At 64 KiB a second, and slower.
        assert_eq!(underway(16 * MIB, seconds(192)), seconds(64));
        assert_eq!(underway(16 * MIB, seconds(10_000)), seconds(64));
        assert_eq!(underway(4 * MIB + 1, seconds(60)), seconds(64));
    }

    #[test]
    fn a_body_has_twice_the_time_of_the_slowest_line() {
        assert_eq!(longest(12 * MIB), Duration::from_secs(512));
    }
}

//! Bodies that go wrong on their way.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::unfold;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::sync::watch;

pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Body = UnsyncBoxBody<Bytes, Failure>;

/// How a body ends that does not come to its end.
#[derive(Clone)]
pub(super) enum End {
    /// Nothing more comes until the proxy is healed, which cuts the connection.
    Stall(watch::Receiver<u64>),
    /// The connection is cut.
    Reset,
}

/// A body as it comes.
pub(super) fn whole(body: Incoming) -> Body {
    body.map_err(Failure::from).boxed_unsync()
}

/// A body that is these bytes.
pub(super) fn of(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The first bytes of a body, and how it ends after them.
pub(super) fn ending(body: Incoming, bytes: u64, end: End) -> Body {
    let left = usize::try_from(bytes).unwrap_or(usize::MAX);
    let stream = unfold((body, left, end), move |(mut body, left, mut end)| async move {
        if left == 0 {
            match &mut end {
                // Whoever heals, or goes away, cuts it.
                End::Stall(healed) => drop(healed.changed().await),
                // What was given is sent before the end is seen.
                End::Reset => tokio::task::yield_now().await,
            }
            return Some((Err("the connection is cut".into()), (body, 0, end)));
        }
        let frame = match body.frame().await? {
            Ok(frame) => frame,
            Err(error) => return Some((Err(Failure::from(error)), (body, 0, End::Reset))),
        };
        let Ok(data) = frame.into_data() else {
            return None;
        };
        let first = data.slice(..data.len().min(left));
        let left = left - first.len();
        Some((Ok(Frame::data(first)), (body, left, end)))
    });
    StreamBody::new(stream).boxed_unsync()
}

/// A body at so many bytes a second.
pub(super) fn paced(body: Incoming, bytes_per_second: u64) -> Body {
    let stream = unfold(body, move |mut body| async move {
        let frame = match body.frame().await? {
            Ok(frame) => frame,
            Err(error) => return Some((Err(Failure::from(error)), body)),
        };
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        let micros = length.saturating_mul(1_000_000) / bytes_per_second.max(1);
        tokio::time::sleep(Duration::from_micros(micros)).await;
        Some((Ok(frame), body))
    });
    StreamBody::new(stream).boxed_unsync()
}

/// These bytes, and then blanks for ever; how many were asked for is counted.
pub(super) fn endless(first: Bytes, asked: Arc<AtomicU64>) -> Body {
    static BLANKS: [u8; 64 * 1024] = [b' '; 64 * 1024];
    let stream = unfold((Some(first), asked), move |(first, asked)| async move {
        let data = first.unwrap_or(Bytes::from_static(&BLANKS));
        asked.fetch_add(data.len() as u64, Ordering::Relaxed);
        // Whoever takes it without an end leaves the processor to others now and then.
        tokio::task::yield_now().await;
        Some((Ok(Frame::data(data)), (None, asked)))
    });
    StreamBody::new(stream).boxed_unsync()
}

/// A body whose second half never comes.
pub(super) struct Half {
    body: Incoming,
    left: usize,
}

impl Half {
    pub(super) fn of(body: Incoming) -> Body {
        let whole = body.size_hint().exact().unwrap_or_default();
        let left = usize::try_from(whole / 2).unwrap_or(usize::MAX);
        Self { body, left }.map_err(Failure::from).boxed_unsync()
    }
}

impl hyper::body::Body for Half {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // Nobody will wake this up: it is dropped with the connection.
        if self.left == 0 {
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|data| {
                    let first = data.slice(..data.len().min(self.left));
                    self.left -= first.len();
                    first
                })
            })
        }))
    }

    /// The length that was announced, which is the whole.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that announces all of its bytes and ends after half of them: whoever sends it cuts the connection.
pub(super) struct BrokenOff {
    half: Option<Bytes>,
    whole: u64,
    has_paused: bool,
}

impl BrokenOff {
    pub(super) fn of(whole: &Bytes) -> Body {
        let broken = Self {
            half: Some(whole.slice(..whole.len() / 2)),
            whole: whole.len() as u64,
            has_paused: false,
        };
        broken.map_err(|never| match never {}).boxed_unsync()
    }
}

impl hyper::body::Body for BrokenOff {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        // What was given is sent before the end is seen.
        if !self.has_paused {
            self.has_paused = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.whole)
    }
}

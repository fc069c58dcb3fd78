//! The body of the store's answer on its way to the client. It brings its connection along, and gives it back when all has come.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dataembassy_ledger::manifest::MAX_SEGMENT_BYTES;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::crowd::Answering;
use super::lane::{Lane, Turn};
use super::metrics::Counted;
use super::upload::Progress;
use super::upstream::{Link, Upstream};
use crate::store::SLOWEST;

/// The most bytes of an answer: nothing in a store of ours is larger than a segment.
pub(super) const MAX_ANSWER: u64 = MAX_SEGMENT_BYTES;
/// How long the store may send nothing.
const STORE_PATIENCE: Duration = Duration::from_secs(30);
/// How long any answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_mins(1);

/// Why an answer is cut.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    /// The connection to the store was lost.
    #[error("the store's answer broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// It sends nothing.
    #[error("the store sent nothing for {} s", STORE_PATIENCE.as_secs())]
    Silent,
    /// It is longer than anything in the store.
    #[error("the store's answer is longer than {MAX_ANSWER} bytes")]
    Endless,
    /// The client takes it too slowly.
    #[error("the client took the answer too slowly")]
    Slow,
}

/// What a request holds while it is under way.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) _turn: Turn,
    pub(super) _counted: Counted,
    pub(super) _answering: Answering,
}

/// The body of an answer.
pub(super) enum Answer {
    /// Our own words.
    Said(Option<Bytes>),
    /// The store's.
    Passed(Box<Passing>),
}

/// An answer of the store that is passed on.
pub(super) struct Passing {
    body: Incoming,
    link: Option<Link>,
    upstream: Arc<Upstream>,
    lane: Arc<Lane>,
    progress: Arc<Progress>,
    begun: Instant,
    passed: u64,
    silence: Pin<Box<Sleep>>,
    /// Since when the store is waited for.
    waiting: Option<Instant>,
    _held: Held,
}

impl Passing {
    pub(super) fn new(
        body: Incoming,
        link: Link,
        upstream: Arc<Upstream>,
        lane: Arc<Lane>,
        progress: Arc<Progress>,
        held: Held,
    ) -> Self {
        let now = Instant::now();
        let mut passing = Self {
            body,
            link: Some(link),
            upstream,
            lane,
            progress,
            begun: now,
            passed: 0,
            silence: Box::pin(tokio::time::sleep(STORE_PATIENCE)),
            waiting: None,
            _held: held,
        };
        passing.settle();
        passing
    }

    /// Gives the connection back once all has gone and come by it.
    fn settle(&mut self) {
        if !self.body.is_end_stream() {
            return;
        }
        if let Some(link) = self.link.take()
            && self.progress.is_complete()
        {
            self.upstream.keep(self.lane.registry(), link);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(link) = &mut self.link {
            link.drive(cx);
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let now = Instant::now();
                self.waiting = None;
                self.passed += frame.data_ref().map_or(0, Bytes::len) as u64;
                let patience = ANSWER_PATIENCE + Duration::from_secs(self.passed / SLOWEST);
                let cut = if self.passed > MAX_ANSWER {
                    Some(Cut::Endless)
                } else if now.saturating_duration_since(self.begun) > patience {
                    Some(Cut::Slow)
                } else {
                    None
                };
                if let Some(cut) = cut {
                    return Poll::Ready(Some(Err(cut)));
                }
                self.settle();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.settle();
                Poll::Ready(None)
            }
            Poll::Pending => {
                // The timer is set anew when it fires, not with each piece that comes.
                let until = *self.waiting.get_or_insert_with(Instant::now) + STORE_PATIENCE;
                while self.silence.as_mut().poll(cx).is_ready() {
                    if Instant::now() >= until {
                        return Poll::Ready(Some(Err(Cut::Silent)));
                    }
                    self.silence.as_mut().reset(until);
                }
                Poll::Pending
            }
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Said(words) => Poll::Ready(words.take().map(Frame::data).map(Ok)),
            Self::Passed(passing) => passing.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Said(words) => words.is_none(),
            Self::Passed(passing) => passing.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Said(words) => SizeHint::with_exact(words.as_ref().map_or(0, Bytes::len) as u64),
            Self::Passed(passing) => passing.body.size_hint(),
        }
    }
}

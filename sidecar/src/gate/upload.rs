//! The body of a put on its way to the store: counted, paced, and watched. It is never held whole.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use dataembassy_ledger::door::Refusal;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::lane::Lane;
use crate::store::SLOWEST;

/// How long the client may be waited for in a whole put, beside what it has earned by what it sent: at less than [`SLOWEST`] it holds us up.
const CLIENT_PATIENCE: Duration = Duration::from_secs(20);
/// How long the store may take nothing of a body. Shorter than a connection waits by itself, so that it is known for whom.
const STORE_PATIENCE: Duration = Duration::from_secs(25);
/// How long the store may take to answer when it has the whole body, or the head of a request without one.
const ANSWER_PATIENCE: Duration = Duration::from_mins(1);

/// Why a request that passed came to no answer.
#[derive(Debug)]
pub(super) enum Lapse {
    /// The client is at fault, or is not let in any more.
    Client(Refusal),
    /// The store took nothing more, or did not answer; it is said for how many seconds.
    Store(u64),
}

/// What a request's body has come to, shared by the body and by who waits for the answer.
#[derive(Debug)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    length: u64,
    came: u64,
    /// Whom the body waits for, and since when.
    waits: Waits,
    since: Instant,
    /// How long the client was waited for in all.
    waited: Duration,
    broken: bool,
    stopped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// The client must send.
    Client,
    /// The rate must be made up for.
    Pace,
    /// The store must take what is there.
    Store,
    /// It has all come: the store must answer.
    Answer,
}

impl Progress {
    /// Begins with a body of so many bytes, or with none.
    pub(super) fn begin(length: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            length,
            came: 0,
            waits: if length == 0 { Waits::Answer } else { Waits::Store },
            since: Instant::now(),
            waited: Duration::ZERO,
            broken: false,
            stopped: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes have come.
    pub(super) fn came(&self) -> u64 {
        self.lock().came
    }

    /// Whether all bytes have come.
    pub(super) fn is_complete(&self) -> bool {
        let state = self.lock();
        state.came == state.length
    }

    /// Whether the client broke the body off.
    pub(super) fn is_broken(&self) -> bool {
        self.lock().broken
    }

    /// The store wants no more of it.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
    }

    /// Whether it has taken too long, and whom.
    pub(super) fn lapsed(&self, now: Instant) -> Option<Lapse> {
        let state = self.lock();
        let lately = now.saturating_duration_since(state.since);
        match state.waits {
            Waits::Client => {
                (state.waited + lately > state.patience()).then_some(Lapse::Client(Refusal::Slow))
            }
            Waits::Pace => None,
            Waits::Store => (lately > STORE_PATIENCE).then_some(Lapse::Store(STORE_PATIENCE.as_secs())),
            Waits::Answer => (lately > ANSWER_PATIENCE).then_some(Lapse::Store(ANSWER_PATIENCE.as_secs())),
        }
    }
}

impl State {
    /// How long the client may be waited for, by what it has sent.
    fn patience(&self) -> Duration {
        CLIENT_PATIENCE + Duration::from_secs(self.came / SLOWEST)
    }

    fn wait_for(&mut self, whom: Waits, now: Instant) {
        if self.waits == whom {
            return;
        }
        if self.waits == Waits::Client {
            self.waited += now.saturating_duration_since(self.since);
        }
        self.waits = whom;
        self.since = now;
    }

    fn receive(&mut self, bytes: u64, now: Instant) {
        self.came += bytes;
        let whom = if self.came >= self.length {
            Waits::Answer
        } else {
            Waits::Store
        };
        self.wait_for(whom, now);
        self.since = now;
    }
}

/// What is sent to the store with a request.
pub(super) enum Sent {
    Nothing,
    Upload(Upload),
}

/// The body of a put.
pub(super) struct Upload {
    body: Incoming,
    progress: Arc<Progress>,
    lane: Arc<Lane>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Upload {
    pub(super) fn new(body: Incoming, progress: Arc<Progress>, lane: Arc<Lane>) -> Self {
        Self {
            body,
            progress,
            lane,
            pause: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.progress.lock().stopped {
            // It is dropped with its connection: nobody needs to be woken for it.
            return Poll::Pending;
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let now = Instant::now();
        match polled {
            Poll::Pending => {
                self.progress.lock().wait_for(Waits::Client, now);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                let wait = self.lane.pass(bytes, now);
                let mut state = self.progress.lock();
                state.receive(bytes, now);
                if !wait.is_zero() && state.waits == Waits::Store {
                    state.wait_for(Waits::Pace, now);
                    self.pause = Some(Box::pin(tokio::time::sleep(wait)));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.progress.lock().broken = true;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => Poll::Ready(None),
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Nothing => Poll::Ready(None),
            Self::Upload(upload) => upload.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Upload(upload) => upload.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Upload(upload) => upload.body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(progress: &Progress, at: Instant) -> bool {
        matches!(progress.lapsed(at), Some(Lapse::Client(Refusal::Slow)))
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_client_is_waited_for_longer_the_more_it_has_sent() {
        let progress = Progress::begin(64 << 20);
        let begun = Instant::now();
        progress.lock().wait_for(Waits::Client, begun);
        assert!(!slow(&progress, begun + seconds(20)));
        assert!(slow(&progress, begun + seconds(21)));
        progress.lock().receive(10 * SLOWEST, begun + seconds(20));
        progress.lock().wait_for(Waits::Client, begun + seconds(20));
        assert!(!slow(&progress, begun + seconds(30)));
        assert!(slow(&progress, begun + seconds(31)));
    }

    #[test]
    fn drops_that_come_one_by_one_do_not_buy_time_for_ever() {
        let progress = Progress::begin(64 << 20);
        let mut now = Instant::now();
        let mut drops = 0;
        while !slow(&progress, now) {
            progress.lock().wait_for(Waits::Client, now);
            now += seconds(1);
            progress.lock().receive(1, now);
            progress.lock().wait_for(Waits::Client, now);
            drops += 1;
            assert!(drops < 25);
        }
    }

    #[test]
    fn the_client_does_not_answer_for_the_store_nor_for_its_own_pace() {
        let progress = Progress::begin(64 << 20);
        let begun = Instant::now();
        progress.lock().receive(1, begun);
        assert!(progress.lapsed(begun + seconds(25)).is_none());
        assert!(matches!(
            progress.lapsed(begun + seconds(26)),
            Some(Lapse::Store(25))
        ));
        progress.lock().wait_for(Waits::Pace, begun);
        assert!(progress.lapsed(begun + seconds(600)).is_none());
        progress.lock().receive((64 << 20) - 1, begun);
        assert!(progress.is_complete());
        assert!(progress.lapsed(begun + seconds(60)).is_none());
        assert!(matches!(
            progress.lapsed(begun + seconds(61)),
            Some(Lapse::Store(60))
        ));
    }
}

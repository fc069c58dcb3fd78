//! Whether a test was let run all the time. On a machine that is busy with other things a process may stand still for seconds, and what it promises to
//! do in time is late.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long at a stretch nobody here was let run.
pub(crate) struct Pulse {
    last: Cell<Instant>,
    longest: Cell<Duration>,
}

impl Pulse {
    pub(crate) fn begin() -> Self {
        Self {
            last: Cell::new(Instant::now()),
            longest: Cell::new(Duration::ZERO),
        }
    }

    /// Looks at the clock again and again, without an end.
    pub(crate) async fn beat(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.note();
        }
    }

    fn note(&self) {
        let now = Instant::now();
        let since = now.duration_since(self.last.replace(now));
        self.longest.set(self.longest.get().max(since));
    }

    /// Until now: whoever has just lost the lease may have been let run before the next beat.
    pub(crate) fn longest(&self) -> Duration {
        self.note();
        self.longest.get()
    }
}

//! Waiting for what must happen without taking the processor from whom it waits for.

use std::time::Duration;

/// Before the second look: most of what is awaited comes soon.
const SHORTEST: Duration = Duration::from_millis(20);
/// Between looks at what takes its time. What lasts for a moment only must still be seen.
const LONGEST: Duration = Duration::from_millis(120);
/// Between looks that cost next to nothing, at what may be over soon.
const BRIEF: Duration = Duration::from_millis(5);
/// Between looks at what may go by soon.
const CLOSE: Duration = Duration::from_millis(10);

/// The pauses between looks at a report, each half as long again as the one before: a look costs both sides a connection and the report's text.
pub struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    /// Before the first of them.
    pub const fn begin() -> Self {
        Self {
            next: SHORTEST,
            longest: LONGEST,
        }
    }

    /// For what must be seen before it has gone by: each as short as the first.
    pub const fn close() -> Self {
        Self {
            next: CLOSE,
            longest: CLOSE,
        }
    }

    /// Waits for the next look.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = self.longest.min(self.next * 3 / 2);
    }
}

/// Waits for the next of many looks that cost little.
pub async fn briefly() {
    tokio::time::sleep(BRIEF).await;
}

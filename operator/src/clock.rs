//! Where the time comes from. What is judged by it is pure and is given it; only those who reconcile ask here.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

/// The time of day, which somebody may set, and the one that only goes on.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> (Timestamp, Instant) + Send + Sync>);

impl Clock {
    /// A clock that shows what `look` does.
    #[must_use]
    pub fn new(look: impl Fn() -> (Timestamp, Instant) + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)().0
    }

    /// A moment that others can be measured from, whatever becomes of the time of day.
    #[must_use]
    pub fn moment(&self) -> Instant {
        (self.0)().1
    }
}

impl Default for Clock {
    /// The machine's.
    fn default() -> Self {
        Self::new(|| (Timestamp::now(), Instant::now()))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Clock").field(&self.now()).finish()
    }
}

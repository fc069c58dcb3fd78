//! Processor time of this program itself.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Of the thread that asks, since it began.
pub(super) fn of_this_thread() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// Of all threads together.
pub(super) fn of_this_process() -> Duration {
    read(ClockId::ProcessCPUTime)
}

fn read(clock: ClockId) -> Duration {
    // None of them is ever before its beginning.
    clock_gettime(clock).try_into().unwrap_or_default()
}

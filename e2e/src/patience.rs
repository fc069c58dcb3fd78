//! Deadlines on a machine that has other things to do.
//!
//! The product promises a reason within a minute, on machines that can keep up. A test bed puts two clusters and dozens of scenarios on two
//! processors, and there a minute may pass before a process that has everything it needs is let run. So while something that could run
//! waits for a processor, a deadline counts only a part of the time; on a machine with time to spare, it is exact.

use std::time::{Duration, Instant};

/// Of time in which something waited for a processor, one part in this many counts. A deadline is never longer than that many of it.
const SHARE: u32 = 4;
/// Since the machine's start, how long some process that could run had to wait (the kernel's pressure stall information, `some`).
const PRESSURE: &str = "/proc/pressure/cpu";

/// A deadline that leaves out most of the time in which the machine was short of processors.
#[derive(Debug)]
pub struct Patience {
    left: Duration,
    seen: Instant,
    stalled: Duration,
}

impl Patience {
    /// A deadline after `span` from now on.
    #[must_use]
    pub fn of(span: Duration) -> Self {
        Self {
            left: span,
            seen: Instant::now(),
            stalled: stalled(),
        }
    }

    /// How much of it is left by now; nothing once it is over.
    pub fn left(&mut self) -> Duration {
        let (now, stalled) = (Instant::now(), stalled());
        let passed = counted(now - self.seen, stalled.saturating_sub(self.stalled));
        self.left = self.left.saturating_sub(passed);
        (self.seen, self.stalled) = (now, stalled);
        self.left
    }
}

/// How much of `passed` counts if something waited for a processor for `stalled` of it.
fn counted(passed: Duration, stalled: Duration) -> Duration {
    passed.saturating_sub(stalled.min(passed) * (SHARE - 1) / SHARE)
}

/// Nothing where the kernel does not tell: every second counts then.
fn stalled() -> Duration {
    let text = std::fs::read_to_string(PRESSURE).unwrap_or_default();
    microseconds(&text).map_or(Duration::ZERO, Duration::from_micros)
}

fn microseconds(text: &str) -> Option<u64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.rsplit_once("total=")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_a_machine_with_time_to_spare_counts_whole() {
        assert_eq!(
            counted(Duration::from_secs(8), Duration::ZERO),
            Duration::from_secs(8)
        );
    }

    #[test]
    fn a_second_of_a_machine_without_counts_a_quarter_and_never_less() {
        let passed = Duration::from_secs(8);
        assert_eq!(counted(passed, Duration::from_secs(4)), Duration::from_secs(5));
        assert_eq!(counted(passed, passed), Duration::from_secs(2));
        assert_eq!(counted(passed, passed * 3), Duration::from_secs(2));
    }

    #[test]
    fn the_kernels_words_are_understood() {
        let text = "some avg10=98.23 avg60=98.17 avg300=84.85 total=42914722687\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(microseconds(text), Some(42_914_722_687));
        assert_eq!(microseconds(""), None);
    }

    #[test]
    fn patience_ends() {
        let mut patience = Patience::of(Duration::from_millis(5));
        while !patience.left().is_zero() {
            std::thread::yield_now();
        }
    }
}

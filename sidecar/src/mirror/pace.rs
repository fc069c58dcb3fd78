//! How hard a copy is compressed: as hard as whoever is behind leaves time for.
//!
//! Sealing is the only part of a copy that can choose how long it takes. Where the store is behind, whose line is narrow, a smaller segment is
//! the sooner stored, and sealing would wait anyway; where the source is far behind, its pace is everybody's and the processor idles. Else
//! sealing is what the others wait for, or it takes the processor from them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dataembassy_archive::CompressionLevel;

/// From this share of a segment's time on, waiting for the store means that the store is behind: a tenth.
const STORE_IS_BEHIND: u32 = 10;
/// From so many bytes on a copy has half a dozen segments, or more.
pub(super) const MANY_SEGMENTS: u64 = 256 * 1024 * 1024;

/// From this share of a segment's time on, what all who seal have worked in it means that the source keeps up: a quarter of one's time.
const SOURCE_KEEPS_UP: u32 = 4;

/// The time that all who seal one copy have worked, together.
///
/// How many could seal says nothing of how many do: what one session of the source sends is sealed by one thread, and so is the last large table
/// of a copy.
#[derive(Debug, Default)]
pub(super) struct Work {
    nanoseconds: AtomicU64,
}

impl Work {
    fn add(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn done(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }
}

/// What became of the time since a segment was begun.
pub(super) struct Spent<'a> {
    since: Instant,
    waiting_for_store: Duration,
    work: &'a Work,
    done_before: Duration,
}

impl<'a> Spent<'a> {
    /// From now on. `work` is shared by all who seal the copy.
    pub(super) fn begin(work: &'a Work) -> Self {
        Self {
            since: Instant::now(),
            waiting_for_store: Duration::ZERO,
            work,
            done_before: work.done(),
        }
    }

    /// Seals.
    pub(super) fn for_sealing<T>(&self, seal: impl FnOnce() -> T) -> T {
        let (answer, time) = clocked(seal);
        self.work.add(time);
        answer
    }

    /// Waits for a place in memory, which the store makes by taking a segment.
    pub(super) fn for_store<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        let (answer, time) = clocked(wait);
        self.waiting_for_store += time;
        answer
    }

    /// As one of those that seal saw it.
    fn who_is_behind(&self) -> Behind {
        let all = self.since.elapsed();
        let worked = self.work.done().saturating_sub(self.done_before);
        if self.waiting_for_store * STORE_IS_BEHIND > all {
            Behind::Store
        } else if worked * SOURCE_KEEPS_UP < all {
            Behind::Source
        } else {
            Behind::Sealing
        }
    }
}

fn clocked<T>(action: impl FnOnce() -> T) -> (T, Duration) {
    let since = Instant::now();
    let answer = action();
    (answer, since.elapsed())
}

/// Whom the others waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    Source,
    Sealing,
    Store,
}

/// The level of one segment after the other, 1 to 3. The first has the default, as the only one of a small copy has; where many follow, it is
/// the easiest: most likely sealing is what the others wait for, and if not, that is known in a moment.
pub(super) struct Pace {
    level: CompressionLevel,
}

impl Pace {
    /// For a copy of about so many bytes before they are compressed.
    pub(super) const fn of(bytes: u64) -> Self {
        let level = if bytes < MANY_SEGMENTS {
            CompressionLevel::DEFAULT
        } else {
            CompressionLevel::EASIEST
        };
        Self { level }
    }

    /// The level of the segment that is begun now.
    pub(super) const fn level(&self) -> CompressionLevel {
        self.level
    }

    /// Takes in what a segment's time went into, and the wait for the next one's place.
    pub(super) fn learn(&mut self, spent: &Spent<'_>) {
        self.follow(spent.who_is_behind());
    }

    fn follow(&mut self, behind: Behind) {
        self.level = match behind {
            Behind::Source | Behind::Store => self.level.harder().min(CompressionLevel::DEFAULT),
            Behind::Sealing => self.level.easier(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a segment's time of so many seconds, the store was waited for and all who seal have worked together.
    fn behind(all: u64, store: u64, worked: u64) -> Behind {
        let seconds = Duration::from_secs;
        let work = Work::default();
        // What was done before the segment was begun is no matter.
        work.add(seconds(1_000));
        let mut spent = Spent::begin(&work);
        spent.since = Instant::now().checked_sub(seconds(all)).unwrap();
        spent.waiting_for_store = seconds(store);
        work.add(seconds(worked));
        spent.who_is_behind()
    }

    #[test]
    fn who_is_behind_is_told_by_what_was_waited_for_and_what_was_worked() {
        assert_eq!(behind(100, 0, 100), Behind::Sealing);
        assert_eq!(behind(100, 5, 35), Behind::Sealing);
        assert_eq!(behind(100, 0, 20), Behind::Source);
        assert_eq!(behind(100, 20, 60), Behind::Store);
        assert_eq!(behind(100, 15, 5), Behind::Store);
        // Two have worked all the time.
        assert_eq!(behind(100, 0, 200), Behind::Sealing);
    }

    #[test]
    fn two_that_share_the_work_are_judged_by_both_and_one_that_works_alone_by_itself() {
        let judged = |each: &[u64]| {
            let work = Work::default();
            let mut spent = Spent::begin(&work);
            spent.since = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
            for worked in each {
                work.add(Duration::from_secs(*worked));
            }
            spent.who_is_behind()
        };
        assert_eq!(judged(&[20, 20]), Behind::Sealing);
        assert_eq!(judged(&[10, 10]), Behind::Source);
        // The other waits for members that never come.
        assert_eq!(judged(&[20, 0]), Behind::Source);
        assert_eq!(judged(&[30, 0]), Behind::Sealing);
    }

    #[test]
    fn what_is_worked_and_waited_for_is_counted() {
        let work = Work::default();
        let mut spent = Spent::begin(&work);
        let pause = Duration::from_millis(20);
        spent.for_store(|| std::thread::sleep(pause));
        assert!(spent.waiting_for_store >= pause);
        assert_eq!(work.done(), Duration::ZERO);
        spent.for_sealing(|| std::thread::sleep(pause));
        assert!(work.done() >= pause);
        // Whoever begins a segment now does not take it for what is done in its time.
        assert_eq!(Spent::begin(&work).done_before, work.done());
    }

    #[test]
    fn the_level_follows_whoever_is_behind_and_stays_between_one_and_three() {
        let level = |level| CompressionLevel::new(level).unwrap();
        assert_eq!(Pace::of(MANY_SEGMENTS).level(), level(1));
        let mut pace = Pace::of(MANY_SEGMENTS - 1);
        assert_eq!(pace.level(), level(3));
        let mut after = |behind| {
            pace.follow(behind);
            pace.level()
        };
        let falling = [Behind::Sealing; 3].map(&mut after);
        assert_eq!(falling, [level(2), level(1), level(1)]);
        let rising = [Behind::Store, Behind::Source, Behind::Store].map(&mut after);
        assert_eq!(rising, [level(2), level(3), level(3)]);
    }
}

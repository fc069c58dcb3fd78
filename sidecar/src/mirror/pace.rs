//! How hard a copy is compressed: as hard as whoever is behind leaves time for.
//!
//! Sealing is the only part of a copy that can choose how long it takes. Where the store is behind, whose line is narrow, a smaller segment is
//! the sooner stored, and sealing would wait anyway; where the source is far behind, its pace is everybody's and the processor idles. Else
//! sealing is what the others wait for, or it takes the processor from them.

use std::time::{Duration, Instant};

use dataembassy_archive::CompressionLevel;

/// From this share of a segment's time on, waiting for the store means that the store is behind: a tenth.
const STORE_IS_BEHIND: u32 = 10;
/// From so many bytes on a copy has half a dozen segments, or more.
pub(super) const MANY_SEGMENTS: u64 = 256 * 1024 * 1024;

/// What became of the time since a segment was begun.
pub(super) struct Spent {
    since: Instant,
    waiting_for_source: Duration,
    waiting_for_store: Duration,
}

impl Spent {
    pub(super) fn begin() -> Self {
        Self {
            since: Instant::now(),
            waiting_for_source: Duration::ZERO,
            waiting_for_store: Duration::ZERO,
        }
    }

    /// Waits for the source's next member.
    pub(super) fn for_source<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        clocked(&mut self.waiting_for_source, wait)
    }

    /// Waits for a place in memory, which the store makes by taking a segment.
    pub(super) fn for_store<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        clocked(&mut self.waiting_for_store, wait)
    }

    /// As one of so many that seal side by side saw it: where together they work less than a quarter of one's time, the source is behind.
    fn who_is_behind(&self, sealers: u32) -> Behind {
        let all = self.since.elapsed();
        let quarters = 4 * sealers;
        if self.waiting_for_store * STORE_IS_BEHIND > all {
            Behind::Store
        } else if self.waiting_for_source * quarters > all * (quarters - 1) {
            Behind::Source
        } else {
            Behind::Sealing
        }
    }
}

fn clocked<T>(sum: &mut Duration, wait: impl FnOnce() -> T) -> T {
    let since = Instant::now();
    let answer = wait();
    *sum += since.elapsed();
    answer
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
    sealers: u32,
}

impl Pace {
    /// For a copy of about so many bytes before they are compressed. Where it has many segments, so many seal side by side.
    pub(super) const fn of(bytes: u64, sealers: u32) -> Self {
        let (level, sealers) = if bytes < MANY_SEGMENTS {
            (CompressionLevel::DEFAULT, 1)
        } else {
            (CompressionLevel::EASIEST, sealers)
        };
        Self { level, sealers }
    }

    /// The level of the segment that is begun now.
    pub(super) const fn level(&self) -> CompressionLevel {
        self.level
    }

    /// Takes in what a segment's time went into, and the wait for the next one's place.
    pub(super) fn learn(&mut self, spent: &Spent) {
        self.follow(spent.who_is_behind(self.sealers));
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

    fn spent(source: u64, store: u64, rest: u64) -> Spent {
        let seconds = Duration::from_secs;
        Spent {
            since: Instant::now()
                .checked_sub(seconds(source + store + rest))
                .unwrap(),
            waiting_for_source: seconds(source),
            waiting_for_store: seconds(store),
        }
    }

    #[test]
    fn who_is_behind_is_told_by_who_was_waited_for() {
        assert_eq!(spent(0, 0, 100).who_is_behind(1), Behind::Sealing);
        assert_eq!(spent(60, 5, 35).who_is_behind(1), Behind::Sealing);
        assert_eq!(spent(80, 0, 20).who_is_behind(1), Behind::Source);
        assert_eq!(spent(20, 20, 60).who_is_behind(1), Behind::Store);
        assert_eq!(spent(80, 15, 5).who_is_behind(1), Behind::Store);
    }

    #[test]
    fn two_that_share_the_work_of_one_wait_longer_before_the_source_is_behind() {
        assert_eq!(spent(80, 0, 20).who_is_behind(2), Behind::Sealing);
        assert_eq!(spent(90, 0, 10).who_is_behind(2), Behind::Source);
        assert_eq!(spent(20, 20, 60).who_is_behind(2), Behind::Store);
    }

    #[test]
    fn what_is_waited_for_is_counted() {
        let mut spent = Spent::begin();
        let pause = Duration::from_millis(20);
        spent.for_store(|| std::thread::sleep(pause));
        assert!(spent.waiting_for_store >= pause);
        assert_eq!(spent.waiting_for_source, Duration::ZERO);
        spent.for_source(|| std::thread::sleep(pause));
        assert!(spent.waiting_for_source >= pause);
    }

    #[test]
    fn the_level_follows_whoever_is_behind_and_stays_between_one_and_three() {
        let level = |level| CompressionLevel::new(level).unwrap();
        assert_eq!(Pace::of(MANY_SEGMENTS, 2).level(), level(1));
        let mut pace = Pace::of(MANY_SEGMENTS - 1, 2);
        assert_eq!((pace.level(), pace.sealers), (level(3), 1));
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

//! Follows seeds on every processor until all were followed, and says which of them show what must not be; or tells the story of the one that
//! somebody wants to see again.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::runtime::{Builder, Runtime};

use super::schedule::{Course, Followed, follow};
use super::tally::Tally;

/// Names one seed to be followed again, alone and with its story.
const SEED: &str = "EXPLORE_SEED";
/// After so many seeds that failed, the others would tell nothing new.
const ENOUGH: usize = 20;

/// In so many schedules each fault must have come.
const MANY: u64 = 1_000;

/// Follows the seeds below `count`, or the one that is named in the environment.
pub(crate) fn explore<C: Course>(count: u64) {
    if let Ok(seed) = std::env::var(SEED) {
        return tell::<C>(&seed);
    }
    let seeds = Seeds {
        next: AtomicU64::new(0),
        count,
        failed: Mutex::default(),
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let tally = thread::scope(|scope| {
        let at_work: Vec<_> = (0..processors)
            .map(|_| scope.spawn(|| seeds.work::<C>()))
            .collect();
        let tallies = at_work.into_iter().map(|one| one.join().unwrap());
        tallies.fold(Tally::default(), |sum, tally| sum.and(&tally))
    });
    println!("{}: {tally}", C::NAME);
    let mut failed = seeds.failed.into_inner().unwrap();
    failed.sort_unstable();
    if let Some((seed, violation)) = failed.first() {
        let all: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
        panic!(
            "{}: {violation}\nseed {seed} at commit {}; replay it with {SEED}={seed}; of {} schedules failed {all:?}",
            C::NAME,
            commit(),
            tally.schedules
        );
    }
    let missing = tally.missing();
    assert!(
        count < MANY || missing.is_empty(),
        "{}: {count} schedules, and in none of them came {missing:?}",
        C::NAME
    );
}

/// Fails unless a seed means the same each time: one that cannot be followed again is worth nothing to whoever looks for the bug.
pub(crate) fn follow_twice<C: Course>(seeds: std::ops::Range<u64>) {
    let runtime = runtime();
    for seed in seeds {
        let [first, second] = [(); 2].map(|()| runtime.block_on(follow::<C>(seed, true)).story);
        for (number, (one, other)) in first.iter().zip(&second).enumerate() {
            assert_eq!(
                outline(one),
                outline(other),
                "{} seed {seed}, line {number}, after {:#?}",
                C::NAME,
                &first[number.saturating_sub(12)..number]
            );
        }
        assert_eq!(first.len(), second.len(), "{} seed {seed}", C::NAME);
    }
}

/// A line of a story without contents: keys are drawn anew each time, and stand in them.
fn outline(line: &str) -> &str {
    line.split_once(" {").map_or(line, |(outline, _)| outline)
}

fn tell<C: Course>(seed: &str) {
    let seed = seed
        .parse()
        .unwrap_or_else(|_| panic!("{SEED} is a number, not {seed}"));
    let Followed { story, outcome, .. } = runtime().block_on(follow::<C>(seed, true));
    for line in story {
        println!("{line}");
    }
    outcome.unwrap_or_else(|violation| panic!("{}: {violation}", C::NAME));
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn commit() -> String {
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).output();
    commit.map_or_else(
        |_| "unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Seeds that are to be followed, by whoever has time.
struct Seeds {
    next: AtomicU64,
    count: u64,
    /// What came of those that failed.
    failed: Mutex<Vec<(u64, String)>>,
}

impl Seeds {
    fn work<C: Course>(&self) -> Tally {
        let runtime = runtime();
        let mut tally = Tally::default();
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.count || self.failed.lock().unwrap().len() >= ENOUGH {
                return tally;
            }
            // Who panics has a seed too.
            let followed = catch_unwind(AssertUnwindSafe(|| runtime.block_on(follow::<C>(seed, false))));
            let outcome = match followed {
                Ok(followed) => {
                    tally = tally.and(&followed.tally);
                    followed.outcome
                }
                Err(_) => Err("it panicked, as is told above".to_owned()),
            };
            if let Err(violation) = outcome {
                self.failed.lock().unwrap().push((seed, violation));
            }
        }
    }
}

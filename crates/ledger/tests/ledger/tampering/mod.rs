//! Whoever owns the store changes one thing in it, whatever and however: it is found, and nothing is taken for a copy that is none.
//!
//! ```text
//! made     a store of two registries, with every kind of object, and what an attacker holds
//! change   one change, drawn from a seed
//! reader   follows both chains and reads everything back, as a custodian does
//! ```

mod change;
mod made;
mod reader;

use std::ops::Range;
use std::thread;

use self::change::change;
use self::made::{Made, Store};
use self::reader::read;

/// How many changes are made, one at a time, each to the store as it was. Those to what is sealed are made in the archive's tests.
const CHANGES: u64 = 40_000;
/// What reading may add to the memory that the process holds, in KiB, however often it is done.
const GROWTH: u64 = 64 * 1024;

/// The most that this process ever held, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Makes the changes of these seeds, and counts them by their kind.
fn try_all(made: &Made, seeds: Range<u64>) -> Vec<(&'static str, u64)> {
    let untouched = read(made, &made.store, &Store::new());
    let mut counts: Vec<(&'static str, u64)> = Vec::new();
    for seed in seeds {
        let (kind, store) = change(made, seed);
        let found = read(made, &store, &made.store);
        assert!(!found.findings.is_empty(), "seed {seed}: {kind} was not found");
        for copy in &found.intact {
            assert!(
                untouched.intact.contains(copy),
                "seed {seed}: {kind} made a copy that there never was: {copy:?}"
            );
        }
        match counts.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, count)) => *count += 1,
            None => counts.push((kind, 1)),
        }
    }
    counts
}

#[test]
fn a_store_that_nobody_touched_is_found_whole() {
    let made = Made::new();
    let found = read(&made, &made.store, &Store::new());
    assert!(found.findings.is_empty(), "{:#?}", found.findings);
    assert_eq!(found.intact.len(), made.copies);
}

#[test]
fn every_single_change_to_a_store_is_found() {
    let made = Made::new();
    let before = peak();
    let workers = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let share = CHANGES.div_ceil(workers);
    let counts: Vec<_> = thread::scope(|scope| {
        let made = &made;
        let running: Vec<_> = (0..workers)
            .map(|worker| {
                let seeds = worker * share..CHANGES.min((worker + 1) * share);
                scope.spawn(move || try_all(made, seeds))
            })
            .collect();
        running
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    for kind in change::KINDS {
        let of_kind = counts.iter().filter(|(other, _)| *other == kind);
        let count: u64 = of_kind.map(|(_, count)| count).sum();
        assert!(count > 1_000, "{kind} was tried {count} times only: {counts:?}");
    }
    let grown = peak() - before;
    assert!(grown <= GROWTH, "reading took {grown} KiB more and more");
}

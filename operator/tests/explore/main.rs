//! The controllers, driven by random schedules without a cluster: a seed chooses who does what when, and which faults come between. After the last
//! fault the wanted state is there within so many rounds, and then nothing is written; what must never be, never is.
//!
//! A program of its own: it needs nothing of the other tests, and is linked and started alone while somebody follows a seed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what tests share fails as tests do, and a story is told to whoever asked for it"
)]

mod abroad;
mod cluster;
mod drill;
mod mirror;
mod nodes;
mod objects;
mod operator;
mod random;
mod restore;
mod schedule;
mod watches;
mod world;

use std::num::NonZero;
use std::thread;

use abroad::Abroad;
use drill::Drills;
use mirror::Mirrors;
use restore::Restores;
use schedule::explore;

#[test]
fn a_restore_ends_once_whatever_happens_to_its_operator() {
    explore::<Restores>(0..400);
}

#[test]
fn a_mirror_becomes_what_its_spec_says_whatever_happens_to_its_operator() {
    explore::<Mirrors>(0..300);
}

#[test]
fn a_drill_has_one_run_at_a_time_and_goes_on_whatever_happens_to_its_operator() {
    explore::<Drills>(0..400);
}

#[test]
fn an_activation_serves_once_behind_a_fence_whatever_happens_to_its_operator() {
    explore::<Abroad>(0..40);
}

#[test]
#[ignore = "long: 100,000 schedules, which want an optimised operator"]
fn a_hundred_thousand_schedules_come_where_they_should() {
    thousands(100);
}

#[test]
#[ignore = "long: a million schedules, which want an optimised operator and an evening"]
fn a_million_schedules_come_where_they_should() {
    thousands(1_000);
}

/// Follows so many thousand schedules of all kinds, on every processor. The whole embassy has the fewest: each of its schedules is as long as
/// twenty of a restore's.
fn thousands(count: u64) {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for processor in 0..processors {
            let seeds = move |of_thousand: u64| (0..count * of_thousand).skip(processor).step_by(processors);
            scope.spawn(move || {
                explore::<Restores>(seeds(350));
                explore::<Mirrors>(seeds(250));
                explore::<Drills>(seeds(350));
                explore::<Abroad>(seeds(50));
            });
        }
    });
}

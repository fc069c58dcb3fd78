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
#[path = "../resources/mod.rs"]
mod resources;
mod restore;
mod schedule;
mod seeds;
mod tally;
mod watches;
mod world;

use abroad::Abroad;
use drill::Drills;
use mirror::Mirrors;
use restore::Restores;
use seeds::{explore, follow_twice};

/// How many schedules are followed, of all kinds together. An operator that is not optimised takes ten times as long for each.
const ALL: u64 = if cfg!(debug_assertions) { 300 } else { 100_000 };
/// How many are followed by who has half an hour.
const LONG: u64 = 1_000_000;

// The share of each kind, in thousandths, by what a schedule costs: one of a mirror or a drill as much as three of a restore, and one of the whole
// embassy as much as thirty.
const RESTORES: u64 = 750;
const MIRRORS: u64 = 110;
const DRILLS: u64 = 130;
const ABROAD: u64 = 10;

#[test]
fn a_restore_ends_once_whatever_happens_to_its_operator() {
    explore::<Restores>(ALL * RESTORES / 1_000);
}

#[test]
fn a_mirror_becomes_what_its_spec_says_whatever_happens_to_its_operator() {
    explore::<Mirrors>(ALL * MIRRORS / 1_000);
}

#[test]
fn a_drill_has_one_run_at_a_time_and_goes_on_whatever_happens_to_its_operator() {
    explore::<Drills>(ALL * DRILLS / 1_000);
}

#[test]
fn an_activation_serves_once_behind_a_fence_whatever_happens_to_its_operator() {
    explore::<Abroad>(ALL * ABROAD / 1_000);
}

#[test]
fn a_seed_is_followed_the_same_way_each_time() {
    follow_twice::<Restores>(0..20);
    follow_twice::<Mirrors>(0..20);
    follow_twice::<Drills>(0..20);
    follow_twice::<Abroad>(0..5);
}

#[test]
#[ignore = "long: a million schedules, which want an optimised operator and half an hour"]
fn a_million_schedules_come_where_they_should() {
    explore::<Restores>(LONG * RESTORES / 1_000);
    explore::<Mirrors>(LONG * MIRRORS / 1_000);
    explore::<Drills>(LONG * DRILLS / 1_000);
    explore::<Abroad>(LONG * ABROAD / 1_000);
}

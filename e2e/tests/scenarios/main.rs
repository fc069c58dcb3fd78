//! The scenarios: the product in the two clusters, as its users have it, in good days and bad.
//!
//! They run on a bed that is up (`cargo e2e up`), side by side, each in namespaces and with registries of its own:
//! `cargo test -p dataembassy-e2e --test scenarios`. Those in [`alone`] disturb everybody and wait
//! until nobody else is there; who runs them after the others (`--skip alone::`, then `alone::`) waits less.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers fail as the test does"
)]

mod activation;
mod alone;
mod bed;
mod break_glass;
mod chart;
mod cluster_faults;
mod custody;
mod definitions;
mod deletion;
mod detour;
mod drilled_samples;
mod drills;
mod embassy;
mod fail_static;
mod fence;
mod kills;
mod ledger;
mod main_line;
mod memory;
mod missing;
mod neighbours;
mod permissions;
mod policies;
mod requests;
mod restores;
mod settled;
mod severed;
mod sidecar;
mod two_sidecars;
mod users;
mod world;
mod wrong_input;

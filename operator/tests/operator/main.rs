//! The operator against an API server that records every request, and processes that answer for their state.
//!
//! One program, so that it is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what tests share fails as tests do"
)]

mod abroad;
mod activation;
mod addresses;
mod api_server;
mod clock;
mod custody;
mod database;
mod drill;
mod embassy;
mod lease;
mod mirror;
mod pulse;
mod refusals;
mod refused;
#[path = "../resources/mod.rs"]
mod resources;
mod restore;
mod rollout;
mod start;
mod world;

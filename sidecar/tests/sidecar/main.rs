//! The sidecar against real servers: PostgreSQL 15 and 17 and MinIO, on loopback.
//!
//! One program, so that it is linked once, its servers are started once, and what waits leaves the machine to others.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what tests share fails as tests do"
)]

mod activation_reports;
mod bench;
mod core_dumps;
mod custodian;
mod database;
mod drill;
mod drill_reports;
mod dump;
mod faults;
mod gate;
mod mirror;
mod rebinding;
mod reference;
mod restore;
mod sealed;
mod store;
mod support;

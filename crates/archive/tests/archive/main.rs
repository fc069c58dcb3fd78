//! Tests of the archive through its public items only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod inventories;
mod keys;
mod members;
mod row_digests;
mod sample;
mod segments;
mod stock_tools;
mod tampering;
mod vectors;

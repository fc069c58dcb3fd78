//! Tests of the ledger through its public items only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod activations;
mod chains;
mod doors;
mod entries;
mod keys;
mod limits;
mod manifests;
mod proofs;
mod retention;
mod sample;
mod ssh_keygen;
mod standing;
mod tampering;
mod trust_sheets;
mod values;
mod vectors;

//! What operator and sidecar say to each other, and the values that both judge by the same rules.
//!
//! The operator writes a [`config::MirrorConfig`] into a file, the sidecar answers with a [`report::Report`] over HTTP. Both grow
//! by addition only, and both sides ignore fields they do not know, so any operator can talk to any sidecar of the same major
//! version. This crate does no I/O and reads no clock.

pub mod activation;
pub mod assertion;
pub mod config;
pub mod custodian;
pub mod database;
pub mod drill;
pub mod duration;
pub mod endpoint;
pub mod files;
pub mod gate;
pub mod quantity;
pub mod reason;
pub mod recipient;
pub mod report;
pub mod restore;
pub mod schedule;
pub mod sovereignty;

pub use duration::Duration;
pub use endpoint::Endpoint;
pub use quantity::Quantity;
pub use reason::Reason;
pub use schedule::Schedule;
pub use sovereignty::Sovereignty;

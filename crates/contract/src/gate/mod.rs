//! What operator and gate say to each other: [`GateConfig`] in a file, [`GateReport`] at `GET /status`.

mod config;
mod report;

pub use config::{GateConfig, LaneConfig};
pub use report::{GateReport, LaneReport, MAX_BYTES, RefusedRequests};

//! What operator and gate say to each other: [`GateConfig`] in a file, [`GateReport`] at `GET /status`.

mod config;
mod report;

pub use config::{GateConfig, LaneConfig};
pub use report::{GateReport, LaneReport, MAX_BYTES, RefusedRequests};

/// The header of an answer by which a gate says that it refused the request, and not the store; its value is the word of the
/// [`Refusal`](dataembassy_ledger::door::Refusal).
pub const REFUSED_HEADER: &str = "x-dataembassy-refused";

//! What operator and custodian say to each other: [`CustodianConfig`] in a file; [`CustodianReport`] at `GET /status`, and one
//! [`RegistryReport`] for each registry at `GET /registries/<id>`.

mod config;
mod report;

pub use config::{
    CheckConfig, CustodianConfig, CustodyConfig, DrillPolicy, MAX_ORDERS, OrderBody, OrderConfig, PinConfig,
    RetentionConfig, RetiredFor, SignerConfig, TrustedCustodian, VerificationConfig,
};
pub use report::{
    Alarm, Arrival, CopyReport, CustodianReport, DoorsReport, LastDrilled, MAX_BYTES, MAX_COPIES, MAX_DOORS,
    OrderAnswer, OrderState, RegistryReport, RegistrySummary, RetentionReport, SpaceReport, TermHolder,
    TermOpening, VerificationReport,
};

/// The path of a registry's report.
#[must_use]
pub fn registry_path(registry: &str) -> String {
    format!("/registries/{registry}")
}

//! What operator and custodian say to each other: [`CustodianConfig`] in a file; [`CustodianReport`] at `GET /status`, and one
//! [`RegistryReport`] for each registry at `GET /registries/<id>`.

mod config;
mod report;

pub use config::{
    CheckConfig, CustodianConfig, CustodyConfig, PinConfig, RetentionConfig, RetiredFor, SignerConfig,
    TrustedCustodian, VerificationConfig,
};
pub use report::{
    Alarm, Arrival, CopyReport, CustodianReport, DoorsReport, MAX_BYTES, MAX_COPIES, MAX_DOORS,
    RegistryReport, RegistrySummary, RetentionReport, SpaceReport, VerificationReport,
};

/// The path of a registry's report.
#[must_use]
pub fn registry_path(registry: &str) -> String {
    format!("/registries/{registry}")
}

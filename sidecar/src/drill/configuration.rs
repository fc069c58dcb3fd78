//! The configuration folder of a drill, judged whole.

use dataembassy_contract::{drill::DrillConfig, files};

use super::Environment;
use crate::process::folder::Files;
use crate::restore::job::configuration::{Access, AccessSecrets, ConfigurationError, Named};

/// The folder's files that a drill reads.
pub(super) const NAMES: &[&str] = &[
    files::CONFIG_FILE,
    files::RETRIEVAL_ACCESS_KEY_ID,
    files::RETRIEVAL_SECRET_ACCESS_KEY,
    files::IDENTITY,
];

/// The document. It is there from the beginning, and never changes.
pub(super) async fn document(environment: &Environment) -> Result<DrillConfig, ConfigurationError> {
    let folder = environment.job.place.config_dir.clone();
    let files = tokio::task::spawn_blocking(move || Files::read(&folder, NAMES)).await;
    Ok(DrillConfig::from_json(files.unwrap_or_default().document()?)?)
}

/// Where the copies are and what opens them.
pub(super) fn judge(
    files: &Files,
    config: &DrillConfig,
    environment: &Environment,
) -> Result<Access, ConfigurationError> {
    let mut needs = files.needs();
    let secrets = AccessSecrets::take(&mut needs)?;
    needs.met()?;
    let named = Named {
        registry: &config.registry,
        store: &config.store,
        sovereignty: &config.sovereignty,
        signers: &config.signers,
        custodian_keys: &config.custodian_keys,
        floor: config.floor.as_ref(),
    };
    Access::judge(&named, &secrets, &environment.job)
}

//! The configuration folder, looked at again and again: the newest configuration that can be used is in effect, whatever comes after it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::configuration::{Configuration, ConfigurationError, Environment, Files};
use super::report::Board;

/// Between two looks. A volume that is swapped atomically cannot be watched by its files, and nine small files cost nothing to read.
const PERIOD: Duration = Duration::from_secs(2);

/// Looks at the folder until nobody listens any more; what can be used is sent, what cannot is reported.
pub async fn run(
    environment: Environment,
    board: Board,
    effective: watch::Sender<Option<Arc<Configuration>>>,
) {
    let mut seen: Option<Files> = None;
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = effective.closed() => return,
        }
        let folder = environment.config_dir.clone();
        let Ok(files) = tokio::task::spawn_blocking(move || Files::read(&folder)).await else {
            continue;
        };
        if seen.as_ref() == Some(&files) {
            continue;
        }
        match Configuration::judge(&files, &environment) {
            Ok(configuration) => {
                tracing::info!(
                    registry = %configuration.registry,
                    generation = configuration.loaded.generation,
                    "a configuration is in effect"
                );
                board.loaded(
                    configuration.loaded.clone(),
                    configuration.signer.public_key().to_string(),
                );
                effective.send_replace(Some(Arc::new(configuration)));
            }
            Err(error) => {
                tracing::warn!(reason = %error.reason(), %error, "the newest configuration cannot be used");
                let (reason, message) = (error.reason(), error.to_string());
                let missing = match error {
                    ConfigurationError::SecretsMissing(missing) => missing,
                    _ => Vec::new(),
                };
                board.refused(reason, message, missing);
            }
        }
        seen = Some(files);
    }
}

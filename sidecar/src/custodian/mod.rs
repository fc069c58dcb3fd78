//! The embassy's long-running process: it follows the ledgers of all accepted registries, proves that their copies are whole without a key
//! that opens one, and raises the alarm.
//!
//! [`configuration`] judges what the folder holds and [`orders`] what is to be signed, [`embassy`] looks at the store as a whole, each
//! [`registry`] has a keeper that also carries those orders out, [`reading`] reads their copies back, [`finding`] says what is wrong and what still stands, [`doors`] probes what only the gate refuses, [`space`]
//! looks ahead, [`locks`] and [`prolonging`] say what a lock must be and make it so, [`process`] puts them together and [`board`] shows it. The process keeps no truth on disk:
//! what it must know is in the ledgers and in its configuration.

pub mod board;
pub mod configuration;
pub mod doors;
pub mod embassy;
pub mod finding;
pub mod locks;
pub mod metrics;
pub mod office;
pub mod orders;
pub mod process;
pub mod prolonging;
pub mod reading;
pub mod registry;
pub mod space;

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use dataembassy_contract::sovereignty::Loopback;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use tokio_util::sync::CancellationToken;

use crate::process::{self as running, Place, ProcessArguments, folder, server};
use board::Board;
use configuration::{Configuration, NAMES};
use metrics::Metrics;
use office::{Office, Timing};
use process::Custodian;
use registry::TallyKey;

/// Command line of `dataembassy-sidecar custodian`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    process: ProcessArguments,
    #[command(flatten)]
    timing: Timing,
}

/// Runs the custodian until SIGTERM or SIGINT.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let (place, timing) = (arguments.process.place(), arguments.timing);
    let custodian = |ending| run_until(place, timing, ending);
    arguments.process.run(custodian).await
}

/// Runs the custodian until `ending`.
pub async fn run_until(place: Place, timing: Timing, ending: CancellationToken) -> anyhow::Result<()> {
    let process = running::name();
    let board = Board::new(process.clone(), jiff::Timestamp::now());
    let metrics = Metrics::new();
    let mut key = [0; 16];
    OsRng
        .try_fill_bytes(&mut key)
        .context("the system gives no random numbers")?;
    let office = Office::new(
        process,
        timing,
        TallyKey::from_bytes(key),
        board.clone(),
        metrics.clone(),
    );
    let _status = running::serve(place.status_address, board::routes(board.clone())).await?;
    let _metrics = running::serve(place.metrics_address, server::metrics(metrics.catalog().clone())).await?;
    let (effective, configurations) = tokio::sync::watch::channel(None);
    let loopback = place.loopback;
    let judge = move |files: &folder::Files| take(files, loopback, &board);
    let watching = tokio::spawn(folder::watch(place.config_dir, NAMES, effective, judge));
    let office = Arc::new(office);
    let probing = tokio::spawn(doors::watch(
        Arc::clone(&office),
        configurations.clone(),
        ending.clone(),
    ));
    Custodian::new(office, configurations, ending).run().await;
    probing.abort();
    watching.abort();
    Ok(())
}

/// Judges what the folder held, and says what came of it.
fn take(files: &folder::Files, loopback: Loopback, board: &Board) -> Option<Configuration> {
    match Configuration::judge(files, loopback) {
        Ok(configuration) => {
            tracing::info!(
                embassy = configuration.embassy,
                generation = configuration.loaded.generation,
                registries = configuration.registries.len(),
                "a configuration is in effect"
            );
            let signer = configuration.signer.public_key().to_string();
            board.loaded(configuration.loaded.clone(), signer);
            Some(configuration)
        }
        Err(error) => {
            tracing::warn!(reason = %error.reason(), %error, "the newest configuration cannot be used");
            board.refused(error.reason(), error.to_string(), error.missing().to_vec());
            None
        }
    }
}

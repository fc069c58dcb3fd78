//! The long-running process at home: one registry, copied on schedule.
//!
//! [`configuration`] judges what the folder holds, [`agenda`] says what is due, [`run`] makes one copy, [`process`] puts them together and
//! [`report`] says what became of it. The process keeps no truth on disk: what it must know is in the ledger and in its
//! configuration.

pub mod agenda;
pub mod configuration;
pub mod drills;
pub mod fence;
pub mod metrics;
mod pace;
pub mod pipeline;
pub mod process;
pub mod proof;
pub mod report;
pub mod run;
mod sealing;
pub mod upload;

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::process::{self as running, ProcessArguments, folder, server};
use configuration::{Configuration, Environment, NAMES};
use metrics::Metrics;
use process::Mirror;
use report::Board;

/// Command line of `dataembassy-sidecar mirror`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    process: ProcessArguments,
    /// The folder that holds `<major>/bin/pg_dump` for each major version of PostgreSQL.
    #[arg(
        long,
        env = "DATAEMBASSY_POSTGRESQL_PROGRAMS",
        default_value = "/usr/lib/postgresql"
    )]
    postgresql_programs: PathBuf,
    /// Where plans lie while a run lasts: about a kilobyte for each table and large object.
    #[arg(long, env = "DATAEMBASSY_SCRATCH", default_value = "/tmp")]
    scratch: PathBuf,
}

/// Runs the mirror until SIGTERM or SIGINT.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let environment = Environment {
        place: arguments.process.place(),
        programs: arguments.postgresql_programs,
        scratch: arguments.scratch,
    };
    let mirror = |ending| run_until(environment, ending);
    arguments.process.run(mirror).await
}

/// Runs the mirror until `ending`.
pub async fn run_until(environment: Environment, ending: CancellationToken) -> anyhow::Result<()> {
    let board = Board::new(running::name(), jiff::Timestamp::now());
    let metrics = Metrics::new();
    let place = environment.place.clone();
    let _status = running::serve(place.status_address, server::status(board.clone())).await?;
    let _metrics = running::serve(place.metrics_address, server::metrics(metrics.catalog().clone())).await?;
    let (effective, configurations) = tokio::sync::watch::channel(None);
    let judging = board.clone();
    let judge = move |files: &folder::Files| Configuration::take(files, &environment, &judging);
    let watching = tokio::spawn(folder::watch(place.config_dir, NAMES, effective, judge));
    Mirror::new(board, metrics, configurations, ending).run().await;
    watching.abort();
    Ok(())
}

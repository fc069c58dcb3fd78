//! A drill: one copy restored into a throw-away database, questioned, and timed, as the operator's Job does it.
//!
//! [`cell`] is the database and what keeps the copy in it, [`pick`] says which copy, [`course`] holds the order, [`question`] asks what must
//! be so, [`failure`] tells the copy's fault from everybody else's. The process is told by a folder what to do and asked at a port how far it
//! is; its result stays there until it was received. Nothing is retried once something was restored.

mod board;
mod cell;
mod configuration;
mod course;
mod failure;
mod pick;
mod question;
mod record;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use dataembassy_contract::{
    Reason,
    drill::{DrillConfig, DrillResult, LastWords, Verdict},
    files,
};
use tokio_util::sync::CancellationToken;

use crate::process::{self as running, server};
use crate::restore::job;
use board::Board;
use failure::Failure;
use record::Record;

/// How long a result is kept for somebody who asks for it.
const KEPT: Duration = Duration::from_mins(30);

/// Command line of `dataembassy-sidecar drill`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    job: job::Arguments,
    /// The folder that the throw-away server has its socket in.
    #[arg(long, env = "DATAEMBASSY_CELL", default_value = files::CELL_SOCKET_DIR)]
    cell: PathBuf,
}

/// Where a drill runs.
#[derive(Clone, Debug)]
pub struct Environment {
    /// As for a restore.
    pub job: job::Environment,
    /// The folder that the throw-away server has its socket in.
    pub cell: PathBuf,
    /// The file for its last words.
    pub termination_message: PathBuf,
}

/// Drills once, and keeps what came of it until it was received.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let environment = Environment {
        job: arguments.job.environment(),
        cell: arguments.cell,
        termination_message: arguments.job.termination_message.clone(),
    };
    let job = async |ending| {
        let result = run_until(&environment, ending).await?;
        let passed = result.verdict == Verdict::Passed;
        anyhow::ensure!(
            passed,
            "{:?}, {}: {}",
            result.verdict,
            result.reason,
            result.message
        );
        Ok(())
    };
    arguments.job.process.run(job).await
}

/// Drills once; `ending` interrupts it. Returns when somebody has received the result, or nobody came for it. Fails only where nobody could be
/// told how far it is.
pub async fn run_until(environment: &Environment, ending: CancellationToken) -> anyhow::Result<DrillResult> {
    let board = Board::default();
    let address = environment.job.place.status_address;
    let _status = running::serve(address, server::status(board.clone())).await?;
    let limits = Limits::begin();
    let (config, ended, record) = drill(environment, &board, &limits, &ending).await;
    let result = record.result(config.as_ref(), ended);
    told(&result);
    let result = board.ends(result);
    let words = LastWords::of(&result).to_json();
    tokio::fs::write(&environment.termination_message, words)
        .await
        .with_context(|| format!("{} cannot be written", environment.termination_message.display()))?;
    let until = limits.kept(config.as_ref());
    tokio::select! {
        () = board.received() => tracing::info!("the result was received"),
        () = tokio::time::sleep_until(until.into()) => tracing::warn!("nobody came for the result"),
        () = ending.cancelled() => {}
    }
    Ok(result)
}

/// When it began, and when it must have ended.
struct Limits {
    began: Instant,
}

impl Limits {
    fn begin() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// How long before its deadline a drill ends itself: the rest is for its result. A tenth of the deadline, 5 s to a minute.
    fn margin(deadline: Duration) -> Duration {
        (deadline / 10).clamp(Duration::from_secs(5), Duration::from_mins(1))
    }

    fn deadline(config: &DrillConfig) -> Duration {
        Duration::from_secs(config.deadline_seconds)
    }

    /// When the work must have ended.
    fn work(&self, config: &DrillConfig) -> Instant {
        let deadline = Self::deadline(config);
        self.began + deadline.saturating_sub(Self::margin(deadline))
    }

    /// Until when a result is kept.
    fn kept(&self, config: Option<&DrillConfig>) -> Instant {
        let kept = Instant::now() + KEPT;
        config.map_or(kept, |config| {
            let deadline = Self::deadline(config);
            kept.min(self.began + deadline.saturating_sub(Self::margin(deadline) / 5))
        })
    }
}

async fn drill(
    environment: &Environment,
    board: &Board,
    limits: &Limits,
    ending: &CancellationToken,
) -> (Option<DrillConfig>, Result<(), Failure>, Record) {
    let mut record = Record::begin();
    let config = match configuration::document(environment).await {
        Ok(config) => config,
        Err(error) => return (None, Err(Failure::inconclusive(error.reason(), &error)), record),
    };
    let ended = tokio::select! {
        ended = course::run(environment, &config, board, &mut record) => ended,
        () = ending.cancelled() => Err(Failure::inconclusive(Reason::Interrupted, "it was told to end")),
        () = tokio::time::sleep_until(limits.work(&config).into()) => Err(late(board, &config)),
    };
    (Some(config), ended, record)
}

/// What is said of a drill that was not done in time.
fn late(board: &Board, config: &DrillConfig) -> Failure {
    let missing = board.missing();
    if let Some(reason) = missing.reason() {
        return Failure::inconclusive(reason, &missing.words());
    }
    let words = format!(
        "it was not done a little before its deadline of {} s, while it was {}; something in the copy may never end: raise the deadline, or find out what",
        config.deadline_seconds,
        board.doing()
    );
    Failure::inconclusive(Reason::DeadlineExceeded, &words)
}

fn told(result: &DrillResult) {
    let (verdict, reason, message) = (result.verdict, result.reason, &result.message);
    match verdict {
        Verdict::Passed => tracing::info!(?verdict, %reason, why = message, "the drill has ended"),
        Verdict::Failed | Verdict::Inconclusive => {
            tracing::error!(?verdict, %reason, why = message, "the drill has ended");
        }
    }
}

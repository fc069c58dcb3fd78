//! A restore as the operator's Job: told by a folder what to do, asked at a port how far it is, and ended with last words in its
//! container's termination message.
//!
//! Nothing is retried once something was written: another restore is another resource.

pub(crate) mod board;
pub(crate) mod configuration;
mod result;
pub(crate) mod words;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use dataembassy_contract::{
    Reason, files,
    restore::{ChosenCopy, Ending, RestoreReport, RestoreResult},
};
use tokio_util::sync::CancellationToken;

use super::{
    RestoreError,
    clean_up::clean_up,
    copy::{CopyIdentity, DOUBTS, FindError, SealedCopy as _, StoredCopy},
    outcome::Outcome,
    progress::Phase,
    restore,
};
use crate::postgresql::Source;
use crate::process::{self as running, Place, ProcessArguments, beginning::Beginning, folder::Files, server};
use crate::question;
use crate::store::Store;
use board::{Board, JobReport};
use configuration::{Configuration, ConfigurationError, NAMES, Task};
use result::Whole;

/// How long store and target may be out of reach before that is the restore's end: a new pod is not known to every policy at once.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at what is not there yet.
pub(crate) const PAUSE: Duration = Duration::from_secs(2);

/// Command line of `dataembassy-sidecar restore-job`, and of a drill.
#[derive(Debug, Args)]
#[group(id = "job")]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) process: ProcessArguments,
    /// The folder that holds `<major>/bin/pg_restore` for each major version of PostgreSQL.
    #[arg(
        long,
        env = "DATAEMBASSY_POSTGRESQL_PROGRAMS",
        default_value = "/usr/lib/postgresql"
    )]
    postgresql_programs: PathBuf,
    /// A folder for temporary files: the table of contents, and a socket, so its path must be short.
    #[arg(long, env = "DATAEMBASSY_SCRATCH", default_value = "/tmp")]
    scratch: PathBuf,
    /// The file that the result is written to, at most 4,096 bytes of JSON.
    #[arg(long, default_value = files::TERMINATION_MESSAGE)]
    pub(crate) termination_message: PathBuf,
}

impl Arguments {
    pub(crate) fn environment(&self) -> Environment {
        Environment {
            place: self.process.place(),
            programs: self.postgresql_programs.clone(),
            scratch: self.scratch.clone(),
            longest_question: question::LONGEST,
        }
    }
}

/// Where the Job runs.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Where the process is.
    pub place: Place,
    /// Holds `<major>/bin/pg_restore`.
    pub programs: PathBuf,
    /// For temporary files.
    pub scratch: PathBuf,
    /// The longest that one question to the restored database may take.
    pub longest_question: Duration,
}

/// Restores once, and leaves what came of it.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let environment = arguments.environment();
    let path = arguments.termination_message;
    let job = async |ending| {
        let result = run_until(&environment, ending).await?;
        let (ended, message) = (result.ending, result.message.clone());
        tokio::fs::write(&path, result.to_json())
            .await
            .with_context(|| format!("{} cannot be written", path.display()))?;
        anyhow::ensure!(ended == Ending::Restored, "{message}");
        Ok(())
    };
    arguments.process.run(job).await
}

/// Restores once; `ending` interrupts it. Fails only where nobody could be told how far it is.
pub async fn run_until(
    environment: &Environment,
    ending: CancellationToken,
) -> anyhow::Result<RestoreResult> {
    let board: Board<RestoreReport> = Board::default();
    let _status = running::serve(environment.place.status_address, server::status(board.clone())).await?;
    let began = Instant::now();
    let done = tokio::select! {
        done = work(environment, &board) => done,
        () = ending.cancelled() => Err(Failure::new(Reason::Interrupted, "it was told to end")),
    };
    let seconds = began.elapsed().as_secs_f64();
    let (configuration, outcome) = match done {
        Ok(Done::Restored(configuration, outcome)) => (configuration, *outcome),
        Ok(Done::CleanedUp(words)) => return Ok(result::cleaned_up(words, seconds)),
        Err(failure) => return Ok(result::failed(&failure, &board, seconds)),
    };
    let copy = board.look(|report| report.copy.clone());
    let rehearses = configuration.options.rehearsal.is_some();
    let mut whole =
        Whole::new(outcome, copy, seconds, configuration.assertions.len()).of_a_rehearsal(rehearses);
    // The copy is there, whatever comes of the questions.
    tokio::select! {
        () = questions(environment, &configuration, &board, &mut whole) => {}
        () = ending.cancelled() => {}
    }
    Ok(whole.result())
}

/// Asks what the resource asks, each question whatever came of those before it.
async fn questions(
    environment: &Environment,
    configuration: &Configuration,
    board: &Board<RestoreReport>,
    whole: &mut Whole,
) {
    if configuration.assertions.is_empty() {
        return;
    }
    board.progress().enter(Phase::Questioning);
    let taken_at = whole.outcome.taken_at.as_jiff();
    for assertion in &configuration.assertions {
        let longest = environment.longest_question;
        let answer = question::ask(&configuration.target, assertion, taken_at, longest).await;
        whole.answers.push(answer);
    }
    board.progress().enter(Phase::Done);
}

/// Why a restore ended before its end.
struct Failure {
    reason: Reason,
    message: String,
    /// Whether it may be over in a moment.
    passes: bool,
    /// Whether it was the mark itself that could not be set.
    is_unmarked: bool,
    /// Whether something of a rehearsal may still be there.
    is_clean_up: bool,
}

impl Failure {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            passes: matches!(reason, Reason::StoreUnreachable | Reason::TargetUnreachable),
            is_unmarked: false,
            is_clean_up: false,
        }
    }
}

impl From<ConfigurationError> for Failure {
    fn from(error: ConfigurationError) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        let failure = Self::new(error.reason(), error.to_string());
        Self {
            passes: failure.passes || error.may_pass(),
            ..failure
        }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        Self {
            is_unmarked: matches!(error, RestoreError::Mark(_)),
            ..Self::new(error.reason(), error.to_string())
        }
    }
}

/// What was done.
enum Done {
    Restored(Box<Configuration>, Box<Outcome>),
    CleanedUp(String),
}

async fn work(environment: &Environment, board: &Board<RestoreReport>) -> Result<Done, Failure> {
    let beginning = Beginning::now();
    let judge = |files: &Files| Task::judge(files, environment);
    let configuration = match configured(environment, board, NAMES, judge).await? {
        Task::Restore(configuration) => configuration,
        Task::CleanUp { target, rehearsal } => return dropped(&target, &rehearsal, board, beginning).await,
    };
    let store = configuration
        .access
        .connect()
        .map_err(|error| Failure::new(error.reason(), error.to_string()))?;
    let copy = Arc::new(opened(&store, &configuration, board, beginning).await?);
    board.chosen(chosen(copy.identity()));
    let until = Instant::now() + PATIENCE;
    loop {
        let (target, options) = (&configuration.target, &configuration.options);
        match restore(&copy, target, options, board.progress()).await {
            Ok(outcome) => return Ok(Done::Restored(configuration, Box::new(outcome))),
            Err(error) => bide(board, error.into(), beginning, until).await?,
        }
    }
}

/// What a rehearsal has restored, taken away again.
async fn dropped(
    target: &Source,
    rehearsal: &str,
    board: &Board<RestoreReport>,
    beginning: Beginning,
) -> Result<Done, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match clean_up(target, rehearsal).await {
            Ok(done) => return Ok(Done::CleanedUp(done.words(&target.database))),
            Err(error) => {
                let failure = Failure {
                    is_clean_up: true,
                    ..error.into()
                };
                bide(board, failure, beginning, until).await?;
            }
        }
    }
}

/// The copy, chosen once.
async fn opened(
    store: &Store,
    configuration: &Configuration,
    board: &Board<RestoreReport>,
    beginning: Beginning,
) -> Result<StoredCopy, Failure> {
    let until = Instant::now() + PATIENCE;
    let mut doubts = DOUBTS;
    let (ledger, identities) = (&configuration.access.ledger, &configuration.access.identities);
    loop {
        match StoredCopy::open(store.clone(), ledger, configuration.choice, identities).await {
            Ok(copy) => {
                board.goes_on();
                return Ok(copy);
            }
            Err(error) if doubts > 0 && error.is_by_the_ledger() => {
                doubts -= 1;
                tracing::warn!(%error, "the ledger is read anew before it is believed");
            }
            Err(error) => bide(board, error.into(), beginning, until).await?,
        }
    }
}

/// Waits for a moment where the failure may pass by itself and nothing was written; otherwise it is the end.
async fn bide(
    board: &Board<RestoreReport>,
    failure: Failure,
    beginning: Beginning,
    until: Instant,
) -> Result<(), Failure> {
    if !failure.passes || board.progress().has_written() || Instant::now() >= until {
        return Err(failure);
    }
    beginning.tell(failure.reason, &failure.message, "tried again in a moment");
    board.waits(failure.reason, failure.message);
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

/// Waits until configuration and Secrets are there, as long as the Job may take.
pub(crate) async fn configured<R: JobReport, C>(
    environment: &Environment,
    board: &Board<R>,
    names: &'static [&'static str],
    judge: impl Fn(&Files) -> Result<C, ConfigurationError>,
) -> Result<C, ConfigurationError> {
    loop {
        let folder = environment.place.config_dir.clone();
        let files = tokio::task::spawn_blocking(move || Files::read(&folder, names)).await;
        match judge(&files.unwrap_or_default()) {
            Ok(configuration) => {
                board.configured();
                return Ok(configuration);
            }
            Err(ConfigurationError::Folder(error)) if !error.missing().is_empty() => {
                board.misses(error.missing());
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

pub(crate) fn chosen(identity: &CopyIdentity) -> ChosenCopy {
    ChosenCopy {
        sequence: identity.sequence,
        copy_id: identity.copy_id.to_string(),
        taken_at: identity.taken_at.as_jiff(),
    }
}

//! The command line. Each room defines the arguments of its own subcommand; this file joins them.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{custodian, drill, gate, mirror, restore, store, trust_sheet};

/// Mirrors one registry into the embassy's store, and restores from it.
#[derive(Debug, Parser)]
#[command(name = "dataembassy-sidecar", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mirror one registry on schedule, until told to end.
    Mirror(mirror::Arguments),
    /// Keep the copies of all accepted registries at the embassy, until told to end.
    Custodian(custodian::Arguments),
    /// Let through to the embassy's store what may pass, until told to end.
    Gate(gate::Arguments),
    /// Restore one copy into one database.
    Restore(Box<restore::Arguments>),
    /// Restore one copy as the operator's Job does: told by a folder, asked at a port, ended with last words.
    RestoreJob(restore::job::Arguments),
    /// Restore one copy into a throw-away database, question it and time it, as the operator's Job does.
    Drill(drill::Arguments),
    /// Make an object store ready.
    #[command(subcommand)]
    Store(StoreCommand),
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Check a bucket and write embassy.json, once.
    Init(store::init::Arguments),
    /// Try what deposit credentials can do at a store, or at the gate before it.
    Check(Box<store::check::Arguments>),
    /// Print what one must know to believe the store again, as one signed text for paper; or check such a text.
    TrustSheet(Box<trust_sheet::Arguments>),
}

/// The command line as data, from which its reference page is made.
#[must_use]
pub fn command() -> clap::Command {
    CommandLine::command()
}

/// Parses the command line of this process and runs what it names.
#[must_use]
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    match run(line.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    dataembassy_telemetry::core_dumps::forbid()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Mirror(arguments) => mirror::run(arguments).await,
            Command::Custodian(arguments) => custodian::run(arguments).await,
            Command::Gate(arguments) => gate::run(arguments).await,
            Command::Restore(arguments) => restore::run(*arguments).await,
            Command::RestoreJob(arguments) => restore::job::run(arguments).await,
            Command::Drill(arguments) => drill::run(arguments).await,
            Command::Store(StoreCommand::Init(arguments)) => {
                store::init::run(&arguments)
                    .await?
                    .iter()
                    .for_each(|line| say(line));
                Ok(())
            }
            Command::Store(StoreCommand::Check(arguments)) => {
                let (printed, verdict) = store::check::run(&arguments).await?;
                say(&printed);
                verdict.map_err(anyhow::Error::msg)
            }
            Command::Store(StoreCommand::TrustSheet(arguments)) => {
                let told = trust_sheet::run(&arguments).await?;
                say(told.printed.trim_end());
                told.verdict.map_err(anyhow::Error::msg)
            }
        }
    })
}

#[expect(clippy::print_stdout, reason = "what a command line program was asked for")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "the last words of a command line program")]
fn report(error: &anyhow::Error) {
    eprintln!("dataembassy-sidecar: {error:#}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}

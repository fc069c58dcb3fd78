//! The command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use dataembassy_e2e::{cache::Cache, privilege, progress::Progress, provision};

/// The test bed: two Kubernetes clusters, home and embassy, on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo e2e", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install and build what the test bed needs, into the cache. What is there already stays.
    Provision,
}

impl Cli {
    /// Does what was asked; returns the status to end with.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let cache = Cache::locate()?;
        let progress = Progress::new();
        match self.command {
            Command::Provision => {
                announce(&cache).await?;
                privilege::become_root(&cache)?;
                provision::Plan::make(&cache).await?.carry_out(&progress).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Says what will be done, before anything is; once, not again after sudo.
async fn announce(cache: &Cache) -> Result<()> {
    if privilege::caller().is_none() {
        say(&provision::Plan::make(cache).await?.describe());
    }
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "this is what the user of the command line sees"
)]
fn say(text: &str) {
    println!("{text}");
}

/// Prints an error with all its causes.
#[expect(
    clippy::print_stderr,
    reason = "this is what the user of the command line sees"
)]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

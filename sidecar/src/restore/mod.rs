//! One copy brought back into one empty database.

/// Command line of `dataembassy-sidecar restore`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs a restore from the command line.
#[expect(clippy::unused_async, reason = "the room is not furnished yet")]
pub async fn run(_arguments: Arguments) -> anyhow::Result<()> {
    anyhow::bail!("this build has no restore")
}

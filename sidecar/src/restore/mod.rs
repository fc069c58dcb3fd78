//! One copy brought back into one empty database.
//!
//! [`copy`] opens and checks what the store holds, [`preflight`] says what the target lacks before anything is written,
//! [`pg_restore`] makes definitions and constraints, [`load`] streams rows and large objects, [`comparison`] counts them
//! in the target. [`restoration`] holds the order, [`clean_up`] takes back what a rehearsal wrote, [`job`] is both as the operator asks for it. Nothing of the source's is run by `psql`, and no password reaches
//! another program.

mod arguments;
pub mod clean_up;
pub mod comparison;
pub mod copy;
mod error;
pub mod job;
pub mod load;
pub mod outcome;
pub mod pg_restore;
pub mod preflight;
pub mod progress;
pub mod restoration;
pub mod roles;
pub mod selection;
mod statistics;
pub mod target;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use copy::StoredCopy;
use dataembassy_contract::restore::IfNotEmpty;
use outcome::Outcome;
use progress::Progress;

pub use arguments::Arguments;
pub use error::RestoreError;
pub use restoration::{Clock, ReadCopy, restore, restore_read};

/// How long a session with the target may take to come about. One that does not ends the restore, and hours of work with it: so a server that has
/// much to do is waited for, as long as a way that is closed is still told within the minute.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How a copy is restored.
#[derive(Clone, Debug)]
pub struct Options {
    /// What becomes of what the database holds already.
    pub if_not_empty: IfNotEmpty,
    /// Restore owners, privileges, roles, settings and everything else that acts beyond rows.
    pub trusting: bool,
    /// Extensions that may be installed although the server does not let everybody do so.
    pub allowed_extensions: Vec<String>,
    /// Take a database that sorts text in another way.
    pub accept_collation: bool,
    /// Make the database like the source's where there is none of its name.
    pub create_database: bool,
    /// Sessions that load at once, 1 or more.
    pub jobs: usize,
    /// Directory for temporary files: the table of contents and a socket.
    pub scratch: PathBuf,
    /// The rehearsal that this is a part of: then the database keeps its mark, by which it is emptied afterwards, and gets no settings,
    /// privileges and comment of the source's database.
    pub rehearsal: Option<String>,
    /// Schemas of the copy that the target has already, for extensions that were installed into them: they are neither in the way nor made.
    pub prepared_schemas: Vec<String>,
}

/// Runs a restore from the command line.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let progress = Progress::default();
    let showing = progress.show();
    let done = tokio::select! {
        done = find_and_restore(&arguments, &progress) => done,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Err(anyhow::anyhow!("interrupted; a database that was begun stays marked as unfinished"))
        }
    };
    showing.abort();
    if let Some(path) = &arguments.result {
        let text = match &done {
            Ok(outcome) => serde_json::to_vec_pretty(&Reported::Restored(outcome))?,
            Err(error) => serde_json::to_vec_pretty(&Reported::Failed {
                error: format!("{error:#}"),
            })?,
        };
        std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    summarise(&done?);
    Ok(())
}

async fn find_and_restore(arguments: &Arguments, progress: &Progress) -> anyhow::Result<Outcome> {
    // Everything that can be wrong with the command line is found before anything is asked of anybody.
    let (options, target, identities) = (arguments.options(), arguments.target()?, arguments.identities()?);
    let (store, ledger) = (arguments.store()?, arguments.ledger());
    let copy = StoredCopy::open(store, &ledger, arguments.choice(), &identities).await?;
    Ok(restore(&Arc::new(copy), &target, &options, progress).await?)
}

/// The result file.
#[derive(serde::Serialize)]
#[serde(tag = "outcome")]
enum Reported<'a> {
    Restored(&'a Outcome),
    Failed { error: String },
}

#[expect(clippy::print_stdout, reason = "what a command line program was asked for")]
fn summarise(outcome: &Outcome) {
    let seconds: f64 = outcome.phases.iter().map(|phase| phase.seconds).sum();
    println!(
        "{} {} of {}: {} tables, {} rows, {} large objects restored into {} in {seconds:.1} s; all counts and digests are equal",
        outcome.registry,
        outcome.sequence,
        outcome.taken_at,
        outcome.tables.len(),
        outcome.rows,
        outcome.large_objects.objects,
        outcome.target.database
    );
    for entry in &outcome.tried_again {
        println!("failed beside others and succeeded alone: {entry}");
    }
    for left in &outcome.not_restored {
        println!("not restored: {} {} ({})", left.kind, left.name, left.reason);
    }
    for left in &outcome.not_carried {
        println!("not in the copy: {} {} ({})", left.kind, left.name, left.reason);
    }
    for note in &outcome.notes {
        println!("note: {note}");
    }
}

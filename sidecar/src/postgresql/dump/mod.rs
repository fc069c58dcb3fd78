//! The dump: one consistent image of one database as members of a copy.
//!
//! A leader exports a snapshot, `pg_dump` plans in it and leaves its locks behind, workers copy in it, and the leader
//! looks before and after whether anything was rewritten. What was is copied again in a new snapshot; every other way in
//! which that can go wrong ends the run. What has been sent until then is of no use without the inventory that only a
//! whole run returns.

mod catalog;
mod copying;
mod error;
mod held;
mod large_objects;
mod leader;
mod outlets;
mod plan_files;
mod probe;
mod roles;
mod rows;
mod run;
mod snapshot;
mod unit;
mod worker;

use std::{path::PathBuf, time::Duration};

use dataembassy_archive::{inventory, inventory::Line};
use dataembassy_ledger::Timestamp;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::Source;
pub use error::DumpError;
pub use leader::Facts;
pub use outlets::Outlets;
pub use probe::{Probe, probe};
pub use run::Sessions;
use snapshot::{Attempt, Snapshot};

/// How many snapshots are tried while tables are being rewritten: the first and three more.
const ATTEMPTS: u32 = 4;
/// Progress is told in steps of about this many bytes.
const PROGRESS_STEP: u64 = 1024 * 1024;
/// Connections beside the workers: the leader and the held session.
const OTHER_CONNECTIONS: u32 = 2;

/// How much a dump may ask of its source.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections at the same time, 3 to 64.
    pub max_connections: u32,
    /// How long the snapshot may be held.
    pub max_snapshot_age: Duration,
    /// How long another session may wait for a lock of ours.
    pub yield_to_ddl_after: Duration,
    /// How long the planner may wait for one lock.
    pub lock_wait: Duration,
    /// How long the planner may take.
    pub planning_limit: Duration,
    /// A table larger than twice this is read in ranges of about this many bytes.
    pub range_bytes: u64,
    /// Whether password verifiers of roles go into the inventory.
    pub include_password_verifiers: bool,
    /// Where the plan's files lie while a run lasts: about a kilobyte per table, and a file per large object until
    /// the plan is made.
    pub scratch: PathBuf,
}

impl Options {
    /// The defaults, with files in `scratch`.
    #[must_use]
    pub fn new(scratch: PathBuf) -> Self {
        Self {
            max_connections: 6,
            max_snapshot_age: Duration::from_hours(1),
            yield_to_ddl_after: Duration::from_secs(30),
            lock_wait: Duration::from_mins(2),
            planning_limit: Duration::from_mins(20),
            range_bytes: 32 * 1024 * 1024,
            include_password_verifiers: false,
            scratch,
        }
    }
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Phase {
    /// Connecting, or waiting for the first snapshot.
    #[default]
    Starting,
    /// `pg_dump` plans.
    Planning,
    /// Rows and large objects are read.
    Copying,
    /// Everything was read; the snapshot is looked at once more.
    Checking,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Bytes read so far, as text.
    pub bytes: u64,
    /// Bytes that tables and large objects have on the source's disk: an estimate of the text's size.
    pub bytes_expected: u64,
    /// Rows read of finished ranges.
    pub rows: u64,
    /// Tables finished.
    pub tables: u64,
    /// Tables in the plan.
    pub tables_expected: u64,
    /// Large objects finished.
    pub large_objects: u64,
    /// Large objects in the plan.
    pub large_objects_expected: u64,
}

/// What a whole run returns. The inventory's header needs only the registry and the copy's id in addition.
#[derive(Clone, Debug)]
pub struct Dumped {
    /// The moment of the snapshot, by the server's clock.
    pub taken_at: Timestamp,
    /// The server.
    pub server: inventory::Server,
    /// The database.
    pub database: inventory::Database,
    /// The planner.
    pub planner: inventory::Planner,
    /// All other lines of the inventory, without header and end.
    pub lines: Vec<Line>,
    /// What makes the copy suspicious: unknown warnings. They are in `lines` too.
    pub warnings: Vec<String>,
}

/// Which database a copy may be taken of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// `pg_control_system().system_identifier`: what tells the server from others.
    pub system_identifier: String,
    /// OID of the database: one that was re-created has another.
    pub database_oid: u32,
}

/// The dump of one database: the same however often its copy is begun anew.
pub struct Dump<'a> {
    source: &'a Source,
    options: &'a Options,
    identities: Vec<Identity>,
    snapshots: u32,
}

impl<'a> Dump<'a> {
    /// Of whatever database is found there.
    #[must_use]
    pub fn new(source: &'a Source, options: &'a Options) -> Self {
        Self {
            source,
            options,
            identities: Vec::new(),
            snapshots: 0,
        }
    }

    /// Of one of these databases only, if any is named: another ends the run before it is asked for anything else.
    #[must_use]
    pub fn expecting(mut self, identities: Vec<Identity>) -> Self {
        self.identities = identities;
        self
    }

    /// Takes one image of the database and sends it through `outlets`. Only when this returns is everything sent.
    ///
    /// Memory is bounded by the channels' capacity and a megabyte per connection, besides the plan, which grows with
    /// the number of tables and large objects. When one of the channels is closed the run ends with
    /// [`DumpError::ReceiverGone`].
    ///
    /// After [`DumpError::BegunAnew`] what was sent is of no use, and this may be called again with other channels:
    /// together the calls take no more than four snapshots.
    pub async fn run(
        &mut self,
        outlets: impl Into<Outlets>,
        progress: watch::Sender<Progress>,
        cancel: CancellationToken,
    ) -> Result<Dumped, DumpError> {
        // Boxed: it is large, and callers put it into futures of their own.
        let taking = Box::pin(self.take(outlets.into(), progress));
        cancel
            .run_until_cancelled(taking)
            .await
            .unwrap_or(Err(DumpError::Cancelled))
    }

    async fn take(
        &mut self,
        outlets: Outlets,
        progress: watch::Sender<Progress>,
    ) -> Result<Dumped, DumpError> {
        loop {
            self.snapshots += 1;
            progress.send_replace(Progress {
                phase: Phase::Planning,
                ..Progress::default()
            });
            let limit = self.options.max_snapshot_age;
            let attempted = timeout(limit, self.attempt(&outlets, &progress));
            let (tables, sent) = match attempted
                .await
                .unwrap_or(Err(DumpError::SnapshotTooOld { limit }))
            {
                Ok(Attempt::Taken(dumped)) => return Ok(*dumped),
                Ok(Attempt::Rewritten(tables)) => (tables, false),
                Err(DumpError::BegunAnew { tables }) => (tables, true),
                Err(error) => return Err(error),
            };
            if self.snapshots == ATTEMPTS {
                return Err(DumpError::SourceRewritten {
                    tables,
                    attempts: ATTEMPTS,
                });
            }
            if sent {
                return Err(DumpError::BegunAnew { tables });
            }
            tracing::warn!(
                ?tables,
                snapshot = self.snapshots,
                "tables were rewritten while the snapshot was taken; planning again"
            );
        }
    }

    async fn attempt(
        &self,
        outlets: &Outlets,
        progress: &watch::Sender<Progress>,
    ) -> Result<Attempt, DumpError> {
        let snapshot = Snapshot::begin(self, outlets, progress).await?;
        Box::pin(snapshot.take()).await
    }

    /// Whether this is a database that may be copied.
    fn judge(&self, facts: &Facts) -> Result<(), DumpError> {
        let expected = |identity: &Identity| {
            identity.system_identifier == facts.server.system_identifier
                && identity.database_oid == facts.database_oid
        };
        if self.identities.is_empty() || self.identities.iter().any(expected) {
            return Ok(());
        }
        Err(DumpError::SourceChanged {
            system_identifier: facts.server.system_identifier.clone(),
            database_oid: facts.database_oid,
        })
    }
}

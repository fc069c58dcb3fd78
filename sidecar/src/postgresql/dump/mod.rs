//! The dump: one consistent image of one database as members of a copy.
//!
//! A leader exports a snapshot, `pg_dump` plans in it and leaves its locks behind, workers copy in it, and the leader
//! looks before and after whether anything was rewritten. Every way in which that can go wrong ends the run; what has
//! been sent until then is of no use without the inventory that only a whole run returns.

mod catalog;
mod copying;
mod error;
mod held;
mod large_objects;
mod leader;
mod roles;
mod rows;
mod unit;
mod worker;

use std::{
    collections::{HashSet, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dataembassy_archive::{LargeObjectDigester, Member, inventory, inventory::Line};
use dataembassy_ledger::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Connection, ConnectionError, Source,
    planner::{self, Plan},
    session::{self, SessionError},
};
pub use error::DumpError;
pub use leader::Facts;
use leader::Leader;
use unit::{TableJob, Unit, Work};

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

/// What all sessions of a run share.
struct Run {
    source: Source,
    facts: Facts,
    snapshot: String,
    peer: std::net::SocketAddr,
    sessions: Arc<Sessions>,
    members: mpsc::Sender<Member>,
    progress: watch::Sender<Progress>,
    tables: Vec<TableJob>,
    large_objects: Vec<u32>,
    units: Mutex<VecDeque<Unit>>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    tables: Vec<inventory::Table>,
    objects: u64,
    object_bytes: u64,
    object_sum: u128,
}

/// The server processes that serve this run.
#[derive(Default)]
pub struct Sessions(Mutex<Vec<i32>>);

impl Sessions {
    /// Notes one.
    pub fn add(&self, process: i32) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(process);
    }

    fn list(&self) -> String {
        let processes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        processes.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Takes one image of the database and sends it through `members`. Only when this returns is everything sent.
///
/// Memory is bounded by the channel's capacity and a megabyte per connection, besides the plan, which grows with the
/// number of tables and large objects. When `members` is closed the run ends with [`DumpError::ReceiverGone`].
pub async fn run(
    source: &Source,
    options: &Options,
    members: mpsc::Sender<Member>,
    progress: watch::Sender<Progress>,
    cancel: CancellationToken,
) -> Result<Dumped, DumpError> {
    // Boxed: it is large, and callers put it into futures of their own.
    let taking = Box::pin(take(source, options, members, progress));
    cancel
        .run_until_cancelled(taking)
        .await
        .unwrap_or(Err(DumpError::Cancelled))
}

async fn take(
    source: &Source,
    options: &Options,
    members: mpsc::Sender<Member>,
    progress: watch::Sender<Progress>,
) -> Result<Dumped, DumpError> {
    for attempt in 1..=ATTEMPTS {
        progress.send_replace(Progress {
            phase: Phase::Planning,
            ..Progress::default()
        });
        let attempted = Box::pin(one_snapshot(source, options, &members, &progress));
        let too_old = || DumpError::SnapshotTooOld {
            limit: options.max_snapshot_age,
        };
        match timeout(options.max_snapshot_age, attempted)
            .await
            .unwrap_or_else(|_| Err(too_old()))?
        {
            Attempt::Taken(dumped) => return Ok(*dumped),
            Attempt::Rewritten(tables) if attempt == ATTEMPTS => {
                return Err(DumpError::SourceRewritten {
                    tables,
                    attempts: ATTEMPTS,
                });
            }
            Attempt::Rewritten(tables) => {
                tracing::warn!(
                    ?tables,
                    attempt,
                    "tables were rewritten while the snapshot was taken; planning again"
                );
            }
        }
    }
    Err(DumpError::SourceRewritten {
        tables: Vec::new(),
        attempts: ATTEMPTS,
    })
}

enum Attempt {
    Taken(Box<Dumped>),
    /// Nothing has been sent yet.
    Rewritten(Vec<String>),
}

async fn one_snapshot(
    source: &Source,
    options: &Options,
    members: &mpsc::Sender<Member>,
    progress: &watch::Sender<Progress>,
) -> Result<Attempt, DumpError> {
    let sessions = Arc::new(Sessions::default());
    let mut leader = Leader::begin(source, &sessions).await?;
    let plan = match plan(source, options, &mut leader, &sessions).await {
        Ok(plan) => plan,
        // A table that was replaced may also make the planner itself fail.
        Err(error @ DumpError::Planner(planner::PlannerError::Failed { .. })) => {
            let rewritten = leader.rewritten(None).await?;
            return if rewritten.is_empty() {
                Err(error)
            } else {
                Ok(Attempt::Rewritten(rewritten))
            };
        }
        Err(error) => return Err(error),
    };
    let planned: HashSet<u32> = plan.tables.iter().map(|table| table.oid).collect();
    let rewritten = leader.rewritten(Some(&planned)).await?;
    if !rewritten.is_empty() {
        return Ok(Attempt::Rewritten(rewritten));
    }
    let uncovered = leader.uncovered(&planned).await?;
    if !uncovered.is_empty() {
        return Err(DumpError::Inconsistent(format!(
            "the plan has no rows of {}",
            uncovered.join(", ")
        )));
    }
    copy(
        source, options, leader, plan, planned, sessions, members, progress,
    )
    .await
    .map(|dumped| Attempt::Taken(Box::new(dumped)))
}

/// Lets the planner work while the leader watches.
async fn plan(
    source: &Source,
    options: &Options,
    leader: &mut Leader,
    sessions: &Arc<Sessions>,
) -> Result<Plan, DumpError> {
    let facts = leader.facts.clone();
    let snapshot = leader.snapshot.clone();
    let request = planner::Request {
        source,
        server: &facts.server,
        peer: leader.connection.peer(),
        major: facts.major(),
        snapshot: &snapshot,
        text: &facts.text,
        directory: &options.scratch,
        limit: options.planning_limit,
        lock_wait: options.lock_wait,
        sessions,
    };
    let stop = CancellationToken::new();
    let planning = async {
        let planned = planner::plan(&request).await;
        stop.cancel();
        Ok(planned)
    };
    // The planner's own failure must not interrupt the leader in the middle of a question: it is asked again.
    let (planned, ()) = tokio::try_join!(
        planning,
        leader.watch(&stop, sessions, options.yield_to_ddl_after)
    )?;
    Ok(planned?)
}

#[expect(
    clippy::too_many_arguments,
    reason = "they come together here once, to be shared from then on"
)]
async fn copy(
    source: &Source,
    options: &Options,
    mut leader: Leader,
    plan: Plan,
    planned: HashSet<u32>,
    sessions: Arc<Sessions>,
    members: &mpsc::Sender<Member>,
    progress: &watch::Sender<Progress>,
) -> Result<Dumped, DumpError> {
    let facts = leader
        .table_facts(plan.tables.iter().map(|table| table.oid))
        .await?;
    let hidden: Vec<_> = facts
        .iter()
        .filter(|table| table.row_security)
        .map(|table| format!("{}.{}", table.schema, table.name))
        .collect();
    if !hidden.is_empty() {
        return Err(DumpError::RowSecurity { tables: hidden });
    }
    let catalog = catalog::read(&mut leader, options).await?;
    let plan_sent = catalog::send_plan(&plan, members).await?;
    roles::send(&catalog, members).await?;
    let mut lines = catalog::lines(&catalog, &plan, &leader.facts);
    let Plan {
        held,
        tables,
        large_objects,
        warnings,
        ..
    } = plan;
    let object_bytes = if large_objects.is_empty() {
        0
    } else {
        catalog.large_object_bytes
    };
    let Work { tables, units, bytes } = unit::cut_plan(
        tables,
        &facts,
        large_objects.len(),
        object_bytes,
        leader.facts.block_bytes,
    )?;
    progress.send_replace(Progress {
        phase: Phase::Copying,
        bytes_expected: bytes,
        tables_expected: tables.len() as u64,
        large_objects_expected: large_objects.len() as u64,
        ..Progress::default()
    });
    let run = Arc::new(Run {
        source: source.clone(),
        facts: leader.facts.clone(),
        snapshot: leader.snapshot.clone(),
        peer: leader.connection.peer(),
        sessions: sessions.clone(),
        members: members.clone(),
        progress: progress.clone(),
        tables,
        large_objects,
        units: Mutex::new(units),
        found: Mutex::new(Found::default()),
    });
    let stop = CancellationToken::new();
    let (ask, asked) = mpsc::channel(1);
    let workers = options.max_connections.saturating_sub(OTHER_CONNECTIONS).max(1);
    let working = async {
        work(&run, workers, ask).await?;
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(
        working,
        held::hold(held, asked, run.clone()),
        leader.watch(&stop, &sessions, options.yield_to_ddl_after)
    )?;
    run.progress(|progress| progress.phase = Phase::Checking);
    let rewritten = leader.rewritten(Some(&planned)).await?;
    if !rewritten.is_empty() {
        return Err(DumpError::SourceRewritten {
            tables: rewritten,
            attempts: 1,
        });
    }
    leader.end().await?;
    lines.extend(run.found_lines()?);
    Ok(Dumped {
        taken_at: leader.taken_at,
        server: catalog.server,
        database: catalog.database,
        planner: plan_sent,
        lines,
        warnings,
    })
}

async fn work(run: &Arc<Run>, workers: u32, ask: mpsc::Sender<held::Request>) -> Result<(), DumpError> {
    let mut tasks = JoinSet::new();
    let units = run.units.lock().unwrap_or_else(PoisonError::into_inner).len();
    for _ in 0..(workers as usize).min(units) {
        tasks.spawn(worker::work(run.clone(), ask.clone()));
    }
    drop(ask);
    // The first error drops the set, and with it every other worker.
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|_| DumpError::WorkerDied)??;
    }
    Ok(())
}

impl Run {
    /// A session on the right server with the right settings.
    async fn worker_session(&self) -> Result<Connection, SessionError> {
        let mut connection = Connection::open_at(&self.source, Some(self.peer)).await?;
        self.sessions.add(connection.process_id());
        session::expect_server(&mut connection, &self.facts.server).await?;
        session::settle(&mut connection, &self.facts.text).await?;
        Ok(connection)
    }

    /// Begins a transaction inside the snapshot.
    async fn begin(&self, connection: &mut Connection) -> Result<(), ConnectionError> {
        let snapshot = session::literal(&self.snapshot);
        connection
            .execute(format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT {snapshot}"
            ))
            .await
    }

    fn next_unit(&self) -> Option<Unit> {
        self.units
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    fn progress(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    fn table_done(&self, table: inventory::Table) {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tables
            .push(table);
        self.progress(|progress| progress.tables += 1);
    }

    fn large_objects_done(&self, digester: &LargeObjectDigester) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.objects += digester.objects();
        found.object_bytes += digester.bytes();
        found.object_sum = found.object_sum.wrapping_add(digester.sum().0);
    }

    /// What was read, as lines of the inventory; an error unless it is everything that was planned.
    fn found_lines(&self) -> Result<Vec<Line>, DumpError> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let (tables, objects) = (self.tables.len(), self.large_objects.len() as u64);
        if (found.tables.len(), found.objects) != (tables, objects) {
            return Err(DumpError::Inconsistent(format!(
                "{} of {tables} tables and {} of {objects} large objects were read",
                found.tables.len(),
                found.objects
            )));
        }
        let mut tables = std::mem::take(&mut found.tables);
        tables.sort_by_key(|table| table.dump_id);
        let mut lines: Vec<_> = tables
            .into_iter()
            .map(|table| Line::Table(Box::new(table)))
            .collect();
        if objects > 0 {
            lines.push(Line::LargeObjects(inventory::LargeObjects {
                objects,
                bytes: found.object_bytes,
                digest: dataembassy_archive::row_digest::HashSum(found.object_sum),
            }));
        }
        Ok(lines)
    }
}

//! One attempt: a snapshot, a plan in it, and a copy of everything that was planned.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use dataembassy_archive::inventory;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    Dump, DumpError, Dumped, OTHER_CONNECTIONS, Options, Outlets, Phase, Progress,
    catalog::{self, Catalog},
    held,
    leader::{Leader, TableFacts},
    plan_files, roles,
    run::{Found, Run, Sessions},
    unit::{self, Work},
    worker,
};
use crate::postgresql::{
    Source,
    planner::{self, Plan, PlanFiles, PlannerError},
};

/// How an attempt ended.
pub(super) enum Attempt {
    /// With a dump.
    Taken(Box<Dumped>),
    /// Before anything was sent, because these tables were being rewritten.
    Rewritten(Vec<String>),
}

/// An attempt and what it needs.
pub(super) struct Snapshot<'a> {
    source: &'a Source,
    options: &'a Options,
    outlets: &'a Outlets,
    progress: &'a watch::Sender<Progress>,
    sessions: Arc<Sessions>,
    leader: Leader,
}

impl<'a> Snapshot<'a> {
    /// Exports a snapshot of a database that may be copied.
    pub(super) async fn begin(
        dump: &Dump<'a>,
        outlets: &'a Outlets,
        progress: &'a watch::Sender<Progress>,
    ) -> Result<Self, DumpError> {
        let sessions = Arc::new(Sessions::default());
        let leader = Leader::begin(dump.source, &sessions, |facts| dump.judge(facts)).await?;
        Ok(Self {
            source: dump.source,
            options: dump.options,
            outlets,
            progress,
            sessions,
            leader,
        })
    }

    /// Plans and copies.
    pub(super) async fn take(mut self) -> Result<Attempt, DumpError> {
        let plan = match self.plan().await {
            Ok(plan) => plan,
            // A table that was replaced may also make the planner itself fail.
            Err(error @ DumpError::Planner(PlannerError::Failed { .. })) => {
                let rewritten = self.leader.rewritten(None).await?;
                return if rewritten.is_empty() {
                    Err(error)
                } else {
                    Ok(Attempt::Rewritten(rewritten))
                };
            }
            Err(error) => return Err(error),
        };
        // From here on the plan's session holds a lock on every table: nothing can be rewritten that was not already.
        let planned: HashSet<u32> = plan.tables.iter().map(|table| table.oid).collect();
        let rewritten = self.leader.rewritten(Some(&planned)).await?;
        if !rewritten.is_empty() {
            return Ok(Attempt::Rewritten(rewritten));
        }
        let uncovered = self.leader.uncovered(&planned).await?;
        if !uncovered.is_empty() {
            return Err(DumpError::Inconsistent(format!(
                "the plan has no rows of {}",
                uncovered.join(", ")
            )));
        }
        let dumped = Box::pin(self.copy(plan, &planned)).await?;
        Ok(Attempt::Taken(Box::new(dumped)))
    }

    /// Lets the planner work while the leader watches.
    async fn plan(&mut self) -> Result<Plan, DumpError> {
        let facts = self.leader.facts.clone();
        let snapshot = self.leader.snapshot.clone();
        let request = planner::Request {
            source: self.source,
            server: &facts.server,
            peer: self.leader.connection.peer(),
            major: facts.major(),
            snapshot: &snapshot,
            text: &facts.text,
            directory: &self.options.scratch,
            limit: self.options.planning_limit,
            lock_wait: self.options.lock_wait,
            sessions: &self.sessions,
        };
        let stop = CancellationToken::new();
        let planning = async {
            let planned = planner::plan(&request).await;
            stop.cancel();
            Ok(planned)
        };
        // The planner's own failure must not cut the leader off in the middle of a question: it is asked again.
        let watching = self
            .leader
            .watch(&stop, &self.sessions, self.options.yield_to_ddl_after);
        let (planned, ()) = tokio::try_join!(planning, watching)?;
        Ok(planned?)
    }

    async fn copy(mut self, plan: Plan, planned: &HashSet<u32>) -> Result<Dumped, DumpError> {
        let facts = self
            .leader
            .table_facts(plan.tables.iter().map(|table| table.oid))
            .await?;
        refuse_hidden_rows(&facts)?;
        let catalog = catalog::read(&mut self.leader, self.options).await?;
        let mut lines = catalog::lines(&catalog, &plan, &self.leader.facts);
        let Plan {
            held,
            toc,
            tables,
            large_objects,
            files,
            warnings,
        } = plan;
        let header = (toc.program_version.clone(), toc.entries.len());
        drop(toc);

        let objects = large_objects.len();
        let object_bytes = if objects == 0 {
            0
        } else {
            catalog.large_object_bytes
        };
        let range_bytes = self.options.range_bytes;
        let work = unit::cut_plan(
            tables,
            &facts,
            (objects, object_bytes),
            self.leader.facts.block_bytes,
            range_bytes,
        )?;
        drop(facts);
        let run = self.share(work, large_objects);

        let stop = CancellationToken::new();
        let (ask, asked) = mpsc::channel(1);
        let working = async {
            let sent = send_plan(files, header, &catalog, self.outlets).await?;
            work_off(&run, self.options, ask).await?;
            stop.cancel();
            Ok(sent)
        };
        let (plan_sent, held, ()) = tokio::try_join!(
            working,
            held::hold(held, asked, run.clone()),
            self.leader
                .watch(&stop, &self.sessions, self.options.yield_to_ddl_after)
        )?;

        run.progress(|progress| progress.phase = Phase::Checking);
        // The locks are still held, but an extension's configuration tables are among those that the planner locks not.
        let rewritten = self.leader.rewritten(Some(planned)).await?;
        if !rewritten.is_empty() {
            return Err(DumpError::BegunAnew { tables: rewritten });
        }
        held::release(held).await?;
        self.leader.end().await?;
        lines.extend(run.found_lines()?);
        let Catalog { server, database, .. } = catalog;
        Ok(Dumped {
            taken_at: self.leader.taken_at,
            server,
            database,
            planner: plan_sent,
            lines,
            warnings,
        })
    }

    fn share(&self, work: Work, large_objects: Vec<u32>) -> Arc<Run> {
        let Work { tables, units, bytes } = work;
        self.progress.send_replace(Progress {
            phase: Phase::Copying,
            bytes_expected: bytes,
            tables_expected: tables.len() as u64,
            large_objects_expected: large_objects.len() as u64,
            ..Progress::default()
        });
        Arc::new(Run {
            source: self.source.clone(),
            facts: self.leader.facts.clone(),
            snapshot: self.leader.snapshot.clone(),
            peer: self.leader.connection.peer(),
            sessions: self.sessions.clone(),
            outlets: self.outlets.of(bytes),
            progress: self.progress.clone(),
            tables,
            large_objects,
            units: Mutex::new(units),
            found: Mutex::new(Found::default()),
        })
    }
}

/// Half a table without an error is what row security would give us.
fn refuse_hidden_rows(facts: &[TableFacts]) -> Result<(), DumpError> {
    let hidden = facts.iter().filter(|table| table.row_security);
    let tables: Vec<_> = hidden
        .map(|table| format!("{}.{}", table.schema, table.name))
        .collect();
    if tables.is_empty() {
        Ok(())
    } else {
        Err(DumpError::RowSecurity { tables })
    }
}

async fn send_plan(
    files: PlanFiles,
    header: (String, usize),
    catalog: &Catalog,
    outlets: &Outlets,
) -> Result<inventory::Planner, DumpError> {
    let outlet = outlets.outlet();
    let sent = plan_files::send_all(&files, header, &outlet).await?;
    roles::send(catalog, &outlet).await?;
    Ok(sent)
}

/// Runs the workers until there is no work left.
async fn work_off(
    run: &Arc<Run>,
    options: &Options,
    ask: mpsc::Sender<held::Request>,
) -> Result<(), DumpError> {
    let most = options.max_connections.saturating_sub(OTHER_CONNECTIONS).max(1) as usize;
    let units = run.units.lock().unwrap_or_else(PoisonError::into_inner).len();
    let mut tasks = JoinSet::new();
    for _ in 0..most.min(units) {
        tasks.spawn(worker::work(run.clone(), ask.clone()));
    }
    drop(ask);
    // The first error drops the set, and with it every other worker.
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|_| DumpError::WorkerDied)??;
    }
    Ok(())
}

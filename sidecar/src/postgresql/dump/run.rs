//! What all sessions of a run share.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use dataembassy_archive::{LargeObjectDigester, inventory, inventory::Line, row_digest::HashSum};
use tokio::sync::watch;

use super::{
    DumpError, Facts, Outlets, Progress,
    unit::{TableJob, Unit},
};
use crate::postgresql::{
    Connection, Source,
    connection::Peer,
    session::{self, Awaits, SessionError},
};

/// What all sessions of a run share.
pub(super) struct Run {
    pub(super) source: Source,
    pub(super) facts: Facts,
    pub(super) snapshot: String,
    pub(super) peer: Peer,
    pub(super) sessions: Arc<Sessions>,
    pub(super) outlets: Outlets,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) tables: Vec<TableJob>,
    pub(super) large_objects: Vec<u32>,
    pub(super) units: Mutex<VecDeque<Unit>>,
    pub(super) found: Mutex<Found>,
}

#[derive(Default)]
pub(super) struct Found {
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

    pub(super) fn list(&self) -> String {
        let processes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        processes.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Run {
    /// A session on the right server with the right settings.
    pub(super) async fn worker_session(&self) -> Result<Connection, SessionError> {
        let mut connection = Connection::open_at(&self.source, Some(self.peer)).await?;
        self.sessions.add(connection.process_id());
        connection
            .execute("SET application_name = 'dataembassy copy'")
            .await?;
        session::expect_server(&mut connection, &self.facts.server).await?;
        session::settle(&mut connection, &self.facts.text).await?;
        session::wait_for(&mut connection, Awaits::Store).await?;
        Ok(connection)
    }

    /// Begins a transaction inside the snapshot.
    pub(super) async fn begin(&self, connection: &mut Connection) -> Result<(), DumpError> {
        let snapshot = session::literal(&self.snapshot);
        let statement =
            format!("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT {snapshot}");
        match connection.execute(statement).await {
            // A snapshot can be imported only while the session that exported it is in its transaction. The first code is of
            // PostgreSQL 17 and newer, the second of older ones; the third comes when it ends at that moment.
            Err(error) if ["42704", "22023", "55000"].iter().any(|code| error.is(code)) => {
                Err(DumpError::HolderLost {
                    what: "snapshot",
                    error,
                })
            }
            begun => Ok(begun?),
        }
    }

    pub(super) fn next_unit(&self) -> Option<Unit> {
        self.units
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    pub(super) fn progress(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    pub(super) fn table_done(&self, table: inventory::Table) {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tables
            .push(table);
        self.progress(|progress| progress.tables += 1);
    }

    pub(super) fn large_objects_done(&self, digester: &LargeObjectDigester) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.objects += digester.objects();
        found.object_bytes += digester.bytes();
        found.object_sum = found.object_sum.wrapping_add(digester.sum().0);
    }

    /// What was read, as lines of the inventory; an error unless it is everything that was planned.
    pub(super) fn found_lines(&self) -> Result<Vec<Line>, DumpError> {
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
                digest: HashSum(found.object_sum),
            }));
        }
        Ok(lines)
    }
}

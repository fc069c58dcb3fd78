//! A worker: takes units until there are none, each in a short transaction of its own inside the snapshot.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{DumpError, copying, error::LOCK_NOT_AVAILABLE, held, large_objects, run::Run, unit::Unit};
use crate::postgresql::{Connection, connection::CancelOnDrop, planner::qualified};

/// Works until the queue is empty.
pub(super) async fn work(run: Arc<Run>, held: mpsc::Sender<held::Request>) -> Result<(), DumpError> {
    let mut connection = run.worker_session().await?;
    let guard = CancelOnDrop::new(&run.source, connection.cancel_key());
    while let Some(unit) = run.next_unit() {
        match unit {
            Unit::Range { table, range } => one(&mut connection, &run, &held, table, Some(range)).await?,
            Unit::Pack { tables } => pack(&mut connection, &run, &held, &tables).await?,
            Unit::LargeObjects { first, end } => {
                run.begin(&mut connection).await?;
                large_objects::copy(&mut connection, &run, first, end).await?;
                connection.execute("COMMIT").await?;
            }
        }
    }
    guard.disarm();
    connection.close().await;
    Ok(())
}

/// Copies several tables in one transaction; one by one where their locks cannot be had together.
async fn pack(
    connection: &mut Connection,
    run: &Run,
    held: &mpsc::Sender<held::Request>,
    tables: &[usize],
) -> Result<(), DumpError> {
    if let [table] = tables {
        return one(connection, run, held, *table, None).await;
    }
    if !lock(connection, run, tables).await? {
        for table in tables {
            one(connection, run, held, *table, None).await?;
        }
        return Ok(());
    }
    for table in tables {
        copying::copy_piece(connection, run, *table, None).await?;
    }
    Ok(connection.execute("COMMIT").await?)
}

async fn one(
    connection: &mut Connection,
    run: &Run,
    held: &mpsc::Sender<held::Request>,
    table: usize,
    range: Option<usize>,
) -> Result<(), DumpError> {
    if lock(connection, run, &[table]).await? {
        copying::copy_piece(connection, run, table, range).await?;
        return Ok(connection.execute("COMMIT").await?);
    }
    let (done, finished) = oneshot::channel();
    if held.send(held::Request { table, range, done }).await.is_ok() && finished.await.is_ok() {
        return Ok(());
    }
    // The held session is gone. Its own error, which ends the run and this worker with it, says why.
    std::future::pending().await
}

/// Begins a transaction in the snapshot with locks on these tables; false where DDL is queued for one of them.
async fn lock(connection: &mut Connection, run: &Run, tables: &[usize]) -> Result<bool, DumpError> {
    run.begin(connection).await?;
    let mut statement = b"LOCK TABLE ".to_vec();
    for (position, table) in tables.iter().enumerate() {
        let planned = &run.tables[*table].planned;
        statement.extend_from_slice(if position == 0 { b"ONLY " } else { b", ONLY " });
        statement.extend_from_slice(&qualified(&planned.schema, &planned.name));
    }
    statement.extend_from_slice(b" IN ACCESS SHARE MODE NOWAIT");
    match connection.execute(statement).await {
        Ok(()) => Ok(true),
        // Where one of several names leads nowhere, they are tried one by one, to say which.
        Err(error)
            if error.is(LOCK_NOT_AVAILABLE)
                || (tables.len() > 1 && (error.is("42P01") || error.is("3F000"))) =>
        {
            connection.execute("ROLLBACK").await?;
            Ok(false)
        }
        Err(error) => Err(copying::failed(&run.tables[tables[0]], error)),
    }
}

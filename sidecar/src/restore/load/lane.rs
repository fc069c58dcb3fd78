//! A session that loads: one COPY after the other, each digested on its way.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::Bytes;
use dataembassy_archive::{FileName, RowDigest, RowDigester};
use tokio::sync::mpsc;

use super::{LoadError, Sessions};
use crate::{
    postgresql::{
        Connection,
        session::{self, SessionError},
    },
    restore::progress::Counters,
};

/// Members that wait for a session.
const WAITING: usize = 2;
/// What only loading asks for. A document may be a piece of one. What a crash loses of the rows is restored again, and
/// later phases wait for the disk.
const SETTINGS: &str = "SET xmloption = content; SET synchronous_commit = off; \
    SET default_transaction_read_only = off; SET check_function_bodies = off";

pub(super) enum Work {
    Begin {
        file: FileName,
        table: String,
        statement: Bytes,
    },
    Rows(Bytes),
    End,
}

/// Rows that the server has loaded.
pub(super) struct Piece {
    pub(super) file: FileName,
    pub(super) digest: RowDigest,
}

/// A session with the same settings as those of the dump.
pub async fn open(sessions: &Sessions) -> Result<Connection, LoadError> {
    let mut connection = Connection::open(&sessions.target)
        .await
        .map_err(SessionError::from)?;
    session::settle(&mut connection, &sessions.text).await?;
    connection.execute(SETTINGS).await.map_err(SessionError::from)?;
    Ok(connection)
}

pub(super) fn channel() -> (mpsc::Sender<Work>, mpsc::Receiver<Work>) {
    mpsc::channel(WAITING)
}

pub(super) async fn run(
    sessions: Arc<Sessions>,
    mut work: mpsc::Receiver<Work>,
    done: mpsc::UnboundedSender<Piece>,
    counters: Arc<Counters>,
) -> Result<(), LoadError> {
    let mut connection = open(&sessions).await?;
    while let Some(next) = work.recv().await {
        let Work::Begin {
            file,
            table,
            statement,
        } = next
        else {
            return Err(LoadError::Interrupted);
        };
        let copied = copy(&mut connection, &mut work, &table, &statement, &counters).await?;
        let Some(digest) = copied else {
            // The one who gives the work has failed; it says why.
            return Ok(());
        };
        if done.send(Piece { file, digest }).is_err() {
            return Ok(());
        }
    }
    connection.close().await;
    Ok(())
}

async fn copy(
    connection: &mut Connection,
    work: &mut mpsc::Receiver<Work>,
    table: &str,
    statement: &[u8],
    counters: &Counters,
) -> Result<Option<RowDigest>, LoadError> {
    let refused = |source| LoadError::RowsRefused {
        table: table.to_owned(),
        source,
    };
    let wrong = |why: String| LoadError::WrongRows {
        table: table.to_owned(),
        why,
    };
    let mut copy = connection.copy_in(statement).await.map_err(refused)?;
    let mut digester = RowDigester::new();
    loop {
        match work.recv().await {
            Some(Work::Rows(rows)) => {
                digester.update(&rows);
                // The server would stop here without an error.
                if digester.saw_end_of_data_line() {
                    return Err(wrong("an end-of-data line stands in the middle".into()));
                }
                copy.send(&rows).await.map_err(refused)?;
                counters.bytes.fetch_add(rows.len() as u64, Relaxed);
            }
            Some(Work::End) => break,
            Some(Work::Begin { .. }) | None => return Ok(None),
        }
    }
    let loaded = copy.finish().await.map_err(refused)?;
    let digest = digester.finish().map_err(|error| wrong(error.to_string()))?;
    if loaded != digest.rows {
        return Err(wrong(format!(
            "the server loaded {loaded} of {} rows",
            digest.rows
        )));
    }
    counters.rows.fetch_add(loaded, Relaxed);
    Ok(Some(digest))
}

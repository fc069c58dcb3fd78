//! Somebody who looks at the cell while a copy is in it: whether it is there, and how much it takes.

use std::time::Duration;

use dataembassy_contract::Reason;
use tokio_util::sync::CancellationToken;

use super::{Cell, MAINTENANCE, Prepared};
use crate::drill::failure::Failure;
use crate::postgresql::{Connection, ConnectionError, session::literal};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Watches over the cell, from a database that holds nothing of the copy, as a role that may look and nothing else.
pub(in crate::drill) struct Guard {
    connection: Connection,
    question: String,
    limit: u64,
}

impl Guard {
    /// Begins to watch over a cell whose volume has so many bytes. An eighth is left to what the server has besides, and to what grows between
    /// two looks: a kubelet would remove the pod, and the result with it.
    pub(in crate::drill) async fn open(
        cell: &Cell,
        prepared: &Prepared,
        volume: u64,
    ) -> Result<Self, Failure> {
        let way = cell.source(&prepared.guard, MAINTENANCE);
        // What is being written counts as well: tables of a transaction that is open, its log, what is sorted.
        let question = format!(
            "SELECT pg_catalog.pg_database_size({}) \
             + coalesce((SELECT pg_catalog.sum(size) FROM pg_catalog.pg_ls_waldir()), 0)::pg_catalog.int8 \
             + coalesce((SELECT pg_catalog.sum(size) FROM pg_catalog.pg_ls_tmpdir()), 0)::pg_catalog.int8",
            literal(&prepared.database)
        );
        Ok(Self {
            connection: Connection::open(&way).await?,
            question,
            limit: volume - volume / 8,
        })
    }

    /// Watches until the cell is full or lost. When the drill is over it looks once more, a moment later, and says whether there was anything
    /// wrong with the cell itself: a server that has lost one session ends all of them, and may then come up again as if nothing had been.
    pub(in crate::drill) async fn watch(mut self, over: CancellationToken) -> Option<Failure> {
        loop {
            let is_last = over.is_cancelled();
            if is_last {
                tokio::time::sleep(PERIOD).await;
            }
            match measure(&mut self.connection, &self.question).await {
                Ok(bytes) if bytes > self.limit => return Some(full(bytes, self.limit)),
                Ok(_) => {}
                // A file that went while it was measured; the next look sees another.
                Err(error) if error.is("58P01") => {}
                Err(error) => return Some(lost(&error)),
            }
            if is_last {
                return None;
            }
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = over.cancelled() => {}
            }
        }
    }
}

async fn measure(connection: &mut Connection, question: &str) -> Result<u64, ConnectionError> {
    let rows = connection.query(question).await?;
    let row = rows.first();
    row.ok_or_else(|| ConnectionError::Protocol("a size without a row".into()))?
        .value(0)
}

fn full(bytes: u64, limit: u64) -> Failure {
    let words = format!(
        "the throw-away database takes {bytes} bytes, and may take {limit}: raise spec.server.volumeSize, or find out what in the copy grows"
    );
    Failure::inconclusive(Reason::CellFull, &words)
}

fn lost(error: &ConnectionError) -> Failure {
    let words = format!(
        "the throw-away server ended before its time ({error}): its container `database` says why in its log; often its memory was not enough"
    );
    Failure::inconclusive(Reason::CellLost, &words)
}

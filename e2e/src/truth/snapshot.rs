//! The snapshot of somebody else's transaction, held for as long as the truth takes.
//!
//! A dump's leader exports its snapshot, and says its id only to its own workers. The server keeps every
//! exported snapshot as a file whose name begins with the exporter's virtual transaction id; a superuser may
//! list those files, and `pg_locks` tells which process has that id. So a session of our own finds the
//! leader's snapshot and imports it while the leader is still there; from then on it holds the same moment,
//! however long it takes.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio_postgres::Client;

use super::Truth;
use crate::patience::Patience;

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Exported snapshots of this database's transactions, the newest first. The id's three parts are written in
/// upper-case hexadecimal, eight digits, as PostgreSQL names the file. The three views are read one after the other:
/// whose transaction ended meanwhile has no beginning any more.
const EXPORTED: &str = "
    SELECT f.name, a.pid,
           pg_catalog.to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')
      FROM pg_catalog.pg_ls_dir('pg_snapshots') AS f (name)
      JOIN pg_catalog.pg_locks l ON l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted
       AND f.name LIKE pg_catalog.upper(pg_catalog.lpad(pg_catalog.to_hex(pg_catalog.split_part(l.virtualxid, '/', 1)::bigint), 8, '0')
                       || '-' || pg_catalog.lpad(pg_catalog.to_hex(pg_catalog.split_part(l.virtualxid, '/', 2)::bigint), 8, '0')) || '-%'
      JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid AND a.datname = pg_catalog.current_database()
     WHERE a.application_name <> 'truth' AND a.usename = $1 AND a.xact_start IS NOT NULL
     ORDER BY a.xact_start DESC";

/// A session in the leader's snapshot.
#[derive(Debug)]
pub struct Held {
    client: Client,
    /// When the leader's transaction began, in UTC with microseconds: what the copy calls `takenAt` is this,
    /// to the millisecond.
    pub taken_at: String,
    /// The id under which this session exports the same snapshot again, for `pg_dump --snapshot`.
    pub id: String,
    /// The leader's process.
    pub leader: i32,
}

impl Held {
    /// The truth at the snapshot. May be asked for more than once.
    pub async fn truth(&self) -> anyhow::Result<Truth> {
        Truth::of(&self.client).await
    }
}

/// Waits until a session of the role `user` exports a snapshot in the database that `client` (a superuser's
/// session) is connected to, and takes part in it. `but_not` are leaders already known, so that a run's next
/// snapshot can be waited for. Fails when `patience` is over.
///
/// A run that plans again makes a new snapshot: take part in each, and choose by `taken_at`.
pub async fn at_snapshot_of(
    client: Client,
    user: &str,
    but_not: &[&Held],
    patience: Duration,
) -> anyhow::Result<Held> {
    // Held snapshots are exported as well, and must not be taken for a leader's.
    client.batch_execute("SET application_name = 'truth'").await?;
    let mut waited = Patience::of(patience);
    loop {
        let exported = client
            .query(EXPORTED, &[&user])
            .await
            .context("exported snapshots cannot be listed")?;
        for row in exported {
            let (file, leader): (String, i32) = (row.get(0), row.get(1));
            let taken_at: String = row.get(2);
            if but_not
                .iter()
                .any(|held| held.leader == leader && held.taken_at == taken_at)
            {
                continue;
            }
            if let Some(id) = import(&client, &file).await? {
                return Ok(Held {
                    client,
                    taken_at,
                    id,
                    leader,
                });
            }
        }
        if waited.left().is_zero() {
            bail!("no session of {user} exported a snapshot within {patience:?}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Imports a snapshot and exports it again; nothing if its transaction has just ended.
async fn import(client: &Client, file: &str) -> anyhow::Result<Option<String>> {
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let quoted = file.replace('\'', "''");
    if client
        .batch_execute(&format!("SET TRANSACTION SNAPSHOT '{quoted}'"))
        .await
        .is_err()
    {
        client.batch_execute("ROLLBACK").await?;
        return Ok(None);
    }
    let id = client
        .query_one("SELECT pg_catalog.pg_export_snapshot()", &[])
        .await?
        .get(0);
    Ok(Some(id))
}

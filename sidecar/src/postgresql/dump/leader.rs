//! The leader: the session whose exported snapshot the whole copy is taken in.
//!
//! It asks what only a session inside the snapshot can know, and it watches: that it is still there, that nobody waits
//! for our locks, that the snapshot does not grow too old.

use std::{collections::HashSet, fmt::Write as _, sync::Arc, time::Duration};

use dataembassy_ledger::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{DumpError, Sessions};
use crate::postgresql::{
    Connection, ConnectionError, Source,
    session::{self, ServerIdentity, TextSettings},
};

/// How often the leader looks around; also its heartbeat.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
pub(super) const OLDEST_MAJOR: u32 = 14;

/// What the leader learned at the start.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Which server this is.
    pub server: ServerIdentity,
    /// Its version as one number, such as 170012.
    pub version_number: u32,
    /// Its version as text, such as `17.12`.
    pub version: String,
    /// OID of the database.
    pub database_oid: u32,
    /// Settings that decide how values are written.
    pub text: TextSettings,
    /// Bytes of a heap page.
    pub block_bytes: u64,
    /// Whether the server is a standby.
    pub standby: bool,
    /// Whether a standby tells its primary about our snapshot.
    pub standby_feedback: bool,
}

impl Facts {
    /// The major version.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.version_number / 10_000
    }
}

/// The session that holds the snapshot.
pub(super) struct Leader {
    pub(super) connection: Connection,
    pub(super) facts: Facts,
    pub(super) snapshot: String,
    pub(super) taken_at: Timestamp,
}

/// What is known of a table's size and protection, within the snapshot.
#[derive(Clone, Debug)]
pub(super) struct TableFacts {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// Whether it is an ordinary table in the heap, which can be cut by pages.
    pub(super) heap: bool,
    pub(super) pages: u64,
    /// Bytes with its out-of-line values.
    pub(super) bytes: u64,
    pub(super) row_security: bool,
}

impl Leader {
    /// Connects, learns the facts, lets `judge` look at them and exports a snapshot.
    pub(super) async fn begin(
        source: &Source,
        sessions: &Arc<Sessions>,
        judge: impl FnOnce(&Facts) -> Result<(), DumpError>,
    ) -> Result<Self, DumpError> {
        let mut connection = Connection::open(source).await?;
        sessions.add(connection.process_id());
        connection
            .execute("SET application_name = 'dataembassy snapshot'")
            .await?;
        let facts = learn(&mut connection).await?;
        if facts.major() < OLDEST_MAJOR {
            return Err(DumpError::VersionTooOld { major: facts.major() });
        }
        judge(&facts)?;
        // The leader reads names to show and to record: those are UTF-8 whatever the archive's encoding is.
        let text = TextSettings {
            client_encoding: "UTF8".into(),
            ..facts.text.clone()
        };
        session::settle(&mut connection, &text).await?;
        connection
            .execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .await?;
        let rows = connection
            .query(
                "SELECT pg_catalog.pg_export_snapshot(), \
                 (extract(epoch FROM pg_catalog.transaction_timestamp()) * 1000)::pg_catalog.int8",
            )
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| ConnectionError::Protocol("no snapshot was exported".into()))?;
        let taken_at = Timestamp::from_millisecond(row.value(1)?)
            .map_err(|error| DumpError::Inconsistent(format!("the server's clock: {error}")))?;
        Ok(Self {
            snapshot: row.text(0)?.to_owned(),
            connection,
            facts,
            taken_at,
        })
    }

    /// Tables whose files or names are no longer those that the snapshot knows: truncated, rewritten, renamed or swapped since, by a transaction
    /// that was open at the snapshot or by one that needs no lock of theirs, as for the name of their schema. They would dump as empty, or as
    /// another table, without an error: tables are copied by name.
    pub(super) async fn rewritten(
        &mut self,
        planned: Option<&HashSet<u32>>,
    ) -> Result<Vec<String>, ConnectionError> {
        let mut rows = self
            .connection
            .rows(
                "SELECT c.oid, n.nspname || '.' || c.relname FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.relfilenode <> 0 \
                 AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' \
                 AND (c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid) \
                 OR c.oid::pg_catalog.regclass::pg_catalog.text \
                 IS DISTINCT FROM pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname))",
                64 * 1024,
            )
            .await?;
        let mut tables = Vec::new();
        while let Some(row) = rows.next().await? {
            let oid: u32 = row.value(0)?;
            if planned.is_none_or(|planned| planned.contains(&oid)) {
                tables.push(lossy(row.bytes(1)));
            }
        }
        Ok(tables)
    }

    /// Tables whose rows belong into a dump and that the plan does not have.
    pub(super) async fn uncovered(&mut self, planned: &HashSet<u32>) -> Result<Vec<String>, ConnectionError> {
        // A standby has no rows of unlogged tables, and pg_dump leaves them out there. An extension's own tables come
        // with it; those it registers as configuration are in the plan by their own right.
        let unlogged = if self.facts.standby { "" } else { ", 'u'" };
        let query = format!(
            "SELECT c.oid, n.nspname || '.' || c.relname FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind = 'r' AND c.relpersistence IN ('p'{unlogged}) \
             AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' AND d.objid = c.oid \
             AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)"
        );
        let mut rows = self.connection.rows(query, 64 * 1024).await?;
        let mut tables = Vec::new();
        while let Some(row) = rows.next().await? {
            if !planned.contains(&row.value(0)?) {
                tables.push(lossy(row.bytes(1)));
            }
        }
        Ok(tables)
    }

    /// Sizes and protection of these tables. Taken after they are locked: what comes later is invisible to us.
    pub(super) async fn table_facts(
        &mut self,
        oids: impl Iterator<Item = u32>,
    ) -> Result<Vec<TableFacts>, ConnectionError> {
        let mut array = String::new();
        for oid in oids {
            let _ = write!(array, "{}{oid}", if array.is_empty() { "" } else { "," });
        }
        let query = format!(
            "SELECT c.oid, n.nspname, c.relname, c.relkind = 'r' AND a.amname = 'heap', \
             coalesce(pg_catalog.pg_relation_size(c.oid), 0) / {block}, coalesce(pg_catalog.pg_table_size(c.oid), 0), \
             c.relrowsecurity AND pg_catalog.row_security_active(c.oid) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam \
             WHERE c.oid = ANY ('{{{array}}}'::pg_catalog.oid[])",
            block = self.facts.block_bytes
        );
        let mut rows = self.connection.rows(query, 64 * 1024).await?;
        let mut facts = Vec::new();
        while let Some(row) = rows.next().await? {
            facts.push(TableFacts {
                oid: row.value(0)?,
                schema: lossy(row.bytes(1)),
                name: lossy(row.bytes(2)),
                heap: row.flag(3)?,
                pages: row.value(4)?,
                bytes: row.value(5)?,
                row_security: row.flag(6)?,
            });
        }
        Ok(facts)
    }

    /// Watches until told to stop. Any loss of the session is an error at once.
    pub(super) async fn watch(
        &mut self,
        stop: &CancellationToken,
        sessions: &Sessions,
        yield_after: Duration,
    ) -> Result<(), DumpError> {
        let mut ticks = interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                error = self.connection.closed() => return Err(lost(error)),
                _ = ticks.tick() => self.look_for_waiters(sessions, yield_after).await?,
            }
        }
    }

    async fn look_for_waiters(
        &mut self,
        sessions: &Sessions,
        yield_after: Duration,
    ) -> Result<(), DumpError> {
        let ours = sessions.list();
        // The list of blockers is computed only for sessions that wait too long already: it is not free.
        let query = format!(
            "WITH waiting AS MATERIALIZED (SELECT pid, extract(epoch FROM pg_catalog.clock_timestamp() - waitstart)::pg_catalog.int8 AS seconds \
             FROM pg_catalog.pg_locks WHERE NOT granted AND waitstart < pg_catalog.clock_timestamp() - interval '{} milliseconds' \
             AND pid <> ALL ('{{{ours}}}'::pg_catalog.int4[])) \
             SELECT pid, seconds FROM waiting WHERE pg_catalog.pg_blocking_pids(pid) && '{{{ours}}}'::pg_catalog.int4[] LIMIT 1",
            yield_after.as_millis()
        );
        let rows = self.connection.query(query).await.map_err(lost)?;
        match rows.first() {
            None => Ok(()),
            Some(row) => Err(DumpError::YieldedToDdl {
                process: row.value(0)?,
                seconds: row.value(1)?,
            }),
        }
    }

    /// Ends the transaction: that it can be ended proves that it was there all the time.
    pub(super) async fn end(&mut self) -> Result<(), DumpError> {
        self.connection.execute("COMMIT").await.map_err(lost)
    }
}

fn lost(error: ConnectionError) -> DumpError {
    DumpError::HolderLost {
        what: "snapshot",
        error,
    }
}

/// A name of a database in `SQL_ASCII` may be no UTF-8; to show it, that is good enough.
pub(super) fn lossy(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// Asks for everything that is known before a transaction begins.
pub(super) async fn learn(connection: &mut Connection) -> Result<Facts, DumpError> {
    let server = session::identify(connection).await?;
    let rows = connection
        .query(
            "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('server_version'), \
             d.oid, pg_catalog.pg_encoding_to_char(d.encoding), pg_catalog.current_setting('lc_monetary'), \
             pg_catalog.current_setting('block_size'), pg_catalog.pg_is_in_recovery(), \
             pg_catalog.current_setting('hot_standby_feedback') = 'on' \
             FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| ConnectionError::Protocol("the server says nothing about its database".into()))?;
    let version = row.text(1)?;
    Ok(Facts {
        server,
        version_number: row.value(0)?,
        version: version.split(' ').next().unwrap_or(version).to_owned(),
        database_oid: row.value(2)?,
        text: TextSettings {
            client_encoding: row.text(3)?.to_owned(),
            lc_monetary: row.text(4)?.to_owned(),
        },
        block_bytes: row.value(5)?,
        standby: row.flag(6)?,
        standby_feedback: row.flag(7)?,
    })
}

//! Whether a database can be dumped at all: asked before a run, and to say so in a resource's status.

use dataembassy_ledger::value::{DatabaseVersion, SystemIdentifier};

use super::{
    DumpError,
    leader::{self, OLDEST_MAJOR, lossy},
    rows::invalid,
};
use crate::postgresql::{
    Connection, Source,
    planner::{self, PlannerError},
};

/// How many tables are named in an error.
const TABLES_NAMED: u32 = 100;

/// What a look at the source found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe {
    /// The server's version, such as `17.12`.
    pub version: DatabaseVersion,
    /// The same as one number, such as 170012.
    pub version_number: u32,
    /// What tells the server from others.
    pub system_identifier: SystemIdentifier,
    /// OID of the database: a database that was re-created has another.
    pub database_oid: u32,
    /// Encoding of the database.
    pub encoding: String,
    /// Bytes of the database on the server's disk.
    pub bytes: u64,
    /// Whether the server is a standby.
    pub standby: bool,
}

/// Connects, and looks whether version and rights of the role allow a dump. Reads no rows and takes no locks.
pub async fn probe(source: &Source) -> Result<Probe, DumpError> {
    let mut connection = Connection::open(source).await?;
    let facts = leader::learn(&mut connection).await?;
    let major = facts.major();
    if major < OLDEST_MAJOR {
        return Err(DumpError::VersionTooOld { major });
    }
    let program = planner::program_path(&source.programs, major);
    if !program.exists() {
        return Err(PlannerError::VersionUnsupported { major, path: program }.into());
    }
    refuse_missing_rights(&mut connection).await?;
    let rows = connection
        .query("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())")
        .await?;
    let bytes = rows.first().map_or(Ok(0), |row| row.value(0))?;
    connection.close().await;
    Ok(Probe {
        version: facts.version.parse().map_err(invalid)?,
        version_number: facts.version_number,
        system_identifier: facts.server.system_identifier.parse().map_err(invalid)?,
        database_oid: facts.database_oid,
        encoding: facts.text.client_encoding,
        bytes,
        standby: facts.standby,
    })
}

/// Tables that the role may not read, and tables of which row security hides rows from it.
async fn refuse_missing_rights(connection: &mut Connection) -> Result<(), DumpError> {
    // With row_security off a policy raises an error instead of hiding rows; here it is only asked about.
    connection.execute("SET row_security = on").await?;
    let query = format!(
        "SELECT n.nspname || '.' || c.relname, pg_catalog.has_table_privilege(c.oid, 'SELECT') \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
         AND (NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') \
         OR (c.relrowsecurity AND pg_catalog.row_security_active(c.oid))) ORDER BY 1 LIMIT {TABLES_NAMED}"
    );
    let (mut unreadable, mut hidden) = (Vec::new(), Vec::new());
    for row in &connection.query(query).await? {
        let tables = if row.flag(1)? {
            &mut hidden
        } else {
            &mut unreadable
        };
        tables.push(lossy(row.bytes(0)));
    }
    if !unreadable.is_empty() {
        return Err(DumpError::NotReadable { tables: unreadable });
    }
    if hidden.is_empty() {
        Ok(())
    } else {
        Err(DumpError::RowSecurity { tables: hidden })
    }
}

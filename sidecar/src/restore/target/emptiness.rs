//! Whether a database is empty, and making it so.
//!
//! What extensions own does not count: an administrator may have installed them for the restore.

use crate::postgresql::{Connection, ConnectionError, session::literal};

/// Objects dropped in one transaction: each needs locks, and the server's default has room for 6,400.
const DROPPED_AT_ONCE: usize = 100;

/// Everything that a user has made in this database: catalog and OID. The first OID that `initdb` leaves free is 16384;
/// large objects may have any.
const USER_OBJECTS: &str = "\
    SELECT o.classid, o.objid FROM (
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS classid, oid AS objid, 1 AS turn FROM pg_catalog.pg_class
            WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relpersistence <> 't'
        UNION ALL SELECT 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, oid, 0 FROM pg_catalog.pg_event_trigger
        UNION ALL SELECT 'pg_catalog.pg_publication'::pg_catalog.regclass, oid, 0 FROM pg_catalog.pg_publication
        UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, 2 FROM pg_catalog.pg_proc
        UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 2 FROM pg_catalog.pg_type t
            LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
            WHERE t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c'
        UNION ALL SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, oid, 2 FROM pg_catalog.pg_operator
        UNION ALL SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, oid, 2 FROM pg_catalog.pg_opfamily
        UNION ALL SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass, oid, 2 FROM pg_catalog.pg_collation
        UNION ALL SELECT 'pg_catalog.pg_conversion'::pg_catalog.regclass, oid, 2 FROM pg_catalog.pg_conversion
        UNION ALL SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass, oid, 2 FROM pg_catalog.pg_ts_config
        UNION ALL SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, oid, 2 FROM pg_catalog.pg_ts_dict
        UNION ALL SELECT 'pg_catalog.pg_cast'::pg_catalog.regclass, oid, 2 FROM pg_catalog.pg_cast
        UNION ALL SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, oid, 2 FROM pg_catalog.pg_foreign_server
        UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, oid, 3 FROM pg_catalog.pg_foreign_data_wrapper
        UNION ALL SELECT 'pg_catalog.pg_language'::pg_catalog.regclass, oid, 3 FROM pg_catalog.pg_language
        UNION ALL SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid, 4 FROM pg_catalog.pg_namespace
            WHERE nspname !~ '^pg_'
        UNION ALL SELECT 'pg_catalog.pg_largeobject'::pg_catalog.regclass, oid, 5 FROM pg_catalog.pg_largeobject_metadata
    ) o
    WHERE (o.objid >= 16384 OR o.classid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass) AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = o.classid AND d.objid = o.objid AND d.objsubid = 0 AND d.deptype IN ('e', 'i'))
    ORDER BY o.turn, o.objid";

/// Why a database could not be emptied.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsLeft {
    /// The connection failed, or the server refused.
    #[error("the database cannot be emptied: {0}; drop and create it instead")]
    Connection(#[from] ConnectionError),
    /// Something stayed.
    #[error("the database cannot be emptied, {0} stays; drop and create it instead")]
    Stays(String),
}

/// Up to `limit` objects of the database, each as type and name; schemas that were `prepared` do not count.
pub async fn objects(
    connection: &mut Connection,
    limit: usize,
    prepared: &[String],
) -> Result<Vec<String>, ConnectionError> {
    let most = limit + prepared.len();
    let names: Vec<String> = prepared.iter().map(|name| literal(name)).collect();
    let but_prepared = if names.is_empty() {
        String::new()
    } else {
        let names = names.join(", ");
        format!(
            "WHERE u.classid <> 'pg_catalog.pg_namespace'::pg_catalog.regclass OR u.objid NOT IN \
             (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname IN ({names}))"
        )
    };
    let rows = connection
        .query(format!(
            "SELECT i.type || ' ' || i.identity FROM ({USER_OBJECTS} LIMIT {most}) u, \
             pg_catalog.pg_identify_object(u.classid, u.objid, 0) i {but_prepared} LIMIT {limit}"
        ))
        .await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Drops everything but extensions, a few objects at a time.
pub async fn empty(connection: &mut Connection) -> Result<(), ObjectsLeft> {
    let mut before: Vec<String> = Vec::new();
    loop {
        let rows = connection
            .query(format!(
                "SELECT CASE WHEN i.type = 'large object' THEN pg_catalog.format('SELECT pg_catalog.lo_unlink(%s)', i.identity) \
                 ELSE pg_catalog.format('DROP %s IF EXISTS %s CASCADE', pg_catalog.replace(i.type, '-', ' '), i.identity) END \
                 FROM ({USER_OBJECTS} LIMIT {DROPPED_AT_ONCE}) u, pg_catalog.pg_identify_object(u.classid, u.objid, 0) i"
            ))
            .await?;
        let statements = rows
            .iter()
            .map(|row| row.text(0).map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()?;
        match statements.first() {
            None => return Ok(()),
            Some(first) if statements == before => return Err(ObjectsLeft::Stays(first.clone())),
            Some(_) => connection.execute(statements.join(";\n")).await?,
        }
        before = statements;
    }
}

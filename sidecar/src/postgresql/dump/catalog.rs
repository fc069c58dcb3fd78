//! What `pg_dump` does not carry, read by the leader inside the snapshot: roles, settings, tablespaces, the database
//! itself, extension versions, and what is not carried at all.

use std::collections::BTreeMap;

use dataembassy_archive::inventory::{
    Database, Extension, Line, LocaleProvider, Membership, NotCarried, Role, SequenceValue, Server, Setting,
    Settings, Tablespace, Warning,
};

use super::{DumpError, Facts, Options, leader::Leader, rows::invalid};
use crate::postgresql::{
    Connection, ConnectionError,
    connection::Row,
    planner::Plan,
    toc::{Toc, TocEntry},
};

/// Answers about roles, settings and objects that are not carried may be as large as this together.
const ANSWER_LIMIT: usize = 32 * 1024 * 1024;

/// What the leader read.
pub(super) struct Catalog {
    pub(super) server: Server,
    pub(super) database: Database,
    pub(super) roles: Vec<Role>,
    pub(super) memberships: Vec<Membership>,
    settings: Vec<Settings>,
    tablespaces: Vec<Tablespace>,
    extensions: Vec<Extension>,
    not_carried: Vec<NotCarried>,
    /// Bytes that all large objects have on the source's disk.
    pub(super) large_object_bytes: u64,
}

/// The roles that matter: those which something in this database or in the cluster's shared objects of it names, and
/// everybody connected to them by membership. A cluster's other databases keep theirs to themselves.
const ROLES: &str = "WITH RECURSIVE named AS (\
      SELECT refobjid AS oid FROM pg_catalog.pg_shdepend s, pg_catalog.pg_database d \
      WHERE d.datname = pg_catalog.current_database() AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass \
      AND (s.dbid = d.oid OR (s.dbid = 0 AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND s.objid = d.oid)) \
      UNION SELECT datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database() \
      UNION SELECT t.spcowner FROM pg_catalog.pg_tablespace t JOIN used_tablespaces u ON u.oid = t.oid \
      UNION SELECT r.setrole FROM pg_catalog.pg_db_role_setting r JOIN pg_catalog.pg_database d ON d.oid = r.setdatabase \
      WHERE d.datname = pg_catalog.current_database() AND r.setrole <> 0 \
      UNION SELECT CASE WHEN m.member = named.oid THEN m.roleid ELSE m.member END \
      FROM named JOIN pg_catalog.pg_auth_members m ON named.oid IN (m.member, m.roleid) \
      JOIN pg_catalog.pg_roles p ON p.oid = m.roleid AND p.rolname !~ '^pg_'), \
    used_tablespaces AS (SELECT DISTINCT reltablespace AS oid FROM pg_catalog.pg_class WHERE reltablespace <> 0 \
      UNION SELECT dattablespace FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()), \
    ours AS (SELECT r.* FROM pg_catalog.pg_roles r WHERE r.oid IN (SELECT oid FROM named) AND r.rolname !~ '^pg_') ";

/// Reads everything.
pub(super) async fn read(leader: &mut Leader, options: &Options) -> Result<Catalog, DumpError> {
    let facts = leader.facts.clone();
    let connection = &mut leader.connection;
    Ok(Catalog {
        server: server(connection, &facts).await?,
        database: database(connection, &facts).await?,
        roles: roles(connection, options.include_password_verifiers).await?,
        memberships: memberships(connection, &facts).await?,
        settings: settings(connection).await?,
        tablespaces: tablespaces(connection).await?,
        extensions: extensions(connection).await?,
        not_carried: not_carried(connection, &facts).await?,
        large_object_bytes: value(
            connection,
            "SELECT pg_catalog.pg_relation_size('pg_catalog.pg_largeobject')",
        )
        .await?,
    })
}

async fn rows(connection: &mut Connection, query: impl AsRef<[u8]>) -> Result<Vec<Row>, ConnectionError> {
    connection.query_within(query, ANSWER_LIMIT).await
}

async fn value(connection: &mut Connection, query: &str) -> Result<u64, ConnectionError> {
    rows(connection, query)
        .await?
        .first()
        .map_or(Ok(0), |row| row.value(0))
}

async fn server(connection: &mut Connection, facts: &Facts) -> Result<Server, DumpError> {
    let rows = rows(
        connection,
        "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('lc_messages', 'lc_numeric', 'lc_time', \
         'default_toast_compression', 'block_size', 'data_checksums', 'max_locks_per_transaction', 'wal_level')",
    )
    .await?;
    let mut settings = BTreeMap::new();
    for row in &rows {
        settings.insert(row.text(0)?.to_owned(), row.text(1)?.to_owned());
    }
    settings.insert("lc_monetary".into(), facts.text.lc_monetary.clone());
    settings.insert("server_encoding".into(), facts.text.client_encoding.clone());
    Ok(Server {
        version: facts.version.parse().map_err(invalid)?,
        version_number: facts.version_number,
        system_identifier: facts.server.system_identifier.parse().map_err(invalid)?,
        settings,
    })
}

async fn database(connection: &mut Connection, facts: &Facts) -> Result<Database, DumpError> {
    let (locale, rules, version) = match facts.major() {
        17.. => ("d.datlocale", "d.daticurules", "d.datcollversion"),
        16 => ("d.daticulocale", "d.daticurules", "d.datcollversion"),
        15 => ("d.daticulocale", "NULL", "d.datcollversion"),
        _ => ("NULL", "NULL", "NULL"),
    };
    let provider = if facts.major() >= 15 {
        "d.datlocprovider"
    } else {
        "'c'"
    };
    let query = format!(
        "SELECT d.datname, d.oid, pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_encoding_to_char(d.encoding), {provider}, \
         d.datcollate, d.datctype, {locale}, {rules}, {version}, d.datconnlimit, t.spcname, \
         pg_catalog.shobj_description(d.oid, 'pg_database'), pg_catalog.array_to_json(d.datacl::pg_catalog.text[]) \
         FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace \
         WHERE d.datname = pg_catalog.current_database()"
    );
    let rows = rows(connection, query).await?;
    let row = rows
        .first()
        .ok_or_else(|| DumpError::Inconsistent("the database is not in its own catalog".into()))?;
    let locale_provider = match row.text(4)? {
        "i" => LocaleProvider::Icu,
        "b" => LocaleProvider::Builtin,
        _ => LocaleProvider::Libc,
    };
    Ok(Database {
        name: row.text(0)?.to_owned(),
        oid: row.value(1)?,
        owner: row.text(2)?.to_owned(),
        encoding: row.text(3)?.to_owned(),
        locale_provider,
        collate: row.text(5)?.to_owned(),
        ctype: row.text(6)?.to_owned(),
        locale: owned(row, 7)?,
        icu_rules: owned(row, 8)?,
        collation_version: owned(row, 9)?,
        connection_limit: row.value(10)?,
        tablespace: row.text(11)?.to_owned(),
        acl: texts(row, 13)?,
        comment: owned(row, 12)?,
    })
}

async fn roles(connection: &mut Connection, verifiers: bool) -> Result<Vec<Role>, DumpError> {
    let (verifier, join) = if verifiers {
        ("a.rolpassword", "JOIN pg_catalog.pg_authid a ON a.oid = ours.oid")
    } else {
        ("NULL", "")
    };
    let query = format!(
        "{ROLES} SELECT ours.rolname, ours.rolsuper, ours.rolinherit, ours.rolcreaterole, ours.rolcreatedb, ours.rolcanlogin, \
         ours.rolreplication, ours.rolbypassrls, ours.rolconnlimit, ours.rolvaliduntil, \
         pg_catalog.shobj_description(ours.oid, 'pg_authid'), {verifier} FROM ours {join} ORDER BY 1"
    );
    let mut roles = Vec::new();
    for row in &rows(connection, query).await? {
        roles.push(Role {
            name: row.text(0)?.to_owned(),
            superuser: row.flag(1)?,
            inherit: row.flag(2)?,
            create_role: row.flag(3)?,
            create_database: row.flag(4)?,
            login: row.flag(5)?,
            replication: row.flag(6)?,
            bypass_row_security: row.flag(7)?,
            connection_limit: row.value(8)?,
            valid_until: owned(row, 9)?,
            comment: owned(row, 10)?,
            password_verifier: owned(row, 11)?,
        });
    }
    Ok(roles)
}

async fn memberships(connection: &mut Connection, facts: &Facts) -> Result<Vec<Membership>, DumpError> {
    let options = if facts.major() >= 16 {
        "m.inherit_option, m.set_option"
    } else {
        "NULL, NULL"
    };
    let query = format!(
        "{ROLES} SELECT pg_catalog.pg_get_userbyid(m.roleid), ours.rolname, pg_catalog.pg_get_userbyid(m.grantor), m.admin_option, \
         {options} FROM ours JOIN pg_catalog.pg_auth_members m ON m.member = ours.oid ORDER BY 1, 2, 3"
    );
    let mut memberships = Vec::new();
    for row in &rows(connection, query).await? {
        let optional = |column| row.optional(column).map(|value| value.map(|value| value == "t"));
        memberships.push(Membership {
            role: row.text(0)?.to_owned(),
            member: row.text(1)?.to_owned(),
            grantor: row.text(2)?.to_owned(),
            admin: row.flag(3)?,
            inherit: optional(4)?,
            set: optional(5)?,
        });
    }
    Ok(memberships)
}

async fn settings(connection: &mut Connection) -> Result<Vec<Settings>, DumpError> {
    let query = format!(
        "{ROLES} SELECT ours.rolname, s.setdatabase <> 0, pg_catalog.array_to_json(s.setconfig) \
         FROM pg_catalog.pg_db_role_setting s LEFT JOIN ours ON ours.oid = s.setrole \
         LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase \
         WHERE (s.setrole = 0 OR ours.oid IS NOT NULL) AND (s.setdatabase = 0 OR d.datname = pg_catalog.current_database()) \
         ORDER BY 1, 2"
    );
    let mut all = Vec::new();
    for row in &rows(connection, query).await? {
        let settings = texts(row, 2)?.unwrap_or_default();
        let settings = settings.iter().filter_map(|setting| setting.split_once('='));
        all.push(Settings {
            role: owned(row, 0)?,
            in_database: row.flag(1)?,
            settings: settings
                .map(|(name, value)| Setting {
                    name: name.to_owned(),
                    value: value.to_owned(),
                })
                .collect(),
        });
    }
    Ok(all)
}

async fn tablespaces(connection: &mut Connection) -> Result<Vec<Tablespace>, DumpError> {
    let query = format!(
        "{ROLES} SELECT t.spcname, pg_catalog.pg_get_userbyid(t.spcowner), pg_catalog.pg_tablespace_location(t.oid), \
         pg_catalog.array_to_json(t.spcoptions), pg_catalog.array_to_json(t.spcacl::pg_catalog.text[]), \
         pg_catalog.shobj_description(t.oid, 'pg_tablespace') \
         FROM pg_catalog.pg_tablespace t JOIN used_tablespaces u ON u.oid = t.oid \
         WHERE t.spcname !~ '^pg_' ORDER BY 1"
    );
    let mut tablespaces = Vec::new();
    for row in &rows(connection, query).await? {
        tablespaces.push(Tablespace {
            name: row.text(0)?.to_owned(),
            owner: row.text(1)?.to_owned(),
            location: row.text(2)?.to_owned(),
            options: texts(row, 3)?.unwrap_or_default(),
            acl: texts(row, 4)?,
            comment: owned(row, 5)?,
        });
    }
    Ok(tablespaces)
}

async fn extensions(connection: &mut Connection) -> Result<Vec<Extension>, DumpError> {
    let query = "SELECT e.extname, e.extversion, n.nspname FROM pg_catalog.pg_extension e \
                 JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY 1";
    let mut extensions = Vec::new();
    for row in &rows(connection, query).await? {
        extensions.push(Extension {
            name: row.text(0)?.to_owned(),
            version: row.text(1)?.to_owned(),
            schema: row.text(2)?.to_owned(),
        });
    }
    Ok(extensions)
}

/// What neither `pg_dump` nor we carry, each with the reason.
async fn not_carried(connection: &mut Connection, facts: &Facts) -> Result<Vec<NotCarried>, DumpError> {
    let unlogged = if facts.standby { "true" } else { "false" };
    let query = format!(
        "SELECT 'rows of a foreign table', n.nspname || '.' || c.relname, 'they live on another server' \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f' \
         UNION ALL SELECT 'subscription', s.subname, 'its connection string holds a password; make it anew where it is needed' \
         FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
         WHERE d.datname = pg_catalog.current_database() \
         UNION ALL SELECT 'options of a user mapping', u.srvname || ' for ' || coalesce(u.usename, 'public'), 'they usually hold passwords' \
         FROM pg_catalog.pg_user_mappings u \
         UNION ALL SELECT 'rows of an unlogged table', n.nspname || '.' || c.relname, 'a standby does not have them' \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE {unlogged} AND c.relkind = 'r' AND c.relpersistence = 'u' \
         UNION ALL SELECT 'rows of an extension''s table', n.nspname || '.' || c.relname, \
         'extension ' || e.extname || ' made it and does not register it as configuration' \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_depend d ON d.objid = c.oid AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e' \
         JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
         WHERE c.relkind = 'r' AND (e.extconfig IS NULL OR c.oid <> ALL (e.extconfig)) ORDER BY 1, 2"
    );
    let mut all = Vec::new();
    for row in &rows(connection, query).await? {
        all.push(NotCarried {
            what: row.text(0)?.to_owned(),
            name: row.text(1)?.to_owned(),
            reason: row.text(2)?.to_owned(),
        });
    }
    Ok(all)
}

fn owned(row: &Row, column: usize) -> Result<Option<String>, ConnectionError> {
    Ok(row.optional(column)?.map(str::to_owned))
}

/// An array, asked for as JSON: its own text form needs a parser.
fn texts(row: &Row, column: usize) -> Result<Option<Vec<String>>, DumpError> {
    let Some(json) = row.optional(column)? else {
        return Ok(None);
    };
    serde_json::from_str(json).map(Some).map_err(invalid)
}

/// All lines but those of what is copied.
pub(super) fn lines(catalog: &Catalog, plan: &Plan, facts: &Facts) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(
        catalog
            .roles
            .iter()
            .cloned()
            .map(|role| Line::Role(Box::new(role))),
    );
    lines.extend(catalog.memberships.iter().cloned().map(Line::Membership));
    lines.extend(catalog.settings.iter().cloned().map(Line::Settings));
    lines.extend(catalog.tablespaces.iter().cloned().map(Line::Tablespace));
    lines.extend(catalog.extensions.iter().cloned().map(Line::Extension));
    lines.extend(catalog.not_carried.iter().cloned().map(Line::NotCarried));
    lines.extend(sequences(&plan.toc).map(Line::Sequence));
    lines.extend(
        plan.warnings
            .iter()
            .map(|text| Line::Warning(Warning { text: text.clone() })),
    );
    if facts.standby && !facts.standby_feedback {
        let text = "the source is a standby without hot_standby_feedback: its primary may cancel a long run"
            .to_owned();
        tracing::warn!("{text}");
        lines.push(Line::Warning(Warning { text }));
    }
    lines
}

fn sequences(toc: &Toc) -> impl Iterator<Item = SequenceValue> + '_ {
    toc.entries
        .iter()
        .filter(|entry| entry.description == "SEQUENCE SET")
        .filter_map(sequence)
}

/// `SELECT pg_catalog.setval('schema.name', 17, true);`, read from its end: the name may hold anything.
fn sequence(entry: &TocEntry) -> Option<SequenceValue> {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let definition = lossy(entry.definition.as_deref()?);
    let mut arguments = definition.trim().strip_suffix(");")?.rsplitn(3, ", ");
    let is_called = arguments.next()? == "true";
    Some(SequenceValue {
        dump_id: entry.dump_id,
        schema: lossy(entry.namespace.as_deref()?),
        name: lossy(&entry.tag),
        last_value: arguments.next()?.parse().ok()?,
        is_called,
    })
}

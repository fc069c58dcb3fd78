//! What the catalog says, as pairs of an object's name and its state.
//!
//! Each query answers `(object, state)`. Members of extensions are left out where the extension's own version
//! decides on them. Everything is read through tables, in the snapshot, except what PostgreSQL's
//! `pg_get_…` functions print.

use anyhow::Context as _;
use tokio_postgres::Client;

use super::{Kind, Truth};

/// Relations of users, with the name by which facts call them.
macro_rules! relations {
    () => {
        "WITH relation AS (
            SELECT c.*, c.oid::pg_catalog.regclass::text AS called FROM pg_catalog.pg_class c
              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') "
    };
}

/// An ACL in words: who has which rights by whom. All that an owner has by default is called ALL, because a
/// newer version has one more (MAINTAIN in 17), and gives it where ALL was restored.
macro_rules! acl {
    ($acl:literal, $kind:literal, $owner:literal) => {
        concat!(
            "(SELECT pg_catalog.string_agg(pg_catalog.format('%s to %s by %s', rights, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(grantee)::text END,
                        pg_catalog.pg_get_userbyid(grantor)), '; ' ORDER BY pg_catalog.pg_get_userbyid(grantee), pg_catalog.pg_get_userbyid(grantor), rights COLLATE \"C\")
               FROM (SELECT x.grantee, x.grantor,
                            CASE WHEN count(*) = (SELECT count(*) FROM pg_catalog.aclexplode(pg_catalog.acldefault('",
            $kind,
            "', ",
            $owner,
            ")) o WHERE o.grantee = ",
            $owner,
            ") THEN 'ALL' ELSE pg_catalog.string_agg(x.privilege_type, ' ' ORDER BY x.privilege_type COLLATE \"C\") END
                            || CASE WHEN x.is_grantable THEN ' to grant' ELSE '' END AS rights
                       FROM pg_catalog.aclexplode(coalesce(",
            $acl,
            ", pg_catalog.acldefault('",
            $kind,
            "', ",
            $owner,
            "))) x GROUP BY x.grantee, x.grantor, x.is_grantable) grants)"
        )
    };
}

/// Not a member of an extension.
macro_rules! own {
    ($class:literal, $oid:literal) => {
        concat!(
            "NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' AND d.classid = 'pg_catalog.",
            $class,
            "'::pg_catalog.regclass AND d.objid = ",
            $oid,
            ")"
        )
    };
}

const FACTS: &[(Kind, &str)] = &[
    (
        Kind::Database,
        "SELECT 'the database', pg_catalog.format('encoding %s, collation %s, type %s, provider %s, connections %s',
                pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, d.datlocprovider, d.datconnlimit)
           FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
    ),
    // The roles that this database names, and those they are members of; the server's first is everywhere.
    (
        Kind::Role,
        "WITH RECURSIVE named (oid) AS (
            SELECT s.refobjid FROM pg_catalog.pg_shdepend s
              JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
             WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
               AND (s.dbid = d.oid OR s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND s.objid = d.oid)
            UNION SELECT s.setrole FROM pg_catalog.pg_db_role_setting s
              JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase AND d.datname = pg_catalog.current_database()
             WHERE s.setrole <> 0
            UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN named n ON n.oid = m.member)
         SELECT r.rolname::text, pg_catalog.format('superuser %s, inherit %s, createrole %s, createdb %s, login %s, replication %s, bypassrls %s, connections %s, until %s, in %s, comment %s',
                r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil,
                ARRAY(SELECT DISTINCT pg_catalog.pg_get_userbyid(m.roleid)::text || CASE WHEN m.admin_option THEN '*' ELSE '' END FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid ORDER BY 1),
                pg_catalog.shobj_description(r.oid, 'pg_authid'))
           FROM named n JOIN pg_catalog.pg_roles r ON r.oid = n.oid WHERE r.oid >= 16384
         UNION ALL
         SELECT r.rolname::text || ' sets', s.setconfig::text FROM named n
           JOIN pg_catalog.pg_roles r ON r.oid = n.oid JOIN pg_catalog.pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
          WHERE r.oid >= 16384",
    ),
    (
        Kind::Setting,
        "SELECT CASE s.setrole WHEN 0 THEN 'the database' ELSE pg_catalog.pg_get_userbyid(s.setrole)::text END, s.setconfig::text
           FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
          WHERE d.datname = pg_catalog.current_database()",
    ),
    (
        Kind::Extension,
        "SELECT e.extname::text, 'in ' || e.extnamespace::pg_catalog.regnamespace::text FROM pg_catalog.pg_extension e",
    ),
    (
        Kind::Schema,
        "SELECT n.nspname::text, 'there' FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    ),
    (
        Kind::Type,
        concat!(
            "SELECT t.oid::pg_catalog.regtype::text, pg_catalog.format('%s, labels %s, base %s not null %s default %s, subtype %s multirange %s', t.typtype,
                ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
                pg_catalog.format_type(nullif(t.typbasetype, 0), t.typtypmod), t.typnotnull, t.typdefault,
                (SELECT r.rngsubtype::pg_catalog.regtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid),
                (SELECT r.rngmultitypid::pg_catalog.regtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid))
           FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
          WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND t.typtype IN ('e', 'd', 'r', 'm') AND ",
            own!("pg_type", "t.oid")
        ),
    ),
    (
        Kind::Function,
        concat!(
            "SELECT p.oid::pg_catalog.regprocedure::text,
                CASE WHEN p.prokind IN ('f', 'p') THEN pg_catalog.pg_get_functiondef(p.oid) ELSE p.prokind::text END
           FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
          WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND ",
            own!("pg_proc", "p.oid"),
            // Constructors of range types are internal to the type.
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'i' AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid)"
        ),
    ),
    (
        Kind::Relation,
        concat!(
            relations!(),
            "SELECT r.called, pg_catalog.format('%s %s, options %s, row security %s forced %s, replica identity %s, by %s, bound %s, parents %s',
                r.relkind, r.relpersistence, r.reloptions, r.relrowsecurity, r.relforcerowsecurity, r.relreplident,
                CASE r.relkind WHEN 'p' THEN pg_catalog.pg_get_partkeydef(r.oid) END, pg_catalog.pg_get_expr(r.relpartbound, r.oid),
                ARRAY(SELECT i.inhparent::pg_catalog.regclass::text FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.oid ORDER BY i.inhseqno))
           FROM relation r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'S', 'c', 'f')"
        ),
    ),
    (
        Kind::Column,
        concat!(
            relations!(),
            "SELECT r.called || '.' || a.attname, pg_catalog.format('%s: %s collate %s, not null %s, identity %s, generated %s, default %s, storage %s, compression %s, statistics %s, options %s',
                pg_catalog.row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum), pg_catalog.format_type(a.atttypid, a.atttypmod),
                nullif(a.attcollation, 0)::pg_catalog.regcollation, a.attnotnull, a.attidentity, a.attgenerated,
                pg_catalog.pg_get_expr(v.adbin, v.adrelid), a.attstorage, a.attcompression, nullif(a.attstattarget, -1),
                -- A stamp of the server's own, which it gives anew to each column.
                ARRAY(SELECT o FROM pg_catalog.unnest(a.attoptions) o WHERE o NOT LIKE 'pg\\_attver=%'))
           FROM relation r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
           LEFT JOIN pg_catalog.pg_attrdef v ON v.adrelid = r.oid AND v.adnum = a.attnum
          WHERE r.relkind IN ('r', 'p', 'v', 'm', 'c', 'f')"
        ),
    ),
    // A partition's own are made with the partitioned table's, and named anew.
    (
        Kind::Constraint,
        "SELECT pg_catalog.format('%s on %s', c.conname, coalesce(nullif(c.conrelid, 0)::pg_catalog.regclass::text, c.contypid::pg_catalog.regtype::text)),
                pg_catalog.format('%s, validated %s, deferrable %s deferred %s, inherited by children %s', pg_catalog.pg_get_constraintdef(c.oid),
                c.convalidated, c.condeferrable, c.condeferred, NOT c.connoinherit)
           FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
          WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.conparentid = 0",
    ),
    (
        Kind::Index,
        concat!(
            relations!(),
            "SELECT r.called, pg_catalog.format('%s, valid %s, clustered %s, replica identity %s, immediate %s', pg_catalog.pg_get_indexdef(i.indexrelid),
                i.indisvalid, i.indisclustered, i.indisreplident, i.indimmediate)
           FROM pg_catalog.pg_index i JOIN relation r ON r.oid = i.indexrelid"
        ),
    ),
    (
        Kind::Trigger,
        "SELECT pg_catalog.format('%s on %s', t.tgname, t.tgrelid::pg_catalog.regclass), pg_catalog.format('%s, enabled %s', pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled)
           FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgparentid = 0",
    ),
    (
        Kind::EventTrigger,
        "SELECT e.evtname::text, pg_catalog.format('on %s, tags %s, runs %s, enabled %s', e.evtevent, e.evttags, e.evtfoid::pg_catalog.regprocedure, e.evtenabled)
           FROM pg_catalog.pg_event_trigger e",
    ),
    (
        Kind::Policy,
        "SELECT pg_catalog.format('%s on %s', p.polname, p.polrelid::pg_catalog.regclass), pg_catalog.format('permissive %s, for %s, to %s, using %s, check %s',
                p.polpermissive, p.polcmd, ARRAY(SELECT CASE o WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(o)::text END FROM pg_catalog.unnest(p.polroles) o ORDER BY 1),
                pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
           FROM pg_catalog.pg_policy p",
    ),
    (
        Kind::View,
        concat!(
            relations!(),
            "SELECT r.called, pg_catalog.pg_get_viewdef(r.oid) FROM relation r WHERE r.relkind IN ('v', 'm') AND ",
            own!("pg_class", "r.oid"),
            " UNION ALL SELECT pg_catalog.format('rule %s on %s', u.rulename, r.called), pg_catalog.pg_get_ruledef(u.oid)
                FROM relation r JOIN pg_catalog.pg_rewrite u ON u.ev_class = r.oid WHERE u.rulename <> '_RETURN' AND ",
            own!("pg_class", "r.oid")
        ),
    ),
    (
        Kind::Sequence,
        concat!(
            relations!(),
            "SELECT r.called, pg_catalog.format('%s from %s by %s between %s and %s, cache %s, cycles %s, of %s', s.seqtypid::pg_catalog.regtype, s.seqstart,
                s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
                (SELECT pg_catalog.format('%s.%s %s', d.refobjid::pg_catalog.regclass, a.attname, d.deptype) FROM pg_catalog.pg_depend d
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = r.oid AND d.deptype IN ('a', 'i')))
           FROM relation r JOIN pg_catalog.pg_sequence s ON s.seqrelid = r.oid"
        ),
    ),
    // What a server makes by itself has low numbers; large objects may have any.
    (
        Kind::Comment,
        "SELECT i.type || ' ' || i.identity, c.description FROM pg_catalog.pg_description c,
                pg_catalog.pg_identify_object(c.classoid, c.objoid, c.objsubid) i
          WHERE (c.objoid >= 16384 OR c.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass OR i.identity = 'public')
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' AND d.classid = c.classoid AND d.objid = c.objoid)
         UNION ALL
         SELECT 'the database', pg_catalog.shobj_description(d.oid, 'pg_database') FROM pg_catalog.pg_database d
          WHERE d.datname = pg_catalog.current_database() AND pg_catalog.shobj_description(d.oid, 'pg_database') IS NOT NULL",
    ),
    (
        Kind::Owner,
        concat!(
            relations!(),
            "SELECT 'relation ' || r.called, pg_catalog.pg_get_userbyid(r.relowner)::text FROM relation r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
         UNION ALL SELECT 'schema ' || n.nspname, pg_catalog.pg_get_userbyid(n.nspowner) FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
         UNION ALL SELECT 'function ' || p.oid::pg_catalog.regprocedure::text, pg_catalog.pg_get_userbyid(p.proowner) FROM pg_catalog.pg_proc p WHERE p.oid >= 16384 AND ",
            own!("pg_proc", "p.oid"),
            " UNION ALL SELECT 'type ' || t.oid::pg_catalog.regtype::text, pg_catalog.pg_get_userbyid(t.typowner) FROM pg_catalog.pg_type t WHERE t.oid >= 16384 AND t.typtype IN ('e', 'd', 'r') AND ",
            own!("pg_type", "t.oid"),
            " UNION ALL SELECT 'event trigger ' || e.evtname, pg_catalog.pg_get_userbyid(e.evtowner) FROM pg_catalog.pg_event_trigger e
         UNION ALL SELECT 'large object ' || l.oid, pg_catalog.pg_get_userbyid(l.lomowner) FROM pg_catalog.pg_largeobject_metadata l"
        ),
    ),
    (
        Kind::Grant,
        concat!(
            relations!(),
            "SELECT 'relation ' || r.called, ",
            acl!("r.relacl", "r", "r.relowner"),
            " FROM relation r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f')
         UNION ALL SELECT 'sequence ' || r.called, ",
            acl!("r.relacl", "s", "r.relowner"),
            " FROM relation r WHERE r.relkind = 'S'
         UNION ALL SELECT 'column ' || r.called || '.' || a.attname, ",
            acl!("a.attacl", "c", "r.relowner"),
            " FROM relation r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
         UNION ALL SELECT 'schema ' || n.nspname, ",
            acl!("n.nspacl", "n", "n.nspowner"),
            " FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
         UNION ALL SELECT 'function ' || p.oid::pg_catalog.regprocedure::text, ",
            acl!("p.proacl", "f", "p.proowner"),
            " FROM pg_catalog.pg_proc p WHERE p.oid >= 16384 AND ",
            own!("pg_proc", "p.oid"),
            " UNION ALL SELECT 'type ' || t.oid::pg_catalog.regtype::text, ",
            acl!("t.typacl", "T", "t.typowner"),
            " FROM pg_catalog.pg_type t WHERE t.oid >= 16384 AND t.typtype IN ('e', 'd', 'r') AND ",
            own!("pg_type", "t.oid"),
            " UNION ALL SELECT 'large object ' || l.oid, ",
            acl!("l.lomacl", "L", "l.lomowner"),
            " FROM pg_catalog.pg_largeobject_metadata l
         UNION ALL SELECT 'the database', ",
            acl!("d.datacl", "d", "d.datdba"),
            " FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()"
        ),
    ),
    (
        Kind::DefaultPrivilege,
        concat!(
            "SELECT pg_catalog.format('of %s in %s on %s', pg_catalog.pg_get_userbyid(a.defaclrole), nullif(a.defaclnamespace, 0)::pg_catalog.regnamespace, a.defaclobjtype), ",
            acl!("a.defaclacl", "r", "a.defaclrole"),
            " FROM pg_catalog.pg_default_acl a"
        ),
    ),
];

pub(super) async fn find(client: &Client, truth: &mut Truth) -> anyhow::Result<()> {
    for (kind, query) in FACTS {
        let rows = client
            .query(*query, &[])
            .await
            .with_context(|| format!("{kind:?} cannot be read"))?;
        for row in rows {
            let object: String = row.try_get(0).with_context(|| format!("{kind:?} has no name"))?;
            let state: Option<String> = row.try_get(1).with_context(|| format!("{kind:?} {object}"))?;
            truth.state(*kind, object, state.unwrap_or_else(|| "nothing".into()));
        }
    }
    find_sequences(client, truth).await
}

/// Each sequence's state is a row of its own relation.
async fn find_sequences(client: &Client, truth: &mut Truth) -> anyhow::Result<()> {
    let sequences = client
        .query(
            "SELECT s.seqrelid::pg_catalog.regclass::text, d.refobjid::pg_catalog.regclass::text, pg_catalog.quote_ident(a.attname), s.seqincrement > 0
               FROM pg_catalog.pg_sequence s
               LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0
               LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid",
            &[],
        )
        .await
        .context("the sequences cannot be listed")?;
    for row in sequences {
        let (sequence, table, column): (String, Option<String>, Option<String>) =
            (row.get(0), row.get(1), row.get(2));
        let (extreme, beyond) = if row.get(3) { ("max", ">") } else { ("min", "<") };
        let behind = match (table, column) {
            (Some(table), Some(column)) => {
                format!(
                    "coalesce((SELECT pg_catalog.{extreme}({column}) FROM {table}) {beyond} s.last_value, false)"
                )
            }
            _ => "false".into(),
        };
        let query = format!("SELECT s.last_value, s.is_called, {behind} FROM {sequence} s");
        let row = client
            .query_one(&query, &[])
            .await
            .with_context(|| format!("sequence {sequence} cannot be read"))?;
        let (value, called): (i64, bool) = (row.get(0), row.get(1));
        truth.state(
            Kind::SequenceValue,
            &sequence,
            format!("{value}, called {called}"),
        );
        if row.get(2) {
            truth.behind.insert(sequence);
        }
    }
    Ok(())
}

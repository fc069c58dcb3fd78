//! Each hard thing that the registries are there for, asked of the server's catalog: a registry that lost one would test less, and nobody would see it.

use dataembassy_e2e::registries::{Amount, Registry, create_database, load};
use dataembassy_testkit::postgresql::Server;

use Registry::{Business, Health, Population};

/// Bytes of the value that nobody expects.
const LARGE_VALUE: usize = 100 << 20;

/// Where a thing is, what it is, and a condition that holds there alone.
type Thing = (Registry, &'static str, &'static str);

const NAMES: &[Thing] = &[
    (
        Population,
        "quoted and upper-case identifiers",
        r#"(SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('"DATA".x') AND attname IN ('X', 'x', 'SELECT')) = 3"#,
    ),
    (
        Population,
        "identifiers that are not ASCII",
        r#"to_regclass('"Ajalugu – vanad"."ИМЯ"') IS NOT NULL AND to_regclass('population."Sünnid"') IS NOT NULL"#,
    ),
    (
        Population,
        "names of a table and of a column with a newline",
        r"EXISTS (SELECT FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relname = E'line\nbreak' AND a.attname = E'col\numn')",
    ),
    (
        Business,
        "a registry in LATIN1, with names that need it",
        r#"current_setting('server_encoding') = 'LATIN1' AND to_regclass('business."Tütarettevõtted"') IS NOT NULL"#,
    ),
];

const TABLES: &[Thing] = &[
    (
        Population,
        "a table that is partitioned by the hash of an enum",
        r"EXISTS (SELECT FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
            JOIN pg_type t ON t.oid = a.atttypid WHERE p.partstrat = 'h' AND t.typtype = 'e')",
    ),
    (
        Health,
        "a partition that is itself partitioned by the hash of an enum",
        r"EXISTS (SELECT FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid AND c.relispartition
            JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
            JOIN pg_type t ON t.oid = a.atttypid WHERE p.partstrat = 'h' AND t.typtype = 'e')",
    ),
    (
        Population,
        "partitions by range, by list, and by default",
        r"EXISTS (SELECT FROM pg_partitioned_table WHERE partstrat = 'r' AND partdefid <> 0)
            AND EXISTS (SELECT FROM pg_partitioned_table WHERE partstrat = 'l' AND partdefid <> 0)",
    ),
    (
        Population,
        "inheritance from two parents",
        r"EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhseqno = 2 AND c.relkind = 'r')",
    ),
    (
        Population,
        "generated, identity, dropped and added columns",
        r"(SELECT bool_or(attgenerated = 's') AND bool_or(attidentity = 'a') AND bool_or(attisdropped) AND bool_or(atthasmissing)
            FROM pg_attribute WHERE attrelid = to_regclass('population.persons'))
            AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('population.households') AND attidentity = 'd')",
    ),
    (
        Health,
        "a table without columns, with rows",
        r"(SELECT relnatts = 0 FROM pg_class WHERE oid = to_regclass('health.no_columns')) AND (SELECT count(*) FROM health.no_columns) = 3",
    ),
    (
        Health,
        "an empty table",
        r"to_regclass('health.empty') IS NOT NULL AND NOT EXISTS (SELECT FROM health.empty)",
    ),
    (
        Health,
        "an unlogged table with rows",
        r"(SELECT relpersistence = 'u' FROM pg_class WHERE oid = to_regclass('health.waiting_room')) AND EXISTS (SELECT FROM health.waiting_room)",
    ),
    (
        Business,
        "small tables, as many as were asked for",
        r"(SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]{5}$') = 40",
    ),
    (
        Population,
        "sequences in the middle, one of them not called yet",
        r"(SELECT last_value = 4242424 AND is_called FROM population.residence_id)
            AND (SELECT last_value = 99 AND NOT is_called FROM population.households_id_seq)",
    ),
    (
        Business,
        "a sequence that counts down",
        r"(SELECT last_value = 4999000000 FROM business.filing_number)
            AND EXISTS (SELECT FROM pg_sequence WHERE seqrelid = to_regclass('business.filing_number') AND seqincrement < 0)",
    ),
    (
        Business,
        "a sparse large object with grants, one without a page, and owners other than the database's",
        r"(SELECT count(*) < max(pageno) + 1 FROM pg_largeobject WHERE loid = 400001)
            AND (SELECT count(*) = 3 FROM pg_largeobject_metadata WHERE oid IN (400001, 400002, 400003) AND lomacl IS NOT NULL)
            AND EXISTS (SELECT FROM pg_largeobject_metadata WHERE oid = 400003) AND NOT EXISTS (SELECT FROM pg_largeobject WHERE loid = 400003)
            AND (SELECT count(DISTINCT lomowner) > 2 FROM pg_largeobject_metadata)",
    ),
    (
        Business,
        "filings whose text is a large object",
        r"EXISTS (SELECT FROM business.filings f JOIN pg_largeobject_metadata m ON m.oid = f.content)",
    ),
];

const TYPES: &[Thing] = &[
    (
        Population,
        "an enum with values that were added, a domain, a composite type, a range with its multirange",
        r"(SELECT bool_or(typtype = 'e') AND bool_or(typtype = 'd') AND bool_or(typtype = 'r') AND bool_or(typtype = 'm')
            FROM pg_type WHERE typnamespace = 'population'::regnamespace)
            AND EXISTS (SELECT FROM pg_enum WHERE enumsortorder <> trunc(enumsortorder))
            AND EXISTS (SELECT FROM pg_class WHERE relkind = 'c' AND relnamespace = 'population'::regnamespace)",
    ),
    (
        Health,
        "domains of domains and of composite types",
        r"EXISTS (SELECT FROM pg_type d JOIN pg_type b ON b.oid = d.typbasetype JOIN pg_type e ON e.oid = b.typelem WHERE d.typtype = 'd' AND e.typtype = 'd')
            AND EXISTS (SELECT FROM pg_type d JOIN pg_type b ON b.oid = d.typbasetype JOIN pg_type e ON e.oid = b.typelem WHERE d.typtype = 'd' AND e.typtype = 'c')",
    ),
    (
        Population,
        "an extension with configuration tables, one by a condition",
        r"EXISTS (SELECT FROM pg_extension WHERE extname = 'registry_codes' AND cardinality(extconfig) = 3 AND 'WHERE NOT standard' = ANY (extcondition))
            AND EXISTS (SELECT FROM codes.entry WHERE NOT standard)",
    ),
];

/// Types of columns, and the registry that has each.
const COLUMNS: &[(Registry, &str, &[&str])] = &[
    (
        Population,
        "population",
        &[
            "text[]",
            "bytea",
            "numeric",
            "interval",
            "timestamp with time zone",
            "tsvector",
            "inet",
            "uuid",
            "money",
            "xml",
            "extensions.hstore",
            "daterange",
            "population.county",
            "population.personal_code",
            "population.address",
            "population.share[]",
        ],
    ),
    (
        Health,
        "health",
        &[
            "jsonb",
            "json",
            "xml",
            "datemultirange",
            "integer[]",
            "bit varying",
            "tsquery",
            "pg_lsn",
            "macaddr",
            "cidr",
            "real",
            "double precision",
            "time with time zone",
        ],
    ),
    (
        Business,
        "business",
        &["money", "inet[]", "json", "extensions.lo", "business.holding[]"],
    ),
];

const CODE: &[Thing] = &[
    (
        Population,
        "views, and materialized views, one of them on top of a view and one never filled",
        r"(SELECT bool_or(relkind = 'v') AND bool_or(relkind = 'm' AND relispopulated) AND bool_or(relkind = 'm' AND NOT relispopulated)
            FROM pg_class WHERE relnamespace = 'population'::regnamespace)",
    ),
    (
        Population,
        "functions, a procedure and an aggregate",
        r"(SELECT bool_or(prokind = 'f') AND bool_or(prokind = 'p') AND bool_or(prokind = 'a') FROM pg_proc WHERE pronamespace = 'population'::regnamespace)",
    ),
    (
        Population,
        "triggers: of rows, of statements, deferred, and switched off",
        r"(SELECT bool_or(tgtype & 1 = 1) AND bool_or(tgtype & 1 = 0) AND bool_or(tgdeferrable AND tginitdeferred) AND bool_or(tgenabled = 'D')
            FROM pg_trigger WHERE NOT tgisinternal)",
    ),
    (
        Population,
        "event triggers, one of them asleep",
        r"(SELECT bool_or(evtenabled = 'O') AND bool_or(evtenabled = 'D') FROM pg_event_trigger)",
    ),
    (
        Population,
        "deferrable constraints: foreign keys, a unique one, an exclusion",
        r"(SELECT bool_or(contype = 'f') AND bool_or(contype = 'u') AND bool_or(contype = 'x') FROM pg_constraint WHERE condeferrable AND condeferred)",
    ),
    (
        Population,
        "a constraint that was never validated",
        r"EXISTS (SELECT FROM pg_constraint WHERE conname = 'since_the_republic' AND NOT convalidated)",
    ),
    (
        Population,
        "foreign keys of two tables to each other",
        r"EXISTS (SELECT FROM pg_constraint a JOIN pg_constraint b ON b.conrelid = a.confrelid AND b.confrelid = a.conrelid
            WHERE a.contype = 'f' AND b.contype = 'f' AND a.conrelid <> a.confrelid)",
    ),
    (
        Health,
        "foreign keys in a circle of three tables",
        r"EXISTS (SELECT FROM pg_constraint a JOIN pg_constraint b ON b.conrelid = a.confrelid JOIN pg_constraint c ON c.conrelid = b.confrelid
            WHERE a.contype = 'f' AND b.contype = 'f' AND c.contype = 'f' AND c.confrelid = a.conrelid
            AND a.conrelid <> b.conrelid AND b.conrelid <> c.conrelid AND c.conrelid <> a.conrelid)",
    ),
    (
        Health,
        "an exclusion constraint that is not deferrable",
        r"EXISTS (SELECT FROM pg_constraint WHERE contype = 'x' AND NOT condeferrable)",
    ),
    (
        Health,
        "a table's CHECK that calls a function of the registry",
        r"EXISTS (SELECT FROM pg_constraint c JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = c.oid
            JOIN pg_proc f ON d.refclassid = 'pg_proc'::regclass AND f.oid = d.refobjid
            WHERE c.contype = 'c' AND c.conrelid <> 0 AND f.pronamespace = 'health'::regnamespace)",
    ),
    (
        Population,
        "a domain's CHECK that calls a function of the registry",
        r"EXISTS (SELECT FROM pg_constraint c JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = c.oid
            JOIN pg_proc f ON d.refclassid = 'pg_proc'::regclass AND f.oid = d.refobjid
            WHERE c.contype = 'c' AND c.contypid <> 0 AND f.pronamespace = 'population'::regnamespace)",
    ),
];

const RIGHTS: &[Thing] = &[
    (
        Population,
        "comments on the database, a table, a column, a constraint, an index, a trigger and a policy",
        r"EXISTS (SELECT FROM pg_shdescription WHERE classoid = 'pg_database'::regclass AND objoid = (SELECT oid FROM pg_database WHERE datname = current_database()))
            AND (SELECT bool_or(classoid = 'pg_class'::regclass AND objsubid > 0) AND bool_or(classoid = 'pg_constraint'::regclass)
            AND bool_or(classoid = 'pg_trigger'::regclass) AND bool_or(classoid = 'pg_policy'::regclass) FROM pg_description WHERE objoid >= 16384)
            AND (SELECT bool_or(c.relkind = 'r') AND bool_or(c.relkind = 'i') FROM pg_description d JOIN pg_class c ON c.oid = d.objoid
            WHERE d.classoid = 'pg_class'::regclass AND d.objsubid = 0 AND c.relnamespace = 'population'::regnamespace)",
    ),
    (
        Population,
        "grants: on columns, with grant option, to everybody, on a procedure, and one taken from the owner's default",
        r#"EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('population.persons') AND attacl IS NOT NULL)
            AND EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = to_regclass('population."Elukohad"') AND a.is_grantable AND a.grantee <> c.relowner)
            AND EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = to_regclass('"DATA".x') AND a.grantee = 0)
            AND EXISTS (SELECT FROM pg_proc WHERE prokind = 'p' AND proacl IS NOT NULL)
            AND EXISTS (SELECT FROM pg_type WHERE typtype = 'e' AND typacl IS NOT NULL)"#,
    ),
    (
        Population,
        "default privileges, in a schema and everywhere",
        r"(SELECT bool_or(defaclnamespace = 'population'::regnamespace) AND bool_or(defaclnamespace = 0) FROM pg_default_acl)",
    ),
    (
        Population,
        "settings of a role, of the database, and of a role in the database",
        r"(SELECT bool_or(s.setdatabase = 0) AND bool_or(d.oid IS NOT NULL AND s.setrole = 0) AND bool_or(d.oid IS NOT NULL AND s.setrole <> 0)
            FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase AND d.datname = current_database()
            LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setrole = 0 OR r.rolname ~* '^population')",
    ),
    (
        Population,
        "row-level security that binds the owner too, with a policy that permits and one that restricts",
        r"(SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = to_regclass('population.persons'))
            AND (SELECT bool_or(polpermissive) AND bool_or(NOT polpermissive) FROM pg_policy WHERE polrelid = to_regclass('population.persons'))",
    ),
];

/// At a hundredth of their size, but for the one value that has none.
async fn made(registry: Registry) -> tokio_postgres::Client {
    let server = Server::shared(17);
    let name = format!("{}_hard", registry.id());
    let admin = server.client("postgres").await.unwrap();
    create_database(&admin, registry, &name).await.unwrap();
    let amount = Amount {
        large_values: registry == Health,
        ..Amount::of_scale(0.01)
    };
    load(&server.client(&name).await.unwrap(), registry, &amount)
        .await
        .unwrap();
    let client = server.client(&name).await.unwrap();
    // One of the registries has its database quote every name, those of types too.
    client
        .batch_execute("SET quote_all_identifiers = off")
        .await
        .unwrap();
    client
}

async fn holds(client: &tokio_postgres::Client, condition: &str) -> bool {
    let row = client
        .query_one(&format!("SELECT coalesce(({condition}), false)"), &[])
        .await
        .unwrap();
    row.get(0)
}

fn has_column(schema: &str, of_type: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relkind IN ('r', 'p') \
         AND c.relnamespace = '{schema}'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND format_type(a.atttypid, NULL) = '{of_type}')"
    )
}

#[tokio::test]
async fn every_hard_thing_is_in_its_registry() {
    let mut lost = Vec::new();
    for registry in Registry::ALL {
        let client = made(registry).await;
        for (_, thing, condition) in [NAMES, TABLES, TYPES, CODE, RIGHTS]
            .concat()
            .iter()
            .filter(|(of, ..)| *of == registry)
        {
            if !holds(&client, condition).await {
                lost.push(format!("{}: {thing}", registry.id()));
            }
        }
        for (_, schema, types) in COLUMNS.iter().filter(|(of, ..)| *of == registry) {
            for of_type in *types {
                if !holds(&client, &has_column(schema, of_type)).await {
                    lost.push(format!("{schema}: a column of type {of_type}"));
                }
            }
        }
        if registry == Health {
            let large =
                format!("EXISTS (SELECT FROM health.genomes WHERE octet_length(sequence) >= {LARGE_VALUE})");
            if !holds(&client, &large).await {
                lost.push("health: the value of 100 MiB".to_owned());
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

#[test]
fn a_whole_registry_has_two_thousand_small_tables_and_the_large_values() {
    let whole = Amount::of_scale(1.0);
    assert!(whole.small_tables == 2000 && whole.large_values);
}

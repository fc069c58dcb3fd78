//! The sample registries on real servers, and whether the truth about them can be trusted: it must find
//! PostgreSQL's own dump and restore equal, and every tampering not.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod hard_things;

use std::time::Duration;

use dataembassy_e2e::{
    registries::{
        Amount, Churn, Ddl, Registry, attempt_ddl, create_database, load, small_tables, tpch, write_more,
    },
    truth::{
        Kind, Scope, Truth, compare,
        schema_text::{first_difference, schema_text},
        snapshot::at_snapshot_of,
    },
};
use dataembassy_testkit::postgresql::{DUMP_ROLE, Server, programs};

fn small() -> Amount {
    Amount::of_scale(0.01)
}

async fn make(server: &Server, registry: Registry, name: &str) {
    create_database(&server.client("postgres").await.unwrap(), registry, name)
        .await
        .unwrap();
    load(&server.client(name).await.unwrap(), registry, &small())
        .await
        .unwrap();
}

async fn truth(server: &Server, database: &str) -> Truth {
    Truth::of(&server.client(database).await.unwrap()).await.unwrap()
}

fn schema(server: &Server, database: &str) -> String {
    let connection = format!(
        "host={} port={} user=postgres dbname={database}",
        server.socket_directory().display(),
        server.port()
    );
    schema_text(&programs().unwrap().join("17/bin/pg_dump"), &connection, None).unwrap()
}

/// Dumps and restores with PostgreSQL's own programs, under the same name, and compares.
async fn round_trip(registry: Registry, from: u32, to: u32) {
    let (source, target) = (Server::shared(from), Server::shared(to));
    let name = format!("{}_{from}_{to}", registry.id());
    make(source, registry, &name).await;
    let before = truth(source, &name).await;
    let text = schema(source, &name);
    let archive = tempfile::NamedTempFile::new().unwrap();
    let archive = archive.path().to_str().unwrap();
    source
        .run(
            "pg_dump",
            &["--format=custom", "--compress=0", "--file", archive, &name],
            &[],
        )
        .unwrap();
    if from == to {
        let admin = source.client("postgres").await.unwrap();
        admin
            .batch_execute(&format!(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}';
                 ALTER DATABASE {name} RENAME TO {name}_before"
            ))
            .await
            .unwrap();
    } else {
        create_roles(registry, target).await;
    }
    target
        .run(
            "pg_restore",
            &["--create", "--exit-on-error", "--dbname=postgres", archive],
            &[],
        )
        .unwrap();
    let after = truth(target, &name).await;
    let differences: Vec<_> = compare(&before, &after, Scope::WHOLE)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(first_difference(&text, &schema(target, &name)), None);
}

/// The roles of a registry, on a server that has never seen it.
async fn create_roles(registry: Registry, server: &Server) {
    let admin = server.client("postgres").await.unwrap();
    create_database(&admin, registry, &format!("{}_roles", registry.id()))
        .await
        .unwrap();
}

#[tokio::test]
async fn population_comes_back_equal_on_15() {
    round_trip(Registry::Population, 15, 15).await;
}

#[tokio::test]
async fn population_comes_back_equal_on_17() {
    round_trip(Registry::Population, 17, 17).await;
}

#[tokio::test]
async fn health_comes_back_equal_on_15() {
    round_trip(Registry::Health, 15, 15).await;
}

#[tokio::test]
async fn health_comes_back_equal_on_17() {
    round_trip(Registry::Health, 17, 17).await;
}

#[tokio::test]
async fn health_of_15_comes_back_equal_on_17() {
    round_trip(Registry::Health, 15, 17).await;
}

#[tokio::test]
async fn business_comes_back_equal_on_15() {
    round_trip(Registry::Business, 15, 15).await;
}

#[tokio::test]
async fn business_comes_back_equal_on_17() {
    round_trip(Registry::Business, 17, 17).await;
}

#[tokio::test]
async fn the_same_seed_makes_the_same_registry_on_both_versions() {
    for registry in Registry::ALL {
        let name = format!("{}_seed", registry.id());
        make(Server::shared(15), registry, &name).await;
        make(Server::shared(17), registry, &name).await;
        let (on_15, on_17) = (
            truth(Server::shared(15), &name).await,
            truth(Server::shared(17), &name).await,
        );
        assert!(on_15.tables().len() > 10);
        assert_eq!(on_15.tables().len(), on_17.tables().len());
        for (table, rows) in on_15.tables() {
            // Which partition of a table hashed by an enum a row falls into depends on the server.
            if !table.name.starts_with("Elukohad ")
                && !table.name.starts_with("encounters_2026_")
                && table.name != "schema_changes"
            {
                assert_eq!(Some(rows), on_17.tables().get(table), "{table:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_kind_of_thing_is_in_one_of_the_registries() {
    use Kind::{
        Column, Comment, Constraint, Database, DefaultPrivilege, EventTrigger, Extension, Function,
        GeneratedRows, Grant, Index, LargeObject, MaterializedView, Owner, Policy, Relation, Role, Rows,
        Schema, Sequence, SequenceValue, Setting, Trigger, Type, View,
    };
    let server = Server::shared(17);
    let mut truths = Vec::new();
    for registry in Registry::ALL {
        let name = format!("{}_kinds", registry.id());
        make(server, registry, &name).await;
        truths.push(truth(server, &name).await);
    }
    for kind in [
        Column,
        Comment,
        Constraint,
        Database,
        DefaultPrivilege,
        EventTrigger,
        Extension,
        Function,
        GeneratedRows,
        Grant,
        Index,
        LargeObject,
        MaterializedView,
        Owner,
        Policy,
        Relation,
        Role,
        Rows,
        Schema,
        Sequence,
        SequenceValue,
        Setting,
        Trigger,
        Type,
        View,
    ] {
        assert!(
            truths.iter().any(|truth| truth.count(kind) > 0),
            "no {kind:?} anywhere"
        );
    }
}

const TAMPERING_POPULATION: &[(Kind, &str)] = &[
    (
        Kind::Rows,
        "UPDATE population.households SET income = income + 0.01 WHERE id = 7",
    ),
    (Kind::Rows, "DELETE FROM population.\"Elukohad\" WHERE id = 107"),
    (
        Kind::Rows,
        "UPDATE codes.entry SET meaning = 'x' WHERE code = 'O'",
    ),
    (
        Kind::Comment,
        "COMMENT ON COLUMN population.persons.\"Õpitase\" IS 'muu'",
    ),
    (
        Kind::Comment,
        "COMMENT ON POLICY own_county ON population.persons IS NULL",
    ),
    (
        Kind::Grant,
        "REVOKE SELECT (born) ON population.persons FROM \"Population Clerk\"",
    ),
    (Kind::Owner, "ALTER TABLE \"DATA\".x OWNER TO postgres"),
    (
        Kind::DefaultPrivilege,
        "ALTER DEFAULT PRIVILEGES FOR ROLE population_owner REVOKE USAGE ON TYPES FROM population_auditor",
    ),
    (
        Kind::Setting,
        "ALTER DATABASE {database} SET \"registry.name\" = 'muu'",
    ),
    (
        Kind::Setting,
        "ALTER ROLE population_app IN DATABASE {database} RESET search_path",
    ),
    (
        Kind::Constraint,
        "ALTER TABLE population.guardianships VALIDATE CONSTRAINT since_the_republic",
    ),
    (
        Kind::Constraint,
        "ALTER TABLE population.persons ALTER CONSTRAINT lives_in NOT DEFERRABLE",
    ),
    (Kind::SequenceValue, "SELECT nextval('population.persons_id_seq')"),
    (
        Kind::Trigger,
        "ALTER TABLE population.persons DISABLE TRIGGER touch",
    ),
    (Kind::EventTrigger, "ALTER EVENT TRIGGER \"asleep\" ENABLE"),
    (
        Kind::Policy,
        "ALTER POLICY never ON population.persons USING (true)",
    ),
    (
        Kind::Relation,
        "ALTER TABLE population.persons NO FORCE ROW LEVEL SECURITY",
    ),
    (
        Kind::View,
        "CREATE OR REPLACE VIEW population.decades AS SELECT decade, events FROM population.by_decade",
    ),
    (
        Kind::Function,
        "ALTER FUNCTION population.end_documents() SECURITY INVOKER",
    ),
    (
        Kind::Type,
        "ALTER TYPE population.county RENAME VALUE 'Saare' TO 'Saaremaa'",
    ),
    (
        Kind::Column,
        "ALTER TABLE population.households ALTER note SET DEFAULT 'muu'",
    ),
    (
        Kind::Index,
        "ALTER INDEX population.persons_by_name SET (fillfactor = 50)",
    ),
    (
        Kind::MaterializedView,
        "INSERT INTO population.life_events (person_id, happened) VALUES (1, '1950-01-01')",
    ),
];

const TAMPERING_BUSINESS: &[(Kind, &str)] = &[
    (Kind::LargeObject, "SELECT lo_put(500001, 3, '\\x00')"),
    (Kind::LargeObject, "SELECT lo_put(400003, 0, '\\x00')"),
    (Kind::LargeObject, "SELECT lo_unlink(400002)"),
    (
        Kind::Grant,
        "REVOKE SELECT ON LARGE OBJECT 400001 FROM business_public",
    ),
    (
        Kind::Comment,
        "COMMENT ON LARGE OBJECT 400001 IS 'väikese auguga'",
    ),
    (
        Kind::Rows,
        "UPDATE business.companies SET \"Ärinimi\" = 'Öö' WHERE code = 10000003",
    ),
];

#[tokio::test]
async fn every_tampering_is_found() {
    let server = Server::shared(17);
    for (registry, tamperings) in [
        (Registry::Population, TAMPERING_POPULATION),
        (Registry::Business, TAMPERING_BUSINESS),
    ] {
        let database = format!("{}_tampered", registry.id());
        make(server, registry, &database).await;
        let mut before = truth(server, &database).await;
        let client = server.client(&database).await.unwrap();
        for (kind, statement) in tamperings {
            client
                .batch_execute(&statement.replace("{database}", &database))
                .await
                .unwrap();
            let after = truth(server, &database).await;
            let differences = compare(&before, &after, Scope::WHOLE);
            let found = differences.iter().any(|difference| difference.kind == *kind);
            assert!(found, "{statement} was not found: {differences:?}");
            before = after;
        }
    }
}

#[tokio::test]
async fn a_changed_role_is_found() {
    // On a server of its own: roles are everybody's.
    let server = Server::start(17).unwrap();
    make(&server, Registry::Health, "health").await;
    let mut before = truth(&server, "health").await;
    for statement in [
        "ALTER ROLE \"Dr. O'Brien\" CREATEDB",
        "ALTER ROLE \"Dr. O'Brien\" SET work_mem = '9MB'",
        "COMMENT ON ROLE health_research IS 'muu'",
        "REVOKE health_doctor FROM \"Dr. O'Brien\"",
    ] {
        server
            .client("health")
            .await
            .unwrap()
            .batch_execute(statement)
            .await
            .unwrap();
        let after = truth(&server, "health").await;
        let found = compare(&before, &after, Scope::WHOLE);
        assert!(
            found.iter().any(|difference| difference.kind == Kind::Role),
            "{statement} was not found: {found:?}"
        );
        before = after;
    }
}

#[tokio::test]
async fn a_sequence_behind_its_column_is_found_while_others_write() {
    let server = Server::shared(17);
    make(server, Registry::Population, "population_behind").await;
    let before = truth(server, "population_behind").await;
    let client = server.client("population_behind").await.unwrap();
    client
        .batch_execute("SELECT nextval('population.persons_id_seq')")
        .await
        .unwrap();
    let ahead = truth(server, "population_behind").await;
    assert_eq!(compare(&before, &ahead, Scope::WHILE_WRITING), []);
    client
        .batch_execute("SELECT setval('population.persons_id_seq', 1001)")
        .await
        .unwrap();
    let behind = compare(
        &before,
        &truth(server, "population_behind").await,
        Scope::WHILE_WRITING,
    );
    assert_eq!(behind.len(), 1);
    assert_eq!(behind[0].kind, Kind::SequenceValue);
}

#[tokio::test]
async fn the_truth_at_a_leaders_snapshot_stays_while_others_write_and_change_the_schema() {
    for (registry, major) in [
        (Registry::Population, 17),
        (Registry::Health, 15),
        (Registry::Business, 17),
    ] {
        let (server, database) = (Server::shared(major), format!("{}_snapshot", registry.id()));
        make(server, registry, &database).await;
        let quiet = truth(server, &database).await;
        let leader = server.client_as(DUMP_ROLE, &database).await.unwrap();
        leader
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .unwrap();
        let exported = leader
            .query_one(
                "SELECT pg_export_snapshot(), to_char(transaction_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')",
                &[],
            )
            .await
            .unwrap();
        let taken_at: String = exported.get(1);
        let churn = Churn::start(server.client(&database).await.unwrap(), registry);
        let held = at_snapshot_of(
            server.client(&database).await.unwrap(),
            DUMP_ROLE,
            &[],
            Duration::from_secs(20),
        )
        .await
        .unwrap();
        assert_eq!(held.taken_at, taken_at);
        leader.batch_execute("COMMIT").await.unwrap();
        // The leader is gone; the snapshot is not.
        let writer = server.client(&database).await.unwrap();
        write_more(&writer, registry, 100).await.unwrap();
        assert!(matches!(
            attempt_ddl(&writer, registry, 1, Duration::from_secs(20))
                .await
                .unwrap(),
            Ddl::Done(_)
        ));
        let at_snapshot = held.truth().await.unwrap();
        assert!(churn.stop().await.unwrap() > 0);
        assert_eq!(at_snapshot.tables(), quiet.tables());
        let differences: Vec<_> = compare(&quiet, &at_snapshot, Scope::WHILE_WRITING)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        let now = truth(server, &database).await;
        let kinds: Vec<_> = compare(&quiet, &now, Scope::WHILE_WRITING)
            .iter()
            .map(|difference| difference.kind)
            .collect();
        assert!(
            kinds.contains(&Kind::Rows) && kinds.contains(&Kind::Column),
            "{kinds:?}"
        );
    }
}

#[tokio::test]
async fn a_schema_change_gives_up_when_its_patience_ends() {
    let server = Server::shared(17);
    make(server, Registry::Business, "business_ddl").await;
    let reader = server.client("business_ddl").await.unwrap();
    reader
        .batch_execute("BEGIN; LOCK TABLE business.companies IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let writer = server.client("business_ddl").await.unwrap();
    assert_eq!(
        attempt_ddl(&writer, Registry::Business, 1, Duration::from_millis(50))
            .await
            .unwrap(),
        Ddl::GaveUp
    );
    reader.batch_execute("COMMIT").await.unwrap();
    assert!(matches!(
        attempt_ddl(&writer, Registry::Business, 1, Duration::from_secs(20))
            .await
            .unwrap(),
        Ddl::Done(_)
    ));
}

#[tokio::test]
async fn ten_thousand_tables_are_made_with_default_lock_settings() {
    let database = Server::shared(17).database().await.unwrap();
    let client = database.client().await.unwrap();
    client.batch_execute("CREATE SCHEMA many").await.unwrap();
    small_tables(&client, "many", 10_000).await.unwrap();
    assert_eq!(
        database
            .value("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]{5}$'")
            .await
            .unwrap(),
        "10000"
    );
}

#[tokio::test]
async fn tpch_has_the_rows_that_its_scale_says() {
    let database = Server::shared(17).database().await.unwrap();
    tpch::load(&database.client().await.unwrap(), 0.01).await.unwrap();
    for (table, rows) in [
        ("region", "5"),
        ("nation", "25"),
        ("part", "2000"),
        ("supplier", "100"),
        ("partsupp", "8000"),
    ] {
        assert_eq!(
            database
                .value(&format!("SELECT count(*) FROM {table}"))
                .await
                .unwrap(),
            rows
        );
    }
    for (table, rows) in [("customer", "1500"), ("orders", "15000"), ("lineitem", "60175")] {
        assert_eq!(
            database
                .value(&format!("SELECT count(*) FROM {table}"))
                .await
                .unwrap(),
            rows
        );
    }
}

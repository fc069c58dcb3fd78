//! Tables that are rewritten, replaced or renamed while a dump is taken: rule 3 of the dump.
//!
//! To a session in the snapshot such a table is empty, without an error. Each test fails where the dump does not look.

use crate::support::{MAJORS, Standing, plain_copy, somebody_waits, source, take, until};
use dataembassy_sidecar::postgresql::dump::{DumpError, Options};
use dataembassy_testkit::postgresql::{Database, Server};
use tokio_postgres::error::SqlState;

const FILL: &str = "INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 1000) n";

/// Runs a dump while a transaction is open that changes table `t`, lets it commit once the planner waits for its lock,
/// and checks that the dump holds what the transaction left behind. Without the check for rewritten tables the dump
/// holds an empty table and no error.
async fn dumps_what_was_committed(change: &str) {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute(&format!("CREATE TABLE t (a int, b text); {FILL}"))
            .await
            .unwrap();
        let rewriting = database.client().await.unwrap();
        rewriting
            .batch_execute(&format!("BEGIN; {change}"))
            .await
            .unwrap();
        let source = source(server, &database.name);
        let dumping = tokio::spawn(async move { take(&source).await });
        until(&database, &somebody_waits("dataembassy plan%")).await;
        rewriting.batch_execute("COMMIT").await.unwrap();
        let taken = dumping.await.unwrap().unwrap();
        assert_eq!(taken.tables()["public.t"].rows, 1000, "{change}");
        assert_eq!(
            taken.rows("public.t"),
            plain_copy(&database, "SELECT * FROM t"),
            "{change}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_truncated_and_refilled_across_the_snapshot_is_not_dumped_as_empty() {
    dumps_what_was_committed(&format!("TRUNCATE t; {FILL}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_rewritten_by_alter_type_across_the_snapshot_is_not_dumped_as_empty() {
    dumps_what_was_committed("ALTER TABLE t ALTER a TYPE bigint").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_replaced_by_another_of_its_name_across_the_snapshot_is_not_dumped_as_empty() {
    dumps_what_was_committed(
        "CREATE TABLE t2 (a int, b text); INSERT INTO t2 SELECT * FROM t; DROP TABLE t; ALTER TABLE t2 RENAME TO t",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_gives_its_name_to_another_across_the_snapshot_is_not_dumped_as_empty() {
    dumps_what_was_committed(
        "ALTER TABLE t RENAME TO t_before; CREATE TABLE t (a int, b text); INSERT INTO t SELECT * FROM t_before",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_rewritten_at_every_snapshot_end_the_run_by_name() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute(&format!("CREATE TABLE t (a int, b text); {FILL}"))
        .await
        .unwrap();
    let source = source(server, &database.name);
    let mut rewriting = database.client().await.unwrap();
    rewriting.batch_execute("BEGIN; TRUNCATE t").await.unwrap();
    let dumping = tokio::spawn(async move { take(&source).await });
    for _ in 0..4 {
        until(&database, &somebody_waits("dataembassy plan%")).await;
        // The next one queues behind the planner, so it has the lock before the planner can come again.
        let next = database.client().await.unwrap();
        let queued = tokio::spawn(async move {
            next.batch_execute("SET application_name = 'rewriter'; BEGIN; TRUNCATE t")
                .await
                .unwrap();
            next
        });
        until(&database, &somebody_waits("rewriter")).await;
        rewriting.batch_execute("COMMIT").await.unwrap();
        rewriting = queued.await.unwrap();
    }
    match dumping.await.unwrap() {
        Err(DumpError::SourceRewritten { tables, attempts: 4 }) => assert_eq!(tables, ["public.t"]),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

/// A database with a configuration table of an extension. `pg_dump` copies it and takes no lock on it, so it can be
/// rewritten after the plan was made.
async fn with_configuration_table(server: &'static Server) -> Database {
    let database = server.database().await.unwrap();
    database
        .execute(
            "CREATE EXTENSION hstore; CREATE TABLE t (a int, b text); ALTER EXTENSION hstore ADD TABLE t;
             UPDATE pg_extension SET extconfig = ARRAY['t'::regclass::oid], extcondition = ARRAY['']
             WHERE extname = 'hstore'",
        )
        .await
        .unwrap();
    database.execute(FILL).await.unwrap();
    database
}

/// Changes `t` while a dump stands at its first member. False where a worker was faster: it holds the table until its copy has ended, and another
/// dump has to be begun.
async fn changes_before_a_worker_comes(database: &Database, change: &str) -> bool {
    // Less than what a dump yields after.
    let patient = format!("SET lock_timeout = '5s'; {change}");
    let Err(error) = database.execute(&patient).await else {
        return true;
    };
    let code = error
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code);
    assert_eq!(code, Some(&SqlState::LOCK_NOT_AVAILABLE), "{error:#}");
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_rewritten_after_the_locks_were_looked_at_is_copied_in_a_new_snapshot() {
    for major in MAJORS {
        let database = with_configuration_table(Server::shared(major)).await;
        let refilled = "TRUNCATE t; INSERT INTO t SELECT n, 'new ' || n FROM generate_series(1, 700) n";
        let mut standing = Standing::begin(&source(database.server, &database.name), |_| {}).await;
        while !changes_before_a_worker_comes(&database, refilled).await {
            standing = Standing::begin(&source(database.server, &database.name), |_| {}).await;
        }
        let taken = standing.go_on().await.unwrap();
        assert_eq!(taken.tables()["public.t"].rows, 700);
        assert_eq!(taken.rows("public.t"), plain_copy(&database, "SELECT * FROM t"));
        assert_eq!(
            taken
                .members
                .iter()
                .filter(|(name, _)| name == "archive/toc.dat")
                .count(),
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_rewritten_in_every_copy_end_the_run_after_four_snapshots() {
    let database = with_configuration_table(Server::shared(17)).await;
    let mut standing = Standing::begin(&source(database.server, &database.name), |_| {}).await;
    let mut snapshots = 0;
    loop {
        snapshots += 1;
        if !changes_before_a_worker_comes(&database, &format!("TRUNCATE t; {FILL}")).await {
            standing = Standing::begin(&source(database.server, &database.name), |_| {}).await;
            snapshots = 0;
        } else if !standing.begins_anew().await {
            break;
        }
    }
    assert_eq!(snapshots, 4);
    match standing.outcome().await {
        Err(error @ DumpError::SourceRewritten { attempts: 4, .. }) => {
            assert_eq!(error.reason().as_str(), "SourceRewritten");
            assert!(error.to_string().contains("public.t"), "{error}");
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_renamed_under_the_workers_is_copied_in_a_new_snapshot() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        // Renaming a schema takes no lock on its tables.
        database
            .execute("CREATE SCHEMA before; CREATE TABLE before.t AS SELECT generate_series(1, 100) AS a; CREATE TABLE u (a int)")
            .await
            .unwrap();
        let standing = Standing::begin(&source(server, &database.name), |_| {}).await;
        database
            .execute("ALTER SCHEMA before RENAME TO later")
            .await
            .unwrap();
        let taken = standing.go_on().await.unwrap();
        let tables: Vec<_> = taken.tables().into_keys().collect();
        assert_eq!(tables, ["later.t", "public.u"]);
        assert_eq!(taken.tables()["later.t"].rows, 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_that_exchange_their_names_under_the_workers_are_copied_in_a_new_snapshot() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute(
                "CREATE SCHEMA live; CREATE TABLE live.t AS SELECT n AS a, repeat('x', 100) AS b FROM generate_series(1, 100000) n;
                 CREATE SCHEMA \"Next one\"; CREATE TABLE \"Next one\".t AS SELECT 1 AS a, 'one' AS b",
            )
            .await
            .unwrap();
        // One worker, which is amid the larger table and comes to the other under its new name.
        let one_worker = |options: &mut Options| options.max_connections = 3;
        let standing = Standing::begin(&source(server, &database.name), one_worker).await;
        let copies = "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
                      AND application_name = 'dataembassy copy' AND query LIKE 'COPY%')";
        until(&database, copies).await;
        database
            .execute(
                "ALTER SCHEMA live RENAME TO aside; ALTER SCHEMA \"Next one\" RENAME TO live;
                 ALTER SCHEMA aside RENAME TO \"Next one\"",
            )
            .await
            .unwrap();
        let taken = standing.go_on().await.unwrap();
        let rows = |table: &str| taken.tables()[table].rows;
        assert_eq!((rows("live.t"), rows("Next one.t")), (1, 100_000));
        assert_eq!(
            taken.rows("live.t"),
            plain_copy(&database, "SELECT * FROM live.t")
        );
    }
}

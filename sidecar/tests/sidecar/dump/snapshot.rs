//! One consistent image, whatever happens at the source: rules 4 and 6 of the dump, and what the probe says.

use std::time::Duration;

use crate::support;
use crate::support::{MAJORS, Standing, somebody_waits, source, take_with, until};
use dataembassy_sidecar::postgresql::dump::{DumpError, probe};
use dataembassy_testkit::postgresql::Server;

const FILL: &str = "INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 1000) n";

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_ddl_queued_for_it_is_copied_by_the_session_that_holds_its_lock() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute(&format!(
                "CREATE TABLE t (a int, b text); CREATE TABLE u (a int); {FILL}"
            ))
            .await
            .unwrap();
        let standing = Standing::begin(&source(server, &database.name), |_| {}).await;

        let client = database.client().await.unwrap();
        let altering = tokio::spawn(async move {
            client
                .batch_execute("SET application_name = 'ddl'; ALTER TABLE t ADD c int DEFAULT random()")
                .await
        });
        until(&database, &somebody_waits("ddl")).await;
        // A reader of the registry that comes now queues behind the DDL, and must not queue for long.
        let client = database.client().await.unwrap();
        let reading = tokio::spawn(async move { client.query("SELECT a FROM t", &[]).await });

        let taken = standing.go_on().await.unwrap();
        assert_eq!(taken.tables()["public.t"].rows, 1000);
        tokio::time::timeout(Duration::from_secs(30), altering)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(
            tokio::time::timeout(Duration::from_secs(30), reading)
                .await
                .unwrap()
                .unwrap()
                .unwrap()
                .len(),
            1000
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_waits_for_our_locks_too_long_ends_the_run() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute(&format!("CREATE TABLE t (a int, b text); {FILL}"))
        .await
        .unwrap();
    let standing = Standing::begin(&source(server, &database.name), |options| {
        options.yield_to_ddl_after = Duration::from_secs(2);
    })
    .await;
    let client = database.client().await.unwrap();
    let altering = tokio::spawn(async move { client.batch_execute("ALTER TABLE t ADD c int").await });
    // Nothing is taken any more, as if the store had stalled: only giving way lets the DDL go on.
    let outcome = standing.outcome().await;
    assert!(
        matches!(outcome, Err(DumpError::YieldedToDdl { .. })),
        "{:?}",
        outcome.map(|_| ())
    );
    tokio::time::timeout(Duration::from_secs(30), altering)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

/// Dumps a table of many ranges, kills our session of that name after the first of them, and returns the outcome.
async fn outcome_when_killed(major: u32, application: &str) -> Result<(), DumpError> {
    let server = Server::shared(major);
    let database = server.database().await.unwrap();
    database
        .execute("CREATE TABLE t AS SELECT n AS a, repeat('x', 1000) AS b FROM generate_series(1, 20000) n")
        .await
        .unwrap();
    let mut standing = Standing::begin(&source(server, &database.name), |options| {
        options.range_bytes = 2 * 1024 * 1024;
    })
    .await;
    while !standing
        .next()
        .await
        .unwrap()
        .name
        .to_string()
        .starts_with("parts/")
    {}
    let killed = format!(
        "count(pg_terminate_backend(pid)) = 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = '{application}'"
    );
    assert_eq!(database.value(&format!("SELECT {killed}")).await.unwrap(), "true");
    while standing.next().await.is_some() {}
    standing.outcome().await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_the_session_with_the_locks_between_two_ranges_fails_the_run() {
    for major in MAJORS {
        let outcome = outcome_when_killed(major, "dataembassy plan and locks").await;
        assert!(
            matches!(outcome, Err(DumpError::HolderLost { what: "locks", .. })),
            "{outcome:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_the_leader_fails_the_run() {
    for major in MAJORS {
        let outcome = outcome_when_killed(major, "dataembassy snapshot").await;
        assert!(
            matches!(outcome, Err(DumpError::HolderLost { what: "snapshot", .. })),
            "{outcome:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_held_too_long_ends_the_run_and_leaves_no_session_behind() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute(&format!("CREATE TABLE t (a int, b text); {FILL}"))
        .await
        .unwrap();
    let source = source(server, &database.name);
    let standing = Standing::begin(&source, |options| {
        options.max_snapshot_age = Duration::from_secs(4);
    })
    .await;
    let outcome = standing.outcome().await;
    assert!(
        matches!(outcome, Err(DumpError::SnapshotTooOld { .. })),
        "{:?}",
        outcome.map(|_| ())
    );
    until(
        &database,
        "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump')",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_during_the_dump_is_not_in_it_and_sequences_are_at_or_past_the_snapshot() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute("CREATE TABLE t (id bigserial PRIMARY KEY, b text); INSERT INTO t (b) SELECT 'before' FROM generate_series(1, 500)")
            .await
            .unwrap();
        let client = database.client().await.unwrap();
        let writer = tokio::spawn(async move {
            loop {
                client
                    .batch_execute("INSERT INTO t (b) SELECT 'during' FROM generate_series(1, 10)")
                    .await
                    .unwrap();
            }
        });
        let standing = Standing::begin(&source(server, &database.name), |_| {}).await;
        database.execute("DELETE FROM t WHERE id <= 250").await.unwrap();
        let taken = standing.go_on().await.unwrap();
        writer.abort();
        let text = String::from_utf8(taken.rows("public.t")).unwrap();
        let ids: Vec<i64> = text
            .lines()
            .map(|line| line.split('\t').next().unwrap().parse().unwrap())
            .collect();
        assert!(
            ids.contains(&1) && ids.contains(&500),
            "the snapshot was taken before the deletion"
        );
        let highest = *ids.iter().max().unwrap();
        assert_eq!(ids.len() as u64, taken.tables()["public.t"].rows);

        let target = server.database().await.unwrap();
        taken.restore_into(&target);
        let next: i64 = target
            .value("SELECT nextval('t_id_seq')")
            .await
            .unwrap()
            .parse()
            .unwrap();
        assert!(
            next > highest,
            "the next value {next} was given out before: {highest} is in the dump"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_uses_no_more_connections_than_it_may() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute("CREATE TABLE t AS SELECT n AS a, repeat('x', 1000) AS b FROM generate_series(1, 20000) n")
        .await
        .unwrap();
    let mut standing = Standing::begin(&source(server, &database.name), |options| {
        options.range_bytes = 1024 * 1024;
        options.max_connections = 4;
    })
    .await;
    let ours =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump'";
    let mut most = 0;
    while standing.next().await.is_some() {
        most = most.max(database.value(ours).await.unwrap().parse::<u32>().unwrap());
    }
    standing.outcome().await.unwrap();
    assert_eq!(most, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_knows_the_database_and_says_what_a_role_lacks() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute(
                "CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
                 DROP ROLE IF EXISTS reads_nothing; CREATE ROLE reads_nothing LOGIN PASSWORD 'correct horse battery staple'",
            )
            .await
            .unwrap();
        let found = probe(&source(server, &database.name)).await.unwrap();
        assert_eq!(found.version_number / 10_000, major);
        assert_eq!(
            found.database_oid.to_string(),
            database
                .value("SELECT oid FROM pg_database WHERE datname = current_database()")
                .await
                .unwrap()
        );
        assert_eq!(found.encoding, "UTF8");

        let error = probe(&support::source_as(server, &database.name, "reads_nothing"))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, DumpError::NotReadable { tables } if *tables == ["public.t"]),
            "{error}"
        );
        database
            .execute("GRANT pg_read_all_data TO reads_nothing")
            .await
            .unwrap();
        let error = probe(&support::source_as(server, &database.name, "reads_nothing"))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, DumpError::RowSecurity { tables } if *tables == ["public.t"]),
            "{error}"
        );
        let error = take_with(
            &support::source_as(server, &database.name, "reads_nothing"),
            |_| {},
        )
        .await
        .map(|_| ())
        .unwrap_err();
        assert!(
            matches!(&error, DumpError::RowSecurity { tables } if *tables == ["public.t"]),
            "{error}"
        );
    }
}

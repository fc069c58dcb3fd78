//! Everything from one server: rule 1 of the dump, for balancers, changed sources and standbys.

use std::time::Duration;

use crate::support::{MAJORS, Standing, Taken, network, plain_copy, source, take, take_expecting};
use dataembassy_archive::inventory::Line;
use dataembassy_sidecar::postgresql::{
    dump::{DumpError, Identity, probe},
    planner::PlannerError,
    session::SessionError,
};
use dataembassy_testkit::postgresql::Server;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_lead_to_two_servers_are_found_out() {
    let (first, second) = (Server::shared(15), Server::shared(17));
    let balancer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut source = source(first, "postgres");
    network(&mut source).port = balancer.local_addr().unwrap().port();
    network(&mut source)
        .tls
        .authorities
        .extend_from_slice(second.authority().certificate().as_bytes());
    let ports = [first.port(), second.port()];
    tokio::spawn(async move {
        for port in ports.into_iter().cycle() {
            let (mut ours, _) = balancer.accept().await.unwrap();
            let mut theirs = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut ours, &mut theirs).await.ok() });
        }
    });
    let error = take(&source).await.map(|_| ()).unwrap_err();
    let session = match &error {
        DumpError::Planner(PlannerError::Session(error)) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(session, SessionError::NotOneServer { .. }), "{error}");
    assert_eq!(error.reason().as_str(), "SourceNotOneServer");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_than_the_expected_one_is_asked_for_nothing_more() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        let source = source(server, &database.name);
        let found = probe(&source).await.unwrap();
        let identity = |database_oid| Identity {
            system_identifier: found.system_identifier.to_string(),
            database_oid,
        };
        let wrong = vec![identity(found.database_oid + 1), identity(1)];
        database
            .execute(&format!(
                "ALTER DATABASE {} SET log_statement = 'all'",
                database.name
            ))
            .await
            .unwrap();
        let error = take_expecting(&source, wrong, |_| {})
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(
            matches!(&error, DumpError::SourceChanged { database_oid, .. } if *database_oid == found.database_oid),
            "{error}"
        );
        assert_eq!(error.reason().as_str(), "SourceChanged");
        assert!(error.is_permanent());
        assert!(!server.log().contains("pg_export_snapshot"));

        let right = vec![identity(1), identity(found.database_oid)];
        take_expecting(&source, right, |_| {}).await.unwrap();
        assert!(server.log().contains("pg_export_snapshot"));
    }
}

fn warnings(taken: &Taken) -> Vec<&str> {
    let warnings = taken.dumped.lines.iter().filter_map(|line| match line {
        Line::Warning(warning) => Some(warning.text.as_str()),
        _ => None,
    });
    warnings.collect()
}

/// Changes a setting of a running server and waits until new sessions have it.
async fn set(server: &Server, setting: &str, value: &str) {
    let client = server.client("postgres").await.unwrap();
    client
        .batch_execute(&format!("ALTER SYSTEM SET {setting} = {value}"))
        .await
        .unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let current = format!("SHOW {setting}");
    let taken_over = async {
        loop {
            let session = server.client("postgres").await.unwrap();
            let found: String = session.query_one(&current, &[]).await.unwrap().get(0);
            if found == value {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), taken_over)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_dumped_and_warned_about_where_it_does_not_tell_its_primary() {
    let primary = Server::lasting(17).unwrap();
    let database = primary.database().await.unwrap();
    database
        .execute(
            "CREATE TABLE t AS SELECT n AS a, 'row ' || n AS b FROM generate_series(1, 3000) n;
             CREATE UNLOGGED TABLE passing AS SELECT 1 AS a; SELECT lo_from_bytea(4711, 'large')",
        )
        .await
        .unwrap();
    let standby = primary.standby().unwrap();
    let source = source(&standby, &database.name);
    assert!(probe(&source).await.unwrap().standby);

    let taken = take(&source).await.unwrap();
    assert_eq!(taken.rows("public.t"), plain_copy(&database, "SELECT * FROM t"));
    assert_eq!(taken.file("blob_4711.dat"), b"large");
    assert!(
        matches!(warnings(&taken)[..], [warning] if warning.contains("hot_standby_feedback")),
        "{:?}",
        warnings(&taken)
    );
    // It is said, and no reason to doubt the copy.
    assert_eq!(taken.dumped.warnings, Vec::<String>::new());
    let lost = taken.dumped.lines.iter().find_map(|line| match line {
        Line::NotCarried(lost) => Some((lost.what.as_str(), lost.name.as_str())),
        _ => None,
    });
    assert_eq!(lost, Some(("rows of an unlogged table", "public.passing")));
    let target = primary.database().await.unwrap();
    taken.restore_into(&target);
    assert_eq!(target.value("SELECT count(*) FROM t").await.unwrap(), "3000");

    set(&standby, "hot_standby_feedback", "on").await;
    let taken = take(&source).await.unwrap();
    assert_eq!(warnings(&taken), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_must_go_on_replaying_ends_the_run_by_that_name() {
    let primary = Server::lasting(17).unwrap();
    let database = primary.database().await.unwrap();
    database
        .execute("CREATE TABLE t AS SELECT generate_series(1, 3000) AS a")
        .await
        .unwrap();
    let standby = primary.standby().unwrap();
    set(&standby, "max_standby_streaming_delay", "0").await;
    let standing = Standing::begin(&source(&standby, &database.name), |_| {}).await;
    // What the snapshot at the standby still sees is removed at the primary, which knows nothing of it.
    database.execute("DELETE FROM t").await.unwrap();
    database.execute("VACUUM t").await.unwrap();
    let error = standing.outcome().await.map(|_| ()).unwrap_err();
    assert_eq!(error.reason().as_str(), "StandbyConflict", "{error}");
}

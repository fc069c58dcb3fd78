//! What happens to a registry while it is mirrored: its database goes away or is made anew, its sessions die, a right is taken, its rows
//! become noise. What was copied before stays, and what happened is said.

use crate::bench::mirror::MirrorBench;
use crate::support::{Standing, source, source_as, take, until};
use dataembassy_contract::Reason;
use dataembassy_contract::config::SourceIdentity;
use dataembassy_contract::report::{CheckState, Outcome, Report};
use dataembassy_testkit::postgresql::{Database, PASSWORD, Server};

const LARGE: &str = "CREATE TABLE large AS SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 40) j) AS text \
    FROM generate_series(1, 40000) i";

fn failed(report: &Report, trigger: &str) -> Option<Reason> {
    let mut runs = report.recent_runs.iter();
    let run = runs.find(|run| run.trigger.as_deref() == Some(trigger))?;
    (run.outcome == Outcome::Failed).then_some(run.reason)
}

async fn value(database: &Database, query: &str) -> String {
    database.value(query).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_dropped_is_missed_and_one_made_anew_under_its_name_is_not_taken_for_it() {
    let mut bench = MirrorBench::start(17).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let postgres = bench.database.server.client("postgres").await.unwrap();
    let name = bench.database.name.clone();
    postgres
        .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
        .await
        .unwrap();
    bench.config.trigger = Some("dropped".into());
    bench.write_config();
    let missed = |report: &Report| report.source.state == CheckState::False;
    let report = sidecar.until("the database to be missed", missed).await;
    assert!(report.source.message.contains(&name), "{report:#?}");

    postgres
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    bench
        .database
        .execute("CREATE TABLE person (id int)")
        .await
        .unwrap();
    bench.config.trigger = Some("made-anew".into());
    bench.write_config();
    let refused = |report: &Report| failed(report, "made-anew").is_some();
    let report = sidecar.until("the refusal", refused).await;
    assert_eq!(
        failed(&report, "made-anew"),
        Some(Reason::SourceChanged),
        "{report:#?}"
    );
    assert_eq!(bench.whole_copies().await, 1);

    let identity = SourceIdentity {
        system_identifier: value(
            &bench.database,
            "SELECT system_identifier FROM pg_control_system()",
        )
        .await,
        database_oid: value(
            &bench.database,
            "SELECT oid FROM pg_database WHERE datname = current_database()",
        )
        .await
        .parse()
        .unwrap(),
    };
    bench.config.source.accepted_identity = Some(identity);
    bench.config.trigger = Some("accepted".into());
    bench.write_config();
    sidecar.until_copy(2).await;
    assert_eq!(bench.whole_copies().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_become_noise_cost_no_copy_of_before() {
    let mut bench = MirrorBench::start(17).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    bench
        .database
        .execute("UPDATE person SET name = md5(random()::text)")
        .await
        .unwrap();
    bench.config.trigger = Some("noise".into());
    bench.write_config();
    let report = sidecar.until_copy(2).await;
    assert_ne!(report.last_copy.unwrap().sequence, 1);
    assert_eq!(bench.whole_copies().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_killed_in_the_middle_of_a_copy_fails_the_run_and_the_next_one_succeeds() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database.execute(LARGE).await.unwrap();
    let from = source(server, &database.name);
    let standing = Standing::begin(&from, |options| options.max_connections = 4).await;
    let copying = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump' AND query LIKE 'COPY%large%' AND state = 'active'";
    until(&database, &format!("EXISTS ({copying})")).await;
    let killed = copying.replace("SELECT FROM", "SELECT count(pg_terminate_backend(pid)) FROM");
    assert_ne!(value(&database, &killed).await, "0");
    let error = standing.go_on().await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::SourceLost, "{error}");
    take(&from).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_in_the_middle_of_a_copy_is_told_as_that() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    let role = format!("reader_of_{}", database.name);
    let make = format!(
        "CREATE ROLE {role} LOGIN BYPASSRLS PASSWORD '{PASSWORD}' IN ROLE pg_read_all_data; {LARGE}; \
         CREATE TABLE later AS SELECT * FROM large"
    );
    database.execute(&make).await.unwrap();
    let from = source_as(server, &database.name, &role);
    let standing = Standing::begin(&from, |options| options.max_connections = 3).await;
    let client = database.client().await.unwrap();
    client
        .batch_execute(&format!("REVOKE pg_read_all_data FROM {role}"))
        .await
        .unwrap();
    // What is being read is read to its end; the next statement is not allowed any more.
    let error = standing.go_on().await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::SourcePrivilegesMissing, "{error}");
    client
        .batch_execute(&format!("GRANT pg_read_all_data TO {role}"))
        .await
        .unwrap();
    take(&from).await.unwrap();
}

//! What happens to a registry while it is mirrored: its database goes away or is made anew, its server crashes, hands over to a standby or runs
//! out of disk, its sessions die, a right is taken, its rows become noise. What was copied before stays, and what happened is said.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::bench::mirror::{MirrorBench, ended};
use crate::bench::process::signal;
use crate::bench::sequence;
use crate::restore::embassy::age_keygen;
use crate::support::{Standing, plain_copy, source, source_as, take, until};
use dataembassy_contract::config::SourceIdentity;
use dataembassy_contract::report::{CheckState, Outcome, Report};
use dataembassy_contract::{Reason, files};
use dataembassy_sidecar::restore::copy::Choice;
use dataembassy_testkit::postgresql::{Database, PASSWORD, Server, scripted_pg_dump};
use tokio::net::{TcpListener, TcpStream};

use super::{reads_by_itself, restored, sealed_to};

const VOLUME_MIB: u32 = 24;

const LARGE: &str = "CREATE TABLE large AS SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 40) j) AS text \
    FROM generate_series(1, 40000) i";

fn failed(report: &Report, trigger: &str) -> Option<Reason> {
    ended(report, trigger).and_then(|(outcome, reason)| (outcome == Outcome::Failed).then_some(reason))
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
async fn rows_that_become_noise_of_the_same_size_cost_no_copy_of_before_and_make_none_suspicious() {
    let rows = "SELECT * FROM person ORDER BY id";
    let mut bench = MirrorBench::start(17).await;
    let identity = age_keygen();
    bench.config.embassy.recipients = sealed_to(&identity);
    bench.write_config();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let before = plain_copy(&bench.database, rows);
    bench
        .database
        .execute("UPDATE person SET name = md5(random()::text)")
        .await
        .unwrap();
    bench.config.trigger = Some("noise".into());
    bench.write_config();
    let copied = |report: &Report| ended(report, "noise").is_some();
    let report = sidecar.until("the copy of the noise", copied).await;
    let copied = Some((Outcome::Copied, Reason::Copied));
    assert_eq!(ended(&report, "noise"), copied, "{report:#?}");
    assert_eq!(report.last_copy.as_ref().unwrap().sequence, 2);
    // A suspicion is about a copy's size, and noise of the same size has none: what a drill asks tells it, and what was copied before stays.
    assert!(report.suspicious.is_none(), "{report:#?}");
    assert_eq!(bench.whole_copies().await, 2);

    let noise = plain_copy(&bench.database, rows);
    assert!(noise != before);
    let first = restored(&bench, &identity, Choice::Sequence(sequence(1))).await;
    assert!(
        plain_copy(&first, rows) == before,
        "the copy of before is another one"
    );
    let second = restored(&bench, &identity, Choice::Sequence(sequence(2))).await;
    assert!(
        plain_copy(&second, rows) == noise,
        "the copy of the noise is another one"
    );
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

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_row_security_begins_to_hide_are_missed_and_no_copy_is_made_without_them() {
    let mut bench = MirrorBench::start(17).await;
    let role = reads_by_itself(&mut bench).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let objects = bench.objects().await;
    let hide = format!(
        "ALTER TABLE person ENABLE ROW LEVEL SECURITY; CREATE POLICY half ON person USING (id <= 10000); \
         ALTER ROLE {role} NOBYPASSRLS"
    );
    bench.database.execute(&hide).await.unwrap();
    bench.config.trigger = Some("hidden".into());
    bench.write_config();
    let is_over = |report: &Report| ended(report, "hidden").is_some();
    let report = sidecar.until("the refusal", is_over).await;
    let refused = Some(Reason::SourcePrivilegesMissing);
    assert_eq!(failed(&report, "hidden"), refused, "{report:#?}");
    assert!(report.recent_runs[0].message.contains("person"), "{report:#?}");
    assert_eq!(bench.objects().await, objects, "half of a copy was sent");

    let show = format!("ALTER ROLE {role} BYPASSRLS");
    bench.database.execute(&show).await.unwrap();
    bench.config.trigger = Some("shown".into());
    bench.write_config();
    sidecar.until_copy(2).await;
    assert_eq!(bench.whole_copies().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_newer_than_every_client_is_told_as_that_and_asked_for_nothing() {
    let mut bench = MirrorBench::start(17).await;
    let older = scripted_pg_dump(15, "exec \"$real\" \"$@\"").unwrap();
    older.path().clone_into(&mut bench.programs);
    bench.config.trigger = Some("older".into());
    bench.write_config();
    let sidecar = bench.sidecar();
    let is_over = |report: &Report| ended(report, "older").is_some();
    let report = sidecar.until("the refusal", is_over).await;
    let refused = Some(Reason::SourceVersionUnsupported);
    assert_eq!(failed(&report, "older"), refused, "{report:#?}");
    assert!(report.recent_runs[0].message.contains("17"), "{report:#?}");
    assert_eq!(bench.objects().await, Vec::<String>::new());
    assert_eq!(bench.whole_copies().await, 0);
}

/// The `pg_dump` that plans for a sidecar whose folder this is.
fn planner_in(folder: &Path) -> Option<String> {
    let folder = folder.to_str().unwrap();
    fs::read_dir("/proc").unwrap().flatten().find_map(|process| {
        let command = fs::read(process.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command);
        // The sidecar names its folder too.
        let is_planner = command.contains(folder) && command.contains("--snapshot=");
        is_planner.then(|| process.file_name().into_string().ok())?
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pg_dump_that_is_killed_costs_its_run_and_leaves_nobody_waiting_at_the_source() {
    let mut bench = MirrorBench::start(17).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let (_, holder) = bench.held_run(&sidecar, "killed").await;
    signal("KILL", planner_in(bench.folder.path()).unwrap());
    let is_over = |report: &Report| ended(report, "killed").is_some();
    let report = sidecar.until("the run to end", is_over).await;
    assert_eq!(
        failed(&report, "killed"),
        Some(Reason::PlanningFailed),
        "{report:#?}"
    );
    // It waited for a lock, which is still held.
    until(
        &bench.database,
        "NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'person'::regclass)",
    )
    .await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    bench.config.trigger = Some("again".into());
    bench.write_config();
    sidecar.until_copy(2).await;
    assert_eq!(bench.whole_copies().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_in_mid_run_ends_that_run_and_is_mirrored_once_it_is_back() {
    let mut bench = MirrorBench::of(Server::lasting(17).unwrap().database().await.unwrap()).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let (holder, _session) = bench.held_run(&sidecar, "crash").await;
    // A server trusts no memory that a killed process may have left: it ends all sessions, recovers, and begins anew.
    signal("KILL", &holder);
    let lost = |report: &Report| failed(report, "crash").is_some();
    let report = sidecar.until("the run to end", lost).await;
    assert_eq!(failed(&report, "crash"), Some(Reason::SourceLost), "{report:#?}");
    let report = sidecar.until_copy(2).await;
    assert_eq!(report.source.state, CheckState::True, "{report:#?}");
    assert_eq!(bench.whole_copies().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_takes_over_in_mid_run_is_the_same_registry() {
    let primary = Server::lasting(17).unwrap();
    let mut bench = MirrorBench::of(primary.database().await.unwrap()).await;
    let standby: &'static Server = Box::leak(Box::new(primary.standby().unwrap()));
    // The registry's address, behind which another server may stand tomorrow.
    let serving = Arc::new(AtomicU16::new(primary.port()));
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let postgresql = bench.config.source.postgresql.as_mut().unwrap();
    postgresql.port = address.local_addr().unwrap().port();
    let behind = Arc::clone(&serving);
    tokio::spawn(async move {
        while let Ok((mut ours, _)) = address.accept().await {
            let port = behind.load(Ordering::Relaxed);
            // Nobody may be there: the session ends, as at the address itself.
            tokio::spawn(async move {
                let mut theirs = TcpStream::connect(("127.0.0.1", port)).await?;
                tokio::io::copy_bidirectional(&mut ours, &mut theirs).await
            });
        }
    });
    let authorities = [primary, standby].map(|server| server.authority().certificate());
    bench.write_secret(files::DATABASE_CA, &authorities.concat());
    bench.write_config();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;

    let _held = bench.held_run(&sidecar, "failover").await;
    primary_dies(primary);
    let lost = |report: &Report| ended(report, "failover").is_some();
    let report = sidecar.until("the end of the run amid the failover", lost).await;
    assert_eq!(
        failed(&report, "failover"),
        Some(Reason::SourceLost),
        "{report:#?}"
    );
    assert!(!report.recent_runs[0].message.is_empty(), "{report:#?}");
    let promoted = standby.client("postgres").await.unwrap();
    let row = promoted.query_one("SELECT pg_promote()", &[]).await.unwrap();
    assert!(row.get::<_, bool>(0));
    serving.store(standby.port(), Ordering::Relaxed);
    let there = Database {
        server: standby,
        name: bench.database.name.clone(),
    };
    there
        .execute("INSERT INTO person VALUES (-1, 'after the failover')")
        .await
        .unwrap();
    bench.config.trigger = Some("taken-over".into());
    bench.write_config();
    let taken_over = |report: &Report| {
        let mut runs = report.recent_runs.iter();
        runs.any(|run| run.trigger.as_deref() == Some("taken-over") && run.outcome == Outcome::Copied)
    };
    let report = sidecar.until("a copy of the new primary", taken_over).await;
    assert_eq!(report.source.state, CheckState::True, "{report:#?}");
    let changed = report
        .recent_runs
        .iter()
        .any(|run| run.reason == Reason::SourceChanged);
    assert!(!changed, "{report:#?}");
    assert!(bench.whole_copies().await >= 2);
}

/// At once, as a machine that loses its power.
fn primary_dies(primary: &Server) {
    let file = primary.socket_directory().join("data/postmaster.pid");
    let text = std::fs::read_to_string(file).unwrap();
    signal("QUIT", text.lines().next().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_whose_disk_is_full_is_mirrored_all_the_same() {
    let server = Server::lasting(17).unwrap();
    let volume = server.small_tablespace(VOLUME_MIB).await.unwrap();
    let database = server
        .database_with(&format!("TABLESPACE {volume}"))
        .await
        .unwrap();
    let mut bench = MirrorBench::of(database).await;
    bench
        .database
        .execute("CREATE TABLE filling (text text)")
        .await
        .unwrap();
    // In ever smaller pieces, until not even one page is left.
    for rows in [10_000, 1_000, 100, 1] {
        let fill = format!("INSERT INTO filling SELECT repeat('x', 1000) FROM generate_series(1, {rows})");
        let said = loop {
            if let Err(error) = bench.database.execute(&fill).await {
                break format!("{error:#}");
            }
        };
        assert!(said.contains("No space left on device"), "{said}");
    }
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    bench.config.trigger = Some("still-full".into());
    bench.write_config();
    sidecar.until_copy(2).await;
    assert_eq!(bench.whole_copies().await, 2);
}

/// Frozen in the middle of a run, as by a machine that is suspended: it says nothing more, and no connection of it is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_falls_silent_keeps_the_snapshot_and_the_plans_locks_for_a_minute_at_most() {
    let bench = MirrorBench::start(17).await;
    // A run stands still in the middle: what it reads of a configuration table waits until we let it pass.
    let prepare = "CREATE EXTENSION hstore; CREATE TABLE gate AS SELECT 1 AS i; ALTER EXTENSION hstore ADD TABLE gate; \
        CREATE FUNCTION passed() RETURNS bool LANGUAGE sql AS 'SELECT true FROM pg_advisory_xact_lock_shared(1)'; \
        UPDATE pg_extension SET extconfig = ARRAY['gate'::regclass::oid], extcondition = ARRAY['WHERE public.passed()'] \
        WHERE extname = 'hstore'";
    bench.database.execute(prepare).await.unwrap();
    let holding = bench.database.client().await.unwrap();
    holding.batch_execute("SELECT pg_advisory_lock(1)").await.unwrap();
    let sidecar = bench.sidecar();
    let waits = "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump' AND wait_event = 'advisory')";
    until(&bench.database, waits).await;
    let holders = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND application_name IN ('dataembassy snapshot', 'dataembassy plan and locks')";
    assert_eq!(value(&bench.database, holders).await, "2");

    sidecar.signal("STOP");
    let begun = Instant::now();
    while value(&bench.database, holders).await != "0" {
        assert!(
            // The server looks at its own clock, late on a busy machine; without its limits it would be hours.
            begun.elapsed() < Duration::from_mins(2),
            "its sessions outlast it"
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    sidecar.signal("CONT");
    let has_failed = |report: &Report| !report.recent_runs.is_empty();
    let report = sidecar.until("the run's end", has_failed).await;
    let run = &report.recent_runs[0];
    assert_eq!(
        (run.outcome, run.reason),
        (Outcome::Failed, Reason::SourceLost),
        "{run:#?}"
    );
    assert_eq!(bench.whole_copies().await, 0);

    drop(holding);
    sidecar.until_copy(1).await;
    assert_eq!(bench.whole_copies().await, 1);
}

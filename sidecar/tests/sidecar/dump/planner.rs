//! When `pg_dump` does not do what it should: killed, hung, ending early, without room, or saying something new.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use crate::bench::process::signal;
use crate::support::{MAJORS, somebody_waits, source, take, take_with, until};
use dataembassy_sidecar::postgresql::{Source, dump::DumpError, planner::PlannerError};
use dataembassy_testkit::postgresql::{Database, PASSWORD, Server, scripted_pg_dump};
use tempfile::TempDir;

/// A source whose `pg_dump` is a script.
fn with_program(mut source: Source, major: u32, script: &str) -> (Source, TempDir) {
    let directory = scripted_pg_dump(major, script).unwrap();
    directory.path().clone_into(&mut source.programs);
    (source, directory)
}

async fn table(server: &'static Server) -> Database {
    let database = server.database().await.unwrap();
    database
        .execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    database
}

async fn failure(source: &Source) -> DumpError {
    take_with(source, |options| options.planning_limit = Duration::from_secs(20))
        .await
        .map(|_| ())
        .unwrap_err()
}

/// The process id of the `pg_dump` that plans into this scratch directory.
fn planner_of(scratch: &Path) -> Option<String> {
    let scratch = scratch.to_str().unwrap();
    fs::read_dir("/proc").unwrap().flatten().find_map(|process| {
        let command = fs::read(process.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&command)
            .contains(scratch)
            .then(|| process.file_name().into_string().ok())?
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pg_dump_killed_in_the_middle_fails_the_run() {
    for major in MAJORS {
        let database = table(Server::shared(major)).await;
        let blocking = database.client().await.unwrap();
        blocking.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
        let source = source(database.server, &database.name);
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path().join("planning");
        let planning = place.clone();
        let dumping = tokio::spawn(async move {
            take_with(&source, |options| options.scratch = planning)
                .await
                .map(|_| ())
        });
        until(&database, &somebody_waits("dataembassy plan%")).await;
        signal("KILL", planner_of(&place).unwrap());
        let error = dumping.await.unwrap().unwrap_err();
        assert!(
            matches!(error, DumpError::Planner(PlannerError::Failed { .. })),
            "{error}"
        );
        assert_eq!(error.reason().as_str(), "PlanningFailed");
        // Its session at the source, which waited for a lock, is cancelled rather than left to wait.
        until(&database, "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump')").await;
        assert_eq!(
            fs::read_dir(&place).unwrap().count(),
            0,
            "the plan's files are gone"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pg_dump_that_hangs_is_ended() {
    let database = table(Server::shared(17)).await;
    let (source, _programs) = with_program(source(database.server, &database.name), 17, "exec sleep 600");
    let error = take_with(&source, |options| options.planning_limit = Duration::from_secs(2))
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(error, DumpError::Planner(PlannerError::Hung { seconds: 2 })),
        "{error}"
    );
    assert_eq!(error.reason().as_str(), "PlanningStalled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pg_dump_that_waits_for_a_lock_too_long_says_so() {
    let database = table(Server::shared(17)).await;
    let blocking = database.client().await.unwrap();
    blocking.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
    let source = source(database.server, &database.name);
    let error = take_with(&source, |options| options.lock_wait = Duration::from_secs(1))
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.reason().as_str(), "PlanningStalled", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pg_dump_that_ends_early_with_status_0_is_not_believed() {
    for major in MAJORS {
        let database = table(Server::shared(major)).await;
        let plain = || source(database.server, &database.name);
        let (never_came, _programs) = with_program(plain(), major, "exit 0");
        let error = failure(&never_came).await;
        assert!(
            matches!(error, DumpError::Planner(PlannerError::EndedEarly(_))),
            "{error}"
        );

        let (no_rows, _programs) = with_program(plain(), major, "exec \"$real\" --schema-only \"$@\"");
        let error = failure(&no_rows).await;
        assert!(
            matches!(&error, DumpError::Inconsistent(what) if what.contains("public.t")),
            "{error}"
        );
        assert_eq!(error.reason().as_str(), "DumpInconsistent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_at_the_planners_socket_is_turned_away() {
    let database = table(Server::shared(17)).await;
    // A child has another process id than the one that was started.
    let (source, _programs) = with_program(
        source(database.server, &database.name),
        17,
        "\"$real\" \"$@\"; exit $?",
    );
    let error = failure(&source).await;
    assert!(
        matches!(error, DumpError::Planner(PlannerError::Stranger)),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pg_dump_is_not_known_to_do_is_refused() {
    let database = table(Server::shared(17)).await;
    for (does, told) in [
        // Messages of the extended protocol.
        ("SELECT $1 \\bind 1 \\g", "message type 'P'"),
        // A function that writes. The queries before it are let through like any other.
        ("\\lo_unlink 1", "a call of function 964"),
    ] {
        let script = format!("exec \"$(dirname \"$real\")/psql\" --no-psqlrc <<'END'\n{does}\nEND");
        let (source, _programs) = with_program(source(database.server, &database.name), 17, &script);
        let error = failure(&source).await;
        assert!(
            matches!(&error, DumpError::Planner(PlannerError::Proxy(unknown)) if unknown.to_string().contains(told)),
            "{error}"
        );
        assert_eq!(error.reason().as_str(), "PlanningFailed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_dump_sees_no_password_and_nobody_else_its_directory() {
    let database = table(Server::shared(17)).await;
    let seen = tempfile::tempdir().unwrap();
    let script = format!(
        "{{ env; echo \"$@\"; stat -c 'mode %a' \"$PGHOST\"; }} > '{}'; exec \"$real\" \"$@\"",
        seen.path().join("seen").display()
    );
    let (source, _programs) = with_program(source(database.server, &database.name), 17, &script);
    take(&source).await.unwrap();
    let seen = fs::read_to_string(seen.path().join("seen")).unwrap();
    assert!(seen.contains("mode 700\n"), "{seen}");
    assert!(!seen.contains(PASSWORD), "{seen}");
    // PWD and the like are the shell's own.
    let names = seen
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name);
    let ours =
        names.filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name) && !name.starts_with("--"));
    let ours: BTreeSet<_> = ours.collect();
    let expected = [
        "HOME",
        "LC_ALL",
        "PGAPPNAME",
        "PGDATABASE",
        "PGHOST",
        "PGPORT",
        "PGUSER",
        "TZ",
    ];
    assert_eq!(ours, BTreeSet::from(expected), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_in_another_encoding_than_the_databases_is_not_taken() {
    let database = table(Server::shared(17)).await;
    let script = "exec \"$real\" --encoding=LATIN1 \"$@\"";
    let (source, _programs) = with_program(source(database.server, &database.name), 17, script);
    let error = failure(&source).await;
    assert!(
        matches!(&error, DumpError::Planner(PlannerError::Unpaired(what)) if what.contains("LATIN1")),
        "{error}"
    );
    assert_eq!(error.reason().as_str(), "DumpInconsistent");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_warning_makes_the_copy_suspicious() {
    let database = table(Server::shared(17)).await;
    let script = "echo 'pg_dump: warning: the moon is full' >&2; exec \"$real\" \"$@\"";
    let (source, _programs) = with_program(source(database.server, &database.name), 17, script);
    let taken = take(&source).await.unwrap();
    assert_eq!(taken.dumped.warnings, ["pg_dump: warning: the moon is full"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_pg_dump_is_passed_on_in_its_own_words() {
    let database = table(Server::shared(17)).await;
    let (source, _programs) = with_program(
        source(database.server, &database.name),
        17,
        "echo 'pg_dump: error: out of cheese' >&2; exit 3",
    );
    let error = failure(&source).await;
    assert!(error.to_string().contains("out of cheese"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_its_pg_dump_is_unsupported() {
    let database = table(Server::shared(17)).await;
    let (source, _programs) = with_program(source(database.server, &database.name), 15, "exit 0");
    let error = failure(&source).await;
    assert_eq!(error.reason().as_str(), "SourceVersionUnsupported", "{error}");
    assert!(error.is_permanent());
}

/// A file system of very few bytes.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(directory.path())
            .status();
        assert!(mounted.unwrap().success());
        Self(directory)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        assert!(
            Command::new("umount")
                .arg(self.0.path())
                .status()
                .unwrap()
                .success()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_where_pg_dump_plans_fails_the_run_by_its_name() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute("DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format('CREATE TABLE t_%s (a int)', i); END LOOP; END $$")
            .await
            .unwrap();
        let disk = SmallDisk::new("64k");
        let scratch = disk.0.path().join("planning");
        let error = take_with(&source(server, &database.name), |options| {
            options.scratch = scratch;
        })
        .await
        .map(|_| ())
        .unwrap_err();
        assert!(
            matches!(error, DumpError::Planner(PlannerError::DirectoryFull { .. })),
            "{error}"
        );
        assert_eq!(error.reason().as_str(), "ScratchSpaceExhausted");
    }
}

//! What the script makes, and what it does not let happen.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use dataembassy_contract::database::{READY_SCRIPT, SCRIPT, USER};
use dataembassy_sidecar::postgresql::{Connection, ConnectionError, source::Way};
use dataembassy_testkit::{authority::Authority, postgresql::PASSWORD};
use tokio_postgres::NoTls;

use super::Managed;
use crate::support::MAJORS;

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_makes_a_server_that_lets_nobody_in_without_tls_and_a_password() {
    for major in MAJORS {
        let managed = Managed::started(major);
        for (setting, expected) in [
            ("server_encoding", "UTF8"),
            ("data_checksums", "on"),
            ("ssl", "on"),
            ("wal_level", "replica"),
            ("fsync", "on"),
            ("password_encryption", "scram-sha-256"),
            ("log_min_error_statement", "panic"),
        ] {
            let query = format!("current_setting('{setting}')");
            assert_eq!(managed.value("postgres", &query).await, expected, "{setting}");
        }
        let verifier = "SELECT left(rolpassword, 14) FROM pg_authid WHERE rolname = 'postgres'";
        assert_eq!(managed.value("postgres", verifier).await, "SCRAM-SHA-256$");

        let wrong = managed.source("postgres", &managed.authority, "guessed");
        let refused = Connection::open(&wrong).await.err().unwrap();
        assert!(
            matches!(refused, ConnectionError::AuthenticationFailed(_)),
            "{refused}"
        );
        let stranger = Authority::new("another authority").unwrap();
        let wrong = managed.source("postgres", &stranger, PASSWORD);
        let refused = Connection::open(&wrong).await.err().unwrap();
        assert!(matches!(refused, ConnectionError::TlsFailed { .. }), "{refused}");
        let mut clear = tokio_postgres::Config::new();
        clear
            .port(managed.port)
            .user("postgres")
            .dbname("postgres")
            .password(PASSWORD);
        let refused = clear
            .clone()
            .host("127.0.0.1")
            .connect(NoTls)
            .await
            .err()
            .unwrap();
        assert_eq!(refused.code().unwrap().code(), "28000", "{refused}");
        // Whoever is somebody else on the same node, even root.
        let refused = clear
            .host_path(managed.container.path("run"))
            .connect(NoTls)
            .await;
        assert_eq!(refused.err().unwrap().code().unwrap().code(), "28000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_files_and_processes_tell_nobody_else_anything() {
    let managed = Managed::started(17);
    let container = &managed.container;
    let mode = |name: &str| fs::metadata(container.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("run/tls.key"), 0o600);
    assert_eq!(
        i64::from(fs::metadata(container.path("run/tls.key")).unwrap().uid()),
        USER
    );
    assert_eq!(mode("data/data") & 0o077, 0);
    let seen = container
        .exec("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ")
        .unwrap();
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    assert!(seen.contains("listen_addresses"), "{seen}");
    assert!(!seen.contains(PASSWORD) && !container.log().contains(PASSWORD));
    // What a statement says that fails is a row's, and stays out of the log.
    let mut session = managed.session("postgres").await;
    session
        .execute("SELECT 'a citizen''s name'::int")
        .await
        .unwrap_err();
    container.until(READY_SCRIPT).unwrap();
    let log = container.log();
    assert!(
        !log.contains("citizen") && !log.contains("authentication failed"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_start_serves_what_was_there_however_the_last_one_ended() {
    for major in MAJORS {
        let mut managed = Managed::started(major);
        managed
            .execute(
                "postgres",
                "CREATE TABLE written (abroad int); INSERT INTO written VALUES (1)",
            )
            .await;
        managed.container.stop().unwrap();
        assert!(managed.container.log().contains("database system is shut down"));
        // A kubelet gives the volume to the group, and may give more than the server lets anybody have.
        let data = managed.container.path("data/data");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o2770)).unwrap();
        managed.start();
        // A number that the last server had is somebody else's in the next container.
        for number in 2..6 {
            managed
                .execute("postgres", &format!("INSERT INTO written VALUES ({number})"))
                .await;
            managed.container.kill();
            assert!(data.join("postmaster.pid").exists());
            managed.start();
        }
        assert_eq!(
            managed.value("postgres", "SELECT sum(abroad) FROM written").await,
            "15"
        );
        assert!(!managed.container.path("data/unfinished").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_while_it_was_made_is_made_anew() {
    for begun in ["PG_VERSION", "global/pg_control", "postgresql.auto.conf"] {
        let mut managed = Managed::new(17);
        managed.container.start(SCRIPT).unwrap();
        let file = managed.container.path("data/unfinished").join(begun);
        let whole = managed.container.path("data/data");
        managed
            .container
            .wait(|| file.exists() || whole.exists())
            .unwrap();
        managed.container.kill();
        let was_unfinished = !whole.exists();
        assert!(
            was_unfinished || begun != "PG_VERSION",
            "it was made too soon to be killed"
        );
        managed.start();
        assert_eq!(
            managed
                .value("postgres", "current_setting('data_checksums')")
                .await,
            "on"
        );
        assert!(!managed.container.path("data/unfinished").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_it_is_up_is_known_with_pg_isready_and_without() {
    let mut managed = Managed::new(15);
    let answers = |managed: &Managed| {
        managed
            .container
            .exec(READY_SCRIPT)
            .is_ok_and(|output| output.status.success())
    };
    assert!(!answers(&managed));
    managed.start();
    assert!(
        managed
            .container
            .exec("[ -x /srv/run/pg_isready ]")
            .unwrap()
            .status
            .success()
    );
    assert!(
        managed
            .container
            .exec("rm /srv/run/pg_isready")
            .unwrap()
            .status
            .success()
    );
    assert!(answers(&managed));
    managed.container.kill();
    assert!(!answers(&managed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_without_a_restart() {
    let managed = Managed::started(17);
    let number = || fs::read_to_string(managed.container.path("data/data/postmaster.pid")).unwrap();
    let before = number();
    let renewed = Authority::new("the next authority").unwrap();
    managed.certify(&renewed);
    let source = managed.source("postgres", &renewed, PASSWORD);
    managed
        .container
        .wait(|| managed.container.log().contains("took a renewed certificate"))
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while let Err(error) = Connection::open(&source).await {
        assert!(
            std::time::Instant::now() < deadline,
            "{error}: {}",
            managed.container.log()
        );
    }
    assert_eq!(number(), before, "it was begun anew");
}

/// The commands of the page that says how a certificate is renewed: the first block of it.
fn renewal() -> String {
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/runbooks/database-certificate-expiring.md"
    );
    let page = fs::read_to_string(page).unwrap();
    let block = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(block.contains("openssl x509 -req"), "{block}");
    block.replacen("service=population ", "service=localhost ", 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_renewing_a_certificate_makes_one_that_a_running_server_takes_and_clients_trust() {
    let managed = Managed::started(17);
    let mut before = managed.session("postgres").await;
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("/bin/sh")
        .args(["-ceu", &renewal()])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut left: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["new-ca.crt", "tls.crt", "tls.key"],
        "the authority's key is gone"
    );
    for name in ["tls.key", "tls.crt"] {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        managed.container.give(&format!("secret/{name}"), &text).unwrap();
    }
    managed
        .container
        .wait(|| managed.container.log().contains("took a renewed certificate"))
        .unwrap();
    let authority = fs::read(folder.path().join("new-ca.crt")).unwrap();
    let mut source = managed.source("postgres", &managed.authority, PASSWORD);
    let Way::Network(network) = &mut source.way else {
        unreachable!("it comes over the network");
    };
    // Both authorities, as the page has it: whoever comes before and after connects.
    network.tls.authorities.extend(&authority);
    drop(Connection::open(&source).await.unwrap());
    let Way::Network(network) = &mut source.way else {
        unreachable!("it comes over the network");
    };
    network.tls.authorities = authority;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while let Err(error) = Connection::open(&source).await {
        assert!(
            std::time::Instant::now() < deadline,
            "{error}: {}",
            managed.container.log()
        );
    }
    // Whoever was there before is there still.
    assert_eq!(before.query("SELECT 1").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_and_files_of_another_major_version_are_left_alone() {
    let mut managed = Managed::new(17);
    fs::remove_file(managed.container.path("secret/tls.key")).unwrap();
    managed.container.start(SCRIPT).unwrap();
    managed.container.ended().unwrap();
    let log = managed.container.log();
    assert!(log.contains("the Secret lacks the key tls.key"), "{log}");
    assert!(!managed.container.path("data/data").exists());

    managed.certify(&managed.authority);
    fs::create_dir(managed.container.path("data/data")).unwrap();
    let version = managed.container.path("data/data/PG_VERSION");
    fs::write(&version, "14\n").unwrap();
    managed.container.start(SCRIPT).unwrap();
    managed.container.ended().unwrap();
    let log = managed.container.log();
    assert!(
        log.contains("the volume holds files of PostgreSQL 14 and the image has 17"),
        "{log}"
    );
    assert_eq!(fs::read_to_string(version).unwrap(), "14\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_container_on_the_same_volume_does_not_begin() {
    let managed = Managed::started(17);
    // Beside it, with a folder of its own for what runs: as a pod that was deleted by force, and lives on.
    let second = format!(
        "mkdir -p /srv/run/second; export DATABASE_RUN_DIR=/srv/run/second DATABASE_PATIENCE_SECONDS=0\n{SCRIPT}"
    );
    let output = managed.container.exec(&second).unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("another container is at work on this volume"),
        "{said}"
    );
    assert_eq!(managed.value("postgres", "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shuts_applications_out_takes_the_superuser_alone_and_all_of_them_again_later() {
    let mut managed = Managed::started(17);
    let made = format!(
        "CREATE TABLE written (abroad int); INSERT INTO written VALUES (1); CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; GRANT ALL ON written TO app"
    );
    managed.execute("postgres", &made).await;
    let app = dataembassy_sidecar::postgresql::Source {
        user: "app".into(),
        ..managed.source("postgres", &managed.authority, PASSWORD)
    };
    let mut inside = Connection::open(&app).await.unwrap();
    managed.container.stop().unwrap();
    // Who was inside is outside.
    assert!(inside.execute("INSERT INTO written VALUES (2)").await.is_err());
    managed
        .container
        .start(&format!("DATABASE_SHUT=yes\n{SCRIPT}"))
        .unwrap();
    managed.container.until(READY_SCRIPT).unwrap();
    let refused = Connection::open(&app).await.err().unwrap();
    assert!(
        matches!(refused, ConnectionError::AuthenticationFailed(_)),
        "{refused}"
    );
    assert_eq!(
        managed.value("postgres", "SELECT sum(abroad) FROM written").await,
        "1"
    );
    managed.container.stop().unwrap();
    managed.start();
    let mut again = Connection::open(&app).await.unwrap();
    again.execute("INSERT INTO written VALUES (2)").await.unwrap();
}

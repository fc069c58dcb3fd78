//! A copy found in a real store through its ledger, and what a store that was tampered with leads to; then the same copy
//! opened by the break-glass page with stock tools alone.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use super::embassy::{Embassy, age_keygen, assert_equal, filled, key, lose, stock};
use crate::bench::REGISTRY;
use crate::sealed::{ADMINISTRATOR, OWNER, seal, target};
use crate::support;
use crate::support::source;
use dataembassy_archive::Identities;
use dataembassy_ledger::{SigningKey, chain::SignerRange, value::CopyId};
use dataembassy_sidecar::restore::copy::{Choice, FindError, StoredCopy};
use dataembassy_testkit::{
    minio::BUCKET,
    postgresql::{Database, PASSWORD, Server, programs},
};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_a_real_store_is_found_by_its_ledger_and_restored() {
    let embassy = Embassy::start().await;
    let server = Server::shared(17);
    let database = filled(server).await;
    embassy
        .publish(&seal(&source(server, &database.name)).await, 7)
        .await;
    let target = target(server).await;
    let outcome = embassy.restore_into(&target).await.unwrap();
    assert_eq!(outcome.sequence, 1);
    assert_equal(&database, &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_chosen_by_number_or_time_and_only_with_the_right_keys() {
    let embassy = Embassy::start().await;
    let server = Server::shared(17);
    let database = filled(server).await;
    let from = source(server, &database.name);
    let first = seal(&from).await;
    embassy.publish(&first, 7).await;
    let mut second = seal(&from).await;
    let between = second.identity.taken_at;
    // The same objects under another id: what is opened here is the ledger, not the copy.
    second.identity.copy_id = CopyId::from_bytes([8; 16]);
    embassy.publish(&second, 8).await;

    for (choice, sequence) in [
        ("latest".to_owned(), 2),
        ("sequence:1".to_owned(), 1),
        (format!("at-or-before:{between}"), 2),
        (format!("at-or-before:{}", first.identity.taken_at), 1),
    ] {
        let opened = embassy.open(&choice).await.unwrap();
        let identity = dataembassy_sidecar::restore::copy::SealedCopy::identity(&opened);
        assert_eq!(identity.sequence, sequence, "{choice}");
    }
    for choice in ["sequence:3", "at-or-before:2020-01-01T00:00:00Z"] {
        assert!(
            matches!(embassy.open(choice).await, Err(FindError::NoSuchCopy { .. })),
            "{choice}"
        );
    }
    let stranger = Identities::parse(&age_keygen()).unwrap();
    let opened = StoredCopy::open(embassy.retrieval(), &Embassy::trust(), Choice::Latest, &stranger).await;
    let error = opened.map(drop).unwrap_err().to_string();
    assert!(
        error.contains("none of the identities opens this copy"),
        "{error}"
    );

    let identities = Identities::parse(&embassy.identity).unwrap();
    let mut other_signer = Embassy::trust();
    other_signer.signers = vec![SignerRange::always(key(2).public_key())];
    let opened = StoredCopy::open(embassy.retrieval(), &other_signer, Choice::Latest, &identities).await;
    assert!(matches!(opened, Err(FindError::Ledger(_))));
    let mut other_custodian = Embassy::trust();
    other_custodian.custodians[0].key = key(3).public_key();
    let opened = StoredCopy::open(embassy.retrieval(), &other_custodian, Choice::Latest, &identities).await;
    assert!(matches!(opened, Err(FindError::Ledger(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_object_ends_the_restore_by_its_name() {
    let embassy = Embassy::start().await;
    let server = Server::shared(17);
    let database = filled(server).await;
    embassy
        .publish(&seal(&source(server, &database.name)).await, 7)
        .await;
    lose(&embassy, "00000002");
    let target = target(server).await;
    let error = embassy.restore_into(&target).await.unwrap_err();
    assert!(
        error.contains("copies/07070707070707070707070707070707/00000002 cannot be read"),
        "{error}"
    );
}

/// Runs the program itself, every secret in a file.
fn run_program(embassy: &Embassy, target: &Database, folder: &Path) -> (bool, String) {
    let ran = program(embassy, target, folder).output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The same on a terminal of its own.
fn run_program_on_terminal(embassy: &Embassy, target: &Database, folder: &Path) -> (bool, String) {
    let program = program(embassy, target, folder);
    let words = std::iter::once(program.get_program()).chain(program.get_args());
    let quoted: Vec<_> = words
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let ran = Command::new("script")
        .args(["--quiet", "--return", "--log-out", "/dev/null", "--command"])
        .arg(quoted.join(" "))
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (
        ran.status.success(),
        String::from_utf8_lossy(&ran.stdout).into_owned(),
    )
}

fn program(embassy: &Embassy, target: &Database, folder: &Path) -> Command {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut program = Command::new(env!("CARGO_BIN_EXE_dataembassy-sidecar"));
    program
        .env_clear()
        .args([
            "restore",
            "--registry",
            REGISTRY,
            "--bucket",
            BUCKET,
            "--allow-loopback",
        ])
        .args(["--target-host", "localhost", "--target-user", OWNER])
        .args(["--signer", &key(1).public_key().to_string()])
        .args(["--custodian-key", &key(9).public_key().to_string()])
        .args(["--endpoint", &embassy.bench.minio.endpoint()])
        .args(["--target-port", &target.server.port().to_string()])
        .args(["--target-database", &target.name])
        .arg("--identity-file")
        .arg(file("identity.txt", &embassy.identity))
        .arg("--ca-bundle")
        .arg(file("store.crt", &embassy.bench.minio.authority().certificate()))
        .arg("--target-ca")
        .arg(file("database.crt", &target.server.authority().certificate()))
        .arg("--target-password-file")
        .arg(file("password", &format!("{PASSWORD}\n")))
        .arg("--credentials")
        .arg(file("accessKeyId", &embassy.retrieval.access_key).with_file_name(""))
        .arg("--postgresql-programs")
        .arg(programs().unwrap())
        .arg("--result")
        .arg(file("secretAccessKey", &embassy.retrieval.secret_key).with_file_name("result.json"));
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_restores_and_writes_what_came_of_it() {
    let embassy = Embassy::start().await;
    let server = Server::shared(17);
    let database = filled(server).await;
    embassy
        .publish(&seal(&source(server, &database.name)).await, 7)
        .await;
    let (target, folder) = (target(server).await, TempDir::new().unwrap());
    let result = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.path().join("result.json")).unwrap()).unwrap()
    };
    let (succeeded, said) = run_program(&embassy, &target, folder.path());
    assert!(succeeded, "{said}");
    assert_equal(&database, &target);
    assert!(said.contains("60004 rows, 2 large objects restored"), "{said}");
    let seconds = said
        .split_once(&format!("restored into {} in ", target.name))
        .unwrap()
        .1;
    let seconds: f64 = seconds.split(' ').next().unwrap().parse().unwrap();
    assert!(seconds > 0.0, "{said}");
    assert!(said.contains("restore: loading rows"), "{said}");
    let told = result();
    assert_eq!(
        (told["outcome"].as_str(), told["rows"].as_u64()),
        (Some("Restored"), Some(60004))
    );
    assert_eq!(told["tables"].as_array().unwrap().len(), 4);

    // A second time the database is not empty.
    let (succeeded, said) = run_program(&embassy, &target, folder.path());
    assert!(!succeeded, "{said}");
    let told = result();
    assert_eq!(told["outcome"], "Failed");
    assert!(
        told["error"]
            .as_str()
            .unwrap()
            .contains("the database is not empty"),
        "{told}"
    );
    assert!(!said.contains(PASSWORD) && !told.to_string().contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_program_draws_how_far_it_is() {
    let embassy = Embassy::start().await;
    let server = Server::shared(17);
    let database = filled(server).await;
    embassy
        .publish(&seal(&source(server, &database.name)).await, 7)
        .await;
    let (target, folder) = (target(server).await, TempDir::new().unwrap());
    let (succeeded, drawn) = run_program_on_terminal(&embassy, &target, folder.path());
    assert!(succeeded, "{drawn}");
    for part in ["loading rows", "100%", "of 60004 rows", "eta", "\u{1b}["] {
        assert!(drawn.contains(part), "{part} is not in {drawn}");
    }
    assert!(!drawn.contains("restore: "), "lines between the bars: {drawn}");
}

/// The blocks of the page, in their order.
fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/break-glass.md");
    let text = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> = text
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 8);
    blocks.concat()
}

/// Runs the page in the root file system that holds stock tools and nothing of ours; `/srv` is the person's folder.
fn run_page(embassy: &Embassy, target: &Database, registry_key: &SigningKey) -> (bool, String) {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    write("keys/accessKeyId", &embassy.retrieval.access_key);
    write("keys/secretAccessKey", &embassy.retrieval.secret_key);
    write("identity.txt", &embassy.identity);
    write("custodian.pub", &key(9).public_key().to_string());
    write("registry.pub", &registry_key.public_key().to_string());
    write("store-ca.crt", &embassy.bench.minio.authority().certificate());
    write("database-ca.crt", &target.server.authority().certificate());
    write("pgpass", &format!("*:*:*:*:{PASSWORD}\n"));
    write("page.sh", &page());
    let inside = "mount --rbind /dev \"$1/dev\"; mount --rbind /proc \"$1/proc\"; mount --bind \"$2\" \"$1/srv\"; \
        chmod 600 \"$1/srv/pgpass\"; shift 2; exec chroot \"$STOCK\" /usr/bin/env -i \"$@\" /bin/bash -c 'cd /srv && exec bash page.sh'";
    let ran = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-euc",
            inside,
            "page",
        ])
        .arg(stock())
        .arg(folder.path())
        .args([
            "PATH=/usr/local/bin:/usr/bin:/bin",
            "HOME=/srv",
            "PGHOST=127.0.0.1",
        ])
        .arg(format!("PGPORT={}", target.server.port()))
        .arg(format!("PGUSER={ADMINISTRATOR}"))
        .args([
            "PGSSLMODE=verify-full",
            "PGSSLROOTCERT=/srv/database-ca.crt",
            "PGPASSFILE=/srv/pgpass",
        ])
        .arg(format!("ENDPOINT={}", embassy.bench.minio.endpoint()))
        .arg(format!("BUCKET={BUCKET}"))
        .arg(format!("REGISTRY={REGISTRY}"))
        .arg(format!("DATABASE={}_opened", target.name))
        .env("STOCK", stock())
        .output()
        .unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_break_glass_page_opens_a_copy_with_stock_tools_alone() {
    for major in support::MAJORS {
        let embassy = Embassy::start().await;
        let server = Server::shared(major);
        let database = filled(server).await;
        embassy
            .publish(&seal(&source(server, &database.name)).await, 7)
            .await;
        let opened_by_17 = target(Server::shared(17)).await;
        let (succeeded, said) = run_page(&embassy, &opened_by_17, &key(1));
        assert!(succeeded, "{said}");
        let opened = Database {
            server: opened_by_17.server,
            name: format!("{}_opened", opened_by_17.name),
        };
        assert_equal(&database, &opened);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_break_glass_page_stops_at_a_foreign_signature() {
    let embassy = Embassy::start().await;
    let server = Server::shared(17);
    let database = filled(server).await;
    embassy
        .publish(&seal(&source(server, &database.name)).await, 7)
        .await;
    let target = target(server).await;
    let (succeeded, said) = run_page(&embassy, &target, &key(2));
    assert!(!succeeded, "{said}");
    assert!(said.contains("Good \"dataembassy-store-v1\" signature"), "{said}");
    assert!(!said.contains("taken at"), "{said}");
}

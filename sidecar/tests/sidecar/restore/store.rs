//! A copy found in a real store through its ledger, and what a store that was tampered with leads to; then the same copy
//! opened by the break-glass page with stock tools alone.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use super::embassy::{Embassy, age_keygen, assert_equal, filled, key, lose, stock};
use crate::bench::custody::CustodyWriter;
use crate::bench::{REGISTRY, registry, sequence};
use crate::sealed::{ADMINISTRATOR, OWNER, seal, target};
use crate::support;
use crate::support::source;
use dataembassy_archive::Identities;
use dataembassy_contract::Reason;
use dataembassy_ledger::{
    TrustSheet,
    chain::SignerRange,
    entry::{CustodyBody, DrillBody, EntryRef, ReportForms, ReportRef},
    value::{CopyId, Sha256Digest, Timestamp},
};
use dataembassy_sidecar::restore::copy::{Choice, FindError, StoredCopy};
use dataembassy_sidecar::store::Ledger;
use dataembassy_sidecar::trust_sheet::{Desk, Wanted, print};
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
    assert!(matches!(opened, Err(FindError::EndUnknown(_))));
    let mut other_custodian = Embassy::trust();
    other_custodian.custodians[0].key = key(3).public_key();
    let opened = StoredCopy::open(embassy.retrieval(), &other_custodian, Choice::Latest, &identities).await;
    assert!(matches!(opened, Err(FindError::Ledger(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_drilled_copy_is_the_newest_that_passed_its_latest_drill() {
    let embassy = Embassy::start().await;
    let server = Server::shared(17);
    let database = filled(server).await;
    let mut copy = seal(&source(server, &database.name)).await;
    let mut entries = Vec::new();
    for id in [7, 8, 9] {
        copy.identity.copy_id = CopyId::from_bytes([id; 16]);
        embassy.publish(&copy, id).await;
        let ledger = Ledger::read(&embassy.retrieval(), &Embassy::trust())
            .await
            .unwrap();
        entries.push(ledger.head.unwrap().entry.reference());
    }
    let chosen = async || {
        let opened = embassy.open("latest-drilled").await;
        opened.map(|copy| dataembassy_sidecar::restore::copy::SealedCopy::identity(&copy).sequence)
    };
    let error = chosen().await.unwrap_err();
    assert_eq!(error.reason(), Reason::NoSuchCopy);
    assert!(error.to_string().contains("passed its latest drill"), "{error}");
    let mut custody = CustodyWriter::begin(embassy.bench.custody().await).await;
    for (order, entry, passed, latest) in [
        ("first", 0, true, Some(1)),
        ("second", 1, true, Some(2)),
        ("third", 2, false, Some(2)),
        ("fourth", 1, false, Some(1)),
        ("fifth", 0, false, None),
    ] {
        custody.write(drill(order, entries[entry], passed)).await;
        assert_eq!(chosen().await.ok(), latest, "after the {order} drill");
    }
}

fn drill(order: &str, source_entry: EntryRef, passed: bool) -> CustodyBody {
    let at = Timestamp::from_jiff(jiff::Timestamp::now()).unwrap();
    let report = ReportRef {
        version: "v1".parse().unwrap(),
        size: 1,
        sha256: Sha256Digest::of(b"report"),
    };
    CustodyBody::Drill(DrillBody {
        order: order.parse().unwrap(),
        source_entry,
        copy_id: CopyId::from_bytes([7; 16]),
        passed,
        started_at: at,
        ended_at: at,
        reports: ReportForms {
            json: report.clone(),
            html: report,
        },
    })
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

/// The sheet that was printed when the ledger stood where it stands.
async fn trust_sheet(embassy: &Embassy) -> TrustSheet {
    let desk = Desk {
        store: embassy.bench.custody().await,
        embassy: "luxembourg".parse().unwrap(),
        signer: key(9),
        custodians: vec![key(9).public_key()],
        approvers: None,
        registries: vec![Wanted {
            registry: registry(),
            signers: Embassy::trust().signers,
            custodians: Embassy::trust().custodians,
            source_floor: None,
            custody_floor: None,
            must_be_witnessed: false,
        }],
    };
    print(&desk, jiff::Timestamp::now()).await.unwrap()
}

/// Runs the page in the root file system that holds stock tools and nothing of ours; `/srv` is the person's folder.
fn run_page(embassy: &Embassy, target: &Database, sheet: &str) -> (bool, String) {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    write("keys/accessKeyId", &embassy.retrieval.access_key);
    write("keys/secretAccessKey", &embassy.retrieval.secret_key);
    write("identity.txt", &embassy.identity);
    write("custodian.pub", &key(9).public_key().to_string());
    write("trust-sheet.txt", sheet);
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
        let sheet = trust_sheet(&embassy).await.sign(&key(9)).unwrap();
        let (succeeded, said) = run_page(&embassy, &opened_by_17, &sheet);
        assert!(succeeded, "{said}");
        let opened = Database {
            server: opened_by_17.server,
            name: format!("{}_opened", opened_by_17.name),
        };
        assert_equal(&database, &opened);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_break_glass_page_stops_where_it_does_not_fit_the_trust_sheet() {
    let embassy = Embassy::start().await;
    let server = Server::shared(17);
    let database = filled(server).await;
    embassy
        .publish(&seal(&source(server, &database.name)).await, 7)
        .await;
    let target = target(server).await;
    let right = trust_sheet(&embassy).await;
    let good_sheet = "Good \"dataembassy-store-v1\" signature";
    let good_entry = "Good \"dataembassy-source-v1\" signature";
    let stops = |sheet: &str, said_before: &[&str], never: &str| {
        let (succeeded, said) = run_page(&embassy, &target, sheet);
        assert!(!succeeded, "{said}");
        for words in said_before {
            assert!(said.contains(words), "{words} is not in: {said}");
        }
        assert!(!said.contains(never) && !said.contains("taken at"), "{said}");
    };
    let change = |change: fn(&mut TrustSheet)| {
        let mut sheet = right.clone();
        change(&mut sheet);
        sheet.sign(&key(9)).unwrap()
    };
    // Signed by another custodian, or not what was signed.
    let mut foreign = right.clone();
    foreign.custodians = vec![key(8).public_key()];
    stops(
        &foreign.sign(&key(8)).unwrap(),
        &["Could not verify signature"],
        good_sheet,
    );
    let text = right.sign(&key(9)).unwrap();
    let typed = text.replacen("embassy: luxembourg", "embassy: luxemburg", 1);
    stops(&typed, &["Could not verify signature"], good_sheet);
    // Of another store.
    let other = change(|sheet| sheet.document = Sha256Digest::of(b"another"));
    stops(&other, &[good_sheet, "FAILED"], good_entry);
    // The store was set back behind the sheet, or its entry was replaced.
    let later = change(|sheet| {
        let head = sheet.registries[0].source_head.as_mut().unwrap();
        head.entry.sequence = head.entry.sequence.next().unwrap();
    });
    stops(&later, &[good_sheet, "404"], good_entry);
    let replaced = change(|sheet| {
        let head = sheet.registries[0].source_head.as_mut().unwrap();
        head.entry.digest = Sha256Digest::of(b"another");
    });
    stops(&replaced, &[good_sheet, "FAILED"], good_entry);
    // The entry is signed by somebody whom the sheet does not have for its number.
    let another = change(|sheet| sheet.registries[0].signers[0].key = key(2).public_key());
    stops(&another, &[good_sheet, "Could not verify signature"], good_entry);
    let from_two = change(|sheet| sheet.registries[0].signers[0].from = sequence(2));
    stops(&from_two, &[good_sheet], good_entry);
}

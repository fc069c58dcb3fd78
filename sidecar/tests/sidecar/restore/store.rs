//! A copy found in a real store through its ledger, and what a store that was tampered with leads to; then the same copy
//! opened by the break-glass page with stock tools alone.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use crate::bench::{REGISTRY, StoreBench, copy_entry, registry};
use crate::sealed::{ADMINISTRATOR, MemoryCopy, OWNER, options, seal, target};
use crate::support;
use crate::support::{plain_copy, source, source_as};
use bytes::Bytes;
use dataembassy_archive::{Identities, Recipients};
use dataembassy_ledger::{
    ObjectKey, SigningKey,
    chain::{CustodianKey, SignerRange},
    entry::{PartRef, SourceBody},
    key::CopyObject,
    manifest::{ManifestWriter, SegmentRecord},
    value::{CopyId, PartNumber, Recipient, SegmentNumber, Sha256Digest},
};
use dataembassy_sidecar::{
    restore::{
        copy::{Choice, FindError, StoredCopy},
        outcome::Outcome,
        progress::Progress,
        restore,
    },
    store::{Ledger, LedgerSettings, PutOutcome, Store, commit, init::initialise},
};
use dataembassy_testkit::{
    minio::{BUCKET, Credentials, StoreUser},
    postgresql::{Database, PASSWORD, Server, programs},
    provisioned,
};
use tempfile::TempDir;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// A store made ready, and a person's identity as `age-keygen` makes it.
struct Embassy {
    bench: StoreBench,
    retrieval: Credentials,
    identity: String,
}

impl Embassy {
    async fn start() -> Self {
        let bench = StoreBench::start().await;
        initialise(&bench.custody().await, &key(9)).await.unwrap();
        let registry = REGISTRY.to_owned();
        let user = StoreUser::Retrieval { registry };
        let retrieval = bench.minio.add_user(BUCKET, &user).await.unwrap();
        Self {
            bench,
            retrieval,
            identity: age_keygen(),
        }
    }

    fn recipient(&self) -> Recipient {
        let line = self
            .identity
            .lines()
            .find_map(|line| line.strip_prefix("# public key: "));
        line.unwrap().parse().unwrap()
    }

    fn retrieval(&self) -> Store {
        StoreBench::store_as(&self.bench.settings(BUCKET), &self.retrieval)
    }

    fn trust() -> LedgerSettings {
        LedgerSettings {
            registry: registry(),
            signers: vec![SignerRange::always(key(1).public_key())],
            custodians: vec![CustodianKey {
                key: key(9).public_key(),
                until: None,
            }],
            floor: None,
        }
    }

    /// Puts a copy and commits its entry, as a mirror does: with deposit credentials.
    async fn publish(&self, copy: &MemoryCopy, id: u8) {
        let store = self.bench.deposit().await;
        let id = CopyId::from_bytes([id; 16]);
        assert_eq!(id, copy.identity.copy_id, "the inventory names the copy");
        let mut manifest = ManifestWriter::new();
        for (place, bytes) in copy.segments.iter().enumerate() {
            let number = SegmentNumber::new(place as u64 + 1).unwrap();
            let part = put(&store, id, CopyObject::Segment(number), bytes).await;
            let record = SegmentRecord {
                number,
                version: part.version,
                size: part.size,
                sha256: part.sha256,
            };
            assert!(manifest.push(&record).unwrap().is_none());
        }
        let ledger = Ledger::read(&store, &Self::trust()).await.unwrap();
        let mut entry = copy_entry(&ledger, None);
        let SourceBody::Copy(body) = &mut entry.body;
        body.copy_id = id;
        body.taken_at = copy.identity.taken_at;
        body.recipients = vec![self.recipient()];
        body.copy_key = copy
            .key
            .wrap(&Recipients::parse(&body.recipients).unwrap())
            .unwrap();
        body.totals.segments = manifest.segments();
        body.totals.sealed_bytes = manifest.sealed_bytes();
        let text = Bytes::from(manifest.finish().unwrap());
        body.manifest = vec![put(&store, id, CopyObject::Manifest(PartNumber::FIRST), &text).await];
        assert_eq!(copy.inventory.len(), 1);
        let object = CopyObject::Inventory(PartNumber::FIRST);
        body.inventory = vec![put(&store, id, object, &copy.inventory[0]).await];
        let signed = entry.sign(&key(1)).unwrap();
        commit(&store, &entry.object_key(), &signed, Duration::from_secs(20))
            .await
            .unwrap();
    }

    async fn open(&self, choice: &str) -> Result<StoredCopy, FindError> {
        let identities = Identities::parse(&self.identity).unwrap();
        StoredCopy::open(
            self.retrieval(),
            &Self::trust(),
            choice.parse().unwrap(),
            &identities,
        )
        .await
    }

    async fn restore_into(&self, target: &Database) -> Result<Outcome, String> {
        let copy = self.open("latest").await.map_err(|error| error.to_string())?;
        let into = source_as(target.server, &target.name, OWNER);
        let restored = restore(&Arc::new(copy), &into, &options(), &Progress::default()).await;
        restored.map_err(|error| error.to_string())
    }
}

async fn put(store: &Store, copy: CopyId, object: CopyObject, bytes: &Bytes) -> PartRef {
    let key = ObjectKey::Copy {
        registry: registry(),
        copy,
        object,
    };
    let sha256 = Sha256Digest::of(bytes);
    let PutOutcome::Stored(version) = store.put(&key, bytes.clone(), sha256).await.unwrap() else {
        panic!("{key} exists");
    };
    PartRef {
        name: object,
        version,
        size: bytes.len() as u64,
        sha256,
    }
}

fn stock() -> PathBuf {
    provisioned::path("rootfs-stock").unwrap()
}

/// A Go program, which needs no library.
fn age_keygen() -> String {
    let made = Command::new(stock().join("usr/bin/age-keygen")).output().unwrap();
    String::from_utf8(made.stdout).unwrap()
}

const CONTENT: &str = "\
    CREATE TABLE \"Ödd \"\"one\" (id int PRIMARY KEY, text text);
    INSERT INTO \"Ödd \"\"one\" SELECT n, E'row\\t' || md5(n::text) FROM generate_series(1, 60000) n;
    CREATE TABLE \"with line
feed\" (a text); INSERT INTO \"with line
feed\" VALUES (E'\\\\.');
    CREATE TABLE huge (value text); INSERT INTO huge VALUES (repeat('x', 5000000));
    CREATE TABLE small (a int REFERENCES \"Ödd \"\"one\"); INSERT INTO small VALUES (1), (2);
    CREATE SEQUENCE s; SELECT nextval('s');
    SELECT lo_from_bytea(4711, 'small'); SELECT lo_from_bytea(4713, decode(repeat('ab', 3000000), 'hex'));";

const COMPARED: [&str; 5] = [
    "SELECT * FROM \"Ödd \"\"one\" ORDER BY id",
    "SELECT * FROM \"with line\nfeed\"",
    "SELECT md5(value), length(value) FROM huge",
    "SELECT small.*, s.last_value FROM small, s ORDER BY a",
    "SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid",
];

fn assert_equal(source: &Database, target: &Database) {
    for query in COMPARED {
        assert_eq!(plain_copy(source, query), plain_copy(target, query), "{query}");
    }
}

async fn filled(server: &'static Server) -> Database {
    let database = server.database().await.unwrap();
    database.execute(CONTENT).await.unwrap();
    database
}

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

/// Loses an object's data on the store's own disk, as a broken store could.
fn lose(embassy: &Embassy, object: &str) {
    let key = ObjectKey::Copy {
        registry: registry(),
        copy: CopyId::from_bytes([7; 16]),
        object: object.parse().unwrap(),
    };
    let folder = embassy.bench.minio.data_directory();
    std::fs::remove_dir_all(folder.join(BUCKET).join(key.to_string())).unwrap();
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

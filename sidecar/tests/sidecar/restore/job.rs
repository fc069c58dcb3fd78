//! A restore as the operator's Job: told by a folder, asked at a port, ended with last words.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use dataembassy_contract::{
    Reason, files,
    restore::{CopyChoice, Ending, IfNotEmpty, RestoreConfig, RestorePhase, RestoreReport, RestoreResult},
    sovereignty::Loopback,
};
use dataembassy_ledger::value::CopyId;
use dataembassy_sidecar::{
    process::Place,
    question,
    restore::job::{Environment, run_until},
};
use dataembassy_testkit::{
    fault_proxy::Fault,
    minio::BUCKET,
    postgresql::{Database, PASSWORD, Server, programs},
    process::free_port,
};
use hyper::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::embassy::{Embassy, age_keygen, assert_equal, filled, find_again, key, lose};
use crate::bench::pauses::Pauses;
use crate::bench::{REGISTRY, assert_calm, entry, http, logged, sha256};
use crate::sealed::{ADMINISTRATOR, OWNER, seal, target};
use crate::support::source;

/// The longest that anything here may take.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);
/// How late a session of a server may come that has much to do.
const LATE: Duration = Duration::from_secs(15);

/// A folder as the kubelet makes one, and where the process answers.
pub(super) struct Folder {
    pub(super) place: TempDir,
    status: SocketAddr,
}

impl Folder {
    /// Everything that a restore of the latest copy into `target` needs, after `change`.
    pub(super) fn new(embassy: &Embassy, target: &Database, change: impl FnOnce(&mut RestoreConfig)) -> Self {
        let folder = Self {
            place: TempDir::new().unwrap(),
            status: SocketAddr::from(([127, 0, 0, 1], free_port().unwrap())),
        };
        let mut config: RestoreConfig = serde_json::from_value(json!({
            "registry": REGISTRY,
            "store": {
                "endpoint": embassy.bench.minio.endpoint(), "bucket": BUCKET, "region": "us-east-1",
                "caBundle": embassy.bench.minio.authority().certificate(),
            },
            "signers": [{"publicKey": key(1).public_key().to_string(), "fromSequence": 1}],
            "custodianKeys": [{"publicKey": key(9).public_key().to_string()}],
            "copy": "latest",
            "target": {"host": "localhost", "port": target.server.port(), "database": target.name},
            "jobs": 2,
        }))
        .unwrap();
        change(&mut config);
        folder.write(files::CONFIG_FILE, &config.to_json().unwrap());
        folder.write(files::RETRIEVAL_ACCESS_KEY_ID, &embassy.retrieval.access_key);
        folder.write(files::RETRIEVAL_SECRET_ACCESS_KEY, &embassy.retrieval.secret_key);
        folder.write(files::IDENTITY, &embassy.identity);
        folder.write(files::DATABASE_USERNAME, OWNER);
        folder.write(files::DATABASE_PASSWORD, PASSWORD);
        folder.write(files::DATABASE_CA, &target.server.authority().certificate());
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.place.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        std::fs::remove_file(self.place.path().join(name)).unwrap();
    }

    pub(super) fn environment(&self) -> Environment {
        Environment {
            place: Place {
                config_dir: self.place.path().to_owned(),
                loopback: Loopback::Allowed,
                status_address: self.status,
                metrics_address: SocketAddr::from(([127, 0, 0, 1], 0)),
            },
            programs: programs().unwrap().into(),
            scratch: std::env::temp_dir(),
            longest_question: question::LONGEST,
        }
    }

    pub(super) async fn run(&self) -> RestoreResult {
        let environment = self.environment();
        let ran = run_until(&environment, CancellationToken::new());
        tokio::time::timeout(PATIENCE, ran).await.unwrap().unwrap()
    }

    /// Waits until the report is as it is wanted.
    pub(super) async fn until(&self, wanted: impl Fn(&RestoreReport) -> bool) -> RestoreReport {
        let (deadline, mut pauses) = (Instant::now() + PATIENCE, Pauses::close());
        let mut last = None;
        while Instant::now() < deadline {
            let answer = http::get(self.status, files::STATUS_PATH, None).await.ok();
            if let Some(answer) = answer {
                let report = RestoreReport::read(answer.body()).unwrap();
                if wanted(&report) {
                    return report;
                }
                last = Some(report);
            }
            pauses.pause().await;
        }
        panic!("the report is not as it should be: {last:?}");
    }
}

/// A store with the copy of a database, and that database.
pub(super) async fn published() -> (Embassy, Database) {
    let embassy = Embassy::start().await;
    let server = Server::shared(17);
    let database = filled(server).await;
    embassy
        .publish(&seal(&source(server, &database.name)).await, 7)
        .await;
    (embassy, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_missing_is_made_where_that_was_asked_for() {
    let (embassy, database) = published().await;
    let mut target = target(Server::shared(17)).await;
    target.name.push_str("_made");
    for (create, expected) in [(false, Ending::NothingWritten), (true, Ending::Restored)] {
        let folder = Folder::new(&embassy, &target, |config| {
            config.target.create_if_missing = create;
        });
        folder.write(files::DATABASE_USERNAME, ADMINISTRATOR);
        let result = folder.run().await;
        assert_eq!(result.ending, expected, "{result:?}");
        assert_eq!(result.reason == Reason::TargetRefused, !create, "{result:?}");
        assert!(!result.message.contains("sorted by"), "{result:?}");
    }
    assert_equal(&database, &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_restored_and_the_result_says_what_was_and_what_was_not() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let folder = Folder::new(&embassy, &target, |_| ());
    let result = folder.run().await;
    assert_eq!(result.ending, Ending::Restored, "{}", result.message);
    assert_equal(&database, &target);
    assert_eq!((result.rows, result.large_objects), (60_004, 2));
    let copy = result.copy.as_ref().unwrap();
    assert_eq!(
        (copy.sequence, copy.copy_id.clone()),
        (1, CopyId::from_bytes([7; 16]).to_string())
    );
    assert!(result.seconds > 0.0);
    assert!(
        result.left_out.iter().any(|left| left.kind == "ROLE"),
        "{result:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_its_time_for_one_of_the_sessions_ends_no_restore() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = way.local_addr().unwrap().port();
    let server = target.server.port();
    let late = Arc::new(AtomicUsize::new(0));
    let passing = tokio::spawn({
        let late = Arc::clone(&late);
        async move {
            for number in 0.. {
                let (mut client, _) = way.accept().await.unwrap();
                let late = Arc::clone(&late);
                tokio::spawn(async move {
                    // The restore is at work by then.
                    if number == 2 {
                        tokio::time::sleep(LATE).await;
                        late.fetch_add(1, Relaxed);
                    }
                    let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    // Either may hang up.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        }
    });
    let folder = Folder::new(&embassy, &target, |config| config.target.port = port);
    let result = folder.run().await;
    passing.abort();
    assert_eq!(result.ending, Ending::Restored, "{}", result.message);
    assert_eq!(late.load(Relaxed), 1, "no session came late");
    assert_equal(&database, &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_until_it_is_there_and_then_it_goes_on() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let folder = Folder::new(&embassy, &target, |_| ());
    folder.remove(files::IDENTITY);
    let environment = folder.environment();
    let running = tokio::spawn(async move { run_until(&environment, CancellationToken::new()).await });
    let report = folder.until(|report| !report.missing_secrets.is_empty()).await;
    assert_eq!(report.missing_secrets.len(), 1);
    assert_eq!(report.missing_secrets[0].key, "identity.txt");
    assert_eq!(report.progress.phase, RestorePhase::Waiting);
    assert_eq!(report.copy, None);
    folder.write(files::IDENTITY, &embassy.identity);
    let report = folder
        .until(|report| report.copy.is_some() && report.progress.phase != RestorePhase::Checking)
        .await;
    assert_eq!(report.missing_secrets, Vec::new());
    let result = tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(result.ending, Ending::Restored, "{}", result.message);
    assert_equal(&database, &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_in_a_commercial_cloud_is_refused_by_the_job_as_well_as_by_the_operator() {
    let (embassy, _database) = published().await;
    let target = target(Server::shared(17)).await;
    let folder = Folder::new(&embassy, &target, |config| {
        config.target.host = "registry.eu-central-1.rds.amazonaws.com".to_owned();
    });
    let result = folder.run().await;
    assert_eq!(
        (result.ending, result.reason),
        (Ending::NothingWritten, Reason::NotSovereign),
        "{}",
        result.message
    );
    assert!(result.message.contains("target.host"), "{}", result.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_lacks_is_listed_in_the_words_of_the_resource_and_nothing_is_written() {
    let (embassy, database) = published().await;
    // It is full already.
    let folder = Folder::new(&embassy, &database, |_| ());
    let result = folder.run().await;
    assert_eq!(
        (result.ending, result.reason),
        (Ending::NothingWritten, Reason::TargetLacks),
        "{}",
        result.message
    );
    assert!(
        result.message.starts_with("nothing was written"),
        "{}",
        result.message
    );
    assert!(
        result.message.contains("ifNotEmpty: Replace"),
        "{}",
        result.message
    );
    assert!(!result.message.contains("--"), "{}", result.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_before_the_first_write_has_its_reason() {
    let (embassy, _) = published().await;
    let target = target(Server::shared(17)).await;
    let no_such_copy = Folder::new(&embassy, &target, |config| config.copy = CopyChoice::Sequence(9));
    let foreign = Folder::new(&embassy, &target, |config| {
        config.signers[0].public_key = key(2).public_key().to_string();
    });
    let rolled_back = Folder::new(&embassy, &target, |config| {
        config.floor = serde_json::from_value(json!({"sequence": 5, "digest": "ab".repeat(32)})).unwrap();
    });
    let no_database = Folder::new(&embassy, &target, |config| {
        config.target.database = "absent".into();
    });
    let wrong_identity = Folder::new(&embassy, &target, |_| ());
    wrong_identity.write(files::IDENTITY, &age_keygen());
    let no_identity = Folder::new(&embassy, &target, |_| ());
    no_identity.write(files::IDENTITY, "not an age identity");
    let wrong_password = Folder::new(&embassy, &target, |_| ());
    wrong_password.write(files::DATABASE_PASSWORD, "wrong");
    for (folder, reason) in [
        (no_such_copy, Reason::NoSuchCopy),
        (foreign, Reason::ForeignSignature),
        (rolled_back, Reason::RolledBack),
        (no_database, Reason::TargetRefused),
        (wrong_identity, Reason::CopyNotOpened),
        (no_identity, Reason::SecretInvalid),
        (wrong_password, Reason::TargetRefused),
    ] {
        let result = folder.run().await;
        assert_eq!(
            (result.ending, result.reason),
            (Ending::NothingWritten, reason),
            "{}",
            result.message
        );
        assert!(
            result.message.starts_with("nothing was written"),
            "{}",
            result.message
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_busy_for_a_moment_ends_no_restore() {
    let (embassy, database) = published().await;
    let target = target(database.server).await;
    let proxy = &embassy.bench.proxy;
    let busy = Arc::new(Mutex::new(HashSet::new()));
    let met = Arc::clone(&busy);
    let unavailable = Fault::Answer(StatusCode::SERVICE_UNAVAILABLE);
    proxy.inject(usize::MAX, unavailable, move |method, object| {
        let is_of_the_ledger = object.contains("/embassy.json") || object.contains("/source/");
        method == Method::GET && is_of_the_ledger && met.lock().unwrap().insert(object.to_owned())
    });
    let endpoint = proxy.endpoint();
    let folder = Folder::new(&embassy, &target, |config| {
        config.store.endpoint = endpoint.parse().unwrap();
    });
    let result = folder.run().await;
    assert_eq!(result.ending, Ending::Restored, "{result:?}");
    assert_equal(&database, &target);
    assert!(busy.lock().unwrap().len() > 1, "{busy:?}");
}

/// Whoever has home's deposit credentials can take the next entry's place, and must not keep anybody from the copies before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_named_is_restored_although_somebody_took_the_next_ones_place() {
    let (embassy, database) = published().await;
    let depositor = embassy.bench.deposit().await;
    let taken = b"the next place is taken";
    depositor
        .put(&entry(2), taken.as_slice().into(), sha256(taken))
        .await
        .unwrap();
    let target = target(Server::shared(17)).await;
    let result = Folder::new(&embassy, &target, |_| ()).run().await;
    assert_eq!(result.ending, Ending::NothingWritten, "{}", result.message);
    assert!(
        result.message.contains("choose one by its number"),
        "{}",
        result.message
    );
    let named = Folder::new(&embassy, &target, |config| config.copy = CopyChoice::Sequence(1));
    let result = named.run().await;
    assert_eq!(result.ending, Ending::Restored, "{}", result.message);
    assert_equal(&database, &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_breaks_off_leaves_a_marked_database_which_another_restore_replaces() {
    let (embassy, database) = published().await;
    lose(&embassy, "00000002");
    let target = target(Server::shared(17)).await;
    let result = Folder::new(&embassy, &target, |_| ()).run().await;
    assert_eq!(
        (result.ending, result.reason),
        (Ending::Unfinished, Reason::RestoreFailed),
        "{}",
        result.message
    );
    assert!(
        result.message.contains("marked as not usable") && result.message.contains("00000002"),
        "{}",
        result.message
    );
    find_again(&embassy, "00000002");
    let result = Folder::new(&embassy, &target, |_| ()).run().await;
    assert_eq!(result.reason, Reason::TargetLacks, "{}", result.message);
    let replacing = Folder::new(&embassy, &target, |config| {
        config.if_not_empty = IfNotEmpty::Replace;
    });
    let result = replacing.run().await;
    assert_eq!(result.ending, Ending::Restored, "{}", result.message);
    assert_equal(&database, &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_damaged_once_on_its_way_is_read_again_and_nothing_is_decided_by_it() {
    let (embassy, database) = published().await;
    let target = target(database.server).await;
    let proxy = &embassy.bench.proxy;
    let endpoint = proxy.endpoint();
    let folder = Folder::new(&embassy, &target, |config| {
        config.store.endpoint = endpoint.parse().unwrap();
    });
    // Of the ledger and of the copy, each object once.
    let met = Arc::new(Mutex::new(HashSet::new()));
    let damaged = Arc::clone(&met);
    proxy.inject(usize::MAX, Fault::Flip(3_333), move |method, object| {
        let is_of_it = object.contains("/source/") || object.contains("/copies/");
        method == Method::GET && is_of_it && damaged.lock().unwrap().insert(object.to_owned())
    });
    let result = folder.run().await;
    assert_eq!(result.ending, Ending::Restored, "{result:?}");
    assert_equal(&database, &target);
    let met = met.lock().unwrap();
    for folder in ["/source/", "/copies/"] {
        assert!(met.iter().any(|object| object.contains(folder)), "{met:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_told_to_end_says_so_and_whether_it_has_written() {
    let (embassy, _) = published().await;
    let target = target(Server::shared(17)).await;
    let folder = Folder::new(&embassy, &target, |_| ());
    folder.remove(files::IDENTITY);
    let (environment, ending) = (folder.environment(), CancellationToken::new());
    let told = ending.clone();
    let running = tokio::spawn(async move { run_until(&environment, told).await });
    folder.until(|report| !report.missing_secrets.is_empty()).await;
    ending.cancel();
    let result = running.await.unwrap().unwrap();
    assert_eq!(
        (result.ending, result.reason),
        (Ending::NothingWritten, Reason::Interrupted)
    );
}

/// Runs the program itself; returns whether it succeeded, and its last words.
pub(super) fn run_program(folder: &Folder, words: &Path) -> (bool, String) {
    run_program_in(&[], folder, words)
}

/// The same with this in its environment.
pub(super) fn run_program_in(
    environment: &[(&str, String)],
    folder: &Folder,
    words: &Path,
) -> (bool, String) {
    let metrics = free_port().unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_dataembassy-sidecar"))
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .args(["restore-job", "--allow-loopback", "--config-dir"])
        .arg(folder.place.path())
        .args(["--status-address", &folder.status.to_string()])
        .args(["--metrics-address", &format!("127.0.0.1:{metrics}")])
        .arg("--postgresql-programs")
        .arg(programs().unwrap())
        .arg("--termination-message")
        .arg(words)
        .output()
        .unwrap();
    std::fs::write(folder.place.path().join("log-restore"), &ran.stderr).unwrap();
    let said = std::fs::read_to_string(words)
        .unwrap_or_else(|error| panic!("no last words: {error}\n{}", String::from_utf8_lossy(&ran.stderr)));
    (ran.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_leaves_last_words_that_the_operator_reads() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let folder = Folder::new(&embassy, &target, |_| ());
    let words = folder.place.path().join("last-words");
    let (succeeded, said) = tokio::task::block_in_place(|| run_program(&folder, &words));
    let result = RestoreResult::read(&said).unwrap();
    assert!(succeeded, "{}", result.message);
    assert_eq!(result.ending, Ending::Restored);
    assert_equal(&database, &target);
    assert_calm(&logged(folder.place.path()));
    // The same once more: it is not empty now.
    let (succeeded, said) = tokio::task::block_in_place(|| run_program(&folder, &words));
    assert!(!succeeded);
    assert_eq!(RestoreResult::read(&said).unwrap().reason, Reason::TargetLacks);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_restores_into_one_database_the_second_writes_nothing() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let [first, second] = [(); 2].map(|()| Folder::new(&embassy, &target, |_| ()));
    let environment = first.environment();
    let running = tokio::spawn(async move { run_until(&environment, CancellationToken::new()).await });
    first
        .until(|report| report.progress.phase != RestorePhase::Checking && report.copy.is_some())
        .await;
    // It comes too early, or when the first one is done.
    let late = second.run().await;
    let early = tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(early.ending, Ending::Restored, "{}", early.message);
    assert_eq!(
        (late.ending, late.reason),
        (Ending::NothingWritten, Reason::TargetLacks),
        "{}",
        late.message
    );
    assert_equal(&database, &target);
}

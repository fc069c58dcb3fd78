//! A store with a copy in it, a cell, and a drill that is told what to do as the operator tells it.

use std::{
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use dataembassy_contract::{
    assertion::{AssertionConfig, Expectation},
    drill::{AssertionResult, CELL_SCRIPT, CELL_USER, DrillConfig, DrillReport, DrillResult, LastWords},
    files,
    sovereignty::Loopback,
};
use dataembassy_sidecar::{
    drill::{Environment, run_until},
    process::Place,
    question,
    restore::job,
};
use dataembassy_testkit::{
    minio::BUCKET,
    postgresql::{Cell, Database, Server, programs},
    process::free_port,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bench::pauses::Pauses;
use crate::bench::{REGISTRY, http, logged};
use crate::restore::embassy::{Embassy, key};
use crate::sealed::{MemoryCopy, seal};
use crate::support::source;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// The group of the drill's container.
const GROUP: u32 = 65_532;

/// A server as the container of a drill has it.
pub(super) fn cell(major: u32) -> Cell {
    Cell::start(major, CELL_SCRIPT, u32::try_from(CELL_USER).unwrap(), GROUP).unwrap()
}

/// A new database of the server with this in it, and a copy of it.
pub(super) async fn copied(major: u32, content: &str) -> (Database, MemoryCopy) {
    let server = Server::shared(major);
    let database = server.database().await.unwrap();
    database.execute(content).await.unwrap();
    let copy = seal(&source(server, &database.name)).await;
    (database, copy)
}

/// A store with one copy of a database with this in it.
pub(super) async fn published(content: &str) -> Embassy {
    let embassy = Embassy::start().await;
    let (_, copy) = copied(17, content).await;
    embassy.publish(&copy, 7).await;
    embassy
}

/// A question of the user's.
pub(super) fn asks(name: &str, sql: &str, expect: Expectation) -> AssertionConfig {
    AssertionConfig {
        name: name.into(),
        sql: sql.into(),
        expect,
    }
}

/// One whose answer must be this.
pub(super) fn equals(name: &str, sql: &str, value: &str) -> AssertionConfig {
    asks(name, sql, Expectation::Equals(value.into()))
}

/// A drill's folder as the kubelet makes it, and where the process answers.
pub(super) struct Drill {
    folder: TempDir,
    status: SocketAddr,
    cell: PathBuf,
    /// The longest that a question may take.
    pub(super) longest_question: Duration,
}

impl Drill {
    /// Everything that a drill of the latest copy needs, after `change`.
    pub(super) fn new(embassy: &Embassy, cell: &Cell, change: impl FnOnce(&mut DrillConfig)) -> Self {
        let drill = Self {
            folder: TempDir::new().unwrap(),
            status: SocketAddr::from(([127, 0, 0, 1], free_port().unwrap())),
            cell: cell.sockets(),
            longest_question: question::LONGEST,
        };
        let mut config: DrillConfig = serde_json::from_value(json!({
            "drill": "drills/population",
            "order": "population-1",
            "registry": REGISTRY,
            "store": {
                "endpoint": embassy.bench.minio.endpoint(), "bucket": BUCKET, "region": "us-east-1",
                "caBundle": embassy.bench.minio.authority().certificate(),
            },
            "signers": [{"publicKey": key(1).public_key().to_string(), "fromSequence": 1}],
            "custodianKeys": [{"publicKey": key(9).public_key().to_string()}],
            "jobs": 2,
            "deadlineSeconds": 100,
            "databaseLimitBytes": 1 << 30,
        }))
        .unwrap();
        change(&mut config);
        drill.write(files::CONFIG_FILE, &config.to_json().unwrap());
        drill.write(files::RETRIEVAL_ACCESS_KEY_ID, &embassy.retrieval.access_key);
        drill.write(files::RETRIEVAL_SECRET_ACCESS_KEY, &embassy.retrieval.secret_key);
        drill.write(files::IDENTITY, &embassy.identity);
        drill
    }

    /// Writes a file of its folder.
    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Removes a file of its folder.
    pub(super) fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    /// Begins to drill.
    pub(super) fn begin(&self) -> Running<'_> {
        let environment = Environment {
            job: job::Environment {
                place: Place {
                    config_dir: self.folder.path().to_owned(),
                    loopback: Loopback::Allowed,
                    status_address: self.status,
                    metrics_address: SocketAddr::from(([127, 0, 0, 1], 0)),
                },
                programs: programs().unwrap().into(),
                scratch: std::env::temp_dir(),
                longest_question: self.longest_question,
            },
            cell: self.cell.clone(),
            termination_message: self.folder.path().join("last-words"),
        };
        let ending = CancellationToken::new();
        let told = ending.clone();
        let task = tokio::spawn(async move { run_until(&environment, told).await.unwrap() });
        Running {
            drill: self,
            task,
            ending,
        }
    }

    /// Drills by the program itself, with this in its environment, and receives the result as the operator does; whether the program ended well.
    pub(super) async fn by_the_program(&self, environment: &[(&str, String)]) -> (DrillResult, bool) {
        let log = File::create(self.folder.path().join("log-drill")).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_dataembassy-sidecar"))
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .args(["drill", "--allow-loopback", "--config-dir"])
            .arg(self.folder.path())
            .args(["--status-address", &self.status.to_string()])
            .args([
                "--metrics-address",
                &format!("127.0.0.1:{}", free_port().unwrap()),
            ])
            .arg("--postgresql-programs")
            .arg(programs().unwrap())
            .arg("--termination-message")
            .arg(self.folder.path().join("last-words"))
            .arg("--cell")
            .arg(&self.cell)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut result = None;
        loop {
            if let Some(status) = program.try_wait().unwrap() {
                let result = result.unwrap_or_else(|| panic!("it told no result: {}", self.log()));
                return (result, status.success());
            }
            // Whoever asks again by the tag has received it.
            if let Some((report, tag)) = self.report().await
                && let Some(told) = report.result
            {
                result = Some(*told);
                drop(http::get(self.status, files::STATUS_PATH, Some(&tag)).await);
            }
            if Instant::now() >= deadline {
                program.kill().unwrap();
                program.wait().unwrap();
                panic!("the drill does not end: {}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All that the program has logged.
    pub(super) fn log(&self) -> String {
        logged(self.folder.path())
    }

    /// Drills, and receives the result as the operator does.
    pub(super) async fn result(&self) -> DrillResult {
        self.begin().result().await
    }

    /// Its last words.
    pub(super) fn last_words(&self) -> LastWords {
        LastWords::read(&std::fs::read_to_string(self.folder.path().join("last-words")).unwrap()).unwrap()
    }

    /// The report, and its tag.
    pub(super) async fn report(&self) -> Option<(DrillReport, String)> {
        let answer = http::get(self.status, files::STATUS_PATH, None).await.ok()?;
        let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
        Some((DrillReport::read(answer.body()).unwrap(), tag))
    }
}

/// A drill that is at work.
pub(super) struct Running<'a> {
    drill: &'a Drill,
    pub(super) task: JoinHandle<DrillResult>,
    pub(super) ending: CancellationToken,
}

impl Running<'_> {
    /// Waits until the report is as it is wanted, if only for a moment; its tag with it.
    pub(super) async fn until(&self, wanted: impl Fn(&DrillReport) -> bool) -> (DrillReport, String) {
        self.look(Pauses::close(), wanted).await
    }

    async fn look(&self, mut pauses: Pauses, wanted: impl Fn(&DrillReport) -> bool) -> (DrillReport, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < deadline {
            if let Some((report, tag)) = self.drill.report().await {
                if wanted(&report) {
                    return (report, tag);
                }
                last = Some(report);
            }
            pauses.pause().await;
        }
        panic!("the report is not as it should be: {last:?}");
    }

    /// Waits for the result, shows that it was received, and waits for the end.
    pub(super) async fn result(self) -> DrillResult {
        let has_ended = |report: &DrillReport| report.result.is_some();
        let (report, tag) = self.look(Pauses::begin(), has_ended).await;
        assert!(!self.task.is_finished(), "nobody has received the result");
        let answer = http::get(self.drill.status, files::STATUS_PATH, Some(&tag))
            .await
            .unwrap();
        assert_eq!(answer.status(), 304);
        let result = tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
        assert_eq!(*report.result.unwrap(), result);
        let words = self.drill.last_words();
        assert_eq!((words.verdict, words.reason), (result.verdict, result.reason));
        result
    }
}

/// An answer by its name.
pub(super) fn answer<'a>(result: &'a DrillResult, name: &str) -> &'a AssertionResult {
    let found = result.assertions.iter().find(|one| one.name == name);
    found.unwrap_or_else(|| panic!("{name} was not asked: {result:?}"))
}

//! A mirror as the operator would run it: the real program, a configuration folder, a real database and a real store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dataembassy_contract::config::{
    self, Addressing, EmbassyConfig, ImmutabilityConfig, LockMode, MirrorConfig, MirrorIdentity,
    ObjectivesConfig, PostgresqlConfig, PostgresqlTls, RecipientConfig, ScheduleConfig, SourceConfig,
    SovereigntyConfig, StoreConfig, TlsMode,
};
use dataembassy_contract::report::{Outcome, Report};
use dataembassy_contract::{Reason, files};
use dataembassy_ledger::activation::State;
use dataembassy_ledger::chain::{CustodianKey, SignerRange};
use dataembassy_ledger::entry::{
    CustodyBody, CustodyEntry, Entry, EntryRef, Header, SignedObject, SourceBody, SourceEntry, TermBody,
};
use dataembassy_ledger::value::{Sequence, Term, Timestamp};
use dataembassy_ledger::{ObjectKey, SigningKey};
use dataembassy_sidecar::store::init::initialise;
use dataembassy_sidecar::store::ledger::read_document;
use dataembassy_sidecar::store::{Ledger, LedgerError, LedgerSettings};
use dataembassy_testkit::minio::BUCKET;
use dataembassy_testkit::postgresql::{DUMP_ROLE, Database, PASSWORD, Server, programs};
use tempfile::TempDir;

use super::pauses::Pauses;
use super::{REGISTRY, StoreBench, activation, as_owner, registry};
use crate::support::until;

/// The age key that copies of tests are sealed to; its private half is in no file.
pub const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(90);

/// Everything that one mirror needs.
pub struct MirrorBench {
    pub store: StoreBench,
    pub database: Database,
    pub folder: TempDir,
    pub config: MirrorConfig,
    /// Signs the mirror's entries.
    pub signer: SigningKey,
    /// Signs the custody chain; the configuration does not name it until a test does.
    pub custodian: SigningKey,
    /// Who signed before, each up to an entry.
    retired_signers: Vec<SignerRange>,
    retired_custodians: Vec<CustodianKey>,
    ports: (u16, u16),
    /// Where `<major>/bin/pg_dump` is.
    pub programs: PathBuf,
    /// What else the sidecar has in its environment.
    pub environment: Vec<(&'static str, String)>,
}

/// A running sidecar.
pub struct Sidecar {
    process: Child,
    status: SocketAddr,
    metrics: SocketAddr,
}

impl MirrorBench {
    /// A store made ready, a database with a table, and a folder that names both.
    pub async fn start(major: u32) -> Self {
        Self::of(Server::shared(major).database().await.unwrap()).await
    }

    /// The same for an empty database of one's own choice.
    pub async fn of(database: Database) -> Self {
        Self::with(StoreBench::start().await, database).await
    }

    /// The same at a store of one's own choice that is not made ready yet.
    pub async fn start_at(store: StoreBench) -> Self {
        Self::with(store, Server::shared(17).database().await.unwrap()).await
    }

    async fn with(store: StoreBench, database: Database) -> Self {
        let custodian = SigningKey::from_seed(&[9; 32]);
        initialise(&store.custody().await, &custodian).await.unwrap();
        database
            .execute("CREATE TABLE person AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 20000) i")
            .await
            .unwrap();
        let config = config(&store, &database);
        let free = || dataembassy_testkit::process::free_port().unwrap();
        let bench = Self {
            store,
            database,
            folder: tempfile::tempdir().unwrap(),
            config,
            signer: SigningKey::from_seed(&[1; 32]),
            custodian,
            retired_signers: Vec::new(),
            retired_custodians: Vec::new(),
            ports: (free(), free()),
            programs: programs().unwrap().to_owned(),
            environment: Vec::new(),
        };
        bench.write_secrets().await;
        bench.write_config();
        bench
    }

    async fn write_secrets(&self) {
        let keys = self.store.deposit_keys().await;
        let authority = self.database.server.authority().certificate();
        let write = |name: &str, text: &str| write(self.folder.path(), name, text);
        write(files::DEPOSIT_ACCESS_KEY_ID, &keys.access_key);
        write(files::DEPOSIT_SECRET_ACCESS_KEY, &keys.secret_key);
        write(files::DATABASE_USERNAME, DUMP_ROLE);
        write(files::DATABASE_PASSWORD, PASSWORD);
        write(files::DATABASE_CA, &authority);
        write(files::SIGNING_KEY, &self.signer.to_openssh().unwrap());
    }

    /// Goes on in another folder, where another key signs; what was in use before is handed back. The configuration is still to be written.
    pub async fn move_to(&mut self, folder: TempDir, key: &SigningKey) -> TempDir {
        let before = std::mem::replace(&mut self.folder, folder);
        self.write_secrets().await;
        self.write_secret(files::SIGNING_KEY, &key.to_openssh().unwrap());
        before
    }

    /// The term that an order opens, as a custodian writes it, by a warrant that these people have signed.
    pub async fn open_term(
        &self,
        order: &str,
        state: State,
        head: Option<EntryRef>,
        signer: &SigningKey,
        approved_by: &[&str],
    ) -> EntryRef {
        let ledger = self.ledger().await;
        let statement = activation::statement(ledger.store_id, order, state, signer.public_key());
        let body = TermBody {
            source_head: head,
            next_term: ledger.view.current_term().next().unwrap(),
            signer: signer.public_key(),
            order: Some(order.parse().unwrap()),
            warrant: Some(activation::signed(&statement, approved_by)),
        };
        let body = match state {
            State::Active => CustodyBody::Activation(body),
            State::StoodDown => CustodyBody::Release(body),
        };
        self.append_custody(body).await
    }

    /// Replaces one secret.
    pub fn write_secret(&self, name: &str, text: &str) {
        write(self.folder.path(), name, text);
    }

    /// Writes the configuration as it is now.
    pub fn write_config(&self) {
        write(
            self.folder.path(),
            files::CONFIG_FILE,
            &self.config.to_json().unwrap(),
        );
    }

    /// Starts the program.
    pub fn sidecar(&self) -> Sidecar {
        self.sidecar_at(self.ports)
    }

    /// Starts the program a second time, beside the first.
    pub fn second_sidecar(&self) -> Sidecar {
        let free = || dataembassy_testkit::process::free_port().unwrap();
        self.sidecar_at((free(), free()))
    }

    fn sidecar_at(&self, ports: (u16, u16)) -> Sidecar {
        let status = SocketAddr::from(([127, 0, 0, 1], ports.0));
        let metrics = SocketAddr::from(([127, 0, 0, 1], ports.1));
        let log = std::fs::File::create(self.folder.path().join(format!("log-{}", ports.0))).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_dataembassy-sidecar"))
            .args(["mirror", "--allow-loopback", "--config-dir"])
            .arg(self.folder.path())
            .arg("--postgresql-programs")
            .arg(&self.programs)
            .arg("--scratch")
            .arg(self.folder.path())
            .args([
                "--status-address",
                &status.to_string(),
                "--metrics-address",
                &metrics.to_string(),
            ])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Sidecar {
            process,
            status,
            metrics,
        }
    }

    /// Begins a run that stands before a locked table, and returns the process that serves whoever holds the lock, and the session.
    pub async fn held_run(&mut self, sidecar: &Sidecar, trigger: &str) -> (String, tokio_postgres::Client) {
        let holder = self.database.client().await.unwrap();
        holder
            .batch_execute("BEGIN; LOCK TABLE person IN ACCESS EXCLUSIVE MODE")
            .await
            .unwrap();
        let row = holder
            .query_one("SELECT pg_backend_pid()::text", &[])
            .await
            .unwrap();
        self.config.trigger = Some(trigger.into());
        self.write_config();
        sidecar
            .until("a run that stands", |report| report.run.is_some())
            .await;
        let stands = "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'person'::regclass)";
        until(&self.database, stands).await;
        (row.get(0), holder)
    }

    /// All that sidecars have logged.
    pub fn log(&self) -> String {
        super::logged(self.folder.path())
    }

    /// The ledger as it stands, read past the sidecar.
    pub async fn ledger(&self) -> Ledger {
        self.read_from(None).await.unwrap()
    }

    /// The same for one who knows this head.
    pub async fn read_from(&self, floor: Option<EntryRef>) -> Result<Ledger, LedgerError> {
        let (mut signers, mut custodians) = (self.retired_signers.clone(), self.retired_custodians.clone());
        let until = signers.last().and_then(|retired| retired.until);
        signers.push(SignerRange {
            from: until.map_or(Sequence::FIRST, |until| until.next().unwrap()),
            ..SignerRange::always(self.signer.public_key())
        });
        custodians.push(CustodianKey {
            key: self.custodian.public_key(),
            until: None,
        });
        let settings = LedgerSettings {
            registry: registry(),
            signers,
            custodians,
            floor,
        };
        Ledger::read(&as_owner(&self.store.minio), &settings).await
    }

    /// Writes the custodian's key into the configuration: what it signs counts from the next look on.
    pub fn trust_custodian(&mut self) {
        let retired = self.retired_custodians.iter();
        let retired = retired.map(|retired| (retired.key, retired.until));
        let keys = retired.chain([(self.custodian.public_key(), None)]);
        self.config.embassy.custodian_keys = keys
            .map(|(key, until)| config::CustodianKey {
                public_key: key.to_string(),
                until_sequence: until.map(Sequence::get),
            })
            .collect();
        self.write_config();
    }

    /// Lets another key sign the source chain after the entry of this number; the secret is still to be exchanged.
    pub fn retire_signer(&mut self, until: u64, next: &SigningKey) -> SigningKey {
        let former = std::mem::replace(&mut self.signer, next.clone());
        self.config.previous_keys.push(config::PreviousKey {
            public_key: former.public_key().to_string(),
            until_sequence: until,
        });
        self.retired_signers.push(SignerRange {
            until: Some(super::sequence(until)),
            ..SignerRange::always(former.public_key())
        });
        self.write_config();
        former
    }

    /// Lets another key sign the custody chain after the entry of this number.
    pub fn retire_custodian(&mut self, until: u64, next: &SigningKey) -> SigningKey {
        let former = std::mem::replace(&mut self.custodian, next.clone());
        self.retired_custodians.push(CustodianKey {
            key: former.public_key(),
            until: Some(super::sequence(until)),
        });
        self.trust_custodian();
        former
    }

    /// Writes the next entry of the custody chain, as the custodian does.
    pub async fn append_custody(&self, body: CustodyBody) -> EntryRef {
        self.append_custody_as(&self.custodian, body).await
    }

    /// Writes the next entry of the custody chain, signed by whomever.
    pub async fn append_custody_as(&self, signer: &SigningKey, body: CustodyBody) -> EntryRef {
        let ledger = self.ledger().await;
        let (sequence, prev) = if let Some(head) = ledger.view.head() {
            (head.sequence.next().unwrap(), head.digest)
        } else {
            let document = read_document(&as_owner(&self.store.minio)).await.unwrap();
            (Sequence::FIRST, document.digest)
        };
        let entry: CustodyEntry = Entry {
            header: Header {
                store_id: ledger.store_id,
                registry: registry(),
                sequence,
                prev,
                term: ledger.view.current_term(),
                at: Timestamp::from_jiff(jiff::Timestamp::now()).unwrap(),
            },
            body,
        };
        let object = entry.sign(signer).unwrap();
        self.put(&entry.object_key().to_string(), object, sequence).await
    }

    /// Writes the next entry of the source chain: the head's copy once more, changed as the test needs it, in the term in force.
    pub async fn append_source(
        &self,
        signer: &SigningKey,
        change: impl FnOnce(&mut SourceEntry),
    ) -> EntryRef {
        let ledger = self.ledger().await;
        let mut entry = ledger.head.unwrap().entry.entry;
        entry.header.sequence = ledger.next;
        entry.header.prev = ledger.tip;
        entry.header.term = ledger.view.current_term();
        let SourceBody::Copy(copy) = &mut entry.body;
        copy.custody_head = ledger.view.head();
        change(&mut entry);
        let object = entry.sign(signer).unwrap();
        self.put(&entry.object_key().to_string(), object, ledger.next)
            .await
    }

    async fn put(&self, key: &str, object: SignedObject, sequence: Sequence) -> EntryRef {
        let digest = object.digest;
        self.store.minio.put(BUCKET, key, object.bytes).await.unwrap();
        EntryRef { sequence, digest }
    }

    /// Takes a source entry away from under the store, as who owns its disks could.
    pub fn remove_source(&self, term: u64, sequence: u64) {
        let key = ObjectKey::Source {
            registry: registry(),
            term: Term::new(term).unwrap(),
            sequence: Sequence::new(sequence).unwrap(),
        };
        let folder = self.store.minio.data_directory();
        let place = folder.join(BUCKET).join(key.to_string());
        std::fs::rename(place, folder.with_file_name("taken-away")).unwrap();
    }

    /// The keys of all objects under the registry's copies, whether an entry leads to them or not.
    pub async fn objects(&self) -> Vec<String> {
        let prefix = format!("registries/{REGISTRY}/copies/");
        self.store.minio.keys(BUCKET, &prefix).await.unwrap()
    }

    /// How many copies the ledger holds; each of them is whole: every object it names is in the store, with the digest it names.
    pub async fn whole_copies(&self) -> u64 {
        let store = as_owner(&self.store.minio);
        super::whole::count(&store, &self.ledger().await).await
    }
}

/// How the run that answers this trigger has ended, if it has.
pub fn ended(report: &Report, trigger: &str) -> Option<(Outcome, Reason)> {
    let mut runs = report.recent_runs.iter();
    let run = runs.find(|run| run.trigger.as_deref() == Some(trigger))?;
    Some((run.outcome, run.reason))
}

impl Sidecar {
    /// The report, if the sidecar answers.
    pub async fn report(&self) -> Option<Report> {
        let answer = super::http::get(self.status, files::STATUS_PATH, None)
            .await
            .ok()?;
        serde_json::from_slice(answer.body()).ok()
    }

    /// Waits until the metrics have this line.
    pub async fn until_metric(&self, line: &str) {
        let (begun, mut pauses) = (Instant::now(), Pauses::begin());
        loop {
            let answer = super::http::get(self.metrics, "/metrics", None).await;
            let text = answer.map(|answer| String::from_utf8(answer.into_body()).unwrap());
            let text = text.unwrap_or_default();
            if text.lines().any(|found| found == line) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{line} is not in\n{text}");
            pauses.pause().await;
        }
    }

    /// Waits until the report is as `wanted` says, and returns it.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        let (begun, mut pauses) = (Instant::now(), Pauses::begin());
        let mut last = None;
        while begun.elapsed() < DEADLINE {
            last = self.report().await.or(last);
            if let Some(report) = last.as_ref().filter(|report| wanted(report)) {
                return report.clone();
            }
            pauses.pause().await;
        }
        panic!("waited in vain for {what}; the last report: {last:#?}");
    }

    /// Waits until the ledger's latest copy has at least this number.
    pub async fn until_copy(&self, sequence: u64) -> Report {
        let reached = |report: &Report| {
            report
                .last_copy
                .as_ref()
                .is_some_and(|copy| copy.sequence >= sequence)
        };
        self.until(&format!("copy {sequence}"), reached).await
    }

    pub fn status_address(&self) -> SocketAddr {
        self.status
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        super::process::signal(name, self.process.id());
    }

    /// Ends the process as the kernel would.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks the process to end, and waits for its exit status.
    pub async fn terminate(mut self) -> i32 {
        super::process::terminate(&mut self.process, Duration::from_secs(20)).await
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, path).unwrap();
}

fn config(store: &StoreBench, database: &Database) -> MirrorConfig {
    MirrorConfig {
        mirror: MirrorIdentity {
            namespace: "interior".into(),
            name: REGISTRY.into(),
            uid: "1".into(),
        },
        generation: 1,
        registry: REGISTRY.into(),
        adopt_release: None,
        embassy: EmbassyConfig {
            name: "luxembourg".into(),
            store: StoreConfig {
                endpoint: store.proxy.endpoint(),
                bucket: BUCKET.into(),
                region: "us-east-1".into(),
                addressing: Addressing::Path,
                ca_bundle: Some(store.minio.authority().certificate()),
                allow_insecure: false,
            },
            recipients: vec![RecipientConfig {
                name: "ministry".into(),
                public_key: RECIPIENT.into(),
            }],
            custodian_keys: Vec::new(),
            approvers: None,
            sovereignty: SovereigntyConfig::default(),
            immutability: ImmutabilityConfig {
                mode: LockMode::Compliance,
                lock_on_arrival: "1d".parse().unwrap(),
            },
        },
        source: SourceConfig {
            postgresql: Some(PostgresqlConfig {
                host: "localhost".into(),
                port: database.server.port(),
                database: database.name.clone(),
                tls: PostgresqlTls {
                    mode: TlsMode::VerifyFull,
                },
                max_connections: 4,
                max_snapshot_age: "1h".parse().unwrap(),
                yield_to_ddl_after: "30s".parse().unwrap(),
                include_password_verifiers: false,
            }),
            accepted_identity: None,
        },
        previous_keys: Vec::new(),
        signers: Vec::new(),
        // Never in a test's time: what a test wants, it triggers.
        schedule: ScheduleConfig {
            cron: "0 3 1 1 *".into(),
            time_zone: "UTC".into(),
            deadline: "5m".parse().unwrap(),
        },
        trigger: None,
        suspend: false,
        objectives: ObjectivesConfig {
            rpo: "1h".parse().unwrap(),
        },
        floor: None,
    }
}

//! A gate as the operator would run it: the real program, a configuration folder, and a real store behind a proxy that sees what
//! reaches it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dataembassy_contract::config::{Addressing, SovereigntyConfig, StoreConfig};
use dataembassy_contract::gate::{GateConfig, GateReport, LaneConfig, LaneReport};
use dataembassy_contract::sovereignty::Loopback;
use dataembassy_contract::{Endpoint, Sovereignty, files};
use dataembassy_sidecar::store::{Patience, Store, StoreSettings};
use dataembassy_testkit::authority::{Authority, ServerCertificate};
use dataembassy_testkit::fault_proxy::Seen;
use dataembassy_testkit::minio::{BUCKET, Credentials, SignedClient, StoreUser};
use dataembassy_testkit::process::free_port;
use tempfile::TempDir;

use crate::bench::mirror::MirrorBench;
use crate::bench::pauses::Pauses;
use crate::bench::{REGISTRY, StoreBench, http, process};

/// Another registry that the gate serves.
pub const OTHER: &str = "business";
/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_mins(1);

/// A store and a gate before it.
pub struct GateBench {
    pub store: StoreBench,
    pub folder: TempDir,
    pub config: GateConfig,
    /// Signs the gate's certificates.
    pub authority: Authority,
    pub gate: SocketAddr,
    /// What the gate has in its environment besides.
    pub environment: Vec<(&'static str, String)>,
    status: SocketAddr,
    metrics: SocketAddr,
    process: Option<Child>,
}

impl GateBench {
    /// Starts the store and the gate, and waits until the gate is ready.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts both with a changed configuration.
    pub async fn start_with(change: impl FnOnce(&mut GateConfig)) -> Self {
        Self::before(StoreBench::start().await, change).await
    }

    /// Starts a gate before a store that is there.
    pub async fn before(store: StoreBench, change: impl FnOnce(&mut GateConfig)) -> Self {
        let mut bench = Self::prepare(store);
        change(&mut bench.config);
        bench.write_config();
        bench.certify(&bench.certificate());
        bench.run();
        bench.until_ready().await;
        bench
    }

    /// Starts a gate between a mirror and its store.
    pub async fn between(mirror: &mut MirrorBench) -> Self {
        let store = mirror.config.embassy.store.clone();
        let gate = Self::before(StoreBench::start().await, |config| config.store = store).await;
        let place = &mut mirror.config.embassy.store;
        (place.endpoint, place.ca_bundle) = (gate.endpoint(), Some(gate.authority.certificate()));
        gate
    }

    /// A folder without anything in it, and no gate yet.
    pub fn prepare(store: StoreBench) -> Self {
        let address = || SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let config = GateConfig {
            embassy: "luxembourg".into(),
            generation: 1,
            store: StoreConfig {
                endpoint: store.proxy.endpoint(),
                bucket: BUCKET.into(),
                region: "us-east-1".into(),
                addressing: Addressing::Path,
                ca_bundle: Some(store.minio.authority().certificate()),
                allow_insecure: false,
            },
            sovereignty: SovereigntyConfig::default(),
            lanes: vec![lane(REGISTRY), lane(OTHER)],
        };
        Self {
            store,
            folder: tempfile::tempdir().unwrap(),
            config,
            authority: Authority::new("test gate authority").unwrap(),
            gate: address(),
            environment: Vec::new(),
            status: address(),
            metrics: address(),
            process: None,
        }
    }

    /// Starts the program.
    pub fn run(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"));
        let log = log.unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_dataembassy-sidecar"))
            .args(["gate", "--allow-loopback", "--config-dir"])
            .arg(self.folder.path())
            .args(["--gate-address", &self.gate.to_string()])
            .args(["--status-address", &self.status.to_string()])
            .args(["--metrics-address", &self.metrics.to_string()])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// A new certificate for the gate.
    pub fn certificate(&self) -> ServerCertificate {
        self.authority.sign(&["127.0.0.1", "localhost"]).unwrap()
    }

    /// Writes a certificate and its key.
    pub fn certify(&self, certificate: &ServerCertificate) {
        self.write(files::GATE_CERTIFICATE_KEY, &certificate.key);
        self.write(files::GATE_CERTIFICATE, &certificate.certificate);
    }

    /// Writes the configuration as it is now.
    pub fn write_config(&self) {
        self.write(files::CONFIG_FILE, &self.config.to_json().unwrap());
    }

    /// Changes the configuration and waits until the gate has it.
    pub async fn configure(&mut self, change: impl FnOnce(&mut GateConfig)) {
        change(&mut self.config);
        self.config.generation += 1;
        self.write_config();
        let generation = self.config.generation;
        self.until("the configuration", |report| {
            report
                .loaded
                .as_ref()
                .is_some_and(|loaded| loaded.generation == generation)
        })
        .await;
    }

    /// Writes a file of the folder at once, whole.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let draft = path.with_extension("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, path).unwrap();
    }

    /// Waits until the gate is ready.
    pub async fn until_ready(&self) {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            if let Ok(answer) = http::get(self.status, "/readyz", None).await
                && answer.status().is_success()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the gate did not become ready: {}", self.log());
    }

    /// What a path of the status port answers.
    pub async fn status(&self, path: &str, known: Option<&str>) -> hyper::Response<Vec<u8>> {
        http::get(self.status, path, known).await.unwrap()
    }

    /// The metrics as text.
    pub async fn metrics(&self) -> String {
        let answer = http::get(self.metrics, "/metrics", None).await.unwrap();
        String::from_utf8(answer.into_body()).unwrap()
    }

    /// The report, if the gate answers.
    pub async fn report(&self) -> Option<GateReport> {
        let answer = http::get(self.status, files::STATUS_PATH, None).await.ok()?;
        serde_json::from_slice(answer.body()).ok()
    }

    /// Waits until the report is as `wanted` says, and returns it.
    pub async fn until(&self, what: &str, wanted: impl Fn(&GateReport) -> bool) -> GateReport {
        let (begun, mut pauses) = (Instant::now(), Pauses::begin());
        let mut last = None;
        while begun.elapsed() < DEADLINE {
            last = self.report().await.or(last);
            if let Some(report) = last.as_ref().filter(|report| wanted(report)) {
                return report.clone();
            }
            pauses.pause().await;
        }
        panic!(
            "waited in vain for {what}; the last report: {last:#?}; the log: {}",
            self.log()
        );
    }

    /// What the report says of one registry.
    pub async fn lane(&self, registry: &str) -> LaneReport {
        let report = self.report().await.unwrap();
        let lane = report.lanes.into_iter().find(|lane| lane.registry == registry);
        lane.unwrap_or_default()
    }

    /// How often requests of a registry were refused with a word.
    pub async fn refused(&self, registry: &str, word: &str) -> u64 {
        let rows = self.lane(registry).await.refused;
        let row = rows.into_iter().find(|row| row.refusal == word);
        row.map_or(0, |row| row.count)
    }

    /// All that the gate has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The gate's process id.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// How many requests of clients have reached the store: the gate's own probes do not count.
    pub fn reached(&self) -> usize {
        let is_signed = |seen: &Seen| seen.headers.contains_key("authorization");
        self.store.proxy.asked_for(is_signed)
    }

    /// The deposit user of a registry.
    pub async fn deposit(&self, registry: &str) -> Credentials {
        let user = StoreUser::Deposit {
            registry: registry.into(),
        };
        self.store.minio.add_user(BUCKET, &user).await.unwrap()
    }

    /// The retrieval user of a registry.
    pub async fn retrieval(&self, registry: &str) -> Credentials {
        let user = StoreUser::Retrieval {
            registry: registry.into(),
        };
        self.store.minio.add_user(BUCKET, &user).await.unwrap()
    }

    /// The store as our own client reaches it through the gate.
    pub fn client(&self, keys: &Credentials) -> Store {
        StoreBench::store_as(&self.settings(), keys)
    }

    /// How the store is reached through the gate.
    pub fn settings(&self) -> StoreSettings {
        let endpoint = Endpoint::parse(&self.endpoint(), false).unwrap();
        let sovereignty = Sovereignty::default().with_loopback(Loopback::Allowed);
        StoreSettings::new(endpoint, BUCKET.into(), "us-east-1".into(), sovereignty)
            .unwrap()
            .with_ca_bundle(Some(self.authority.certificate()))
            .unwrap()
            .with_patience(Patience {
                connect: Duration::from_secs(10),
                read: Duration::from_secs(30),
                put: Duration::from_mins(1),
            })
    }

    /// Where clients find the gate.
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.gate)
    }

    /// Requests signed by a user, sent to the gate.
    pub fn signed(&self, keys: Credentials) -> SignedClient {
        SignedClient::new(&self.authority.certificate(), self.gate.to_string(), keys).unwrap()
    }

    /// Ends the gate as the kernel would.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Asks the gate to end, and waits for its exit status.
    pub async fn terminate(&mut self) -> i32 {
        let mut process = self.process.take().unwrap();
        process::terminate(&mut process, Duration::from_secs(30)).await
    }
}

impl Drop for GateBench {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A registry without limits, in its first term.
pub fn lane(registry: &str) -> LaneConfig {
    LaneConfig {
        registry: registry.into(),
        term: 1,
        fenced: false,
        home_may_retrieve: false,
        quota_bytes: None,
        used_bytes: 0,
        bytes_per_second: None,
    }
}

/// The most memory that a process has had, in KiB.
pub fn peak_kib(process: u32) -> u64 {
    let status =
        std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

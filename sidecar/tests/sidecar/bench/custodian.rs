//! A custodian as the operator would run it: the real program, a configuration folder, a real store with made-up ledgers.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataembassy_contract::config::{
    Addressing, Floor, ImmutabilityConfig, LockMode, RecipientConfig, SovereigntyConfig, StoreConfig,
};
use dataembassy_contract::custodian::{
    CustodianConfig, CustodianReport, CustodyConfig, OrderState, RegistryReport, RetentionConfig,
    SignerConfig, TrustedCustodian, VerificationConfig, registry_path,
};
use dataembassy_contract::{Reason, files};
use dataembassy_ledger::chain::{CustodianKey, CustodyView, SignerRange};
use dataembassy_ledger::entry::{CustodyBody, CustodyEntry, ReportForms};
use dataembassy_ledger::{CopyId, ObjectKey, PublicKey, Sha256Digest, SigningKey};
use dataembassy_sidecar::store::{Ledger, LedgerSettings, Store};
use dataembassy_testkit::fabricated::{Depositor, MadeCopy, MadeLedger, Origin, RECIPIENT, Shape};
use dataembassy_testkit::fault_proxy::FaultProxy;
use dataembassy_testkit::minio::{BUCKET, BucketKind, Minio, StoreUser, Version};
use hyper::Method;
use jiff::Timestamp;
use tempfile::TempDir;

use super::REGISTRY;
use super::pauses::Pauses;

/// How long a test waits for what must happen: a fault must be told within a minute.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Signs for home.
pub fn home() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

/// Signs for the custodian.
pub fn custodian_key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

/// Everything that one custodian needs.
pub struct CustodianBench {
    pub minio: Minio,
    pub proxy: FaultProxy,
    pub folder: TempDir,
    pub config: CustodianConfig,
    pub origin: Origin,
    pub ledger: MadeLedger,
    /// How often things are done.
    pub timing: Vec<(&'static str, &'static str)>,
    /// What the custodian has in its environment besides.
    pub environment: Vec<(&'static str, String)>,
    /// For how long what is put is locked, where the bucket does not do that by itself.
    pub lock: Option<Duration>,
}

/// A running custodian.
pub struct Custodian {
    process: Child,
    status: SocketAddr,
    metrics: SocketAddr,
}

impl CustodianBench {
    /// A store made ready, an empty ledger of one registry, and a folder that names both.
    pub async fn start() -> Self {
        Self::start_with(BucketKind::Locked).await
    }

    pub async fn start_with(bucket: BucketKind) -> Self {
        Self::start_at(Minio::start().await.unwrap(), bucket).await
    }

    /// The same on this server.
    pub async fn start_at(minio: Minio, bucket: BucketKind) -> Self {
        minio.make_bucket(BUCKET, bucket).await.unwrap();
        let proxy = FaultProxy::start(minio.address(), minio.authority())
            .await
            .unwrap();
        let mut depositor = Depositor::connect(minio.root(), BUCKET).await.unwrap();
        let origin = depositor.initialise(&custodian_key()).await.unwrap();
        let ledger = MadeLedger::new(origin, REGISTRY.parse().unwrap(), home());
        let config = config(&minio, &proxy);
        let bench = Self {
            minio,
            proxy,
            folder: tempfile::tempdir().unwrap(),
            config,
            origin,
            ledger,
            timing: vec![("--look-every", "1s"), ("--count-every", "1s")],
            environment: Vec::new(),
            lock: None,
        };
        bench.write_secrets().await;
        bench.write_config();
        bench
    }

    async fn write_secrets(&self) {
        let keys = self.minio.add_user(BUCKET, &StoreUser::Custody).await.unwrap();
        self.write(files::CUSTODY_ACCESS_KEY_ID, &keys.access_key);
        self.write(files::CUSTODY_SECRET_ACCESS_KEY, &keys.secret_key);
        self.write(files::CUSTODY_SIGNING_KEY, &custodian_key().to_openssh().unwrap());
    }

    /// Writes the configuration as it is now.
    pub fn write_config(&self) {
        self.write(files::CONFIG_FILE, &self.config.to_json().unwrap());
    }

    /// Replaces a file of the folder.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let draft = path.with_extension("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, path).unwrap();
    }

    /// Puts objects as root, past every policy.
    pub async fn depositor(&self) -> Depositor<'_> {
        let depositor = Depositor::connect(self.minio.root(), BUCKET).await.unwrap();
        depositor.locking(self.lock)
    }

    /// Makes copies of the first registry up.
    pub async fn copies(&mut self, count: usize, shape: &Shape) -> Vec<MadeCopy> {
        let depositor = Depositor::connect(self.minio.root(), BUCKET).await.unwrap();
        let mut depositor = depositor.locking(self.lock);
        let mut copies = Vec::new();
        for _ in 0..count {
            copies.push(self.ledger.copy(&mut depositor, shape).await.unwrap());
        }
        copies
    }

    /// Tells the custodian what the operator would have remembered of a report.
    pub fn remember(&mut self, report: &RegistryReport) {
        let floor = |head: &dataembassy_contract::report::Head| Floor {
            sequence: head.sequence,
            digest: head.digest.clone(),
        };
        let registry = &mut self.config.registries[0];
        registry.source_floor = report.source_head.as_ref().map(floor);
        registry.custody_floor = report.custody_head.as_ref().map(floor);
        self.write_config();
    }

    /// What the custody chain says, to a reader that trusts the custodian.
    pub async fn view(&self) -> CustodyView {
        self.view_by(&super::as_owner(&self.minio)).await
    }

    async fn view_by(&self, store: &Store) -> CustodyView {
        let settings = LedgerSettings {
            registry: REGISTRY.parse().unwrap(),
            signers: vec![SignerRange::always(home().public_key())],
            custodians: vec![CustodianKey {
                key: custodian_key().public_key(),
                until: None,
            }],
            floor: None,
        };
        let ledger = Ledger::read(store, &settings).await.unwrap();
        assert!(ledger.alarms.is_empty(), "{:#?}", ledger.alarms);
        ledger.view
    }

    /// Waits until the custody chain says something.
    pub async fn until_view(&self, what: &str, wanted: impl Fn(&CustodyView) -> bool) -> CustodyView {
        let store = super::as_owner(&self.minio);
        wait(what, async || Some(self.view_by(&store).await), wanted).await
    }

    /// Both forms of a report are in the store in one version each, the one that its entry names.
    pub async fn report_lies_once(&self, order: &str, forms: &ReportForms) {
        for (form, named) in [("json", &forms.json), ("html", &forms.html)] {
            let key = format!("registries/{REGISTRY}/reports/{order}.{form}");
            let versions = self.minio.root().versions(BUCKET, &key).await.unwrap();
            assert_eq!(versions.len(), 1, "{versions:?}");
            assert_eq!(versions[0].id, named.version.to_string());
            let bytes = self.minio.get(BUCKET, &key).await.unwrap();
            assert_eq!(
                (bytes.len() as u64, Sha256Digest::of(&bytes)),
                (named.size, named.sha256)
            );
        }
    }

    /// What the custody chain says, entry by entry.
    pub async fn custody_entries(&self) -> Vec<CustodyBody> {
        let mut entries = Vec::new();
        let prefix = format!("registries/{REGISTRY}/custody/");
        for key in self.minio.keys(BUCKET, &prefix).await.unwrap() {
            let bytes = self.minio.get(BUCKET, &key).await.unwrap();
            entries.push(CustodyEntry::verify(&bytes).unwrap().entry.body);
        }
        entries
    }

    /// Who signed the custody chain, entry by entry.
    pub async fn custody_signers(&self) -> Vec<PublicKey> {
        let mut signers = Vec::new();
        let prefix = format!("registries/{REGISTRY}/custody/");
        for key in self.minio.keys(BUCKET, &prefix).await.unwrap() {
            let bytes = self.minio.get(BUCKET, &key).await.unwrap();
            signers.push(CustodyEntry::verify(&bytes).unwrap().signer);
        }
        signers
    }

    /// Every version and delete marker of a copy.
    pub async fn folder(&self, copy: CopyId) -> Vec<Version> {
        let prefix = ObjectKey::copy_prefix(self.ledger.registry(), copy);
        self.minio.root().versions(BUCKET, &prefix).await.unwrap()
    }

    /// Gives one version this lock, or none, as who owns the store: a GOVERNANCE lock that it has does not count.
    pub async fn set_lock(&self, key: &str, version: &str, lock: Option<(&str, Timestamp)>) {
        let lock = lock
            .map(|(mode, until)| format!("<Mode>{mode}</Mode><RetainUntilDate>{until:.0}</RetainUntilDate>"));
        let body = format!("<Retention>{}</Retention>", lock.unwrap_or_default());
        let checksum = STANDARD.encode(Sha256Digest::of(body.as_bytes()).as_bytes());
        let query = [("retention", ""), ("versionId", version)];
        let headers = [
            ("x-amz-bypass-governance-retention", "true"),
            ("x-amz-checksum-sha256", checksum.as_str()),
        ];
        let (root, path) = (self.minio.root(), format!("/{BUCKET}/{key}"));
        let set = root.expect(Method::PUT, &path, &query, &headers, body.into());
        set.await.unwrap();
    }

    /// All that custodians have logged.
    pub fn log(&self) -> String {
        super::logged(self.folder.path())
    }

    /// Waits until the source chain was looked at so many times more.
    pub async fn until_looks(&self, custodian: &Custodian, more: usize) {
        let of_source = format!("prefix=registries%2F{REGISTRY}%2Fsource%2F");
        let looks = || self.proxy.asked_for(|one| one.target.contains(&of_source));
        let before = looks();
        custodian.until("more looks", |_| looks() >= before + more).await;
    }

    /// Starts the program.
    pub fn custodian(&self) -> Custodian {
        Custodian::start(self.folder.path(), &self.timing, &self.environment)
    }
}

/// Keeps the newest whole copy and no other.
pub fn newest_only() -> RetentionConfig {
    RetentionConfig {
        keep_within: "1s".parse().unwrap(),
        daily: 0,
        weekly: 0,
        monthly: 0,
        yearly: 0,
        minimum: 1,
        dry_run: false,
    }
}

/// What became of an order, as far as a report says it.
pub fn answer(report: &RegistryReport, order: &str) -> Option<OrderState> {
    let answer = report.orders.iter().find(|answer| answer.id == order)?;
    Some(answer.state.clone())
}

impl Custodian {
    /// Starts the program in a folder that is made ready.
    pub fn start(folder: &Path, timing: &[(&str, &str)], environment: &[(&str, String)]) -> Self {
        let free = || dataembassy_testkit::process::free_port().unwrap();
        let status = SocketAddr::from(([127, 0, 0, 1], free()));
        let metrics = SocketAddr::from(([127, 0, 0, 1], free()));
        let log = folder.join(format!("log-{}", status.port()));
        let log = std::fs::File::create(log).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_dataembassy-sidecar"))
            .args(["custodian", "--allow-loopback", "--config-dir"])
            .arg(folder)
            .args(timing.iter().flat_map(|(flag, time)| [flag, time]))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .args(["--status-address", &status.to_string()])
            .args(["--metrics-address", &metrics.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            process,
            status,
            metrics,
        }
    }

    async fn get<T>(&self, path: &str, read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let answer = super::http::get(self.status, path, None).await.ok()?;
        read(answer.body())
    }

    /// The custodian's report, if it answers with one that the operator would read.
    pub async fn report(&self) -> Option<CustodianReport> {
        self.get(files::STATUS_PATH, CustodianReport::read).await
    }

    /// A registry's report.
    pub async fn registry_named(&self, registry: &str) -> Option<RegistryReport> {
        self.get(&registry_path(registry), RegistryReport::read).await
    }

    /// The first registry's report.
    pub async fn registry(&self) -> Option<RegistryReport> {
        self.registry_named(REGISTRY).await
    }

    /// Waits until the custodian's report is as `wanted` says, and returns it.
    pub async fn until(&self, what: &str, wanted: impl Fn(&CustodianReport) -> bool) -> CustodianReport {
        wait(what, async || self.report().await, wanted).await
    }

    /// Waits until the first registry's report is as `wanted` says, and returns it.
    pub async fn until_registry(
        &self,
        what: &str,
        wanted: impl Fn(&RegistryReport) -> bool,
    ) -> RegistryReport {
        self.until_named(REGISTRY, what, wanted).await
    }

    /// Waits until the report of this registry is as `wanted` says, and returns it.
    pub async fn until_named(
        &self,
        registry: &str,
        what: &str,
        wanted: impl Fn(&RegistryReport) -> bool,
    ) -> RegistryReport {
        wait(what, async || self.registry_named(registry).await, wanted).await
    }

    /// Waits until an order has its entry; returns the report that says so.
    pub async fn until_done(&self, order: &str) -> RegistryReport {
        let is_done =
            |report: &RegistryReport| matches!(answer(report, order), Some(OrderState::Done { .. }));
        let what = format!("the entry of {order}");
        self.until_registry(&what, is_done).await
    }

    /// Waits until an order is refused in these words; returns the refusal.
    pub async fn until_refused(&self, order: &str, words: &str) -> (Reason, String) {
        let refused = |report: &RegistryReport| match answer(report, order) {
            Some(OrderState::Refused { reason, message }) if message.contains(words) => {
                Some((reason, message))
            }
            _ => None,
        };
        let what = format!("the refusal of {order}, with {words:?}");
        let report = self
            .until_registry(&what, |report| refused(report).is_some())
            .await;
        refused(&report).unwrap()
    }

    /// Waits until an order waits, with these words.
    pub async fn until_waiting(&self, order: &str, words: &str) -> RegistryReport {
        let waits = |report: &RegistryReport| match answer(report, order) {
            Some(OrderState::Waiting { message, .. }) => message.contains(words),
            _ => false,
        };
        let what = format!("{order} to wait, with {words:?}");
        self.until_registry(&what, waits).await
    }

    /// Waits until the head of the source chain has this number.
    pub async fn until_head(&self, sequence: u64) -> RegistryReport {
        let reached = |report: &RegistryReport| {
            report
                .source_head
                .as_ref()
                .is_some_and(|head| head.sequence == sequence)
        };
        self.until_registry(&format!("head {sequence}"), reached).await
    }

    /// Waits for an alarm and returns its message.
    pub async fn until_alarm(&self, reason: Reason) -> String {
        let report = self
            .until_registry(&format!("alarm {reason}"), |report| {
                alarm(report, reason).is_some()
            })
            .await;
        alarm(&report, reason).unwrap()
    }

    /// Waits until there is no alarm of that kind.
    pub async fn until_healed(&self, reason: Reason) -> RegistryReport {
        let healed = |report: &RegistryReport| alarm(report, reason).is_none();
        self.until_registry(&format!("no alarm {reason}"), healed).await
    }

    /// The most memory that the process has had so far, in KiB: the program's own pages as well as its data.
    pub fn peak_kibibytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub const fn status_address(&self) -> SocketAddr {
        self.status
    }

    pub const fn metrics_address(&self) -> SocketAddr {
        self.metrics
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

impl Drop for Custodian {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The message of the first alarm with this reason.
pub fn alarm(report: &RegistryReport, reason: Reason) -> Option<String> {
    let alarm = report.alarms.iter().find(|alarm| alarm.reason == reason)?;
    Some(alarm.message.clone())
}

async fn wait<T: Clone + std::fmt::Debug>(
    what: &str,
    ask: impl AsyncFn() -> Option<T>,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let (begun, mut pauses) = (Instant::now(), Pauses::begin());
    let mut last = None;
    while begun.elapsed() < DEADLINE {
        last = ask().await.or(last);
        if let Some(report) = last.as_ref().filter(|report| wanted(report)) {
            return report.clone();
        }
        pauses.pause().await;
    }
    panic!("waited in vain for {what}; the last report: {last:#?}");
}

/// What is to be known of a registry whose home signs with the tests' key.
pub fn custody_of(registry: &str) -> CustodyConfig {
    CustodyConfig {
        name: registry.into(),
        generation: 1,
        registry: registry.into(),
        signers: vec![SignerConfig {
            public_key: home().public_key().to_string(),
            from_sequence: 1,
            until_sequence: None,
        }],
        rpo: "1h".parse().unwrap(),
        quota_bytes: None,
        retention: RetentionConfig {
            keep_within: "30d".parse().unwrap(),
            daily: 14,
            weekly: 8,
            monthly: 12,
            yearly: 10,
            minimum: 3,
            dry_run: true,
        },
        pins: Vec::new(),
        drills: None,
        confirmed_head: None,
        source_floor: None,
        custody_floor: None,
    }
}

fn config(minio: &Minio, proxy: &FaultProxy) -> CustodianConfig {
    config_at(proxy.endpoint(), minio)
}

/// What a custodian is told that reaches a store at this endpoint.
pub fn config_at(endpoint: String, minio: &Minio) -> CustodianConfig {
    CustodianConfig {
        embassy: "luxembourg".into(),
        generation: 1,
        store: StoreConfig {
            endpoint,
            bucket: BUCKET.into(),
            region: "us-east-1".into(),
            addressing: Addressing::Path,
            ca_bundle: Some(minio.authority().certificate()),
            allow_insecure: false,
        },
        sovereignty: SovereigntyConfig::default(),
        immutability: ImmutabilityConfig {
            mode: LockMode::Compliance,
            lock_on_arrival: "1d".parse().unwrap(),
        },
        recipients: vec![RecipientConfig {
            name: "ministry".into(),
            public_key: RECIPIENT.into(),
        }],
        custodian_keys: vec![TrustedCustodian {
            public_key: custodian_key().public_key().to_string(),
            retired: Vec::new(),
        }],
        approvers: None,
        verification: VerificationConfig {
            period: "7d".parse().unwrap(),
            bytes_per_second: 1 << 30,
        },
        capacity_bytes: None,
        sweep_after: "1d".parse().unwrap(),
        check: None,
        registries: vec![custody_of(REGISTRY)],
        orders: Vec::new(),
    }
}

/// The folder in which the store keeps an object, for what a broken disk would do.
pub fn on_disk(minio: &Minio, key: &str) -> std::path::PathBuf {
    minio.data_directory().join(BUCKET).join(Path::new(key))
}

/// Turns a bit of what the store keeps for an object.
pub fn damage(folder: &Path) {
    let mut pending = vec![folder.to_owned()];
    while let Some(place) = pending.pop() {
        if place.is_dir() {
            pending.extend(
                std::fs::read_dir(place)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            let mut bytes = std::fs::read(&place).unwrap();
            // Small objects stand in the file of their description, behind it.
            let last = bytes.len() - 10;
            bytes[last] ^= 1;
            std::fs::write(&place, bytes).unwrap();
        }
    }
}

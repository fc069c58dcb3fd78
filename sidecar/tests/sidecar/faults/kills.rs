//! SIGKILL for mirror, gate, custodian, restore and store, at seeded moments under load, a hundred times and more. In the end nothing that
//! was committed is lost, nothing is called intact that is not, nothing runs on without an end, and nothing is left over.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::custodian::{Custodian, config_at, damage, on_disk};
use crate::bench::mirror::{MirrorBench, Sidecar};
use crate::bench::{REGISTRY, StoreBench, as_owner, whole};
use crate::gate::bench::GateBench;
use crate::restore::embassy::age_keygen;
use crate::sealed::{OWNER, target};
use crate::support::plain_copy;
use dataembassy_contract::config::Floor;
use dataembassy_contract::custodian::{CustodianConfig, RegistryReport};
use dataembassy_contract::report::{CheckState, Head, Outcome, Report};
use dataembassy_contract::restore::{Ending, RestoreConfig, RestoreResult};
use dataembassy_contract::{Reason, files};
use dataembassy_ledger::entry::{CustodyBody, CustodyEntry, SourceBody, SourceEntry};
use dataembassy_testkit::fault_proxy::{Fault, FaultProxy};
use dataembassy_testkit::minio::{BUCKET, BucketKind, StoreUser};
use dataembassy_testkit::postgresql::{Database, PASSWORD, Server, programs};
use dataembassy_testkit::process::free_port;
use dataembassy_testkit::seed::Dice;
use serde_json::json;
use tempfile::TempDir;

use super::{assert_no_panic, sealed_to};

/// No run takes longer; what it has put by then and not committed may be swept.
const RUN: &str = "40s";
const SWEEP: &str = "60s";
/// After the last kill: until everything is right again, the sweep included.
const SETTLING: Duration = Duration::from_mins(5);
/// The copy that is truly damaged, so that calling everything intact cannot pass.
const DAMAGED: u64 = 1;
/// A store that locks, as a mirror must see it; this one locks nothing, so that what is swept can go today.
const LOCKS: &str = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
    <Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";

/// The number of the signal that nobody can catch.
const SIGKILL: i32 = 9;

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Mirror,
    Gate,
    Custodian,
    Restore,
    Store,
}

const VICTIMS: [Victim; 5] = [
    Victim::Mirror,
    Victim::Gate,
    Victim::Custodian,
    Victim::Restore,
    Victim::Store,
];

/// Everything that is killed, and what was ever said of copies.
struct World {
    bench: MirrorBench,
    gate: GateBench,
    /// Sees what passes, and says that the bucket locks.
    eyes: FaultProxy,
    mirror: Option<Sidecar>,
    keeper: TempDir,
    keeping: CustodianConfig,
    custodian: Option<Custodian>,
    restores: TempDir,
    target: Database,
    restore: Option<Child>,
    /// Digests of copies that the mirror has called committed.
    committed: BTreeMap<u64, String>,
    generation: u64,
}

impl World {
    async fn start() -> Self {
        let mut bench = MirrorBench::start_at(StoreBench::start_with(BucketKind::Lockable).await).await;
        let identity = age_keygen();
        let recipients = sealed_to(&identity);
        let minio = &bench.store.minio;
        let eyes = FaultProxy::start(minio.address(), minio.authority())
            .await
            .unwrap();
        eyes.inject(usize::MAX, Fault::Retell(LOCKS), |_, target| {
            target.contains("object-lock")
        });
        let mut place = bench.config.embassy.store.clone();
        place.endpoint = eyes.endpoint();
        let gate = GateBench::before(StoreBench::start().await, |config| config.store = place).await;
        bench.config.embassy.recipients.clone_from(&recipients);
        bench.config.embassy.store.endpoint = gate.endpoint();
        bench.config.embassy.store.ca_bundle = Some(gate.authority.certificate());
        bench.config.schedule.deadline = RUN.parse().unwrap();
        bench.trust_custodian();
        let mut keeping = config_at(bench.store.minio.endpoint(), &bench.store.minio);
        keeping.recipients = recipients;
        keeping.sweep_after = SWEEP.parse().unwrap();
        keeping.immutability.lock_on_arrival = "1s".parse().unwrap();
        // Nothing expires so soon, but what no entry names goes.
        keeping.registries[0].retention.dry_run = false;
        let keeper = tempfile::tempdir().unwrap();
        let keys = bench
            .store
            .minio
            .add_user(BUCKET, &StoreUser::Custody)
            .await
            .unwrap();
        write(keeper.path(), files::CUSTODY_ACCESS_KEY_ID, &keys.access_key);
        write(keeper.path(), files::CUSTODY_SECRET_ACCESS_KEY, &keys.secret_key);
        write(
            keeper.path(),
            files::CUSTODY_SIGNING_KEY,
            &bench.custodian.to_openssh().unwrap(),
        );
        let target = target(Server::shared(17)).await;
        let restores = restore_folder(&bench, &identity, &target).await;
        let mirror = Some(bench.sidecar());
        let mut world = Self {
            bench,
            gate,
            eyes,
            mirror,
            keeper,
            keeping,
            custodian: None,
            restores,
            target,
            restore: None,
            committed: BTreeMap::new(),
            generation: 1,
        };
        world.mirror.as_ref().unwrap().until_copy(DAMAGED).await;
        world.damage_first().await;
        world.write_keeping();
        world.begin(Victim::Custodian);
        // An operator that has never heard of an entry can vouch for none, and a custodian that is begun anew says so for ever.
        let begun = Instant::now();
        while world.keeping.registries[0].custody_floor.is_none() {
            assert!(
                begun.elapsed() < SETTLING,
                "the custodian's first entry was not heard of"
            );
            world.listen("the beginning").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        world
    }

    /// Turns a bit of the first copy's first segment, on the store's disk.
    async fn damage_first(&self) {
        let copy = self.copy_at(DAMAGED).await;
        let key = format!("registries/{REGISTRY}/copies/{copy}/00000001");
        damage(&on_disk(&self.bench.store.minio, &key));
    }

    /// The id of the copy that an entry is about.
    async fn copy_at(&self, sequence: u64) -> String {
        let key = crate::bench::entry(sequence).to_string();
        let bytes = self.bench.store.minio.get(BUCKET, &key).await.unwrap();
        let SourceBody::Copy(copy) = SourceEntry::verify(&bytes).unwrap().entry.body;
        copy.copy_id.to_string()
    }

    fn write_keeping(&self) {
        write(
            self.keeper.path(),
            files::CONFIG_FILE,
            &self.keeping.to_json().unwrap(),
        );
    }

    fn begin(&mut self, who: Victim) {
        match who {
            Victim::Mirror => self.mirror = Some(self.bench.sidecar()),
            Victim::Gate => self.gate.run(),
            Victim::Custodian => {
                let timing = [
                    ("--look-every", "1s"),
                    ("--count-every", "1s"),
                    ("--prove-every", "1s"),
                    // What is void is told at most that often; a slow machine comes to a first time before the last kill.
                    ("--expire-every", "40s"),
                ];
                self.custodian = Some(Custodian::start(self.keeper.path(), &timing, &[]));
            }
            Victim::Restore => self.restore = Some(self.start_restore()),
            Victim::Store => {}
        }
    }

    fn start_restore(&self) -> Child {
        let folder = self.restores.path();
        drop(std::fs::remove_file(folder.join("last-words")));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("log"));
        let log = log.unwrap();
        Command::new(env!("CARGO_BIN_EXE_dataembassy-sidecar"))
            .args(["restore-job", "--allow-loopback", "--config-dir"])
            .arg(folder)
            .args(["--status-address", &format!("127.0.0.1:{}", free_port().unwrap())])
            .args([
                "--metrics-address",
                &format!("127.0.0.1:{}", free_port().unwrap()),
            ])
            .arg("--postgresql-programs")
            .arg(programs().unwrap())
            .arg("--scratch")
            .arg(folder)
            .arg("--termination-message")
            .arg(folder.join("last-words"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Load: a change in the registry, and a copy that is asked for.
    async fn ask(&mut self) {
        self.generation += 1;
        let change = format!(
            "UPDATE person SET name = md5('{}' || id) WHERE id % 50 = {}",
            self.generation,
            self.generation % 50
        );
        self.bench.database.execute(&change).await.unwrap();
        self.bench.config.trigger = Some(format!("load-{}", self.generation));
        self.bench.config.generation += 1;
        self.bench.write_config();
    }

    /// Kills one of them at a seeded moment, counted in what reaches the store, and begins it anew. False where it had come to its end by itself
    /// before.
    async fn kill_one(&mut self, dice: &mut Dice) -> bool {
        let who = VICTIMS[dice.place(VICTIMS.len())];
        if matches!(who, Victim::Restore) && self.restore.is_none() {
            self.begin(who);
        }
        let requests = self.eyes.asked() + dice.place(40);
        // Now and then there is time enough to come far.
        let longest = if dice.below(4) == 0 { 4_000 } else { 1_200 };
        let longest = Duration::from_millis(dice.below(longest));
        let begun = Instant::now();
        while self.eyes.asked() < requests && begun.elapsed() < longest {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let is_killed = match who {
            Victim::Mirror => {
                let mirror = self.mirror.take().unwrap();
                let is_running = is_running(mirror.process_id());
                mirror.kill();
                is_running
            }
            Victim::Gate => {
                let is_running = is_running(self.gate.process_id());
                self.gate.kill();
                is_running
            }
            Victim::Custodian => {
                let custodian = self.custodian.take().unwrap();
                let is_running = is_running(custodian.process_id());
                custodian.kill();
                is_running
            }
            Victim::Restore => end(self.restore.take()),
            Victim::Store => {
                self.bench.store.minio.stop();
                self.bench.store.minio.resume().await.unwrap();
                true
            }
        };
        if !matches!(who, Victim::Restore) {
            self.begin(who);
        }
        if dice.below(3) == 0 {
            self.ask().await;
        }
        self.listen(&format!("{who:?}")).await;
        is_killed
    }

    /// What the mirror says is committed is remembered, and so is what an operator would remember of the custodian's report.
    async fn listen(&mut self, what: &str) {
        if let Some(mirror) = &self.mirror
            && let Some(copy) = mirror.report().await.and_then(|report| report.last_copy)
        {
            let known = self.committed.insert(copy.sequence, copy.digest.clone());
            assert!(
                known.is_none_or(|known| known == copy.digest),
                "copy {} is another one",
                copy.sequence
            );
        }
        if let Some(custodian) = &self.custodian
            && let Some(report) = custodian.registry().await
        {
            assert_honest(what, &report);
            let floor = |head: &Head| Floor {
                sequence: head.sequence,
                digest: head.digest.clone(),
            };
            let registry = &mut self.keeping.registries[0];
            if !report.unwitnessed && report.source_head.is_some() && report.custody_head.is_some() {
                registry.source_floor = report.source_head.as_ref().map(floor);
                registry.custody_floor = report.custody_head.as_ref().map(floor);
                self.write_keeping();
            }
        }
    }

    /// Everything runs on its own from here, until it is as it must be.
    async fn settles(mut self) {
        if self.custodian.is_none() {
            self.begin(Victim::Custodian);
        }
        self.ask().await;
        let last = self.bench.config.trigger.clone();
        let is_done = |report: &Report| {
            let mut runs = report.recent_runs.iter();
            runs.any(|run| run.trigger == last && run.outcome == Outcome::Copied)
        };
        let mirror = self.mirror.as_ref().unwrap();
        let report = mirror.until("a copy after the last kill", is_done).await;
        assert!(report.run.is_none() && report.suspicious.is_none(), "{report:#?}");
        let ledger = self.bench.ledger().await;
        assert!(ledger.alarms.is_empty(), "{:#?}", ledger.alarms);
        let copies = whole::count_from(DAMAGED + 1, &as_owner(&self.bench.store.minio), &ledger).await;
        self.until_proven(copies).await;
        for (sequence, digest) in &self.committed {
            let key = crate::bench::entry(*sequence).to_string();
            let bytes = self.bench.store.minio.get(BUCKET, &key).await.unwrap();
            assert_eq!(crate::bench::sha256(&bytes).to_string(), *digest, "{key}");
        }
        self.until_swept(copies).await;
        self.restores_last().await;
        self.leaves_nothing_behind().await;
    }

    async fn until_proven(&mut self, copies: u64) {
        let begun = Instant::now();
        loop {
            self.listen("the end").await;
            let report = self
                .custodian
                .as_ref()
                .unwrap()
                .registry()
                .await
                .unwrap_or_default();
            // This bucket locks nothing, which is told of each copy.
            let told = |reason: Reason| matches!(reason, Reason::LockMissing | Reason::LockTooShort);
            let others = report
                .alarms
                .iter()
                .filter(|alarm| !told(alarm.reason) && alarm.sequence != Some(DAMAGED));
            if u64::from(report.verification.verified) == copies - 1
                && report.ledger.state == CheckState::True
                && others.count() == 0
            {
                return;
            }
            assert!(
                begun.elapsed() < SETTLING,
                "{copies} copies are not proven: {report:#?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Every folder that no entry names is declared void, and goes.
    async fn until_swept(&mut self, copies: u64) {
        let mut named = Vec::new();
        for number in 1..=copies {
            named.push(self.copy_at(number).await);
        }
        let begun = Instant::now();
        loop {
            let keys = self.bench.objects().await;
            let left = keys
                .iter()
                .find(|key| !named.iter().any(|copy| key.contains(copy.as_str())));
            let Some(left) = left else { break };
            assert!(
                begun.elapsed() < SETTLING,
                "{left} is left over: {:#?}",
                self.custodian.as_ref().unwrap().registry().await
            );
            self.listen("the sweep").await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        // Nothing was declared void that an entry names.
        let prefix = format!("registries/{REGISTRY}/custody/");
        for key in self.bench.store.minio.keys(BUCKET, &prefix).await.unwrap() {
            let bytes = self.bench.store.minio.get(BUCKET, &key).await.unwrap();
            if let CustodyBody::Void(body) = CustodyEntry::verify(&bytes).unwrap().entry.body {
                let lost = body.copies.iter().find(|copy| named.contains(&copy.to_string()));
                assert_eq!(lost, None, "a committed copy was declared void");
            }
        }
    }

    async fn restores_last(&mut self) {
        end(self.restore.take());
        let mut restore = self.start_restore();
        let begun = Instant::now();
        while restore.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < SETTLING, "the last restore does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let words = std::fs::read_to_string(self.restores.path().join("last-words")).unwrap();
        let result = RestoreResult::read(&words).unwrap();
        assert_eq!(result.ending, Ending::Restored, "{}", result.message);
        let rows = "SELECT * FROM person ORDER BY id";
        assert_eq!(
            plain_copy(&self.bench.database, rows),
            plain_copy(&self.target, rows)
        );
    }

    async fn leaves_nothing_behind(mut self) {
        let log = std::fs::read_to_string(self.restores.path().join("log")).unwrap_or_default();
        assert_no_panic(&format!("{}{}{}", self.bench.log(), self.gate.log(), log));
        self.mirror.take().unwrap().kill();
        self.custodian.take().unwrap().kill();
        self.gate.kill();
        let folders = [
            self.bench.folder.path().to_owned(),
            self.keeper.path().to_owned(),
            self.restores.path().to_owned(),
            self.gate.folder.path().to_owned(),
        ];
        let begun = Instant::now();
        while let Some(orphan) = orphan_of(&folders) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{orphan} still runs");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let sessions = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname IN ('{}', '{}') AND usename IN ('dump', '{OWNER}')",
            self.bench.database.name, self.target.name
        );
        while self.bench.database.value(&sessions).await.unwrap() != "0" {
            assert!(
                begun.elapsed() < Duration::from_mins(1),
                "a session is left at the database"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn assert_honest(what: &str, report: &RegistryReport) {
    assert_ne!(report.intact.state, CheckState::True, "{what}: {report:#?}");
    let mut damaged = report.copies.iter().filter(|copy| copy.sequence == DAMAGED);
    assert!(
        damaged.all(|copy| copy.intact != CheckState::True),
        "{what}: {report:#?}"
    );
}

/// Kills a process; false where it had come to its end by itself, or there was none.
fn end(process: Option<Child>) -> bool {
    let Some(mut process) = process else {
        return false;
    };
    drop(process.kill());
    process.wait().unwrap().signal() == Some(SIGKILL)
}

/// Whether a process of ours, for which nobody has waited yet, is still at work.
fn is_running(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    !state.unwrap().trim_start().starts_with('Z')
}

/// A process that was told of one of these folders, or whose program was.
fn orphan_of(folders: &[PathBuf]) -> Option<String> {
    let ours = std::process::id().to_string();
    std::fs::read_dir("/proc").unwrap().find_map(|entry| {
        let place = entry.unwrap().path();
        let id = place.file_name()?.to_str()?.to_owned();
        if !id.bytes().all(|byte| byte.is_ascii_digit()) || id == ours {
            return None;
        }
        let told = ["cmdline", "environ"].map(|file| std::fs::read(place.join(file)).unwrap_or_default());
        let told = String::from_utf8_lossy(&told.concat()).replace('\0', " ");
        let about = folders
            .iter()
            .any(|folder| told.contains(folder.to_str().unwrap()));
        about.then(|| format!("{id}: {told}"))
    })
}

async fn restore_folder(bench: &MirrorBench, identity: &str, target: &Database) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let user = StoreUser::Retrieval {
        registry: REGISTRY.into(),
    };
    let keys = bench.store.minio.add_user(BUCKET, &user).await.unwrap();
    let config: RestoreConfig = serde_json::from_value(json!({
        "registry": REGISTRY,
        "store": {
            "endpoint": bench.store.minio.endpoint(), "bucket": BUCKET, "region": "us-east-1",
            "caBundle": bench.store.minio.authority().certificate(),
        },
        "signers": [{"publicKey": bench.signer.public_key().to_string(), "fromSequence": 1}],
        "custodianKeys": [{"publicKey": bench.custodian.public_key().to_string()}],
        "copy": "latest",
        "ifNotEmpty": "Replace",
        "target": {"host": "localhost", "port": target.server.port(), "database": target.name},
        "jobs": 2,
    }))
    .unwrap();
    let place = folder.path();
    write(place, files::CONFIG_FILE, &config.to_json().unwrap());
    write(place, files::RETRIEVAL_ACCESS_KEY_ID, &keys.access_key);
    write(place, files::RETRIEVAL_SECRET_ACCESS_KEY, &keys.secret_key);
    write(place, files::IDENTITY, identity);
    write(place, files::DATABASE_USERNAME, OWNER);
    write(place, files::DATABASE_PASSWORD, PASSWORD);
    write(
        place,
        files::DATABASE_CA,
        &target.server.authority().certificate(),
    );
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, path).unwrap();
}

async fn kills(times: u64) {
    let mut dice = Dice::of_the_environment(&format!("the kill loop, {times} times"));
    let mut world = World::start().await;
    let (mut killed, mut tried) = (0, 0);
    while killed < times {
        // Of five, one may now and then have ended before: a restore, which is short.
        assert!(
            tried < 2 * times,
            "only {killed} of {tried} were there to be killed"
        );
        tried += 1;
        killed += u64::from(world.kill_one(&mut dice).await);
    }
    Box::pin(world.settles()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kills_lose_nothing_and_leave_nothing_behind() {
    Box::pin(kills(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a thousand kills take half an hour"]
async fn a_thousand_kills_lose_nothing_and_leave_nothing_behind() {
    Box::pin(kills(1_000)).await;
}

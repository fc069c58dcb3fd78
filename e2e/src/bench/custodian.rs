//! A custodian on loopback, as the operator would run it: a store, a folder with its configuration, the program, and what it says.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use dataembassy_contract::{
    config::{
        Addressing, Floor, ImmutabilityConfig, LockMode, RecipientConfig, SovereigntyConfig, StoreConfig,
    },
    custodian::{
        CustodianConfig, CustodyConfig, RegistryReport, RetentionConfig, SignerConfig, TrustedCustodian,
        VerificationConfig, registry_path,
    },
    files,
};
use dataembassy_ledger::{SigningKey, entry::EntryRef};
use dataembassy_testkit::{
    fabricated::{Depositor, Origin, RECIPIENT},
    minio::{BUCKET, BucketKind, Minio, StoreUser},
    process::free_port,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Child,
};

use crate::command::command;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// A store that a custodian keeps, and how it is told to.
pub(super) struct Kept {
    pub(super) minio: Minio,
    pub(super) origin: Origin,
    pub(super) config: CustodianConfig,
    pub(super) folder: TempDir,
    sidecar: PathBuf,
}

/// Signs for home.
pub(super) fn home() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

/// Signs for the custodian.
pub(super) fn custodian_key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

impl Kept {
    /// An empty store, made ready.
    pub(super) async fn set_up(sidecar: &Path) -> Result<Self> {
        let minio = Minio::start().await?;
        minio.make_bucket(BUCKET, BucketKind::Locked).await?;
        let origin = Depositor::connect(minio.root(), BUCKET)
            .await?
            .initialise(&custodian_key())
            .await?;
        let keys = minio.add_user(BUCKET, &StoreUser::Custody).await?;
        let kept = Self {
            config: config(&minio)?,
            minio,
            origin,
            folder: tempfile::tempdir()?,
            sidecar: sidecar.to_owned(),
        };
        let signer = custodian_key().to_openssh().context("a key is written")?;
        kept.write(files::CUSTODY_ACCESS_KEY_ID, &keys.access_key)?;
        kept.write(files::CUSTODY_SECRET_ACCESS_KEY, &keys.secret_key)?;
        kept.write(files::CUSTODY_SIGNING_KEY, &signer)?;
        Ok(kept)
    }

    /// Has one more registry followed. `floors` are the last known heads of its source and its custody chain.
    pub(super) fn accept(&mut self, registry: &str, floors: Option<(EntryRef, EntryRef)>) -> Result<()> {
        self.config.registries.push(custody_of(registry, floors)?);
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Starts the program.
    pub(super) fn start(&self, arguments: &[&str]) -> Result<Custodian> {
        self.write(files::CONFIG_FILE, &self.config.to_json()?)?;
        let address = || -> Result<_> { Ok(SocketAddr::from(([127, 0, 0, 1], free_port()?))) };
        let (status, metrics) = (address()?, address()?);
        let log = self.folder.path().join("custodian.log");
        let file = fs::File::create(&log)?;
        let mut program = command(&self.sidecar);
        program
            .args(["custodian", "--allow-loopback", "--config-dir"])
            .arg(self.folder.path())
            .args(["--status-address", &status.to_string()])
            .args(["--metrics-address", &metrics.to_string()])
            .args(arguments)
            .stdout(Stdio::from(file.try_clone()?))
            .stderr(Stdio::from(file));
        let process = program.spawn().context("the custodian cannot be started")?;
        Ok(Custodian { process, status, log })
    }
}

/// A custodian at work; it is killed when this is dropped.
pub(super) struct Custodian {
    process: Child,
    status: SocketAddr,
    log: PathBuf,
}

impl Custodian {
    /// What it says of a registry, if it answers.
    pub(super) async fn registry(&self, registry: &str) -> Option<RegistryReport> {
        let body = get(self.status, &registry_path(registry)).await.ok()?;
        RegistryReport::read(&body)
    }

    /// Waits until it says of a registry what is `wanted`.
    pub(super) async fn until(
        &self,
        what: &str,
        registry: &str,
        deadline: Duration,
        wanted: impl Fn(&RegistryReport) -> bool,
    ) -> Result<RegistryReport> {
        let until = Instant::now() + deadline;
        let mut last = None;
        while Instant::now() < until {
            last = self.registry(registry).await.or(last);
            if let Some(report) = last.take_if(|report| wanted(report)) {
                return Ok(report);
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!(
            "waited in vain for {what}: {last:#?}\n{}",
            fs::read_to_string(&self.log).unwrap_or_default()
        )
    }

    /// MiB of memory: `VmRSS` has it now, `VmHWM` had it at most.
    pub(super) fn mebibytes(&self, what: &str) -> Result<f64> {
        let id = self.process.id().context("the custodian has ended")?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let found = status
            .lines()
            .find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        let found = found.with_context(|| format!("the kernel tells no {what}"))?;
        let kibibytes: f64 = found.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes / 1024.0)
    }

    /// Ends it.
    pub(super) async fn end(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }
}

/// The body of an answer that is a success.
async fn get(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "no success");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    Ok(answer.split_off(end.context("the answer has no end of its head")? + 4))
}

fn config(minio: &Minio) -> Result<CustodianConfig> {
    let day = "1d".parse()?;
    Ok(CustodianConfig {
        embassy: "bench".into(),
        generation: 1,
        store: StoreConfig {
            endpoint: minio.endpoint(),
            bucket: BUCKET.into(),
            region: "us-east-1".into(),
            addressing: Addressing::Path,
            ca_bundle: Some(minio.authority().certificate()),
            allow_insecure: false,
        },
        sovereignty: SovereigntyConfig::default(),
        immutability: ImmutabilityConfig {
            mode: LockMode::Compliance,
            lock_on_arrival: day,
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
            period: day,
            bytes_per_second: 1 << 40,
        },
        capacity_bytes: None,
        sweep_after: day,
        check: None,
        registries: Vec::new(),
        orders: Vec::new(),
    })
}

fn custody_of(registry: &str, floors: Option<(EntryRef, EntryRef)>) -> Result<CustodyConfig> {
    let floor = |head: EntryRef| Floor {
        sequence: head.sequence.get(),
        digest: head.digest.to_string(),
    };
    Ok(CustodyConfig {
        name: registry.into(),
        generation: 1,
        registry: registry.into(),
        signers: vec![SignerConfig {
            public_key: home().public_key().to_string(),
            from_sequence: 1,
            until_sequence: None,
        }],
        rpo: "1d".parse()?,
        quota_bytes: None,
        retention: RetentionConfig {
            keep_within: "30d".parse()?,
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
        source_floor: floors.map(|(source, _)| floor(source)),
        custody_floor: floors.map(|(_, custody)| floor(custody)),
    })
}

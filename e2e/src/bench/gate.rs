//! What the gate costs: sixteen puts at once through it, and to the store itself. Both by curl, both with the same signatures' work.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use dataembassy_contract::{files, gate::GateConfig};
use dataembassy_testkit::{
    authority::Authority,
    minio::{BUCKET, BucketKind, Minio, SignedClient, StoreUser},
    process::free_port,
};
use futures::future::try_join_all;
use hyper::Method;
use rand::RngCore as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::{net::TcpStream, process::Child};

use super::{promise::Promise, row::Row};
use crate::{
    command::{command, output},
    progress::Progress,
};

const REGISTRY: &str = "bench";
/// Puts at once.
const SENDERS: usize = 16;
/// Puts of each sender in one measurement, one after the other on one connection.
const PUTS: usize = 4;
/// Bytes of a put: what a segment has.
const BYTES: usize = 16 << 20;
/// The share of the store's own throughput that comes through at least.
const THROUGHPUT: f64 = 0.9;
/// The most memory that the gate may have meanwhile, in MiB.
const MEMORY: f64 = 48.0;
/// No put takes longer.
const DEADLINE: Duration = Duration::from_mins(2);

/// A store, a gate before it, and a body to put.
struct Rig {
    minio: Minio,
    direct: SignedClient,
    gated: SignedClient,
    gate: Child,
    digest: String,
    folder: TempDir,
}

/// Measures and returns the rows.
pub(super) async fn measure(runs: u32, sidecar: &Path, progress: &Progress) -> Result<[Row; 2]> {
    let step = progress.step("a gate before a store");
    let rig = Rig::set_up(sidecar).await?;
    step.done();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first of each warms up and does not count.
    for run in 0..=runs {
        let step = progress.step(format!("puts, run {run} of {runs}"));
        let (through, past);
        if run % 2 == 1 {
            through = rig.put(&rig.gated, run).await?;
            past = rig.put(&rig.direct, run).await?;
        } else {
            past = rig.put(&rig.direct, run).await?;
            through = rig.put(&rig.gated, run).await?;
        }
        if run > 0 {
            ours.push(through);
            theirs.push(past);
        }
        step.done();
    }
    let peak = rig.peak_mebibytes()?;
    let puts = format!("{SENDERS} puts at once through the gate");
    Ok([
        Row::seconds(format!("{puts}, or past it"), &ours, &theirs)
            .promised(Promise::times_as_fast(THROUGHPUT)),
        Row::within(
            format!("{puts}: its memory, and what is promised at most"),
            peak,
            MEMORY,
            "MiB",
        ),
    ])
}

impl Rig {
    async fn set_up(sidecar: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let minio = Minio::start().await?;
        // Without locks, so that what was measured can be removed.
        minio.make_bucket(BUCKET, BucketKind::Plain).await?;
        let user = StoreUser::Deposit {
            registry: REGISTRY.into(),
        };
        let keys = minio.add_user(BUCKET, &user).await?;
        let authority = Authority::new("bench gate authority")?;
        let (store_ca, gate_ca) = (minio.authority().certificate(), authority.certificate());
        write(&path("direct.crt"), &store_ca)?;
        write(&path("gated.crt"), &gate_ca)?;
        let mut body = vec![0; BYTES];
        rand::rng().fill_bytes(&mut body);
        fs::write(path("body"), &body)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let certificate = authority.sign(&["127.0.0.1"])?;
        let config = path("gate");
        write(&config.join(files::GATE_CERTIFICATE), &certificate.certificate)?;
        write(&config.join(files::GATE_CERTIFICATE_KEY), &certificate.key)?;
        let document: GateConfig = serde_json::from_value(json!({
            "embassy": "bench",
            "generation": 1,
            "store": {"endpoint": minio.endpoint(), "bucket": BUCKET, "region": "us-east-1", "caBundle": store_ca},
            "lanes": [{"registry": REGISTRY, "term": 1}],
        }))
        .context("the configuration is not one")?;
        write(&config.join(files::CONFIG_FILE), &document.to_json()?)?;
        let gate = start(sidecar, &config, address, &path("gate.log")).await?;
        Ok(Self {
            direct: SignedClient::new(&store_ca, minio.address(), keys.clone())?,
            gated: SignedClient::new(&gate_ca, address.to_string(), keys)?,
            digest: Sha256::digest(&body)
                .iter()
                .fold(String::new(), |mut text, byte| {
                    // A string takes every write.
                    let _ = write!(text, "{byte:02x}");
                    text
                }),
            minio,
            gate,
            folder,
        })
    }

    /// Puts as many as are measured at once; how long that took.
    async fn put(&self, client: &SignedClient, run: u32) -> Result<Duration> {
        let side = if client.address() == self.gated.address() {
            "gated"
        } else {
            "direct"
        };
        let senders: Vec<PathBuf> = (0..SENDERS)
            .map(|sender| self.script(client, side, run, sender))
            .collect::<Result<_>>()?;
        let began = Instant::now();
        let sent = senders.iter().map(|script| async move {
            let mut curl = command("curl");
            curl.arg("--config").arg(script);
            output(&mut curl).await
        });
        let said = tokio::time::timeout(DEADLINE, try_join_all(sent)).await??;
        let took = began.elapsed();
        for codes in said {
            ensure!(codes == "200".repeat(PUTS), "{side}: {codes}");
        }
        self.empty().await?;
        Ok(took)
    }

    /// What one curl is told: its puts, one after the other on one connection.
    fn script(&self, client: &SignedClient, side: &str, run: u32, sender: usize) -> Result<PathBuf> {
        let path = |name: &str| self.folder.path().join(name);
        let mut script = String::new();
        for put in 0..PUTS {
            let copy = format!("{run:016x}{sender:08x}{put:08x}");
            let key = format!("/{BUCKET}/registries/{REGISTRY}/copies/{copy}/00000001");
            let (target, headers) = client.sign("PUT", &key, &[], &[("if-none-match", "*")], &self.digest);
            if put > 0 {
                script.push_str("next\n");
            }
            writeln!(script, "url = \"https://{}{target}\"", client.address())?;
            writeln!(script, "upload-file = \"{}\"", path("body").display())?;
            writeln!(script, "cacert = \"{}\"", path(&format!("{side}.crt")).display())?;
            // It would wait for a second where the other side does not know it.
            script.push_str("header = \"expect:\"\n");
            for (name, value) in headers {
                writeln!(script, "header = \"{name}: {value}\"")?;
            }
            script.push_str("silent\nshow-error\noutput = \"/dev/null\"\nwrite-out = \"%{http_code}\"\n");
        }
        let file = path(&format!("{side}-{sender}.curl"));
        write(&file, &script)?;
        Ok(file)
    }

    /// Removes what was put.
    async fn empty(&self) -> Result<()> {
        let prefix = format!("registries/{REGISTRY}/copies/");
        for key in self.minio.keys(BUCKET, &prefix).await? {
            let target = format!("/{BUCKET}/{key}");
            self.minio
                .root()
                .expect(Method::DELETE, &target, &[], &[], Vec::new())
                .await?;
        }
        Ok(())
    }

    /// The most memory that the gate has had.
    fn peak_mebibytes(&self) -> Result<f64> {
        let id = self.gate.id().context("the gate has ended")?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.context("the kernel tells no peak")?.trim();
        let kibibytes: f64 = peak.trim_end_matches(" kB").parse()?;
        Ok(kibibytes / 1024.0)
    }
}

/// Starts the gate and waits until it takes requests.
async fn start(sidecar: &Path, config: &Path, address: SocketAddr, log: &Path) -> Result<Child> {
    let file = fs::File::create(log)?;
    let status = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut gate = command(sidecar);
    gate.args(["gate", "--allow-loopback", "--config-dir"])
        .arg(config)
        .args(["--gate-address", &address.to_string()])
        .args(["--status-address", &status.to_string()])
        .args(["--metrics-address", &metrics.to_string()])
        .stdout(Stdio::from(file.try_clone()?))
        .stderr(Stdio::from(file));
    let gate = gate.spawn().context("the gate cannot be started")?;
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        if is_ready(status).await.unwrap_or(false) {
            return Ok(gate);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!(
        "the gate did not become ready\n{}",
        fs::read_to_string(log).unwrap_or_default()
    )
}

async fn is_ready(status: SocketAddr) -> Result<bool> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(status).await?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

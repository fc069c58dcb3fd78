//! The sidecar: one mirror run, started by a trigger, and one restore.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use dataembassy_contract::{
    files::STATUS_PATH,
    report::{FinishedRun, Outcome, Report},
};
use dataembassy_testkit::{minio::BUCKET, process::free_port};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
};

use super::configuration::Servers;
use super::group::Group;
use super::rig::{REGISTRY, Rig, TARGET};
use crate::command::{command, output};

/// No run of a few gigabytes takes longer.
const DEADLINE: Duration = Duration::from_mins(30);
/// How often the report is looked at: also how exact the measurement is.
const PAUSE: Duration = Duration::from_millis(20);

/// Starts the sidecar with a new trigger and ends it when the copy is committed. The time is that of the
/// whole process, as it is for the pipe.
pub(super) async fn copy(rig: &Rig, servers: &Servers, run: u32, group: Group) -> Result<Group> {
    let trigger = format!("bench-{run}");
    rig.configure(&trigger, servers)?;
    let mut mirror = Mirror::start_by(rig, group.command(&rig.sidecar))?;
    let ended = wait(&mut mirror, &trigger).await;
    mirror.stop().await?;
    let said = || fs::read_to_string(rig.path("sidecar.log")).unwrap_or_default();
    let run = ended.with_context(said)?;
    if run.outcome != Outcome::Copied {
        bail!("{:?}: {}\n{}", run.reason, run.message, said());
    }
    Ok(group)
}

/// A sidecar that mirrors as its configuration says.
pub(super) struct Mirror {
    process: Child,
    /// Where its report is.
    port: u16,
}

impl Mirror {
    pub(super) fn start(rig: &Rig) -> Result<Self> {
        Self::start_by(rig, command(&rig.sidecar))
    }

    /// As [`Self::start`], by a command that lacks only the arguments.
    fn start_by(rig: &Rig, mut mirror: Command) -> Result<Self> {
        let log = fs::File::create(rig.path("sidecar.log"))?;
        let [port, metrics] = [free_port()?, free_port()?];
        mirror
            .args(["mirror", "--allow-loopback", "--config-dir"])
            .arg(rig.path("config"))
            .arg("--postgresql-programs")
            .arg(&rig.programs)
            .args(["--status-address", &format!("127.0.0.1:{port}")])
            .args(["--metrics-address", &format!("127.0.0.1:{metrics}")])
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log));
        let process = mirror.spawn().context("the sidecar cannot be started")?;
        Ok(Self { process, port })
    }

    /// Asks it to end, and waits until it has.
    pub(super) async fn stop(mut self) -> Result<()> {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself a moment ago.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        self.process.wait().await?;
        Ok(())
    }
}

async fn wait(mirror: &mut Mirror, trigger: &str) -> Result<FinishedRun> {
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        if let Some(status) = mirror.process.try_wait()? {
            bail!("the sidecar ended with {status}");
        }
        // It answers as soon as it listens.
        if let Ok(report) = report(mirror.port).await {
            let found = report
                .recent_runs
                .into_iter()
                .find(|run| run.trigger.as_deref() == Some(trigger));
            if let Some(run) = found {
                return Ok(run);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("no run answered the trigger {trigger} within {DEADLINE:?}")
}

async fn report(port: u16) -> Result<Report> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {STATUS_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let body = answer
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .map(|at| &answer[at + 4..]);
    body.and_then(Report::read).context("the report cannot be read")
}

pub(super) async fn restore(rig: &Rig) -> Result<Duration> {
    rig.empty_target().await?;
    let authority = rig.path("database-ca.crt");
    let began = Instant::now();
    restore_into(rig, command(&rig.sidecar), rig.server.port(), &authority).await?;
    let took = began.elapsed();
    rig.check_target().await?;
    Ok(took)
}

/// Restores into the database [`TARGET`] of the server at this port, whose certificate is of this authority, by a command that lacks only the
/// arguments.
pub(super) async fn restore_into(rig: &Rig, mut restore: Command, port: u16, authority: &Path) -> Result<()> {
    restore
        .args([
            "restore",
            "--registry",
            REGISTRY,
            "--allow-loopback",
            "--endpoint",
            &rig.minio.endpoint(),
        ])
        .args([
            "--bucket",
            BUCKET,
            "--signer",
            &rig.signer,
            "--custodian-key",
            &rig.custodian,
        ])
        .args(["--target-host", "localhost", "--target-port", &port.to_string()])
        .args(["--target-database", TARGET, "--target-user", "postgres"])
        .arg("--identity-file")
        .arg(rig.path("identity.txt"))
        .arg("--ca-bundle")
        .arg(rig.path("store-ca.crt"))
        .arg("--credentials")
        .arg(rig.path("retrieval"))
        .arg("--target-password-file")
        .arg(rig.path("password"))
        .arg("--target-ca")
        .arg(authority)
        .arg("--postgresql-programs")
        .arg(&rig.programs);
    output(&mut restore).await.map(drop)
}

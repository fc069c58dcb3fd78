//! A server that never outlives the test that started it, and a directory that does not either, not even when the test is killed.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// A running server process; dropping it ends the process.
#[derive(Debug)]
pub struct Server {
    guard: Child,
}

/// The guard shell waits on its standard input, which the test holds open: when the test is gone, for whatever
/// reason, the read ends and the server is killed. Destructors do not run in a killed process; this does.
const GUARD: &str = r#""$@" </dev/null & server=$!
trap 'kill -KILL $server 2>/dev/null; wait $server 2>/dev/null' EXIT
read -r _
"#;

impl Server {
    /// Starts `program` with `arguments`; its output goes to `log`.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        environment: impl IntoIterator<Item = (S, S)>,
        log: &Path,
    ) -> Result<Self> {
        let log = std::fs::File::create(log).with_context(|| format!("{} cannot be made", log.display()))?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(program)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        Ok(Self { guard })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // The guard ends once its input is closed; a failure here means that it is gone already.
        let _ = self.guard.wait();
    }
}

/// A directory that is removed with the test's process, also where nothing drops it: what is static is not, and who is killed drops nothing.
#[derive(Debug)]
pub struct Scratch {
    directory: TempDir,
    sweeper: Child,
}

/// Waits as the guard of a server does. The server is killed at the same moment, and may have been writing.
const SWEEPER: &str = r#"
read -r _
rm -rf "$1" 2>/dev/null || { sleep 1; rm -rf "$1"; }
"#;

impl Scratch {
    /// Makes one whose name begins with `prefix`.
    pub fn new(prefix: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix(prefix).tempdir()?;
        let sweeper = Command::new("sh")
            .args(["-c", SWEEPER, "sweeper"])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .spawn()
            .context("sh cannot be started")?;
        Ok(Self { directory, sweeper })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.sweeper.stdin.take());
        // It ends once its input is closed; a failure here means that it is gone already.
        let _ = self.sweeper.wait();
    }
}

/// Ports are chosen below those that the system gives to whoever connects: of those, one may go to a client between its choice and its use.
const PORTS: Range<u16> = 10_000..32_000;
/// How many were looked at. Test programs that run at once begin at different ones.
static LOOKED_AT: LazyLock<AtomicU32> =
    LazyLock::new(|| AtomicU32::new(std::process::id().wrapping_mul(389)));

/// A TCP port of 127.0.0.1 that was free a moment ago, and that this process has not chosen for long.
pub fn free_port() -> Result<u16> {
    let count = u32::from(PORTS.end - PORTS.start);
    for _ in 0..count {
        let place = LOOKED_AT.fetch_add(1, Ordering::Relaxed) % count;
        let port = PORTS.start + u16::try_from(place)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of 127.0.0.1 in {PORTS:?} is free")
}

/// TCP ports of 127.0.0.1 that were free a moment ago, none twice.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    for port in &mut ports {
        *port = free_port()?;
    }
    Ok(ports)
}

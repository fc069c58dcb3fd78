//! A machine for one server: the root file system of those who copy servers file by file, in which a folder that nobody else has is `/srv`.
//!
//! Its servers have the settings that PostgreSQL comes with, and so write to the disk what they have acknowledged: who restores files writes them
//! to the disk too.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use dataembassy_testkit::{authority::Authority, process::free_port};
use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::{Client, NoTls};

use super::rig::Rig;
use crate::{
    cache::Cache,
    command::{command, output},
    progress::Progress,
    provision::{self, POSTGRES},
};

/// Compiles what is published as source, once: nobody who runs it later may write there, and compiling takes longer than much of what it does.
const COMPILE: &str = r#"
mount --bind "$2" "$1/opt"
exec chroot "$1" /usr/bin/python3 -m compileall -q /opt/barman
"#;
/// Mounts what a machine has into the root file system, seen by nobody else, and runs a script in it as the server's user.
const ENTER: &str = r#"
root=$1; folder=$2; packages=$3; script=$4
mount --rbind /dev "$root/dev"; mount --rbind /proc "$root/proc"
mount --bind "$folder" "$root/srv"; mount --bind "$packages" "$root/opt"
exec chroot --userspec=postgres:postgres "$root" /bin/sh -ceu "$script"
"#;
/// An empty server's files.
const INITDB: &str = "/usr/lib/postgresql/17/bin/initdb --pgdata=/srv/data --username=postgres --auth-local=trust \
                      --auth-host=scram-sha-256 --locale=C.UTF-8 --encoding=UTF8";
/// The server itself, but for its port.
const SERVER: &str = "/usr/lib/postgresql/17/bin/postgres -D /srv/data -c listen_addresses=127.0.0.1 -c unix_socket_directories=/srv \
                      -c ssl=on -c ssl_cert_file=/srv/server.crt -c ssl_key_file=/srv/server.key -c ssl_ca_file=/srv/ca.crt \
                      -c log_min_messages=warning";
/// No server takes longer to recover.
const DEADLINE: Duration = Duration::from_mins(10);
/// Between two looks: also how exact the measurement is.
const PAUSE: Duration = Duration::from_millis(20);

/// What machines are made of.
pub(super) struct Programs {
    root: PathBuf,
    packages: PathBuf,
}

impl Programs {
    /// Takes them from the cache, and makes what is not there.
    pub(super) async fn provide(cache: &Cache, progress: &Progress) -> Result<Self> {
        let root = provision::root_file_system("physical", cache, progress).await?;
        let barman = provision::program("barman", cache, progress).await?;
        let packages = barman.parent().context("a package lies in a folder")?.to_owned();
        let mut compile = command("unshare");
        compile
            .args(["--mount", "--propagation", "private", "sh", "-ceu", COMPILE])
            .arg("compile")
            .args([&root, &packages]);
        output(&mut compile).await?;
        Ok(Self { root, packages })
    }
}

/// A machine on which no server runs.
pub(super) struct Machine {
    folder: TempDir,
    root: PathBuf,
    packages: PathBuf,
    port: u16,
    environment: Vec<(&'static str, String)>,
}

impl Machine {
    /// One that is told of the rig's store.
    pub(super) fn make(programs: &Programs, rig: &Rig) -> Result<Self> {
        let machine = Self {
            folder: tempfile::Builder::new().prefix("machine-").tempdir()?,
            root: programs.root.clone(),
            packages: programs.packages.clone(),
            port: free_port()?,
            environment: environment(rig),
        };
        let authority = Authority::new("bench database authority")?;
        let certificate = authority.sign(&["localhost", "127.0.0.1"])?;
        machine.write("ca.crt", &authority.certificate())?;
        machine.write("server.crt", &certificate.certificate)?;
        machine.write("server.key", &certificate.key)?;
        machine.write("store-ca.crt", &rig.minio.authority().certificate())?;
        chown(machine.folder.path(), Some(POSTGRES), Some(POSTGRES))?;
        Ok(machine)
    }

    /// Writes a file that only the server's user may read.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(chown(&path, Some(POSTGRES), Some(POSTGRES))?)
    }

    /// A file of `/srv`.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where its server listens on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// A script that runs on it as the server's user. `unshare` is a command that starts this program, and lacks only the arguments.
    pub(super) fn script(&self, mut unshare: Command, script: &str) -> Command {
        unshare
            .env_clear()
            .envs(
                self.environment
                    .iter()
                    .map(|(name, value)| (*name, value.as_str())),
            )
            .args(["--mount", "--propagation", "private", "sh", "-ceu", ENTER])
            .arg("enter")
            .args([self.root.as_path(), self.folder.path(), self.packages.as_path()])
            .arg(script);
        unshare
    }

    /// Makes the files of an empty server.
    pub(super) async fn initialise(&self, unshare: Command) -> Result<()> {
        output(&mut self.script(unshare, INITDB)).await.map(drop)
    }

    /// Starts a server over the files that are there, with these arguments besides its own.
    pub(super) fn serve(self, unshare: Command, arguments: &str) -> Result<Served> {
        // What waits for the end of its input is in the background, so that a server that ends by itself ends the script.
        let script = format!(
            "exec 3<&0; {SERVER} -c port={} {arguments} </dev/null & server=$!
             (cat <&3 >/dev/null; kill -QUIT \"$server\") & wait \"$server\"",
            self.port
        );
        let log = fs::File::create(self.path("log"))?;
        let mut server = self.script(unshare, &script);
        // It ends with its input, not by a signal that only the script would get.
        let server = server
            .as_std_mut()
            .stdin(Stdio::piped())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log));
        let process = server.spawn().context("a server cannot be started")?;
        Ok(Served {
            process,
            machine: self,
        })
    }
}

/// What programs on a machine are told, in their own words.
fn environment(rig: &Rig) -> Vec<(&'static str, String)> {
    let keys = rig.minio.root().credentials();
    vec![
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ("HOME", "/srv".into()),
        ("TMPDIR", "/srv".into()),
        ("LANG", "C.UTF-8".into()),
        ("STORE", rig.minio.endpoint()),
        ("PYTHONPATH", "/opt".into()),
        ("AWS_ACCESS_KEY_ID", keys.access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY", keys.secret_key.clone()),
        ("AWS_DEFAULT_REGION", "us-east-1".into()),
        ("AWS_CA_BUNDLE", "/srv/store-ca.crt".into()),
        // A sum over TLS of what is signed already costs time and proves nothing.
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required".into()),
        ("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required".into()),
        ("PGBACKREST_CONFIG", "/srv/pgbackrest.conf".into()),
        ("PGBACKREST_STANZA", "bench".into()),
    ]
}

/// A machine with a server that runs. It ends when this is dropped, and everything on the machine is gone then.
pub(super) struct Served {
    process: Child,
    machine: Machine,
}

impl Served {
    /// What it runs on.
    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// A session of the superuser, once the server takes what writes too.
    pub(super) async fn ready(&mut self, database: &str) -> Result<Client> {
        let until = Instant::now() + DEADLINE;
        loop {
            let asked = self.session(database).await;
            if let Ok((client, false)) = asked {
                return Ok(client);
            }
            let log = || fs::read_to_string(self.machine.path("log")).unwrap_or_default();
            if let Some(status) = self.process.try_wait()? {
                bail!("the server ended with {status}\n{}", log());
            }
            ensure!(
                Instant::now() < until,
                "the server does not answer: {:?}\n{}",
                asked.err(),
                log()
            );
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A session of the superuser, and whether the server still recovers.
    async fn session(&self, database: &str) -> Result<(Client, bool)> {
        let client = self.client(database).await?;
        let asked = client.query_one("SELECT pg_is_in_recovery()", &[]).await?;
        Ok((client, asked.get(0)))
    }

    /// A session of the superuser.
    async fn client(&self, database: &str) -> Result<Client> {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(self.machine.folder.path())
            .port(self.machine.port)
            .user("postgres")
            .dbname(database)
            .connect(NoTls)
            .await?;
        // It ends with its client, or with the server.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// Changes what the server does with each part of its log that is finished.
    pub(super) async fn archive_by(&self, archive: &str) -> Result<()> {
        let admin = self.client("postgres").await?;
        admin
            .batch_execute(&format!("ALTER SYSTEM SET archive_command = '{archive}'"))
            .await?;
        admin.batch_execute("SELECT pg_reload_conf()").await?;
        self.until(&format!(
            "SELECT current_setting('archive_command') = '{archive}'"
        ))
        .await
    }

    /// Waits until nothing of its log is left to be archived.
    pub(super) async fn archived(&self) -> Result<()> {
        let nothing = "SELECT NOT EXISTS (SELECT FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready')";
        self.until(nothing).await
    }

    /// Waits until a new session is answered yes.
    async fn until(&self, question: &str) -> Result<()> {
        let until = Instant::now() + DEADLINE;
        loop {
            let asked = self.client("postgres").await?.query_one(question, &[]).await?;
            if asked.get(0) {
                return Ok(());
            }
            ensure!(Instant::now() < until, "waited in vain: {question}");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It ends once its input is closed; a failure here means that it is gone already.
        let _ = self.process.wait();
    }
}

//! Real PostgreSQL servers on loopback: 15 and 17, with TLS and SCRAM, one of each per test binary.
//!
//! A server runs chrooted into the provisioned root file system, in a mount namespace of its own, so it needs root. It
//! dies with the test process, however that ends: its supervisor waits for the end of a pipe.

mod cell;
mod container;
mod directory;
mod fault_relay;
mod memory;
mod programs;
mod relay;
mod remembering_relay;
mod volume;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

pub use cell::{Cell, Container};
pub use container::PodContainer;
pub use directory::DumpDirectory;
pub use fault_relay::{DatabaseToxic, FaultRelay, Place};
pub use programs::{programs, scripted_pg_dump};
pub use relay::Relay;
pub use remembering_relay::RememberingRelay;

use crate::{
    authority::{Authority, ServerCertificate},
    process::free_port,
    provisioned,
};

/// The password of every role that [`Server::shared`] makes.
pub const PASSWORD: &str = "correct horse battery staple";
/// Logs in and reads everything, as the design asks of a dump role: `pg_read_all_data` and `BYPASSRLS`.
pub const DUMP_ROLE: &str = "dump";

/// Streams to a standby.
const REPLICATION_ROLE: &str = "replication";

const START_DEADLINE: Duration = Duration::from_secs(90);

/// Mounts what a server needs into a root file system seen by nobody else, and ends the server when stdin ends.
/// Databases of tests stay until their server ends, some hundred of them: by its usual pause, autovacuum would begin a process several times a second.
const SUPERVISOR: &str = r#"
root=$1; data=$2; major=$3; port=$4; primary=$5
# libpq looks for certificates there, and may not look into the home of whoever started the test.
export HOME=/srv
mount --rbind /dev "$root/dev"; mount --rbind /proc "$root/proc"; mount --bind "$data" "$root/srv"
inside() { chroot --userspec=postgres:postgres "$root" "$@"; }
chroot "$root" chown -R postgres:postgres /srv
if [ -z "$primary" ]; then
    inside "/usr/lib/postgresql/$major/bin/initdb" --pgdata=/srv/data --username=postgres --auth=trust \
        --locale=C.UTF-8 --encoding=UTF8 --no-sync >/dev/null
else
    inside "/usr/lib/postgresql/$major/bin/pg_basebackup" --pgdata=/srv/data --dbname="$primary" --checkpoint=fast \
        --create-slot --slot="standby_$port" --write-recovery-conf --no-sync
fi
inside cp /srv/pg_hba.conf /srv/data/pg_hba.conf
# exec: the process that is signalled at the end must be the server, not a shell that waits for it.
(exec chroot --userspec=postgres:postgres "$root" "/usr/lib/postgresql/$major/bin/postgres" -D /srv/data -c config_file=/srv/data/postgresql.conf \
    -c hba_file=/srv/data/pg_hba.conf -c listen_addresses=127.0.0.1 -c "port=$port" -c unix_socket_directories=/srv \
    -c ssl=on -c ssl_cert_file=/srv/server.crt -c ssl_key_file=/srv/server.key -c ssl_ca_file=/srv/ca.crt \
    -c password_encryption=scram-sha-256 -c wal_keep_size=1GB -c autovacuum_naptime=5min -c fsync=off -c full_page_writes=off -c synchronous_commit=off \
    -c log_min_messages=warning) </dev/null &
server=$!
cat >/dev/null
kill -QUIT "$server"; wait "$server" || true
# Small volumes are mounted in it.
umount --recursive --lazy "$root/srv" || true
rm -rf "$data"
"#;

/// Who may come in how. The roles named `by_…` exist for tests of refused methods.
const HBA: &str = "\
local   all all                            trust
hostssl all by_trust       127.0.0.1/32    trust
hostssl all by_cleartext   127.0.0.1/32    password
hostssl all by_md5         127.0.0.1/32    md5
hostssl all by_certificate 127.0.0.1/32    cert
hostssl all all            127.0.0.1/32    scram-sha-256
hostssl replication all    127.0.0.1/32    scram-sha-256
hostnossl all all          127.0.0.1/32    reject
";

/// A running server.
pub struct Server {
    major: u32,
    port: u16,
    directory: TempDir,
    authority: Authority,
    certificate: ServerCertificate,
    databases: AtomicU32,
    supervisor: Child,
}

impl Server {
    /// The test binary's server of this major version (15 or 17), started at the first call.
    ///
    /// # Panics
    /// When it cannot be started: no test can go on without it.
    #[expect(
        clippy::panic,
        reason = "a test without its server can only fail, and should say why"
    )]
    #[must_use]
    pub fn shared(major: u32) -> &'static Self {
        static SERVERS: [OnceLock<Server>; 2] = [const { OnceLock::new() }; 2];
        let slot = &SERVERS[usize::from(major != 15)];
        let server = slot.get_or_init(|| {
            Self::start(major).unwrap_or_else(|error| panic!("PostgreSQL {major} does not start: {error:#}"))
        });
        assert_eq!(server.major, major, "only PostgreSQL 15 and 17 are provisioned");
        server
    }

    /// Starts a server of one's own.
    pub fn start(major: u32) -> Result<Self> {
        let server = Self::begin(major, "")?;
        server.make_roles().with_context(|| server.log())?;
        Ok(server)
    }

    /// Starts a server of one's own that stays until the test program ends, as databases of tests ask for: for what would disturb the others, and for
    /// a primary, of which a standby copies everything.
    pub fn lasting(major: u32) -> Result<&'static Self> {
        Ok(Box::leak(Box::new(Self::start(major)?)))
    }

    /// Starts a streaming standby of this server.
    pub fn standby(&self) -> Result<Self> {
        let primary = format!(
            "host=127.0.0.1 port={} user={REPLICATION_ROLE} password='{PASSWORD}' sslmode=require",
            self.port
        );
        Self::begin(self.major, &primary)
    }

    /// Starts a server: a new one, or the standby of the one that the connection string leads to.
    fn begin(major: u32, primary: &str) -> Result<Self> {
        let root = provisioned::path(&format!("rootfs-postgresql-{major}"))?;
        let directory = tempfile::Builder::new().prefix("postgresql-").tempdir()?;
        let authority = Authority::new("DataEmbassy test authority")?;
        let certificate = authority.sign(&["localhost", "127.0.0.1"])?;
        fs::write(directory.path().join("ca.crt"), authority.certificate())?;
        fs::write(directory.path().join("server.crt"), &certificate.certificate)?;
        fs::write(directory.path().join("server.key"), &certificate.key)?;
        fs::write(directory.path().join("pg_hba.conf"), HBA)?;
        restrict(&directory.path().join("server.key"))?;
        let port = free_port()?;
        let log = fs::File::create(directory.path().join("log"))?;
        let supervisor = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-eu",
                "-c",
                SUPERVISOR,
                "supervisor",
            ])
            .arg(&root)
            .arg(directory.path())
            .args([&major.to_string(), &port.to_string(), primary])
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("unshare cannot be started")?;
        let mut server = Self {
            major,
            port,
            directory,
            authority,
            certificate,
            databases: AtomicU32::new(0),
            supervisor,
        };
        server.await_ready().with_context(|| server.log())?;
        Ok(server)
    }

    /// The major version.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The TCP port on 127.0.0.1; the certificate names `localhost` and `127.0.0.1`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket, where every role is trusted.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// The authority that issued the server's certificate, and whose client certificates it accepts.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The server's certificate and key.
    #[must_use]
    pub fn certificate(&self) -> &ServerCertificate {
        &self.certificate
    }

    /// Shows another certificate to whoever comes from now on.
    pub fn show(&self, certificate: &ServerCertificate) -> Result<()> {
        // The files stay the same ones: they are the server's own, as PostgreSQL demands.
        fs::write(self.directory.path().join("server.crt"), &certificate.certificate)?;
        fs::write(self.directory.path().join("server.key"), &certificate.key)?;
        let reload = [
            "--no-psqlrc",
            "--quiet",
            "--command",
            "SELECT pg_reload_conf()",
            "postgres",
        ];
        self.run("psql", &reload, &[]).map(drop)
    }

    /// A new, empty database of one's own.
    pub async fn database(&'static self) -> Result<Database> {
        self.database_with("").await
    }

    /// A new, empty database, with options for CREATE DATABASE such as `TEMPLATE template0 ENCODING LATIN1`.
    pub async fn database_with(&'static self, options: &str) -> Result<Database> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.client("postgres")
            .await?
            .batch_execute(&format!("CREATE DATABASE {name} {options}"))
            .await?;
        Ok(Database { server: self, name })
    }

    /// A session of the superuser `postgres` over the Unix socket.
    pub async fn client(&self, database: &str) -> Result<Client> {
        self.client_as("postgres", database).await
    }

    /// A session of any role over the Unix socket.
    pub async fn client_as(&self, role: &str, database: &str) -> Result<Client> {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(self.socket_directory())
            .port(self.port)
            .user(role)
            .dbname(database)
            .connect(NoTls)
            .await
            .with_context(|| format!("connecting to {database} on PostgreSQL {} as {role}", self.major))?;
        // It ends with its client, or with the server: neither is an error of the test.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// Runs one of the server's own client programs as the superuser over the Unix socket: its standard output.
    pub fn run(&self, program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Vec<u8>> {
        let output = Command::new(programs()?.join(self.major.to_string()).join("bin").join(program))
            .args(arguments)
            .env("PGHOST", self.socket_directory())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .envs(environment.iter().copied())
            .output()?;
        if !output.status.success() {
            bail!(
                "{program} {arguments:?} failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(output.stdout)
    }

    /// What the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        while self.run("pg_isready", &["--quiet"], &[]).is_err() {
            if let Some(status) = self.supervisor.try_wait()? {
                bail!("the server ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("the server was not ready in {START_DEADLINE:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn make_roles(&self) -> Result<()> {
        let statements = format!(
            "CREATE ROLE {DUMP_ROLE} LOGIN BYPASSRLS PASSWORD '{PASSWORD}' IN ROLE pg_read_all_data;
             CREATE ROLE {REPLICATION_ROLE} LOGIN REPLICATION PASSWORD '{PASSWORD}';
             CREATE ROLE by_trust LOGIN;
             CREATE ROLE by_certificate LOGIN;
             CREATE ROLE by_cleartext LOGIN PASSWORD '{PASSWORD}';
             SET password_encryption = md5;
             CREATE ROLE by_md5 LOGIN PASSWORD '{PASSWORD}';"
        );
        self.run(
            "psql",
            &[
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "--command",
                &statements,
                "postgres",
            ],
            &[],
        )?;
        Ok(())
    }
}

/// A database of a test.
pub struct Database {
    /// The server it is on.
    pub server: &'static Server,
    /// Its name.
    pub name: String,
}

impl Database {
    /// A session of the superuser.
    pub async fn client(&self) -> Result<Client> {
        self.server.client(&self.name).await
    }

    /// Runs statements as the superuser.
    pub async fn execute(&self, statements: &str) -> Result<()> {
        Ok(self.client().await?.batch_execute(statements).await?)
    }

    /// One value, as text, as the superuser.
    pub async fn value(&self, query: &str) -> Result<String> {
        let row = self
            .client()
            .await?
            .query_one(&format!("SELECT ({query})::text"), &[])
            .await?;
        Ok(row.get(0))
    }
}

fn restrict(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o600))?)
}

/// Writes an executable shell script.
fn write_script(path: &PathBuf, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

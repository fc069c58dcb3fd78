//! What the tests of the dump and of the restore share: a source on a test server, and a dump of it.
#![allow(dead_code, reason = "no test binary uses all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the functions that tests share fail as tests do"
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use dataembassy_archive::{
    Member,
    inventory::{Line, Table},
};
use dataembassy_sidecar::postgresql::{
    dump::{self, DumpError, Dumped, Options, Progress},
    source::{AddressGuard, Credentials, Source, Tls, TlsMode},
};
use dataembassy_testkit::postgresql::{DUMP_ROLE, Database, DumpDirectory, PASSWORD, Server, programs};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// The versions that every rule is tested on.
pub(crate) const MAJORS: [u32; 2] = [15, 17];

/// A database of a server, reached as the dump role over TLS.
pub(crate) fn source(server: &Server, database: &str) -> Source {
    source_as(server, database, DUMP_ROLE)
}

/// A database of a server, reached as another role that has the tests' password.
pub(crate) fn source_as(server: &Server, database: &str, user: &str) -> Source {
    Source {
        host: "localhost".into(),
        port: server.port(),
        database: database.into(),
        user: user.into(),
        credentials: Credentials {
            password: Some(PASSWORD.into()),
            client_certificate: None,
        },
        tls: Tls {
            mode: TlsMode::VerifyFull,
            authorities: server.authority().certificate().into_bytes(),
        },
        address_guard: AddressGuard::none(),
        connect_timeout: Duration::from_secs(20),
        programs: programs().unwrap().to_owned(),
    }
}

/// A dump on disk, in the directory format.
pub(crate) struct Taken {
    /// What the run returned.
    pub(crate) dumped: Dumped,
    /// Names of all members in the order they were sent, with the sizes of their bodies.
    pub(crate) members: Vec<(String, usize)>,
    directory: TempDir,
}

impl Taken {
    /// The directory: what `pg_restore --format=directory` reads.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("dump")
    }

    /// A file of it.
    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    /// The inventory's tables by `schema.name`.
    pub(crate) fn tables(&self) -> BTreeMap<String, Table> {
        let tables = self.dumped.lines.iter().filter_map(|line| match line {
            Line::Table(table) => Some((format!("{}.{}", table.schema, table.name), (**table).clone())),
            _ => None,
        });
        tables.collect()
    }

    /// The text of a table's rows, without the end of data.
    pub(crate) fn rows(&self, table: &str) -> Vec<u8> {
        let tables = self.tables();
        let table = &tables[table];
        let text = self.file(table.file.as_str());
        text.strip_suffix(b"\\.\n\n\n").unwrap().to_vec()
    }

    /// Restores all of it into a database with the server's own `pg_restore`.
    pub(crate) fn restore_into(&self, target: &Database) {
        let path = self.path();
        let arguments = [
            "--format=directory",
            "--exit-on-error",
            "--dbname",
            &target.name,
            path.to_str().unwrap(),
        ];
        target.server.run("pg_restore", &arguments, &[]).unwrap();
    }
}

/// Options with a scratch directory of their own.
pub(crate) fn options(scratch: &Path) -> Options {
    Options::new(scratch.join("scratch"))
}

/// Dumps a database with the default options.
pub(crate) async fn take(source: &Source) -> Result<Taken, DumpError> {
    take_with(source, |_| {}).await
}

/// Dumps a database with changed options.
pub(crate) async fn take_with(
    source: &Source,
    change: impl FnOnce(&mut Options),
) -> Result<Taken, DumpError> {
    let directory = tempfile::Builder::new().prefix("dump-").tempdir().unwrap();
    let mut options = options(directory.path());
    change(&mut options);
    let (sender, receiver) = mpsc::channel(8);
    let (progress, _) = watch::channel(Progress::default());
    let target = directory.path().join("dump");
    let writing = tokio::task::spawn_blocking(move || write(None, receiver, &target));
    let dumped = dump::run(source, &options, sender, progress, CancellationToken::new()).await;
    let members = writing.await.unwrap();
    Ok(Taken {
        dumped: dumped?,
        members,
        directory,
    })
}

fn write(first: Option<Member>, mut receiver: mpsc::Receiver<Member>, target: &Path) -> Vec<(String, usize)> {
    let mut directory = DumpDirectory::new(target).unwrap();
    let mut names = Vec::new();
    let mut next = first.or_else(|| receiver.blocking_recv());
    while let Some(member) = next {
        directory.add(&member).unwrap();
        names.push((member.name.to_string(), member.body.len()));
        next = receiver.blocking_recv();
    }
    directory.finish().unwrap();
    names
}

/// A schema-only dump as text, to compare databases by. Lines that name the moment or the key of the dump are left out.
pub(crate) fn schema(database: &Database) -> String {
    let text = database
        .server
        .run("pg_dump", &["--schema-only", &database.name], &[])
        .unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A plain COPY of a query, with the session settings of a dump.
pub(crate) fn plain_copy(database: &Database, query: &str) -> Vec<u8> {
    let settings = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3";
    let command = format!("COPY ({query}) TO STDOUT");
    database
        .server
        .run(
            "psql",
            &["--no-psqlrc", "--quiet", "--command", &command, &database.name],
            &[("PGOPTIONS", settings)],
        )
        .unwrap()
}

/// A dump that stands still after its first member, so that a test can do something in the middle of it. Whatever is
/// sent later waits in vain until [`Standing::go_on`].
pub(crate) struct Standing {
    receiver: mpsc::Receiver<Member>,
    first: Member,
    running: tokio::task::JoinHandle<Result<Dumped, DumpError>>,
    directory: TempDir,
}

impl Standing {
    /// Begins a dump and waits for its first member: the plan is made, its locks are held.
    pub(crate) async fn begin(source: &Source, change: impl FnOnce(&mut Options)) -> Self {
        let directory = tempfile::Builder::new().prefix("dump-").tempdir().unwrap();
        let mut options = options(directory.path());
        change(&mut options);
        let (sender, mut receiver) = mpsc::channel(1);
        let (progress, _) = watch::channel(Progress::default());
        let source = source.clone();
        let running = tokio::spawn(async move {
            dump::run(&source, &options, sender, progress, CancellationToken::new()).await
        });
        let first = receiver.recv().await;
        match first {
            Some(first) => Self {
                receiver,
                first,
                running,
                directory,
            },
            None => panic!(
                "the dump ended before its first member: {:?}",
                running.await.unwrap().map(|_| ())
            ),
        }
    }

    /// Takes members until one belongs to a file that ends so.
    pub(crate) async fn until_part_of(&mut self, file: &str) -> Member {
        loop {
            let member = self.receiver.recv().await.unwrap();
            if member.name.file().as_str() == file {
                return member;
            }
        }
    }

    /// Takes the next member.
    pub(crate) async fn next(&mut self) -> Option<Member> {
        self.receiver.recv().await
    }

    /// Waits for the end without taking anything more.
    pub(crate) async fn outcome(self) -> Result<Dumped, DumpError> {
        tokio::time::timeout(Duration::from_mins(2), self.running)
            .await
            .unwrap()
            .unwrap()
    }

    /// Takes everything and waits for the end. Only for dumps of which nothing but the first member was taken.
    pub(crate) async fn go_on(self) -> Result<Taken, DumpError> {
        let Self {
            receiver,
            first,
            running,
            directory,
        } = self;
        let target = directory.path().join("dump");
        let writing = tokio::task::spawn_blocking(move || write(Some(first), receiver, &target));
        let dumped = tokio::time::timeout(Duration::from_mins(2), running)
            .await
            .unwrap()
            .unwrap();
        let members = writing.await.unwrap();
        Ok(Taken {
            dumped: dumped?,
            members,
            directory,
        })
    }
}

/// Waits until a query of the superuser gives true.
pub(crate) async fn until(database: &Database, condition: &str) {
    let client = database.client().await.unwrap();
    let query = format!("SELECT ({condition})::bool");
    tokio::time::timeout(Duration::from_mins(2), async {
        while !client.query_one(&query, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never became true: {condition}"));
}

/// A condition: some session of this database waits for a lock.
pub(crate) fn somebody_waits(application: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
         AND application_name LIKE '{application}')"
    )
}

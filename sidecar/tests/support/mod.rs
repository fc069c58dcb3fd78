//! What the tests of the dump and of the restore share: a source on a test server, and a dump of it.
#![allow(dead_code, reason = "no test binary uses all of it")]
#![allow(
    clippy::unwrap_used,
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
    let writing = tokio::task::spawn_blocking(move || write(receiver, &target));
    let dumped = dump::run(source, &options, sender, progress, CancellationToken::new()).await;
    let members = writing.await.unwrap();
    Ok(Taken {
        dumped: dumped?,
        members,
        directory,
    })
}

fn write(mut receiver: mpsc::Receiver<Member>, target: &Path) -> Vec<(String, usize)> {
    let mut directory = DumpDirectory::new(target).unwrap();
    let mut names = Vec::new();
    while let Some(member) = receiver.blocking_recv() {
        directory.add(&member).unwrap();
        names.push((member.name.to_string(), member.body.len()));
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

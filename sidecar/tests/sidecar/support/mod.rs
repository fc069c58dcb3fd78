//! What the tests of the dump and of the restore share: a source on a test server, and a dump of it.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::bench::pauses::briefly;
use dataembassy_archive::{
    Member,
    inventory::{Line, Table},
};
use dataembassy_sidecar::postgresql::{
    dump::{Dump, DumpError, Dumped, Identity, Options, Progress},
    source::{AddressGuard, Credentials, Network, Source, Tls, TlsMode, Way},
};
use dataembassy_sidecar::resolver::Resolver;
use dataembassy_testkit::postgresql::{DUMP_ROLE, Database, DumpDirectory, PASSWORD, Server, programs};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
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
        way: Way::Network(Network {
            host: "localhost".into(),
            port: server.port(),
            credentials: Credentials {
                password: Some(PASSWORD.into()),
                client_certificate: None,
            },
            tls: Tls {
                mode: TlsMode::VerifyFull,
                authorities: server.authority().certificate().into_bytes(),
            },
            resolver: Resolver::default(),
            address_guard: AddressGuard::none(),
        }),
        database: database.into(),
        user: user.into(),
        connect_timeout: Duration::from_secs(20),
        programs: programs().unwrap().to_owned(),
    }
}

/// The way to a source, to change it.
pub(crate) fn network(source: &mut Source) -> &mut Network {
    match &mut source.way {
        Way::Network(network) => network,
        Way::Cell(_) => panic!("a source of the tests is at an address"),
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
    take_expecting(source, Vec::new(), change).await
}

/// Dumps a database if it is one of those that are expected.
pub(crate) async fn take_expecting(
    source: &Source,
    identities: Vec<Identity>,
    change: impl FnOnce(&mut Options),
) -> Result<Taken, DumpError> {
    let directory = tempfile::Builder::new().prefix("dump-").tempdir().unwrap();
    let mut options = options(directory.path());
    change(&mut options);
    let mut attempts = Attempts::begin(source, identities, options, 8);
    let receiver = attempts.next().await.unwrap();
    let (dumped, members) = attempts
        .write(None, receiver, &directory.path().join("dump"))
        .await;
    Ok(Taken {
        dumped: dumped?,
        members,
        directory,
    })
}

/// Dumps a database and shows each member to `look`, without keeping any: for dumps of very many files.
pub(crate) async fn look_through(
    source: &Source,
    mut look: impl FnMut(&Member),
) -> Result<Dumped, DumpError> {
    let scratch = tempfile::Builder::new().prefix("dump-").tempdir().unwrap();
    let mut attempts = Attempts::begin(source, Vec::new(), options(scratch.path()), 8);
    let mut receiver = attempts.next().await.unwrap();
    while let Some(member) = receiver.recv().await {
        look(&member);
    }
    attempts.outcome().await
}

/// A dump that begins anew as often as it asks for it, each time with a channel of its own.
struct Attempts {
    channels: mpsc::UnboundedReceiver<mpsc::Receiver<Member>>,
    running: JoinHandle<Result<Dumped, DumpError>>,
}

impl Attempts {
    fn begin(source: &Source, identities: Vec<Identity>, options: Options, capacity: usize) -> Self {
        let (channel, channels) = mpsc::unbounded_channel();
        let source = source.clone();
        let running = tokio::spawn(async move {
            let mut dump = Dump::new(&source, &options).expecting(identities);
            loop {
                let (sender, receiver) = mpsc::channel(capacity);
                let (progress, _) = watch::channel(Progress::default());
                channel.send(receiver).unwrap();
                match dump.run(sender, progress, CancellationToken::new()).await {
                    Err(DumpError::BegunAnew { .. }) => {}
                    done => return done,
                }
            }
        });
        Self { channels, running }
    }

    /// The channel of the next attempt; none where the run has ended.
    async fn next(&mut self) -> Option<mpsc::Receiver<Member>> {
        self.channels.recv().await
    }

    /// Writes the members of this attempt, or of a later one in their place, and waits for the end.
    async fn write(
        mut self,
        mut first: Option<Member>,
        mut receiver: mpsc::Receiver<Member>,
        target: &Path,
    ) -> (Result<Dumped, DumpError>, Vec<(String, usize)>) {
        loop {
            let (first, place) = (first.take(), target.to_owned());
            let writing = tokio::task::spawn_blocking(move || write(first, receiver, &place));
            let members = writing.await.unwrap();
            let Some(next) = self.next().await else {
                return (self.outcome().await, members);
            };
            receiver = next;
            std::fs::remove_dir_all(target).unwrap();
        }
    }

    async fn outcome(self) -> Result<Dumped, DumpError> {
        tokio::time::timeout(Duration::from_mins(2), self.running)
            .await
            .unwrap()
            .unwrap()
    }
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
    attempts: Attempts,
    directory: TempDir,
}

impl Standing {
    /// Begins a dump and waits for its first member: the plan is made, its locks are held.
    pub(crate) async fn begin(source: &Source, change: impl FnOnce(&mut Options)) -> Self {
        let directory = tempfile::Builder::new().prefix("dump-").tempdir().unwrap();
        let mut options = options(directory.path());
        change(&mut options);
        let mut attempts = Attempts::begin(source, Vec::new(), options, 1);
        let mut receiver = attempts.next().await.unwrap();
        match receiver.recv().await {
            Some(first) => Self {
                receiver,
                first,
                attempts,
                directory,
            },
            None => panic!(
                "the dump ended before its first member: {:?}",
                attempts.outcome().await.map(|_| ())
            ),
        }
    }

    /// Takes the next member.
    pub(crate) async fn next(&mut self) -> Option<Member> {
        self.receiver.recv().await
    }

    /// Takes all that is left of this attempt, and waits for the first member of the next; false where there is none.
    pub(crate) async fn begins_anew(&mut self) -> bool {
        while self.next().await.is_some() {}
        let Some(receiver) = self.attempts.next().await else {
            return false;
        };
        self.receiver = receiver;
        match self.receiver.recv().await {
            Some(first) => {
                self.first = first;
                true
            }
            None => false,
        }
    }

    /// Waits for the end without taking anything more.
    pub(crate) async fn outcome(self) -> Result<Dumped, DumpError> {
        self.attempts.outcome().await
    }

    /// Takes everything and waits for the end. Only for dumps of which nothing but the first member was taken.
    pub(crate) async fn go_on(self) -> Result<Taken, DumpError> {
        let Self {
            receiver,
            first,
            attempts,
            directory,
        } = self;
        let target = directory.path().join("dump");
        let writing = attempts.write(Some(first), receiver, &target);
        let (dumped, members) = tokio::time::timeout(Duration::from_mins(2), writing)
            .await
            .unwrap();
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
            briefly().await;
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

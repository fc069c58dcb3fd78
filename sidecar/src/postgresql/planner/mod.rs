//! `pg_dump` plans: it writes the table of contents, takes the locks, and says what it would copy.

mod program;
mod proxy;
mod statement;

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::{UnixListener, UnixStream},
    time::timeout,
};

pub(crate) use program::path as program_path;
pub use proxy::{Captured, ProxyError};
pub use statement::{CapturedCopy, qualified};

use super::{
    Connection, ConnectionError,
    connection::ServerError,
    session::{self, ServerIdentity, SessionError, TextSettings},
    source::Source,
    toc::{Toc, TocEntry, TocError},
};

/// libpq looks for `.s.PGSQL.<port>` in the directory it is given.
const SOCKET_PORT: u16 = 5432;
const SOCKET_NAME: &str = ".s.PGSQL.5432";
/// The longest path of a Unix socket on Linux, without its terminating zero.
const SOCKET_PATH_LIMIT: usize = 107;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlannerError {
    /// There is no `pg_dump` of that version.
    #[error("there is no pg_dump for PostgreSQL {major} at {path}; the image holds 15 and 17, build one with another major's client programs as the reference says", path = path.display())]
    VersionUnsupported {
        /// The source's major version.
        major: u32,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The session that plans could not be made.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The planner's directory cannot be used.
    #[error("the planner's directory {directory} cannot be used: {error}", directory = directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The planner's directory is full.
    #[error("the planner's directory {directory} is full; give the sidecar's scratch volume more room", directory = directory.display())]
    DirectoryFull {
        /// The directory.
        directory: PathBuf,
    },
    /// Somebody else connected to the proxy.
    #[error("a process that is not our pg_dump connected to the planner's socket")]
    Stranger,
    /// `pg_dump` did not end in time.
    #[error("pg_dump did not finish its plan in {seconds} s")]
    Hung {
        /// The limit.
        seconds: u64,
    },
    /// `pg_dump` failed.
    #[error("pg_dump ended with {status}: {said}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        said: String,
        /// SQLSTATE of the last error that the server gave it.
        code: Option<String>,
    },
    /// `pg_dump` says that it succeeded, but its session does not agree.
    #[error("pg_dump ended with status 0 but did not finish its session: {0}")]
    EndedEarly(String),
    /// The conversation broke.
    #[error(transparent)]
    Proxy(Box<ProxyError>),
    /// The table of contents cannot be read.
    #[error(transparent)]
    Toc(#[from] TocError),
    /// The table of contents and the statements do not agree.
    #[error("pg_dump's statements and its table of contents do not agree: {0}")]
    Unpaired(String),
}

/// A plan, and the session that holds its locks.
pub struct Plan {
    /// The session that planned. Its transaction holds a lock on every table of the plan.
    pub held: Connection,
    /// The table of contents.
    pub toc: Toc,
    /// Tables whose rows are to be copied, in the table of contents' order.
    pub tables: Vec<PlannedTable>,
    /// OIDs of the large objects to be copied, ascending.
    pub large_objects: Vec<u32>,
    /// Files that `pg_dump` wrote and that belong to the copy.
    pub files: PlanFiles,
    /// What `pg_dump` said and nobody knew.
    pub warnings: Vec<String>,
}

/// Files that `pg_dump` wrote and that belong to the copy: `toc.dat` and lists of large objects. They are deleted when
/// this is dropped.
pub struct PlanFiles {
    paths: Vec<PathBuf>,
    _directory: TempDir,
}

impl PlanFiles {
    /// Where they are.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

/// A table whose rows are to be copied.
#[derive(Clone, Debug)]
pub struct PlannedTable {
    /// The dump id of its data.
    pub dump_id: u32,
    /// Its OID.
    pub oid: u32,
    /// Its schema, in the archive's encoding.
    pub schema: Vec<u8>,
    /// Its name, in the archive's encoding.
    pub name: Vec<u8>,
    /// The file of its data.
    pub file: String,
    /// What `pg_dump` would have copied.
    pub copy: CapturedCopy,
    /// The statement that loads it.
    pub load: Vec<u8>,
}

/// What a plan is made from.
pub struct Request<'a> {
    /// The database.
    pub source: &'a Source,
    /// Its server, as the leader sees it.
    pub server: &'a ServerIdentity,
    /// Where the leader's connection went.
    pub peer: std::net::SocketAddr,
    /// The server's major version.
    pub major: u32,
    /// The leader's exported snapshot.
    pub snapshot: &'a str,
    /// How values are to be written.
    pub text: &'a TextSettings,
    /// Where temporary files may lie.
    pub directory: &'a Path,
    /// How long all of it may take.
    pub limit: Duration,
    /// How long one lock may be waited for.
    pub lock_wait: Duration,
    /// Where the planner's session is noted.
    pub sessions: &'a super::dump::Sessions,
}

/// Lets `pg_dump` plan.
pub async fn plan(request: &Request<'_>) -> Result<Plan, PlannerError> {
    let program = program_path(&request.source.programs, request.major);
    if !program.exists() {
        return Err(PlannerError::VersionUnsupported {
            major: request.major,
            path: program,
        });
    }
    let directory = private_directory(request.directory)?;
    let mut held = open_session(request).await?;
    let guard = CancelOnDrop::new(request.source, held.cancel_key());
    let making = converse(request, directory.path(), &mut held);
    let (captured, warnings) = timeout(request.limit, making)
        .await
        .unwrap_or(Err(PlannerError::Hung {
            seconds: request.limit.as_secs(),
        }))?;
    guard.disarm();
    // The plan's own transaction must be there: without it nothing holds the locks.
    if held.transaction() != b'T' {
        return Err(PlannerError::EndedEarly("it left no transaction behind".into()));
    }
    session::settle(&mut held, request.text).await?;
    let target = directory.path().join("plan");
    let toc = read_toc(&target)?;
    if toc.encoding != request.text.client_encoding {
        return Err(PlannerError::Unpaired(format!(
            "the archive is in {}, the session in {}",
            toc.encoding, request.text.client_encoding
        )));
    }
    let tables = pair(&toc, captured.copies)?;
    let (paths, large_objects) = collect_files(&target, captured.large_objects)?;
    Ok(Plan {
        held,
        toc,
        tables,
        large_objects,
        files: PlanFiles {
            paths,
            _directory: directory,
        },
        warnings,
    })
}

async fn open_session(request: &Request<'_>) -> Result<Connection, SessionError> {
    let mut held = Connection::open_at(request.source, Some(request.peer)).await?;
    request.sessions.add(held.process_id());
    held.execute("SET application_name = 'dataembassy plan and locks'")
        .await?;
    session::expect_server(&mut held, request.server).await?;
    session::settle(&mut held, request.text).await?;
    Ok(held)
}

/// Runs the program against the proxy until both have ended.
async fn converse(
    request: &Request<'_>,
    directory: &Path,
    held: &mut Connection,
) -> Result<(Captured, Vec<String>), PlannerError> {
    let unusable = |error| PlannerError::Directory {
        directory: directory.to_owned(),
        error,
    };
    let listener = UnixListener::bind(directory.join(SOCKET_NAME)).map_err(unusable)?;
    let target = directory.join("plan");
    let mut child = program::spawn(&program::Assignment {
        source: request.source,
        major: request.major,
        socket_directory: directory,
        port: SOCKET_PORT,
        target: &target,
        snapshot: request.snapshot,
        lock_timeout: request.lock_wait.as_millis(),
    })
    .map_err(unusable)?;
    let process = child.id();
    let refusal = Mutex::new(None);
    let serving = async {
        let (stream, _) = listener.accept().await.map_err(unusable)?;
        check_peer(&stream, process)?;
        proxy::serve(stream, held, &refusal)
            .await
            .map_err(|error| PlannerError::Proxy(Box::new(error)))
    };
    let ending = program::outcome(&mut child);
    tokio::pin!(serving, ending);
    // Whichever ends first: a program that is gone has closed its socket, so the proxy ends as well, unless the
    // program never came.
    let (served, ended) = tokio::select! {
        served = &mut serving => match served {
            // Nothing the program could still say would explain more; dropping it ends it.
            Err(error) if !matches!(&error, PlannerError::Proxy(error) if matches!(**error, ProxyError::PlannerGone(_))) => {
                return Err(error);
            }
            served => (Some(served), ending.await),
        },
        ended = &mut ending => {
            let served = tokio::select! {
                biased;
                served = &mut serving => Some(served),
                () = tokio::time::sleep(Duration::from_secs(5)) => None,
            };
            (served, ended)
        }
    };
    let (status, said) = ended.map_err(unusable)?;
    let refusal = refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
    conclude(served, status, &said, refusal, directory)
}

/// Both must agree that all went well.
fn conclude(
    served: Option<Result<Captured, PlannerError>>,
    status: ExitStatus,
    said: &str,
    refusal: Option<ServerError>,
    directory: &Path,
) -> Result<(Captured, Vec<String>), PlannerError> {
    match (served, status.success()) {
        (Some(Ok(captured)), true) => Ok((captured, program::unknown_warnings(said))),
        (_, false) if said.contains("No space left on device") => Err(PlannerError::DirectoryFull {
            directory: directory.to_owned(),
        }),
        (_, false) => {
            let start = said.len().saturating_sub(2000);
            let start = (start..=said.len())
                .find(|start| said.is_char_boundary(*start))
                .unwrap_or_default();
            Err(PlannerError::Failed {
                status,
                said: said[start..].trim().to_owned(),
                code: refusal.map(|error| error.code),
            })
        }
        (Some(Err(error)), true) => Err(PlannerError::EndedEarly(error.to_string())),
        (None, true) => Err(PlannerError::EndedEarly("it never connected".into())),
    }
}

fn private_directory(parent: &Path) -> Result<TempDir, PlannerError> {
    let unusable = |error| PlannerError::Directory {
        directory: parent.to_owned(),
        error,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(unusable)?;
    // tempfile makes directories with mode 0700.
    let directory = tempfile::Builder::new()
        .prefix("plan-")
        .tempdir_in(parent)
        .map_err(unusable)?;
    if directory.path().join(SOCKET_NAME).as_os_str().len() > SOCKET_PATH_LIMIT {
        return Err(unusable(io::Error::new(
            io::ErrorKind::InvalidInput,
            "its path is too long for a Unix socket",
        )));
    }
    Ok(directory)
}

/// The directory keeps others out already; this keeps out our own other processes.
fn check_peer(stream: &UnixStream, process: Option<u32>) -> Result<(), PlannerError> {
    let theirs = stream.peer_cred().map_err(|_| PlannerError::Stranger)?;
    let same = theirs.pid().and_then(|pid| u32::try_from(pid).ok()) == process;
    if same { Ok(()) } else { Err(PlannerError::Stranger) }
}

fn read_toc(target: &Path) -> Result<Toc, PlannerError> {
    let file = fs::File::open(target.join("toc.dat")).map_err(TocError::Io)?;
    Ok(Toc::read(io::BufReader::new(file))?)
}

/// `pg_dump` copies in the order of its table of contents, so the n-th statement belongs to the n-th entry with rows.
fn pair(toc: &Toc, copies: Vec<Vec<u8>>) -> Result<Vec<PlannedTable>, PlannerError> {
    let entries: Vec<&TocEntry> = toc
        .entries
        .iter()
        .filter(|entry| entry.has_data && entry.description == "TABLE DATA")
        .collect();
    if entries.len() != copies.len() {
        return Err(PlannerError::Unpaired(format!(
            "{} tables with rows, {} statements",
            entries.len(),
            copies.len()
        )));
    }
    let mut files = HashSet::new();
    let mut tables = Vec::with_capacity(entries.len());
    for (entry, statement) in entries.into_iter().zip(copies) {
        let unpaired = |what: &str| {
            let statement = String::from_utf8_lossy(&statement).into_owned();
            PlannerError::Unpaired(format!("entry {} and {statement:?}: {what}", entry.dump_id))
        };
        let copy =
            CapturedCopy::parse(&statement).ok_or_else(|| unpaired("the statement is of no known form"))?;
        let schema = entry
            .namespace
            .clone()
            .ok_or_else(|| unpaired("the entry has no schema"))?;
        let load = entry
            .copy_statement
            .clone()
            .ok_or_else(|| unpaired("the entry has no statement"))?;
        let file = entry
            .file
            .clone()
            .ok_or_else(|| unpaired("the entry has no file"))?;
        if let CapturedCopy::Table {
            schema: copied_schema,
            table,
            columns,
        } = &copy
        {
            if (copied_schema, table) != (&schema, &entry.tag) {
                return Err(unpaired("they name different tables"));
            }
            // The statement that loads may name the partition's root, but never other columns.
            if !contains(&load, columns) {
                return Err(unpaired("they name different columns"));
            }
        }
        if !files.insert(file.clone()) {
            return Err(unpaired("the file is named twice"));
        }
        tables.push(PlannedTable {
            dump_id: entry.dump_id,
            oid: entry.oid,
            schema,
            name: entry.tag.clone(),
            file,
            copy,
            load,
        });
    }
    Ok(tables)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// Keeps the table of contents and the lists of large objects, and deletes the placeholders.
fn collect_files(target: &Path, opened: u64) -> Result<(Vec<PathBuf>, Vec<u32>), PlannerError> {
    let unusable = |error| PlannerError::Directory {
        directory: target.to_owned(),
        error,
    };
    let mut files = vec![target.join("toc.dat")];
    let mut large_objects = Vec::new();
    for entry in fs::read_dir(target).map_err(unusable)? {
        let path = entry.map_err(unusable)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with("blobs") && path.extension().is_some_and(|extension| extension == "toc") {
            list_large_objects(&fs::read_to_string(&path).map_err(unusable)?, &mut large_objects)?;
            files.push(path);
        } else if name != "toc.dat" {
            fs::remove_file(&path).map_err(unusable)?;
        }
    }
    files.sort();
    if large_objects.len() as u64 != opened {
        return Err(PlannerError::Unpaired(format!(
            "{} large objects listed, {opened} opened",
            large_objects.len()
        )));
    }
    large_objects.sort_unstable();
    large_objects.dedup();
    if large_objects.len() as u64 != opened {
        return Err(PlannerError::Unpaired("a large object is listed twice".into()));
    }
    Ok((files, large_objects))
}

/// Lines of `<oid> blob_<oid>.dat`.
fn list_large_objects(text: &str, oids: &mut Vec<u32>) -> Result<(), PlannerError> {
    for line in text.lines() {
        let oid = line
            .split_once(' ')
            .filter(|(oid, file)| *file == format!("blob_{oid}.dat"))
            .and_then(|(oid, _)| oid.parse().ok());
        oids.push(
            oid.ok_or_else(|| PlannerError::Unpaired(format!("line {line:?} in a list of large objects")))?,
        );
    }
    Ok(())
}

/// Cancels a session's statement when what waits for it is given up.
pub(crate) struct CancelOnDrop {
    target: Option<(Source, super::connection::CancelKey)>,
}

impl CancelOnDrop {
    pub(crate) fn new(source: &Source, key: super::connection::CancelKey) -> Self {
        Self {
            target: Some((source.clone(), key)),
        }
    }

    /// All went well: there is nothing to cancel.
    pub(crate) fn disarm(mut self) {
        self.target = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some((source, key)) = self.target.take() else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = key.cancel(&source).await {
                    tracing::warn!(%error, "a statement at the source could not be cancelled; it ends with its connection");
                }
            });
        }
    }
}

impl From<ConnectionError> for PlannerError {
    fn from(error: ConnectionError) -> Self {
        Self::Session(error.into())
    }
}

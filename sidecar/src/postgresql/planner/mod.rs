//! `pg_dump` plans: it writes the table of contents, takes the locks, and says what it would copy.

mod error;
mod files;
mod pairing;
mod program;
mod proxy;
mod statement;

use std::{
    path::Path,
    process::ExitStatus,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::{UnixListener, UnixStream},
    task::spawn_blocking,
    time::timeout,
};

pub use error::PlannerError;
pub use files::PlanFiles;
pub use pairing::PlannedTable;
pub(crate) use program::path as program_path;
pub use proxy::{Captured, ProxyError};
pub use statement::{CapturedCopy, qualified};

use super::{
    Connection,
    connection::Peer,
    connection::{CancelOnDrop, ServerError},
    session::{self, ServerIdentity, SessionError, TextSettings},
    source::Source,
    toc::Toc,
};

/// libpq looks for `.s.PGSQL.<port>` in the directory it is given.
const SOCKET_PORT: u16 = 5432;
const SOCKET_NAME: &str = ".s.PGSQL.5432";

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

/// What a plan is made from.
pub struct Request<'a> {
    /// The database.
    pub source: &'a Source,
    /// Its server, as the leader sees it.
    pub server: &'a ServerIdentity,
    /// Where the leader's connection went.
    pub peer: Peer,
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
    let directory = files::private_directory(request.directory)?;
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
    let encoding = request.text.client_encoding.clone();
    // A file per large object takes its time, in which the leader must go on watching.
    let reading = spawn_blocking(move || read(directory, captured, &encoding));
    let Written {
        toc,
        tables,
        large_objects,
        files,
    } = reading.await.map_err(|_| PlannerError::Died)??;
    Ok(Plan {
        held,
        toc,
        tables,
        large_objects,
        files,
        warnings,
    })
}

/// What `pg_dump` wrote, put together with what it asked for.
struct Written {
    toc: Toc,
    tables: Vec<PlannedTable>,
    large_objects: Vec<u32>,
    files: PlanFiles,
}

fn read(directory: TempDir, captured: Captured, encoding: &str) -> Result<Written, PlannerError> {
    let toc = files::read_toc(directory.path())?;
    if toc.encoding != encoding {
        return Err(PlannerError::Unpaired(format!(
            "the archive is in {}, the session in {encoding}",
            toc.encoding
        )));
    }
    let tables = pairing::pair(&toc, captured.copies)?;
    let (files, large_objects) = PlanFiles::collect(directory, captured.large_objects)?;
    Ok(Written {
        toc,
        tables,
        large_objects,
        files,
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
    let target = directory.join(files::TARGET);
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
        (_, false) => Err(PlannerError::Failed {
            status,
            said: program::shortened(said),
            code: refusal.map(|error| error.code),
        }),
        (Some(Err(error)), true) => Err(PlannerError::EndedEarly(error.to_string())),
        (None, true) => Err(PlannerError::EndedEarly("it never connected".into())),
    }
}

/// The directory keeps others out already; this keeps out our own other processes.
fn check_peer(stream: &UnixStream, process: Option<u32>) -> Result<(), PlannerError> {
    let theirs = stream.peer_cred().map_err(|_| PlannerError::Stranger)?;
    let same = theirs.pid().and_then(|pid| u32::try_from(pid).ok()) == process;
    if same { Ok(()) } else { Err(PlannerError::Stranger) }
}

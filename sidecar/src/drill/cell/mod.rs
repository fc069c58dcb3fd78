//! The throw-away database of a drill, and what keeps a copy in it.
//!
//! Its container has no secret, no network and no files of ours. Before anything of the copy is restored, [`preparation`] makes what needs a
//! superuser and then closes every superuser's way in; what is restored belongs to a role that can do nothing beyond its database. [`guard`]
//! watches over its size from another database. [`version`] refuses servers and programs that a copy could harm.

mod guard;
mod preparation;
mod version;

use std::{path::PathBuf, time::Duration};

use dataembassy_contract::{Reason, drill::Tools};
use tokio::time::Instant;

pub(super) use guard::Guard;
pub(super) use preparation::Prepared;

use super::{Environment, board::Board, failure::Failure};
use crate::postgresql::{
    Connection, ConnectionError, Source,
    source::{CellSocket, Way},
};
use crate::restore::job::PAUSE;
use crate::restore::pg_restore::PgRestore;
use version::Version;

/// How long the server may take to come up, once its container was started: it makes a cluster first.
const PATIENCE: Duration = Duration::from_mins(5);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Who made the cluster.
const SUPERUSER: &str = "postgres";
/// The database that the cluster was made with: nothing of the copy is ever in it.
const MAINTENANCE: &str = "postgres";

/// A server that is up, of a version that may be restored into.
pub(super) struct Cell {
    sockets: PathBuf,
    programs: PathBuf,
}

impl Cell {
    /// Waits until the server is up, and judges its version and that of the `pg_restore` that fits it.
    pub(super) async fn reach(
        environment: &Environment,
        board: &Board,
        tools: &mut Tools,
    ) -> Result<Self, Failure> {
        let cell = Self {
            sockets: environment.cell.clone(),
            programs: environment.job.programs.clone(),
        };
        let connection = cell.first_session(board).await?;
        board.job().goes_on();
        let told = connection
            .parameter("server_version")
            .unwrap_or_default()
            .to_owned();
        connection.close().await;
        tools.server.clone_from(&told);
        let server = Version::judge("the throw-away server", &told)?;
        let program = PgRestore::path(&cell.programs, server.major);
        tools.pg_restore = version::of_program(&program, server.major).await?;
        Version::judge("pg_restore", &tools.pg_restore)?;
        Ok(cell)
    }

    async fn first_session(&self, board: &Board) -> Result<Connection, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            let error = match Connection::open(&self.source(SUPERUSER, MAINTENANCE)).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            let words = format!(
                "the throw-away server is not up ({error}); its container `database` says why in its log"
            );
            let comes = matches!(
                error,
                ConnectionError::Unreachable { .. }
                    | ConnectionError::ConnectTimeout { .. }
                    | ConnectionError::NotAccepting(_)
                    | ConnectionError::Lost(_)
            );
            if !comes || Instant::now() >= until {
                return Err(Failure::inconclusive(Reason::CellLost, &words));
            }
            board.job().waits(Reason::CellLost, words);
            tokio::time::sleep(PAUSE.min(Duration::from_millis(500))).await;
        }
    }

    /// The way to one of the server's databases.
    fn source(&self, user: &str, database: &str) -> Source {
        Source {
            way: Way::Cell(CellSocket::in_folder(&self.sockets)),
            database: database.to_owned(),
            user: user.to_owned(),
            connect_timeout: CONNECT_TIMEOUT,
            programs: self.programs.clone(),
        }
    }
}

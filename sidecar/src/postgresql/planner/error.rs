//! Why there is no plan.

use std::{io, path::PathBuf, process::ExitStatus};

use super::ProxyError;
use crate::postgresql::{ConnectionError, session::SessionError, toc::TocError};

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
    /// A task of ours ended by a panic.
    #[error("reading the plan ended unexpectedly")]
    Died,
}

impl From<ConnectionError> for PlannerError {
    fn from(error: ConnectionError) -> Self {
        Self::Session(error.into())
    }
}

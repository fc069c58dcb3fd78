//! Why a dump ended without a copy.

use std::time::Duration;

use dataembassy_contract::Reason;

use crate::postgresql::{
    ConnectionError,
    planner::{PlannerError, ProxyError},
    session::SessionError,
};

/// What the server says of data and of indexes that it cannot make sense of: `data_corrupted`, `index_corrupted`.
const CORRUPT: [&str; 2] = ["XX001", "XX002"];

/// `lock_not_available`.
pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
/// `serialization_failure`: a transaction that only reads at a snapshot meets it on a standby, and there only.
const RECOVERY_CONFLICT: &str = "40001";

/// Why a dump ended without a copy.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// A session could not be made or used.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// There is no plan.
    #[error(transparent)]
    Planner(#[from] PlannerError),
    /// The server is older than what is supported.
    #[error("the server is PostgreSQL {major}; 14 and newer are supported")]
    VersionTooOld {
        /// The server's major version.
        major: u32,
    },
    /// The role may not read everything.
    #[error("the dump role may not read {}: grant it pg_read_all_data", list(tables))]
    NotReadable {
        /// Tables and sequences.
        tables: Vec<String>,
    },
    /// Row security would hide rows from the role.
    #[error(
        "row security hides rows of {} from the dump role: give it BYPASSRLS (ALTER ROLE … BYPASSRLS)",
        list(tables)
    )]
    RowSecurity {
        /// The tables.
        tables: Vec<String>,
    },
    /// The database is another one than those that may be copied.
    #[error(
        "the database is another one than the last copy's (now system {system_identifier}, database oid {database_oid}): if it was \
         re-created on purpose, name these in spec.source.acceptedIdentity"
    )]
    SourceChanged {
        /// Its server.
        system_identifier: String,
        /// Itself.
        database_oid: u32,
    },
    /// What was sent is of no use, and the dump may be run again with another channel.
    #[error("{} was rewritten or renamed while it was copied", list(tables))]
    BegunAnew {
        /// The tables.
        tables: Vec<String>,
    },
    /// Tables were rewritten while the snapshot was taken, again and again.
    #[error(
        "{} was truncated, rewritten or replaced by a transaction that was open at the snapshot; {attempts} snapshots were tried",
        list(tables)
    )]
    SourceRewritten {
        /// The tables.
        tables: Vec<String>,
        /// How many snapshots were tried.
        attempts: u32,
    },
    /// Somebody waited for our locks.
    #[error("session {process} has waited {seconds} s for a lock that this run holds, so the run gave way")]
    YieldedToDdl {
        /// The session that waits.
        process: i32,
        /// For how long.
        seconds: u64,
    },
    /// The run took too long.
    #[error("the snapshot was held for {} s, the most that is allowed", limit.as_secs())]
    SnapshotTooOld {
        /// The limit.
        limit: Duration,
    },
    /// The session with the snapshot, or the one with the locks, was lost.
    #[error("the session that holds the {what} was lost, so the copy could not be trusted: {error}")]
    HolderLost {
        /// `snapshot` or `locks`.
        what: &'static str,
        /// How.
        error: ConnectionError,
    },
    /// Copying a table failed.
    #[error("copying {table} failed: {error}")]
    Copy {
        /// The table.
        table: String,
        /// How.
        error: ConnectionError,
    },
    /// The server cannot read what it has stored.
    #[error(
        "{table} is damaged at the source: {error}; restore it from the latest good copy before more is lost"
    )]
    SourceCorrupt {
        /// The table.
        table: String,
        /// The server's words.
        error: ConnectionError,
    },
    /// A value is larger than what text COPY can carry.
    #[error("a value in {table}{} is larger than what a dump can carry (about 500 MB for bytea, 1 GB for a row as text): {error}; move it to a large object", column.as_ref().map(|column| format!(", column {column},")).unwrap_or_default())]
    ValueTooLarge {
        /// The table.
        table: String,
        /// The column, where it could be found.
        column: Option<String>,
        /// The server's words.
        error: ConnectionError,
    },
    /// What was read does not add up.
    #[error("what was read does not add up: {0}")]
    Inconsistent(String),
    /// The plan's files cannot be read.
    #[error("the plan's files cannot be read: {0}")]
    PlanFiles(std::io::Error),
    /// Nobody takes the members any more.
    #[error("the copy was given up by what stores it")]
    ReceiverGone,
    /// The run was cancelled.
    #[error("the run was cancelled")]
    Cancelled,
    /// A task of ours ended by a panic.
    #[error("a worker ended unexpectedly")]
    WorkerDied,
}

impl From<ConnectionError> for DumpError {
    fn from(error: ConnectionError) -> Self {
        Self::Session(error.into())
    }
}

impl DumpError {
    /// What became of copying from this table.
    pub(super) fn of_copy(table: &str, error: ConnectionError) -> Self {
        let table = table.to_owned();
        match error.server().map(|server| server.code.as_str()) {
            Some(code) if CORRUPT.contains(&code) => Self::SourceCorrupt { table, error },
            // The name leads nowhere any more: its schema was renamed, which no lock of ours forbids.
            Some("3F000" | "42P01" | "42703") => Self::BegunAnew { tables: vec![table] },
            _ => Self::Copy { table, error },
        }
    }

    /// The word for conditions, events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Session(error) => error.reason(),
            Self::Planner(error) => error.reason(),
            Self::VersionTooOld { .. } => Reason::SourceVersionUnsupported,
            Self::NotReadable { .. } | Self::RowSecurity { .. } => Reason::SourcePrivilegesMissing,
            Self::SourceChanged { .. } => Reason::SourceChanged,
            Self::SourceRewritten { .. } | Self::BegunAnew { .. } => Reason::SourceRewritten,
            Self::SourceCorrupt { .. } => Reason::SourceCorrupt,
            Self::YieldedToDdl { .. } => Reason::YieldedToDdl,
            Self::SnapshotTooOld { .. } => Reason::SnapshotTooOld,
            Self::HolderLost { error, .. } if error.is(RECOVERY_CONFLICT) => Reason::StandbyConflict,
            Self::HolderLost { .. } => Reason::SourceLost,
            Self::Copy { error, .. } => error.reason(),
            Self::ValueTooLarge { .. } => Reason::ValueTooLarge,
            Self::Inconsistent(_) => Reason::DumpInconsistent,
            Self::PlanFiles(_) | Self::WorkerDied => Reason::InternalError,
            Self::ReceiverGone | Self::Cancelled => Reason::Interrupted,
        }
    }

    /// Whether trying again without a change by somebody is pointless.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Session(error) | Self::Planner(PlannerError::Session(error)) => error.is_permanent(),
            Self::Planner(PlannerError::VersionUnsupported { .. })
            | Self::VersionTooOld { .. }
            | Self::NotReadable { .. }
            | Self::RowSecurity { .. }
            | Self::SourceChanged { .. }
            | Self::SourceCorrupt { .. }
            | Self::ValueTooLarge { .. } => true,
            Self::Planner(PlannerError::Failed { code: Some(code), .. }) => is_for_somebody(code),
            Self::Planner(PlannerError::Proxy(error)) => match &**error {
                ProxyError::Server(error) => error.is_permanent(),
                _ => false,
            },
            Self::Copy { error, .. } => error.is_permanent(),
            _ => false,
        }
    }
}

impl PlannerError {
    /// The word for conditions, events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::VersionUnsupported { .. } => Reason::SourceVersionUnsupported,
            Self::Session(error) => error.reason(),
            Self::DirectoryFull { .. } => Reason::ScratchSpaceExhausted,
            Self::Hung { .. } => Reason::PlanningStalled,
            Self::Failed { code: Some(code), .. } if code == "42501" => Reason::SourcePrivilegesMissing,
            Self::Failed { code: Some(code), .. } if CORRUPT.contains(&code.as_str()) => {
                Reason::SourceCorrupt
            }
            // pg_dump waits for a lock as long as a statement may take.
            Self::Failed { code: Some(code), .. } if code == "57014" || code == LOCK_NOT_AVAILABLE => {
                Reason::PlanningStalled
            }
            Self::Proxy(error) => match &**error {
                ProxyError::Server(error) => error.reason(),
                _ => Reason::PlanningFailed,
            },
            Self::Unpaired(_) | Self::Toc(_) => Reason::DumpInconsistent,
            Self::Died => Reason::InternalError,
            Self::Directory { .. } | Self::Stranger | Self::Failed { .. } | Self::EndedEarly(_) => {
                Reason::PlanningFailed
            }
        }
    }
}

impl SessionError {
    /// The word for conditions, events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Connection(error) => error.reason(),
            Self::SettingRefused { .. } => Reason::DumpInconsistent,
            Self::Pooler { .. } | Self::NotOneServer { .. } => Reason::SourceNotOneServer,
        }
    }

    /// Whether trying again without a change by somebody is pointless.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_permanent(),
            Self::Pooler { .. } | Self::SettingRefused { .. } => true,
            Self::NotOneServer { .. } => false,
        }
    }
}

impl ConnectionError {
    /// The word for conditions, events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Resolve { .. }
            | Self::Unreachable { .. }
            | Self::ConnectTimeout { .. }
            | Self::NotAccepting(_) => Reason::SourceUnreachable,
            Self::AddressRefused { .. } => Reason::NotSovereign,
            Self::TlsRefused | Self::TlsFailed { .. } => Reason::SourceTlsFailed,
            Self::TlsMaterial { .. } => Reason::SecretInvalid,
            Self::CleartextRefused
            | Self::Md5Refused
            | Self::AuthenticationUnsupported(_)
            | Self::AuthenticationMissing => Reason::SourceAuthenticationRefused,
            Self::PasswordMissing => Reason::SecretKeyMissing,
            Self::AuthenticationFailed(_) | Self::ServerNotAuthentic(_) => Reason::SourceAuthenticationFailed,
            Self::DatabaseMissing(_) => Reason::DatabaseMissing,
            Self::ConnectionsExhausted(_) => Reason::SourceConnectionsExhausted,
            Self::Server(error) if error.code == "42501" => Reason::SourcePrivilegesMissing,
            Self::Server(error) if CORRUPT.contains(&error.code.as_str()) => Reason::SourceCorrupt,
            Self::Server(error) if error.code == RECOVERY_CONFLICT => Reason::StandbyConflict,
            Self::Server(error) if error.code == LOCK_NOT_AVAILABLE => Reason::PlanningStalled,
            Self::Lost(_) => Reason::SourceLost,
            Self::Server(error) if error.severity == "FATAL" => Reason::SourceLost,
            Self::Server(_) | Self::Protocol(_) | Self::AnswerTooLarge { .. } => Reason::DumpInconsistent,
            Self::Abandoned => Reason::InternalError,
        }
    }

    /// Whether trying again without a change by somebody is pointless.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::AddressRefused { .. }
            | Self::TlsRefused
            | Self::TlsMaterial { .. }
            | Self::CleartextRefused
            | Self::Md5Refused
            | Self::AuthenticationUnsupported(_)
            | Self::AuthenticationMissing
            | Self::PasswordMissing
            | Self::AuthenticationFailed(_)
            | Self::DatabaseMissing(_) => true,
            Self::Server(error) => is_for_somebody(&error.code),
            _ => false,
        }
    }
}

/// Whether somebody must act before the server says anything else: `insufficient_privilege`, or damage.
fn is_for_somebody(code: &str) -> bool {
    code == "42501" || CORRUPT.contains(&code)
}

/// A few names and how many more there are.
fn list(tables: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = tables
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match tables.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

//! Why a restore failed.

use std::{io, path::PathBuf};

use dataembassy_contract::Reason;

use super::{
    comparison::ComparisonError,
    copy::CopyError,
    load::LoadError,
    pg_restore::ProgramError,
    target::{DoorwayError, MarkError, ObjectsLeft},
};
use crate::postgresql::{ConnectionError, session::SessionError, toc::TocError};

/// A server's word for a disk without room.
const DISK_FULL: &str = "53100";

/// Why a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The copy cannot be read.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The table of contents cannot be read.
    #[error(transparent)]
    Toc(#[from] TocError),
    /// The target cannot be reached, or refuses a statement.
    #[error("the target: {0}")]
    Target(#[from] ConnectionError),
    /// The target's sessions cannot be used.
    #[error("the target: {0}")]
    Session(#[from] SessionError),
    /// The target lacks something; nothing was written.
    #[error("nothing was written, because the target lacks:\n- {}", .0.join("\n- "))]
    TargetLacks(Vec<String>),
    /// The target's disk is full.
    #[error(
        "the target has no room left: give its volume room for rows, indexes and write-ahead log (the copy's rows are {bytes} bytes of \
         text, of which {sent} had been sent), and restore again in place of what is there. It said: {error}"
    )]
    TargetFull {
        /// Bytes of rows and large objects in the copy.
        bytes: u64,
        /// Bytes of them that were sent.
        sent: u64,
        /// What failed.
        error: Box<RestoreError>,
    },
    /// The directory for temporary files cannot be used.
    #[error("temporary files cannot be written to {directory}: {error}; set --scratch")]
    Scratch {
        /// The directory.
        directory: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no way for `pg_restore`.
    #[error(transparent)]
    Doorway(#[from] DoorwayError),
    /// The mark of an unfinished restore cannot be set.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// The database cannot be emptied.
    #[error(transparent)]
    NotEmptied(#[from] ObjectsLeft),
    /// `pg_restore` failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Rows cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The target does not hold what was loaded.
    #[error(transparent)]
    Comparison(#[from] ComparisonError),
    /// A task of ours ended without a word.
    #[error("the restore was interrupted")]
    Interrupted,
}

impl RestoreError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Copy(error) => error.reason(),
            Self::Toc(_) => Reason::ObjectChanged,
            Self::Target(error) => of_the_target(error.reason()),
            Self::Session(error) => of_the_target(error.reason()),
            Self::TargetLacks(_) => Reason::TargetLacks,
            Self::TargetFull { .. } => Reason::TargetFull,
            Self::Scratch { .. } => Reason::ScratchSpaceExhausted,
            Self::Interrupted => Reason::Interrupted,
            Self::Doorway(_)
            | Self::Mark(_)
            | Self::NotEmptied(_)
            | Self::Program(_)
            | Self::Load(_)
            | Self::Comparison(_) => Reason::RestoreFailed,
        }
    }
}

impl RestoreError {
    /// Whether the target said that it has no room.
    pub(super) fn tells_of_no_room(&self) -> bool {
        let server = match self {
            Self::Program(error) => return error.tells_of_no_room(),
            Self::Target(error)
            | Self::Session(SessionError::Connection(error))
            | Self::Mark(MarkError::Connection(error))
            | Self::NotEmptied(ObjectsLeft::Connection(error))
            | Self::Load(
                LoadError::RowsRefused { source: error, .. }
                | LoadError::ObjectRefused { source: error, .. }
                | LoadError::Session(SessionError::Connection(error)),
            )
            | Self::Comparison(
                ComparisonError::Connection(error)
                | ComparisonError::Session(LoadError::Session(SessionError::Connection(error))),
            ) => error,
            _ => return false,
        };
        server.is(DISK_FULL)
    }
}

/// What is said of a database that is copied from, said of one that is restored into.
const fn of_the_target(reason: Reason) -> Reason {
    match reason {
        Reason::SourceUnreachable | Reason::SourceConnectionsExhausted | Reason::SourceLost => {
            Reason::TargetUnreachable
        }
        Reason::SourceTlsFailed
        | Reason::SourceAuthenticationFailed
        | Reason::SourceAuthenticationRefused
        | Reason::SourcePrivilegesMissing
        | Reason::DatabaseMissing
        | Reason::SecretKeyMissing => Reason::TargetRefused,
        Reason::SecretInvalid | Reason::NotSovereign => reason,
        _ => Reason::RestoreFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_never_called_a_source() {
        for reason in Reason::ALL {
            assert!(!of_the_target(*reason).as_str().starts_with("Source"), "{reason}");
        }
    }
}

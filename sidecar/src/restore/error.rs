//! Why a restore failed.

use std::{io, path::PathBuf};

use super::{
    comparison::ComparisonError,
    copy::CopyError,
    load::LoadError,
    pg_restore::ProgramError,
    target::{DoorwayError, MarkError, ObjectsLeft},
};
use crate::postgresql::{ConnectionError, session::SessionError, toc::TocError};

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

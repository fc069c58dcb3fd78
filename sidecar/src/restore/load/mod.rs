//! Rows and large objects, from members into the target.
//!
//! Members come in the order in which they were written: those of one range in their order, a few ranges at a time. Each
//! range that is open has a session in the middle of its COPY; if more are open than there are sessions, the one that
//! was longest without a member is completed at its last row's end and begun again later. Memory holds a few members.

mod dispatch;
mod lane;
mod large_objects;
mod table;

use dataembassy_archive::FileName;

pub use dispatch::{Loaded, load};
pub use lane::open as open_session;
pub use table::{TableLoad, TableResult, plan_tables};

use super::copy::CopyError;
use crate::postgresql::{
    ConnectionError, Source,
    session::{SessionError, TextSettings},
};

/// Why rows could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The copy cannot be read.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A session cannot be made.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The server refuses a table's rows.
    #[error("the rows of {table} were refused: {source}")]
    RowsRefused {
        /// The table.
        table: String,
        /// The server's words.
        source: ConnectionError,
    },
    /// The server refuses large objects.
    #[error("large object {oid}, or one just before it, was refused: {source}")]
    ObjectRefused {
        /// The object.
        oid: u32,
        /// The server's words.
        source: ConnectionError,
    },
    /// The rows are not those of the inventory.
    #[error("the rows of {table} are not those of the inventory: {why}")]
    WrongRows {
        /// The table.
        table: String,
        /// The difference.
        why: String,
    },
    /// The large objects are not those of the inventory.
    #[error("the large objects are not those of the inventory: {0}")]
    WrongObjects(String),
    /// A member is out of place.
    #[error("member {member} is out of place: {why}")]
    OutOfPlace {
        /// The member.
        member: String,
        /// Why.
        why: &'static str,
    },
    /// A member is of a file that neither the inventory nor the format knows.
    #[error("the archive holds {0}, which its inventory does not know")]
    Unknown(FileName),
    /// The inventory and the table of contents do not agree.
    #[error("inventory and table of contents disagree on {0}")]
    Disagreement(String),
    /// A task of ours ended without a word.
    #[error("loading was interrupted")]
    Interrupted,
}

/// A large table whose rows are all in the target, told while others may still come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complete {
    /// Schema and name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

/// How sessions that load are made.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// The target.
    pub target: Source,
    /// What decides how values are read.
    pub text: TextSettings,
    /// How many may load at once.
    pub jobs: usize,
}

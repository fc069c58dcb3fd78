//! After a rehearsal in somebody else's database: what it restored is dropped, and nothing else.
//!
//! The database bears the rehearsal's mark from before its first row until everything is gone. One that bears another mark, or none, holds
//! nothing of the rehearsal: somebody has taken it over, and it is not touched. Cut off anywhere, doing it again goes on where it was.

use super::RestoreError;
use super::restoration::{alone, open};
use super::target::{Mark, empty};
use crate::postgresql::{ConnectionError, Source};

/// What was found, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CleanUp {
    /// What the rehearsal had restored is gone.
    Emptied,
    /// The database bears no mark: nothing was written, or it was emptied before.
    Unmarked,
    /// It bears the mark of something else, so what is in it is not the rehearsal's.
    Anothers,
    /// There is no such database.
    NoDatabase,
}

impl CleanUp {
    /// The same in words.
    #[must_use]
    pub fn words(&self, database: &str) -> String {
        match self {
            Self::Emptied => format!("what the rehearsal had restored into {database} is dropped"),
            Self::Unmarked => {
                format!(
                    "{database} bears no mark of the rehearsal, so nothing of it is there, and nothing was touched"
                )
            }
            Self::Anothers => {
                format!(
                    "{database} bears the mark of another restore, so nothing of the rehearsal is there, and nothing was touched"
                )
            }
            Self::NoDatabase => format!("there is no database {database} any more"),
        }
    }
}

/// Drops what the rehearsal with this UID has restored into the target.
pub async fn clean_up(target: &Source, rehearsal: &str) -> Result<CleanUp, RestoreError> {
    let mut connection = match open(target).await {
        Err(RestoreError::Target(ConnectionError::DatabaseMissing(_))) => return Ok(CleanUp::NoDatabase),
        opened => opened?,
    };
    // The rehearsal's own restore may still be ending.
    alone(&mut connection).await?;
    let done = match Mark::found(&mut connection).await? {
        None => CleanUp::Unmarked,
        Some(mark) if mark.rehearsal.as_deref() != Some(rehearsal) => CleanUp::Anothers,
        Some(mark) => {
            empty(&mut connection).await?;
            // Last of all: whoever is killed before finds the mark, and goes on.
            mark.clear(&mut connection, &target.database, Vec::new()).await?;
            CleanUp::Emptied
        }
    };
    connection.close().await;
    Ok(done)
}

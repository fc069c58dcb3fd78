//! The mark of a database whose restore has not ended well: nobody but its owner may connect, and its comment says why.
//!
//! It is set before anything else is written and taken away when everything was compared. A restore that is killed
//! leaves it there, so that half a registry is not taken for a whole one. It needs no superuser.
//!
//! What is restored in a rehearsal keeps it to the end, and it says whose rehearsal: by that, and by nothing else, it is known what may be
//! taken away again.

use serde::{Deserialize, Serialize};

use crate::postgresql::{
    Connection, ConnectionError,
    session::{identifier, literal},
};

const WORDS: &str =
    "dataembassy: UNFINISHED RESTORE, do not use; restore again with --if-not-empty replace. ";
/// The same of a database that a rehearsal has brought up whole.
const REHEARSED: &str = "dataembassy: REHEARSAL, do not use; it is emptied when the rehearsal ends. ";

/// What must be known to take the mark away: it is written into the mark itself, so that a later restore can do so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The registry that is restored.
    pub registry: String,
    /// The sequence of the copy's entry.
    pub sequence: u64,
    /// The database's comment before.
    pub comment: Option<String>,
    /// Who besides the owner could connect before; an empty name is everybody.
    pub connect: Vec<String>,
    /// The rehearsal that restores, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<String>,
}

/// Why a mark could not be set or taken away.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// The connection failed, or the server refused.
    #[error("the database cannot be marked as unfinished: {0}")]
    Connection(#[from] ConnectionError),
    /// The mark cannot be written.
    #[error("the mark cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
}

impl Mark {
    /// The mark that the database bears, if a restore of it did not end.
    pub async fn found(connection: &mut Connection) -> Result<Option<Self>, ConnectionError> {
        Ok(comment(connection).await?.and_then(|comment| {
            let words = [WORDS, REHEARSED];
            let text = words.iter().find_map(|words| comment.strip_prefix(words))?;
            serde_json::from_str(text).ok()
        }))
    }

    /// Whether a comment could be taken for a mark.
    #[must_use]
    pub fn is_like(comment: &str) -> bool {
        [WORDS, REHEARSED].iter().any(|words| comment.starts_with(words))
    }

    /// Marks the database. One that is marked already keeps what it remembers of the time before.
    pub async fn set(
        connection: &mut Connection,
        database: &str,
        registry: &str,
        sequence: u64,
        rehearsal: Option<&str>,
    ) -> Result<Self, MarkError> {
        let before = match Self::found(connection).await? {
            Some(mark) => (mark.comment, mark.connect),
            None => (comment(connection).await?, may_connect(connection).await?),
        };
        let mark = Self {
            registry: registry.to_owned(),
            sequence,
            comment: before.0,
            connect: before.1,
            rehearsal: rehearsal.map(str::to_owned),
        };
        let text = format!("{WORDS}{}", serde_json::to_string(&mark)?);
        let name = identifier(database);
        let mut statements = vec![format!("COMMENT ON DATABASE {name} IS {}", literal(&text))];
        for role in &may_connect(connection).await? {
            statements.push(format!(
                "REVOKE CONNECT ON DATABASE {name} FROM {}",
                grantee(role)
            ));
        }
        // Together they are one transaction.
        connection.execute(statements.join(";\n")).await?;
        Ok(mark)
    }

    /// Says that a rehearsal has brought it up whole. Nobody else may connect, as before.
    pub async fn rehearsed(&self, connection: &mut Connection, database: &str) -> Result<(), MarkError> {
        let text = format!("{REHEARSED}{}", serde_json::to_string(self)?);
        let name = identifier(database);
        let statement = format!("COMMENT ON DATABASE {name} IS {}", literal(&text));
        Ok(connection.execute(statement).await?)
    }

    /// Takes the mark away: comment and privileges are as before, and then as `finally` says, in one transaction.
    pub async fn clear(
        &self,
        connection: &mut Connection,
        database: &str,
        finally: Vec<String>,
    ) -> Result<(), ConnectionError> {
        let name = identifier(database);
        let comment = self.comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
        let grant = |role: &String| format!("GRANT CONNECT ON DATABASE {name} TO {}", grantee(role));
        let mut statements: Vec<String> = self.connect.iter().map(grant).collect();
        statements.push(format!("COMMENT ON DATABASE {name} IS {comment}"));
        statements.extend(finally);
        connection.execute(statements.join(";\n")).await
    }
}

fn grantee(role: &str) -> String {
    if role.is_empty() {
        "PUBLIC".into()
    } else {
        identifier(role)
    }
}

async fn comment(connection: &mut Connection) -> Result<Option<String>, ConnectionError> {
    let rows = connection
        .query(
            "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database \
             WHERE datname = pg_catalog.current_database()",
        )
        .await?;
    Ok(match rows.first() {
        Some(row) => row.optional(0)?.map(str::to_owned),
        None => None,
    })
}

async fn may_connect(connection: &mut Connection) -> Result<Vec<String>, ConnectionError> {
    let rows = connection
        .query(
            "SELECT DISTINCT CASE a.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee) END \
             FROM pg_catalog.pg_database d, \
             pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a \
             WHERE d.datname = pg_catalog.current_database() AND a.privilege_type = 'CONNECT' AND a.grantee <> d.datdba",
        )
        .await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

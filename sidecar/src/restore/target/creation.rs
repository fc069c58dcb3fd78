//! A database that is made like the source's, so that text is kept and sorted as it was.

use dataembassy_archive::inventory::Database;

use super::super::preflight::create_database;
use crate::postgresql::{Connection, ConnectionError, session::identifier};

/// A server's word for a database that is there already.
const DUPLICATE: &str = "42P04";

/// Makes a database like the source's, or, where the server cannot, one that takes its rows: UTF-8, sorted by C. Returns why it is another one.
/// One that is there already is left as it is.
pub async fn make_like(
    connection: &mut Connection,
    name: &str,
    source: &Database,
) -> Result<Option<String>, ConnectionError> {
    let error = match connection.execute(create_database(name, source)).await {
        Ok(()) => return Ok(None),
        Err(error) if error.server().is_none() => return Err(error),
        Err(error) => error,
    };
    if error.is(DUPLICATE) {
        return Ok(None);
    }
    let statement = format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'",
        identifier(name)
    );
    match connection.execute(statement).await {
        Err(second) if !second.is(DUPLICATE) => Err(second),
        _ => Ok(Some(error.to_string())),
    }
}

//! A restored database is asked: a statement of the user's, read-only, alone in a session, for a bounded time, one row with one column. A drill
//! and a restore ask in the same way.
//!
//! The statement comes from the resource and is trusted as far as that; what it calls may come from the copy and is not.

mod expectation;

use std::time::Duration;

use dataembassy_contract::assertion::{Answer, AssertionConfig};
use jiff::Timestamp;

use crate::postgresql::{Connection, ConnectionError, Source};

/// The longest that a statement may take, as the server counts, unless told otherwise.
pub const LONGEST: Duration = Duration::from_mins(1);
/// How much longer than that we wait for it.
const GRACE: Duration = Duration::from_secs(15);
/// The most bytes of an answer.
const MOST_BYTES: usize = 1024 * 1024;

/// Asks; `longest` is the time that the statement may take, at least a millisecond.
pub(crate) async fn ask(
    target: &Source,
    assertion: &AssertionConfig,
    taken_at: Timestamp,
    longest: Duration,
) -> Answer {
    let patience = longest + GRACE;
    let answered = tokio::time::timeout(patience, answer(target, &assertion.sql, longest)).await;
    let answered = answered.unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs())));
    let (passed, found) = match answered {
        Ok(value) => expectation::judge(&assertion.expect, &value, taken_at),
        Err(why) => (false, why),
    };
    Answer {
        name: assertion.name.clone(),
        passed,
        expected: expectation::words(&assertion.expect, taken_at),
        found,
    }
}

/// The one value, or why there is none.
async fn answer(target: &Source, sql: &str, longest: Duration) -> Result<String, String> {
    let refused = |error: ConnectionError| match error.server() {
        // A detail may name rows.
        Some(server) => format!("{} {}: {}", server.severity, server.code, server.message),
        None => error.to_string(),
    };
    let mut connection = Connection::open(target).await.map_err(refused)?;
    let limits = format!(
        "SET statement_timeout = {}; SET timezone = UTC; SET datestyle = 'ISO, MDY'; SET row_security = off; BEGIN READ ONLY",
        longest.as_millis().max(1)
    );
    connection.execute(limits).await.map_err(refused)?;
    let first = connection.single(sql, 2, MOST_BYTES).await.map_err(refused)?;
    connection.close().await;
    let [row] = first.rows.as_slice() else {
        let rows = if first.rows.is_empty() {
            "no row"
        } else {
            "more than one row"
        };
        return Err(format!("{rows} instead of one"));
    };
    match row.columns() {
        1 => {}
        columns => return Err(format!("{columns} columns instead of one")),
    }
    let value = row.optional(0).map_err(refused)?;
    value.map(str::to_owned).ok_or_else(|| "NULL".to_owned())
}

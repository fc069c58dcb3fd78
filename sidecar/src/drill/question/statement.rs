//! A statement of the user's: read-only, alone in a session, at most a minute, one row with one column.
//!
//! The statement comes from the drill's resource and is trusted as far as that; what it calls may come from the copy and is not.

use std::time::Duration;

use dataembassy_contract::drill::{AssertionConfig, AssertionKind, AssertionResult};
use jiff::Timestamp;

use super::expectation;
use crate::postgresql::{Connection, ConnectionError, Source};

/// The longest that a statement may take, as the server counts.
const LONGEST: Duration = Duration::from_mins(1);
/// The longest that we wait for it.
const PATIENCE: Duration = Duration::from_secs(75);
/// The most bytes of an answer.
const MOST_BYTES: usize = 1024 * 1024;

/// Asks.
pub(in crate::drill) async fn ask(
    target: &Source,
    assertion: &AssertionConfig,
    taken_at: Timestamp,
) -> AssertionResult {
    let answered = tokio::time::timeout(PATIENCE, answer(target, &assertion.sql)).await;
    let answered = answered.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
    let (passed, found) = match answered {
        Ok(value) => expectation::judge(&assertion.expect, &value, taken_at),
        Err(why) => (false, why),
    };
    AssertionResult {
        name: assertion.name.clone(),
        kind: AssertionKind::Sql,
        passed,
        expected: format!(
            "{}, by: {}",
            expectation::words(&assertion.expect, taken_at),
            assertion.sql
        ),
        found,
    }
}

/// The one value, or why there is none.
async fn answer(target: &Source, sql: &str) -> Result<String, String> {
    let refused = |error: ConnectionError| match error.server() {
        // A detail may name rows.
        Some(server) => format!("{} {}: {}", server.severity, server.code, server.message),
        None => error.to_string(),
    };
    let mut connection = Connection::open(target).await.map_err(refused)?;
    let limits = format!(
        "SET statement_timeout = {}; SET timezone = UTC; SET datestyle = 'ISO, MDY'; SET row_security = off; BEGIN READ ONLY",
        LONGEST.as_millis()
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

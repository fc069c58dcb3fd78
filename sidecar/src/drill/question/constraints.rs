//! Whether every constraint that was valid at the source is valid in the restored database.

use std::collections::BTreeSet;

use dataembassy_contract::drill::{AssertionKind, AssertionResult};

use crate::postgresql::{
    Connection, Source,
    session::{self, SessionError, TextSettings},
    toc::Toc,
};
use crate::restore::selection;

/// Most names that are told.
const NAMED: usize = 5;
/// Most bytes of all names together.
const ROOM: usize = 4 * 1024 * 1024;

/// Constraints that nobody has validated, of tables and of domains; those of partitions and heirs go with their parents', those of extensions are
/// not the copy's.
const NOT_VALID: &str = "\
    SELECT n.nspname, coalesce(c.relname, t.typname), k.conname FROM pg_catalog.pg_constraint k \
    LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid LEFT JOIN pg_catalog.pg_type t ON t.oid = k.contypid \
    JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(c.relnamespace, t.typnamespace) \
    WHERE NOT k.convalidated AND k.conislocal AND k.conparentid = 0 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
    WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = k.oid AND d.deptype = 'e') ORDER BY 1, 2, 3";

/// The constraints that the source had not validated, each as schema, table and name.
pub(in crate::drill) fn unvalidated(toc: &Toc) -> BTreeSet<String> {
    let entries = toc.entries.iter().filter(|entry| entry.not_valid);
    entries.map(selection::name).collect()
}

/// Asks.
pub(in crate::drill) async fn ask(
    target: &Source,
    encoding: &str,
    unvalidated: &BTreeSet<String>,
) -> AssertionResult {
    let (passed, found) = match look(target, encoding).await {
        Ok((all, not_valid)) => {
            let new: Vec<&String> = not_valid
                .iter()
                .filter(|name| !unvalidated.contains(*name))
                .collect();
            judge(all, not_valid.len(), &new)
        }
        Err(error) => (false, error.to_string()),
    };
    let expected = match unvalidated.len() {
        0 => "every constraint is valid".to_owned(),
        not_valid => format!("every constraint is valid but the {not_valid} that were not at the source"),
    };
    AssertionResult {
        name: "constraints".to_owned(),
        kind: AssertionKind::Constraints,
        passed,
        expected,
        found,
    }
}

fn judge(all: u64, not_valid: usize, new: &[&String]) -> (bool, String) {
    if new.is_empty() {
        let valid = all.saturating_sub(not_valid as u64);
        return (
            true,
            format!("{valid} of {all} are valid, and the others were not at the source"),
        );
    }
    let names: Vec<&str> = new.iter().take(NAMED).map(|name| name.as_str()).collect();
    (
        false,
        format!("{} of {all} are not valid: {}", new.len(), names.join(", ")),
    )
}

/// How many constraints there are, and which of them nobody has validated.
async fn look(target: &Source, encoding: &str) -> Result<(u64, Vec<String>), SessionError> {
    let mut connection = Connection::open(target).await?;
    let text = TextSettings {
        client_encoding: encoding.to_owned(),
        lc_monetary: "C".to_owned(),
    };
    session::settle(&mut connection, &text).await?;
    let all = connection
        .query("SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint WHERE oid >= 16384")
        .await?;
    let all = all.first().map_or(Ok(0), |row| row.value(0))?;
    let rows = connection.query_within(NOT_VALID, ROOM).await?;
    connection.close().await;
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let name = |row: &crate::postgresql::connection::Row| {
        format!(
            "{}.{} {}",
            text(row.bytes(0)),
            text(row.bytes(1)),
            text(row.bytes(2))
        )
    };
    Ok((all, rows.iter().map(name).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_valid_at_the_source_and_is_not_any_more_is_named() {
        assert!(judge(7, 2, &[]).0);
        let name = "public.person born".to_owned();
        let (passed, found) = judge(7, 2, &[&name]);
        assert!(!passed && found.contains("public.person born"), "{found}");
    }
}

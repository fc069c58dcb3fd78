//! Rows: counted and digested by COPY, table by table.

use std::{fmt::Write as _, pin::pin};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use tokio_postgres::Client;
use xxhash_rust::xxh3::xxh3_128;

use super::{Kind, Truth};

/// A table, by the names that the catalog has (not quoted).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// Schema.
    pub schema: String,
    /// Name in it.
    pub name: String,
}

/// How many rows, and the sum modulo 2¹²⁸ of XXH3-128 of each row's COPY line without its line feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Rows.
    pub count: u64,
    /// The sum.
    pub digest: u128,
}

impl std::fmt::Display for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows, digest {:032x}", self.count, self.digest)
    }
}

struct Table {
    name: TableName,
    identity: String,
    kind: i8,
    /// It or one above it is hashed: a row may fall into another partition after a restore.
    in_hash: bool,
    partition: bool,
    /// The columns that a dump carries.
    columns: Vec<String>,
    /// Those and the generated ones: as the snapshot knows them, which `*` does not.
    with_generated: Vec<String>,
    /// Of a materialized view that is filled.
    query: Option<String>,
}

const TABLES: &str = "
    SELECT n.nspname::text, c.relname::text, c.oid::pg_catalog.regclass::text, c.relkind, c.relispartition,
           EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) a
                     JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.relid AND p.partstrat = 'h'
                    WHERE a.relid <> c.oid),
           ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum),
           ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
           CASE WHEN c.relkind = 'm' AND c.relispopulated THEN pg_catalog.pg_get_viewdef(c.oid) END
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
     ORDER BY 1, 2";

pub(super) async fn find(client: &Client, truth: &mut Truth) -> anyhow::Result<()> {
    let tables: Vec<Table> = client
        .query(TABLES, &[])
        .await
        .context("the tables cannot be listed")?
        .iter()
        .map(|row| Table {
            name: TableName {
                schema: row.get(0),
                name: row.get(1),
            },
            identity: row.get(2),
            kind: row.get(3),
            partition: row.get(4),
            in_hash: row.get(5),
            columns: row.get(6),
            with_generated: row.get(7),
            query: row.get(8),
        })
        .collect();
    // COPY gives the bytes that the database holds, as the dump reads them.
    client
        .batch_execute("SELECT pg_catalog.set_config('client_encoding', pg_catalog.current_setting('server_encoding'), true)")
        .await?;
    for table in tables.iter().filter(|table| table.kind != b'm'.cast_signed()) {
        find_table(client, table, truth).await?;
    }
    client.batch_execute("SET LOCAL client_encoding = 'UTF8'").await?;
    for table in tables.iter().filter(|table| table.kind == b'm'.cast_signed()) {
        find_materialized_view(client, table, truth).await?;
    }
    Ok(())
}

async fn find_table(client: &Client, table: &Table, truth: &mut Truth) -> anyhow::Result<()> {
    let name = format!(
        "{}.{}",
        identifier(&table.name.schema),
        identifier(&table.name.name)
    );
    let columns = list(&table.columns);
    if table.kind == b'p'.cast_signed() {
        if !table.partition {
            let rows = digest(client, &format!("COPY (SELECT {columns} FROM {name}) TO STDOUT")).await?;
            truth.state(Kind::Rows, &table.identity, rows.to_string());
        }
        return Ok(());
    }
    let carried = if columns.is_empty() {
        String::new()
    } else {
        format!("({columns})")
    };
    let rows = digest(client, &format!("COPY {name} {carried} TO STDOUT")).await?;
    truth.tables.insert(table.name.clone(), rows);
    if !table.in_hash {
        truth.state(Kind::Rows, &table.identity, rows.to_string());
    }
    if table.with_generated.len() > table.columns.len() && !table.in_hash {
        let columns = list(&table.with_generated);
        let rows = digest(
            client,
            &format!("COPY (SELECT {columns} FROM ONLY {name}) TO STDOUT"),
        )
        .await?;
        truth.state(Kind::GeneratedRows, &table.identity, rows.to_string());
    }
    Ok(())
}

/// A restore fills materialized views anew, so what counts is what the query answers now; what the view holds
/// may be older at the source, but not in what was just restored.
async fn find_materialized_view(client: &Client, view: &Table, truth: &mut Truth) -> anyhow::Result<()> {
    let Some(query) = view.query.as_deref() else {
        truth.state(Kind::MaterializedView, &view.identity, "not filled");
        return Ok(());
    };
    let fresh = digest(
        client,
        &format!("COPY ({}) TO STDOUT", query.trim_end().trim_end_matches(';')),
    )
    .await?;
    let held = digest(
        client,
        &format!("COPY (SELECT * FROM {}) TO STDOUT", view.identity),
    )
    .await?;
    if fresh != held {
        truth.stale.insert(view.identity.clone());
    }
    truth.state(
        Kind::MaterializedView,
        &view.identity,
        format!("filled; its query answers {fresh}"),
    );
    Ok(())
}

fn list(columns: &[String]) -> String {
    columns
        .iter()
        .map(|column| identifier(column))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A quoted identifier in ASCII alone, so that it can be sent whatever the session's encoding is.
fn identifier(name: &str) -> String {
    let mut quoted = String::from("U&\"");
    for character in name.chars() {
        match character {
            '"' => quoted.push_str("\"\""),
            '\\' => quoted.push_str("\\\\"),
            ascii if ascii.is_ascii() => quoted.push(ascii),
            // A string takes every write.
            other => drop(write!(quoted, "\\+{:06x}", u32::from(other))),
        }
    }
    quoted.push('"');
    quoted
}

async fn digest(client: &Client, copy: &str) -> anyhow::Result<Rows> {
    let failed = || format!("{copy} fails");
    let mut rows = Rows::default();
    let mut stream = pin!(client.copy_out(copy).await.with_context(failed)?);
    // A line may come in pieces.
    let mut begun: Vec<u8> = Vec::new();
    while let Some(slice) = stream.try_next().await.with_context(failed)? {
        let mut lines = slice.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() {
                begun.extend_from_slice(line);
            } else if begun.is_empty() {
                rows.add(line);
            } else {
                begun.extend_from_slice(line);
                rows.add(&begun);
                begun.clear();
            }
        }
    }
    anyhow::ensure!(begun.is_empty(), "{copy} ended in the middle of a line");
    Ok(rows)
}

impl Rows {
    fn add(&mut self, line: &[u8]) {
        self.count += 1;
        self.digest = self.digest.wrapping_add(xxh3_128(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_written_in_ascii() {
        assert_eq!(identifier("ÖÖ \"\\\n"), "U&\"\\+0000d6\\+0000d6 \"\"\\\\\n\"");
    }

    #[test]
    fn the_digest_does_not_know_the_order_of_rows_but_their_number() {
        let of = |lines: &[&str]| {
            let mut rows = Rows::default();
            for line in lines {
                rows.add(line.as_bytes());
            }
            rows
        };
        assert_eq!(of(&["1\ta", "2\tb"]), of(&["2\tb", "1\ta"]));
        assert_ne!(of(&["1\ta", "2\tb"]), of(&["1\tb", "2\ta"]));
        assert_ne!(of(&["", ""]), of(&[""]));
    }
}

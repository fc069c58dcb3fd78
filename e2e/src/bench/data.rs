//! What is copied: data that compresses as a registry's does, or not at all, in tables that are large, or many.

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

use crate::registries::tpch;

/// Each transaction makes so many tables: the locks of more do not fit a server's own settings.
const TABLES_AT_ONCE: u32 = 1_000;
/// Of incompressible bytes and of documents.
const ROWS: u32 = 100_000;

/// A database's content.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    /// TPC-H's eight tables, of so many gigabytes of text.
    Tpch(f64),
    /// The largest of them alone, of so many gigabytes on the server's disk.
    OneTable(f64),
    /// So many thousand tables of a hundred short rows each.
    Tables(u32),
    /// Half a gigabyte that nothing makes smaller, as scans and photographs are.
    Incompressible,
    /// Half a gigabyte of JSON in values so large that the server keeps them beside the table, compressed by itself.
    Documents,
}

impl Data {
    pub(super) fn name(self) -> String {
        match self {
            Self::Tpch(gigabytes) => format!("{gigabytes} GB"),
            Self::OneTable(gigabytes) => format!("one table of {gigabytes} GB"),
            Self::Tables(thousands) => format!("{thousands},000 small tables"),
            Self::Incompressible => "0.5 GB that cannot be compressed".to_owned(),
            Self::Documents => "0.5 GB of JSON".to_owned(),
        }
    }

    /// Fills an empty database.
    pub(super) async fn load(self, client: &Client) -> Result<()> {
        let made = match self {
            Self::Tpch(scale) => return tpch::load(client, scale).await,
            Self::OneTable(gigabytes) => return tpch::load_largest(client, gigabytes / tpch::LARGEST).await,
            Self::Tables(thousands) => (0..thousands).map(tables).collect(),
            Self::Incompressible => vec![scans()],
            Self::Documents => vec![files()],
        };
        for statements in made {
            let making = client.batch_execute(&statements).await;
            making.with_context(|| format!("{} cannot be made", self.name()))?;
        }
        tpch::rest(client).await
    }
}

/// A thousand small tables.
fn tables(part: u32) -> String {
    format!(
        "DO $$ BEGIN FOR i IN 1..{TABLES_AT_ONCE} LOOP
             EXECUTE format('CREATE TABLE t_{part}_%s AS SELECT n, md5(n::text) AS what FROM generate_series(1, 100) n', i);
         END LOOP; END $$"
    )
}

/// 5 KB a row, which the server makes of digests of numbers.
fn scans() -> String {
    let scan =
        "SELECT string_agg(sha512((n || ' ' || part)::bytea), ''::bytea) FROM generate_series(1, 80) part";
    format!(
        "CREATE TABLE scan (n integer, scan bytea STORAGE EXTERNAL);
         INSERT INTO scan SELECT n, ({scan}) FROM generate_series(1, {ROWS}) n"
    )
}

fn files() -> String {
    let entry = "jsonb_build_object('at', timestamptz '2020-01-01Z' + part * interval '37 minutes', 'by', md5(part::text), \
                 'what', 'entry ' || n * part, 'amount', n * part % 9973)";
    let file = format!("SELECT jsonb_agg({entry}) FROM generate_series(1, 80) part");
    format!("CREATE TABLE file AS SELECT n, ({file}) AS file FROM generate_series(1, {ROWS} / 2) n")
}

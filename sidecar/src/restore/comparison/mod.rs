//! Counting in the target what was loaded: a large table as soon as it is whole, beside others that are still being loaded, and the rest
//! at the end, several at a time.
//!
//! It is done before policies exist: an owner who is subject to row security could not count any more. Two things make a table hold more
//! than was loaded into it, and are taken into account: `CREATE EXTENSION` fills configuration tables, and of a partitioned table some
//! partitions may have been loaded through their root and others directly.

mod early;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use bytes::Bytes;
use dataembassy_archive::FileName;
use tokio::task::JoinSet;

use super::load::{LoadError, Loaded, Sessions, TableLoad, open_session};
use crate::postgresql::{Connection, ConnectionError};
pub use early::EarlyCount;

/// Why the target does not hold what was loaded.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    /// A session cannot be made.
    #[error(transparent)]
    Session(#[from] LoadError),
    /// The server did not count.
    #[error("the target cannot be compared with the copy: {0}")]
    Connection(#[from] ConnectionError),
    /// A table has other rows.
    #[error("{table} has {found} rows in the target, {loaded} were loaded: something deletes or adds rows")]
    OtherRows {
        /// The table.
        table: String,
        /// Rows in the target.
        found: u64,
        /// Rows loaded.
        loaded: u64,
    },
    /// There are other large objects.
    #[error("the target has {found} large objects, {loaded} were loaded")]
    OtherObjects {
        /// Objects in the target.
        found: u64,
        /// Objects loaded.
        loaded: u64,
    },
    /// A task of ours ended without a word.
    #[error("the comparison was interrupted")]
    Interrupted,
}

/// What is counted: partitions that were loaded through their root count as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relation {
    into: Bytes,
    through_root: bool,
}

/// Rows that were there before any were loaded, by table: those of extensions.
#[derive(Clone, Debug, Default)]
pub struct Before(HashMap<u32, u64>);

impl Before {
    /// Counts the rows of extensions' configuration tables.
    pub async fn count(connection: &mut Connection) -> Result<Self, ComparisonError> {
        let tables = connection
            .query(
                "SELECT c.oid, c.oid::pg_catalog.regclass FROM pg_catalog.pg_extension e, pg_catalog.unnest(e.extconfig) AS t (oid) \
                 JOIN pg_catalog.pg_class c ON c.oid = t.oid AND c.relkind = 'r'",
            )
            .await?;
        let mut rows = HashMap::new();
        for table in &tables {
            let query = format!("SELECT pg_catalog.count(*) FROM ONLY {}", table.text(1)?);
            rows.insert(table.value(0)?, single(connection, query.as_bytes()).await?);
        }
        Ok(Self(rows))
    }
}

/// Relations and the rows that were loaded into them.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    rows: BTreeMap<Relation, u64>,
    before: Before,
}

impl Expected {
    /// Which relation each table's rows went into.
    #[must_use]
    pub fn relations(tables: &BTreeMap<FileName, TableLoad>) -> BTreeMap<String, Relation> {
        let relation = |table: &TableLoad| Relation {
            into: table.into.clone(),
            through_root: table.through_root,
        };
        tables
            .values()
            .map(|table| (table.name.clone(), relation(table)))
            .collect()
    }

    /// How many rows went into each relation.
    #[must_use]
    pub fn new(relations: &BTreeMap<String, Relation>, loaded: &Loaded, before: Before) -> Self {
        let mut rows: BTreeMap<Relation, u64> = BTreeMap::new();
        for table in &loaded.tables {
            if let Some(relation) = relations.get(&table.name) {
                *rows.entry(relation.clone()).or_default() += table.rows;
            }
        }
        Self { rows, before }
    }

    /// Counts each relation that was not counted `early`, several at a time.
    pub async fn compare(self, sessions: &Sessions, early: EarlyCount) -> Result<(), ComparisonError> {
        let mut counted = early.counted().await?;
        let mut left = self.rows;
        for one in &counted {
            left.remove(&one.relation);
        }
        let mut left: Vec<(Relation, u64)> = left.into_iter().collect();
        // The largest first, so that nobody is left alone with one at the end.
        left.sort_by_key(|(_, loaded)| Reverse(*loaded));
        let mut shares: Vec<Vec<(Relation, u64)>> = vec![Vec::new(); sessions.jobs.max(1)];
        for (place, relation) in left.into_iter().enumerate() {
            let share = place % shares.len();
            shares[share].push(relation);
        }
        let mut counting = JoinSet::new();
        for share in shares.into_iter().filter(|share| !share.is_empty()) {
            let sessions = sessions.clone();
            counting.spawn(async move {
                let mut connection = open_session(&sessions).await?;
                let mut counted = Vec::with_capacity(share.len());
                for (relation, loaded) in share {
                    counted.push(Counted::of(&mut connection, relation, loaded).await?);
                }
                connection.close().await;
                Ok::<_, ComparisonError>(counted)
            });
        }
        while let Some(ended) = counting.join_next().await {
            counted.extend(ended.map_err(|_| ComparisonError::Interrupted)??);
        }
        judge(&counted, &self.before)
    }
}

/// A relation as it was found.
#[derive(Debug)]
struct Counted {
    relation: Relation,
    loaded: u64,
    found: u64,
    /// Its identity, and its root's if it is a partition; 0 where there are no rows to tell it by.
    table: u32,
    root: u32,
}

impl Counted {
    async fn of(
        connection: &mut Connection,
        relation: Relation,
        loaded: u64,
    ) -> Result<Self, ConnectionError> {
        let only: &[u8] = if relation.through_root { b"" } else { b"ONLY " };
        let from = [b" FROM ", only, &relation.into].concat();
        // One row tells whose they are: asking each would cost as much as counting.
        let query = [
            b"SELECT c.rows, coalesce(t.tableoid, 0), \
              coalesce(pg_catalog.pg_partition_root(t.tableoid::pg_catalog.regclass), 0)::pg_catalog.oid \
              FROM (SELECT pg_catalog.count(*) AS rows",
            from.as_slice(),
            b") AS c LEFT JOIN (SELECT tableoid",
            &from,
            b" LIMIT 1) AS t ON true",
        ]
        .concat();
        let rows = connection.query(&query).await?;
        let row = rows.first().ok_or_else(no_row)?;
        Ok(Self {
            relation,
            loaded,
            found: row.value(0)?,
            table: row.value(1)?,
            root: row.value(2)?,
        })
    }
}

fn judge(counted: &[Counted], before: &Before) -> Result<(), ComparisonError> {
    // What went directly into a partition is found in its root as well.
    let mut directly: HashMap<u32, u64> = HashMap::new();
    let partitions = counted
        .iter()
        .filter(|one| !one.relation.through_root && one.root != 0);
    for one in partitions {
        *directly.entry(one.root).or_default() += one.loaded;
    }
    for one in counted {
        let besides = if one.relation.through_root {
            directly.get(&one.root)
        } else {
            before.0.get(&one.table)
        };
        if one.found != one.loaded + besides.copied().unwrap_or_default() {
            return Err(ComparisonError::OtherRows {
                table: String::from_utf8_lossy(&one.relation.into).into_owned(),
                found: one.found,
                loaded: one.loaded,
            });
        }
    }
    Ok(())
}

/// Compares the number of large objects.
pub async fn compare_objects(connection: &mut Connection, loaded: u64) -> Result<(), ComparisonError> {
    let query = b"SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata";
    let found = single(connection, query).await?;
    if found == loaded {
        Ok(())
    } else {
        Err(ComparisonError::OtherObjects { found, loaded })
    }
}

async fn single(connection: &mut Connection, query: &[u8]) -> Result<u64, ConnectionError> {
    let rows = connection.query(query).await?;
    rows.first().ok_or_else(no_row)?.value(0)
}

fn no_row() -> ConnectionError {
    ConnectionError::Protocol("a count without a row".into())
}

//! Counting in the target what was loaded.
//!
//! It is done before policies exist: an owner who is subject to row security could not count any more.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use dataembassy_archive::FileName;
use tokio::task::JoinSet;

use super::load::{LoadError, Loaded, Sessions, TableLoad, open_session};
use crate::postgresql::{Connection, ConnectionError};

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

/// Relations and the rows that were loaded into them.
#[derive(Clone, Debug, Default)]
pub struct Expected(BTreeMap<Relation, u64>);

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
    pub fn new(relations: &BTreeMap<String, Relation>, loaded: &Loaded) -> Self {
        let mut expected: BTreeMap<Relation, u64> = BTreeMap::new();
        for table in &loaded.tables {
            if let Some(relation) = relations.get(&table.name) {
                *expected.entry(relation.clone()).or_default() += table.rows;
            }
        }
        Self(expected)
    }

    /// Counts each relation, several at a time.
    pub async fn compare(self, sessions: &Sessions) -> Result<(), ComparisonError> {
        let mut shares: Vec<Vec<(Relation, u64)>> = vec![Vec::new(); sessions.jobs.max(1)];
        for (place, counted) in self.0.into_iter().enumerate() {
            let share = place % shares.len();
            shares[share].push(counted);
        }
        let mut counting = JoinSet::new();
        for share in shares.into_iter().filter(|share| !share.is_empty()) {
            let sessions = sessions.clone();
            counting.spawn(async move {
                let mut connection = open_session(&sessions).await?;
                for (relation, loaded) in share {
                    let found = count(&mut connection, &relation).await?;
                    if found != loaded {
                        let table = String::from_utf8_lossy(&relation.into).into_owned();
                        return Err(ComparisonError::OtherRows { table, found, loaded });
                    }
                }
                connection.close().await;
                Ok(())
            });
        }
        while let Some(ended) = counting.join_next().await {
            ended.map_err(|_| ComparisonError::Interrupted)??;
        }
        Ok(())
    }
}

async fn count(connection: &mut Connection, relation: &Relation) -> Result<u64, ConnectionError> {
    let mut query = BytesMut::from("SELECT pg_catalog.count(*) FROM ");
    if !relation.through_root {
        query.put_slice(b"ONLY ");
    }
    query.put_slice(&relation.into);
    single(connection, &query).await
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
    let row = rows.first();
    row.ok_or_else(|| ConnectionError::Protocol("a count without a row".into()))?
        .value(0)
}

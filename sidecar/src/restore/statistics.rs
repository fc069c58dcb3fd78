//! The planner's statistics: what `ANALYZE` without a list would gather, in several sessions.

use tokio::task::JoinSet;

use super::{RestoreError, restoration::open};
use crate::postgresql::{Connection, Source};

/// Tables in one statement: each is a transaction of its own all the same.
const AT_ONCE: usize = 100;
/// What all names together may weigh.
const NAMES: usize = 64 * 1024 * 1024;
/// Everything that `ANALYZE` takes where it is given no list, the largest first; partitions come with their root. It passes over those of
/// others with a warning.
const TABLES: &str = "SELECT c.oid::pg_catalog.regclass FROM pg_catalog.pg_class c \
    WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition \
    ORDER BY CASE c.relkind WHEN 'p' \
        THEN (SELECT pg_catalog.sum(pg_catalog.pg_relation_size(t.relid)) FROM pg_catalog.pg_partition_tree(c.oid) AS t) \
        ELSE pg_catalog.pg_relation_size(c.oid) END DESC NULLS LAST, c.oid";

/// Gathers them in `jobs` sessions.
pub(super) async fn gather(
    connection: &mut Connection,
    target: &Source,
    jobs: usize,
) -> Result<(), RestoreError> {
    let tables = connection.query_within(TABLES, NAMES).await?;
    let mut shares: Vec<Vec<Vec<u8>>> = vec![Vec::new(); jobs.max(1)];
    for (place, table) in tables.iter().enumerate() {
        let share = place % shares.len();
        // Names as the server writes them, in whatever encoding: they go back to it as they are.
        shares[share].extend(table.bytes(0).map(<[u8]>::to_vec));
    }
    let mut gathering = JoinSet::new();
    for share in shares.into_iter().filter(|share| !share.is_empty()) {
        let target = target.clone();
        gathering.spawn(async move {
            let mut connection = open(&target).await?;
            for tables in share.chunks(AT_ONCE) {
                let statement = [b"ANALYZE ".as_slice(), &tables.join(b", ".as_slice())].concat();
                connection.execute(statement).await?;
            }
            connection.close().await;
            Ok::<_, RestoreError>(())
        });
    }
    while let Some(ended) = gathering.join_next().await {
        ended.map_err(|_| RestoreError::Interrupted)??;
    }
    Ok(())
}

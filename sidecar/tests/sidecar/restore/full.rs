//! A target whose disk is full in the middle of a restore: PostgreSQL tells nobody beforehand how much room it has.

use dataembassy_contract::{Reason, restore::IfNotEmpty};
use dataembassy_sidecar::restore::RestoreError;
use dataembassy_testkit::postgresql::{Database, Server};

use crate::sealed::{MemoryCopy, options, restore_into, seal, target_with};
use crate::support::source;

/// Room for an empty database, which takes 8 MiB, and for some rows.
const VOLUME_MIB: u32 = 64;

/// A database on a small volume, on a server of its own: with one disk that is full it disturbs everybody.
async fn small_target() -> Database {
    let server = Server::lasting(17).unwrap();
    let volume = server.small_tablespace(VOLUME_MIB).await.unwrap();
    target_with(server, &format!("TEMPLATE template0 TABLESPACE {volume}")).await
}

/// `count` rows of about a kilobyte, which no server compresses.
async fn copy_of(count: u32, rest: &str) -> MemoryCopy {
    let database = Server::shared(17).database().await.unwrap();
    let statements = format!(
        "CREATE TABLE t AS SELECT n, (SELECT string_agg(md5(n || ' ' || m), '') FROM generate_series(1, 30) AS m) AS words
             FROM generate_series(1, {count}) AS n; {rest}"
    );
    database.execute(&statements).await.unwrap();
    seal(&source(database.server, &database.name)).await
}

async fn fails_for_lack_of_room(target: &Database, copy: MemoryCopy) -> (u64, u64) {
    let error = restore_into(target, copy, &options()).await.unwrap_err();
    let words = error.to_string();
    assert_eq!(error.reason(), Reason::TargetFull, "{words}");
    assert!(
        words.contains("give its volume room") && words.contains("No space left on device"),
        "{words}"
    );
    let mark =
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()";
    let mark = target.value(mark).await.unwrap();
    assert!(mark.contains("UNFINISHED RESTORE, do not use"), "{mark}");
    match error {
        RestoreError::TargetFull { bytes, sent, .. } => (bytes, sent),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_a_restore_with_what_to_do_and_a_mark_that_the_next_one_takes_away() {
    let target = small_target().await;
    // More rows than there is room for.
    let copy = copy_of(70_000, "").await;
    let (bytes, sent) = fails_for_lack_of_room(&target, copy).await;
    assert!(bytes > 67_000_000 && sent <= bytes, "{sent} of {bytes}");

    let mut replacing = options();
    replacing.if_not_empty = IfNotEmpty::Replace;
    let copy = copy_of(100, "").await;
    restore_into(&target, copy, &replacing).await.unwrap();
    assert_eq!(target.value("SELECT count(*) FROM t").await.unwrap(), "100");
    let mark = "SELECT shobj_description(oid, 'pg_database') IS NULL FROM pg_database WHERE datname = current_database()";
    assert_eq!(target.value(mark).await.unwrap(), "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_of_rows_before_there_are_indexes_says_so_too() {
    let target = small_target().await;
    let copy = copy_of(
        20_000,
        "CREATE INDEX ON t (words); CREATE INDEX ON t (words, n); CREATE INDEX ON t (n, words)",
    )
    .await;
    let (bytes, sent) = fails_for_lack_of_room(&target, copy).await;
    assert_eq!(bytes, sent, "all rows had arrived");
}

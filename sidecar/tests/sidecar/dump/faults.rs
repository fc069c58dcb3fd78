//! Faults of the source's own: what is damaged on its disk, and rows that do not arrive.

use std::{fs::OpenOptions, os::unix::fs::FileExt};

use crate::support::{MAJORS, network, plain_copy, source, take, take_with};
use dataembassy_sidecar::postgresql::{dump::DumpError, source::Source};
use dataembassy_testkit::postgresql::{Database, Relay, Server};

/// A copy of a database of which nothing is in the server's memory yet, with some bytes at the beginning of the file of
/// one relation replaced.
async fn damaged(original: &Database, relation: &str, bytes: &[u8]) -> Database {
    let server = original.server;
    let copy = server
        .database_with(&format!("TEMPLATE {} STRATEGY file_copy", original.name))
        .await
        .unwrap();
    let path = copy
        .value(&format!("SELECT pg_relation_filepath('{relation}')"))
        .await
        .unwrap();
    let path = server.socket_directory().join("data").join(path);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_of_a_table_is_the_sources_fault_and_named() {
    for major in MAJORS {
        let database = Server::shared(major).database().await.unwrap();
        database
            .execute("CREATE TABLE sound AS SELECT 1 AS a; CREATE TABLE \"Damaged\" AS SELECT generate_series(1, 5000) AS a")
            .await
            .unwrap();
        let damaged = damaged(&database, "\"Damaged\"", &[0xab; 24]).await;
        let error = take(&source(damaged.server, &damaged.name))
            .await
            .map(|_| ())
            .unwrap_err();
        match &error {
            DumpError::SourceCorrupt { table, error } => {
                assert_eq!(table, "public.Damaged");
                assert!(error.is("XX001"), "{error}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(error.reason().as_str(), "SourceCorrupt");
        assert!(error.is_permanent());
        assert!(take(&source(database.server, &database.name)).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_of_the_large_objects_is_the_sources_fault() {
    let database = Server::shared(17).database().await.unwrap();
    database
        .execute("SELECT lo_from_bytea(4711, 'large')")
        .await
        .unwrap();
    let damaged = damaged(&database, "pg_catalog.pg_largeobject_loid_pn_index", &[0; 8192]).await;
    let error = take(&source(damaged.server, &damaged.name))
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(&error, DumpError::SourceCorrupt { error, .. } if error.is("XX002")),
        "{error}"
    );
    assert_eq!(error.reason().as_str(), "SourceCorrupt");
}

/// A source whose COPY gives no row, and says so: nothing in the protocol tells it from an empty table's.
async fn without_rows(server: &Server, database: &str) -> (Source, Relay) {
    let relay = Relay::start(server, server.certificate(), |tag, body| match tag {
        b'd' => None,
        b'C' if body.starts_with(b"COPY ") => Some(b"COPY 0\0".to_vec()),
        _ => Some(body),
    })
    .await
    .unwrap();
    let mut source = source(server, database);
    network(&mut source).port = relay.port();
    (source, relay)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_pages_and_no_rows_is_asked_once_more_whether_it_is_empty() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute("CREATE TABLE t AS SELECT n AS a, repeat('x', 500) AS b FROM generate_series(1, 5000) n")
            .await
            .unwrap();
        let (lossy, _relay) = without_rows(server, &database.name).await;
        // In one piece, and in ranges.
        for range_bytes in [1 << 40, 256 * 1024] {
            let error = take_with(&lossy, |options| options.range_bytes = range_bytes)
                .await
                .map(|_| ())
                .unwrap_err();
            assert!(
                matches!(&error, DumpError::Inconsistent(what) if what.contains("public.t gave no row")),
                "{error}"
            );
            assert_eq!(error.reason().as_str(), "DumpInconsistent");
        }

        // Where all rows are gone indeed, the pages stay until they are vacuumed, and the answer agrees.
        database.execute("DELETE FROM t").await.unwrap();
        let taken = take(&source(server, &database.name)).await.unwrap();
        assert_eq!(taken.tables()["public.t"].rows, 0);
        assert_eq!(taken.rows("public.t"), plain_copy(&database, "SELECT * FROM t"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_arrive_are_missed_by_the_servers_own_count() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
            .await
            .unwrap();
        let lose_one = |tag, body: Vec<u8>| (tag != b'd' || body != b"500\n").then_some(body);
        let relay = Relay::start(server, server.certificate(), lose_one)
            .await
            .unwrap();
        let mut source = source(server, &database.name);
        network(&mut source).port = relay.port();
        let error = take(&source).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(&error, DumpError::Inconsistent(what) if what.contains("sent 1000 rows of public.t and 999 arrived")),
            "{error}"
        );
    }
}

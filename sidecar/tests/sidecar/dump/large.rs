//! The dump at sizes where a careless one breaks: many tables, many large objects, one enormous value.

use std::{collections::BTreeMap, time::Duration};

use crate::support::{Standing, look_through, source, take};
use dataembassy_archive::inventory::Line;
use dataembassy_sidecar::postgresql::dump::DumpError;
use dataembassy_testkit::postgresql::Server;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: making and planning 10,000 tables takes about a minute of two cores"]
async fn ten_thousand_tables_are_dumped_with_the_servers_default_lock_settings() {
    let server = Server::shared(17);
    assert_eq!(
        server
            .client("postgres")
            .await
            .unwrap()
            .query_one("SHOW max_locks_per_transaction", &[])
            .await
            .unwrap()
            .get::<_, String>(0),
        "64"
    );
    let database = server.database().await.unwrap();
    // In several transactions: making them takes locks too.
    for part in 0..10 {
        database
            .execute(&format!(
                "DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE TABLE t_{part}_%s AS SELECT %s AS a', i, i); END LOOP; END $$"
            ))
            .await
            .unwrap();
    }
    let taken = take(&source(server, &database.name)).await.unwrap();
    let tables = taken.tables();
    assert_eq!(tables.len(), 10_000);
    assert!(tables.values().all(|table| table.rows == 1));
    assert_eq!(taken.rows("public.t_9_1000"), b"1000\n");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: pg_dump makes a file for each of 200,000 large objects, which takes minutes on a busy machine"]
async fn two_hundred_thousand_large_objects_and_a_sparse_one_are_read_by_a_role_that_owns_none() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute(
            "SELECT count(lo_from_bytea(n + 100000, convert_to('object ' || n, 'UTF8'))) FROM generate_series(1, 200000) n;
             SELECT lo_from_bytea(99999, 'begin'); SELECT lo_put(99999, 50000000, 'end'); SELECT lo_create(99998)",
        )
        .await
        .unwrap();
    let (mut objects, mut kept) = (0, BTreeMap::<String, Vec<u8>>::new());
    let dumped = look_through(&source(server, &database.name), |member| {
        let file = member.name.file().as_str();
        let first = member.name.place().is_none_or(|(_, chunk)| chunk == 0);
        objects += u32::from(file.starts_with("blob_") && first);
        if ["blob_300000.dat", "blob_99998.dat", "blob_99999.dat"].contains(&file) {
            kept.entry(file.to_owned())
                .or_default()
                .extend_from_slice(&member.body);
        }
    })
    .await
    .unwrap();
    assert_eq!(objects, 200_002);
    let told = dumped.lines.iter().find_map(|line| match line {
        Line::LargeObjects(objects) => Some(objects.objects),
        _ => None,
    });
    assert_eq!(told, Some(200_002));
    assert_eq!(kept["blob_300000.dat"], b"object 200000");
    assert_eq!(kept["blob_99998.dat"], b"");
    let sparse = &kept["blob_99999.dat"];
    assert_eq!(sparse.len(), 50_000_003);
    assert!(sparse.starts_with(b"begin\0") && sparse.ends_with(b"\0end"));
    assert!(sparse[5..50_000_000].iter().all(|byte| *byte == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_no_dump_can_carry_is_named_by_table_and_column() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute(
            "CREATE TABLE \"Scans\" (id int, note text, \"Image\" bytea);
             INSERT INTO \"Scans\" SELECT n, 'fits', 'small' FROM generate_series(1, 100) n;
             INSERT INTO \"Scans\" VALUES (101, 'does not', convert_to(repeat('x', 600000000), 'UTF8'))",
        )
        .await
        .unwrap();
    let error = take(&source(server, &database.name))
        .await
        .map(|_| ())
        .unwrap_err();
    match &error {
        DumpError::ValueTooLarge { table, column, .. } => {
            assert_eq!(
                (table.as_str(), column.as_deref()),
                ("public.Scans", Some("Image"))
            );
        }
        other => panic!("{other}"),
    }
    assert_eq!(error.reason().as_str(), "ValueTooLarge");
    assert!(error.is_permanent());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabyte_value_passes_in_small_members() {
    let server = Server::shared(15);
    let database = server.database().await.unwrap();
    database
        .execute("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'before'), (2, repeat('x', 100000000)), (3, 'after')")
        .await
        .unwrap();
    let taken = take(&source(server, &database.name)).await.unwrap();
    assert!(taken.members.iter().all(|(_, size)| *size <= 1024 * 1024));
    let text = taken.rows("public.t");
    assert_eq!(text.len(), "1\tbefore\n2\t\n3\tafter\n".len() + 100_000_000);
    assert!(text.starts_with(b"1\tbefore\n2\txxx") && text.ends_with(b"xxx\n3\tafter\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_may_wait_for_minutes_until_a_narrow_line_takes_them() {
    let database = Server::shared(17).database().await.unwrap();
    // One that is being sent, more than sockets hold; and one that has been sent, and waits for its turn among the members.
    database
        .execute(
            "CREATE TABLE large AS SELECT n, repeat('x', 100) AS rest FROM generate_series(1, 300000) n;
             CREATE TABLE small AS SELECT generate_series(1, 5) AS a",
        )
        .await
        .unwrap();
    let standing = Standing::begin(&source(database.server, &database.name), |_| {}).await;
    // Above the two minutes after which a peer that takes nothing counts as gone.
    tokio::time::sleep(Duration::from_secs(150)).await;
    let taken = standing.go_on().await.unwrap();
    assert_eq!(taken.tables()["public.large"].rows, 300_000);
    assert_eq!(taken.tables()["public.small"].rows, 5);
}

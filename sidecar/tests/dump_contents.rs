//! What a dump holds: everything, byte for byte what PostgreSQL's own tools would have read.

mod support;

use dataembassy_testkit::postgresql::Server;
use support::{MAJORS, schema, source, take};

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_dump_restores_with_stock_pg_restore_to_an_equal_database() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute(
                "CREATE SCHEMA \"DATA\";
                 CREATE TYPE mood AS ENUM ('sad', 'ok');
                 CREATE TABLE \"DATA\".x (id serial PRIMARY KEY, name text, feeling mood, at timestamptz DEFAULT now());
                 INSERT INTO \"DATA\".x (name, feeling) SELECT E'row\\t\\\\.\\n' || n, 'ok' FROM generate_series(1, 500) n;
                 CREATE TABLE empty (a int);
                 CREATE TABLE nothing ();
                 INSERT INTO nothing DEFAULT VALUES;
                 CREATE TABLE \"odd \"\"name\"\"\nwith (lines)\" (\"a) TO stdout;\" int, \"é\" int GENERATED ALWAYS AS (1) STORED);
                 INSERT INTO \"odd \"\"name\"\"\nwith (lines)\" VALUES (7);
                 CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent);
                 INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3);
                 CREATE TABLE region (id int, feeling mood) PARTITION BY HASH (feeling);
                 CREATE TABLE region_0 PARTITION OF region FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE region_1 PARTITION OF region FOR VALUES WITH (MODULUS 2, REMAINDER 1);
                 INSERT INTO region VALUES (1, 'sad'), (2, 'ok'), (3, NULL);
                 CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM parent;
                 SELECT lo_from_bytea(4711, 'small');
                 SELECT lo_create(4712);
                 SELECT lo_from_bytea(4713, decode(repeat('ab', 3000000), 'hex'));
                 SELECT lo_put(4713, 5000000, 'behind a hole');
                 COMMENT ON LARGE OBJECT 4712 IS 'empty'",
            )
            .await
            .unwrap();
        let taken = take(&source(server, &database.name)).await.unwrap();
        assert_eq!(taken.dumped.warnings, Vec::<String>::new());
        let target = server.database().await.unwrap();
        taken.restore_into(&target);

        assert_eq!(schema(&target), schema(&database));
        for (table, query) in [
            ("DATA.x", "SELECT * FROM \"DATA\".x"),
            ("public.parent", "SELECT * FROM ONLY parent"),
            ("public.child", "SELECT * FROM child"),
            ("public.nothing", "SELECT * FROM nothing"),
        ] {
            let theirs = support::plain_copy(&database, query);
            assert_eq!(taken.rows(table), theirs, "{table}");
            assert_eq!(support::plain_copy(&target, query), theirs, "{table}");
            let rows = theirs.split(|byte| *byte == b'\n').count() - 1;
            assert_eq!(taken.tables()[table].rows, rows as u64, "{table}");
        }
        // The partition a row hashes to depends on the enum's OIDs, so these rows find theirs through the root.
        assert_eq!(
            taken.rows("public.region_0"),
            support::plain_copy(&database, "SELECT * FROM region_0")
        );
        let region = &taken.tables()["public.region_0"];
        assert!(
            region.copy_statement.starts_with(b"COPY public.region ("),
            "{:?}",
            region.copy_statement
        );
        assert_eq!(target.value("SELECT count(*) FROM region").await.unwrap(), "3");

        let objects = "SELECT string_agg(format('%s %s %s', oid, length(lo_get(oid)), md5(lo_get(oid))), ',' ORDER BY oid) \
                       FROM pg_largeobject_metadata";
        assert_eq!(
            target.value(objects).await.unwrap(),
            database.value(objects).await.unwrap()
        );
    }
}

//! What a dump holds: everything, byte for byte what PostgreSQL's own tools would have read.

use std::{collections::BTreeSet, fs, process::Command};

use crate::support;
use crate::support::{MAJORS, plain_copy, schema, source, take, take_with};
use dataembassy_archive::inventory::{Line, LocaleProvider};
use dataembassy_sidecar::postgresql::{dump::DumpError, toc::Toc};
use dataembassy_testkit::postgresql::{DUMP_ROLE, Server, programs};

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
            let theirs = plain_copy(&database, query);
            assert_eq!(taken.rows(table), theirs, "{table}");
            assert_eq!(plain_copy(&target, query), theirs, "{table}");
            let rows = theirs.split(|byte| *byte == b'\n').count() - 1;
            assert_eq!(taken.tables()[table].rows, rows as u64, "{table}");
        }
        // The partition a row hashes to depends on the enum's OIDs, so these rows find theirs through the root.
        assert_eq!(
            taken.rows("public.region_0"),
            plain_copy(&database, "SELECT * FROM region_0")
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

#[tokio::test(flavor = "multi_thread")]
async fn an_unchunked_tables_text_is_the_file_that_pg_dump_writes_itself() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute(
                "CREATE TABLE small AS SELECT n, now() + n * interval '1 day' AS at, sqrt(n) AS root, decode(md5(n::text), 'hex') AS bytes,
                 array[n::text, NULL, E'a\\\\b\\n'] AS list FROM generate_series(1, 3000) n;
                 CREATE TABLE large AS SELECT n, repeat('x', n % 4000) AS b FROM generate_series(1, 3000) n;
                 INSERT INTO large VALUES (0, repeat('y', 3000000));
                 CREATE TABLE empty (a int)",
            )
            .await
            .unwrap();
        let taken = take_with(&source(server, &database.name), |options| {
            options.range_bytes = 1 << 40;
        })
        .await
        .unwrap();
        let theirs = tempfile::tempdir().unwrap();
        let plan = theirs.path().join("theirs");
        let output = Command::new(programs().unwrap().join(major.to_string()).join("bin/pg_dump"))
            .args([
                "--format=directory",
                "--compress=0",
                "--file",
                plan.to_str().unwrap(),
                "--host",
            ])
            .arg(server.socket_directory())
            .args([
                "--port",
                &server.port().to_string(),
                "--username",
                DUMP_ROLE,
                "--dbname",
                &database.name,
            ])
            .env("PGTZ", "UTC")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let toc = Toc::read(fs::File::open(plan.join("toc.dat")).unwrap()).unwrap();
        let mut compared = BTreeSet::new();
        for entry in toc
            .entries
            .iter()
            .filter(|entry| entry.description == "TABLE DATA")
        {
            let name = format!("public.{}", String::from_utf8_lossy(&entry.tag));
            let ours = &taken.tables()[&name];
            assert_eq!(Some(&ours.copy_statement), entry.copy_statement.as_ref());
            let theirs = fs::read(plan.join(entry.file.as_ref().unwrap())).unwrap();
            assert!(taken.file(ours.file.as_str()) == theirs, "{name} differs");
            compared.insert(name);
        }
        assert_eq!(compared.len(), 3);
        // What fits one member is one; what does not is in parts with an end of its own.
        assert!(taken.tables()["public.empty"].ranges.is_empty());
        assert_eq!(taken.tables()["public.large"].ranges.len(), 1);
        let end = format!("parts/{}/999999.99999999", taken.tables()["public.large"].file);
        assert_eq!(taken.members.iter().filter(|(name, _)| *name == end).count(), 1);
        assert!(taken.members.iter().all(|(_, size)| *size <= 1024 * 1024));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_joined_in_their_order_are_a_plain_copy() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        // Holes, out-of-line values and rows moved to the table's end: ranges go by pages, not by values.
        database
            .execute(
                "CREATE TABLE t (a int, \"B\" text, gone int, c int GENERATED ALWAYS AS (a * 2) STORED);
                 ALTER TABLE t DROP gone;
                 INSERT INTO t SELECT n, repeat(md5(n::text), n % 20) FROM generate_series(1, 40000) n;
                 INSERT INTO t SELECT n, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 3000) WHERE n > 0)
                 FROM generate_series(1, 20) n;
                 DELETE FROM t WHERE a % 7 = 0; UPDATE t SET a = a + 100000 WHERE a % 11 = 0;
                 CREATE TABLE heir (d int) INHERITS (t); INSERT INTO heir (a, d) VALUES (1, 2)",
            )
            .await
            .unwrap();
        let taken = take_with(&source(server, &database.name), |options| {
            options.range_bytes = 1024 * 1024;
        })
        .await
        .unwrap();
        let table = &taken.tables()["public.t"];
        assert!(table.ranges.len() > 5, "{} ranges", table.ranges.len());
        let theirs = plain_copy(&database, "SELECT a, \"B\" FROM ONLY t");
        assert!(
            taken.rows("public.t") == theirs,
            "the ranges differ from a plain COPY"
        );
        assert_eq!(table.bytes, theirs.len() as u64);
        assert_eq!(
            table.ranges.iter().map(|range| range.rows).sum::<u64>(),
            table.rows
        );

        let mut digest = dataembassy_archive::RowDigester::new();
        digest.update(&theirs);
        assert_eq!(table.row_digest(), digest.finish().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_latin1_database_keeps_its_bytes_and_its_names() {
    for major in MAJORS {
        let server = Server::shared(major);
        let options = "TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'";
        let database = server.database_with(options).await.unwrap();
        database
            .execute(
                "CREATE TABLE \"Straße\" (\"Größe\" text);
                 INSERT INTO \"Straße\" SELECT 'Müller ' || n FROM generate_series(1, 30000) n",
            )
            .await
            .unwrap();
        let taken = take_with(&source(server, &database.name), |options| {
            options.range_bytes = 256 * 1024;
        })
        .await
        .unwrap();
        let table = &taken.tables()["public.Straße"];
        assert!(table.ranges.len() > 1);
        let statement = b"COPY public.\"Stra\xdfe\" (\"Gr\xf6\xdfe\")";
        assert!(
            table.copy_statement.starts_with(statement),
            "{:?}",
            table.copy_statement
        );
        assert!(taken.rows("public.Straße").starts_with(b"M\xfcller 1\n"));
        assert_eq!(taken.dumped.database.encoding, "LATIN1");

        let target = server.database_with(options).await.unwrap();
        taken.restore_into(&target);
        let count = "SELECT count(*) FROM \"Straße\" WHERE \"Größe\" LIKE 'Müller %'";
        assert_eq!(target.value(count).await.unwrap(), "30000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_security_refuses_a_role_without_bypassrls_and_hides_nothing_from_one_with_it() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute(
                "CREATE ROLE half_blind LOGIN PASSWORD 'correct horse battery staple' IN ROLE pg_read_all_data;
                 CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 100);
                 ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY half ON t USING (a <= 50)",
            )
            .await
            .unwrap();
        let error = take(&support::source_as(server, &database.name, "half_blind"))
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(
            matches!(&error, DumpError::RowSecurity { tables } if *tables == ["public.t"]),
            "{error}"
        );
        assert_eq!(error.reason().as_str(), "SourcePrivilegesMissing");
        assert!(error.is_permanent());
        let taken = take(&source(server, &database.name)).await.unwrap();
        assert_eq!(taken.tables()["public.t"].rows, 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_tables_carry_the_rows_that_are_not_their_extensions_own() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        // What an extension's script would do with pg_extension_config_dump.
        database
            .execute(
                "CREATE EXTENSION hstore;
                 CREATE TABLE config (a int, shipped bool); CREATE TABLE internal (a int);
                 INSERT INTO config SELECT n, n <= 10 FROM generate_series(1, 30) n; INSERT INTO internal VALUES (1);
                 ALTER EXTENSION hstore ADD TABLE config; ALTER EXTENSION hstore ADD TABLE internal;
                 UPDATE pg_extension SET extconfig = ARRAY['config'::regclass::oid], extcondition = ARRAY['WHERE NOT shipped']
                 WHERE extname = 'hstore'",
            )
            .await
            .unwrap();
        let taken = take(&source(server, &database.name)).await.unwrap();
        assert_eq!(
            taken.rows("public.config"),
            plain_copy(&database, "SELECT * FROM config WHERE NOT shipped")
        );
        let not_carried = taken.dumped.lines.iter().filter_map(|line| match line {
            Line::NotCarried(what) => Some(what.name.as_str()),
            _ => None,
        });
        assert_eq!(not_carried.collect::<Vec<_>>(), ["public.internal"]);
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "a test that makes a database and looks at all of it is one story"
)]
#[tokio::test(flavor = "multi_thread")]
async fn roles_memberships_and_settings_are_carried_and_verifiers_only_when_asked() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        let name = &database.name;
        let role = |name: &str| format!("{name}_{major}");
        let (owner, clerk, stranger) = (role("Ämter"), role("clerk"), role("stranger"));
        database
            .execute(&format!(
                "CREATE ROLE \"{owner}\" CREATEDB CONNECTION LIMIT 3; CREATE ROLE {clerk} LOGIN PASSWORD 'x' VALID UNTIL '2030-01-01';
                 CREATE ROLE {stranger}; GRANT \"{owner}\" TO {clerk} WITH ADMIN OPTION;
                 ALTER ROLE {clerk} SET work_mem = '7MB'; ALTER ROLE {clerk} IN DATABASE {name} SET search_path = 'a', 'b''c';
                 ALTER DATABASE {name} SET timezone = 'Europe/Tallinn'; COMMENT ON DATABASE {name} IS 'the registry';
                 CREATE TABLE t (id serial); ALTER TABLE t OWNER TO \"{owner}\"; SELECT setval('t_id_seq', 41, false)"
            ))
            .await
            .unwrap();
        let taken = take(&source(server, name)).await.unwrap();
        let lines = &taken.dumped.lines;
        let roles: Vec<_> = lines
            .iter()
            .filter_map(|line| {
                if let Line::Role(role) = line {
                    Some(role)
                } else {
                    None
                }
            })
            .collect();
        let found = roles.iter().find(|role| role.name == owner).unwrap();
        assert!(found.create_database && !found.login && found.connection_limit == 3);
        let found = roles.iter().find(|role| role.name == clerk).unwrap();
        assert!(found.login && found.password_verifier.is_none());
        assert!(
            found.valid_until.as_ref().unwrap().starts_with("2030-01-01"),
            "{:?}",
            found.valid_until
        );
        assert!(
            roles.iter().all(|role| role.name != stranger),
            "a role that nothing here names is somebody else's"
        );
        assert!(lines.iter().any(|line| {
            matches!(line, Line::Membership(found) if found.role == owner && found.member == clerk && found.admin)
        }));
        let settings: BTreeSet<_> = lines
            .iter()
            .filter_map(|line| {
                if let Line::Settings(settings) = line {
                    Some(settings)
                } else {
                    None
                }
            })
            .flat_map(|of| {
                of.settings.iter().map(move |found| {
                    (
                        of.role.clone(),
                        of.in_database,
                        found.name.clone(),
                        found.value.clone(),
                    )
                })
            })
            .collect();
        let setting = |role: Option<&str>, here, name: &str, value: &str| {
            settings.contains(&(role.map(str::to_owned), here, name.to_owned(), value.to_owned()))
        };
        assert!(setting(None, true, "TimeZone", "Europe/Tallinn"), "{settings:?}");
        assert!(setting(Some(&clerk), false, "work_mem", "7MB"), "{settings:?}");
        assert!(
            setting(Some(&clerk), true, "search_path", "a, \"b'c\""),
            "{settings:?}"
        );
        assert_eq!(taken.dumped.database.comment.as_deref(), Some("the registry"));
        assert!(lines.iter().any(|line| {
            matches!(line, Line::Sequence(found) if found.name == "t_id_seq" && found.last_value == 41 && !found.is_called)
        }));
        let text = String::from_utf8(taken.file("roles.sql")).unwrap();
        assert!(
            !text.contains("SCRAM-SHA-256"),
            "no verifier is in the roles' script"
        );

        // On a server that has none of them, and a second time.
        let other = Server::shared(if major == 15 { 17 } else { 15 });
        let script = taken.path().join("roles.sql");
        for _ in 0..2 {
            let arguments = [
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "--file",
                script.to_str().unwrap(),
                "postgres",
            ];
            other.run("psql", &arguments, &[]).unwrap();
        }
        let member = format!("SELECT pg_has_role('{clerk}', '{owner}', 'USAGE')::text");
        let client = other.client("postgres").await.unwrap();
        assert_eq!(
            client.query_one(&member, &[]).await.unwrap().get::<_, String>(0),
            "true"
        );

        let taken = take_with(&source(server, name), |options| {
            options.include_password_verifiers = true;
        })
        .await
        .unwrap();
        assert!(taken.dumped.lines.iter().any(|line| {
            matches!(line, Line::Role(role) if role.name == clerk
                && role.password_verifier.as_ref().is_some_and(|verifier| verifier.starts_with("SCRAM-SHA-256$")))
        }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_sorted_by_icu_keeps_its_collations() {
    for major in MAJORS {
        let server = Server::shared(major);
        let options = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'et-EE' LOCALE 'C.UTF-8'";
        let database = server.database_with(options).await.unwrap();
        database
            .execute(
                "CREATE COLLATION without_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                 CREATE COLLATION by_number (provider = icu, locale = 'et-u-kn-true');
                 CREATE TABLE person (name text PRIMARY KEY, email text COLLATE without_case UNIQUE, house text COLLATE by_number);
                 INSERT INTO person VALUES ('Žanna', 'Z@example.ee', 'B10'), ('Zoja', 'zoja@example.ee', 'B9'), ('Tiit', 't@example.ee', 'B2');
                 CREATE INDEX ON person (name COLLATE \"de-x-icu\")",
            )
            .await
            .unwrap();
        let taken = take(&source(server, &database.name)).await.unwrap();
        assert_eq!(taken.dumped.warnings, Vec::<String>::new());
        let found = &taken.dumped.database;
        assert_eq!(
            (found.locale_provider, found.locale.as_deref()),
            (LocaleProvider::Icu, Some("et-EE"))
        );

        let target = server.database_with(options).await.unwrap();
        taken.restore_into(&target);
        assert_eq!(schema(&target), schema(&database));
        // In Estonian z and ž stand before t.
        let sorted = "SELECT string_agg(name, ' ' ORDER BY name) || ' ' || string_agg(house, ' ' ORDER BY house) FROM person";
        assert_eq!(database.value(sorted).await.unwrap(), "Zoja Žanna Tiit B2 B9 B10");
        assert_eq!(target.value(sorted).await.unwrap(), "Zoja Žanna Tiit B2 B9 B10");
        let insensitive = "SELECT name FROM person WHERE email = 'ZOJA@example.ee'";
        assert_eq!(target.value(insensitive).await.unwrap(), "Zoja");
    }
}

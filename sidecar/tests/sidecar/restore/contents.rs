//! What a restored database holds: everything that the source held at its snapshot, and nothing else.

use crate::sealed::{
    ADMINISTRATOR, COUNTED, Making, OWNER, miscounted, options, restore_as, restore_into, seal, seal_with,
    target, target_with,
};
use crate::support::{MAJORS, plain_copy, schema, source};
use dataembassy_testkit::postgresql::{Database, Server};

/// From which version to which: equal ones, and to a newer one.
const WAYS: [(u32, u32); 3] = [(15, 15), (17, 17), (15, 17)];

/// Everything that is hard and that a role without superuser may restore.
const REGISTRY: &str = r#"
    CREATE EXTENSION hstore;
    CREATE SCHEMA "DATA";
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'Glad');
    CREATE DOMAIN code AS text CHECK (VALUE ~ '^[a-z]');
    CREATE TABLE "DATA".x (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, tags hstore, feeling mood,
        kind code DEFAULT 'k', at timestamptz, span interval, price numeric, cash money, bytes bytea, doc jsonb, page xml,
        words tsvector, who inet, "É" int GENERATED ALWAYS AS (1) STORED, dropped int);
    ALTER TABLE "DATA".x DROP COLUMN dropped;
    ALTER TABLE "DATA".x ADD COLUMN added int DEFAULT 5;
    INSERT INTO "DATA".x (name, tags, feeling, at, span, price, cash, bytes, doc, page, words, who)
        SELECT E'row\t\\.\n\\' || n, hstore('a', n::text), 'Glad', '2026-01-01'::timestamptz + n * interval '1 hour',
            n * interval '1 day 3 sec', n / 7.0, n::money, decode(md5(n::text), 'hex'), jsonb_build_object('n', n),
            '<a/>', to_tsvector('word ' || n), '10.0.0.1' FROM generate_series(1, 3000) n;
    INSERT INTO "DATA".x (name) VALUES (NULL), (''), ('\.'), (E'\\N');
    CREATE TABLE "odd ""name""
with (lines)" ("a) FROM stdin;" int, b text);
    INSERT INTO "odd ""name""
with (lines)" VALUES (7, 'x');
    CREATE TABLE empty (a int);
    CREATE TABLE nothing ();
    INSERT INTO nothing DEFAULT VALUES;
    INSERT INTO nothing DEFAULT VALUES;
    CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent);
    INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3);
    CREATE TABLE region (id int, feeling mood) PARTITION BY HASH (feeling);
    CREATE TABLE region_0 PARTITION OF region FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE region_1 PARTITION OF region FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO region SELECT n, (ARRAY['sad', 'ok', 'Glad', NULL]::mood[])[1 + n % 4] FROM generate_series(1, 500) n;
    CREATE TABLE big (id bigint, filler text);
    INSERT INTO big SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 20000) n;
    CREATE TABLE huge (id int, value text);
    INSERT INTO huge SELECT n, repeat(chr(64 + n), 3000000) FROM generate_series(1, 4) n;
    CREATE UNLOGGED TABLE unlogged (a int); INSERT INTO unlogged VALUES (1);
    CREATE TABLE one (id int PRIMARY KEY, other int);
    CREATE TABLE two (id int PRIMARY KEY, other int REFERENCES one DEFERRABLE INITIALLY DEFERRED);
    INSERT INTO one VALUES (1, 1); INSERT INTO two VALUES (1, 1);
    ALTER TABLE one ADD CONSTRAINT one_other FOREIGN KEY (other) REFERENCES two;
    CREATE TABLE stay (room int, during int4range, EXCLUDE USING gist (during WITH &&));
    INSERT INTO stay VALUES (1, '[1,5)'), (1, '[5,9)');
    CREATE SEQUENCE counter START 100 INCREMENT 7; SELECT nextval('counter'), nextval('counter');
    CREATE SEQUENCE untouched;
    CREATE VIEW glad AS SELECT * FROM region WHERE feeling = 'Glad';
    CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM parent;
    CREATE MATERIALIZED VIEW unseen AS SELECT count(*) FROM parent WITH NO DATA;
    CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
    CREATE TRIGGER refusing BEFORE INSERT ON two FOR EACH ROW EXECUTE FUNCTION refuse();
    CREATE INDEX ON big (md5(filler));
    ALTER TABLE region ENABLE ROW LEVEL SECURITY; ALTER TABLE region FORCE ROW LEVEL SECURITY;
    CREATE POLICY own ON region USING (id > 10);
    COMMENT ON TABLE big IS 'it''s "big"';
    SELECT lo_from_bytea(4711, 'small');
    SELECT lo_create(4712);
    SELECT lo_from_bytea(4713, decode(repeat('ab', 3000000), 'hex'));
    SELECT lo_put(4713, 5000000, 'behind a hole');
    SELECT lo_from_bytea(4714, decode(repeat('00', 5000), 'hex'));
    SELECT lo_from_bytea(n, n::text::bytea) FROM generate_series(10001, 10300) n;
    COMMENT ON LARGE OBJECT 4712 IS 'empty';
"#;

/// Tables and what to select of them to compare all their rows.
const COMPARED: [&str; 14] = [
    r#"SELECT * FROM "DATA".x ORDER BY id"#,
    "SELECT * FROM \"odd \"\"name\"\"\nwith (lines)\"",
    "SELECT count(*) FROM nothing",
    "SELECT * FROM ONLY parent",
    "TABLE child",
    "SELECT * FROM region ORDER BY id",
    "SELECT * FROM big ORDER BY id",
    "SELECT id, md5(value), length(value) FROM huge ORDER BY id",
    "TABLE unlogged",
    "SELECT one.*, two.* FROM one, two",
    "SELECT * FROM stay ORDER BY during",
    "SELECT last_value, is_called FROM counter UNION ALL SELECT last_value, is_called FROM untouched",
    "TABLE seen",
    "SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid",
];

fn assert_equal_rows(source: &Database, target: &Database) {
    for query in COMPARED {
        assert!(plain_copy(source, query) == plain_copy(target, query), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_restores_to_an_equal_database_without_superuser() {
    for (from, to) in WAYS {
        let database = Server::shared(from).database().await.unwrap();
        database.execute(REGISTRY).await.unwrap();
        let copy = seal(&source(database.server, &database.name)).await;
        assert!(copy.segments.len() > 5, "only {} segments", copy.segments.len());
        let target = target(Server::shared(to)).await;
        let outcome = restore_into(&target, copy, &options()).await.unwrap();

        assert_equal_rows(&database, &target);
        assert_eq!(outcome.large_objects.objects, 304);
        assert_eq!(outcome.tried_again, Vec::<String>::new());
        // Pages of zeros were not written.
        let pages = target
            .value("SELECT count(*) FROM pg_largeobject WHERE loid = 4714")
            .await
            .unwrap();
        assert_eq!(pages, "1");
        let owned = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner <> 'target_owner'::regrole
             AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')";
        assert_eq!(target.value(owned).await.unwrap(), "0");
        let comment = "SELECT coalesce(shobj_description(oid, 'pg_database'), 'none') FROM pg_database WHERE datname = current_database()";
        assert_eq!(target.value(comment).await.unwrap(), "none");
        let connects = "SELECT has_database_privilege('by_trust', current_database(), 'CONNECT')";
        assert_eq!(target.value(connects).await.unwrap(), "true");
        let analysed = "SELECT reltuples::bigint FROM pg_class WHERE relname = 'big'";
        assert_eq!(target.value(analysed).await.unwrap(), "20000");
        if from == to {
            // All of it is the target owner's.
            let owners = |text: String| {
                let kept = text.lines().filter(|line| !line.contains(" OWNER TO "));
                let unowned = kept.map(|line| line.split("; Owner: ").next().unwrap_or_default());
                unowned.collect::<Vec<_>>().join("\n")
            };
            assert_eq!(owners(schema(&database)), owners(schema(&target)));
        }
    }
}

/// Tables that force row security on their owner: one that is referenced, one that references, one that a view is made of, and one that stands
/// alone. Nobody sees a row of theirs but who is above policies.
const FORCED: &str = "
    CREATE TABLE person (id int PRIMARY KEY, name text); INSERT INTO person SELECT n, 'p' || n FROM generate_series(1, 500) n;
    CREATE TABLE residence (person int REFERENCES person, place text); INSERT INTO residence SELECT n, 'x' FROM generate_series(1, 500) n;
    CREATE TABLE file (person int REFERENCES person); INSERT INTO file SELECT n FROM generate_series(1, 100) n;
    CREATE TABLE alone (a int); INSERT INTO alone SELECT generate_series(1, 100);
    CREATE MATERIALIZED VIEW known AS SELECT count(*) AS persons FROM person;
    ALTER TABLE person ENABLE ROW LEVEL SECURITY; ALTER TABLE person FORCE ROW LEVEL SECURITY;
    ALTER TABLE file ENABLE ROW LEVEL SECURITY; ALTER TABLE file FORCE ROW LEVEL SECURITY;
    ALTER TABLE alone ENABLE ROW LEVEL SECURITY; ALTER TABLE alone FORCE ROW LEVEL SECURITY;
    CREATE POLICY nobody ON person USING (false); COMMENT ON POLICY nobody ON person IS 'nobody at all';
    CREATE POLICY few ON file USING (person < 10); CREATE POLICY none ON alone USING (false);
";

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_hide_their_rows_from_their_owner_are_restored_without_superuser() {
    for (from, to) in WAYS {
        let database = Server::shared(from).database().await.unwrap();
        database.execute(FORCED).await.unwrap();
        let copy = seal(&source(database.server, &database.name)).await;
        let target = target(Server::shared(to)).await;
        let outcome = restore_into(&target, copy, &options()).await.unwrap();
        assert_eq!(outcome.tried_again, Vec::<String>::new());
        for query in [
            "TABLE person ORDER BY id",
            "TABLE residence ORDER BY person",
            "TABLE file ORDER BY person",
            "TABLE alone ORDER BY a",
            "TABLE known",
            "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'f' ORDER BY conname",
            "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class WHERE relrowsecurity ORDER BY relname",
            "SELECT tablename, policyname, qual FROM pg_policies ORDER BY policyname",
            "SELECT obj_description(oid, 'pg_policy') FROM pg_policy WHERE polname = 'nobody'",
        ] {
            assert!(
                plain_copy(&database, query) == plain_copy(&target, query),
                "{query}"
            );
        }
        let owner = target.server.client_as(OWNER, &target.name).await.unwrap();
        let seen = owner.query_one("SELECT count(*) FROM person", &[]).await.unwrap();
        assert_eq!(seen.get::<_, i64>(0), 0, "its owner sees none of its rows again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_open_ranges_than_sessions_are_loaded_all_the_same() {
    let database = Server::shared(17).database().await.unwrap();
    database.execute(REGISTRY).await.unwrap();
    let making = Making {
        connections: 10,
        ..Making::default()
    };
    let copy = seal_with(&source(database.server, &database.name), making).await;
    let target = target(Server::shared(17)).await;
    let mut one_session = options();
    one_session.jobs = 1;
    restore_into(&target, copy, &one_session).await.unwrap();
    assert_equal_rows(&database, &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_trust_owners_grants_roles_and_settings_come_back() {
    for (from, to) in WAYS {
        let (from, to) = (Server::shared(from), Server::shared(to));
        let database = from.database().await.unwrap();
        // Roles are the whole server's: each way has its own.
        let (clerk, odd) = (
            format!("clerk_{}", database.name),
            format!("Odd {}", database.name),
        );
        let setup = format!(
            r#"CREATE ROLE {clerk} NOLOGIN CONNECTION LIMIT 5; CREATE ROLE "{odd}" LOGIN;
               GRANT {clerk} TO "{odd}"; COMMENT ON ROLE {clerk} IS 'works here';
               ALTER ROLE "{odd}" SET search_path = "$user", public; ALTER ROLE "{odd}" SET work_mem = '5MB';
               ALTER ROLE "{odd}" IN DATABASE {name} SET statement_timeout = '7s';
               ALTER DATABASE {name} SET datestyle = 'SQL, DMY';
               COMMENT ON DATABASE {name} IS 'a registry'; REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC;
               GRANT CONNECT ON DATABASE {name} TO "{odd}" WITH GRANT OPTION;
               CREATE TABLE t (a int); ALTER TABLE t OWNER TO {clerk}; GRANT SELECT ON t TO "{odd}";
               ALTER DEFAULT PRIVILEGES FOR ROLE {clerk} GRANT SELECT ON TABLES TO "{odd}";
               ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t TO "{odd}" USING (true);
               CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
               CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch();
               CREATE PUBLICATION everything FOR ALL TABLES;
               SELECT lo_from_bytea(11, 'x'); GRANT SELECT ON LARGE OBJECT 11 TO "{odd}";"#,
            name = database.name
        );
        database.execute(&setup).await.unwrap();
        let copy = seal(&source(from, &database.name)).await;
        let expected = schema(&database);
        if from.major() == to.major() {
            // The roles must be made by the restore.
            database
                .execute(&format!(
                    r#"DROP EVENT TRIGGER watching; DROP OWNED BY "{odd}"; DROP OWNED BY {clerk}; DROP ROLE "{odd}"; DROP ROLE {clerk};"#
                ))
                .await
                .unwrap();
        }
        let target = target(to).await;
        let mut trusting = options();
        trusting.trusting = true;
        let outcome = restore_as(ADMINISTRATOR, &target, copy, &trusting).await.unwrap();
        assert!(outcome.roles_made.contains(&clerk), "{:?}", outcome.roles_made);
        assert_eq!(outcome.not_restored, []);
        if from.major() == to.major() {
            assert_eq!(schema(&target), expected);
        }
        for (query, value) in [
            (
                format!("SELECT rolconnlimit FROM pg_roles WHERE rolname = '{clerk}'"),
                "5",
            ),
            (format!("SELECT pg_has_role('{odd}', '{clerk}', 'USAGE')"), "true"),
            (
                format!("SELECT shobj_description('{clerk}'::regrole, 'pg_authid')"),
                "works here",
            ),
            (
                format!("SELECT rolconfig FROM pg_roles WHERE rolname = '{odd}'"),
                r#"{"search_path=\"$user\", public",work_mem=5MB}"#,
            ),
            (
                format!(
                    "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
                     WHERE d.datname = '{}' AND setrole = '\"{odd}\"'::regrole",
                    target.name
                ),
                "{statement_timeout=7s}",
            ),
            (
                format!(
                    "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
                     WHERE d.datname = '{}' AND setrole = 0",
                    target.name
                ),
                r#"{"DateStyle=SQL, DMY"}"#,
            ),
            ("SELECT evtname FROM pg_event_trigger".into(), "watching"),
            (
                "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()".into(),
                "a registry",
            ),
            (
                format!("SELECT has_database_privilege('{odd}', current_database(), 'CONNECT WITH GRANT OPTION')"),
                "true",
            ),
            (
                "SELECT EXISTS (SELECT FROM pg_database, aclexplode(datacl) a WHERE datname = current_database() AND a.grantee = 0 AND a.privilege_type = 'TEMPORARY')".into(),
                "false",
            ),
            (
                "SELECT lomacl::text LIKE '%Odd%' FROM pg_largeobject_metadata".into(),
                "true",
            ),
        ] {
            assert_eq!(target.value(&query).await.unwrap(), value, "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_made_with_all_that_they_have_or_not_at_all() {
    // A server of its own: what is wrong with the role would be wrong with every copy of the shared one.
    let from = Server::lasting(17).unwrap();
    let database = from.database().await.unwrap();
    database
        .execute(
            "CREATE ROLE teller; CREATE TABLE t (a int); ALTER TABLE t OWNER TO teller; ALTER ROLE teller SET work_mem = '5MB';
             UPDATE pg_db_role_setting SET setconfig = array_append(setconfig, 'lc_messages=nowhere') WHERE setrole = 'teller'::regrole",
        )
        .await
        .unwrap();
    let copy = seal(&source(from, &database.name)).await;
    let target = target(Server::shared(17)).await;
    let mut trusting = options();
    trusting.trusting = true;
    let error = restore_as(ADMINISTRATOR, &target, copy, &trusting).await;
    let error = format!("{:?}", error.map(|_| ()).unwrap_err());
    assert!(error.contains("lc_messages"), "{error}");
    let made = "SELECT count(*) FROM pg_roles WHERE rolname = 'teller'";
    assert_eq!(target.value(made).await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_an_extension_brings_and_partitions_loaded_both_ways_are_counted_once() {
    for (from, to) in WAYS {
        let database = Server::shared(from).database().await.unwrap();
        database
            .execute(
                "CREATE SCHEMA codes; CREATE EXTENSION registry_codes SCHEMA codes;
                 INSERT INTO codes.list VALUES ('county', 'where'); INSERT INTO codes.entry VALUES ('county', '37', 'Harju');
                 CREATE TYPE mood AS ENUM ('sad', 'ok', 'Glad');
                 CREATE TABLE visit (at date, feeling mood) PARTITION BY RANGE (at);
                 CREATE TABLE visit_old PARTITION OF visit FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
                 CREATE TABLE visit_new PARTITION OF visit FOR VALUES FROM ('2025-01-01') TO (MAXVALUE) PARTITION BY HASH (feeling);
                 CREATE TABLE visit_new_0 PARTITION OF visit_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE visit_new_1 PARTITION OF visit_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
                 INSERT INTO visit SELECT date '2024-01-01' + n, (ARRAY['sad', 'ok', 'Glad']::mood[])[1 + n % 3] FROM generate_series(1, 700) n",
            )
            .await
            .unwrap();
        let copy = seal(&source(database.server, &database.name)).await;
        let target = target(Server::shared(to)).await;
        let mut trusting = options();
        trusting.trusting = true;
        restore_as(ADMINISTRATOR, &target, copy, &trusting).await.unwrap();
        for query in [
            "SELECT * FROM codes.list",
            "SELECT * FROM codes.entry ORDER BY code",
            "SELECT * FROM visit ORDER BY at",
        ] {
            assert!(
                plain_copy(&database, query) == plain_copy(&target, query),
                "{query}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_latin1_database_comes_back_in_latin1_and_in_utf8() {
    for major in MAJORS {
        let server = Server::shared(major);
        let latin1 = "TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'";
        let utf8 = "TEMPLATE template0 ENCODING UTF8 LC_COLLATE 'C' LC_CTYPE 'C'";
        let database = server.database_with(latin1).await.unwrap();
        database
            .execute(
                "CREATE TABLE \"Straße\" (\"größe\" text); INSERT INTO \"Straße\" VALUES ('Müller'), ('Ærø')",
            )
            .await
            .unwrap();
        for create in [latin1, utf8] {
            let copy = seal(&source(server, &database.name)).await;
            let target = target_with(server, create).await;
            let outcome = restore_into(&target, copy, &options()).await.unwrap();
            assert_eq!(outcome.rows, 2);
            let text = target.value("SELECT string_agg(\"größe\", ' ' ORDER BY \"größe\") FROM \"Straße\"");
            assert_eq!(text.await.unwrap(), "Müller Ærø");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_100_megabytes_comes_back() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute(
            "CREATE TABLE scan (id int, image bytea);
             INSERT INTO scan SELECT 1, string_agg(decode(md5(n::text), 'hex'), '') FROM generate_series(1, 6553600) n;
             INSERT INTO scan VALUES (2, 'small')",
        )
        .await
        .unwrap();
    let copy = seal(&source(server, &database.name)).await;
    let target = target(server).await;
    restore_into(&target, copy, &options()).await.unwrap();
    let query = "SELECT id, length(image), md5(image) FROM scan ORDER BY id";
    assert_eq!(plain_copy(&database, query), plain_copy(&target, query));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_that_fails_beside_others_is_tried_once_more_alone_and_said() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    // The first attempt of this index fails: a sequence keeps its value when a statement is rolled back.
    database
        .execute(
            "CREATE SEQUENCE attempts;
             CREATE FUNCTION moody(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
                 IF nextval('public.attempts') < 3 THEN RAISE 'not now'; END IF; RETURN $1; END $$;
             CREATE TABLE t (a int PRIMARY KEY);
             SELECT nextval('attempts'), nextval('attempts');
             INSERT INTO t VALUES (1);
             CREATE INDEX moody_index ON t (moody(a));
             SELECT setval('attempts', 1);
             CREATE TABLE u (a int REFERENCES t); INSERT INTO u VALUES (1)",
        )
        .await
        .unwrap();
    let copy = seal(&source(server, &database.name)).await;
    let target = target(server).await;
    let outcome = restore_into(&target, copy, &options()).await.unwrap();
    assert_eq!(outcome.tried_again, ["INDEX public.moody_index"]);
    let indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass AND indisvalid";
    assert_eq!(target.value(indexes).await.unwrap(), "2");
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated";
    assert_eq!(target.value(keys).await.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_trust_what_acts_beyond_rows_is_left_out_and_listed() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute(
            "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
             CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch();
             COMMENT ON EVENT TRIGGER watching IS 'watches';
             CREATE PUBLICATION everything FOR ALL TABLES;
             CREATE FOREIGN DATA WRAPPER dummy; CREATE SERVER abroad FOREIGN DATA WRAPPER dummy;
             CREATE FOREIGN TABLE elsewhere (a int) SERVER abroad;
             CREATE TABLE t (a int); GRANT SELECT ON t TO by_trust;",
        )
        .await
        .unwrap();
    let copy = seal(&source(server, &database.name)).await;
    let target = target(server).await;
    let outcome = restore_into(&target, copy, &options()).await.unwrap();
    let mut kinds: Vec<&str> = outcome
        .not_restored
        .iter()
        .map(|left| left.kind.as_str())
        .collect();
    kinds.retain(|kind| !matches!(*kind, "ROLE" | "SETTINGS"));
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "ACL",
            "COMMENT",
            "EVENT TRIGGER",
            "FOREIGN DATA WRAPPER",
            "FOREIGN TABLE",
            "PUBLICATION",
            "SERVER"
        ]
    );
    let acl = "SELECT coalesce(relacl::text, 'none') FROM pg_class WHERE relname = 't'";
    assert_eq!(target.value(acl).await.unwrap(), "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_differ_from_the_inventory_end_the_restore_and_leave_the_mark() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database.execute(COUNTED).await.unwrap();
    let from = source(server, &database.name);
    for (making, words) in miscounted() {
        let copy = seal_with(&from, making).await;
        let target = target(server).await;
        let error = restore_into(&target, copy, &options())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
        assert_marked(&target).await;
    }
}

async fn assert_marked(target: &Database) {
    let comment =
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()";
    let comment = target.value(comment).await.unwrap();
    assert!(comment.contains("UNFINISHED RESTORE"), "{comment}");
    let connects = "SELECT has_database_privilege('by_trust', current_database(), 'CONNECT')";
    assert_eq!(target.value(connects).await.unwrap(), "false");
    let owner = format!("SELECT has_database_privilege('{OWNER}', current_database(), 'CONNECT')");
    assert_eq!(target.value(&owner).await.unwrap(), "true");
}

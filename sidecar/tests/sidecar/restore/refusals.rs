//! When nothing is written, and what is left when a restore does not end well.

use crate::bench::pauses::briefly;
use crate::sealed::{MemoryCopy, OWNER, options, restore_as, restore_into, seal, target, target_with};
use crate::support::source;
use bytes::Bytes;
use dataembassy_contract::restore::IfNotEmpty;
use dataembassy_sidecar::restore::{Options, RestoreError, target::Mark};
use dataembassy_testkit::postgresql::{Database, Server};

async fn copy_of(server: &'static Server, statements: &str) -> MemoryCopy {
    let database = server.database().await.unwrap();
    database.execute(statements).await.unwrap();
    seal(&source(server, &database.name)).await
}

fn lacks(error: RestoreError) -> Vec<String> {
    match error {
        RestoreError::TargetLacks(lacks) => lacks,
        other => panic!("{other}"),
    }
}

async fn is_untouched(target: &Database) {
    let state = "SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind = 'r') || ' ' ||
        coalesce(shobj_description(oid, 'pg_database'), 'none') FROM pg_database WHERE datname = current_database()";
    assert_eq!(target.value(state).await.unwrap(), "0 none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_holds_anything_is_refused_and_untouched() {
    let server = Server::shared(17);
    for (statement, named) in [
        (
            "CREATE TABLE precious (a int); INSERT INTO precious VALUES (1)",
            "table public.precious",
        ),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "function public.f()",
        ),
        ("CREATE TYPE t AS ENUM ('a')", "type public.t"),
        ("CREATE SCHEMA s", "schema s"),
        ("SELECT lo_create(77)", "large object 77"),
        ("CREATE COLLATION c (locale = 'C')", "collation public.c"),
    ] {
        let target = target(server).await;
        target.execute(statement).await.unwrap();
        let copy = copy_of(server, "CREATE TABLE t (a int)").await;
        let lacks = lacks(restore_into(&target, copy, &options()).await.unwrap_err());
        assert_eq!(lacks.len(), 1, "{lacks:?}");
        assert!(lacks[0].contains(named), "{lacks:?}");
        let comment = "SELECT coalesce(shobj_description(oid, 'pg_database'), 'none') FROM pg_database WHERE datname = current_database()";
        assert_eq!(target.value(comment).await.unwrap(), "none");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_that_an_administrator_has_installed_do_not_make_a_database_full() {
    let server = Server::shared(17);
    let target = target(server).await;
    target.execute("CREATE EXTENSION hstore").await.unwrap();
    let copy = copy_of(
        server,
        "CREATE EXTENSION hstore; CREATE TABLE t (h hstore); INSERT INTO t VALUES ('a=>1')",
    )
    .await;
    let outcome = restore_into(&target, copy, &options()).await.unwrap();
    assert_eq!(target.value("SELECT h -> 'a' FROM t").await.unwrap(), "1");
    assert!(outcome.not_restored.iter().any(|left| left.kind == "COMMENT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_drops_everything_in_the_database_and_restores() {
    let server = Server::shared(17);
    let target = target(server).await;
    let client = server.client_as(OWNER, &target.name).await.unwrap();
    client
        .batch_execute(
            "CREATE SCHEMA \"old \"\" one\"; CREATE TABLE \"old \"\" one\".t (a int);
             CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN d AS int; CREATE TYPE pair AS (a int, b int);
             CREATE TABLE t (a mood, b serial); CREATE VIEW v AS SELECT * FROM t; CREATE MATERIALIZED VIEW m AS SELECT 1;
             CREATE FUNCTION f(mood) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1';
             CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
             CREATE TABLE parted (a int) PARTITION BY RANGE (a); CREATE TABLE part PARTITION OF parted DEFAULT;
             SELECT lo_create(77); CREATE COLLATION c (locale = 'C');
             DO $$ BEGIN FOR n IN 1..250 LOOP EXECUTE 'CREATE TABLE many_' || n || ' (a int)'; END LOOP; END $$",
        )
        .await
        .unwrap();
    drop(client);
    let copy = copy_of(server, "CREATE TABLE fresh (a int); INSERT INTO fresh VALUES (7)").await;
    let mut replacing = options();
    replacing.if_not_empty = IfNotEmpty::Replace;
    restore_into(&target, copy, &replacing).await.unwrap();
    let tables = "SELECT string_agg(relname, ' ') FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'v', 'm', 'S', 'p', 'c')";
    assert_eq!(target.value(tables).await.unwrap(), "fresh");
    let rest = "SELECT (SELECT count(*) FROM pg_proc WHERE oid >= 16384) + (SELECT count(*) FROM pg_largeobject_metadata)
        + (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'old%')";
    assert_eq!(target.value(rest).await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_the_target_lacks_is_said_in_one_list() {
    let from = Server::shared(17);
    let database = from.database().await.unwrap();
    let clerk = format!("clerk_{}", database.name);
    database
        .execute(&format!(
            "CREATE ROLE {clerk}; CREATE EXTENSION pageinspect; CREATE TABLE t (a int);
             CREATE POLICY p ON t TO {clerk}, by_trust USING (true)"
        ))
        .await
        .unwrap();
    let copy = seal(&source(from, &database.name)).await;
    let to = Server::shared(15);
    let target = target_with(
        to,
        "TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    .await;
    to.run(
        "psql",
        &[
            "--command",
            "CREATE ROLE stranger LOGIN PASSWORD 'correct horse battery staple'",
            "postgres",
        ],
        &[],
    )
    .unwrap();
    let lacks = lacks(
        restore_as("stranger", &target, copy, &options())
            .await
            .unwrap_err(),
    );
    for expected in [
        "the target is PostgreSQL 15, the source was 17",
        "role \"stranger\" does not own the database",
        "encoding is LATIN1, the source's was UTF8",
        "extension pageinspect may do anything on the server: say --allow-extension pageinspect",
        &format!("role \"{clerk}\" is missing, which a row security policy names"),
    ] {
        assert!(
            lacks.iter().any(|lack| lack.contains(expected)),
            "{expected} in {lacks:#?}"
        );
    }
    assert_eq!(lacks.len(), 5, "{lacks:#?}");
    is_untouched(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_is_not_there_and_another_collation_are_found_before_anything_is_written() {
    let server = Server::shared(17);
    let copy = copy_of(server, "CREATE EXTENSION pageinspect; CREATE TABLE t (a int)").await;
    let target = target_with(
        server,
        "TEMPLATE template0 ENCODING UTF8 LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    .await;
    let mut allowing = options();
    allowing.allowed_extensions.push("pageinspect".into());
    let lacks = lacks(restore_into(&target, copy, &allowing).await.unwrap_err());
    assert_eq!(lacks.len(), 2, "{lacks:#?}");
    assert!(
        lacks
            .iter()
            .any(|lack| lack.contains("sorts by c C/C, the source by c C.UTF-8/C.UTF-8")),
        "{lacks:#?}"
    );
    assert!(
        lacks
            .iter()
            .any(|lack| lack.contains("pageinspect needs a superuser")),
        "{lacks:#?}"
    );
    is_untouched(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_in_a_segment_ends_the_restore() {
    let server = Server::shared(17);
    let mut copy = copy_of(
        server,
        "CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 400000) n",
    )
    .await;
    let place = copy.segments.len() - 1;
    let mut bytes = copy.segments[place].to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    copy.segments[place] = Bytes::from(bytes);
    let target = target(server).await;
    let error = restore_into(&target, copy, &options())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&format!("segment {place:08}")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_its_last_segment_is_no_copy() {
    let server = Server::shared(17);
    let mut copy = copy_of(
        server,
        "CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 400000) n",
    )
    .await;
    copy.segments.pop();
    assert!(!copy.segments.is_empty());
    let target = target(server).await;
    let error = restore_into(&target, copy, &options())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the last segment ends the archive"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_given_up_half_way_leaves_a_marked_database_that_replace_takes() {
    let server = Server::shared(17);
    let statements = "CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 400000) n";
    let database = server.database().await.unwrap();
    database.execute(statements).await.unwrap();
    let target = target(server).await;
    target
        .execute(&format!(
            "COMMENT ON DATABASE {0} IS 'ours'; GRANT CONNECT ON DATABASE {0} TO by_md5",
            target.name
        ))
        .await
        .unwrap();
    let mut hanging = seal(&source(server, &database.name)).await;
    hanging.hangs = true;
    let marked = "SELECT shobj_description(oid, 'pg_database') LIKE '%UNFINISHED RESTORE%' AND EXISTS (SELECT FROM pg_class WHERE relname = 't')
        FROM pg_database WHERE datname = current_database()";
    let options = options();
    {
        let restoring = restore_into(&target, hanging, &options);
        let half_way = async {
            while target.value(marked).await.unwrap() != "true" {
                briefly().await;
            }
        };
        tokio::select! {
            done = restoring => panic!("{done:?}"),
            () = half_way => {}
        }
    }
    let connects = "SELECT has_database_privilege('by_md5', current_database(), 'CONNECT') OR has_database_privilege('by_trust', current_database(), 'CONNECT')";
    assert_eq!(target.value(connects).await.unwrap(), "false");
    let again = seal(&source(server, &database.name)).await;
    let found = lacks(restore_into(&target, again, &options).await.unwrap_err());
    assert!(
        found[0].contains("holds an unfinished restore of population 12"),
        "{found:?}"
    );

    let mut replacing = options;
    replacing.if_not_empty = IfNotEmpty::ReplaceUnfinished;
    let again = seal(&source(server, &database.name)).await;
    restore_into(&target, again, &replacing).await.unwrap();
    let comment =
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()";
    assert_eq!(target.value(comment).await.unwrap(), "ours");
    let connects = "SELECT has_database_privilege('by_md5', current_database(), 'CONNECT') AND has_database_privilege('by_trust', current_database(), 'CONNECT')";
    assert_eq!(target.value(connects).await.unwrap(), "true");
    assert_eq!(target.value("SELECT count(*) FROM t").await.unwrap(), "400000");
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_unfinished_drops_nothing_but_an_unfinished_restore_of_the_same_registry_and_rehearsal() {
    let server = Server::shared(17);
    let mark = |registry: &str, rehearsal: Option<&str>| {
        let mark = Mark {
            registry: registry.to_owned(),
            sequence: 7,
            comment: None,
            connect: Vec::new(),
            rehearsal: rehearsal.map(str::to_owned),
        };
        let text = serde_json::to_string(&mark).unwrap();
        format!(
            "dataembassy: UNFINISHED RESTORE, do not use; restore again with --if-not-empty replace. {text}"
        )
    };
    let cases = [
        (None, None, Some("is not empty, it holds table public.precious")),
        (
            Some(mark("health", None)),
            None,
            Some("unfinished restore of health 7"),
        ),
        (
            Some(mark("population", Some("uid-1"))),
            None,
            Some("what the rehearsal uid-1 restored"),
        ),
        (
            Some(mark("population", None)),
            Some("uid-1"),
            Some("unfinished restore of population 7"),
        ),
        (
            Some(mark("population", Some("uid-2"))),
            Some("uid-1"),
            Some("what the rehearsal uid-2 restored"),
        ),
        (Some(mark("population", Some("uid-1"))), Some("uid-1"), None),
        (Some(mark("population", None)), None, None),
    ];
    for (marked, rehearsal, refused) in cases {
        let target = target(server).await;
        target.execute("CREATE TABLE precious (a int)").await.unwrap();
        if let Some(mark) = &marked {
            let marks = format!("COMMENT ON DATABASE {} IS '{mark}'", target.name);
            target.execute(&marks).await.unwrap();
        }
        let options = Options {
            if_not_empty: IfNotEmpty::ReplaceUnfinished,
            rehearsal: rehearsal.map(str::to_owned),
            ..options()
        };
        let copy = copy_of(server, "CREATE TABLE t (a int)").await;
        let restored = restore_into(&target, copy, &options).await;
        match refused {
            Some(words) => {
                let lacks = lacks(restored.unwrap_err());
                assert!(
                    lacks.len() == 1 && lacks[0].contains(words),
                    "{marked:?}: {lacks:?}"
                );
            }
            None => drop(restored.unwrap()),
        }
        let is_there = "SELECT count(*) FROM pg_class WHERE relname = 'precious'";
        let expected = if refused.is_some() { "1" } else { "0" };
        assert_eq!(target.value(is_there).await.unwrap(), expected, "{marked:?}");
    }
}

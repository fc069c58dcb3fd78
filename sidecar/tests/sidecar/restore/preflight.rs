//! Each thing that a target can lack, against a real server that lacks it: its words, in one list with the others, and nothing written.

use std::sync::Arc;

use dataembassy_sidecar::{
    postgresql::Source,
    restore::{Options, RestoreError, progress::Progress, restore},
};
use dataembassy_testkit::postgresql::{Database, PASSWORD, Server};

use crate::bench::pauses::briefly;
use crate::sealed::{Making, MemoryCopy, OWNER, options, restore_into, seal, seal_with, target, target_with};
use crate::support::{plain_copy, source, source_as};

async fn lacks(copy: MemoryCopy, into: &Source, options: &Options) -> Vec<String> {
    match restore(&Arc::new(copy), into, options, &Progress::default()).await {
        Err(RestoreError::TargetLacks(lacks)) => lacks,
        other => panic!("{other:?}"),
    }
}

/// The target lacks exactly this, in any order.
fn assert_lacks(lacks: &[String], expected: &[&str]) {
    for words in expected {
        assert!(
            lacks.iter().any(|lack| lack.contains(words)),
            "{words} in {lacks:#?}"
        );
    }
    assert_eq!(lacks.len(), expected.len(), "{lacks:#?}");
}

async fn assert_untouched(target: &Database) {
    let state = "SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind = 'r') || ' ' ||
        coalesce(shobj_description(oid, 'pg_database'), 'none') FROM pg_database WHERE datname = current_database()";
    assert_eq!(target.value(state).await.unwrap(), "0 none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_and_a_version_without_programs_are_found() {
    let database = Server::shared(17).database().await.unwrap();
    database.execute("CREATE TABLE t (a int)").await.unwrap();
    let copy = seal(&source(database.server, &database.name)).await;
    let primary = Server::start(17).unwrap();
    let client = primary.client("postgres").await.unwrap();
    for statement in [
        format!("CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'"),
        format!("CREATE DATABASE registry OWNER {OWNER}"),
    ] {
        client.batch_execute(&statement).await.unwrap();
    }
    let standby = primary.standby().unwrap();
    let there = async {
        while standby.client("registry").await.is_err() {
            briefly().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), there)
        .await
        .unwrap();
    let nothing = tempfile::tempdir().unwrap();
    let mut into = source_as(&standby, "registry", OWNER);
    into.programs = nothing.path().to_owned();
    assert_lacks(
        &lacks(copy, &into, &options()).await,
        &[
            "the target is a standby and cannot be written to: connect to its primary",
            "there is no pg_restore of PostgreSQL 17: add it to the image and give its place with --postgresql-programs",
        ],
    );
}

/// Moves the copy's money to where the target has never been.
fn with_strange_money(header: &mut dataembassy_archive::inventory::Header) {
    header
        .server
        .settings
        .insert("lc_monetary".into(), "xx_XX.UTF-8".into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_trust_needs_and_what_no_package_brought_are_found() {
    let from = Server::shared(15);
    let database = from.database().await.unwrap();
    let tablespace = format!("elsewhere_{}", database.name);
    let client = database.client().await.unwrap();
    client
        .batch_execute("SET allow_in_place_tablespaces = on")
        .await
        .unwrap();
    client
        .batch_execute(&format!("CREATE TABLESPACE {tablespace} LOCATION ''"))
        .await
        .unwrap();
    // An extension by a name that no server has.
    database
        .execute(&format!(
            "CREATE EXTENSION hstore; UPDATE pg_extension SET extname = 'atlantis' WHERE extname = 'hstore';
             CREATE TABLE t (a int) TABLESPACE {tablespace}"
        ))
        .await
        .unwrap();
    let making = Making {
        header: with_strange_money,
        ..Making::default()
    };
    let copy = seal_with(&source(from, &database.name), making).await;
    let target = target(Server::shared(17)).await;
    let mut trusting = options();
    trusting.trusting = true;
    let into = source_as(target.server, &target.name, OWNER);
    assert_lacks(
        &lacks(copy, &into, &trusting).await,
        &[
            &format!(
                "--trust-source restores owners, privileges and roles, which needs a superuser, and \"{OWNER}\" is none"
            ),
            &format!("tablespace {tablespace} is missing: create it"),
            "extension atlantis is not available on the target: install its package",
            "the server does not know the locale xx_XX.UTF-8 that the source writes money with: install it",
        ],
    );
    assert_untouched(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_live_in_what_only_trust_restores_are_found() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute(
            "CREATE ACCESS METHOD another TYPE TABLE HANDLER heap_tableam_handler;
             CREATE TABLE kept (a int) USING another; INSERT INTO kept VALUES (1); CREATE TABLE plain (a int)",
        )
        .await
        .unwrap();
    let copy = seal(&source(server, &database.name)).await;
    let target = target(server).await;
    let into = source_as(server, &target.name, OWNER);
    assert_lacks(
        &lacks(copy, &into, &options()).await,
        &[
            "TABLE DATA public.kept needs something that is restored with --trust-source only; see notRestored in the result",
        ],
    );
    assert_untouched(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_restore_in_the_same_database_is_found() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    let copy = seal(&source(server, &database.name)).await;
    let target = target(server).await;
    let other = target.client().await.unwrap();
    // The lock that every restore holds in its database.
    other
        .batch_execute("SELECT pg_advisory_lock(4927347428445479521)")
        .await
        .unwrap();
    let into = source_as(server, &target.name, OWNER);
    assert_lacks(
        &lacks(copy, &into, &options()).await,
        &["another restore is at work in this database: wait until it has ended"],
    );
    assert_untouched(&target).await;
}

/// Locales of other providers, and a word that tells each in the message.
const LOCALES: [(u32, &str, &str); 3] = [
    (
        15,
        "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'et-EE' LOCALE 'C.UTF-8'",
        "the source by i C.UTF-8/C.UTF-8 et-EE",
    ),
    (
        17,
        "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'et-EE' LOCALE 'C.UTF-8'",
        "the source by i C.UTF-8/C.UTF-8 et-EE",
    ),
    (
        17,
        "TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'",
        "the source by b C/C C.UTF-8",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn another_provider_of_locales_is_found_and_the_statement_that_is_told_makes_a_database_that_fits() {
    for (major, locale, words) in LOCALES {
        let database = Server::shared(major).database_with(locale).await.unwrap();
        database
            .execute(
                "CREATE TABLE person (name text PRIMARY KEY); INSERT INTO person VALUES ('Õun'), ('ozon'), ('Zeta'), ('zoo'), ('Ülo')",
            )
            .await
            .unwrap();
        let sealed = async || seal(&source(database.server, &database.name)).await;
        let target = target_with(Server::shared(17), "").await;
        let into = source_as(target.server, &target.name, OWNER);
        let found = lacks(sealed().await, &into, &options()).await;
        assert_lacks(&found, &[words]);
        assert_untouched(&target).await;
        let statement = found[0].split(": ").nth(1).unwrap();
        let statement = statement
            .strip_suffix(", or say --accept-different-collation")
            .unwrap();
        assert!(statement.starts_with("CREATE DATABASE"), "{statement}");
        let server = target.server.client("postgres").await.unwrap();
        server
            .batch_execute(&format!("DROP DATABASE {}", target.name))
            .await
            .unwrap();
        server.batch_execute(statement).await.unwrap();
        server
            .batch_execute(&format!("ALTER DATABASE {} OWNER TO {OWNER}", target.name))
            .await
            .unwrap();
        restore_into(&target, sealed().await, &options()).await.unwrap();
        let sorted = "SELECT name FROM person ORDER BY name";
        assert!(
            plain_copy(&database, sorted) == plain_copy(&target, sorted),
            "{locale}"
        );
    }
}

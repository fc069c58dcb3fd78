//! A registry restored into a server that has nothing, not even its database.

use std::sync::Arc;

use dataembassy_contract::restore::IfNotEmpty;
use dataembassy_sidecar::restore::{Options, RestoreError, progress::Progress, restore, target::make_like};
use dataembassy_testkit::postgresql::{PASSWORD, Server};

use super::Managed;
use crate::sealed::{options, seal};
use crate::support::{MAJORS, source, take};

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_makes_the_database_as_the_source_had_it() {
    for major in MAJORS {
        let managed = Managed::started(major);
        let server = Server::shared(major);
        for (name, create) in [
            ("business", "TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'"),
            ("health", "TEMPLATE template0 ENCODING UTF8 LOCALE 'C.UTF-8'"),
            ("population", "TEMPLATE template0 ENCODING UTF8 LOCALE 'C'"),
        ] {
            let database = server.database_with(create).await.unwrap();
            database
                .execute(
                    "CREATE TABLE persons (name text UNIQUE); INSERT INTO persons VALUES ('Müller'), ('Ærø')",
                )
                .await
                .unwrap();
            let copy = Arc::new(seal(&source(server, &database.name)).await);
            let target = managed.source(name, &managed.authority, PASSWORD);
            let missing = restore(&copy, &target, &options(), &Progress::default())
                .await
                .unwrap_err();
            assert!(matches!(missing, RestoreError::Target(_)), "{missing}");
            let making = Options {
                create_database: true,
                trusting: true,
                ..options()
            };
            let outcome = restore(&copy, &target, &making, &Progress::default())
                .await
                .unwrap();
            assert_eq!(outcome.rows, 2);
            assert_eq!(outcome.sorted_otherwise, None);
            assert!(
                outcome.roles_kept.contains(&"postgres".to_owned()),
                "{:?}",
                outcome.roles_kept
            );
            let told = outcome
                .notes
                .iter()
                .any(|note| note.ends_with("not the copy's: postgres"));
            assert!(told, "{:?}", outcome.notes);
            let like = "SELECT concat_ws(' ', pg_encoding_to_char(encoding), datcollate, datctype) FROM pg_database \
                        WHERE datname = current_database()";
            assert_eq!(
                managed.value(name, like).await,
                database.value(like).await.unwrap()
            );
            let names = "SELECT string_agg(name, ' ' ORDER BY name) FROM persons";
            assert_eq!(
                managed.value(name, names).await,
                database.value(names).await.unwrap()
            );
            // One that was begun anew finds it there.
            let again = Options {
                if_not_empty: IfNotEmpty::Replace,
                ..making
            };
            restore(&copy, &target, &again, &Progress::default())
                .await
                .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_sorts_in_another_way_says_so_when_it_is_restored_into() {
    let managed = Managed::started(17);
    let utf8 = "TEMPLATE template0 ENCODING UTF8 LOCALE 'C.UTF-8'";
    let database = Server::shared(17).database_with(utf8).await.unwrap();
    managed
        .execute("postgres", "CREATE DATABASE land TEMPLATE template0 LOCALE 'C'")
        .await;
    let copy = Arc::new(seal(&source(database.server, &database.name)).await);
    let target = managed.source("land", &managed.authority, PASSWORD);
    let accepting = Options {
        accept_collation: true,
        ..options()
    };
    let outcome = restore(&copy, &target, &accepting, &Progress::default())
        .await
        .unwrap();
    let words = outcome.sorted_otherwise.unwrap();
    assert_eq!(words, "text is sorted by C, not by C.UTF-8 as at the source");
    assert!(outcome.notes.contains(&words), "{:?}", outcome.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_server_does_not_know_the_locale_the_database_takes_the_rows_and_says_why_it_is_another() {
    let managed = Managed::started(17);
    let database = Server::shared(17).database().await.unwrap();
    let mut like = take(&source(database.server, &database.name))
        .await
        .unwrap()
        .dumped
        .database;
    like.collate = "tlh_QO.UTF-8".into();
    let mut session = managed.session("postgres").await;
    let why = make_like(&mut session, "land", &like).await.unwrap().unwrap();
    assert!(why.contains("locale"), "{why}");
    let made = "SELECT concat_ws(' ', pg_encoding_to_char(encoding), datcollate) FROM pg_database WHERE datname = 'land'";
    assert_eq!(managed.value("postgres", made).await, "UTF8 C");
    like.collate.clone_from(&like.ctype);
    let why = make_like(&mut session, "land", &like).await.unwrap();
    assert_eq!(why, None, "what is there is left as it is");
}

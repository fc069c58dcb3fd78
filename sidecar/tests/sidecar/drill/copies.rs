//! Drills of registries that sort by other providers, of one that sorts as no server here does, and of any copy that is kept.

use std::time::Duration;

use dataembassy_archive::inventory::Header;
use dataembassy_contract::{
    Reason,
    assertion::Expectation,
    drill::{Pick, Verdict},
};
use dataembassy_ledger::value::CopyId;
use dataembassy_testkit::postgresql::{Database, Server};

use super::bench::{Drill, answer, asks, cell, copied, equals};
use crate::restore::embassy::Embassy;
use crate::sealed::{Making, seal_with};
use crate::support::source;

/// Names that each collation puts into another order.
const PERSONS: &str = "CREATE TABLE person (name text PRIMARY KEY);
    INSERT INTO person VALUES ('Õun'), ('ozon'), ('Zeta'), ('zoo'), ('Ülo'), ('alpha'), ('Beta')";
const SORTED: &str = "SELECT string_agg(name, ' ' ORDER BY name) FROM person";

async fn sorting(major: u32, options: &str) -> Database {
    let database = Server::shared(major).database_with(options).await.unwrap();
    database.execute(PERSONS).await.unwrap();
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_of_other_providers_sort_in_the_cell_as_at_home() {
    for (major, options) in [
        (
            15,
            "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'et-EE' LOCALE 'C.UTF-8'",
        ),
        (
            17,
            "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'et-EE' LOCALE 'C.UTF-8'",
        ),
        (
            17,
            "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'et-EE' ICU_RULES '&z < a' LOCALE 'C.UTF-8'",
        ),
        (
            17,
            "TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'",
        ),
    ] {
        let database = sorting(major, options).await;
        let order = database.value(SORTED).await.unwrap();
        let copy = seal_with(&source(database.server, &database.name), Making::default()).await;
        let embassy = Embassy::start().await;
        embassy.publish(&copy, 7).await;
        let cell = cell(17);
        let drill = Drill::new(&embassy, &cell, |config| {
            let provider = "SELECT datlocprovider::text FROM pg_database WHERE datname = current_database()";
            let letter = if options.contains("icu") { "i" } else { "b" };
            config.assertions = vec![
                equals("sorted", SORTED, &order),
                equals("provider", provider, letter),
            ];
        });
        let result = drill.result().await;
        assert_eq!(
            (result.verdict, result.reason),
            (Verdict::Passed, Reason::Drilled),
            "{options}: {result:?}"
        );
        assert!(result.notes.is_empty(), "{:?}", result.notes);
    }
}

/// A locale that no server has.
fn of_atlantis(header: &mut Header) {
    header.database.collate = "xx_XX.UTF-8".into();
    header.database.ctype = "xx_XX.UTF-8".into();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locale_that_the_cell_lacks_is_replaced_and_the_report_says_so() {
    let database = sorting(17, "TEMPLATE template0 LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'").await;
    let making = Making {
        header: of_atlantis,
        ..Making::default()
    };
    let copy = seal_with(&source(database.server, &database.name), making).await;
    let embassy = Embassy::start().await;
    embassy.publish(&copy, 7).await;
    let cell = cell(17);
    let drill = Drill::new(&embassy, &cell, |config| {
        config.assertions = vec![equals("persons", "SELECT count(*) FROM person", "7")];
    });
    let result = drill.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Passed, Reason::Drilled),
        "{result:?}"
    );
    assert!(
        result.notes.iter().any(
            |note| note.contains("has no locale xx_XX.UTF-8/xx_XX.UTF-8") && note.contains("sorted by C")
        ),
        "{:?}",
        result.notes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_copy_that_is_kept_may_be_drawn_and_it_is_the_one_that_is_restored() {
    let embassy = Embassy::start().await;
    let database = Server::shared(17).database().await.unwrap();
    database.execute("CREATE TABLE which (copy int)").await.unwrap();
    for number in 1..=3_u8 {
        database
            .execute(&format!("TRUNCATE which; INSERT INTO which VALUES ({number})"))
            .await
            .unwrap();
        let making = Making {
            copy: number,
            ..Making::default()
        };
        let copy = seal_with(&source(database.server, &database.name), making).await;
        embassy.publish(&copy, number).await;
    }
    let cell = cell(17);
    let drill = Drill::new(&embassy, &cell, |config| {
        config.pick = Pick::Random;
        let one_of_them = Expectation::Within {
            at_least: Some("1".into()),
            at_most: Some("3".into()),
        };
        config.assertions = vec![asks("which", "SELECT copy FROM which", one_of_them)];
    });
    let result = drill.result().await;
    assert_eq!(
        (result.verdict, result.pick),
        (Verdict::Passed, Pick::Random),
        "{result:?}"
    );
    let copy = result.copy.as_ref().unwrap();
    let number = u8::try_from(copy.sequence).unwrap();
    assert_eq!(answer(&result, "which").found, number.to_string());
    assert_eq!(copy.copy_id, CopyId::from_bytes([number; 16]).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_never_ends_is_ended_by_its_own_time() {
    let embassy = Embassy::start().await;
    let (_, copy) = copied(17, PERSONS).await;
    embassy.publish(&copy, 7).await;
    let cell = cell(17);
    let mut drill = Drill::new(&embassy, &cell, |config| {
        config.assertions = vec![
            equals(
                "endless",
                "SELECT count(*) FROM generate_series(1, 1000000000000)",
                "1",
            ),
            equals("persons", "SELECT count(*) FROM person", "7"),
        ];
    });
    drill.longest_question = Duration::from_secs(1);
    let result = drill.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Failed, Reason::AnswerWrong),
        "{result:?}"
    );
    let endless = answer(&result, "endless");
    assert!(
        !endless.passed && endless.found.contains("statement timeout"),
        "{endless:?}"
    );
    assert!(answer(&result, "persons").passed, "{result:?}");
}

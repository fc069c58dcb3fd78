//! What a restored database is asked, and what becomes of a restore whose answer is wrong.

use std::time::Duration;

use dataembassy_contract::{
    Reason,
    assertion::{Answer, AssertionConfig, Expectation},
    restore::{Ending, RestorePhase, RestoreResult},
};
use dataembassy_sidecar::restore::job::run_until;
use dataembassy_testkit::postgresql::{Database, Server};
use tokio_util::sync::CancellationToken;

use super::embassy::assert_equal;
use super::job::{Folder, PATIENCE, published, run_program};
use crate::bench::pauses::briefly;
use crate::sealed::target;

fn asks(name: &str, sql: &str, expect: Expectation) -> AssertionConfig {
    AssertionConfig {
        name: name.into(),
        sql: sql.into(),
        expect,
    }
}

fn equals(name: &str, sql: &str, value: &str) -> AssertionConfig {
    asks(name, sql, Expectation::Equals(value.into()))
}

fn answer<'a>(result: &'a RestoreResult, name: &str) -> &'a Answer {
    let found = result.assertions.iter().find(|one| one.name == name);
    found.unwrap_or_else(|| panic!("{name} was not answered: {result:?}"))
}

/// Whether the database says of itself that nobody may use it.
async fn is_marked(database: &Database) -> bool {
    let marked = "SELECT coalesce(shobj_description(oid, 'pg_database') LIKE '%UNFINISHED RESTORE%', false) FROM pg_database \
        WHERE datname = current_database()";
    database.value(marked).await.unwrap() == "true"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_that_answers_as_it_must_is_restored_and_its_answers_are_told() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let folder = Folder::new(&embassy, &target, |config| {
        let at_least = Expectation::Within {
            at_least: Some("60000".into()),
            at_most: None,
        };
        config.assertions = vec![
            asks("rows", "SELECT count(*) FROM \"Ödd \"\"one\"", at_least),
            equals(
                "small",
                "SELECT string_agg(a::text, ',' ORDER BY a) FROM small",
                "1,2",
            ),
            asks("fresh", "SELECT now()", Expectation::NotOlderThan(60)),
            // There are statistics by now.
            equals(
                "analysed",
                "SELECT reltuples::int FROM pg_class WHERE relname = 'small'",
                "2",
            ),
        ];
    });
    let result = folder.run().await;
    assert_eq!(
        (result.ending, result.reason),
        (Ending::Restored, Reason::Restored),
        "{result:?}"
    );
    let names: Vec<&str> = result.assertions.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["rows", "small", "fresh", "analysed"]);
    assert!(result.assertions.iter().all(|one| one.passed), "{result:?}");
    let rows = answer(&result, "rows");
    assert_eq!(
        (rows.expected.as_str(), rows.found.as_str()),
        ("at least 60000", "60000")
    );
    assert!(result.message.contains("all 4 answers"), "{}", result.message);
    assert_equal(&database, &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_fails_the_restore_and_takes_nothing_of_the_copy_away() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let folder = Folder::new(&embassy, &target, |config| {
        config.assertions = vec![
            equals("another", "SELECT 2", "1"),
            equals("small", "SELECT count(*) FROM small", "2"),
            equals("writes", "DELETE FROM small RETURNING 1", "1"),
            equals("leaves", "SELECT 1; COMMIT; DROP TABLE small", "1"),
            equals("error", "SELECT 1 / 0", "1"),
        ];
    });
    let words = folder.place.path().join("last-words");
    let (succeeded, said) = tokio::task::block_in_place(|| run_program(&folder, &words));
    assert!(!succeeded, "a Job whose answer is wrong does not complete");
    let result = RestoreResult::read(&said).unwrap();
    assert_eq!(
        (result.ending, result.reason),
        (Ending::Unconfirmed, Reason::AnswerWrong),
        "{result:?}"
    );
    for (name, word) in [
        ("another", "2"),
        ("writes", "read-only transaction"),
        ("leaves", "multiple commands"),
        ("error", "division by zero"),
    ] {
        let answer = answer(&result, name);
        assert!(!answer.passed && answer.found.contains(word), "{answer:?}");
    }
    assert!(answer(&result, "small").passed);
    for words in ["copy whole", "not marked", "another: 2, not '1'", "4 of 5"] {
        assert!(result.message.contains(words), "{words}: {}", result.message);
    }
    assert_eq!((result.rows, result.large_objects), (60_004, 2));
    assert!(result.seconds > 0.0 && result.copy.is_some());
    assert_equal(&database, &target);
    assert!(!is_marked(&target).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_never_ends_is_ended_by_its_own_time_and_keeps_no_other_from_being_asked() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let folder = Folder::new(&embassy, &target, |config| {
        config.assertions = vec![
            equals(
                "endless",
                "SELECT count(*) FROM generate_series(1, 1000000000000)",
                "1",
            ),
            equals("small", "SELECT count(*) FROM small", "2"),
        ];
    });
    let mut environment = folder.environment();
    environment.longest_question = Duration::from_secs(1);
    let ran = run_until(&environment, CancellationToken::new());
    let result = tokio::time::timeout(PATIENCE, ran).await.unwrap().unwrap();
    assert_eq!(
        (result.ending, result.reason),
        (Ending::Unconfirmed, Reason::AnswerWrong),
        "{result:?}"
    );
    let endless = answer(&result, "endless");
    assert!(endless.found.contains("statement timeout"), "{endless:?}");
    assert!(answer(&result, "small").passed);
    assert_equal(&database, &target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_told_to_end_at_its_questions_says_that_the_copy_is_there() {
    let (embassy, database) = published().await;
    let target = target(Server::shared(17)).await;
    let folder = Folder::new(&embassy, &target, |config| {
        config.assertions = vec![
            equals("small", "SELECT count(*) FROM small", "2"),
            equals("endless", "SELECT pg_sleep(50)", ""),
        ];
    });
    let (environment, ending) = (folder.environment(), CancellationToken::new());
    let told = ending.clone();
    let running = tokio::spawn(async move { run_until(&environment, told).await });
    folder
        .until(|report| report.progress.phase == RestorePhase::Questioning)
        .await;
    let sleeps = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(50)' AND state = 'active' \
        AND datname = current_database()";
    let asked = async {
        while target.value(sleeps).await.unwrap() != "true" {
            briefly().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap();
    ending.cancel();
    let result = tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(
        (result.ending, result.reason),
        (Ending::Unconfirmed, Reason::Interrupted),
        "{result:?}"
    );
    assert!(
        result.message.contains("1 of 2 questions") && result.message.contains("not marked"),
        "{}",
        result.message
    );
    assert!(answer(&result, "small").passed);
    assert_equal(&database, &target);
    assert!(!is_marked(&target).await);
}

//! A copy that can be restored: what is asked of it, and when that passes.

use std::time::Duration;

use dataembassy_contract::{
    Reason,
    assertion::Expectation,
    drill::{AssertionKind, DrillResult, Pick, Verdict},
    files,
    report::MAX_MESSAGE,
    restore::RestorePhase,
};
use dataembassy_ledger::value::CopyId;

use super::bench::{Drill, answer, asks, cell, copied, equals, published};
use crate::restore::embassy::Embassy;

/// What a registry has, odd things among it.
const CONTENT: &str = "\
    CREATE SCHEMA register; CREATE SCHEMA codes; CREATE EXTENSION hstore SCHEMA codes;
    CREATE TABLE register.person (id int PRIMARY KEY, name text NOT NULL, born date, changed timestamptz DEFAULT now(), marks codes.hstore);
    INSERT INTO register.person SELECT n, 'person ' || n, date '1950-01-01' + n, now() - interval '10 min', 'a=>1' FROM generate_series(1, 5000) n;
    ALTER TABLE register.person ENABLE ROW LEVEL SECURITY; ALTER TABLE register.person FORCE ROW LEVEL SECURITY;
    CREATE POLICY nobody ON register.person USING (false);
    CREATE TABLE house (id int PRIMARY KEY, person int REFERENCES register.person, CHECK (id > 0));
    INSERT INTO house SELECT n, n FROM generate_series(1, 500) n;
    ALTER TABLE house ADD CONSTRAINT low CHECK (id < 100) NOT VALID;
    CREATE INDEX ON house (person);
    CREATE MATERIALIZED VIEW households AS SELECT count(*) FROM house;
    CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION noted();
    SELECT lo_from_bytea(4711, 'small');";

#[tokio::test(flavor = "multi_thread")]
async fn an_older_servers_copy_passes_when_it_gives_every_answer_as_it_must() {
    let embassy = Embassy::start().await;
    let cell = cell(17);
    let (_, mut copy) = copied(15, CONTENT).await;
    for id in [7, 8] {
        copy.identity.copy_id = CopyId::from_bytes([id; 16]);
        embassy.publish(&copy, id).await;
    }
    // The inventory names the first, so that it is the only one that can be restored.
    let drill = Drill::new(&embassy, &cell, |config| {
        config.pick = Pick::OldestUndrilled;
        config.rto_seconds = Some(90);
        config.allowed_extensions = vec!["hstore".into(), "absent_in_the_copy".into()];
        config.assertions = vec![
            equals("persons", "SELECT count(*) FROM register.person", "5000"),
            asks(
                "houses",
                "SELECT max(id) FROM house",
                Expectation::Within {
                    at_least: Some("499.5".into()),
                    at_most: Some("500".into()),
                },
            ),
            asks(
                "fresh",
                "SELECT max(changed) FROM register.person",
                Expectation::NotOlderThan(3_600),
            ),
            equals(
                "marks",
                "SELECT codes.akeys(marks) FROM register.person WHERE id = 1",
                "{a}",
            ),
        ];
    });
    drill.remove(files::IDENTITY);
    let running = drill.begin();
    let (report, _) = running.until(|report| !report.missing_secrets.is_empty()).await;
    assert_eq!(report.missing_secrets[0].key, "identity.txt");
    assert_eq!(report.progress.phase, RestorePhase::Waiting);
    drill.write(files::IDENTITY, &embassy.identity);
    let result = running.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Passed, Reason::Drilled),
        "{result:?}"
    );
    assert!(result.assertions.iter().all(|one| one.passed), "{result:?}");
    let kinds: Vec<_> = result.assertions.iter().map(|one| one.kind).collect();
    assert_eq!(
        kinds,
        [
            AssertionKind::Contents,
            AssertionKind::LargeObjects,
            AssertionKind::Constraints,
            AssertionKind::Sql,
            AssertionKind::Sql,
            AssertionKind::Sql,
            AssertionKind::Sql,
            AssertionKind::RecoveryTime,
        ]
    );
    assert!(
        answer(&result, "contents")
            .found
            .starts_with("2 tables with 5500 rows"),
        "{result:?}"
    );
    assert!(
        answer(&result, "constraints").expected.contains("but the 1 "),
        "{result:?}"
    );
    assert_told(&result);
    // The cell was used once, and lets nobody in who could use it again.
    let again = Drill::new(&embassy, &cell, |_| ()).result().await;
    assert_eq!(
        (again.verdict, again.reason),
        (Verdict::Inconclusive, Reason::CellLost),
        "{again:?}"
    );
}

/// What a report says besides the answers.
fn assert_told(result: &DrillResult) {
    let found = result.found;
    assert_eq!(
        (
            found.tables,
            found.rows,
            found.large_objects,
            found.large_object_bytes
        ),
        (2, 5_500, 1, 5)
    );
    let copy = result.copy.as_ref().unwrap();
    assert_eq!(copy.sequence, 1);
    assert!(
        copy.digest.len() == 64 && copy.source_version.starts_with("17"),
        "{copy:?}"
    );
    let steps: Vec<&str> = result.steps.iter().map(|step| step.name.as_str()).collect();
    for step in [
        "finding the copy",
        "making the database",
        "rows",
        "statistics",
        "questions",
    ] {
        assert!(steps.contains(&step), "{steps:?}");
    }
    let recovery = result.recovery_seconds.unwrap();
    let total = (result.ended_at - result.started_at)
        .total(jiff::Unit::Second)
        .unwrap();
    assert!(recovery > 0.0 && recovery <= total, "{recovery} of {total}");
    let left_out = |kind: &str| result.left_out.iter().find(|left_out| left_out.kind == kind);
    assert!(
        left_out("EVENT TRIGGER").unwrap().reason.contains("superuser"),
        "{result:?}"
    );
    assert!(
        left_out("ROLE").is_some_and(|roles| !roles.reason.contains("--")),
        "{result:?}"
    );
    assert!(
        result.tools.server.starts_with("17.") && result.tools.pg_restore.starts_with("17."),
        "{result:?}"
    );
    assert_eq!(result.schema_digest.as_ref().unwrap().len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_are_as_an_earlier_report_named_them_pass() {
    let embassy = Embassy::start().await;
    let (_, copy) = copied(
        17,
        "CREATE TABLE house (id int PRIMARY KEY); INSERT INTO house VALUES (1)",
    )
    .await;
    embassy.publish(&copy, 7).await;
    let (one, another) = (cell(17), cell(17));
    let first = Drill::new(&embassy, &one, |_| ()).result().await;
    let named = first.schema_digest.clone();
    let again = Drill::new(&embassy, &another, |config| config.schema_digest = named);
    let result = again.result().await;
    assert_eq!(result.verdict, Verdict::Passed, "{result:?}");
    let schema = answer(&result, "schema");
    assert_eq!(
        (schema.kind, schema.passed),
        (AssertionKind::Schema, true),
        "{schema:?}"
    );
    assert_eq!(Some(&schema.found), first.schema_digest.as_ref());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_came_back_whole_and_too_late_fails_by_its_time_alone() {
    let (embassy, cell) = (
        published("CREATE TABLE house (id int PRIMARY KEY); INSERT INTO house VALUES (1)").await,
        cell(17),
    );
    let drill = Drill::new(&embassy, &cell, |config| {
        config.rto_seconds = Some(0);
        config.assertions = vec![equals("houses", "SELECT count(*) FROM house", "1")];
    });
    let result = drill.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Failed, Reason::RtoMissed),
        "{result:?}"
    );
    let answers: Vec<_> = result
        .assertions
        .iter()
        .map(|one| (one.name.as_str(), one.passed))
        .collect();
    assert_eq!(
        answers,
        [
            ("contents", true),
            ("large-objects", true),
            ("constraints", true),
            ("houses", true),
            ("recovery-time", false),
        ],
        "{result:?}"
    );
    assert!(
        result.message.contains("1 of 5 answers") && result.message.contains("not at most 0 s"),
        "{}",
        result.message
    );
    assert!(
        result.recovery_seconds.is_some_and(|seconds| seconds > 0.0),
        "{result:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_answer_is_told_and_none_keeps_another_from_being_asked() {
    let embassy = Embassy::start().await;
    let cell = cell(17);
    let (_, copy) = copied(17, &format!("{CONTENT} {UNDOES_A_CONSTRAINT}")).await;
    embassy.publish(&copy, 7).await;
    let equal = |name, sql| equals(name, sql, "1");
    let drill = Drill::new(&embassy, &cell, |config| {
        config.rto_seconds = Some(0);
        config.allowed_extensions = vec!["hstore".into()];
        config.schema_digest = Some("ab".repeat(32));
        config.assertions = vec![
            equal("another", "SELECT 2"),
            asks(
                "beyond",
                "SELECT count(*) FROM register.person",
                Expectation::Within {
                    at_least: None,
                    at_most: Some("4999".into()),
                },
            ),
            asks(
                "stale",
                "SELECT min(born) FROM register.person",
                Expectation::NotOlderThan(3_600),
            ),
            equal("rows", "SELECT 1 FROM generate_series(1, 100000)"),
            equal("none", "SELECT 1 WHERE false"),
            equal("columns", "SELECT 1, 2"),
            equal("null", "SELECT NULL"),
            equal("error", "SELECT 1 / 0"),
            equal("absent", "SELECT * FROM nowhere"),
            equal("writes", "DELETE FROM house RETURNING 1"),
            equal("leaves", "SELECT 1; COMMIT; DROP TABLE house"),
            equal("commits", "COMMIT"),
            equal("copies", "COPY house TO STDOUT"),
            equal("becomes", "SET ROLE postgres"),
            equals("long", "SELECT repeat('x', 100000)", &"x".repeat(100_000)),
            equal("most", "SELECT repeat('x', 1048570)"),
            equal("more", "SELECT repeat('x', 1048571)"),
            equal("much-more", "SELECT repeat('x', 2000000)"),
            equals("houses", "SELECT count(*) FROM house", "500"),
        ];
    });
    let result = drill.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Failed, Reason::AnswerWrong),
        "{result:?}"
    );
    for (name, word) in [
        ("schema", ""),
        ("constraints", "public.house house_id_check"),
        ("another", "2"),
        ("beyond", "5000"),
        ("stale", "s before"),
        ("rows", "more than one row"),
        ("none", "no row"),
        ("columns", "2 columns"),
        ("null", "NULL"),
        ("error", "division by zero"),
        ("absent", "does not exist"),
        ("writes", "read-only transaction"),
        ("leaves", "multiple commands"),
        ("commits", "no row"),
        ("copies", "unexpected message"),
        ("becomes", "permission denied"),
        // A mebibyte with what the protocol adds to it is read; of more nothing is.
        ("most", "xxx"),
        ("more", "answer is larger than 1048576 bytes"),
        ("much-more", "answer is larger than 1048576 bytes"),
        ("recovery-time", "s"),
    ] {
        let answer = answer(&result, name);
        assert!(!answer.passed && answer.found.contains(word), "{answer:?}");
    }
    for name in ["contents", "large-objects", "long", "houses"] {
        assert!(answer(&result, name).passed, "{:?}", answer(&result, name));
    }
    for name in ["long", "most"] {
        assert_eq!(answer(&result, name).found.len(), 256);
    }
    assert!(result.message.chars().count() <= MAX_MESSAGE);
    assert!(
        result.message.contains("another: 2, not '1'"),
        "{}",
        result.message
    );
    assert!(result.copy.is_some() && result.recovery_seconds.is_some());
}

/// Makes a constraint anew that nobody has checked, where it is a drill's.
const UNDOES_A_CONSTRAINT: &str = "
    CREATE FUNCTION undo() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        IF current_database() LIKE 'dataembassy%' THEN
            ALTER TABLE public.house DROP CONSTRAINT house_id_check;
            ALTER TABLE public.house ADD CONSTRAINT house_id_check CHECK (id > 400) NOT VALID;
        END IF;
        RETURN 1;
    END $$;
    CREATE MATERIALIZED VIEW undone AS SELECT undo();";

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_is_told_to_end_says_so_and_waits_for_nobody() {
    let embassy = Embassy::start().await;
    let cell = cell(17);
    let drill = Drill::new(&embassy, &cell, |_| ());
    drill.remove(files::IDENTITY);
    let running = drill.begin();
    running.until(|report| !report.missing_secrets.is_empty()).await;
    running.ending.cancel();
    let result = tokio::time::timeout(Duration::from_secs(20), running.task)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Inconclusive, Reason::Interrupted)
    );
    assert_eq!(drill.last_words().reason, Reason::Interrupted);
}

//! A copy made by somebody who owns home, and what it cannot do to the drill, to the cell and to who reads the report.

use std::path::Path;

use dataembassy_contract::{
    Reason,
    drill::{DrillResult, Verdict},
    restore::RestorePhase,
};
use dataembassy_testkit::postgresql::{Cell, Server};

use super::bench::{Drill, answer, cell, equals, published};

/// Tries a statement as soon as it is in a drill, and tells what came of it. At home it does nothing.
const TRIES: &str = "
    CREATE FUNCTION tries(statement text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
        IF current_database() NOT LIKE 'dataembassy%' THEN RETURN 'at home'; END IF;
        EXECUTE statement;
        RETURN 'done';
    EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
    END $$;";

/// Each is tried while an index, a constraint or a view is made, as the role that owns what is restored.
const ATTEMPTS: [(&str, &str); 12] = [
    (
        "runs_a_program",
        "COPY public.plain FROM PROGRAM 'touch /srv/data/taken'",
    ),
    ("writes_a_file", "COPY public.plain TO '/srv/data/taken'"),
    ("reads_a_file", "SELECT pg_read_file('/etc/passwd')"),
    ("imports_a_file", "SELECT lo_import('/etc/passwd')"),
    ("becomes_superuser", "SET ROLE postgres"),
    ("makes_a_superuser", "CREATE ROLE mighty SUPERUSER LOGIN"),
    ("lets_superuser_in", "ALTER ROLE postgres LOGIN"),
    ("becomes_mighty", "ALTER ROLE CURRENT_USER SUPERUSER"),
    (
        "changes_the_server",
        "ALTER SYSTEM SET shared_preload_libraries = 'evil'",
    ),
    ("raises_its_limit", "SET temp_file_limit = -1"),
    ("joins_the_guard", "SET ROLE dataembassy_guard"),
    ("loads_code", "LOAD '/srv/data/evil.so'"),
];

fn attempts() -> String {
    let views = ATTEMPTS.map(|(name, statement)| {
        let statement = statement.replace('\'', "''");
        format!("CREATE MATERIALIZED VIEW {name} AS SELECT public.tries('{statement}') AS said;")
    });
    format!(
        "CREATE TABLE plain (a text); INSERT INTO plain VALUES ('a'); {TRIES} {}
         CREATE FUNCTION quietly(a text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT public.tries('COPY public.plain TO PROGRAM ''touch /srv/data/taken''') $$;
         CREATE INDEX by_program ON plain (quietly(a));
         ALTER TABLE plain ADD CONSTRAINT by_program CHECK (quietly(a) IS NOT NULL);",
        views.join("\n")
    )
}

/// What acts in whose name, or by what its name is.
const NAMES: &str = r#"
    CREATE FUNCTION listens() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_database() LIKE 'dataembassy%' THEN RAISE EXCEPTION 'the event trigger ran'; END IF;
    END $$;
    CREATE TABLE "x
\! touch /srv/data/taken
\copy plain from program 'touch /srv/data/taken'
" (a int);
    COMMENT ON TABLE plain IS E'harmless\n\\! touch /srv/data/taken\n\\connect postgres\n';
    CREATE TABLE "--\!" ("'; DROP TABLE plain; --" text DEFAULT E'\\! x');
    CREATE TABLE guarded (a int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;"#;

/// Roles of the server, so that they are made once, whatever is there.
const POLICIES: &str = "
    CREATE POLICY ours ON guarded TO dataembassy_owner, dataembassy_guard USING (true);
    CREATE EVENT TRIGGER listens ON ddl_command_end EXECUTE FUNCTION listens();";

fn nothing_was_taken(cell: &Cell) {
    for place in ["data/taken", "data/data/taken", "cell/taken"] {
        assert!(!cell.place().join(place).exists(), "{place} was written");
    }
    assert!(!Path::new("/srv/data/taken").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_copy_tries_while_it_is_restored_is_refused_and_the_report_says_so() {
    let server = Server::shared(17);
    let postgres = server.client("postgres").await.unwrap();
    postgres
        .batch_execute("CREATE ROLE dataembassy_owner; CREATE ROLE dataembassy_guard;")
        .await
        .unwrap();
    let embassy = published(&format!("{} {NAMES} {POLICIES}", attempts())).await;
    let cell = cell(17);
    let drill = Drill::new(&embassy, &cell, |config| {
        config.assertions = ATTEMPTS
            .iter()
            .map(|(name, _)| {
                equals(
                    &name.replace('_', "-"),
                    &format!("SELECT said FROM {name}"),
                    "done",
                )
            })
            .chain([
                equals("who", "SELECT current_user::text", "dataembassy_owner_1"),
                equals("plain", "SELECT count(*) FROM plain", "1"),
                equals("event-triggers", "SELECT count(*) FROM pg_event_trigger", "0"),
                equals(
                    "mighty",
                    "SELECT count(*) FROM pg_roles WHERE rolsuper AND rolcanlogin",
                    "0",
                ),
                equals(
                    "index",
                    "SELECT count(*) FROM pg_class WHERE relname = 'by_program'",
                    "1",
                ),
            ])
            .collect();
    });
    let result = drill.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Failed, Reason::AnswerWrong),
        "{result:?}"
    );
    for (name, statement) in ATTEMPTS {
        let answer = answer(&result, &name.replace('_', "-"));
        assert!(!answer.passed, "{statement}: {answer:?}");
        let is_refused = ["42501", "22023", "25001"]
            .iter()
            .any(|code| answer.found.starts_with(code));
        assert!(is_refused, "{statement}: {answer:?}");
    }
    for name in [
        "who",
        "plain",
        "event-triggers",
        "mighty",
        "index",
        "contents",
        "constraints",
    ] {
        assert!(answer(&result, name).passed, "{:?}", answer(&result, name));
    }
    let left_out = |kind: &str| result.left_out.iter().any(|left_out| left_out.kind == kind);
    assert!(left_out("EVENT TRIGGER") && left_out("ROLE"), "{result:?}");
    nothing_was_taken(&cell);
}

async fn fails_to_restore(content: &str, word: &str) -> DrillResult {
    let (embassy, cell) = (published(content).await, cell(17));
    let result = Drill::new(&embassy, &cell, |_| ()).result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Failed, Reason::RestoreFailed),
        "{result:?}"
    );
    assert!(
        result.message.contains(word),
        "{word} is not in {}",
        result.message
    );
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_in_an_untrusted_language_ends_the_restore() {
    let content =
        "CREATE FUNCTION evil() RETURNS trigger LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';";
    fails_to_restore(content, "permission denied for language c").await;
}

/// Does something only in a drill.
fn in_a_drill(query: &str) -> String {
    format!(
        "CREATE TABLE plain (a int); CREATE FUNCTION acts() RETURNS SETOF int LANGUAGE plpgsql AS $$ BEGIN
             IF current_database() LIKE 'dataembassy%' THEN RETURN QUERY {query}; END IF;
         END $$;
         CREATE MATERIALIZED VIEW acted AS SELECT * FROM acts();"
    )
}

/// It takes its time off before it begins.
const ENDLESS: &str = "SELECT set_config('statement_timeout', '0', false)::int FROM pg_sleep(3600)";

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_never_ends_is_ended_by_the_drills_own_deadline() {
    let (embassy, cell) = (published(&in_a_drill(ENDLESS)).await, cell(17));
    let drill = Drill::new(&embassy, &cell, |config| config.deadline_seconds = 45);
    let result = drill.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Inconclusive, Reason::DeadlineExceeded),
        "{result:?}"
    );
    assert!(
        result
            .message
            .contains("restoring indexes, constraints and views"),
        "{}",
        result.message
    );
    assert!(result.copy.is_some() && result.recovery_seconds.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_fills_the_disk_is_ended_by_the_guard() {
    let endless = "SELECT n FROM generate_series(1, 2000000000) n";
    let fills = format!(
        "CREATE TABLE plain (a int); CREATE FUNCTION lies() RETURNS bool LANGUAGE sql AS $$ SELECT current_database() LIKE 'dataembassy%' $$;
         CREATE MATERIALIZED VIEW filled AS SELECT n, repeat('x', 1000) AS x FROM ({endless}) n WHERE public.lies()
             AND (SELECT public.lies());"
    );
    let fills = fills.replace(
        "2000000000",
        "(CASE WHEN public.lies() THEN 2000000000 ELSE 1 END)",
    );
    let (embassy, cell) = (published(&fills).await, cell(17));
    let drill = Drill::new(&embassy, &cell, |config| config.database_limit_bytes = 200 << 20);
    let result = drill.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Inconclusive, Reason::CellFull),
        "{result:?}"
    );
    assert!(
        result.message.contains("raise spec.server.volumeSize"),
        "{}",
        result.message
    );
}

/// Sleeps in a drill, and is true at once at home; the server may call it whenever it likes.
const WAITS: &str = "CREATE FUNCTION waits(a int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
        IF current_database() LIKE 'dataembassy%' THEN PERFORM pg_sleep(3600); END IF;
        RETURN true;
    END $$;";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_says_nothing_of_the_copy() {
    for (phase, content) in [
        (
            RestorePhase::Definitions,
            // To attach the partition, the server looks what its constraints come to.
            format!(
                "{WAITS} CREATE TABLE plain (a int) PARTITION BY RANGE (a);
                 CREATE TABLE low PARTITION OF plain (CHECK (waits(1))) FOR VALUES FROM (0) TO (9);"
            ),
        ),
        (
            RestorePhase::Rows,
            format!("{WAITS} CREATE TABLE plain (a int CHECK (waits(a))); INSERT INTO plain VALUES (1);"),
        ),
        (RestorePhase::Constraints, in_a_drill(ENDLESS)),
        (
            RestorePhase::Comparing,
            // What is loaded into partitions through their root, as it must where an enum is hashed, is counted at the end, and takes its time.
            "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TABLE plain (a mood) PARTITION BY HASH (a);
             CREATE TABLE even PARTITION OF plain FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE odd PARTITION OF plain FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             INSERT INTO plain SELECT 'glad' FROM generate_series(1, 4000000);"
                .to_owned(),
        ),
        (
            RestorePhase::Analysing,
            format!(
                "{WAITS} CREATE TABLE plain (a int); INSERT INTO plain VALUES (1);
                 CREATE STATISTICS slow ON waits(a) FROM plain;"
            ),
        ),
    ] {
        let (embassy, cell) = (published(&content).await, cell(17));
        let drill = Drill::new(&embassy, &cell, |_| ());
        let running = drill.begin();
        running.until(|report| report.progress.phase == phase).await;
        cell.kill_server().unwrap();
        let result = running.result().await;
        assert_eq!(
            (result.verdict, result.reason),
            (Verdict::Inconclusive, Reason::CellLost),
            "{phase:?}: {result:?}"
        );
        assert!(
            result.message.contains("container `database`"),
            "{phase:?}: {}",
            result.message
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_up_again_after_it_broke_a_question_off_says_nothing_of_the_copy() {
    let (embassy, cell) = (published("CREATE TABLE plain (a int)").await, cell(17));
    let drill = Drill::new(&embassy, &cell, |config| {
        config.assertions = vec![equals("endless", "SELECT 1 FROM pg_sleep(3600)", "1")];
    });
    let running = drill.begin();
    running
        .until(|report| report.progress.phase == RestorePhase::Questioning)
        .await;
    // As the kernel does with one session where memory runs out: the server ends all of them, and takes new ones a moment later.
    cell.kill_session("dataembassy").unwrap();
    let result = running.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Inconclusive, Reason::CellLost),
        "{result:?}"
    );
}

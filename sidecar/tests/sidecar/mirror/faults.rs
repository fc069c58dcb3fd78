//! A mirror under faults: killed at each stage, beside a second one, with a store and a database that fail. The ledger holds whole copies
//! only, and the reason can be read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bench;
use crate::bench::mirror::MirrorBench;
use dataembassy_contract::report::{CheckState, Outcome, Report};
use dataembassy_contract::{Reason, files};
use dataembassy_testkit::fault_proxy::{Fault, Seen};
use dataembassy_testkit::minio::BUCKET;
use dataembassy_testkit::postgresql::PASSWORD;
use hyper::{Method, StatusCode};
use tokio::sync::Notify;

/// The longest that a changed configuration may take to be in effect.
const RELOAD: Duration = Duration::from_secs(15);

async fn until_seen(bench: &MirrorBench, part: &str) {
    let begun = Instant::now();
    let is_it = |seen: &Seen| seen.method == Method::PUT && seen.target.contains(part);
    while bench.store.proxy.asked_for(is_it) == 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "no put of {part}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn failed(report: &Report) -> Option<Reason> {
    report
        .recent_runs
        .first()
        .filter(|run| run.outcome == Outcome::Failed)
        .map(|run| run.reason)
}

/// Kills the sidecar while a put of `part` hangs, and expects that no copy exists and that the next sidecar makes one.
async fn killed_while_putting(part: &'static str) {
    let bench = MirrorBench::start(17).await;
    bench
        .store
        .proxy
        .inject(usize::MAX, Fault::Stall, move |method, target| {
            method == Method::PUT && target.contains(part)
        });
    let sidecar = bench.sidecar();
    until_seen(&bench, part).await;
    sidecar.kill();
    bench.store.proxy.heal();
    assert_eq!(bench.whole_copies().await, 0);
    bench.sidecar().until_copy(1).await;
    assert_eq!(bench.whole_copies().await, 1);
}

#[tokio::test]
async fn killed_in_the_middle_of_a_segment_leaves_no_copy() {
    killed_while_putting("/copies/").await;
}

#[tokio::test]
async fn killed_between_the_last_segment_and_the_entry_leaves_no_copy() {
    killed_while_putting("/source/").await;
}

#[tokio::test]
async fn killed_after_the_entry_leaves_one_copy_that_is_not_made_again() {
    let bench = MirrorBench::start(17).await;
    bench.store.proxy.inject(1, Fault::LoseReply, |method, target| {
        method == Method::PUT && target.contains("/source/")
    });
    let sidecar = bench.sidecar();
    until_seen(&bench, "/source/").await;
    let begun = Instant::now();
    while bench
        .store
        .minio
        .keys(BUCKET, "registries/population/source/")
        .await
        .unwrap()
        .is_empty()
    {
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    sidecar.kill();
    let report = bench.sidecar().until_copy(1).await;
    assert_eq!(report.last_copy.unwrap().sequence, 1);
    assert_eq!(bench.whole_copies().await, 1);
}

#[tokio::test]
async fn a_lost_reply_to_the_entry_is_a_copy_and_to_a_segment_a_number_left_unused() {
    let bench = MirrorBench::start(17).await;
    for part in ["/copies/", "/source/"] {
        bench
            .store
            .proxy
            .inject(1, Fault::LoseReply, move |method, target| {
                method == Method::PUT && target.contains(part)
            });
    }
    let sidecar = bench.sidecar();
    let report = sidecar
        .until("the run's end", |report| !report.recent_runs.is_empty())
        .await;
    assert_eq!(report.recent_runs[0].outcome, Outcome::Copied, "{report:#?}");
    assert_eq!(bench.store.proxy.faults_left(), 0);
    assert_eq!(bench.whole_copies().await, 1);
    let segments = bench
        .store
        .minio
        .keys(BUCKET, "registries/population/copies/")
        .await
        .unwrap();
    assert!(
        segments.iter().any(|key| key.ends_with("/00000002")),
        "{segments:?}"
    );
}

#[tokio::test]
async fn of_two_sidecars_one_commits_and_the_other_is_superseded() {
    let bench = MirrorBench::start(17).await;
    // The first one hangs before its entry, until the second has committed.
    bench.store.proxy.inject(
        1,
        Fault::Answer(StatusCode::SERVICE_UNAVAILABLE),
        |method, target| method == Method::PUT && target.contains("/source/"),
    );
    let (first, second) = (bench.sidecar(), bench.second_sidecar());
    let ended = |report: &Report| !report.recent_runs.is_empty();
    let reports = [
        first.until("its run", ended).await,
        second.until("its run", ended).await,
    ];
    let copied = reports
        .iter()
        .filter(|report| report.recent_runs[0].outcome == Outcome::Copied)
        .count();
    let superseded = reports
        .iter()
        .filter(|report| failed(report) == Some(Reason::Superseded))
        .count();
    // Where one began late enough to see the other's copy, it goes on from there.
    assert!(copied == 1 && superseded == 1 || copied == 2, "{reports:#?}");
    assert_eq!(bench.whole_copies().await, copied as u64);
}

#[tokio::test]
async fn a_trigger_that_another_sidecar_has_answered_is_not_answered_again() {
    let mut bench = MirrorBench::start(17).await;
    bench.config.trigger = Some("before the upgrade".into());
    bench.write_config();
    let committed = Arc::new(Notify::new());
    let told = Arc::clone(&committed);
    let wait = Fault::before(move || {
        let told = Arc::clone(&told);
        async move { told.notified().await }
    });
    bench.store.proxy.inject(1, wait, |method, target| {
        method == Method::PUT && target.contains("/source/")
    });
    let first = bench.sidecar();
    until_seen(&bench, "/source/").await;
    bench.second_sidecar().until_copy(1).await;
    committed.notify_one();
    let superseded = |report: &Report| failed(report) == Some(Reason::Superseded);
    first.until("its run", superseded).await;
    let answered = |report: &Report| report.last_trigger.is_some();
    first.until("the other's answer", answered).await;
    assert_eq!(bench.whole_copies().await, 1);
}

#[tokio::test]
async fn told_to_end_in_the_middle_of_a_run_it_is_interrupted_and_no_failure() {
    let bench = MirrorBench::start(17).await;
    bench
        .store
        .proxy
        .inject(usize::MAX, Fault::Stall, |method, _| method == Method::PUT);
    let sidecar = bench.sidecar();
    until_seen(&bench, "/copies/").await;
    let begun = Instant::now();
    assert_eq!(sidecar.terminate().await, 0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(bench.log().contains("the run was interrupted"), "{}", bench.log());
}

#[tokio::test]
async fn while_a_store_lets_it_wait_a_mirror_hears_a_new_configuration_and_its_end() {
    let mut bench = MirrorBench::start(17).await;
    let is_listing = |method: &Method, target: &str| method == Method::GET && target.contains("versions");
    bench.store.proxy.inject(usize::MAX, Fault::Stall, is_listing);
    let sidecar = bench.sidecar();
    let listings = |bench: &MirrorBench| {
        let proxy = &bench.store.proxy;
        proxy.asked_for(|seen| is_listing(&seen.method, &seen.target))
    };
    let until = async |bench: &MirrorBench, wanted: usize| {
        let begun = Instant::now();
        while listings(bench) < wanted {
            assert!(begun.elapsed() < RELOAD, "it waits for the store");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until(&bench, 1).await;
    let before = listings(&bench);
    bench.config.generation = 2;
    bench.write_config();
    until(&bench, before + 1).await;
    let begun = Instant::now();
    assert_eq!(sidecar.terminate().await, 0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_invalid_edit_is_refused_and_the_last_valid_configuration_stays() {
    let mut bench = MirrorBench::start(17).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    bench.config.schedule.cron = "0 0 3 1 1 *".into();
    bench.config.generation = 2;
    let begun = Instant::now();
    bench.write_config();
    let report = sidecar
        .until("the refusal", |report| report.refused.is_some())
        .await;
    assert!(begun.elapsed() < RELOAD);
    assert_eq!(report.refused.unwrap().reason, Reason::InvalidSchedule);
    assert_eq!(report.loaded.unwrap().generation, 1);
    bench.config.schedule.cron = "0 4 1 1 *".into();
    bench.config.generation = 3;
    let begun = Instant::now();
    bench.write_config();
    let report = sidecar
        .until("the third generation", |report| report.refused.is_none())
        .await;
    assert!(begun.elapsed() < RELOAD);
    assert_eq!(report.loaded.unwrap().generation, 3);
}

#[tokio::test]
async fn a_wrong_password_is_told_and_its_correction_is_used_at_once() {
    let bench = MirrorBench::start(17).await;
    bench.write_secret(files::DATABASE_PASSWORD, "an unusual wrong password");
    let sidecar = bench.sidecar();
    let wrong = |report: &Report| report.source.state == CheckState::False;
    let report = sidecar.until("the fault", wrong).await;
    assert_eq!(report.source.reason, Reason::SourceAuthenticationFailed);
    bench.write_secret(files::DATABASE_PASSWORD, PASSWORD);
    sidecar.until_copy(1).await;
    let told = format!("{}{:?}", bench.log(), sidecar.report().await.unwrap());
    for secret in [
        "an unusual wrong password",
        PASSWORD,
        "secret-of-",
        "PRIVATE KEY",
        "AGE-SECRET",
    ] {
        assert!(!told.contains(secret), "{secret} was told");
    }
}

#[tokio::test]
async fn a_secret_without_its_key_is_named() {
    let bench = MirrorBench::start(17).await;
    std::fs::remove_file(bench.folder.path().join(files::DATABASE_USERNAME)).unwrap();
    let sidecar = bench.sidecar();
    let report = sidecar
        .until("the fault", |report| report.refused.is_some())
        .await;
    assert_eq!(report.refused.unwrap().reason, Reason::SecretKeyMissing);
    assert_eq!(report.missing_secrets[0].key, "username");
    let ready = bench::http::get(sidecar.status_address(), "/readyz", None)
        .await
        .unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let alive = bench::http::get(sidecar.status_address(), "/livez", None)
        .await
        .unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
}

#[tokio::test]
async fn another_database_is_not_taken_for_the_registry_until_it_is_accepted() {
    let mut bench = MirrorBench::start(17).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let objects = bench.objects().await;
    let other = bench.database.server.database().await.unwrap();
    other.execute("CREATE TABLE person (id int)").await.unwrap();
    bench.config.source.postgresql.as_mut().unwrap().database = other.name.clone();
    bench.config.trigger = Some("after the move".into());
    bench.write_config();
    let report = sidecar
        .until("the refusal", |report| failed(report).is_some())
        .await;
    assert_eq!(failed(&report), Some(Reason::SourceChanged));
    assert_eq!(
        bench.objects().await,
        objects,
        "it was judged before anything was sent"
    );
    assert_eq!(bench.whole_copies().await, 1);
    let system = other
        .value("SELECT system_identifier FROM pg_control_system()")
        .await
        .unwrap();
    let oid = other
        .value("SELECT oid FROM pg_database WHERE datname = current_database()")
        .await
        .unwrap();
    bench.config.source.accepted_identity = Some(dataembassy_contract::config::SourceIdentity {
        system_identifier: system,
        database_oid: oid.parse().unwrap(),
    });
    bench.write_config();
    sidecar.until_copy(2).await;
    assert_eq!(bench.whole_copies().await, 2);
}

#[tokio::test]
async fn what_was_rewritten_while_it_was_copied_is_copied_anew_as_another_copy() {
    let bench = MirrorBench::start(17).await;
    // pg_dump takes no lock on an extension's configuration table, so it can be rewritten during a run. The run stands
    // still at the table `gate` until that is done.
    let prepare = "CREATE EXTENSION hstore; CREATE TABLE config AS SELECT md5(i::text) FROM generate_series(1, 30000) i; CREATE TABLE gate AS SELECT 1 AS i; \
        ALTER EXTENSION hstore ADD TABLE config; ALTER EXTENSION hstore ADD TABLE gate; \
        CREATE FUNCTION passed() RETURNS bool LANGUAGE sql AS 'SELECT true FROM pg_advisory_xact_lock_shared(1)'; \
        UPDATE pg_extension SET extconfig = ARRAY['config'::regclass::oid, 'gate'::regclass::oid], extcondition = ARRAY['', 'WHERE public.passed()'] \
        WHERE extname = 'hstore'; \
        CREATE TABLE filling AS SELECT (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 40) j) FROM generate_series(1, 40000) i";
    bench.database.execute(prepare).await.unwrap();
    let holding = bench.database.client().await.unwrap();
    holding.batch_execute("SELECT pg_advisory_lock(1)").await.unwrap();
    let sidecar = bench.sidecar();
    // A segment that is on its way as the copy begins anew would not arrive.
    let begun = Instant::now();
    while !bench.objects().await.iter().any(|key| key.contains("/copies/")) {
        assert!(begun.elapsed() < Duration::from_mins(1), "no segment has arrived");
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump' AND wait_event = 'advisory'";
    let begun = Instant::now();
    while bench.database.value(waiting).await.unwrap() == "0" {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "nobody waits for the table"
        );
    }
    bench.database.execute("TRUNCATE config").await.unwrap();
    drop(holding);

    sidecar.until_copy(1).await;
    assert!(bench.log().contains("the copy begins anew"), "{}", bench.log());
    assert_eq!(bench.whole_copies().await, 1);
    let objects = bench.objects().await;
    let copies: BTreeSet<_> = objects.iter().filter_map(|key| key.split('/').nth(3)).collect();
    assert_eq!(copies.len(), 2, "{objects:?}");
}

#[tokio::test]
async fn an_unchanged_report_is_not_sent_twice() {
    let bench = MirrorBench::start(17).await;
    let sidecar = bench.sidecar();
    let idle = |report: &Report| report.last_copy.is_some() && report.run.is_none();
    sidecar.until("the first copy", idle).await;
    let begun = Instant::now();
    loop {
        let first = bench::http::get(sidecar.status_address(), files::STATUS_PATH, None)
            .await
            .unwrap();
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        let again = bench::http::get(sidecar.status_address(), files::STATUS_PATH, Some(&tag))
            .await
            .unwrap();
        if again.status() == StatusCode::NOT_MODIFIED {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the report never rests"
        );
    }
}

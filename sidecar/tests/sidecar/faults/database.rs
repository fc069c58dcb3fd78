//! A way to the database that is slow, or on which a reply is lost: the run ends in a copy or at its deadline, says which, and holds nothing
//! at the registry past it, although the way is still as bad.

use std::time::{Duration, Instant};

use crate::bench::mirror::{MirrorBench, Sidecar};
use crate::support::until;
use dataembassy_contract::Reason;
use dataembassy_contract::report::{FinishedRun, Outcome, Report};
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::postgresql::{DatabaseToxic, FaultRelay};
use hyper::Method;

use super::assert_no_panic;

/// The longest that anything of a run may be left at the registry once it has ended, on a busy machine: a server that nobody tells finds out in a
/// minute and more.
const LEFT: Duration = Duration::from_secs(30);
/// How much later than its deadline a run may be seen to end, where a process may not be let run for ten seconds.
const SLACK: Duration = Duration::from_secs(20);
/// Ten megabytes.
const LARGE: &str = "CREATE TABLE large AS SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 40) j) AS text \
    FROM generate_series(1, 8000) i";

/// A mirror with one copy, whose database is behind a relay.
async fn mirrored() -> (MirrorBench, FaultRelay, Sidecar) {
    let mut bench = MirrorBench::start(17).await;
    let relay = FaultRelay::start(bench.database.server).await.unwrap();
    bench.config.source.postgresql.as_mut().unwrap().port = relay.port();
    bench.write_config();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    (bench, relay, sidecar)
}

fn run_of(report: &Report, trigger: &str) -> Option<FinishedRun> {
    let mut runs = report.recent_runs.iter();
    runs.find(|run| run.trigger.as_deref() == Some(trigger)).cloned()
}

/// Asks for a copy within a deadline and waits for the run's end.
async fn asked(bench: &mut MirrorBench, sidecar: &Sidecar, trigger: &str, deadline: Duration) -> FinishedRun {
    bench.config.schedule.deadline = format!("{}s", deadline.as_secs()).parse().unwrap();
    bench.config.trigger = Some(trigger.to_owned());
    bench.write_config();
    let has_ended = |report: &Report| run_of(report, trigger).is_some();
    let report = sidecar.until("the run's end", has_ended).await;
    run_of(&report, trigger).unwrap()
}

/// The run has ended by its deadline and not long after it, and the registry is rid of its snapshot, its transactions and its locks.
async fn ended_by_its_deadline(bench: &MirrorBench, run: &FinishedRun, deadline: Duration) {
    assert_eq!(run.outcome, Outcome::Failed, "{run:#?}");
    assert_eq!(run.reason, Reason::DeadlineExceeded, "{run:#?}");
    let took = run.ended_at.duration_since(run.started_at).as_secs_f64();
    assert!(took < (deadline + SLACK).as_secs_f64(), "{run:#?}");
    let held = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'dump' AND datname = current_database() AND xact_start IS NOT NULL";
    let begun = Instant::now();
    while bench.database.value(held).await.unwrap() != "0" {
        assert!(begun.elapsed() < LEFT, "something is held past the deadline");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_way_to_the_database_ends_in_a_copy_or_at_the_deadline_and_holds_nothing_past_it() {
    let (mut bench, relay, sidecar) = mirrored().await;
    relay.poison_all(DatabaseToxic::Bandwidth, 256 * 1024);
    let run = asked(&mut bench, &sidecar, "slow", Duration::from_mins(1)).await;
    assert_eq!(run.outcome, Outcome::Copied, "{run:#?}");
    assert!(relay.met() > 0);

    bench.database.execute(LARGE).await.unwrap();
    let deadline = Duration::from_secs(20);
    let run = asked(&mut bench, &sidecar, "too-slow", deadline).await;
    ended_by_its_deadline(&bench, &run, deadline).await;
    relay.heal();
    let run = asked(&mut bench, &sidecar, "fast", Duration::from_mins(1)).await;
    assert_eq!(run.outcome, Outcome::Copied, "{run:#?}");
    assert_eq!(bench.whole_copies().await, 3);
    assert_no_panic(&bench.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_of_the_database_ends_the_run_by_its_deadline_and_lets_the_snapshot_go() {
    let (mut bench, relay, sidecar) = mirrored().await;
    // Long enough to get so far on a busy machine.
    let deadline = Duration::from_secs(25);
    // That to the end of a COPY, and that to the COMMIT after it.
    for (spared, trigger) in [(0, "copy"), (1, "commit")] {
        relay.poison_all(DatabaseToxic::LoseReply, spared);
        let run = asked(&mut bench, &sidecar, trigger, deadline).await;
        assert!(relay.met() > 0, "no reply was lost");
        ended_by_its_deadline(&bench, &run, deadline).await;
        relay.heal();
        let after = format!("after-{trigger}");
        let run = asked(&mut bench, &sidecar, &after, Duration::from_mins(1)).await;
        assert_eq!(run.outcome, Outcome::Copied, "{run:#?}");
    }
    assert_eq!(bench.whole_copies().await, 3);
    assert_no_panic(&bench.log());
}

/// A table whose rows wait for whoever holds the lock, and that stays readable for `pg_dump`; one that fills a segment stands beside it.
const GATE: &str = "CREATE EXTENSION hstore; CREATE TABLE gate AS SELECT 1 AS i; ALTER EXTENSION hstore ADD TABLE gate; \
    CREATE FUNCTION passed() RETURNS bool LANGUAGE sql AS 'SELECT true FROM pg_advisory_xact_lock_shared(1)'; \
    UPDATE pg_extension SET extconfig = ARRAY['gate'::regclass::oid], extcondition = ARRAY['WHERE public.passed()'] \
    WHERE extname = 'hstore'; \
    CREATE TABLE filling AS SELECT (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 40) j) FROM generate_series(1, 40000) i";
/// Nothing is read any more, and one session waits.
const STANDS: &str = "(SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump' AND wait_event = 'advisory') \
    AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump' AND query LIKE 'COPY%filling%' AND state = 'active')";
/// No session of ours, and so no snapshot and no lock.
const LEFT_ALONE: &str =
    "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = 'dump')";

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_while_the_database_stands_still_ends_the_run_at_once() {
    let mut bench = MirrorBench::start(17).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    bench.database.execute(GATE).await.unwrap();
    let holder = bench.database.client().await.unwrap();
    holder.batch_execute("SELECT pg_advisory_lock(1)").await.unwrap();
    let is_segment = |method: &Method, target: &str| *method == Method::PUT && target.contains("/copies/");
    let proxy = &bench.store.proxy;
    proxy.inject(usize::MAX, Fault::StallAfter(1_000), is_segment);
    bench.config.schedule.deadline = "10m".parse().unwrap();
    bench.config.trigger = Some("stands".into());
    bench.write_config();
    // A segment is on its way, and the dump has nothing left to say before the lock is let go of.
    let begun = Instant::now();
    while proxy.faults_met() == 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "no segment is put");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until(&bench.database, STANDS).await;
    // The put is cut off, and the next one finds the store full.
    proxy.heal();
    proxy.inject(usize::MAX, Fault::full(), is_segment);

    let has_ended = |report: &Report| run_of(report, "stands").is_some();
    let report = sidecar
        .until("the run's end, long before its deadline", has_ended)
        .await;
    let run = run_of(&report, "stands").unwrap();
    assert_eq!(
        (run.outcome, run.reason),
        (Outcome::Failed, Reason::StoreFull),
        "{run:#?}"
    );
    until(&bench.database, LEFT_ALONE).await;
    bench.store.proxy.heal();
    drop(holder);
    let run = asked(&mut bench, &sidecar, "goes-on", Duration::from_mins(1)).await;
    assert_eq!(run.outcome, Outcome::Copied, "{run:#?}");
    // What failed may have been tried once more before.
    assert!(bench.whole_copies().await >= 2);
    assert_no_panic(&bench.log());
}

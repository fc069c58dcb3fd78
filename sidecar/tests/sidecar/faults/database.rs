//! A way to the database that is slow, or on which a reply is lost: the run ends in a copy or at its deadline, says which, and holds nothing
//! at the registry past it, although the way is still as bad.

use std::time::{Duration, Instant};

use crate::bench::mirror::{MirrorBench, Sidecar};
use dataembassy_contract::Reason;
use dataembassy_contract::report::{FinishedRun, Outcome, Report};
use dataembassy_testkit::postgresql::{DatabaseToxic, FaultRelay};

use super::assert_no_panic;

/// The longest that anything of a run may be left at the registry once it has ended, on a busy machine.
const LEFT: Duration = Duration::from_secs(10);
/// How much later than its deadline a run may be seen to end.
const SLACK: Duration = Duration::from_secs(5);
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
    let deadline = Duration::from_secs(8);
    // That to the end of a COPY, and that to the COMMIT after it.
    for (spared, trigger) in [(0, "copy"), (1, "commit")] {
        relay.poison_all(DatabaseToxic::LoseReply, spared);
        let run = asked(&mut bench, &sidecar, trigger, deadline).await;
        assert!(relay.met() > 0);
        ended_by_its_deadline(&bench, &run, deadline).await;
        relay.heal();
        let after = format!("after-{trigger}");
        let run = asked(&mut bench, &sidecar, &after, Duration::from_mins(1)).await;
        assert_eq!(run.outcome, Outcome::Copied, "{run:#?}");
    }
    assert_eq!(bench.whole_copies().await, 3);
    assert_no_panic(&bench.log());
}

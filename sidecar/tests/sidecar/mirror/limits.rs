//! What a run may take: memory, time, and the patience of a database whose snapshot it holds.

use std::time::{Duration, Instant};

use crate::bench::mirror::{MirrorBench, Sidecar};
use dataembassy_contract::Reason;
use dataembassy_contract::report::{Phase, Report};
use dataembassy_testkit::fault_proxy::Fault;
use hyper::Method;

fn peak_kib(sidecar: &Sidecar) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sidecar.process_id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn last_reason(report: &Report) -> Option<Reason> {
    report.recent_runs.first().map(|run| run.reason)
}

#[tokio::test]
async fn memory_does_not_grow_with_the_data() {
    let bench = MirrorBench::start(17).await;
    let fill = "CREATE TABLE filling AS SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 31) j) AS text \
        FROM generate_series(1, 300000) i";
    bench.database.execute(fill).await.unwrap();
    let sidecar = bench.sidecar();
    let under_way = |report: &Report| {
        let progress = report.run.as_ref().map(|run| &run.progress);
        progress.is_some_and(|now| {
            now.phase == Phase::Copying
                && now.bytes > 0
                && now.rows > 0
                && now.rate > 0.0
                && now.share.is_some_and(|share| share > 0.0 && share <= 1.0)
                && now.eta_seconds.is_some()
        })
    };
    sidecar.until("how far the run is", under_way).await;
    let report = sidecar.until_copy(1).await;
    let bytes = report.last_copy.unwrap().bytes;
    assert!(
        bytes > 100 * 1024 * 1024,
        "{bytes} sealed bytes are too few to tell"
    );
    let peak = peak_kib(&sidecar);
    assert!(peak < 192 * 1024, "{peak} KiB");
    assert_eq!(bench.whole_copies().await, 1);
}

#[tokio::test]
async fn a_run_past_its_deadline_is_ended() {
    let mut bench = MirrorBench::start(17).await;
    bench
        .store
        .proxy
        .inject(usize::MAX, Fault::Stall, |method, _| method == Method::PUT);
    bench.config.schedule.deadline = "3s".parse().unwrap();
    bench.write_config();
    let sidecar = bench.sidecar();
    let report = sidecar
        .until("the run's end", |report| !report.recent_runs.is_empty())
        .await;
    assert_eq!(last_reason(&report), Some(Reason::DeadlineExceeded));
    assert_eq!(bench.whole_copies().await, 0);
}

#[tokio::test]
async fn a_store_that_takes_nothing_for_a_minute_ends_the_run() {
    a_minute_ends_the_run(Fault::Stall).await;
}

/// What it takes again and again is nothing new.
#[tokio::test]
async fn a_store_that_takes_everything_and_acknowledges_nothing_for_a_minute_ends_the_run() {
    a_minute_ends_the_run(Fault::LoseReply).await;
}

async fn a_minute_ends_the_run(fault: Fault) {
    let bench = MirrorBench::start(17).await;
    bench
        .store
        .proxy
        .inject(usize::MAX, fault, |method, _| method == Method::PUT);
    let sidecar = bench.sidecar();
    let report = sidecar
        .until("the run's end", |report| !report.recent_runs.is_empty())
        .await;
    assert_eq!(last_reason(&report), Some(Reason::StoreStalled), "{report:#?}");
    let held = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'dump' AND datname = current_database() AND xact_start IS NOT NULL";
    assert_eq!(bench.database.value(held).await.unwrap(), "0");
}

/// Half a megabit a second: the segment takes longer than a store may be silent.
#[tokio::test]
async fn a_slow_line_is_no_stalled_store() {
    let bench = MirrorBench::start(17).await;
    let scans = "CREATE TABLE scan AS SELECT i, (SELECT string_agg(decode(md5(random()::text || i || j), 'hex'), '') \
        FROM generate_series(1, 640) j) AS page FROM generate_series(1, 432) i";
    bench.database.execute(scans).await.unwrap();
    let slow = Fault::Pace(64 * 1024);
    bench.store.proxy.inject(usize::MAX, slow, |method, path| {
        method == Method::PUT && path.contains("/copies/")
    });
    let began = Instant::now();
    let report = bench.sidecar().until_copy(1).await;
    let taken = began.elapsed();
    assert!(
        taken > Duration::from_secs(61),
        "the line was not slow: {taken:?}"
    );
    assert_eq!(report.recent_runs.len(), 1, "{report:#?}");
    assert_eq!(bench.whole_copies().await, 1);
}

//! What a sidecar does that was not there when it should have copied.

use crate::bench::mirror::MirrorBench;
use dataembassy_contract::Schedule;
use dataembassy_contract::report::{Outcome, Report};
use dataembassy_ledger::Timestamp;
use dataembassy_ledger::entry::SourceBody;
use jiff::ToSpan as _;

#[tokio::test]
async fn after_a_downtime_of_three_days_one_run_answers_the_latest_slot_and_the_others_are_counted() {
    let mut bench = MirrorBench::start(17).await;
    // Once an hour, five minutes ago: no slot comes due while the test lasts.
    let minute = jiff::Timestamp::now()
        .checked_sub(5.minutes())
        .unwrap()
        .strftime("%M")
        .to_string();
    bench.config.schedule.cron = format!("{minute} * * * *");
    bench.write_config();
    let schedule = Schedule::parse(&bench.config.schedule.cron, "UTC").unwrap();
    let latest = schedule.latest_until(jiff::Timestamp::now()).unwrap();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    assert_eq!(sidecar.terminate().await, 0);

    // The last copy before the downtime answered the slot of three days ago.
    let before = latest.checked_sub(72.hours()).unwrap();
    let signer = bench.signer.clone();
    bench
        .append_source(&signer, |entry| {
            let SourceBody::Copy(copy) = &mut entry.body;
            copy.slot = Some(Timestamp::from_jiff(before).unwrap());
        })
        .await;
    let idle = |report: &Report| report.run.is_none() && report.next_schedule_time.is_some();
    let sidecar = bench.sidecar();
    let caught_up = |report: &Report| idle(report) && !report.recent_runs.is_empty();
    let report = sidecar.until("the catch-up", caught_up).await;
    let [run] = report.recent_runs.as_slice() else {
        panic!("more than one run caught up: {report:#?}");
    };
    assert_eq!(
        (run.outcome, run.slot),
        (Outcome::Copied, Some(latest)),
        "{run:#?}"
    );
    assert_eq!(report.missed_runs, 71, "{report:#?}");
    assert_eq!(
        report.next_schedule_time,
        schedule.next_after(latest),
        "{report:#?}"
    );
    assert_eq!(bench.whole_copies().await, 3);
    assert_eq!(sidecar.terminate().await, 0);

    // Nothing is left to catch up with.
    let report = bench.sidecar().until("the rest", idle).await;
    assert!(report.recent_runs.is_empty(), "{report:#?}");
    assert_eq!(report.missed_runs, 0, "{report:#?}");
    assert_eq!(bench.whole_copies().await, 3);
}

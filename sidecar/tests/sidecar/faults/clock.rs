//! Somebody sets the clock while our programs run: nothing that carries a wrong time is written, it is said, and what waits does not wait for as
//! long as the clock was wrong by.

use std::time::Duration;

use crate::bench::custodian::CustodianBench;
use crate::bench::mirror::{MirrorBench, ended};
use dataembassy_contract::Reason;
use dataembassy_contract::custodian::CustodianReport;
use dataembassy_contract::report::{CheckState, Outcome, Report};
use dataembassy_ledger::chain::CustodyView;
use dataembassy_testkit::clock::Calendar;
use dataembassy_testkit::fabricated::Shape;
use jiff::{SignedDuration, Timestamp};

const HOUR: i64 = 3_600;
/// Over two leap days.
const TEN_YEARS: i64 = 3_653 * 24 * HOUR;

fn is_skewed(report: &Report) -> bool {
    report.store.state == CheckState::False && report.store.reason == Reason::ClockSkewed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_whose_clock_is_set_ahead_in_mid_run_does_not_wait_until_then_to_try_again() {
    let calendar = Calendar::new().unwrap();
    let mut bench = MirrorBench::start(17).await;
    bench.environment = calendar.environment();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let (_, holder) = bench.held_run(&sidecar, "set-ahead").await;
    calendar.set(TEN_YEARS).unwrap();
    holder.batch_execute("ROLLBACK").await.unwrap();
    let failed = |report: &Report| ended(report, "set-ahead") == Some((Outcome::Failed, Reason::ClockSkewed));
    sidecar.until("the run to fail", failed).await;
    assert_eq!(bench.whole_copies().await, 1);
    calendar.set(0).unwrap();
    let report = sidecar.until_copy(2).await;
    let copy = report.last_copy.unwrap();
    assert!(copy.committed_at <= Timestamp::now(), "{copy:#?}");
    assert_eq!(bench.whole_copies().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_whose_clock_is_wrong_says_so_and_commits_nothing_until_it_is_right() {
    let calendar = Calendar::new().unwrap();
    let mut bench = MirrorBench::start(17).await;
    bench.environment = calendar.environment();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    for (copies, ahead) in [(1, HOUR), (2, -TEN_YEARS)] {
        calendar.set(ahead).unwrap();
        let report = sidecar.until("the clock to be told", is_skewed).await;
        assert!(report.store.message.contains("set the clocks"), "{report:#?}");
        let trigger = format!("wrong-by-{}", ahead.unsigned_abs());
        bench.config.trigger = Some(trigger.clone());
        bench.write_config();
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(bench.whole_copies().await, copies);
        calendar.set(0).unwrap();
        let answered = |report: &Report| ended(report, &trigger) == Some((Outcome::Copied, Reason::Copied));
        let report = sidecar.until("the trigger to be answered", answered).await;
        assert_eq!(report.store.state, CheckState::True, "{report:#?}");
        assert_eq!(bench.whole_copies().await, copies + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custodian_whose_clock_is_set_goes_on_as_soon_as_it_is_right() {
    let calendar = Calendar::new().unwrap();
    let mut bench = CustodianBench::start().await;
    bench.environment = calendar.environment();
    bench.timing.push(("--prove-every", "1s"));
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let proven = async |bench: &CustodianBench, number: u64| {
        let is_proven = |view: &CustodyView| {
            let head = view.latest_proof().map(|proof| proof.source_head.sequence.get());
            head == Some(number)
        };
        let what = format!("the proof of {number}");
        let view = bench.until_view(&what, is_proven).await;
        let (_, at) = view.latest_proof_entry().unwrap();
        let off = Timestamp::now().duration_since(at.as_jiff());
        assert!(off.abs() < SignedDuration::from_mins(2), "{off:#}");
    };
    proven(&bench, 1).await;
    for (copies, ahead) in [(2, TEN_YEARS), (3, -TEN_YEARS), (4, HOUR)] {
        calendar.set(ahead).unwrap();
        let skewed = |report: &CustodianReport| report.store.reason == Reason::ClockSkewed;
        custodian.until("the clock to be told", skewed).await;
        bench.copies(1, &Shape::default()).await;
        // Time enough for whatever looks once a second.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let proof = bench.view().await.latest_proof().unwrap().source_head;
        assert_eq!(proof.sequence.get(), copies - 1, "{proof:?}");
        calendar.set(0).unwrap();
        proven(&bench, copies).await;
    }
}

//! Somebody sets the clock while our programs run: nothing that carries a wrong time is written, it is said, and what waits does not wait for as
//! long as the clock was wrong by.

use std::time::Duration;

use bytes::Bytes;

use crate::bench::activation::{approvers, embassy, signed, statement, with_floor};
use crate::bench::custodian::{CustodianBench, answer, newest_only};
use crate::bench::mirror::{MirrorBench, ended};
use crate::bench::{REGISTRY, StoreBench, segment, sha256};
use crate::gate::bench::GateBench;
use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{CustodianReport, OrderBody, OrderConfig, OrderState, RegistryReport};
use dataembassy_contract::gate::GateReport;
use dataembassy_contract::report::{CheckState, Outcome, Report};
use dataembassy_ledger::activation::State;
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::entry::CustodyBody;
use dataembassy_sidecar::store::PutOutcome;
use dataembassy_testkit::clock::Calendar;
use dataembassy_testkit::fabricated::Shape;
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::{BUCKET, BucketKind};
use hyper::Method;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::assert_no_panic;

const HOUR: i64 = 3_600;
/// Over two leap days.
const TEN_YEARS: i64 = 3_653 * 24 * HOUR;
/// How far ahead a clock is set.
const CLOCKS: [i64; 4] = [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS];

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
    for (copies, ahead) in [(1, HOUR), (2, -TEN_YEARS), (3, -HOUR)] {
        calendar.set(ahead).unwrap();
        let report = sidecar.until("the clock to be told", is_skewed).await;
        assert!(report.store.message.contains("set the clocks"), "{report:#?}");
        let trigger = format!("wrong-at-copy-{copies}");
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
    for (copies, ahead) in [(2, TEN_YEARS), (3, -TEN_YEARS), (4, HOUR), (5, -HOUR)] {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_custodian_whose_clock_is_years_ahead_lets_nothing_go_and_calls_nothing_late() {
    /// Segments, inventory and manifest.
    const WHOLE: usize = 5;
    let calendar = Calendar::new().unwrap();
    let mut bench = CustodianBench::start_with(BucketKind::Lockable).await;
    bench.environment = calendar.environment();
    // The locks end at once, so that it is the plan alone that keeps what is young.
    bench.lock = Some(Duration::from_secs(1));
    bench
        .timing
        .extend([("--prove-every", "1s"), ("--expire-every", "1s")]);
    bench.config.immutability.lock_on_arrival = "1s".parse().unwrap();
    let registry = &mut bench.config.registries[0];
    registry.retention = newest_only();
    registry.retention.keep_within = "30d".parse().unwrap();
    bench.write_config();
    let made = bench.copies(2, &Shape::default()).await;
    let custodian = bench.custodian();
    let is_read = |report: &RegistryReport| report.verification.verified == 2;
    custodian
        .until_registry("both copies to be read back", is_read)
        .await;
    calendar.set(TEN_YEARS).unwrap();
    // The bucket has no lock of its own, which is what is told of the store.
    let apart = |report: &CustodianReport| report.clock_difference_seconds.unwrap_or_default().abs();
    custodian
        .until("the clocks to differ", |report| apart(report) > 3_600)
        .await;
    let is_late = |report: &RegistryReport| {
        let late = [
            Reason::RpoMissed,
            Reason::VerificationOverdue,
            Reason::DrillOverdue,
        ];
        report.alarms.iter().any(|alarm| late.contains(&alarm.reason))
    };
    // The clocks are compared at each look: what was said before is taken back.
    custodian
        .until_registry("nothing to be late", |report| !is_late(report))
        .await;
    // Time enough for whatever looks once a second.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let report = custodian.registry().await.unwrap();
        assert!(!is_late(&report), "{report:#?}");
    }
    calendar.set(0).unwrap();
    custodian
        .until("the clocks to agree", |report| {
            report.clock_difference_seconds.is_some() && apart(report) < 60
        })
        .await;
    bench.until_looks(&custodian, 3).await;
    for copy in &made {
        assert_eq!(bench.folder(copy.body.copy_id).await.len(), WHOLE);
    }
    let entries = bench.custody_entries().await;
    let lets_go = |body: &CustodyBody| matches!(body, CustodyBody::Expiry(_) | CustodyBody::Void(_));
    assert!(!entries.iter().any(lets_go), "{entries:#?}");
    assert_no_panic(&bench.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dates_only_some_of_its_answers_back_is_told_of() {
    let bench = CustodianBench::start().await;
    // Who asks about the bucket, as a probe does, is told the right time.
    let is_of_objects = |_: &Method, target: &str| {
        let is_of_the_bucket = target.contains("versioning") || target.contains("object-lock");
        !is_of_the_bucket
    };
    let back = Fault::ShiftClock(-TEN_YEARS);
    bench.proxy.inject(usize::MAX, back, is_of_objects);
    let custodian = bench.custodian();
    let skewed = |report: &CustodianReport| report.store.reason == Reason::ClockSkewed;
    custodian.until("the clock to be told", skewed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custodian_whose_clock_is_years_ahead_refuses_no_order_as_too_late() {
    const ORDER: &str = "the-day-1";
    let calendar = Calendar::new().unwrap();
    let mut bench = CustodianBench::start().await;
    bench.environment = calendar.environment();
    bench.config.approvers = Some(approvers());
    bench.write_config();
    let made = bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian.until_head(1).await;
    let order = statement(
        bench.origin.store_id,
        ORDER,
        State::Active,
        embassy().public_key(),
    );
    let order = with_floor(order, 1, made[0].reference);
    bench.config.orders = vec![OrderConfig {
        id: ORDER.into(),
        registry: REGISTRY.into(),
        body: OrderBody::Activate(Box::new(signed(&order, &["anna", "bertil"]))),
    }];
    calendar.set(TEN_YEARS).unwrap();
    bench.write_config();
    let is_told = |report: &RegistryReport| match answer(report, ORDER) {
        Some(OrderState::Waiting { reason, .. }) => reason == Reason::ClockSkewed,
        other => other.is_some(),
    };
    let report = custodian.until_registry("what is wrong", is_told).await;
    let told = answer(&report, ORDER).unwrap();
    assert!(matches!(told, OrderState::Waiting { .. }), "{told:?}");
    calendar.set(0).unwrap();
    custodian.until_done(ORDER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_whose_clock_is_wrong_passes_what_a_right_one_has_signed_and_dates_nothing_by_it() {
    let calendar = Calendar::new().unwrap();
    let mut bench = GateBench::start_with(|config| config.lanes[0].bytes_per_second = Some(1 << 20)).await;
    bench.kill();
    bench.environment = calendar.environment();
    bench.run();
    bench.until_ready().await;
    let keys = bench.deposit(REGISTRY).await;
    let (store, client) = (bench.client(&keys), bench.signed(keys.clone()));
    for (number, ahead) in (1..).zip(CLOCKS) {
        calendar.set(ahead).unwrap();
        let (key, body) = (segment(number), Bytes::from(vec![7; 64 * 1024]));
        let digest = sha256(&body);
        let put = store.put(&key, body, digest).await.unwrap();
        assert!(matches!(put, PutOutcome::Stored(_)), "{put:?}");
        let path = format!("/{BUCKET}/{key}");
        let refused = client.send(Method::DELETE, &path, &[], &[], Vec::new()).await;
        assert!(refused.unwrap().status().is_client_error());
    }
    // Ten years behind, it tells so, and how long ago it was that it has heard somebody.
    let report = bench.report().await.unwrap();
    let (told, heard) = (report.at.unwrap(), report.lanes[0].heard_at.unwrap());
    assert!(
        Timestamp::now().duration_since(told) > SignedDuration::from_hours(24 * 365),
        "{told}"
    );
    let ago = told.duration_since(heard);
    assert!(ago.abs() < SignedDuration::from_mins(2), "{ago:?}");
    calendar.set(0).unwrap();
    let lane = bench.lane(REGISTRY).await;
    let is_near = |at: Timestamp| Timestamp::now().duration_since(at).abs() < SignedDuration::from_mins(2);
    assert!(lane.heard_at.is_some_and(is_near), "{lane:#?}");
    assert_eq!(
        lane.refused.iter().map(|row| row.count).sum::<u64>(),
        CLOCKS.len() as u64,
        "{lane:#?}"
    );
    assert!(lane.refused.iter().all(|row| is_near(row.last_at)), "{lane:#?}");
    assert_no_panic(&bench.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_whose_clock_is_past_its_certificate_says_so_and_serves_once_the_clock_is_right() {
    let calendar = Calendar::new().unwrap();
    let mut bench = GateBench::prepare(StoreBench::start().await);
    bench.environment = calendar.environment();
    bench.write_config();
    let year = i32::from(Timestamp::now().to_zoned(TimeZone::UTC).year());
    let names = ["127.0.0.1", "localhost"];
    let certificate = bench.authority.sign_between(&names, year - 1, year + 2);
    bench.certify(&certificate.unwrap());
    calendar.set(TEN_YEARS).unwrap();
    bench.run();
    let is_refused = |report: &GateReport| report.refused.is_some() && report.loaded.is_some();
    let report = bench.until("the certificate to be refused", is_refused).await;
    let fault = report.refused.unwrap();
    assert_eq!(fault.reason, Reason::CertificateInvalid);
    assert!(fault.message.contains("set the clock"), "{}", fault.message);
    // Nobody touches the folder.
    calendar.set(0).unwrap();
    bench.until_ready().await;
    let report = bench.report().await.unwrap();
    assert!(report.refused.is_none(), "{report:#?}");
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let path = format!("/{BUCKET}");
    let answer = client
        .send(Method::GET, &path, &[("versioning", "")], &[], Vec::new())
        .await;
    assert!(answer.unwrap().status().is_success());
}

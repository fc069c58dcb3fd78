//! What becomes of the result of an activation: signed for once, whatever dies in between, and never where people, ledger or the result
//! itself say something else.

use dataembassy_contract::Reason;
use dataembassy_contract::activation::{ActivationResult, Outcome};
use dataembassy_contract::custodian::{OrderBody, OrderConfig, OrderState};
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::activation::{Mode, State, Statement, Warrant};
use dataembassy_ledger::entry::{CustodyBody, ReportBody, ReportOutcome};
use dataembassy_ledger::{Sequence, Sha256Digest};
use dataembassy_testkit::fabricated::{MadeCopy, Shape};
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::BUCKET;
use hyper::Method;
use jiff::{SignedDuration, Timestamp};

use crate::bench::REGISTRY;
use crate::bench::activation::{approvers, embassy, signed, statement, with_floor};
use crate::bench::activation_report::{order, reported, result};
use crate::bench::custodian::{CustodianBench, answer, home};

const ORDER: &str = "the-day-1";
const REPORT: &str = "the-day-1-report";
const TWO: [&str; 2] = ["anna", "bertil"];

/// A store with approvers, and copies of home.
async fn bench(copies: usize) -> (CustodianBench, Vec<MadeCopy>) {
    let mut bench = CustodianBench::start().await;
    bench.config.approvers = Some(approvers());
    bench.write_config();
    let made = bench.copies(copies, &Shape::default()).await;
    (bench, made)
}

fn activation(bench: &CustodianBench, floor: &MadeCopy) -> Statement {
    let signer = embassy().public_key();
    let statement = statement(bench.origin.store_id, ORDER, State::Active, signer);
    with_floor(statement, 1, floor.reference)
}

fn rehearsal(bench: &CustodianBench, floor: &MadeCopy) -> Statement {
    let mut statement = activation(bench, floor);
    statement.mode = Mode::Rehearse;
    statement.registries[0].signer = None;
    statement
}

fn minutes_ago(minutes: i64) -> Timestamp {
    let time = Timestamp::now().checked_sub(SignedDuration::from_mins(minutes));
    Timestamp::from_second(time.unwrap().as_second()).unwrap()
}

/// What a rehearsal on this copy came to.
fn rehearsed(made: &MadeCopy) -> ActivationResult {
    result(ORDER, Outcome::Rehearsed, Some(reported(made)), minutes_ago(5))
}

fn activate(id: &str, warrant: Warrant) -> OrderConfig {
    OrderConfig {
        id: id.into(),
        registry: REGISTRY.into(),
        body: OrderBody::Activate(Box::new(warrant)),
    }
}

fn key(order: &str, form: &str) -> String {
    format!("registries/{REGISTRY}/reports/{order}.{form}")
}

async fn reports(bench: &CustodianBench) -> Vec<ReportBody> {
    let entries = bench.custody_entries().await.into_iter();
    entries
        .filter_map(|body| match body {
            CustodyBody::Report(body) => Some(body),
            _ => None,
        })
        .collect()
}

/// One entry names both forms, each of which is there in one version.
async fn assert_signed_once(bench: &CustodianBench) -> ReportBody {
    let signed = reports(bench).await;
    let [report] = signed.as_slice() else {
        panic!("there must be one report: {signed:#?}");
    };
    assert_eq!((report.order.as_str(), report.about.as_str()), (REPORT, ORDER));
    bench.report_lies_once(REPORT, &report.reports).await;
    report.clone()
}

async fn document(bench: &CustodianBench) -> serde_json::Value {
    serde_json::from_slice(&bench.minio.get(BUCKET, &key(REPORT, "json")).await.unwrap()).unwrap()
}

#[tokio::test]
async fn an_activation_is_reported_with_its_fence_and_those_who_approved_it() {
    let (mut bench, made) = bench(3).await;
    let warrant = signed(&activation(&bench, &made[1]), &TWO);
    bench.config.orders = vec![activate(ORDER, warrant.clone())];
    bench.write_config();
    let custodian = bench.custodian();
    let report = custodian.until_done(ORDER).await;
    let Some(OrderState::Done { sequence: fence }) = answer(&report, ORDER) else {
        panic!("home is fenced");
    };
    let mut told = result(ORDER, Outcome::Served, Some(reported(&made[1])), minutes_ago(10));
    told.fence = Some(fence);
    // The ledger knows better how old a copy is.
    told.rpo_seconds = Some(1);
    told.copy.as_mut().unwrap().taken_at = Timestamp::UNIX_EPOCH;
    bench.config.orders = vec![order(told.clone(), warrant.clone())];
    bench.remember(&report);
    let report = custodian.until_done(REPORT).await;
    let signed = assert_signed_once(&bench).await;
    assert_eq!(signed.outcome, ReportOutcome::Served);
    assert_eq!(signed.source_entry, Some(made[1].reference));
    assert_eq!(signed.statement, Sha256Digest::of(warrant.statement.as_bytes()));
    assert_eq!(signed.started_at.as_jiff(), told.approved_at);
    let document = document(&bench).await;
    assert_eq!(document["statement"]["approved"], serde_json::json!(TWO));
    assert_eq!(document["opening"]["entry"]["sequence"], fence);
    let age = told
        .ended("fence")
        .unwrap()
        .duration_since(made[2].body.taken_at.as_jiff());
    assert_eq!(
        document["result"]["rpoSeconds"].as_u64(),
        Some(u64::try_from(age.as_secs()).unwrap_or_default())
    );
    assert_eq!(
        document["result"]["copy"]["takenAt"],
        made[1].body.taken_at.as_jiff().to_string()
    );
    assert!(report.alarms.is_empty(), "{:#?}", report.alarms);
    assert_eq!(
        report.copies[1].drilled,
        CheckState::Unknown,
        "a report is no drill"
    );
    for form in ["json", "html"] {
        let path = format!("/{BUCKET}/{}", key(REPORT, form));
        let root = bench.minio.root();
        let answer = root
            .expect(Method::HEAD, &path, &[], &[], Vec::new())
            .await
            .unwrap();
        assert_eq!(answer.headers()["x-amz-object-lock-mode"], "COMPLIANCE", "{path}");
    }

    // Who comes later knows it by the chain alone, and does nothing again.
    let Some(OrderState::Done { sequence }) = answer(&report, REPORT) else {
        panic!("it is done");
    };
    assert_eq!(
        bench.view().await.reported(&signed.order).map(Sequence::get),
        Some(sequence)
    );
    bench.remember(&report);
    custodian.kill();
    let custodian = bench.custodian();
    let report = custodian.until_done(REPORT).await;
    assert_eq!(answer(&report, REPORT), Some(OrderState::Done { sequence }));
    assert_signed_once(&bench).await;
}

#[tokio::test]
async fn of_a_rehearsal_the_ledger_holds_its_report_and_nothing_else() {
    let (mut bench, made) = bench(1).await;
    let warrant = signed(&rehearsal(&bench, &made[0]), &TWO);
    bench.config.orders = vec![order(rehearsed(&made[0]), warrant)];
    bench.write_config();
    let custodian = bench.custodian();
    let report = custodian.until_done(REPORT).await;
    let signed = assert_signed_once(&bench).await;
    assert_eq!(signed.outcome, ReportOutcome::Rehearsed);
    assert_eq!((report.term, report.opening), (1, None));
    let entries = bench.custody_entries().await;
    let others = entries
        .iter()
        .filter(|body| !matches!(body, CustodyBody::Proof(_) | CustodyBody::Report(_)));
    assert_eq!(others.count(), 0, "{entries:#?}");
    let page = bench.minio.get(BUCKET, &key(REPORT, "html")).await.unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("Rehearsed activation of registry population: passed"));
}

#[tokio::test]
async fn a_return_home_is_reported_by_its_release() {
    let (mut bench, made) = bench(2).await;
    let warrant = signed(&activation(&bench, &made[1]), &TWO);
    bench.config.orders = vec![activate(ORDER, warrant)];
    bench.write_config();
    let custodian = bench.custodian();
    let report = custodian.until_done(ORDER).await;
    let back = statement(
        bench.origin.store_id,
        "the-day-2",
        State::StoodDown,
        home().public_key(),
    );
    let back = signed(&with_floor(back, 1, made[1].reference), &TWO);
    let told = result(
        "the-day-2",
        Outcome::StoodDown,
        Some(reported(&made[1])),
        minutes_ago(5),
    );
    // Before the release nothing can be told of it.
    let mut early = told.clone();
    early.order = "too-early".into();
    bench.config.orders = vec![order(early, back.clone())];
    bench.remember(&report);
    let (reason, _) = custodian
        .until_refused("too-early", "no release by order the-day-2")
        .await;
    assert_eq!(reason, Reason::NotActivated);
    bench.config.orders = vec![OrderConfig {
        id: "the-day-2".into(),
        registry: REGISTRY.into(),
        body: OrderBody::Release(Box::new(back.clone())),
    }];
    bench.write_config();
    custodian.until_done("the-day-2").await;
    bench.config.orders = vec![order(told, back)];
    bench.write_config();
    custodian.until_done("the-day-2-report").await;
    let all = reports(&bench).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(
        (all[0].outcome, all[0].about.as_str()),
        (ReportOutcome::StoodDown, "the-day-2")
    );
}

type Change = fn(&mut ActivationResult);

/// Results of a rehearsal that cannot be signed for: what each says, and what it is told.
const REFUSED: [(&str, Change, Reason, &str); 10] = [
    (
        "another-registry",
        |told| told.registry = "business".into(),
        Reason::OrderRefused,
        "of registry business",
    ),
    (
        "another-resource",
        |told| told.activation = "elsewhere/the-day".into(),
        Reason::OrderRefused,
        "about resource operations/the-day, and not about elsewhere/the-day",
    ),
    (
        "served-in-a-rehearsal",
        |told| told.outcome = Outcome::Served,
        Reason::OrderRefused,
        "cannot come to",
    ),
    (
        "fenced-in-a-rehearsal",
        |told| told.fence = Some(1),
        Reason::OrderRefused,
        "names an entry that fenced home",
    ),
    (
        "step-of-an-activation",
        |told| told.steps[0].name = "cut".into(),
        Reason::OrderRefused,
        "which no rehearsal takes",
    ),
    (
        "unknown-copy",
        |told| told.copy.as_mut().unwrap().sequence = 7,
        Reason::UnknownCopy,
        "holds no living copy 7",
    ),
    (
        "restore-not-ended",
        |told| told.steps[1].ended_at = None,
        Reason::OrderRefused,
        "the step restore has not ended",
    ),
    (
        "wrong-answer",
        |told| told.assertions[0].passed = false,
        Reason::OrderRefused,
        "the answer to \"citizens\" was wrong",
    ),
    (
        "faster-than-its-steps",
        |told| told.rto_seconds = Some(1),
        Reason::OrderRefused,
        "its times make 60 s",
    ),
    (
        "in-the-future",
        |told| told.ended_at = told.ended_at.checked_add(SignedDuration::from_hours(48)).unwrap(),
        Reason::OrderRefused,
        "compare the clocks",
    ),
];

#[tokio::test]
async fn results_that_people_the_ledger_or_they_themselves_contradict_are_refused_with_the_reason() {
    let (mut bench, made) = bench(1).await;
    let told = |name: &str| {
        let mut told = rehearsed(&made[0]);
        told.order = name.into();
        told
    };
    let good = signed(&rehearsal(&bench, &made[0]), &TWO);
    let mut orders: Vec<OrderConfig> = REFUSED
        .iter()
        .map(|(name, change, ..)| {
            let mut told = told(name);
            change(&mut told);
            order(told, good.clone())
        })
        .collect();
    let alone = signed(&rehearsal(&bench, &made[0]), &["anna"]);
    orders.push(order(told("too-few"), alone));
    let mut of_others = rehearsal(&bench, &made[0]);
    of_others.registries[0].registry = "business".parse().unwrap();
    orders.push(order(told("not-named"), signed(&of_others, &TWO)));
    // What is served stands behind an entry that fenced home, and there is none.
    let mut served = result(ORDER, Outcome::Served, Some(reported(&made[0])), minutes_ago(5));
    (served.order, served.fence) = ("not-fenced".into(), Some(1));
    orders.push(order(served, signed(&activation(&bench, &made[0]), &TWO)));
    let mut itself = told(ORDER);
    itself.about = ORDER.into();
    orders.push(order(itself, good.clone()));
    bench.config.orders = orders;
    bench.write_config();
    let custodian = bench.custodian();
    let further = [
        ("too-few", Reason::NotApproved, "1 did (anna)"),
        (
            "not-named",
            Reason::OrderRefused,
            "does not name registry population",
        ),
        ("not-fenced", Reason::NotActivated, "is no activation"),
        (ORDER, Reason::OrderRefused, "reports on itself"),
    ];
    let expected = REFUSED.map(|(name, _, reason, words)| (name, reason, words));
    for (name, reason, words) in expected.into_iter().chain(further) {
        let (found, message) = custodian.until_refused(name, words).await;
        assert_eq!(found, reason, "{name}: {message}");
    }
    assert_eq!(reports(&bench).await, []);
    let folder = format!("registries/{REGISTRY}/reports/");
    let stored = bench.minio.root().versions(BUCKET, &folder).await.unwrap();
    assert_eq!(stored.len(), 0, "nothing is put before it is judged");
}

/// Kills the custodian while a request of its own waits for an answer, and lets another one go on.
async fn killed_at(fault: Fault, is_it: fn(&str) -> bool) {
    let (mut bench, made) = bench(1).await;
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("a proof", |report| report.custody_head.is_some())
        .await;
    let is_fault = move |method: &Method, target: &str| method == Method::PUT && is_it(target);
    bench.proxy.inject(usize::MAX, fault, is_fault);
    let warrant = signed(&rehearsal(&bench, &made[0]), &TWO);
    bench.config.orders = vec![order(rehearsed(&made[0]), warrant)];
    bench.remember(&report);
    let has_come = || bench.proxy.asked_for(|one| is_fault(&one.method, &one.target)) > 0;
    custodian.until("the request", |_| has_come()).await;
    custodian.kill();
    bench.proxy.heal();
    let custodian = bench.custodian();
    custodian.until_done(REPORT).await;
    assert_signed_once(&bench).await;
}

#[tokio::test]
async fn a_custodian_that_is_killed_between_the_forms_and_the_entry_is_made_up_for() {
    killed_at(Fault::Stall, |target| {
        target.contains("/reports/") && target.contains(".html")
    })
    .await;
}

#[tokio::test]
async fn a_custodian_that_is_killed_when_its_entry_was_written_writes_no_second_one() {
    killed_at(Fault::WithholdReply, |target| {
        target.contains("/custody/000000000002")
    })
    .await;
}

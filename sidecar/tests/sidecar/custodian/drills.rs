//! What becomes of a drill's result: signed for once, whatever dies in between, and told in every place that must know.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{DrillPolicy, OrderState, RegistryReport, TrustedCustodian};
use dataembassy_contract::drill::{DrillResult, Verdict};
use dataembassy_contract::files;
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::entry::{CustodyBody, DrillBody};
use dataembassy_ledger::{Sequence, Sha256Digest, SigningKey};
use dataembassy_sidecar::custodian::registry::drills::report::Record;
use dataembassy_testkit::fabricated::{MadeCopy, Shape};
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::{BUCKET, BucketKind};
use hyper::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};

use crate::bench::REGISTRY;
use crate::bench::custodian::{Custodian, CustodianBench, alarm, answer, custodian_key};
use crate::bench::drill::{drilled, order, result};

const ORDER: &str = "nightly-20261128-0300";

/// A result of a drill that has just ended.
fn result_of(order: &str, copy: &MadeCopy, passed: bool) -> DrillResult {
    let start = Timestamp::now()
        .checked_sub(SignedDuration::from_mins(20))
        .unwrap();
    result(order, drilled(copy), passed, start)
}

fn report_key(order: &str, form: &str) -> String {
    format!("registries/{REGISTRY}/reports/{order}.{form}")
}

async fn drills(bench: &CustodianBench) -> Vec<DrillBody> {
    let entries = bench.custody_entries().await.into_iter();
    entries
        .filter_map(|body| match body {
            CustodyBody::Drill(body) => Some(body),
            _ => None,
        })
        .collect()
}

async fn bytes_of(bench: &CustodianBench, key: &str) -> Vec<u8> {
    bench.minio.get(BUCKET, key).await.unwrap()
}

/// One entry names both reports, each of which is there in one version.
async fn assert_signed_once(bench: &CustodianBench, order: &str) -> DrillBody {
    let signed = drills(bench).await;
    let [drill] = signed.as_slice() else {
        panic!("there must be one drill: {signed:#?}");
    };
    assert_eq!(drill.order.as_str(), order);
    bench.report_lies_once(order, &drill.reports).await;
    drill.clone()
}

#[tokio::test]
async fn what_a_drill_found_is_signed_for_once_and_its_reports_are_locked() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(2, &Shape::default()).await;
    let mut found = result_of(ORDER, &made[1], true);
    // The ledger knows better how old a copy is, and how large.
    found.copy.as_mut().unwrap().sealed_bytes = 7;
    bench.config.orders = vec![order(found)];
    bench.write_config();
    let custodian = bench.custodian();
    let report = custodian.until_done(ORDER).await;
    let drill = assert_signed_once(&bench, ORDER).await;
    assert_eq!(drill.source_entry, made[1].reference);
    assert_eq!(drill.copy_id, made[1].body.copy_id);
    assert!(drill.passed);
    let Some(OrderState::Done { sequence }) = answer(&report, ORDER) else {
        panic!("it is done");
    };
    let view = bench.view().await;
    assert_eq!(view.carried_out(&drill.order).map(Sequence::get), Some(sequence));

    let json: serde_json::Value =
        serde_json::from_slice(&bytes_of(&bench, &report_key(ORDER, "json")).await).unwrap();
    assert_eq!(json["sourceEntry"]["sequence"], 2);
    assert_eq!(
        json["result"]["copy"]["sealedBytes"],
        made[1].body.totals.sealed_bytes
    );
    for form in ["json", "html"] {
        let key = report_key(ORDER, form);
        let answer = bench
            .minio
            .root()
            .expect(Method::HEAD, &format!("/{BUCKET}/{key}"), &[], &[], Vec::new())
            .await
            .unwrap();
        assert_eq!(answer.headers()["x-amz-object-lock-mode"], "COMPLIANCE", "{key}");
    }

    assert!(report.alarms.is_empty(), "{:#?}", report.alarms);
    let last = report.last_drilled.unwrap();
    assert_eq!((last.sequence, last.order.as_str()), (2, ORDER));
    let states: Vec<_> = report
        .copies
        .iter()
        .map(|copy| (copy.sequence, copy.drilled))
        .collect();
    assert_eq!(states, [(2, CheckState::True), (1, CheckState::Unknown)]);
    let metrics = crate::bench::http::get(custodian.metrics_address(), "/metrics", None)
        .await
        .unwrap();
    let metrics = String::from_utf8(metrics.into_body()).unwrap();
    let at = drill.ended_at.as_jiff().as_second();
    for line in [
        "dataembassy_custodian_drills_signed_total{registry=\"population\"} 1".to_owned(),
        format!("dataembassy_custodian_last_drill_passed_timestamp_seconds{{registry=\"population\"}} {at}"),
    ] {
        assert!(metrics.contains(&line), "{metrics}");
    }

    // Who comes later knows it by the chain alone, and does nothing again.
    bench.remember(&report_of(&custodian).await);
    custodian.kill();
    let custodian = bench.custodian();
    let report = custodian.until_done(ORDER).await;
    assert_eq!(answer(&report, ORDER), Some(OrderState::Done { sequence }));
    assert_eq!(report.last_drilled.map(|last| last.sequence), Some(2));
    assert_signed_once(&bench, ORDER).await;
}

async fn report_of(custodian: &Custodian) -> RegistryReport {
    custodian.registry().await.unwrap()
}

/// Kills the custodian while a request of its own waits for an answer, and lets another one go on.
async fn killed_at(fault: Fault, is_it: fn(&str) -> bool, is_stored: bool) {
    let bench = left_at(fault, is_it, is_stored).await;
    let custodian = bench.custodian();
    custodian.until_done(ORDER).await;
    assert_signed_once(&bench, ORDER).await;
}

/// What a custodian leaves that is killed while a request of its own waits for an answer.
async fn left_at(fault: Fault, is_it: fn(&str) -> bool, is_stored: bool) -> CustodianBench {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("a proof", |report| report.custody_head.is_some())
        .await;
    let is_fault = move |method: &Method, target: &str| method == Method::PUT && is_it(target);
    bench.proxy.inject(usize::MAX, fault, is_fault);
    bench.config.orders = vec![order(result_of(ORDER, &made[0], true))];
    bench.remember(&report);
    let has_come = || bench.proxy.asked_for(|one| is_fault(&one.method, &one.target)) > 0;
    custodian.until("the request", |_| has_come()).await;
    if is_stored {
        let keys = || bench.minio.root().versions(BUCKET, "registries/population/");
        let begun = std::time::Instant::now();
        while !keys().await.unwrap().iter().any(|version| is_it(&version.key)) {
            assert!(begun.elapsed() < crate::bench::custodian::DEADLINE);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    custodian.kill();
    bench.proxy.heal();
    bench
}

/// One entry names the newest version of each form; so many of each are there.
async fn assert_signed_beside(bench: &CustodianBench, versions: [(&str, usize); 2]) {
    let signed = drills(bench).await;
    let [drill] = signed.as_slice() else {
        panic!("there must be one drill: {signed:#?}");
    };
    for (form, count) in versions {
        let named = if form == "json" {
            &drill.reports.json
        } else {
            &drill.reports.html
        };
        let key = report_key(ORDER, form);
        let found = bench.minio.root().versions(BUCKET, &key).await.unwrap();
        assert_eq!(found.len(), count, "{form}: {found:?}");
        assert!(
            found
                .iter()
                .any(|version| version.id == named.version.to_string())
        );
        let bytes = bytes_of(bench, &key).await;
        assert_eq!(
            (bytes.len() as u64, Sha256Digest::of(&bytes)),
            (named.size, named.sha256)
        );
    }
}

#[tokio::test]
async fn a_custodian_with_a_new_key_signs_for_what_its_predecessor_left() {
    let is_second_entry = |target: &str| target.contains("/custody/000000000002");
    let mut bench = left_at(Fault::Stall, is_second_entry, false).await;
    let key = SigningKey::from_seed(&[10; 32]);
    bench.config.custodian_keys.push(TrustedCustodian {
        public_key: key.public_key().to_string(),
        retired: Vec::new(),
    });
    bench.write(files::CUSTODY_SIGNING_KEY, &key.to_openssh().unwrap());
    bench.write_config();
    let custodian = bench.custodian();
    custodian.until_done(ORDER).await;
    assert_signed_beside(&bench, [("json", 2), ("html", 2)]).await;
    // Who reads the report is told whose signature to look for.
    let report = bytes_of(&bench, &report_key(ORDER, "json")).await;
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["custodianKey"], key.public_key().to_string());
}

#[tokio::test]
async fn a_custodian_of_another_version_signs_for_its_own_page_and_for_no_other() {
    let is_page = |target: &str| target.contains("/reports/") && target.contains(".html");
    let bench = left_at(Fault::Stall, is_page, false).await;
    let path = format!("/{BUCKET}/{}", report_key(ORDER, "html"));
    let page = b"<!DOCTYPE html>the page of another version".to_vec();
    bench
        .minio
        .root()
        .expect(Method::PUT, &path, &[], &[], page)
        .await
        .unwrap();
    let custodian = bench.custodian();
    custodian.until_done(ORDER).await;
    assert_signed_beside(&bench, [("json", 1), ("html", 2)]).await;
}

#[tokio::test]
async fn a_custodian_killed_before_the_first_report_is_there_begins_anew() {
    killed_at(
        Fault::Stall,
        |target| target.contains("/reports/") && target.contains(".json"),
        false,
    )
    .await;
}

#[tokio::test]
async fn a_custodian_killed_between_the_reports_puts_the_second() {
    killed_at(
        Fault::Stall,
        |target| target.contains("/reports/") && target.contains(".html"),
        false,
    )
    .await;
}

#[tokio::test]
async fn a_custodian_killed_after_the_reports_finds_them_and_writes_the_entry() {
    killed_at(
        Fault::WithholdReply,
        |target| target.contains("/reports/") && target.contains(".html"),
        true,
    )
    .await;
}

#[tokio::test]
async fn a_custodian_killed_before_its_entry_is_written_writes_it_once() {
    let is_second_entry = |target: &str| target.contains("/custody/000000000002");
    killed_at(Fault::Stall, is_second_entry, false).await;
}

#[tokio::test]
async fn a_custodian_killed_after_its_entry_was_written_writes_no_second_one() {
    let is_second_entry = |target: &str| target.contains("/custody/000000000002");
    killed_at(Fault::WithholdReply, is_second_entry, true).await;
}

#[tokio::test]
async fn two_custodians_sign_for_one_drill_once() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(1, &Shape::default()).await;
    bench.config.orders = vec![order(result_of(ORDER, &made[0], true))];
    bench.write_config();
    let (one, other) = (bench.custodian(), bench.custodian());
    one.until_done(ORDER).await;
    other.until_done(ORDER).await;
    assert_signed_once(&bench, ORDER).await;
}

type Change = fn(&mut DrillResult);

/// Results that are not signed for: what each says, and what it is told.
const REFUSED: [(&str, Change, Reason, &str); 10] = [
    (
        "other-registry",
        |result| result.registry = "business".into(),
        Reason::OrderRefused,
        "of registry business",
    ),
    (
        "other-order",
        |result| result.order = "nightly-1".into(),
        Reason::OrderRefused,
        "result of order nightly-1",
    ),
    (
        "inconclusive",
        |result| result.verdict = Verdict::Inconclusive,
        Reason::OrderRefused,
        "nothing of a copy",
    ),
    (
        "no-copy",
        |result| result.copy = None,
        Reason::OrderRefused,
        "names no copy",
    ),
    (
        "not-in-the-ledger",
        |result| result.copy.as_mut().unwrap().sequence = 9,
        Reason::UnknownCopy,
        "holds no living copy 9",
    ),
    (
        "other-digest",
        |result| result.copy.as_mut().unwrap().digest = "0".repeat(64),
        Reason::UnknownCopy,
        "holds no living copy 1",
    ),
    (
        "other-copy",
        |result| result.copy.as_mut().unwrap().copy_id = "0".repeat(32),
        Reason::UnknownCopy,
        "holds no living copy 1",
    ),
    (
        "backwards",
        |result| {
            result.ended_at = result
                .started_at
                .checked_sub(SignedDuration::from_secs(1))
                .unwrap();
        },
        Reason::OrderRefused,
        "which cannot be",
    ),
    (
        "from-the-future",
        |result| {
            result.ended_at = Timestamp::now()
                .checked_add(SignedDuration::from_hours(48))
                .unwrap();
        },
        Reason::OrderRefused,
        "compare the clocks",
    ),
    (
        "contradiction",
        |result| result.assertions[0].passed = false,
        Reason::OrderRefused,
        "\"contents\" was wrong",
    ),
];

#[tokio::test]
async fn results_that_cannot_be_are_refused_and_the_others_signed_for() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(1, &Shape::default()).await;
    let good = result_of(ORDER, &made[0], true);
    bench.config.orders = REFUSED
        .iter()
        .map(|(id, change, ..)| {
            let mut result = result_of(id, &made[0], true);
            change(&mut result);
            let mut order = order(result);
            order.id = (*id).into();
            order
        })
        .chain([order(good)])
        .collect();
    bench.write_config();
    let custodian = bench.custodian();
    for (id, _, expected, words) in &REFUSED {
        let (reason, message) = custodian.until_refused(id, "").await;
        assert_eq!(reason, *expected, "{id}: {message}");
        assert!(message.contains(words), "{id}: {message}");
    }
    custodian.until_done(ORDER).await;
    assert_signed_once(&bench, ORDER).await;
    let reports = bench
        .minio
        .keys(BUCKET, "registries/population/reports/")
        .await
        .unwrap();
    assert_eq!(reports, [report_key(ORDER, "html"), report_key(ORDER, "json")]);
}

/// A drill of a copy that was just made is over before the custodian has read its entry.
#[tokio::test]
async fn a_drill_of_a_copy_that_the_custodian_has_not_seen_yet_is_judged_once_it_has() {
    let mut bench = CustodianBench::start().await;
    let first = bench.copies(1, &Shape::default()).await;
    let mut unseen = result_of(ORDER, &first[0], true);
    unseen.copy.as_mut().unwrap().sequence = 2;
    unseen.ended_at = Timestamp::now();
    bench.config.orders = vec![order(unseen)];
    bench.write_config();
    let custodian = bench.custodian();
    custodian.until_waiting(ORDER, "holds no living copy 2").await;

    // The copy that comes is another one than was drilled.
    bench.copies(1, &Shape::default()).await;
    let (reason, message) = custodian.until_refused(ORDER, "").await;
    assert_eq!(reason, Reason::UnknownCopy, "{message}");
    assert!(drills(&bench).await.is_empty());
}

#[tokio::test]
async fn an_order_waits_while_the_store_refuses_and_is_carried_out_when_it_does_not() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(1, &Shape::default()).await;
    let is_report = |method: &Method, target: &str| method == Method::PUT && target.contains("/reports/");
    bench
        .proxy
        .inject(usize::MAX, Fault::Answer(StatusCode::FORBIDDEN), is_report);
    bench.config.orders = vec![order(result_of(ORDER, &made[0], true))];
    bench.write_config();
    let custodian = bench.custodian();
    custodian.until_waiting(ORDER, "the store denied PutObject").await;
    // Nothing else waits for it.
    custodian
        .until_registry("the proof", |report| report.verification.verified == 1)
        .await;
    bench.proxy.heal();
    custodian.until_done(ORDER).await;
    assert_signed_once(&bench, ORDER).await;
}

#[tokio::test]
async fn orders_outlive_a_store_that_is_not_there_for_a_while() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(2, &Shape::default()).await;
    let is_report = |method: &Method, target: &str| method == Method::PUT && target.contains("/reports/");
    let unavailable = Fault::Answer(StatusCode::SERVICE_UNAVAILABLE);
    bench.proxy.inject(usize::MAX, unavailable, is_report);
    bench.config.orders = vec![
        order(result_of("nightly-1", &made[0], true)),
        order(result_of("nightly-2", &made[1], true)),
    ];
    bench.write_config();
    let custodian = bench.custodian();
    custodian.until_waiting("nightly-1", "").await;
    assert!(drills(&bench).await.is_empty());
    bench.proxy.heal();
    for id in ["nightly-1", "nightly-2"] {
        custodian.until_done(id).await;
    }
    let signed = drills(&bench).await;
    let orders: Vec<&str> = signed.iter().map(|drill| drill.order.as_str()).collect();
    assert_eq!(orders, ["nightly-1", "nightly-2"]);
}

#[tokio::test]
async fn an_order_waits_while_nobody_has_said_where_the_ledger_stood() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let before = custodian
        .until_registry("a proof", |report| report.custody_head.is_some())
        .await;
    custodian.kill();
    bench.config.orders = vec![order(result_of(ORDER, &made[0], true))];
    bench.write_config();
    let custodian = bench.custodian();
    let waits = |report: &RegistryReport| {
        let answer = answer(report, ORDER);
        matches!(
            answer,
            Some(OrderState::Waiting {
                reason: Reason::Unwitnessed,
                ..
            })
        )
    };
    custodian.until_registry("why it waits", waits).await;
    assert!(drills(&bench).await.is_empty());
    bench.remember(&before);
    custodian.until_done(ORDER).await;
    assert_signed_once(&bench, ORDER).await;
}

/// The text of the page's commands, as a browser would show it.
fn commands(page: &str) -> String {
    let (_, rest) = page.split_once("<pre><code>").unwrap();
    let (text, _) = rest.split_once("</code></pre>").unwrap();
    let unescaped = text
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    unescaped.replace("&amp;", "&")
}

#[tokio::test]
async fn the_commands_on_the_page_check_it_with_stock_tools() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(1, &Shape::default()).await;
    bench.config.orders = vec![order(result_of(ORDER, &made[0], true))];
    bench.write_config();
    let custodian = bench.custodian();
    let report = custodian.until_done(ORDER).await;
    let Some(OrderState::Done { sequence }) = answer(&report, ORDER) else {
        panic!("it is done");
    };
    let folder = tempfile::tempdir().unwrap();
    for form in ["json", "html"] {
        let bytes = bytes_of(&bench, &report_key(ORDER, form)).await;
        std::fs::write(folder.path().join(format!("{ORDER}.{form}")), bytes).unwrap();
    }
    let entry = bytes_of(&bench, &format!("registries/{REGISTRY}/custody/{sequence:012}")).await;
    std::fs::write(folder.path().join("ENTRY"), &entry).unwrap();
    let page = std::fs::read_to_string(folder.path().join(format!("{ORDER}.html"))).unwrap();
    let run = || {
        let script = commands(&page);
        std::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let told = run();
    let output = String::from_utf8([told.stdout, told.stderr].concat()).unwrap();
    assert!(told.status.success(), "{output}");
    assert!(
        output.contains("Good \"dataembassy-custody-v1\" signature"),
        "{output}"
    );
    let drill = assert_signed_once(&bench, ORDER).await;
    for named in [&drill.reports.json, &drill.reports.html] {
        assert!(output.contains(&named.sha256.to_string()), "{output}");
    }
    // Another entry is not this one's, and a changed one is nobody's.
    let other = bytes_of(&bench, &format!("registries/{REGISTRY}/custody/000000000001")).await;
    if other != entry {
        std::fs::write(folder.path().join("ENTRY"), &other).unwrap();
        assert!(!run().status.success());
    }
    let changed = String::from_utf8(entry)
        .unwrap()
        .replacen("\"passed\":true", "\"passed\":false", 1);
    std::fs::write(folder.path().join("ENTRY"), changed).unwrap();
    assert!(!run().status.success());
}

#[tokio::test]
async fn another_report_under_the_same_order_is_not_written_over() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(1, &Shape::default()).await;
    let mut planted = Vec::new();
    // What a custodian would have put for a drill that passed, and what is no report at all.
    for (id, is_report) in [("nightly-1", true), ("nightly-2", false)] {
        let record = Record {
            store: bench.origin.store_id,
            registry: &REGISTRY.parse().unwrap(),
            order: &id.parse().unwrap(),
            source_entry: made[0].reference,
            copy: made[0].body.copy_id,
            custodian: custodian_key().public_key(),
            result: &result_of(id, &made[0], true),
        };
        let report = record.render().unwrap().json.to_vec();
        let bytes = if is_report {
            report
        } else {
            b"another report".to_vec()
        };
        let key = report_key(id, "json");
        let path = format!("/{BUCKET}/{key}");
        bench
            .minio
            .root()
            .expect(Method::PUT, &path, &[], &[], bytes.clone())
            .await
            .unwrap();
        bench.config.orders.push(order(result_of(id, &made[0], false)));
        planted.push((id, key, bytes));
    }
    bench.write_config();
    let custodian = bench.custodian();
    for (id, key, bytes) in planted {
        let (reason, message) = custodian.until_refused(id, "").await;
        assert_eq!(reason, Reason::OrderRefused);
        assert!(
            message.contains(&format!("{key} is in the store already")),
            "{message}"
        );
        assert!(drills(&bench).await.is_empty());
        assert_eq!(bytes_of(&bench, &key).await, bytes);
    }
}

#[tokio::test]
async fn orders_that_cannot_be_used_are_answered_and_keep_nothing_else_from_being_loaded() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(1, &Shape::default()).await;
    let good = order(result_of(ORDER, &made[0], true));
    let renamed = |id: &str, passed| {
        let mut one = order(result_of(id, &made[0], passed));
        one.id = id.into();
        one
    };
    let mut gone = good.clone();
    gone.registry = "business".into();
    bench.config.orders = vec![
        gone,
        renamed("../../x", true),
        renamed("twice", true),
        renamed("twice", false),
        renamed("of-tomorrow", true),
        good.clone(),
        // The same once more is the same.
        good,
    ];
    bench
        .config
        .orders
        .extend((0..12).map(|number| renamed(&format!("more-{number}"), true)));
    let mut document: serde_json::Value = serde_json::from_str(&bench.config.to_json().unwrap()).unwrap();
    document["orders"][4]["body"]["kind"] = "tidyUp".into();
    bench.write(dataembassy_contract::files::CONFIG_FILE, &document.to_string());
    let custodian = bench.custodian();
    custodian.until_done(ORDER).await;
    for (id, words) in [
        ("../../x", "order id"),
        ("twice", "two orders"),
        ("of-tomorrow", "tidyUp"),
    ] {
        let (reason, message) = custodian.until_refused(id, "").await;
        assert_eq!(reason, Reason::OrderRefused);
        assert!(message.contains(words), "{message}");
    }
    let report = custodian.until_waiting("more-11", "16 other orders").await;
    assert!(report.orders.len() <= 16, "{:#?}", report.orders);
    assert_eq!(custodian.report().await.unwrap().refused, None);
}

#[tokio::test]
async fn a_drill_that_failed_and_drills_that_do_not_come_are_alarms_until_a_copy_passes() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(2, &Shape::default()).await;
    bench.config.registries[0].drills = Some(DrillPolicy {
        every: "1s".parse().unwrap(),
    });
    bench.write_config();
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::DrillOverdue).await;
    for words in [
        "registry population",
        "no copy is known to have passed a drill",
        "Lost: nothing",
    ] {
        assert!(message.contains(words), "{message}");
    }
    bench.config.registries[0].drills = Some(DrillPolicy {
        every: "1h".parse().unwrap(),
    });
    bench.config.orders = vec![order(result_of("nightly-1", &made[1], false))];
    bench.write_config();
    custodian.until_healed(Reason::DrillOverdue).await;
    let message = custodian.until_alarm(Reason::DrillFailed).await;
    for words in [
        "registry population, copy 2: it did not pass the drill",
        "the registry's reports/nightly-1.html says why",
        "Lost: perhaps this copy",
        "Stands: the ledger up to entry 2",
    ] {
        assert!(message.contains(words), "{message}");
    }
    let report = custodian.registry().await.unwrap();
    assert_eq!(report.copies[0].drilled, CheckState::False);
    assert!(
        report.copies[0].message.contains("reports/nightly-1.html"),
        "{}",
        report.copies[0].message
    );
    assert_eq!(report.last_drilled, None);
    // An older copy that passes ends the alarm, and does not make the newer one good.
    bench
        .config
        .orders
        .push(order(result_of("nightly-2", &made[0], true)));
    bench.write_config();
    let report = custodian.until_healed(Reason::DrillFailed).await;
    let states: Vec<_> = report.copies.iter().map(|copy| copy.drilled).collect();
    assert_eq!(states, [CheckState::False, CheckState::True]);
    assert_eq!(report.last_drilled.as_ref().map(|last| last.sequence), Some(1));
    assert_eq!(alarm(&report, Reason::DrillOverdue), None);
}

#[tokio::test]
async fn a_copy_of_noise_is_intact_but_never_drilled_and_cannot_push_out_one_that_is() {
    // Every made-up copy is noise that home has signed: what a hostile home would send. The first one stands for a copy that was real.
    let mut bench = CustodianBench::start_with(BucketKind::Locked).await;
    let retention = &mut bench.config.registries[0].retention;
    retention.keep_within = "1s".parse().unwrap();
    (
        retention.daily,
        retention.weekly,
        retention.monthly,
        retention.yearly,
    ) = (0, 0, 0, 0);
    retention.minimum = 1;
    bench.write_config();
    let made = bench.copies(3, &Shape::default()).await;
    let custodian = bench.custodian();
    // Without a drill nobody can tell them apart: the newest stays.
    let plan = |report: &RegistryReport| report.retention.expiring.clone();
    custodian
        .until_registry("a plan without drills", |report| plan(report) == [1, 2])
        .await;
    bench.config.orders = vec![
        order(result_of("nightly-1", &made[0], true)),
        order(result_of("nightly-2", &made[2], false)),
    ];
    bench.write_config();
    custodian.until_done("nightly-2").await;
    let report = custodian
        .until_registry("a plan with drills", |report| plan(report) == [2])
        .await;
    let states: Vec<_> = report
        .copies
        .iter()
        .map(|copy| (copy.sequence, copy.intact, copy.drilled))
        .collect();
    assert_eq!(
        states,
        [
            (3, CheckState::True, CheckState::False),
            (2, CheckState::True, CheckState::Unknown),
            (1, CheckState::True, CheckState::True),
        ]
    );
}

//! Retention, executed on a store that locks nothing by itself: tests lock each version for seconds, so that locks end while they look.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::bench::REGISTRY;
use crate::bench::custodian::{Custodian, CustodianBench, DEADLINE, alarm, home, newest_only, on_disk};
use crate::bench::drill;
use dataembassy_contract::Reason;
use dataembassy_contract::config::Floor;
use dataembassy_contract::custodian::{PinConfig, RegistryReport, RetentionConfig};
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::entry::{CustodyBody, ExpiryBody, PinBody, VoidBody};
use dataembassy_ledger::key::CopyObject;
use dataembassy_ledger::{CopyId, ObjectKey, Sequence, Sha256Digest};
use dataembassy_testkit::fabricated::{MadeCopy, MadeLedger, Shape};
use dataembassy_testkit::fault_proxy::{Fault, Seen};
use dataembassy_testkit::minio::{BUCKET, BucketKind, SignedClient, StoreUser};
use hyper::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};

/// An embassy that locks for so many seconds, and keeps the newest whole copy.
async fn bench(seconds: u64) -> CustodianBench {
    let mut bench = CustodianBench::start_with(BucketKind::Lockable).await;
    bench.lock = Some(Duration::from_secs(seconds));
    bench.timing.push(("--prove-every", "1s"));
    bench.timing.push(("--expire-every", "1s"));
    bench.config.immutability.lock_on_arrival = format!("{seconds}s").parse().unwrap();
    bench.config.registries[0].retention = newest_only();
    bench.write_config();
    bench
}

fn sequence(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

/// When a version's lock ends; none without one.
async fn locked_until(root: &SignedClient, key: &str, version: &str) -> Option<Timestamp> {
    let query = [("versionId", version)];
    let answer = root
        .expect(Method::HEAD, &format!("/{BUCKET}/{key}"), &query, &[], Vec::new())
        .await
        .unwrap();
    let until = answer.headers().get("x-amz-object-lock-retain-until-date")?;
    Some(until.to_str().unwrap().parse().unwrap())
}

/// The end of the lock of the only version of a key.
async fn end_of(bench: &CustodianBench, key: &str) -> Option<Timestamp> {
    let versions = bench.minio.root().versions(BUCKET, key).await.unwrap();
    locked_until(bench.minio.root(), key, &versions[0].id).await
}

/// Puts a setting of one version, with the checksum that stores demand of one.
async fn set(root: &SignedClient, key: &str, setting: &str, version: &str, body: &str) {
    let checksum = STANDARD.encode(Sha256Digest::of(body.as_bytes()).as_bytes());
    let query = [(setting, ""), ("versionId", version)];
    let headers = [("x-amz-checksum-sha256", checksum.as_str())];
    root.expect(
        Method::PUT,
        &format!("/{BUCKET}/{key}"),
        &query,
        &headers,
        body.into(),
    )
    .await
    .unwrap();
}

/// The folders of some copies.
fn folders<'a>(copies: impl IntoIterator<Item = &'a MadeCopy>) -> Vec<CopyId> {
    copies.into_iter().map(|copy| copy.body.copy_id).collect()
}

/// Waits until folders are empty: no version, and no delete marker.
async fn until_gone(bench: &CustodianBench, custodian: &Custodian, copies: &[CopyId]) {
    let begun = std::time::Instant::now();
    for copy in copies {
        while !bench.folder(*copy).await.is_empty() {
            assert!(
                begun.elapsed() < DEADLINE,
                "{copy} is still there: {:#?}",
                custodian.registry().await
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn expiries(bench: &CustodianBench) -> Vec<ExpiryBody> {
    let entries = bench.custody_entries().await.into_iter();
    entries
        .filter_map(|body| match body {
            CustodyBody::Expiry(body) => Some(body),
            _ => None,
        })
        .collect()
}

async fn voids(bench: &CustodianBench) -> Vec<VoidBody> {
    let entries = bench.custody_entries().await.into_iter();
    entries
        .filter_map(|body| match body {
            CustodyBody::Void(body) => Some(body),
            _ => None,
        })
        .collect()
}

/// What the files in a folder take. What goes while it is looked at counts nothing.
fn bytes_in(folder: &Path) -> u64 {
    let (mut pending, mut bytes) = (vec![folder.to_owned()], 0);
    while let Some(place) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&place) else {
            continue;
        };
        for entry in entries.filter_map(Result::ok) {
            match entry.metadata() {
                Ok(found) if found.is_dir() => pending.push(entry.path()),
                Ok(found) => bytes += found.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

fn deletions(bench: &CustodianBench) -> usize {
    bench.proxy.asked_for(|one| one.method == Method::DELETE)
}

/// Nothing was deleted but named versions of objects of the registry's copies: without a version an object would only be hidden.
fn assert_only_copies_went(bench: &CustodianBench) {
    let copies = format!("/{BUCKET}/registries/{REGISTRY}/copies/");
    assert!(deletions(bench) > 0);
    for one in bench.proxy.seen() {
        let (path, query) = one.target.split_once('?').unwrap_or((&one.target, ""));
        let query: Vec<&str> = query.split('&').collect();
        // One request that deletes many has no version in its query.
        let is_of_many = one.method == Method::POST && query.iter().any(|part| part.starts_with("delete"));
        assert!(!is_of_many, "POST {}", one.target);
        if one.method == Method::DELETE {
            let versions = query.iter().filter_map(|part| part.strip_prefix("versionId="));
            let is_named = versions.filter(|id| !id.is_empty()).count() == 1;
            assert!(path.starts_with(&copies) && is_named, "DELETE {}", one.target);
        }
    }
}

fn is_prolonging(method: &Method, target: &str) -> bool {
    method == Method::PUT && target.contains("retention")
}

/// How often locks of copies were prolonged.
fn prolongings(bench: &CustodianBench) -> usize {
    let is_such = |one: &Seen| one.target.contains("/copies/") && is_prolonging(&one.method, &one.target);
    bench.proxy.asked_for(is_such)
}

fn has_copies(report: &RegistryReport, numbers: &[u64]) -> bool {
    let copies: Vec<u64> = report.copies.iter().map(|copy| copy.sequence).collect();
    copies == numbers
}

/// Nothing is wrong, but that a lock of seconds may be prolonged a moment late.
fn assert_quiet(report: &RegistryReport) {
    let mut alarms = report.alarms.iter();
    assert!(
        alarms.all(|alarm| alarm.reason == Reason::LockTooShort),
        "{:#?}",
        report.alarms
    );
}

#[tokio::test]
async fn locks_of_what_is_kept_are_prolonged_in_time_and_never_shortened() {
    let mut bench = bench(16).await;
    bench.config.registries[0].retention = RetentionConfig {
        keep_within: "30d".parse().unwrap(),
        ..newest_only()
    };
    bench.write_config();
    let made = bench.copies(2, &Shape::default()).await;
    let root = bench.minio.root();
    // Somebody has locked one version for years already, and puts something of his own beside a kept copy.
    let object = |copy: usize, segment: usize| {
        let number = CopyObject::Segment(made[copy].segments[segment].number);
        bench.ledger.object(made[copy].body.copy_id, number).to_string()
    };
    let version = made[0].segments[1].version.to_string();
    let body = "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2036-01-01T00:00:00Z</RetainUntilDate></Retention>";
    set(root, &object(0, 1), "retention", &version, body).await;
    let far = locked_until(root, &object(0, 1), &version).await;
    let junk = "99999999".parse().unwrap();
    let junk = bench.ledger.object(made[0].body.copy_id, junk);
    let mut depositor = bench.depositor().await;
    depositor.put(&junk, b"junk").await.unwrap();
    drop(depositor);
    let mut arrived = Vec::new();
    for copy in &made {
        for version in bench.folder(copy.body.copy_id).await {
            let until = locked_until(root, &version.key, &version.id).await.unwrap();
            arrived.push((version, until));
        }
    }
    let custodian = bench.custodian();
    custodian.until_head(2).await;
    let begun = std::time::Instant::now();
    for (version, until) in &arrived {
        if version.key == junk.to_string() || version.key == object(0, 1) {
            continue;
        }
        while locked_until(root, &version.key, &version.id).await <= Some(*until) {
            assert!(begun.elapsed() < DEADLINE, "{version:?} was not prolonged");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Nobody had to be told.
        let report = custodian.registry().await.unwrap();
        assert_eq!(alarm(&report, Reason::LockTooShort), None);
    }
    assert_eq!(locked_until(root, &object(0, 1), &version).await, far);
    assert_eq!(
        end_of(&bench, &junk.to_string()).await,
        arrived
            .iter()
            .find(|(version, _)| version.key == junk.to_string())
            .map(|(_, until)| *until)
    );
    // Entries and the document never go, and are locked for longer.
    let entry = bench.ledger.entry_key(sequence(1)).to_string();
    let long = |until: Option<Timestamp>| {
        until.is_some_and(|until| until.duration_since(Timestamp::now()).as_secs() > 60)
    };
    for key in [entry, "embassy.json".to_owned()] {
        while !long(end_of(&bench, &key).await) {
            assert!(begun.elapsed() < DEADLINE, "{key} was not locked for long");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let shown = |report: &RegistryReport| {
        let soon = Timestamp::now().checked_add(Duration::from_secs(4)).unwrap();
        report.copies.iter().all(|copy| copy.locked_until > Some(soon))
    };
    custodian.until_registry("the longer locks", shown).await;
}

#[tokio::test]
async fn locks_that_the_store_refuses_to_prolong_are_told_and_prolonged_when_it_does() {
    let mut bench = bench(20).await;
    let made = bench.copies(1, &Shape::default()).await;
    let is_of_the_copy =
        |method: &Method, target: &str| is_prolonging(method, target) && target.contains("/copies/");
    bench
        .proxy
        .inject(usize::MAX, Fault::Answer(StatusCode::FORBIDDEN), is_of_the_copy);
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::RetentionBlocked).await;
    for part in [
        "copy 1 is kept, and locks of its objects",
        "the store denied PutObjectRetention",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let object = bench
        .ledger
        .object(made[0].body.copy_id, made[0].body.manifest[0].name)
        .to_string();
    let before = end_of(&bench, &object).await;
    bench.proxy.heal();
    custodian.until_healed(Reason::RetentionBlocked).await;
    assert!(end_of(&bench, &object).await > before);
}

#[tokio::test]
async fn an_object_at_which_the_store_fails_keeps_no_other_copy_from_being_locked() {
    let mut bench = bench(20).await;
    bench.config.registries[0].retention = RetentionConfig {
        keep_within: "30d".parse().unwrap(),
        ..newest_only()
    };
    bench.write_config();
    let made = bench.copies(2, &Shape::default()).await;
    let object = |copy: usize| {
        let number = CopyObject::Segment(made[copy].segments[0].number);
        bench.ledger.object(made[copy].body.copy_id, number).to_string()
    };
    let (failing, other) = (object(0), object(1));
    let before = end_of(&bench, &other).await;
    let is_asked = move |method: &Method, target: &str| method == Method::HEAD && target.contains(&failing);
    let fails = Fault::Answer(StatusCode::INTERNAL_SERVER_ERROR);
    bench.proxy.inject(usize::MAX, fails, is_asked);
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::RetentionBlocked).await;
    assert!(
        message.contains("the locks of copy 1, which is kept"),
        "{message}"
    );
    let begun = std::time::Instant::now();
    while end_of(&bench, &other).await <= before {
        assert!(begun.elapsed() < DEADLINE, "{other} was not prolonged");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bench.proxy.heal();
    custodian.until_healed(Reason::RetentionBlocked).await;
}

#[tokio::test]
async fn an_entry_at_which_the_store_fails_keeps_no_other_entry_from_being_locked() {
    let mut bench = bench(20).await;
    let made = bench.copies(2, &Shape::default()).await;
    let entry = |copy: usize| bench.ledger.entry_key(made[copy].reference.sequence).to_string();
    let (failing, other) = (entry(0), entry(1));
    let before = end_of(&bench, &other).await;
    let is_asked = move |method: &Method, target: &str| method == Method::HEAD && target.contains(&failing);
    let fails = Fault::Answer(StatusCode::INTERNAL_SERVER_ERROR);
    bench.proxy.inject(usize::MAX, fails, is_asked);
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::RetentionBlocked).await;
    assert!(message.contains("the lock of entry "), "{message}");
    let begun = std::time::Instant::now();
    while end_of(&bench, &other).await <= before {
        assert!(begun.elapsed() < DEADLINE, "{other} was not prolonged");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bench.proxy.heal();
    custodian.until_healed(Reason::RetentionBlocked).await;
}

#[tokio::test]
async fn an_object_that_the_store_fails_to_delete_keeps_nothing_else_from_going() {
    let mut bench = bench(2).await;
    let made = bench.copies(3, &Shape::default()).await;
    let number = CopyObject::Segment(made[0].segments[0].number);
    let failing = bench.ledger.object(made[0].body.copy_id, number).to_string();
    let is_deletion =
        move |method: &Method, target: &str| method == Method::DELETE && target.contains(&failing);
    let fails = Fault::Answer(StatusCode::INTERNAL_SERVER_ERROR);
    bench.proxy.inject(usize::MAX, fails, is_deletion);
    let custodian = bench.custodian();
    until_gone(&bench, &custodian, &folders(&made[1..2])).await;
    custodian
        .until("the failure", |_| bench.proxy.faults_met() > 0)
        .await;
    let report = custodian.registry().await.unwrap();
    assert_eq!(report.ledger.state, CheckState::True, "{report:#?}");
    bench.proxy.heal();
    until_gone(&bench, &custodian, &folders(&made[..1])).await;
}

#[tokio::test]
async fn prolonging_that_was_cut_off_goes_on_and_repeats_little() {
    let mut bench = bench(60).await;
    bench.lock = Some(Duration::from_secs(40));
    let shape = Shape {
        segments: 120,
        segment_bytes: 100,
        ..Shape::default()
    };
    let made = bench.copies(1, &shape).await;
    let prolonged = AtomicUsize::new(0);
    let is_late = move |method: &Method, target: &str| {
        is_prolonging(method, target)
            && target.contains("/copies/")
            && prolonged.fetch_add(1, Ordering::Relaxed) >= 60
    };
    bench.proxy.inject(usize::MAX, Fault::Stall, is_late);
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("a proof", |report| report.custody_head.is_some())
        .await;
    bench.remember(&report);
    custodian.until("half of it", |_| prolongings(&bench) > 60).await;
    custodian.kill();
    bench.proxy.heal();
    let custodian = bench.custodian();
    let whole = |report: &RegistryReport| {
        let later = Timestamp::now().checked_add(Duration::from_secs(35)).unwrap();
        let copies = &report.copies;
        !copies.is_empty() && copies.iter().all(|copy| copy.locked_until > Some(later))
    };
    custodian.until_registry("the rest", whole).await;
    // 122 objects, and the few that were in flight.
    assert!(
        prolongings(&bench) <= 122 + 2 * 6,
        "{} requests",
        prolongings(&bench)
    );
    let soon = Timestamp::now().checked_add(Duration::from_secs(30)).unwrap();
    for version in bench.folder(made[0].body.copy_id).await {
        let until = locked_until(bench.minio.root(), &version.key, &version.id).await;
        assert!(until > Some(soon), "{version:?}");
    }
}

/// The plans that custodians have printed, in order.
fn printed(bench: &CustodianBench) -> Vec<String> {
    let log = bench.log();
    let lines = log.lines().filter(|line| line.contains("this is the plan"));
    let plan = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["plan"].as_str().unwrap().to_owned()
    };
    lines.map(plan).collect()
}

#[tokio::test]
async fn a_dry_run_shows_what_would_go_and_lets_nothing_go() {
    let mut bench = bench(600).await;
    bench.lock = None;
    bench.config.registries[0].retention.dry_run = true;
    bench.write_config();
    let made = bench.copies(3, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("the plan", |report| report.retention.expiring == [1, 2])
        .await;
    let retention = report.retention;
    assert_eq!(
        (
            retention.kept,
            retention.expiring_copies,
            retention.expiring_bytes
        ),
        (1, 2, 12_000)
    );
    bench.until_looks(&custodian, 5).await;
    assert_eq!(deletions(&bench), 0);
    assert!(expiries(&bench).await.is_empty());
    for copy in folders(&made) {
        assert_eq!(bench.folder(copy).await.len(), 5);
    }
    // In words too, copy by copy, and each plan once however often it is made.
    let plans = printed(&bench);
    let last = plans.last().expect("no plan was printed");
    let verdicts: Vec<Vec<&str>> = last
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for (verdict, copy) in [("stays", "3"), ("goes", "2"), ("goes", "1")] {
        let is_told = |words: &&Vec<&str>| words[..2] == [verdict, copy] && words[4] == "6000";
        assert_eq!(verdicts.iter().filter(is_told).count(), 1, "{last}");
    }
    assert!(last.contains("among the newest intact"), "{last}");
    assert!(last.ends_with("1 stay, 2 go with 12000 sealed bytes"), "{last}");
    assert!(plans.windows(2).all(|two| two[0] != two[1]), "{plans:#?}");
    // The same plan, executed.
    bench.config.registries[0].retention.dry_run = false;
    bench.write_config();
    until_gone(&bench, &custodian, &folders(&made[..2])).await;
    assert_eq!(printed(&bench), plans);
}

#[tokio::test]
async fn expired_copies_are_deleted_after_their_locks_and_their_space_comes_back() {
    let mut bench = bench(4).await;
    let large = Shape {
        segment_bytes: 40_000,
        ..Shape::default()
    };
    let made = bench.copies(3, &large).await;
    let until = end_of(
        &bench,
        &bench
            .ledger
            .object(made[0].body.copy_id, made[0].body.manifest[0].name)
            .to_string(),
    )
    .await
    .unwrap();
    let on_the_disk = bench.minio.data_directory().join(BUCKET);
    let before = bytes_in(&on_the_disk);
    let custodian = bench.custodian();
    until_gone(&bench, &custodian, &folders(&made[..2])).await;
    assert!(Timestamp::now() > until, "it went while it was locked");
    // The disk has its room back too, but for what the custodian has written: a store may only hide what it says is gone. What MinIO throws
    // away it moves out of the bucket, and clears within five minutes.
    let begun = std::time::Instant::now();
    while bytes_in(&on_the_disk) + 200_000 > before {
        assert!(
            begun.elapsed() < DEADLINE,
            "of {before} bytes {} are left on the disk",
            bytes_in(&on_the_disk)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let report = custodian
        .until_registry("the end", |report| {
            report.retention.deleted == 2 && report.retention.waiting == 0 && report.used_bytes < 200_000
        })
        .await;
    assert!(has_copies(&report, &[3]), "{:#?}", report.copies);
    assert_eq!(report.retention.blocked, None);
    assert!(report.retention.deleted_bytes >= 240_000);
    assert_eq!(bench.folder(made[2].body.copy_id).await.len(), 5);
    // The entries stay, and one entry says what went.
    for number in 1..=3 {
        let key = bench.ledger.entry_key(sequence(number)).to_string();
        assert_eq!(bench.minio.keys(BUCKET, &key).await.unwrap().len(), 1);
    }
    let expired = expiries(&bench).await;
    let expired: Vec<_> = expired.iter().flat_map(|body| &body.copies).collect();
    assert_eq!(
        expired.iter().map(|copy| copy.sequence.get()).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(expired[0].copy_id, made[0].body.copy_id);
    let metrics = crate::bench::http::get(custodian.metrics_address(), "/metrics", None)
        .await
        .unwrap();
    let metrics = String::from_utf8(metrics.into_body()).unwrap();
    let counted = "dataembassy_custodian_deleted_objects_total{registry=\"population\"} 10";
    assert!(metrics.contains(counted), "{metrics}");
    assert_only_copies_went(&bench);
}

#[tokio::test]
async fn a_report_stays_locked_when_the_copy_that_it_is_about_goes() {
    let mut bench = bench(2).await;
    let made = bench.copies(2, &Shape::default()).await;
    let start = Timestamp::now()
        .checked_sub(SignedDuration::from_mins(20))
        .unwrap();
    bench.config.orders = vec![drill::order(drill::result(
        "nightly-1",
        drill::drilled(&made[0]),
        false,
        start,
    ))];
    // It goes as soon as its drill was signed for.
    bench.config.registries[0].retention.dry_run = true;
    bench.write_config();
    let custodian = bench.custodian();
    custodian
        .until_registry("the drill", |report| {
            report.copies.iter().any(|copy| copy.drilled == CheckState::False)
        })
        .await;
    bench.config.registries[0].retention.dry_run = false;
    bench.write_config();
    until_gone(&bench, &custodian, &folders(&made[..1])).await;
    let begun = std::time::Instant::now();
    for form in ["html", "json"] {
        let key = format!("registries/{REGISTRY}/reports/nightly-1.{form}");
        let is_locked_for_long = |until: Option<Timestamp>| {
            until.is_some_and(|until| until.duration_since(Timestamp::now()).as_secs() > 8)
        };
        while !is_locked_for_long(end_of(&bench, &key).await) {
            assert!(begun.elapsed() < DEADLINE, "{key} was not locked for long");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let reports = bench
        .minio
        .keys(BUCKET, "registries/population/reports/")
        .await
        .unwrap();
    assert_eq!(reports.len(), 2);
}

#[tokio::test]
async fn a_pinned_copy_stays_until_it_is_pinned_no_more() {
    let mut bench = bench(2).await;
    bench.config.registries[0].pins = vec![PinConfig {
        sequence: 1,
        reason: "before the election".into(),
    }];
    bench.write_config();
    let made = bench.copies(3, &Shape::default()).await;
    let custodian = bench.custodian();
    until_gone(&bench, &custodian, &folders(&made[1..2])).await;
    let report = custodian
        .until_registry("two that stay", |report| has_copies(report, &[3, 1]))
        .await;
    assert!(report.copies[1].pinned);
    assert_eq!(bench.folder(made[0].body.copy_id).await.len(), 5);
    let pin = |pinned: bool, reason: Option<&str>| {
        CustodyBody::Pin(PinBody {
            source_sequence: sequence(1),
            pinned,
            reason: reason.map(str::to_owned),
        })
    };
    let entries = bench.custody_entries().await;
    assert!(entries.contains(&pin(true, Some("before the election"))));
    bench.config.registries[0].pins.clear();
    bench.write_config();
    until_gone(&bench, &custodian, &folders(&made[..1])).await;
    assert!(bench.custody_entries().await.contains(&pin(false, None)));
}

#[tokio::test]
async fn a_custodian_killed_between_the_record_and_the_deletion_goes_on_without_a_second_record() {
    let mut bench = bench(14).await;
    let mut made = bench.copies(3, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("the record", |report| report.retention.waiting == 2)
        .await;
    assert!(has_copies(&report, &[3]), "{:#?}", report.copies);
    // Whoever begins at a later proof does not read the record on its way.
    let head = report.custody_head.unwrap().sequence;
    made.extend(bench.copies(1, &Shape::default()).await);
    let later = bench
        .until_view("a later proof", |view| {
            let proof = view.latest_proof_entry();
            proof.is_some_and(|(entry, _)| entry.sequence.get() > head)
        })
        .await;
    let later = later.head().unwrap().sequence.get();
    let report = custodian
        .until_registry("that proof", |report| {
            report
                .custody_head
                .as_ref()
                .is_some_and(|head| head.sequence >= later)
        })
        .await;
    bench.remember(&report);
    custodian.kill();
    assert!(!bench.folder(made[0].body.copy_id).await.is_empty());
    let custodian = bench.custodian();
    until_gone(&bench, &custodian, &folders(&made[..3])).await;
    let expired = expiries(&bench).await;
    let mut expired: Vec<_> = expired.iter().flat_map(|body| &body.copies).collect();
    let all = expired.len();
    expired.dedup();
    assert_eq!((all, expired.len()), (3, 3));
    assert!(voids(&bench).await.is_empty());
}

#[tokio::test]
async fn a_custodian_killed_amid_deletion_goes_on() {
    let mut bench = bench(2).await;
    let shape = Shape {
        segments: 120,
        segment_bytes: 100,
        ..Shape::default()
    };
    let made = bench.copies(1, &shape).await;
    bench.copies(1, &Shape::default()).await;
    // The store does not answer after some of them, so the process ends in the middle.
    let deleted = AtomicUsize::new(0);
    let is_late = move |method: &Method, _: &str| {
        method == Method::DELETE && deleted.fetch_add(1, Ordering::Relaxed) >= 60
    };
    bench.proxy.inject(usize::MAX, Fault::Stall, is_late);
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("the record", |report| report.retention.waiting == 1)
        .await;
    bench.remember(&report);
    custodian
        .until("most of its deletions", |_| deletions(&bench) > 60)
        .await;
    custodian.kill();
    bench.proxy.heal();
    let left = bench.folder(made[0].body.copy_id).await.len();
    assert!((1..122).contains(&left), "{left} objects are left");
    let custodian = bench.custodian();
    until_gone(&bench, &custodian, &folders(&made)).await;
    assert_eq!(expiries(&bench).await.len(), 1);
    let report = custodian
        .until_registry("nothing that waits", |report| {
            report.retention.waiting == 0 && report.copies.len() == 1
        })
        .await;
    assert_quiet(&report);
}

#[tokio::test]
async fn two_custodians_let_the_same_copies_go_once() {
    let mut bench = bench(3).await;
    let made = bench.copies(4, &Shape::default()).await;
    let (one, other) = (bench.custodian(), bench.custodian());
    until_gone(&bench, &one, &folders(&made[..3])).await;
    for custodian in [&one, &other] {
        let report = custodian
            .until_registry("one copy", |report| {
                has_copies(report, &[4]) && report.retention.waiting == 0
            })
            .await;
        assert_eq!(report.retention.blocked, None);
    }
    let expired = expiries(&bench).await;
    let expired: Vec<u64> = expired
        .iter()
        .flat_map(|body| &body.copies)
        .map(|copy| copy.sequence.get())
        .collect();
    assert_eq!(expired, [1, 2, 3]);
    bench.view().await;
    assert_only_copies_went(&bench);
}

#[tokio::test]
async fn nothing_goes_while_nobody_has_said_where_the_ledger_stood() {
    let mut bench = bench(2).await;
    bench.config.registries[0].retention.dry_run = true;
    bench.write_config();
    let made = bench.copies(3, &Shape::default()).await;
    let custodian = bench.custodian();
    let before = custodian
        .until_registry("the plan", |report| {
            report.retention.expiring == [1, 2] && report.custody_head.is_some()
        })
        .await;
    custodian.kill();
    bench.config.registries[0].retention.dry_run = false;
    bench.write_config();
    let custodian = bench.custodian();
    custodian.until_alarm(Reason::Unwitnessed).await;
    let blocked = |report: &RegistryReport| {
        let blocked = report.retention.blocked.as_ref();
        blocked.is_some_and(|blocked| blocked.reason == Reason::Unwitnessed)
    };
    custodian.until_registry("why nothing goes", blocked).await;
    bench.until_looks(&custodian, 4).await;
    assert_eq!(deletions(&bench), 0);
    assert!(expiries(&bench).await.is_empty());
    let head = before.source_head.unwrap();
    bench.config.registries[0].confirmed_head = Some(Floor {
        sequence: head.sequence,
        digest: head.digest,
    });
    bench.write_config();
    until_gone(&bench, &custodian, &folders(&made[..2])).await;
}

#[tokio::test]
async fn what_the_store_refuses_to_delete_is_told_with_the_reason_and_goes_when_it_can() {
    let mut bench = bench(2).await;
    let is_deletion = |method: &Method, _: &str| method == Method::DELETE;
    bench
        .proxy
        .inject(usize::MAX, Fault::Answer(StatusCode::FORBIDDEN), is_deletion);
    let made = bench.copies(2, &Shape::default()).await;
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::RetentionBlocked).await;
    for part in [
        "registry population",
        "copy 1 has expired and cannot be deleted",
        "the store denied DeleteObject",
        "compare the user's policy with the template",
        "Lost: nothing",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let report = custodian.registry().await.unwrap();
    assert_eq!(report.retention.blocked.unwrap().reason, Reason::RetentionBlocked);
    // A legal hold is no missing right.
    let key = bench.ledger.object(
        made[0].body.copy_id,
        CopyObject::Segment(made[0].segments[0].number),
    );
    let version = made[0].segments[0].version.to_string();
    let hold = async |state: &str| {
        let body = format!("<LegalHold><Status>{state}</Status></LegalHold>");
        set(
            bench.minio.root(),
            &key.to_string(),
            "legal-hold",
            &version,
            &body,
        )
        .await;
    };
    hold("ON").await;
    bench.proxy.heal();
    let tells_of_it = |report: &RegistryReport| {
        let message = alarm(report, Reason::RetentionBlocked);
        message.is_some_and(|message| message.contains("legal hold"))
    };
    custodian.until_registry("the hold", tells_of_it).await;
    hold("OFF").await;
    until_gone(&bench, &custodian, &folders(&made[..1])).await;
    custodian.until_healed(Reason::RetentionBlocked).await;
}

#[tokio::test]
async fn objects_that_no_entry_names_are_declared_void_and_swept_when_they_are_old() {
    let mut bench = bench(2).await;
    bench.config.sweep_after = "1h".parse().unwrap();
    bench.write_config();
    bench.copies(2, &Shape::default()).await;
    let old = unnamed(&mut bench, Some(Duration::from_hours(2))).await;
    let young = unnamed(&mut bench, None).await;
    let unaccepted = unaccepted(&bench).await;
    let custodian = bench.custodian();
    until_gone(&bench, &custodian, &[old]).await;
    let given_up: Vec<CopyId> = voids(&bench)
        .await
        .into_iter()
        .flat_map(|body| body.copies)
        .collect();
    assert_eq!(given_up, [old]);
    assert_eq!(bench.folder(young).await.len(), 5);
    let report = custodian
        .until_registry("the rest", |report| has_copies(report, &[2]))
        .await;
    assert_quiet(&report);
    // An entry that comes after all does not make it a copy.
    assert!(bench.view().await.is_void(old));
    // Of a registry that nobody accepted nothing is swept, however old it is.
    let report = custodian
        .until("the stranger", |report| !report.unknown_registries.is_empty())
        .await;
    assert_eq!(report.unknown_registries, ["stranger"]);
    let left = bench.minio.root().versions(BUCKET, &unaccepted).await;
    assert_eq!(left.unwrap().len(), 5);
    assert_only_copies_went(&bench);
}

#[tokio::test]
async fn nothing_is_swept_while_the_source_chain_has_a_gap() {
    let mut bench = bench(2).await;
    bench.config.sweep_after = "1h".parse().unwrap();
    bench.config.registries[0].retention.keep_within = "30d".parse().unwrap();
    bench.write_config();
    bench.copies(3, &Shape::default()).await;
    let key = bench.ledger.entry_key(sequence(2)).to_string();
    let (place, aside) = (on_disk(&bench.minio, &key), bench.folder.path().join("aside"));
    let custodian = bench.custodian();
    custodian
        .until_registry("three copies", |report| report.verification.verified == 3)
        .await;
    std::fs::rename(&place, &aside).unwrap();
    custodian.until_alarm(Reason::LedgerGap).await;
    let old = unnamed(&mut bench, Some(Duration::from_hours(2))).await;
    bench.until_looks(&custodian, 6).await;
    assert!(voids(&bench).await.is_empty());
    assert_eq!(bench.folder(old).await.len(), 5);
    std::fs::rename(&aside, &place).unwrap();
    until_gone(&bench, &custodian, &[old]).await;
}

#[tokio::test]
async fn a_copy_whose_entry_is_not_listed_to_a_custodian_that_starts_is_not_given_up() {
    let mut bench = bench(2).await;
    bench.config.sweep_after = "1h".parse().unwrap();
    bench.config.registries[0].retention.keep_within = "30d".parse().unwrap();
    bench.write_config();
    let mut ledger = bench.ledger.clone();
    let mut depositor = bench.depositor().await.backdating(Duration::from_hours(2));
    for _ in 0..3 {
        ledger.copy(&mut depositor, &Shape::default()).await.unwrap();
    }
    drop(depositor);
    bench.ledger = ledger;
    let custodian = bench.custodian();
    custodian
        .until_registry("three copies", |report| report.verification.verified == 3)
        .await;
    // What it starts from next time.
    let names_the_last = |view: &CustodyView| {
        view.last_named_source()
            .is_some_and(|named| named.sequence == sequence(3))
    };
    bench.until_view("a proof of all three", names_the_last).await;
    assert_eq!(custodian.terminate().await, 0);
    let key = bench.ledger.entry_key(sequence(2)).to_string();
    let (place, aside) = (on_disk(&bench.minio, &key), bench.folder.path().join("aside"));
    std::fs::rename(&place, &aside).unwrap();
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::LedgerGap).await;
    assert!(message.contains("copy 2"), "{message}");
    std::fs::rename(&aside, &place).unwrap();
    custodian.until_healed(Reason::LedgerGap).await;
    let is_known = |report: &RegistryReport| report.copies.iter().any(|copy| copy.sequence == 2);
    custodian.until_registry("the copy to be known", is_known).await;
    bench.until_looks(&custodian, 6).await;
    assert!(voids(&bench).await.is_empty());
}

/// Puts the objects of a copy and no entry.
async fn unnamed(bench: &mut CustodianBench, age: Option<Duration>) -> CopyId {
    let mut ledger = bench.ledger.clone();
    let depositor = bench.depositor().await;
    let mut depositor = match age {
        Some(age) => depositor.backdating(age),
        None => depositor,
    };
    let (body, _) = ledger.objects(&mut depositor, &Shape::default()).await.unwrap();
    drop(depositor);
    bench.ledger = ledger;
    body.copy_id
}

/// Puts old objects of a copy and no entry into a registry that nobody accepted; returns their folder.
async fn unaccepted(bench: &CustodianBench) -> String {
    let mut other = MadeLedger::new(bench.origin, "stranger".parse().unwrap(), home());
    let mut depositor = bench.depositor().await.backdating(Duration::from_hours(2));
    let (body, _) = other.objects(&mut depositor, &Shape::default()).await.unwrap();
    ObjectKey::copy_prefix(other.registry(), body.copy_id)
}

#[tokio::test]
async fn the_custody_user_deletes_versions_of_copies_and_nothing_else() {
    let mut bench = bench(1).await;
    bench.lock = None;
    let made = bench.copies(1, &Shape::default()).await;
    let keys = bench.minio.add_user(BUCKET, &StoreUser::Custody).await.unwrap();
    let authority = bench.minio.authority().certificate();
    let custody = SignedClient::new(&authority, bench.minio.address(), keys).unwrap();
    let delete = async |key: &ObjectKey, version: Option<&str>| {
        let query: Vec<_> = version
            .map(|version| ("versionId", version))
            .into_iter()
            .collect();
        let path = format!("/{BUCKET}/{key}");
        let answer = custody.send(Method::DELETE, &path, &query, &[], Vec::new()).await;
        answer.unwrap().status()
    };
    let segment = &made[0].segments[0];
    let object = bench
        .ledger
        .object(made[0].body.copy_id, CopyObject::Segment(segment.number));
    assert_eq!(delete(&object, None).await, StatusCode::FORBIDDEN);
    let entry = bench.ledger.entry_key(sequence(1));
    let version = made[0].version.to_string();
    assert_eq!(delete(&entry, Some(&version)).await, StatusCode::FORBIDDEN);
    assert_eq!(
        delete(&object, Some(segment.version.as_str())).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(bench.folder(made[0].body.copy_id).await.len(), 4);
}

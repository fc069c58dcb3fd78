//! Level 1: manifests, recipients, and whether every object is there and locked.

use std::time::Duration;

use crate::bench::custodian::{CustodianBench, alarm, on_disk};
use dataembassy_contract::Reason;
use dataembassy_contract::config::LockMode;
use dataembassy_contract::custodian::RegistryReport;
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::key::CopyObject;
use dataembassy_testkit::fabricated::{MadeCopy, Shape};
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::{BUCKET, BucketKind};
use hyper::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};

#[tokio::test]
async fn an_object_that_vanishes_is_named_and_heals_when_it_is_back() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(3, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian
        .until_registry("the count", |report| report.used_bytes > 0)
        .await;
    let object = CopyObject::Segment(made[1].segments[2].number);
    let folder = on_disk(
        &bench.minio,
        &bench.ledger.object(made[1].body.copy_id, object).to_string(),
    );
    let aside = bench.folder.path().join("aside");
    std::fs::rename(&folder, &aside).unwrap();
    let message = custodian.until_alarm(Reason::ObjectMissing).await;
    for part in [
        "registry population, copy 2",
        "1 object of it is not in the store, such as 00000003",
        "Lost: this copy cannot be restored whole",
        "Stands: the ledger up to entry 3, 2 copies",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let report = custodian.registry().await.unwrap();
    assert_eq!(
        (report.intact.state, report.intact.reason),
        (CheckState::False, Reason::ObjectMissing)
    );
    let states: Vec<_> = report
        .copies
        .iter()
        .map(|copy| (copy.sequence, copy.intact))
        .collect();
    assert_eq!(states[1], (2, CheckState::False), "{states:?}");
    std::fs::rename(&aside, &folder).unwrap();
    custodian.until_healed(Reason::ObjectMissing).await;
}

#[tokio::test]
async fn a_version_that_replaces_another_and_one_beside_it_are_told_apart() {
    let mut bench = CustodianBench::start_with(BucketKind::Lockable).await;
    let made = bench.copies(2, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian
        .until_registry("the count", |report| report.used_bytes > 0)
        .await;
    let key = |copy: usize, segment: usize| {
        let object = CopyObject::Segment(made[copy].segments[segment].number);
        bench.ledger.object(made[copy].body.copy_id, object).to_string()
    };
    bench
        .minio
        .put(BUCKET, &key(0, 0), b"beside".to_vec())
        .await
        .unwrap();
    let message = custodian.until_alarm(Reason::SecondVersion).await;
    assert!(
        message.contains("copy 1") && message.contains("its own versions are there"),
        "{message}"
    );
    let version = made[1].segments[1].version.to_string();
    bench
        .minio
        .put(BUCKET, &key(1, 1), b"instead".to_vec())
        .await
        .unwrap();
    let delete = [("versionId", version.as_str())];
    let path = format!("/{BUCKET}/{}", key(1, 1));
    bench
        .minio
        .root()
        .expect(hyper::Method::DELETE, &path, &delete, &[], Vec::new())
        .await
        .unwrap();
    let message = custodian.until_alarm(Reason::ObjectChanged).await;
    assert!(
        message.contains("copy 2") && message.contains("such as 00000002"),
        "{message}"
    );
}

#[tokio::test]
async fn a_copy_for_other_recipients_is_told_and_stays_right_when_the_list_changes() {
    let mut bench = CustodianBench::start().await;
    let foreign = Shape {
        recipients: vec!["age1foreign".parse().unwrap()],
        ..Shape::default()
    };
    bench.copies(1, &Shape::default()).await;
    bench.copies(1, &foreign).await;
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::ForeignRecipients).await;
    assert!(message.contains("copy 2"), "{message}");
    let report = custodian.registry().await.unwrap();
    assert_eq!(
        report
            .alarms
            .iter()
            .filter(|alarm| alarm.reason == Reason::ForeignRecipients)
            .count(),
        1
    );
}

#[tokio::test]
async fn a_manifest_that_is_not_what_the_entry_says_loses_the_copy() {
    let mut bench = CustodianBench::start().await;
    bench.copies(1, &Shape::default()).await;
    let mut depositor = dataembassy_testkit::fabricated::Depositor::connect(bench.minio.root(), BUCKET)
        .await
        .unwrap();
    let (mut body, segments) = bench
        .ledger
        .objects(&mut depositor, &Shape::default())
        .await
        .unwrap();
    body.totals.sealed_bytes += 1;
    bench
        .ledger
        .commit(&mut depositor, (body, segments))
        .await
        .unwrap();
    drop(depositor);
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::ManifestInvalid).await;
    assert!(
        message.contains("copy 2") && message.contains("3 segments of 6000 bytes, the entry 3 of 6001"),
        "{message}"
    );
}

#[tokio::test]
async fn objects_without_a_lock_are_told() {
    let mut bench = CustodianBench::start_with(BucketKind::Lockable).await;
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::LockMissing).await;
    assert!(
        message.contains("copy 1") && message.contains("COMPLIANCE is needed"),
        "{message}"
    );
    let report = custodian
        .until("the bucket", |report| report.store.reason == Reason::NoObjectLock)
        .await;
    assert_eq!(report.store.state, CheckState::False);
}

/// A store that locks nothing by itself and prolongs no lock for the custodian, and the one copy that it holds.
async fn unlocked() -> (CustodianBench, MadeCopy) {
    let mut bench = CustodianBench::start_with(BucketKind::Lockable).await;
    let prolongs = |method: &Method, target: &str| method == Method::PUT && target.contains("retention");
    bench
        .proxy
        .inject(usize::MAX, Fault::Answer(StatusCode::FORBIDDEN), prolongs);
    let copy = bench.copies(1, &Shape::default()).await.remove(0);
    (bench, copy)
}

/// One of a copy's segments, which its tests are about: key and version.
fn second_segment(bench: &CustodianBench, copy: &MadeCopy) -> (String, String) {
    let segment = &copy.segments[1];
    let key = bench
        .ledger
        .object(copy.body.copy_id, CopyObject::Segment(segment.number));
    (key.to_string(), segment.version.to_string())
}

/// Locks every other object of the copy, for as long as it must be.
async fn lock_the_others(bench: &CustodianBench, copy: &MadeCopy, mode: &str) {
    let (segment, _) = second_segment(bench, copy);
    for version in bench.folder(copy.body.copy_id).await {
        if version.key != segment {
            let lock = Some((mode, in_hours(24)));
            bench.set_lock(&version.key, &version.id, lock).await;
        }
    }
}

fn in_hours(hours: i64) -> Timestamp {
    Timestamp::now()
        .checked_add(SignedDuration::from_hours(hours))
        .unwrap()
}

#[tokio::test]
async fn reading_back_finds_the_one_object_without_a_lock() {
    let (bench, copy) = unlocked().await;
    lock_the_others(&bench, &copy, "COMPLIANCE").await;
    // Whoever only asks about an object learns nothing, as a sample does: its lock is seen where it is read, or nowhere.
    let is_asking = |method: &Method, target: &str| method == Method::HEAD && target.contains("/copies/");
    bench
        .proxy
        .inject(usize::MAX, Fault::Answer(StatusCode::NOT_FOUND), is_asking);
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::LockMissing).await;
    for part in [
        "registry population, copy 1: object 00000002: it has no lock",
        "COMPLIANCE is needed",
        "Lost: nothing",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let report = custodian.registry().await.unwrap();
    assert_eq!(alarm(&report, Reason::LockTooShort), None);
    bench.proxy.heal();
    let (segment, version) = second_segment(&bench, &copy);
    let lock = Some(("COMPLIANCE", in_hours(24)));
    bench.set_lock(&segment, &version, lock).await;
    custodian.until_healed(Reason::LockMissing).await;
}

#[tokio::test]
async fn one_object_whose_lock_ends_too_soon_is_told_and_why_it_is_not_prolonged() {
    let (bench, copy) = unlocked().await;
    lock_the_others(&bench, &copy, "COMPLIANCE").await;
    let (segment, version) = second_segment(&bench, &copy);
    let lock = Some(("COMPLIANCE", in_hours(1)));
    bench.set_lock(&segment, &version, lock).await;
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::LockTooShort).await;
    for part in [
        "registry population, copy 1: object 00000002: its lock ends ",
        "6 hours of it must always be left",
        "Lost: nothing",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let message = custodian.until_alarm(Reason::RetentionBlocked).await;
    for part in [
        "copy 1 is kept, and locks of its objects, such as 00000002, cannot be prolonged",
        "the store denied PutObjectRetention",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let report = custodian.registry().await.unwrap();
    assert!(alarm(&report, Reason::LockTooShort).is_some(), "{report:#?}");
    assert_eq!(alarm(&report, Reason::LockMissing), None);
}

#[tokio::test]
async fn a_sample_finds_the_lock_that_went_after_everything_was_read_back() {
    let (mut bench, copy) = unlocked().await;
    bench.timing.push(("--sample-every", "1s"));
    bench.config.immutability.mode = LockMode::Governance;
    bench.write_config();
    lock_the_others(&bench, &copy, "GOVERNANCE").await;
    let (segment, version) = second_segment(&bench, &copy);
    let lock = Some(("GOVERNANCE", in_hours(24)));
    bench.set_lock(&segment, &version, lock).await;
    let custodian = bench.custodian();
    let is_read = |report: &RegistryReport| report.verification.verified == 1;
    let report = custodian
        .until_registry("all of it to be read back", is_read)
        .await;
    assert_eq!(alarm(&report, Reason::LockMissing), None);
    let read = report.verification.bytes_read;
    bench.set_lock(&segment, &version, None).await;
    let message = custodian.until_alarm(Reason::LockMissing).await;
    for part in [
        "copy 1: object 00000002: it has no lock",
        "GOVERNANCE or COMPLIANCE is needed",
    ] {
        assert!(message.contains(part), "{message}");
    }
    // Nothing was read for that: all is proven for days.
    let report = custodian.registry().await.unwrap();
    assert_eq!(report.verification.bytes_read, read);
    bench.set_lock(&segment, &version, lock).await;
    custodian.until_healed(Reason::LockMissing).await;
}

#[tokio::test]
async fn a_full_quota_and_a_copy_that_is_too_old_are_told_and_heal() {
    let mut bench = CustodianBench::start().await;
    let old = Shape {
        age: std::time::Duration::from_hours(3),
        ..Shape::default()
    };
    bench.copies(1, &old).await;
    bench.config.registries[0].quota_bytes = Some(1_000);
    bench.write_config();
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::RpoMissed).await;
    assert!(message.contains("taken 180 minutes ago"), "{message}");
    custodian.until_alarm(Reason::QuotaExceeded).await;
    bench.config.registries[0].quota_bytes = Some(1_000_000);
    bench.write_config();
    bench.copies(1, &Shape::default()).await;
    let healed = |report: &RegistryReport| {
        alarm(report, Reason::RpoMissed).is_none() && alarm(report, Reason::QuotaExceeded).is_none()
    };
    custodian.until_registry("both to heal", healed).await;
}

#[tokio::test]
async fn room_that_will_not_be_enough_is_told_with_the_day() {
    let mut bench = CustodianBench::start().await;
    bench.config.capacity_bytes = Some(60_000);
    bench.write_config();
    bench.copies(4, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = custodian
        .until("the forecast", |report| {
            report.space.sufficient.state == CheckState::False
        })
        .await;
    assert_eq!(report.space.sufficient.reason, Reason::SpaceShort);
    assert!(report.space.full_at.is_some() && report.space.used_bytes > 24_000);
    let message = report.space.sufficient.message;
    for part in [
        "of 60000 bytes are used",
        "schedule, lock and retention together need",
    ] {
        assert!(message.contains(part), "{message}");
    }
    bench.config.capacity_bytes = None;
    bench.write_config();
    let unknown = |report: &dataembassy_contract::custodian::CustodianReport| {
        report.space.sufficient.reason == Reason::CapacityUnknown
    };
    custodian.until("nothing to be said", unknown).await;
}

#[tokio::test]
async fn a_manifest_with_sparse_numbers_is_read_as_often_as_any_other() {
    let mut bench = CustodianBench::start().await;
    let sparse = Shape {
        segments: 40,
        stride: 2_400_000,
        phantom: true,
        ..Shape::default()
    };
    bench.copies(1, &sparse).await;
    let custodian = bench.custodian();
    let all = "40 objects of it are not in the store";
    let is_told = |report: &RegistryReport| report.alarms.iter().any(|alarm| alarm.message.contains(all));
    custodian
        .until_registry("all of them to be missed", is_told)
        .await;
    // Counted again and again, with the same sum: it is examined once and compared once, and perhaps read back in between.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = bench.proxy.seen();
    let read = seen
        .iter()
        .filter(|seen| seen.method == Method::GET && seen.target.contains("/manifest-"));
    let read = read.count();
    assert!((2..=3).contains(&read), "{read}");
}

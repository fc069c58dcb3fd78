//! The custody chain itself: what is removed from its end, who squats in it, and what it says of copies that have expired.

use std::path::PathBuf;
use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::RegistryReport;
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::entry::{
    CustodyBody, Entry, EntryRef, ExpiredCopy, ExpiryBody, Header, SignedObject, VoidBody,
};
use dataembassy_ledger::value::Timestamp;
use dataembassy_ledger::{CopyId, ObjectKey, Sequence, SigningKey, Term};
use dataembassy_testkit::fabricated::{Depositor, Shape};
use dataembassy_testkit::minio::BUCKET;

use crate::bench::REGISTRY;
use crate::bench::custodian::{Custodian, CustodianBench, alarm, custodian_key, on_disk};
use crate::bench::custody::of_a_newer_version;

fn sequence(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

fn custody_key(number: u64) -> ObjectKey {
    ObjectKey::Custody {
        registry: REGISTRY.parse().unwrap(),
        sequence: sequence(number),
    }
}

fn folder_of(bench: &CustodianBench, number: u64) -> PathBuf {
    on_disk(&bench.minio, &custody_key(number).to_string())
}

/// The number of the last custody entry; 0 while there is none.
fn last(report: &RegistryReport) -> u64 {
    report.custody_head.as_ref().map_or(0, |head| head.sequence)
}

/// Waits until everything that there is was read back and told, and nothing more is to be written.
async fn settled(custodian: &Custodian, copies: u32) -> RegistryReport {
    custodian
        .until_registry("a proof of everything", |report| {
            let is_read = report.verification.copies == copies && report.verification.verified == copies;
            is_read && last(report) > 0 && report.alarms.is_empty() && report.used_bytes > 0
        })
        .await
}

async fn entries(bench: &CustodianBench) -> usize {
    let prefix = format!("registries/{REGISTRY}/custody/");
    bench.minio.keys(BUCKET, &prefix).await.unwrap().len()
}

/// The custody entry after the head that a report names.
fn next_entry(
    bench: &CustodianBench,
    report: &RegistryReport,
    signer: &SigningKey,
    body: CustodyBody,
) -> (ObjectKey, SignedObject) {
    let head = report.custody_head.as_ref().unwrap();
    let entry = Entry {
        header: Header {
            store_id: bench.origin.store_id,
            registry: REGISTRY.parse().unwrap(),
            sequence: sequence(head.sequence + 1),
            prev: head.digest.parse().unwrap(),
            term: Term::FIRST,
            at: Timestamp::from_jiff(jiff::Timestamp::now()).unwrap(),
        },
        body,
    };
    (entry.object_key(), entry.sign(signer).unwrap())
}

#[tokio::test]
async fn an_end_that_is_removed_while_the_custodian_runs_is_a_roll_back_and_nothing_is_written_behind_it() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = settled(&custodian, 1).await;
    let head = report.custody_head.clone().unwrap();
    let aside = bench.folder.path().join("aside");
    std::fs::rename(folder_of(&bench, head.sequence), &aside).unwrap();
    let left = entries(&bench).await;
    // A copy that a proof would tell of.
    bench.copies(1, &Shape::default()).await;
    let message = custodian.until_alarm(Reason::RolledBack).await;
    for part in [
        "registry population: in the custody chain, ",
        &head.digest,
        "Lost: what the custodian has signed later",
        "Stands: the ledger up to entry ",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let report = custodian
        .until_registry("the second copy to be read", |report| {
            report.verification.verified == 2 && report.ledger.state == CheckState::False
        })
        .await;
    let alarmed = alarm(&report, Reason::RolledBack);
    assert_eq!(
        Some(report.ledger.message),
        alarmed,
        "the check says what the alarm says"
    );
    assert_eq!(
        entries(&bench).await,
        left,
        "something was written behind the hole"
    );
    std::fs::rename(&aside, folder_of(&bench, head.sequence)).unwrap();
    custodian.until_healed(Reason::RolledBack).await;
    custodian
        .until_registry("the next proof", |report| last(report) > head.sequence)
        .await;
    assert_eq!(bench.view().await.intact().unwrap().sequence.get(), 2);
}

#[tokio::test]
async fn an_end_that_was_removed_meanwhile_is_told_by_the_floor_and_not_written_anew() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let first = last(&settled(&custodian, 1).await);
    bench.copies(1, &Shape::default()).await;
    let report = custodian
        .until_registry("a second proof", |report| {
            report.verification.verified == 2 && last(report) > first
        })
        .await;
    let head = report.custody_head.clone().unwrap();
    bench.remember(&report);
    custodian.kill();
    std::fs::remove_dir_all(folder_of(&bench, head.sequence)).unwrap();
    let left = entries(&bench).await;
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::RolledBack).await;
    assert!(
        message.contains(&head.digest) && message.contains("custody"),
        "{message}"
    );
    bench.copies(1, &Shape::default()).await;
    custodian
        .until_registry("the third copy to be read", |report| {
            report.verification.verified == 3
        })
        .await;
    assert_eq!(entries(&bench).await, left, "the lost entry's place was taken");
    let report = custodian.registry().await.unwrap();
    assert_eq!(
        (report.ledger.state, report.ledger.reason),
        (CheckState::False, Reason::RolledBack)
    );
}

#[tokio::test]
async fn a_custody_entry_of_a_stranger_is_told_with_its_key_and_the_chain_goes_on() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = settled(&custodian, 1).await;
    let stranger = SigningKey::from_seed(&[4; 32]);
    let body = CustodyBody::Void(VoidBody {
        copies: vec![CopyId::from_bytes([7; 16])],
        order: None,
    });
    let (key, object) = next_entry(&bench, &report, &stranger, body);
    bench.depositor().await.put(&key, &object.bytes).await.unwrap();
    let message = custodian.until_alarm(Reason::ForeignSignature).await;
    for part in [
        "registry population: in the custody chain, ",
        &key.to_string(),
        &stranger.public_key().to_string(),
        "has no authority there",
    ] {
        assert!(message.contains(part), "{message}");
    }
    for count in 2..=3 {
        bench.copies(1, &Shape::default()).await;
        let goes_on = last(&report) + count - 1;
        custodian
            .until_registry("the next proof", |report| {
                last(report) >= goes_on && u64::from(report.verification.verified) == count
            })
            .await;
    }
    // Beside what the stranger put there, and over nothing.
    let versions = bench.minio.keys(BUCKET, &key.to_string()).await.unwrap();
    assert_eq!(versions.len(), 2);
    custodian.until_alarm(Reason::SecondVersion).await;
}

#[tokio::test]
async fn beside_what_a_newer_custodian_has_written_an_older_one_writes_nothing() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = settled(&custodian, 1).await;
    let body = CustodyBody::Void(VoidBody {
        copies: vec![CopyId::from_bytes([7; 16])],
        order: None,
    });
    let (key, object) = next_entry(&bench, &report, &custodian_key(), body);
    let newer = of_a_newer_version(&object, &custodian_key());
    bench.depositor().await.put(&key, &newer.bytes).await.unwrap();
    let message = custodian.until_alarm(Reason::LedgerUnreadable).await;
    for part in [
        &key.to_string(),
        "\"truce\"",
        "a newer version may have written it",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let left = entries(&bench).await;
    bench.copies(1, &Shape::default()).await;
    custodian
        .until_registry("the second copy to be read", |report| {
            report.verification.verified == 2
        })
        .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(entries(&bench).await, left, "a proof went beside it");
}

#[tokio::test]
async fn folders_of_expired_copies_are_known_for_what_they_are_after_a_restart() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    bench.config.sweep_after = "1s".parse().unwrap();
    bench.write_config();
    let made = bench.copies(4, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = settled(&custodian, 4).await;
    bench.remember(&report);
    custodian.kill();
    // Two copies expire, and a run is given up: its folder is nobody's.
    let expired = made[..2].iter().map(|copy| ExpiredCopy {
        sequence: copy.reference.sequence,
        copy_id: copy.body.copy_id,
    });
    let body = CustodyBody::Expiry(ExpiryBody {
        copies: expired.collect(),
    });
    let (key, object) = next_entry(&bench, &report, &custodian_key(), body);
    let mut depositor = Depositor::connect(bench.minio.root(), BUCKET).await.unwrap();
    depositor.put(&key, &object.bytes).await.unwrap();
    bench
        .ledger
        .objects(&mut depositor, &Shape::default())
        .await
        .unwrap();
    drop(depositor);
    let waits =
        |report: &RegistryReport| report.retention.waiting == 2 && report.retention.waiting_bytes > 2 * 6_000;
    // One that reads the expiry, and then one that knows of it by the standing of a later proof alone.
    let before = last(&report) + 1;
    let custodian = bench.custodian();
    let report = custodian.until_registry("what expired", waits).await;
    assert_eq!((report.copies.len(), report.alarms.len()), (2, 0), "{report:#?}");
    bench.copies(1, &Shape::default()).await;
    let proven = custodian
        .until_registry("a proof behind it", |report| {
            last(report) > before && report.verification.verified == 3
        })
        .await;
    let view = bench
        .until_view("a standing that tells of it", |view| {
            let standing = view.latest_proof().and_then(|proof| proof.standing.clone());
            standing.is_some_and(|standing| !standing.expired.is_empty())
        })
        .await;
    assert!(view.is_expired(sequence(2)) && !view.is_expired(sequence(3)));
    bench.remember(&proven);
    custodian.kill();
    let custodian = bench.custodian();
    let report = custodian.until_registry("what expired, again", waits).await;
    assert_eq!((report.copies.len(), report.alarms.len()), (3, 0), "{report:#?}");
    let known: EntryRef = made[2].reference;
    assert_eq!(report.copies[2].digest, known.digest.to_string());
}

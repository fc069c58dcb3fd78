//! An empty embassy: a custodian that remembers nothing, before a store that is full. With a trust sheet it knows everything again within a
//! minute; without one it says that it cannot know; and with one it is not deceived by an older state of the store.

use std::time::{Duration, Instant};

use crate::bench::REGISTRY;
use crate::bench::custodian::{CustodianBench, DEADLINE, on_disk};
use crate::bench::trust_sheet::print;
use dataembassy_contract::Reason;
use dataembassy_contract::config::Floor;
use dataembassy_contract::custodian::RegistryReport;
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::Sequence;
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::trust_sheet::SourceHead;
use dataembassy_testkit::fabricated::Shape;

/// An old store, and the head of the sheet that was printed while there was an embassy.
struct Old {
    bench: CustodianBench,
    report: RegistryReport,
    head: SourceHead,
}

impl Old {
    async fn new() -> Self {
        let mut bench = CustodianBench::start().await;
        bench.copies(3, &Shape::default()).await;
        let custodian = bench.custodian();
        let report = custodian
            .until_registry("a proof", |report| {
                report.custody_head.is_some() && is_whole(report)
            })
            .await;
        bench.remember(&report);
        custodian.kill();
        let sheet = print(bench.folder.path()).await.sheet().sheet;
        let head = sheet.registries[0].source_head.unwrap();
        let mut old = Self { bench, report, head };
        old.forget();
        old
    }

    /// The cluster is gone, and with it what its resources remembered.
    fn forget(&mut self) {
        let registry = &mut self.bench.config.registries[0];
        (registry.source_floor, registry.custody_floor) = (None, None);
        registry.confirmed_head = None;
        self.bench.write_config();
    }

    /// A person applies what the sheet says.
    fn confirm(&mut self) {
        self.bench.config.registries[0].confirmed_head = Some(Floor {
            sequence: self.head.entry.sequence.get(),
            digest: self.head.entry.digest.to_string(),
        });
        self.bench.write_config();
    }

    async fn custody_entries(&self) -> usize {
        let prefix = format!("registries/{REGISTRY}/custody/");
        self.bench.minio.keys("registries", &prefix).await.unwrap().len()
    }

    /// Everything that was known is known again, and nothing is wrong.
    fn knows_all(&self, report: &RegistryReport) -> bool {
        is_whole(report)
            && !report.unwitnessed
            && report.alarms.is_empty()
            && report.ledger.state == CheckState::True
            && report.intact.state == CheckState::True
            && report.source_head == self.report.source_head
    }
}

/// All three copies are there and were read back.
fn is_whole(report: &RegistryReport) -> bool {
    report.copies.len() == 3 && report.copies.iter().all(|copy| copy.intact == CheckState::True)
}

#[tokio::test]
async fn an_empty_embassy_does_not_know_where_the_ledger_stood_until_a_person_confirms_a_sheets_head() {
    let mut old = Old::new().await;
    let entries = old.custody_entries().await;
    let custodian = old.bench.custodian();
    let message = custodian.until_alarm(Reason::Unwitnessed).await;
    for part in [
        "source entry 3",
        &old.head.entry.digest.to_string(),
        "confirmedHead",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let report = custodian.registry().await.unwrap();
    assert!(report.unwitnessed);
    assert_eq!(old.custody_entries().await, entries);

    let begun = Instant::now();
    old.confirm();
    custodian
        .until_registry("everything", |report| old.knows_all(report))
        .await;
    old.bench
        .until_view("the confirmation", CustodyView::is_confirmed)
        .await;
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_empty_embassy_with_a_trust_sheet_knows_everything_again_within_a_minute() {
    let mut old = Old::new().await;
    old.confirm();
    let begun = Instant::now();
    let custodian = old.bench.custodian();
    custodian
        .until_registry("everything", |report| old.knows_all(report))
        .await;
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_store_set_back_behind_the_sheet_is_a_roll_back_to_an_empty_embassy_and_nothing_is_written() {
    let mut old = Old::new().await;
    let last = old.bench.ledger.entry_key(old.head.entry.sequence).to_string();
    std::fs::remove_dir_all(on_disk(&old.bench.minio, &last)).unwrap();
    // The proof that tells of the third copy goes with it, as in an older state of the disk.
    let custody = format!("registries/{REGISTRY}/custody");
    let custody = on_disk(&old.bench.minio, &custody);
    std::fs::rename(&custody, old.bench.folder.path().join("aside")).unwrap();
    old.confirm();
    let custodian = old.bench.custodian();
    let message = custodian.until_alarm(Reason::RolledBack).await;
    for part in [
        "source entry 3",
        &old.head.entry.digest.to_string(),
        "confirmedHead",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let report = custodian
        .until_registry("the condition", |report| report.ledger.state == CheckState::False)
        .await;
    assert_eq!(report.ledger.reason, Reason::RolledBack);
    // What stands is followed and read back nevertheless, and nothing is said in the ledger.
    custodian
        .until_registry("what stands", |report| report.verification.verified == 2)
        .await;
    assert_eq!(old.custody_entries().await, 0);
}

#[tokio::test]
async fn a_custody_chain_that_home_had_read_is_missed_by_a_custodian_that_remembers_nothing() {
    let mut old = Old::new().await;
    let head = old.report.custody_head.clone().unwrap();
    let mut ledger = old.bench.ledger.clone();
    let mut depositor = old.bench.depositor().await;
    let (mut body, segments) = ledger.objects(&mut depositor, &Shape::default()).await.unwrap();
    body.custody_head = Some(EntryRef {
        sequence: Sequence::new(head.sequence).unwrap(),
        digest: head.digest.parse().unwrap(),
    });
    ledger.commit(&mut depositor, (body, segments)).await.unwrap();
    drop(depositor);
    let custody = format!("registries/{REGISTRY}/custody");
    let custody = on_disk(&old.bench.minio, &custody);
    std::fs::rename(&custody, old.bench.folder.path().join("aside")).unwrap();
    old.forget();
    let custodian = old.bench.custodian();
    let message = custodian.until_alarm(Reason::Unwitnessed).await;
    let missed = format!("custody entry {} with SHA-256 {}", head.sequence, head.digest);
    assert!(message.contains(&missed), "{message}");
    custodian
        .until_registry("what stands", |report| report.verification.verified == 4)
        .await;
    assert_eq!(old.custody_entries().await, 0);
}

#[tokio::test]
async fn an_end_that_only_the_custody_chain_remembers_is_missed_for_as_long_as_it_is_gone() {
    let mut old = Old::new().await;
    let last = old.bench.ledger.entry_key(old.head.entry.sequence).to_string();
    let (place, aside) = (
        on_disk(&old.bench.minio, &last),
        old.bench.folder.path().join("aside"),
    );
    std::fs::rename(&place, &aside).unwrap();
    // The cluster was brought back from an older state of its own, which knows of the copy before.
    let before = old.report.copies.iter().find(|copy| copy.sequence == 2).unwrap();
    old.bench.config.registries[0].source_floor = Some(Floor {
        sequence: 2,
        digest: before.digest.clone(),
    });
    old.bench.write_config();
    old.bench.timing.push(("--prove-every", "1s"));
    let entries = old.custody_entries().await;
    let custodian = old.bench.custodian();
    let missed = old.head.entry.digest.to_string();
    custodian
        .until_registry("the end to be missed", |report| {
            report.alarms.iter().any(|alarm| alarm.message.contains(&missed))
        })
        .await;
    // Longer than it takes to read what stands from the beginning, and to prove it.
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        let report = custodian.registry().await.unwrap();
        assert_eq!(
            (report.ledger.state, report.ledger.reason),
            (CheckState::False, Reason::RolledBack)
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(
        old.custody_entries().await,
        entries,
        "{:#?}",
        old.bench.custody_entries().await
    );
    std::fs::rename(&aside, &place).unwrap();
    custodian.until_healed(Reason::RolledBack).await;
}

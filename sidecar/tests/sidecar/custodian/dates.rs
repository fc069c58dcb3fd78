//! What home's own key has signed with a date that cannot be: the store's clock says when an entry came, and nothing is judged by more than that.

use std::time::Duration;

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::RegistryReport;
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::entry::CustodyBody;
use dataembassy_testkit::fabricated::{MadeCopy, Shape};
use dataembassy_testkit::minio::BucketKind;
use jiff::{SignedDuration, Timestamp};

use crate::bench::custodian::{CustodianBench, alarm, newest_only};

const TEN_YEARS: SignedDuration = SignedDuration::from_hours(87_672);
/// Segments, inventory and manifest.
const WHOLE: usize = 5;

/// Makes a copy up whose entry and body carry a date that is off by so much.
async fn dated(bench: &mut CustodianBench, off: SignedDuration) -> MadeCopy {
    bench.ledger.set_clock(off);
    let made = bench.copies(1, &Shape::default()).await.remove(0);
    bench.ledger.set_clock(SignedDuration::ZERO);
    let is_off_by = made.body.taken_at.as_jiff().duration_since(Timestamp::now());
    assert!(
        (is_off_by - off).abs() < SignedDuration::from_mins(2),
        "{is_off_by:#}"
    );
    made
}

#[tokio::test]
async fn a_copy_that_is_dated_years_ahead_is_told_and_hides_for_nobody_that_none_comes() {
    let mut bench = CustodianBench::start().await;
    bench.config.registries[0].rpo = "2s".parse().unwrap();
    bench.write_config();
    bench.copies(1, &Shape::default()).await;
    dated(&mut bench, TEN_YEARS).await;
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::DatedAhead).await;
    for part in [
        "registry population, copy 2: it is the latest copy",
        "counts as no younger than that",
        "Lost: nothing. Stands: the ledger up to entry 2, 2 copies",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let message = custodian.until_alarm(Reason::RpoMissed).await;
    assert!(message.contains("copy 2"), "{message}");
    // It is a copy like any other, and with the next one its date matters to nobody.
    bench.config.registries[0].rpo = "1h".parse().unwrap();
    bench.write_config();
    bench.copies(1, &Shape::default()).await;
    let is_well = |report: &RegistryReport| {
        report.alarms.is_empty()
            && report.verification.verified == 3
            && report.intact.state == CheckState::True
    };
    custodian.until_registry("all three to be well", is_well).await;
}

#[tokio::test]
async fn copies_that_are_dated_years_back_and_years_ahead_let_no_other_go() {
    let mut bench = CustodianBench::start_with(BucketKind::Lockable).await;
    // The locks end at once, so that it is the plan alone that keeps what is young.
    bench.lock = Some(Duration::from_secs(1));
    bench
        .timing
        .extend([("--prove-every", "1s"), ("--expire-every", "1s")]);
    bench.config.immutability.lock_on_arrival = "1s".parse().unwrap();
    let retention = &mut bench.config.registries[0].retention;
    *retention = newest_only();
    retention.keep_within = "30d".parse().unwrap();
    bench.write_config();
    let mut made = bench.copies(2, &Shape::default()).await;
    made.push(dated(&mut bench, -TEN_YEARS).await);
    let custodian = bench.custodian();
    // What home says of a copy's age is believed where it makes it older.
    let message = custodian.until_alarm(Reason::RpoMissed).await;
    assert!(message.contains("copy 3"), "{message}");
    made.push(dated(&mut bench, TEN_YEARS).await);
    custodian.until_alarm(Reason::DatedAhead).await;
    let is_planned = |report: &RegistryReport| {
        report.verification.verified == 4
            && report.retention.kept == 4
            && alarm(report, Reason::RpoMissed).is_none()
    };
    let report = custodian
        .until_registry("all four to be read back and kept", is_planned)
        .await;
    assert_eq!(report.retention.expiring_copies, 0, "{report:#?}");
    // Time enough for whatever is done once a second.
    bench.until_looks(&custodian, 4).await;
    for copy in &made {
        assert_eq!(bench.folder(copy.body.copy_id).await.len(), WHOLE);
    }
    let entries = bench.custody_entries().await;
    let lets_go = |body: &CustodyBody| matches!(body, CustodyBody::Expiry(_) | CustodyBody::Void(_));
    assert!(!entries.iter().any(lets_go), "{entries:#?}");
}

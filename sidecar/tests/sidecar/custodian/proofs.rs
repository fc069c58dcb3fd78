//! Level 2: bytes are read back, what was flipped on a disk is found, proofs say so, and a reading that was cut off goes on.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::bench::custodian::{CustodianBench, DEADLINE, alarm, on_disk};
use dataembassy_contract::Reason;
use dataembassy_contract::config::Floor;
use dataembassy_contract::custodian::RegistryReport;
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::entry::{CopyFault, CustodyBody};
use dataembassy_ledger::key::CopyObject;
use dataembassy_testkit::fabricated::Shape;
use dataembassy_testkit::fault_proxy::Fault;
use hyper::{Method, StatusCode};

/// How long a store is away that is soon back.
const AWAY: Duration = Duration::from_secs(5);

/// Objects that a store keeps in files of their own, and not beside their names.
fn large() -> Shape {
    Shape {
        segments: 3,
        segment_bytes: 400_000,
        ..Shape::default()
    }
}

fn proven(report: &RegistryReport) -> bool {
    report.intact.state == CheckState::True
}

fn is_custody_put(method: &Method, target: &str) -> bool {
    method == Method::PUT && target.contains("/custody/")
}

#[tokio::test]
async fn the_first_copy_is_read_back_and_home_sees_the_proof() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(2, &large()).await;
    let custodian = bench.custodian();
    let report = custodian.until_registry("the proof of both", |report| {
        proven(report) && report.verification.verified == 2
    });
    let report = report.await;
    assert_eq!(report.intact.reason, Reason::Proven);
    assert!(
        report
            .copies
            .iter()
            .all(|copy| copy.intact == CheckState::True && copy.verified_at.is_some())
    );
    assert!(report.copies.iter().all(|copy| copy.locked_until.is_some()));
    assert!(report.verification.bytes_read >= 2 * 1_200_000);
    let view = bench.until_view("a proof", |view| view.intact().is_some()).await;
    let intact = view.intact().unwrap();
    assert!(made.iter().any(|copy| copy.reference.digest == intact.digest));
    let proof = view.latest_proof().unwrap();
    assert!(proof.standing.is_some() && proof.broken.is_empty());
    // The next one is an hour away, whatever else is read.
    bench.copies(1, &large()).await;
    custodian
        .until_registry("the third", |report| report.verification.verified == 3)
        .await;
    assert_eq!(bench.view().await.head(), view.head());
}

#[tokio::test]
async fn a_byte_flipped_on_the_disk_is_named_proven_broken_and_healed() {
    let mut bench = CustodianBench::start().await;
    bench.config.verification.period = "10s".parse().unwrap();
    bench.write_config();
    let made = bench.copies(2, &large()).await;
    let custodian = bench.custodian();
    custodian
        .until_registry("both proven", |report| {
            proven(report) && report.verification.verified == 2
        })
        .await;
    let object = CopyObject::Segment(made[0].segments[1].number);
    let folder = on_disk(
        &bench.minio,
        &bench.ledger.object(made[0].body.copy_id, object).to_string(),
    );
    let part = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("part.1"))
        .find(|path| path.exists())
        .unwrap();
    let whole = std::fs::read(&part).unwrap();
    let mut flipped = whole.clone();
    flipped[200_000] ^= 1;
    std::fs::write(&part, &flipped).unwrap();
    let message = custodian.until_alarm(Reason::ObjectUnreadable).await;
    for part in [
        "registry population, copy 1",
        "such as 00000002",
        "Lost: this copy cannot be restored whole",
        "Stands: the ledger up to entry 2, 1 copy; the newest that was read back is copy 2",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let broken = |view: &CustodyView| {
        let proof = view.latest_proof();
        proof.is_some_and(|proof| {
            proof
                .broken
                .iter()
                .any(|copy| copy.fault == CopyFault::Unreadable)
        })
    };
    let view = bench.until_view("a proof of it", broken).await;
    let proof = view.latest_proof().unwrap();
    assert_eq!(proof.broken[0].sequence.get(), 1);
    assert_eq!(view.intact().unwrap().sequence.get(), 2);
    std::fs::write(&part, &whole).unwrap();
    custodian.until_healed(Reason::ObjectUnreadable).await;
    let healed = |view: &CustodyView| view.latest_proof().is_some_and(|proof| proof.broken.is_empty());
    bench.until_view("a proof that it is whole again", healed).await;
}

#[tokio::test]
async fn a_reading_goes_on_where_a_killed_custodian_stopped() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    // Twelve seconds for the whole of it.
    bench.config.verification.bytes_per_second = 1_000_000;
    bench.write_config();
    let shape = Shape {
        segments: 60,
        segment_bytes: 200_000,
        ..Shape::default()
    };
    bench.copies(1, &shape).await;
    let custodian = bench.custodian();
    let far = |view: &CustodyView| {
        let progress = view.latest_proof().and_then(|proof| proof.progress);
        progress.is_some_and(|progress| progress.sequence.get() == 1 && progress.segments >= 20)
    };
    let view = bench.until_view("a good way", far).await;
    let done = view.latest_proof().unwrap().progress.unwrap().segments;
    let report = custodian.registry().await.unwrap();
    bench.remember(&report);
    custodian.kill();
    bench.config.verification.bytes_per_second = 100_000_000;
    bench.write_config();
    let before = bench.proxy.asked();
    let custodian = bench.custodian();
    custodian
        .until_registry("the rest", |report| report.verification.verified == 1)
        .await;
    let segments: Vec<String> = bench.proxy.seen()[before..]
        .iter()
        .filter(|one| one.method == Method::GET)
        .map(|one| one.target.clone())
        .filter(|target| target.contains("/copies/") && target.contains("/000000"))
        .collect();
    let most = 60 - usize::try_from(done).unwrap() + 3;
    assert!(
        segments.len() <= most,
        "{} segments were read, {most} were left",
        segments.len()
    );
}

#[tokio::test]
async fn what_takes_longer_than_the_period_at_the_rate_that_is_allowed_is_told_until_more_is_allowed() {
    const RATE: u64 = 120_000;
    let mut bench = CustodianBench::start().await;
    bench.config.verification.period = "6s".parse().unwrap();
    bench.config.verification.bytes_per_second = RATE;
    bench.write_config();
    // Ten seconds for the whole of it.
    let shape = Shape {
        segments: 24,
        segment_bytes: 50_000,
        ..Shape::default()
    };
    bench.copies(1, &shape).await;
    let begun = Instant::now();
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::VerificationOverdue).await;
    for part in [
        "registry population, copy 1: ",
        "it was not read back within the last 6s",
        "Lost: nothing. Stands: the ledger up to entry 1, 1 copy",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let report = custodian.registry().await.unwrap();
    assert_eq!(
        (report.intact.state, report.intact.reason),
        (CheckState::Unknown, Reason::VerificationOverdue)
    );
    let is_read = |report: &RegistryReport| report.copies.iter().any(|copy| copy.verified_at.is_some());
    let report = custodian.until_registry("all of it to be read", is_read).await;
    let (took, bytes) = (begun.elapsed(), report.verification.bytes_read);
    assert!(bytes >= 1_200_000, "{bytes}");
    // After a rest a quarter of a second is made up for.
    let least = Duration::from_millis(bytes * 1_000 / RATE - 300);
    assert!(took >= least, "{bytes} bytes took {took:?}");
    // It counts from when the reading began.
    assert!(
        alarm(&report, Reason::VerificationOverdue).is_some(),
        "{report:#?}"
    );
    bench.config.verification.bytes_per_second = 1 << 30;
    bench.write_config();
    custodian.until_healed(Reason::VerificationOverdue).await;
    custodian
        .until_registry("the proof", |report| {
            proven(report) && report.verification.verified == 1
        })
        .await;
}

#[tokio::test]
async fn two_custodians_at_once_do_no_harm() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    bench.config.verification.period = "4s".parse().unwrap();
    bench.write_config();
    bench.copies(2, &Shape::default()).await;
    let (one, other) = (bench.custodian(), bench.custodian());
    for round in 3..=6 {
        bench.copies(1, &Shape::default()).await;
        for custodian in [&one, &other] {
            custodian
                .until_registry("the next copy", |report| {
                    report.verification.copies == round && report.verification.verified == round
                })
                .await;
        }
    }
    // Reading it strictly from its first entry finds one chain without a second version or a gap.
    let view = bench
        .until_view("proofs", |view| {
            view.head().is_some_and(|head| head.sequence.get() >= 4)
        })
        .await;
    let keys = bench
        .minio
        .keys("registries", "registries/population/custody/")
        .await
        .unwrap();
    assert!(keys.len() as u64 >= view.head().unwrap().sequence.get());
    let mut distinct = keys.clone();
    distinct.dedup();
    assert_eq!(distinct, keys, "an entry has two versions");
    for custodian in [one, other] {
        let report = custodian.registry().await.unwrap();
        assert!(report.alarms.is_empty(), "{:#?}", report.alarms);
    }
}

#[tokio::test]
async fn a_proof_whose_reply_is_lost_is_recognised_and_not_written_twice() {
    let mut bench = CustodianBench::start().await;
    bench.proxy.inject(1, Fault::LoseReply, is_custody_put);
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("the proof", |report| report.custody_head.is_some())
        .await;
    assert_eq!(report.custody_head.unwrap().sequence, 1);
    assert_eq!(bench.proxy.faults_left(), 0);
    let keys = bench
        .minio
        .keys("registries", "registries/population/custody/")
        .await
        .unwrap();
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn without_a_floor_nothing_is_written_until_a_person_names_a_head() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    bench.copies(3, &Shape::default()).await;
    let custodian = bench.custodian();
    let before = custodian
        .until_registry("a proof", |report| {
            report.custody_head.is_some() && proven(report)
        })
        .await;
    custodian.kill();
    let custody = async || {
        bench
            .minio
            .keys("registries", "registries/population/custody/")
            .await
            .unwrap()
            .len()
    };
    let entries = custody().await;
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::Unwitnessed).await;
    assert!(message.contains("confirmedHead"), "{message}");
    let mut ledger = bench.ledger.clone();
    let mut depositor = bench.depositor().await;
    ledger.copy(&mut depositor, &Shape::default()).await.unwrap();
    drop(depositor);
    // It follows and reads back all the same.
    custodian
        .until_registry("the fourth copy", |report| report.verification.verified == 4)
        .await;
    assert_eq!(custody().await, entries);
    let head = before.source_head.unwrap();
    // A head that is not there would be an older state of the store.
    bench.config.registries[0].confirmed_head = Some(Floor {
        sequence: head.sequence,
        digest: "ab".repeat(32),
    });
    bench.write_config();
    custodian.until_alarm(Reason::RolledBack).await;
    bench.config.registries[0].confirmed_head = Some(Floor {
        sequence: head.sequence,
        digest: head.digest,
    });
    bench.write_config();
    custodian.until_healed(Reason::Unwitnessed).await;
    let view = bench
        .until_view("the confirmation", CustodyView::is_confirmed)
        .await;
    assert!(view.last_named_source().unwrap().sequence.get() >= head.sequence);
}

#[tokio::test]
async fn a_hole_in_the_custody_chain_is_told_and_never_written_over() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    for number in 2..=3 {
        custodian
            .until_registry("a proof", |report| {
                report
                    .custody_head
                    .as_ref()
                    .is_some_and(|head| head.sequence + 1 >= number)
            })
            .await;
        bench.copies(1, &Shape::default()).await;
    }
    let report = custodian
        .until_registry("the third proof", |report| {
            report
                .custody_head
                .as_ref()
                .is_some_and(|head| head.sequence >= 3)
        })
        .await;
    bench.remember(&report);
    custodian.kill();
    let key = ObjectKey::Custody {
        registry: "population".parse().unwrap(),
        sequence: dataembassy_ledger::Sequence::new(2).unwrap(),
    };
    std::fs::remove_dir_all(on_disk(&bench.minio, &key.to_string())).unwrap();
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::LedgerGap).await;
    assert!(message.contains("custody"), "{message}");
    bench.copies(1, &Shape::default()).await;
    custodian
        .until_registry("the next copy", |report| report.verification.verified == 4)
        .await;
    let keys = bench.minio.keys("registries", &key.to_string()).await.unwrap();
    assert!(keys.is_empty(), "the hole was written over");
}

#[tokio::test]
async fn a_custodian_killed_at_any_moment_leaves_a_right_chain_and_goes_on() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    bench.copies(1, &Shape::default()).await;
    let first = bench.custodian();
    let report = first
        .until_registry("a proof", |report| report.custody_head.is_some())
        .await;
    bench.remember(&report);
    first.kill();
    for round in 0..8_u64 {
        bench.copies(1, &Shape::default()).await;
        // Killed at the n-th request after it began, so each round ends it elsewhere.
        let custodian = bench.custodian();
        let before = bench.proxy.asked();
        let begun = Instant::now();
        while bench.proxy.asked() < before + usize::try_from(5 * round + 5).unwrap()
            && begun.elapsed() < DEADLINE
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        custodian.kill();
        bench.view().await;
    }
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("everything proven", |report| report.verification.verified == 9)
        .await;
    assert!(report.alarms.is_empty(), "{:#?}", report.alarms);
    let proven = |view: &CustodyView| view.intact().is_some_and(|copy| copy.sequence.get() == 9);
    bench.until_view("the last copy proven", proven).await;
}

#[tokio::test]
async fn a_proof_says_nothing_of_an_entry_that_was_not_there() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(4, &Shape::default()).await;
    let second = bench.ledger.entry_key(made[1].reference.sequence).to_string();
    let (place, aside) = (on_disk(&bench.minio, &second), bench.folder.path().join("aside"));
    std::fs::rename(&place, &aside).unwrap();
    let last = made[3].reference;
    bench.config.registries[0].source_floor = Some(Floor {
        sequence: last.sequence.get(),
        digest: last.digest.to_string(),
    });
    bench.write_config();
    bench.timing.push(("--prove-every", "1s"));
    let custodian = bench.custodian();
    custodian
        .until_registry("the others to be read", |report| {
            report.verification.verified == 3
        })
        .await;
    // A chain with a gap is read by nobody else, unless a proof lies behind it.
    let others = BTreeSet::from([1, 3, 4]);
    let begun = Instant::now();
    while !told_by_proofs(&bench).await.is_superset(&others) {
        assert!(begun.elapsed() < DEADLINE, "the others were not proven");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A proof tells of what was read since the one before.
    bench.until_looks(&custodian, 5).await;
    assert_eq!(told_by_proofs(&bench).await, others);
}

/// All that proofs tell of.
async fn told_by_proofs(bench: &CustodianBench) -> BTreeSet<u64> {
    let mut proven = BTreeSet::new();
    for entry in bench.custody_entries().await {
        if let CustodyBody::Proof(proof) = entry {
            let ranges = proof.verified.iter();
            proven.extend(ranges.flat_map(|range| range.from.get()..=range.until.get()));
        }
    }
    proven
}

#[tokio::test]
async fn a_copy_whose_entry_the_store_cannot_read_is_told_and_waited_for_by_nobody() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(2, &large()).await;
    // It is read when it comes, and when its manifest is examined; then its place on the disk goes bad.
    let entry = bench.ledger.entry_key(made[1].reference.sequence).to_string();
    let unreadable = Fault::Answer(StatusCode::INTERNAL_SERVER_ERROR);
    bench
        .proxy
        .inject_later(2, usize::MAX, unreadable, move |method, target| {
            method == Method::GET && target.contains(&entry)
        });
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::ObjectUnreadable).await;
    assert!(message.contains("copy 2"), "{message}");
    custodian
        .until_registry("the other copy to be read", |report| {
            report.verification.verified == 1
        })
        .await;
}

#[tokio::test]
async fn a_store_that_answers_nothing_for_seconds_tells_of_no_damage() {
    let mut bench = CustodianBench::start().await;
    // More than are examined in one turn: what is left has its turn at once.
    let made = bench.copies(36, &Shape::default()).await;
    let manifests = made.iter().map(|copy| {
        let part = copy.body.manifest[0].name;
        bench.ledger.object(copy.body.copy_id, part).to_string()
    });
    let manifests: Vec<String> = manifests.collect();
    let began = OnceLock::new();
    let is_away = move |_: &Method, target: &str| {
        if manifests.iter().any(|manifest| target.contains(manifest)) {
            began.get_or_init(Instant::now);
        }
        began.get().is_some_and(|began: &Instant| began.elapsed() < AWAY)
    };
    bench.proxy.inject(
        usize::MAX,
        Fault::Answer(StatusCode::SERVICE_UNAVAILABLE),
        is_away,
    );
    let custodian = bench.custodian();
    custodian
        .until_registry("all copies to be read back", |report| {
            let damage = alarm(report, Reason::ObjectUnreadable);
            assert_eq!(damage, None, "the store was away, and no copy is damaged");
            report.verification.verified == 36
        })
        .await;
    assert!(bench.proxy.faults_met() > 3);
}

#[tokio::test]
async fn one_answer_that_does_not_come_tells_of_no_damage() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(1, &large()).await;
    let entry = bench.ledger.entry_key(made[0].reference.sequence).to_string();
    let busy = Fault::Answer(StatusCode::SERVICE_UNAVAILABLE);
    // The third reading is the one that reads the copy back.
    bench.proxy.inject_later(2, 1, busy, move |method, target| {
        method == Method::GET && target.contains(&entry)
    });
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("the copy to be read back", |report| {
            assert!(report.alarms.is_empty(), "{:#?}", report.alarms);
            report.verification.verified == 1
        })
        .await;
    assert_eq!(bench.proxy.faults_left(), 0, "{report:#?}");
}

/// On the day that home is lost, a registry comes up from what is there, whether or not the store lets anybody write.
#[tokio::test]
async fn copies_are_known_and_told_although_the_store_takes_no_entry_about_them() {
    let mut bench = CustodianBench::start().await;
    bench.copies(2, &Shape::default()).await;
    bench.timing = vec![("--look-every", "1s")];
    let is_entry = |method: &Method, target: &str| method == Method::PUT && target.contains("/custody/");
    let refuse = Fault::Answer(StatusCode::FORBIDDEN);
    bench.proxy.inject(usize::MAX, refuse, is_entry);
    let custodian = bench.custodian();
    let is_known = |report: &RegistryReport| {
        let is_denied = report.ledger.reason == Reason::StoreAccessDenied;
        report.ledger.state == CheckState::True && is_denied && report.verification.verified == 2
    };
    let report = custodian.until_registry("both copies", is_known).await;
    assert!(
        report.ledger.message.contains("nothing can be written"),
        "{:?}",
        report.ledger
    );
    // It is an alarm too: nobody looks at a ledger that is sound.
    let alarms: Vec<_> = report.alarms.iter().map(|alarm| alarm.reason).collect();
    assert_eq!(alarms, [Reason::StoreAccessDenied], "{report:#?}");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let report = custodian.registry().await.unwrap();
        assert!(is_known(&report), "{report:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.proxy.heal();
    custodian
        .until_registry("a proof", |report| {
            let is_written = report.custody_head.is_some() && report.ledger.reason == Reason::LedgerIntact;
            is_written && report.alarms.is_empty()
        })
        .await;
}

//! What stands in a ledger and may not: each is told with registry, place, what is lost and what stands, and the chain goes on.

use crate::bench::REGISTRY;
use crate::bench::custodian::{CustodianBench, alarm, custodian_key, home};
use dataembassy_contract::Reason;
use dataembassy_contract::custodian::RegistryReport;
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::entry::{CustodyBody, Entry, Header, VoidBody};
use dataembassy_ledger::value::Timestamp;
use dataembassy_ledger::{CopyId, ObjectKey, Sequence, Term};
use dataembassy_testkit::fabricated::Shape;
use dataembassy_testkit::fault_proxy::Fault;
use hyper::Method;

fn sequence(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

#[tokio::test]
async fn a_copy_signed_by_the_custodian_does_not_count_and_the_chain_goes_on() {
    let mut bench = CustodianBench::start().await;
    bench.copies(2, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian.until_head(2).await;
    let mut depositor = bench.depositor().await;
    let mut ledger = bench.ledger.clone();
    let (body, _) = ledger.objects(&mut depositor, &Shape::default()).await.unwrap();
    let foreign = ledger.next_entry(body).unwrap().sign(&custodian_key()).unwrap();
    depositor
        .put(&ledger.entry_key(sequence(3)), &foreign.bytes)
        .await
        .unwrap();
    let message = custodian.until_alarm(Reason::ForeignSignature).await;
    for part in [
        "registry population, copy 3",
        "has no authority there",
        "Lost: what that object was meant to say",
        "Stands: the ledger up to entry 2, 2 copies",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let report = custodian.registry().await.unwrap();
    assert_eq!(
        (report.ledger.state, report.ledger.reason),
        (CheckState::False, Reason::ForeignSignature)
    );
    // Who holds the key writes beside it, and that counts.
    ledger.copy(&mut depositor, &Shape::default()).await.unwrap();
    custodian.until_head(3).await;
    ledger.copy(&mut depositor, &Shape::default()).await.unwrap();
    custodian.until_head(4).await;
    let message = custodian.until_alarm(Reason::SecondVersion).await;
    assert!(message.contains("2 versions"), "{message}");
}

#[tokio::test]
async fn another_entry_at_the_heads_place_by_who_may_sign_there_is_a_fork_until_the_next_one_decides() {
    let mut bench = CustodianBench::start().await;
    bench.copies(1, &Shape::default()).await;
    let mut other = bench.ledger.apart("fork");
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian.until_head(2).await;
    let mut depositor = bench.depositor().await;
    other.copy(&mut depositor, &Shape::default()).await.unwrap();
    drop(depositor);
    let message = custodian.until_alarm(Reason::Forked).await;
    assert!(
        message.contains("entry 2 exists in several versions"),
        "{message}"
    );
    bench.copies(1, &Shape::default()).await;
    custodian.until_head(3).await;
    custodian.until_healed(Reason::Forked).await;
}

#[tokio::test]
async fn a_signer_out_of_its_range_does_not_count() {
    let mut bench = CustodianBench::start().await;
    bench.config.registries[0].signers[0].until_sequence = Some(2);
    bench.write_config();
    bench.copies(3, &Shape::default()).await;
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::ForeignSignature).await;
    assert!(message.contains("Stands: the ledger up to entry 2"), "{message}");
    custodian.until_head(2).await;
    // A person gives the key its range back.
    bench.config.registries[0].signers[0].until_sequence = None;
    bench.write_config();
    custodian.until_head(3).await;
    custodian.until_healed(Reason::ForeignSignature).await;
}

#[tokio::test]
async fn a_number_squatted_far_ahead_is_a_gap_and_the_chain_goes_on() {
    let mut bench = CustodianBench::start().await;
    bench.copies(2, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian.until_head(2).await;
    let far = bench.ledger.entry_key(sequence(999_999));
    bench.depositor().await.put(&far, b"squatted").await.unwrap();
    let message = custodian.until_alarm(Reason::LedgerGap).await;
    assert!(
        message.contains("000000000003") && message.contains("000000999999"),
        "{message}"
    );
    bench.copies(2, &Shape::default()).await;
    custodian.until_head(4).await;
}

#[tokio::test]
async fn oversized_and_unparsable_objects_are_no_entries_and_the_chain_goes_on() {
    let mut bench = CustodianBench::start().await;
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian.until_head(1).await;
    let next = bench.ledger.entry_key(sequence(2));
    bench
        .depositor()
        .await
        .put(&next, &vec![b'x'; 70_000])
        .await
        .unwrap();
    let message = custodian.until_alarm(Reason::LedgerUnreadable).await;
    assert!(message.contains("more than the 65536 allowed"), "{message}");
    bench
        .depositor()
        .await
        .put(&next, b"{\"format\":\"dataembassy/1\"}\n")
        .await
        .unwrap();
    bench.copies(2, &Shape::default()).await;
    let report = custodian.until_head(3).await;
    assert_eq!(report.source_head.unwrap().sequence, 3);
    let stray = format!("registries/{REGISTRY}/source/readme.txt");
    bench
        .minio
        .put("registries", &stray, b"hello".to_vec())
        .await
        .unwrap();
    let message = custodian.until_alarm(Reason::LedgerUnreadable).await;
    assert!(message.contains("readme.txt"), "{message}");
    // What is short enough and says nothing that an entry says, not even who signed it, is told by its own key, and is in nobody's way.
    let next = bench.ledger.entry_key(sequence(4));
    let nonsense = b"{\"format\":\"dataembassy/1\"}\n";
    bench.depositor().await.put(&next, nonsense).await.unwrap();
    let place = next.to_string();
    let is_told = |report: &RegistryReport| {
        report.alarms.iter().any(|alarm| {
            let words = [
                place.as_str(),
                "is wrongly signed",
                "Lost: what that object was meant to say",
            ];
            alarm.reason == Reason::ForeignSignature && words.iter().all(|word| alarm.message.contains(word))
        })
    };
    custodian.until_registry("what cannot be read", is_told).await;
    bench.copies(1, &Shape::default()).await;
    custodian.until_head(4).await;
}

#[tokio::test]
async fn a_custody_entry_of_a_source_key_does_not_count_and_the_custodian_writes_on() {
    let mut bench = CustodianBench::start().await;
    let entry = Entry {
        header: Header {
            store_id: bench.origin.store_id,
            registry: REGISTRY.parse().unwrap(),
            sequence: Sequence::FIRST,
            prev: bench.origin.genesis,
            term: Term::FIRST,
            at: Timestamp::from_jiff(jiff::Timestamp::now()).unwrap(),
        },
        body: CustodyBody::Void(VoidBody {
            copies: vec![CopyId::from_bytes([7; 16])],
            order: None,
        }),
    };
    let key: ObjectKey = entry.object_key();
    let object = entry.sign(&home()).unwrap();
    bench.depositor().await.put(&key, &object.bytes).await.unwrap();
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::ForeignSignature).await;
    assert!(message.contains("in the custody chain"), "{message}");
    // An empty chain with something in its place is not a new registry: somebody must say what stood there.
    custodian.until_alarm(Reason::Unwitnessed).await;
    let head = custodian.until_head(1).await.source_head.unwrap();
    bench.config.registries[0].confirmed_head = Some(dataembassy_contract::config::Floor {
        sequence: head.sequence,
        digest: head.digest,
    });
    bench.write_config();
    custodian
        .until_registry("an entry beside it", |report| report.custody_head.is_some())
        .await;
}

#[tokio::test]
async fn a_head_that_vanishes_is_a_roll_back_and_nothing_is_written() {
    let mut bench = CustodianBench::start().await;
    // What is read back again and again is to be proven each time.
    bench.timing.push(("--prove-every", "1s"));
    bench.config.verification.period = "6s".parse().unwrap();
    bench.write_config();
    let made = bench.copies(3, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian
        .until_registry("a proof of all three", |report| {
            report.verification.verified == 3 && report.custody_head.is_some()
        })
        .await;
    let folder =
        crate::bench::custodian::on_disk(&bench.minio, &bench.ledger.entry_key(sequence(3)).to_string());
    let aside = bench.folder.path().join("aside");
    std::fs::rename(&folder, &aside).unwrap();
    let message = custodian.until_alarm(Reason::RolledBack).await;
    for part in [
        "registry population, copy 3",
        &made[2].reference.digest.to_string(),
        "Lost: every copy that came later",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let left = bench.custody_entries().await.len();
    let report = custodian.registry().await.unwrap();
    let enough = report.verification.bytes_read + 2 * 6_000;
    bench.copies(1, &Shape::default()).await;
    let is_read = |report: &RegistryReport| report.verification.bytes_read >= enough;
    custodian
        .until_registry("the others to be read back once more", is_read)
        .await;
    bench.until_looks(&custodian, 3).await;
    let entries = bench.custody_entries().await.len();
    assert_eq!(entries, left, "something was written without the head");
    std::fs::rename(&aside, &folder).unwrap();
    custodian.until_healed(Reason::RolledBack).await;
    custodian.until_head(4).await;
    let goes_on = |report: &RegistryReport| {
        let head = report.custody_head.as_ref();
        head.is_some_and(|head| head.sequence > left as u64)
    };
    custodian.until_registry("the next proof", goes_on).await;
}

#[tokio::test]
async fn of_two_entries_of_home_for_one_place_neither_counts_before_the_next_one_names_it() {
    let mut bench = CustodianBench::start().await;
    bench.copies(2, &Shape::default()).await;
    let mut apart = bench.ledger.apart("fork");
    let first = bench.copies(1, &Shape::default()).await.remove(0);
    // Both are there before anybody looks: neither has been followed.
    let mut depositor = bench.depositor().await;
    let second = apart.copy(&mut depositor, &Shape::default()).await.unwrap();
    drop(depositor);
    assert_ne!(first.reference.digest, second.reference.digest);
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::Forked).await;
    for part in [
        "registry population, copy 3: entry 3 exists in several versions",
        "signed by who may sign there",
        "Lost: nothing. Stands: the ledger up to entry 2, 2 copies",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let report = custodian
        .until_registry("a proof of those before it", |report| {
            report.verification.verified == 2 && report.intact.state == CheckState::True
        })
        .await;
    assert_eq!(
        (report.ledger.state, report.ledger.reason),
        (CheckState::False, Reason::Forked)
    );
    let alarmed = alarm(&report, Reason::Forked);
    assert_eq!(Some(report.ledger.message), alarmed);
    let told: Vec<u64> = report.copies.iter().map(|copy| copy.sequence).collect();
    assert_eq!(told, [2, 1]);
    assert_eq!(report.source_head.unwrap().sequence, 2);
    // Home goes on behind the one that the store had last.
    let mut depositor = bench.depositor().await;
    let third = apart.copy(&mut depositor, &Shape::default()).await.unwrap();
    custodian.until_head(4).await;
    custodian.until_healed(Reason::Forked).await;
    let report = custodian
        .until_registry("both to be read", |report| report.verification.verified == 4)
        .await;
    assert_eq!(report.intact.state, CheckState::True);
    let told: Vec<&str> = report.copies.iter().map(|copy| copy.digest.as_str()).collect();
    let followed = [third, second].map(|made| made.reference.digest.to_string());
    assert_eq!(told[..2], followed);
    // What nobody names still stands beside it.
    let message = custodian.until_alarm(Reason::SecondVersion).await;
    assert!(
        message.contains("copy 3") && message.contains("2 versions"),
        "{message}"
    );
}

#[tokio::test]
async fn beside_an_entry_that_was_followed_another_one_of_home_is_a_fork_and_leads_nowhere() {
    let mut bench = CustodianBench::start().await;
    bench.copies(1, &Shape::default()).await;
    let mut apart = bench.ledger.apart("fork");
    let first = bench.copies(1, &Shape::default()).await.remove(0);
    let custodian = bench.custodian();
    custodian.until_head(2).await;
    let mut depositor = bench.depositor().await;
    let second = apart.copy(&mut depositor, &Shape::default()).await.unwrap();
    let message = custodian.until_alarm(Reason::Forked).await;
    for part in [
        "registry population, copy 2: entry 2 exists in several versions",
        "Lost: nothing. Stands: the ledger up to entry 2, 2 copies",
    ] {
        assert!(message.contains(part), "{message}");
    }
    apart.copy(&mut depositor, &Shape::default()).await.unwrap();
    drop(depositor);
    let message = custodian.until_alarm(Reason::LedgerGap).await;
    let second = second.reference.digest.to_string();
    assert!(
        message.contains("copy 3") && message.contains(&second),
        "{message}"
    );
    let report = custodian.registry().await.unwrap();
    let first = first.reference.digest.to_string();
    assert_eq!(report.source_head.unwrap().digest, first);
    let third = bench.copies(1, &Shape::default()).await.remove(0);
    let report = custodian.until_head(3).await;
    let third = third.reference.digest.to_string();
    assert_eq!(report.source_head.unwrap().digest, third);
    custodian.until_healed(Reason::Forked).await;
}

#[tokio::test]
async fn an_older_state_of_the_store_is_told_after_a_restart_by_the_floor() {
    let mut bench = CustodianBench::start().await;
    bench.copies(3, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = custodian.until_head(3).await;
    bench.remember(&report);
    custodian.kill();
    let folder =
        crate::bench::custodian::on_disk(&bench.minio, &bench.ledger.entry_key(sequence(3)).to_string());
    std::fs::remove_dir_all(folder).unwrap();
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::RolledBack).await;
    assert!(
        message.contains("source entry 3") || message.contains("entry 3"),
        "{message}"
    );
    // What stands is shown nevertheless.
    custodian
        .until_registry("what stands", |report| report.copies.len() == 2)
        .await;
}

#[tokio::test]
async fn an_entry_that_was_read_damaged_is_read_again_and_counts() {
    let mut bench = CustodianBench::start().await;
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian.until_head(1).await;
    let second = bench.ledger.entry_key(sequence(2)).to_string();
    bench.proxy.inject(1, Fault::Flip(4_711), move |method, target| {
        method == Method::GET && target.contains(&second)
    });
    bench.copies(1, &Shape::default()).await;
    custodian
        .until_registry("the damage to be told", |report| {
            report.ledger.state == CheckState::False
        })
        .await;
    bench.proxy.heal();
    custodian.until_head(2).await;
    let report = custodian
        .until_registry("the ledger to be right", |report| {
            report.ledger.state == CheckState::True
        })
        .await;
    assert!(report.alarms.is_empty(), "{:#?}", report.alarms);
}

#[tokio::test]
async fn a_second_entry_of_a_copy_is_told_and_the_first_is_proven_in_whichever_order_they_come() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(1, &Shape::default()).await.remove(0);
    let mut depositor = bench.depositor().await;
    let mut ledger = bench.ledger.clone();
    for _ in 0..2 {
        let again = (made.body.clone(), made.segments.clone());
        ledger.commit(&mut depositor, again).await.unwrap();
    }
    drop(depositor);
    let is_told = |report: &RegistryReport| {
        let states: Vec<_> = report
            .copies
            .iter()
            .map(|copy| (copy.sequence, copy.intact))
            .collect();
        let (whole, broken) = (CheckState::True, CheckState::False);
        states == [(3, broken), (2, broken), (1, whole)]
    };
    let custodian = bench.custodian();
    let message = custodian.until_alarm(Reason::ManifestInvalid).await;
    assert!(message.contains("which entry 1 has named before"), "{message}");
    let report = custodian.until_registry("what each of them is", is_told).await;
    // The next one begins at the last head, and comes to the first entry last.
    bench.remember(&report);
    custodian.kill();
    bench.custodian().until_registry("the same again", is_told).await;
}

//! Configuration, following, and what a look costs.

use crate::bench::custodian::{CustodianBench, custody_of};
use crate::bench::pauses::briefly;
use crate::bench::{REGISTRY, assert_calm, http};
use dataembassy_contract::custodian::{CustodianReport, RegistryReport};
use dataembassy_contract::report::CheckState;
use dataembassy_contract::{Reason, files};
use dataembassy_testkit::fabricated::Shape;
use dataembassy_testkit::fault_proxy::Fault;
use hyper::StatusCode;

#[tokio::test]
async fn a_registry_is_followed_from_its_first_copy_on() {
    let mut bench = CustodianBench::start().await;
    let custodian = bench.custodian();
    let report = custodian
        .until("the store", |report| report.store.state == CheckState::True)
        .await;
    assert_eq!(report.loaded.unwrap().generation, 1);
    let report = custodian
        .until_registry("the empty ledger", |report| {
            report.ledger.state == CheckState::True
        })
        .await;
    assert_eq!(
        (report.source_head, report.intact.reason),
        (None, Reason::NoCopyYet)
    );
    let made = bench.copies(3, &Shape::default()).await;
    let report = custodian.until_head(3).await;
    let head = report.source_head.clone().unwrap();
    assert_eq!(head.digest, made[2].reference.digest.to_string());
    assert_eq!(report.ledger.state, CheckState::True);
    let counted = |report: &RegistryReport| report.used_bytes > 0 && report.copies.len() == 3;
    let report = custodian.until_registry("the count", counted).await;
    assert!(report.alarms.is_empty(), "{:#?}", report.alarms);
    let newest = &report.copies[0];
    assert_eq!((newest.sequence, newest.bytes), (3, 6_000));
    assert_eq!(newest.copy_id, made[2].body.copy_id.to_string());
    assert_eq!(report.last_arrival.unwrap().sequence, 3);
    assert_eq!(custodian.terminate().await, 0);
    assert_calm(&bench.log());
}

#[tokio::test]
async fn at_rest_a_registry_costs_one_listing_a_look() {
    let mut bench = CustodianBench::start().await;
    bench.copies(5, &Shape::default()).await;
    // No count and no proof falls into the time that is watched.
    bench.timing = vec![("--look-every", "1s"), ("--count-every", "1h")];
    let custodian = bench.custodian();
    custodian
        .until_registry("rest", |report| {
            let is_proven = report.custody_head.is_some() && report.verification.verified == 5;
            report.used_bytes > 0 && is_proven && report.alarms.is_empty()
        })
        .await;
    let before = bench.proxy.asked();
    let source = "list-type=2&prefix=registries%2F";
    let looks = |from: usize| {
        let seen = bench.proxy.seen();
        let folders = seen[from..]
            .iter()
            .filter(|one| one.target.contains("delimiter"))
            .count();
        (folders, seen[from..].to_vec())
    };
    custodian.until("five more looks", |_| looks(before).0 >= 5).await;
    let (folders, seen) = looks(before);
    let of_source = format!("prefix=registries%2F{REGISTRY}%2Fsource%2F");
    let source_lists = seen.iter().filter(|one| one.target.contains(&of_source)).count();
    // For their locks, once in an eighth of a lock's length.
    let of_reports = format!("prefix=registries%2F{REGISTRY}%2Freports%2F");
    let report_lists = seen.iter().filter(|one| one.target.contains(&of_reports)).count();
    assert!(report_lists <= 1, "{report_lists} listings of reports");
    let other: Vec<_> = seen
        .iter()
        .map(|one| format!("{} {}", one.method, one.target))
        .filter(|one| !one.contains(&of_source) && !one.contains(&of_reports))
        .filter(|one| !one.contains(source) && !one.contains("?versioning") && !one.contains("?object-lock"))
        .filter(|one| !one.contains("embassy.json") && !one.contains("delimiter"))
        // One of these in twenty-five seconds.
        .filter(|one| !one.contains(&format!("prefix=registries%2F{REGISTRY}%2Fcustody%2F")))
        .collect();
    assert!(other.is_empty(), "{other:#?}");
    assert!(
        source_lists <= folders + 2,
        "{source_lists} listings of the chain in {folders} looks"
    );
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_leaves_the_last_one_in_effect() {
    let mut bench = CustodianBench::start().await;
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian.until_head(1).await;
    bench.write(files::CONFIG_FILE, "{}");
    let report = custodian
        .until("the refusal", |report| report.refused.is_some())
        .await;
    assert_eq!(report.refused.unwrap().reason, Reason::ConfigurationInvalid);
    assert_eq!(report.loaded.unwrap().generation, 1);
    bench.copies(1, &Shape::default()).await;
    custodian.until_head(2).await;
    bench.config.generation = 2;
    bench.config.registries[0].generation = 7;
    bench.write_config();
    let report = custodian
        .until("the new one", |report| {
            report
                .loaded
                .as_ref()
                .is_some_and(|loaded| loaded.generation == 2)
        })
        .await;
    assert!(report.refused.is_none());
    custodian
        .until_registry("the registry's generation", |report| report.generation == 7)
        .await;
}

#[tokio::test]
async fn a_key_with_two_roles_and_a_missing_secret_are_refused_by_name() {
    let mut bench = CustodianBench::start().await;
    let home = bench.config.registries[0].signers[0].public_key.clone();
    bench.config.custodian_keys[0].public_key = home;
    bench.write_config();
    let custodian = bench.custodian();
    let report = custodian
        .until("the refusal", |report| report.refused.is_some())
        .await;
    assert_eq!(report.refused.unwrap().reason, Reason::KeyHasTwoRoles);
    bench.write(files::CUSTODY_SIGNING_KEY, "");
    let report = custodian
        .until("the missing secret", |report| !report.missing_secrets.is_empty())
        .await;
    assert_eq!(report.refused.unwrap().reason, Reason::SecretMissing);
    assert_eq!(report.missing_secrets[0].key, "ssh-privatekey");
}

#[tokio::test]
async fn a_registry_that_nobody_accepted_is_reported_and_never_adopted() {
    let mut bench = CustodianBench::start().await;
    let mut depositor = bench.depositor().await;
    let mut stranger = dataembassy_testkit::fabricated::MadeLedger::new(
        bench.origin,
        "stranger".parse().unwrap(),
        crate::bench::custodian::home(),
    );
    stranger.copy(&mut depositor, &Shape::default()).await.unwrap();
    drop(depositor);
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian.until_head(1).await;
    let report = custodian
        .until("the unknown one", |report| !report.unknown_registries.is_empty())
        .await;
    assert_eq!(report.unknown_registries, ["stranger"]);
    assert!(custodian.registry_named("stranger").await.is_none());
    bench.config.registries.push(custody_of("stranger"));
    bench.write_config();
    custodian
        .until("its adoption by a person", |report| {
            report.unknown_registries.is_empty()
        })
        .await;
    let followed = async || {
        custodian
            .registry_named("stranger")
            .await
            .and_then(|report| report.source_head)
    };
    let begun = std::time::Instant::now();
    while followed().await.is_none() {
        assert!(begun.elapsed() < crate::bench::custodian::DEADLINE);
        briefly().await;
    }
}

#[tokio::test]
async fn a_store_that_is_away_or_set_up_wrong_is_told_and_heals() {
    let mut bench = CustodianBench::start().await;
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian.until_head(1).await;
    bench.proxy.inject(usize::MAX, Fault::Refuse, |_, _| true);
    let report = custodian
        .until("the store to be missed", |report| {
            report.store.state == CheckState::False
        })
        .await;
    assert_eq!(report.store.reason, Reason::StoreUnreachable);
    custodian
        .until_registry("a doubt", |report| report.ledger.state == CheckState::Unknown)
        .await;
    bench.proxy.heal();
    custodian
        .until("the store", |report| report.store.state == CheckState::True)
        .await;
    custodian
        .until_registry("the ledger", |report| report.ledger.state == CheckState::True)
        .await;
    bench.config.immutability.lock_on_arrival = "14d".parse().unwrap();
    bench.write_config();
    let report = custodian
        .until("the lock", |report| report.store.state == CheckState::False)
        .await;
    assert_eq!(report.store.reason, Reason::NoObjectLock);
    assert!(
        report.store.message.contains("14 days"),
        "{}",
        report.store.message
    );
    bench.write(files::CUSTODY_SECRET_ACCESS_KEY, "wrong");
    let refused = |report: &dataembassy_contract::custodian::CustodianReport| {
        report.store.reason == Reason::StoreCredentialsRefused
    };
    custodian.until("the credentials", refused).await;
}

/// The network lets a new pod through a moment after it begins.
#[tokio::test]
async fn a_custodian_that_begins_before_the_store_can_be_reached_does_not_wait_for_its_next_look() {
    let mut bench = CustodianBench::start().await;
    bench.copies(1, &Shape::default()).await;
    bench.timing = vec![("--look-every", "1h")];
    bench.proxy.inject(usize::MAX, Fault::Refuse, |_, _| true);
    let custodian = bench.custodian();
    custodian
        .until("the store to be missed", |report| {
            report.store.reason == Reason::StoreUnreachable
        })
        .await;
    bench.proxy.heal();
    custodian.until_head(1).await;
}

#[tokio::test]
async fn the_difference_to_the_stores_clock_is_measured_told_and_stops_what_carries_a_time() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let near = |report: &CustodianReport, seconds: i64| {
        let measured = report.clock_difference_seconds;
        measured.is_some_and(|measured| (measured - seconds).abs() <= 3)
    };
    custodian.until("the same time", |report| near(report, 0)).await;
    custodian
        .until_registry("a proof", |report| {
            report.custody_head.is_some() && report.verification.verified == 1
        })
        .await;
    for seconds in [90, -90] {
        bench.proxy.heal();
        bench
            .proxy
            .inject(usize::MAX, Fault::ShiftClock(seconds), |_, _| true);
        let report = custodian
            .until("a difference that is only told", |report| near(report, seconds))
            .await;
        assert_eq!(report.store.state, CheckState::True, "{}", report.store.message);
    }
    bench.proxy.heal();
    bench
        .proxy
        .inject(usize::MAX, Fault::ShiftClock(-600), |_, _| true);
    let report = custodian
        .until("a difference that is too large", |report| {
            report.store.reason == Reason::ClockSkewed
        })
        .await;
    assert!(near(&report, -600), "{:?}", report.clock_difference_seconds);
    assert_eq!(report.store.state, CheckState::False);
    // Another fault that is told first does not hide it: what would carry a wrong time is not written.
    bench.config.immutability.lock_on_arrival = "14d".parse().unwrap();
    bench.write_config();
    custodian
        .until("the lock", |report| report.store.reason == Reason::NoObjectLock)
        .await;
    let before = custodian.registry().await.unwrap().custody_head;
    bench.copies(1, &Shape::default()).await;
    custodian
        .until_registry("the second copy to be read", |report| {
            report.verification.verified == 2
        })
        .await;
    let looks = bench.proxy.asked() + 20;
    custodian
        .until("more looks", |_| bench.proxy.asked() > looks)
        .await;
    assert_eq!(custodian.registry().await.unwrap().custody_head, before);
    bench.proxy.heal();
    custodian
        .until_registry("a proof as soon as the clocks agree", |report| {
            report.custody_head != before
        })
        .await;
}

#[tokio::test]
async fn reports_are_sent_once_and_metrics_name_the_registry() {
    let mut bench = CustodianBench::start().await;
    bench.copies(2, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian.until_head(2).await;
    let path = dataembassy_contract::custodian::registry_path(REGISTRY);
    let begun = std::time::Instant::now();
    loop {
        let first = http::get(custodian.status_address(), &path, None).await.unwrap();
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        let second = http::get(custodian.status_address(), &path, Some(&tag))
            .await
            .unwrap();
        if second.status() == StatusCode::NOT_MODIFIED {
            break;
        }
        assert!(
            begun.elapsed() < crate::bench::custodian::DEADLINE,
            "the report never rests"
        );
    }
    let unknown = http::get(custodian.status_address(), "/registries/nobody", None)
        .await
        .unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let metrics = http::get(custodian.metrics_address(), "/metrics", None)
        .await
        .unwrap();
    let metrics = String::from_utf8(metrics.into_body()).unwrap();
    for line in [
        format!("dataembassy_custodian_source_head{{registry=\"{REGISTRY}\"}} 2"),
        format!("dataembassy_custodian_expected_interval_seconds{{registry=\"{REGISTRY}\"}} 3600"),
        "dataembassy_custodian_store_up 1".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}

//! Many registries and long ledgers, and a copy larger than any disk: heads are known soon, memory stays small, and at rest only what is new
//! is read.

#![expect(clippy::print_stdout, reason = "how near the limits it came is worth knowing")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dataembassy_contract::config::Floor;
use dataembassy_contract::{Reason, files};
use dataembassy_ledger::entry::EntryRef;
use dataembassy_testkit::fabricated::Shape;
use dataembassy_testkit::fault_proxy::Seen;
use dataembassy_testkit::many::{self, Extent, MadeRegistry, Signers};
use dataembassy_testkit::minio::BUCKET;
use hyper::Method;

use crate::bench::custodian::{Custodian, CustodianBench, alarm, custodian_key, custody_of, home};
use crate::bench::http;

/// Within this time every head is known.
const KNOWN: Duration = Duration::from_mins(1);
/// The container's limit, in KiB.
const LIMIT: u64 = 128 << 10;
/// Between two looks.
const CYCLE: &str = "5s";

/// Waits for something that takes as long as the store is large.
async fn until(what: &str, deadline: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    begun.elapsed()
}

fn floor(head: EntryRef) -> Floor {
    Floor {
        sequence: head.sequence.get(),
        digest: head.digest.to_string(),
    }
}

/// A store with so much in it, and a custodian that goes to it directly, as one that was restarted.
async fn bench(extent: Extent) -> (CustodianBench, Vec<MadeRegistry>) {
    let mut bench = CustodianBench::start().await;
    let (home, custodian) = (home(), custodian_key());
    let signers = Signers {
        home: &home,
        custodian: &custodian,
    };
    let made = many::make(bench.minio.root(), BUCKET, bench.origin, signers, extent)
        .await
        .unwrap();
    bench.timing = vec![("--look-every", CYCLE), ("--count-every", "1h")];
    bench.config.store.endpoint = bench.minio.endpoint();
    let registries = made.iter().map(|made| {
        let mut custody = custody_of(made.ledger.registry().as_str());
        custody.custody_floor = Some(floor(made.custody_head));
        custody.source_floor = Some(floor(made.proven));
        custody
    });
    bench.config.registries = registries.collect();
    bench.write_config();
    (bench, made)
}

/// Whether the custodian says of each registry that its ledger ends where it does.
async fn knows_heads(custodian: &Custodian, made: &[MadeRegistry]) -> bool {
    for one in made {
        let report = custodian.registry_named(one.ledger.registry().as_str()).await;
        let head = report.and_then(|report| report.source_head);
        let digest = head.map(|head| head.digest);
        if digest != Some(one.head.digest.to_string()) {
            return false;
        }
    }
    true
}

/// Whether everything of each registry was counted and read back, and nothing is wrong.
async fn has_read_all(custodian: &Custodian, made: &[MadeRegistry], entries: usize) -> bool {
    for one in made {
        let Some(report) = custodian.registry_named(one.ledger.registry().as_str()).await else {
            return false;
        };
        assert!(report.alarms.is_empty(), "{:#?}", report.alarms);
        if report.verification.verified as usize != entries || report.used_bytes == 0 {
            return false;
        }
    }
    true
}

/// How many requests the custodian has sent, as it says itself.
async fn requests(custodian: &Custodian) -> u64 {
    let metrics = http::get(custodian.metrics_address(), "/metrics", None)
        .await
        .unwrap();
    let metrics = String::from_utf8(metrics.into_body()).unwrap();
    let sent = metrics
        .lines()
        .find_map(|line| line.strip_prefix("dataembassy_custodian_store_requests_total "));
    sent.unwrap().parse().unwrap()
}

/// Waits until the custodian sends no more than its looks take.
async fn until_rest(custodian: &Custodian, registries: usize, deadline: Duration) -> Duration {
    let (mut before, mut since) = (requests(custodian).await, Instant::now());
    // Counts are told once a look: two of them are in this time.
    let window = Duration::from_secs(11);
    let most = registries as u64 * 4 + 20;
    until("rest", deadline, async || {
        if since.elapsed() < window {
            return false;
        }
        let now = requests(custodian).await;
        let sent = now - before;
        (before, since) = (now, Instant::now());
        sent > 0 && sent <= most
    })
    .await
}

/// Requests of a kind, by what they are for: `source` and `custody` are listings of one registry's chain.
fn kinds(seen: &[Seen]) -> BTreeMap<&'static str, usize> {
    let mut kinds = BTreeMap::new();
    for one in seen {
        let target = one.target.as_str();
        let of_a_registry = |what: &str| target.contains("?versions") && target.contains(what);
        let of_the_store = ["embassy.json", "delimiter=", "?versioning", "?object-lock"];
        let kind = if of_the_store.iter().any(|part| target.contains(part)) {
            "store"
        } else if of_a_registry("%2Fsource%2F") {
            "source"
        } else if of_a_registry("%2Fcustody%2F") {
            "custody"
        } else if one.method == Method::GET && !target.contains("?versions") {
            "object"
        } else {
            "other"
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// Followed, at rest, and given one new copy: what each costs.
async fn followed(extent: Extent, deadline: Duration) {
    let begun = Instant::now();
    let (bench, mut made) = bench(extent).await;
    println!("{extent:?} made in {:?}", begun.elapsed());
    let custodian = bench.custodian();
    let known = until("the heads", KNOWN, async || knows_heads(&custodian, &made).await).await;
    let read = until("everything to be read", deadline, async || {
        has_read_all(&custodian, &made, extent.entries).await
    })
    .await;
    let rest = until_rest(&custodian, extent.registries, deadline).await;
    let sent = requests(&custodian).await;
    println!(
        "heads known after {known:?}, all read after {:?}, at rest after {:?} and {sent} requests; {} KiB at most",
        known + read,
        known + read + rest,
        custodian.peak_kibibytes()
    );
    assert!(custodian.peak_kibibytes() <= LIMIT);
    count_at_rest(&bench, &custodian, &mut made).await;
    assert!(custodian.peak_kibibytes() <= LIMIT);
}

/// From here on somebody counts: the same store, behind a proxy.
async fn count_at_rest(bench: &CustodianBench, custodian: &Custodian, made: &mut [MadeRegistry]) {
    let registries = made.len();
    let mut config = bench.config.clone();
    config.store.endpoint = bench.proxy.endpoint();
    bench.write(files::CONFIG_FILE, &config.to_json().unwrap());
    let minute = Duration::from_mins(1);
    let sources = |from: usize| kinds(&bench.proxy.seen()[from..]).remove("source").unwrap_or(0);
    until("the proxy to be used", minute, async || {
        sources(0) >= 2 * registries
    })
    .await;
    let from = bench.proxy.asked();
    until("three looks", minute, async || sources(from) >= 3 * registries).await;
    let counted = kinds(&bench.proxy.seen()[from..]);
    println!("three looks at rest: {counted:?}");
    let of = |counted: &BTreeMap<&str, usize>, kind| counted.get(kind).copied().unwrap_or(0);
    assert_eq!(
        (of(&counted, "object"), of(&counted, "other")),
        (0, 0),
        "{counted:?}"
    );
    // One listing of a registry a look; the custody chains are looked at more rarely.
    assert!(of(&counted, "source") <= 4 * registries, "{counted:?}");
    assert!(of(&counted, "custody") <= registries, "{counted:?}");
    assert!(of(&counted, "store") <= 40, "{counted:?}");

    let from = bench.proxy.asked();
    let new = &mut made[0];
    let shape = Shape {
        segments: 1,
        segment_bytes: 200,
        ..Shape::default()
    };
    new.head = new
        .ledger
        .copy(&mut bench.depositor().await, &shape)
        .await
        .unwrap()
        .reference;
    let (id, digest) = (new.ledger.registry().clone(), new.head.digest.to_string());
    until("the new copy", minute, async || {
        let report = custodian.registry_named(id.as_str()).await.unwrap();
        let newest = report.copies.first();
        newest.is_some_and(|copy| copy.digest == digest && copy.verified_at.is_some())
    })
    .await;
    let objects: Vec<String> = bench.proxy.seen()[from..]
        .iter()
        .filter(|one| kinds(std::slice::from_ref(one)).contains_key("object"))
        .map(|one| one.target.clone())
        .collect();
    println!("one new copy: {} objects read", objects.len());
    let of_it = format!("/registries/{id}/");
    assert!(
        objects.iter().all(|target| target.contains(&of_it)),
        "{objects:#?}"
    );
    // The entry when it is followed, examined and read back; the manifest twice; inventory and segment.
    assert!((4..=8).contains(&objects.len()), "{objects:#?}");
}

#[tokio::test]
async fn at_rest_only_what_is_new_is_read_however_many_registries_there_are() {
    let extent = Extent {
        registries: 20,
        entries: 25,
        unproven: 2,
    };
    followed(extent, Duration::from_mins(4)).await;
}

#[tokio::test]
#[ignore = "long: it makes 80,000 objects"]
async fn a_hundred_registries_with_20_000_entries_are_known_within_a_minute() {
    let extent = Extent {
        registries: 100,
        entries: 200,
        unproven: 5,
    };
    followed(extent, Duration::from_mins(20)).await;
}

#[tokio::test]
async fn the_manifest_of_a_copy_of_10_terabytes_is_checked_in_the_same_memory() {
    let mut bench = CustodianBench::start().await;
    bench.timing = vec![("--look-every", CYCLE), ("--count-every", "1h")];
    bench.copies(1, &Shape::default()).await;
    let huge = Shape {
        segments: 650_000,
        segment_bytes: 16 << 20,
        phantom: true,
        ..Shape::default()
    };
    let begun = Instant::now();
    let made = bench.copies(1, &huge).await;
    let parts = &made[0].body.manifest;
    let bytes: u64 = parts.iter().map(|part| part.size).sum();
    println!(
        "{} parts of {bytes} bytes made in {:?}",
        parts.len(),
        begun.elapsed()
    );
    assert!(made[0].body.totals.sealed_bytes > 10_000_000_000_000);
    let custodian = bench.custodian();
    let told = until(
        "every one of its segments to be missed",
        Duration::from_mins(4),
        async || {
            let report = custodian.registry().await;
            let message = report.and_then(|report| alarm(&report, Reason::ObjectMissing));
            message.is_some_and(|message| message.contains("650000 objects of it are not in the store"))
        },
    )
    .await;
    println!(
        "650,000 segments judged after {told:?}; {} KiB at most",
        custodian.peak_kibibytes()
    );
    assert!(custodian.peak_kibibytes() <= LIMIT);
    let report = custodian.registry().await.unwrap();
    assert_eq!(report.verification.copies, 2);
    assert_eq!(
        report.alarms.len(),
        1,
        "the manifest itself is right: {:#?}",
        report.alarms
    );
}

//! Our own clients through the gate: everything that a mirror does passes, and nothing that it signed is changed.

use std::time::Duration;

use bytes::Bytes;
use dataembassy_contract::config::SovereigntyConfig;
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::SigningKey;
use dataembassy_ledger::chain::SignerRange;
use dataembassy_ledger::value::Term;
use dataembassy_sidecar::store::check::{Plan, check};
use dataembassy_sidecar::store::init::initialise;
use dataembassy_sidecar::store::{Ledger, LedgerSettings, PutOutcome, Requirements, commit, probe};
use dataembassy_testkit::minio::BUCKET;
use hyper::Method;

use super::bench::{GateBench, lane};
use super::raw::{self, Raw};
use crate::bench::mirror::MirrorBench;
use crate::bench::{REGISTRY, StoreBench, copy_entry, deposit_keys, entry, registry, segment, sha256};

const MEBI: usize = 1 << 20;

#[tokio::test]
async fn a_client_of_ours_does_all_of_its_work_through_the_gate() {
    let bench = GateBench::start().await;
    let signer = SigningKey::from_seed(&[1; 32]);
    initialise(&bench.store.custody().await, &SigningKey::from_seed(&[9; 32]))
        .await
        .unwrap();
    let store = bench.client(&bench.deposit(REGISTRY).await);
    let requirements = Requirements {
        governance_suffices: false,
        least_days: 1,
    };
    let probed = probe(&store, requirements).await.unwrap();
    assert_eq!(probed.locked_days, 1);
    assert!(
        probed.clock_ahead.unwrap().abs() < 5_000,
        "the store's clock is known"
    );

    let puts = (1..=16).map(|number| {
        let store = store.clone();
        async move {
            let body = Bytes::from(vec![u8::try_from(number).unwrap(); MEBI + 17]);
            let digest = sha256(&body);
            store.put(&segment(number), body, digest).await.unwrap()
        }
    });
    let outcomes = futures::future::join_all(puts).await;
    let is_stored = |outcome: &PutOutcome| matches!(outcome, PutOutcome::Stored(_));
    assert!(outcomes.iter().all(is_stored), "{outcomes:?}");
    let again = store
        .put(&segment(1), Bytes::from_static(b"other"), sha256(b"other"))
        .await
        .unwrap();
    assert_eq!(again, PutOutcome::Exists);

    let settings = LedgerSettings {
        registry: registry(),
        signers: vec![SignerRange::always(signer.public_key())],
        custodians: Vec::new(),
        floor: None,
    };
    let ledger = Ledger::read(&store, &settings).await.unwrap();
    let object = copy_entry(&ledger, None).sign(&signer).unwrap();
    commit(&store, &entry(1), &object, Duration::from_secs(20))
        .await
        .unwrap();
    let ledger = Ledger::read(&store, &settings).await.unwrap();
    assert_eq!(ledger.head_reference().unwrap().digest, object.digest);

    let custody = bench.store.custody().await;
    let kept = custody.open(&segment(16), None).await.unwrap();
    let kept = kept.read(2 * MEBI as u64).await.unwrap();
    assert!(kept.len() == MEBI + 17 && kept.iter().all(|byte| *byte == 16));
    let report = bench.report().await.unwrap();
    let lane = &report.lanes[0];
    assert!(
        lane.refused.is_empty() && report.unclaimed.is_empty(),
        "{report:#?}"
    );
    assert!(lane.heard_at.is_some() && lane.retrieved_at.is_none());
    assert_eq!(
        lane.bytes_put,
        16 * (MEBI as u64 + 17) + object.bytes.len() as u64
    );
}

#[tokio::test]
async fn a_mirror_makes_its_copies_through_the_gate() {
    let mut mirror = MirrorBench::start(17).await;
    let store = StoreBench::start().await;
    initialise(&store.custody().await, &mirror.custodian)
        .await
        .unwrap();
    let keys = store.deposit_keys().await;
    let bench = GateBench::before(store, |_| {}).await;
    mirror.config.embassy.store.endpoint = bench.endpoint();
    mirror.config.embassy.store.ca_bundle = Some(bench.authority.certificate());
    mirror.config.embassy.sovereignty = SovereigntyConfig::default();
    mirror.write_secret(
        dataembassy_contract::files::DEPOSIT_SECRET_ACCESS_KEY,
        &keys.secret_key,
    );
    mirror.write_config();
    let sidecar = mirror.sidecar();
    let report = sidecar.until_copy(1).await;
    assert_eq!(report.store.state, CheckState::True);
    let lane = bench.lane(REGISTRY).await;
    assert!(lane.refused.is_empty(), "{lane:#?}");
    let found = bench.store.minio.keys(BUCKET, "registries/").await.unwrap();
    assert!(
        found
            .iter()
            .any(|key| key == "registries/population/source/0001-000000000001"),
        "{found:?}"
    );
}

#[tokio::test]
async fn what_was_signed_reaches_the_store_as_it_was_signed_and_nothing_is_added() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    let body = b"a segment".to_vec();
    let path = format!("/{BUCKET}/{}", segment(1));
    let (target, signed) = client.sign(
        "PUT",
        &path,
        &[("x-id", "PutObject")],
        &[
            ("content-type", "application/octet-stream"),
            ("if-none-match", "*"),
            ("user-agent", "a client/1.0"),
            ("amz-sdk-request", "attempt=1; max=1"),
        ],
        &sha256(&body).to_string(),
    );
    let mut connection = Raw::open(&client).await;
    let length = body.len().to_string();
    let more = [("content-length", length.as_str()), ("Connection", "keep-alive")];
    let head = raw::written("PUT", &target, &signed, &more);
    connection.send(head).await;
    connection.send(&body).await;
    let answer = connection.answer().await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = bench.store.proxy.seen();
    let seen = seen.iter().find(|seen| seen.method == Method::PUT).unwrap();
    assert_eq!(seen.target, target);
    let mut expected = signed.clone();
    expected.push(("content-length".into(), body.len().to_string()));
    expected.sort();
    let mut found: Vec<(String, String)> = seen
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    found.sort();
    assert_eq!(found, expected);
    let host = seen.headers["host"].to_str().unwrap();
    assert_eq!(host, bench.gate.to_string(), "the host that the client signed");
}

#[tokio::test]
async fn of_an_answer_the_client_gets_what_it_needs_and_no_more() {
    let bench = GateBench::start().await;
    let client = bench.signed(bench.deposit(REGISTRY).await);
    bench
        .store
        .minio
        .put(BUCKET, "embassy.json", b"{}".to_vec())
        .await
        .unwrap();
    let path = format!("/{BUCKET}/embassy.json");
    let mut connection = Raw::open(&client).await;
    connection.send(raw::get(&client, &path, &[])).await;
    let answer = connection.answer().await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    for needed in [
        "content-length",
        "date",
        "etag",
        "x-amz-version-id",
        "last-modified",
    ] {
        assert!(answer.header(needed).is_some(), "{needed} of {answer:?}");
    }
    for name in [
        "server",
        "strict-transport-security",
        "vary",
        "x-xss-protection",
        "connection",
    ] {
        assert_eq!(answer.header(name), None);
    }
    // The connection is good for another, which says how long a body would be and has none.
    connection
        .send(raw::head(&client, "HEAD", &path, &[], &[], raw::EMPTY, &[]))
        .await;
    let answer = connection.answer_to_head().await.unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("2")));
    connection
        .send(raw::get(
            &client,
            &format!("/{BUCKET}/registries/population/source/0001-000000000009"),
            &[],
        ))
        .await;
    let answer = connection.answer().await.unwrap();
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("<Code>NoSuchKey</Code>"), "{}", answer.body);
    assert_eq!(answer.refusal(), "none");
}

#[tokio::test]
async fn the_check_of_a_store_finds_no_door_open_through_the_gate() {
    const CHECKED: &str = "check-0a1b2c3d";
    let bench = GateBench::start_with(|config| config.lanes.push(lane(CHECKED))).await;
    let keys = bench.deposit(CHECKED).await;
    let plan = Plan {
        settings: bench.settings(),
        deposit: deposit_keys(&keys),
        witness: None,
        through_gate: true,
        term: Term::FIRST,
        governance_suffices: false,
        least_days: 1,
    };
    let result = check(&plan).await.unwrap();
    assert!(
        result.open_doors().is_empty() && result.bad().is_empty(),
        "{}",
        result.table()
    );
    assert!(result.tried() > 20, "{}", result.table());
    assert!(!bench.lane(CHECKED).await.refused.is_empty());
}

//! Who holds the registry: home is fenced while the embassy does, and writes again only once it has adopted its release.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bench::mirror::MirrorBench;
use dataembassy_contract::Reason;
use dataembassy_contract::report::{Outcome, Report};
use dataembassy_ledger::entry::{CustodyBody, EntryRef, TermBody};
use dataembassy_ledger::value::Term;
use dataembassy_ledger::{ObjectKey, SigningKey};
use dataembassy_testkit::fault_proxy::Fault;
use hyper::Method;
use tokio::sync::Notify;

fn term(number: u64) -> Term {
    Term::new(number).unwrap()
}

fn opening(number: u64, source_head: Option<EntryRef>, signer: &SigningKey) -> TermBody {
    TermBody {
        source_head,
        next_term: term(number),
        signer: signer.public_key(),
        order: None,
        warrant: None,
    }
}

fn refused(report: &Report) -> bool {
    let run = report.recent_runs.first();
    run.is_some_and(|run| run.outcome == Outcome::Failed && run.reason == Reason::Fenced)
}

/// What the sidecar says about the fence, once it says these words.
async fn fenced(sidecar: &crate::bench::mirror::Sidecar, words: &str) -> String {
    let says = |report: &Report| {
        let fence = report.fenced.as_ref();
        fence.is_some_and(|fault| fault.reason == Reason::Fenced && fault.message.contains(words))
    };
    let report = sidecar.until(&format!("the fence, with {words}"), says).await;
    report.fenced.unwrap().message
}

#[tokio::test]
async fn home_is_fenced_while_the_embassy_serves_and_writes_again_once_the_release_is_adopted() {
    let mut bench = MirrorBench::start(17).await;
    bench.trust_custodian();
    let sidecar = bench.sidecar();
    assert!(sidecar.until_copy(1).await.fenced.is_none());

    let embassy = SigningKey::from_seed(&[5; 32]);
    let head = bench.ledger().await.head_reference();
    let activation = CustodyBody::Activation(opening(2, head, &embassy));
    bench.append_custody(activation).await;
    let objects = bench.objects().await;
    bench.config.trigger = Some("although it is fenced".into());
    bench.write_config();
    fenced(&sidecar, &embassy.public_key().to_string()).await;
    sidecar.until("the refusal", refused).await;
    assert_eq!(bench.objects().await, objects, "a fenced mirror sent something");
    assert_eq!(bench.whole_copies().await, 1);

    // The embassy writes on, and gives the registry back.
    let theirs = bench.append_source(&embassy, |_| ()).await;
    let release = CustodyBody::Release(opening(3, Some(theirs), &bench.signer));
    let release = bench.append_custody(release).await.digest.to_string();
    let message = fenced(&sidecar, &release).await;
    assert!(message.contains("adoptRelease"), "{message}");
    assert_eq!(
        bench.objects().await,
        objects,
        "it sent something before the release was adopted"
    );

    bench.config.adopt_release = Some(release);
    bench.write_config();
    let report = sidecar.until_copy(3).await;
    assert!(report.fenced.is_none(), "{report:#?}");
    assert_eq!(bench.whole_copies().await, 3);
    let head = bench.ledger().await.head.unwrap().entry.entry.object_key();
    assert!(
        matches!(&head, ObjectKey::Source { term: of, .. } if *of == term(3)),
        "{head}"
    );
}

#[tokio::test]
async fn a_copy_that_was_under_way_when_the_embassy_took_over_is_not_committed() {
    let mut bench = MirrorBench::start(17).await;
    bench.trust_custodian();
    let taken_over = Arc::new(Notify::new());
    let told = Arc::clone(&taken_over);
    let wait = Fault::before(move || {
        let told = Arc::clone(&told);
        async move { told.notified().await }
    });
    let is_manifest = |method: &Method, target: &str| method == Method::PUT && target.contains("/manifest-");
    bench.store.proxy.inject(1, wait, is_manifest);
    let sidecar = bench.sidecar();
    let begun = Instant::now();
    while !bench
        .store
        .proxy
        .seen()
        .iter()
        .any(|seen| is_manifest(&seen.method, &seen.target))
    {
        assert!(begun.elapsed() < Duration::from_mins(1), "no manifest was put");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let embassy = SigningKey::from_seed(&[5; 32]);
    bench
        .append_custody(CustodyBody::Activation(opening(2, None, &embassy)))
        .await;
    taken_over.notify_one();
    let report = sidecar.until("the refusal", refused).await;
    assert!(
        report.last_copy.is_none() && report.fenced.is_some(),
        "{report:#?}"
    );
    assert!(bench.ledger().await.head.is_none());
    let entries = bench
        .store
        .proxy
        .seen()
        .iter()
        .filter(|seen| seen.target.contains("/source/") && seen.method == Method::PUT)
        .count();
    assert_eq!(entries, 0, "an entry was sent");
}

//! Who holds the registry: home is fenced while the embassy does, says by whose order, and writes again only once it has adopted its release.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bench::activation::{approvers, embassy};
use crate::bench::mirror::{MirrorBench, Sidecar};
use crate::gate::bench::GateBench;
use dataembassy_contract::Reason;
use dataembassy_contract::config::Floor;
use dataembassy_contract::custodian::SignerConfig;
use dataembassy_contract::report::{Outcome, Report};
use dataembassy_ledger::activation::State;
use dataembassy_ledger::entry::{CustodyBody, EntryRef, TermBody};
use dataembassy_ledger::value::{Sha256Digest, Term};
use dataembassy_ledger::{ObjectKey, SigningKey};
use dataembassy_testkit::fault_proxy::{Fault, FaultProxy};
use dataembassy_testkit::minio::BUCKET;
use hyper::Method;
use tokio::sync::Notify;

const ORDER: &str = "the-day-1";
const TWO: [&str; 2] = ["anna", "chiara"];

fn term(number: u64) -> Term {
    Term::new(number).unwrap()
}

/// An opening that nobody has ordered.
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

/// What the sidecar says about the fence, once it says these words for this reason.
async fn fenced(sidecar: &Sidecar, reason: Reason, words: &str) -> String {
    let says = |report: &Report| {
        let fence = report.fenced.as_ref();
        fence.is_some_and(|fault| fault.reason == reason && fault.message.contains(words))
    };
    let report = sidecar
        .until(&format!("the fence, {reason} with {words}"), says)
        .await;
    report.fenced.unwrap().message
}

/// A mirror that trusts the custodian and knows who may order an activation, with its first copy made.
async fn bench() -> (MirrorBench, Sidecar) {
    let mut bench = MirrorBench::start(17).await;
    bench.config.embassy.approvers = Some(approvers());
    bench.trust_custodian();
    let sidecar = bench.sidecar();
    assert!(sidecar.until_copy(1).await.fenced.is_none());
    (bench, sidecar)
}

#[tokio::test]
async fn home_is_fenced_while_the_embassy_serves_and_writes_again_once_the_release_is_adopted() {
    let (mut bench, sidecar) = bench().await;
    let embassy = embassy();
    let head = bench.ledger().await.head_reference();
    bench.open_term(ORDER, State::Active, head, &embassy, &TWO).await;
    let objects = bench.objects().await;
    // Nothing is due for weeks: it is told all the same, within a minute.
    let begun = Instant::now();
    let message = fenced(&sidecar, Reason::Fenced, &embassy.public_key().to_string()).await;
    assert!(begun.elapsed() < Duration::from_mins(1));
    for words in [
        "order the-day-1, which anna, chiara approved",
        "at 20",
        "opened term 2",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert!(sidecar.report().await.unwrap().recent_runs.len() == 1);
    bench.config.trigger = Some("although it is fenced".into());
    bench.write_config();
    let report = sidecar.until("the refusal", refused).await;
    assert!(
        report.recent_runs[0].message.contains("order the-day-1"),
        "{report:#?}"
    );
    assert_eq!(bench.objects().await, objects, "a fenced mirror sent something");
    assert_eq!(bench.whole_copies().await, 1);

    // The embassy writes on, and gives the registry back.
    let theirs = bench.append_source(&embassy, |_| ()).await;
    let release = bench
        .open_term(
            "the-day-2",
            State::StoodDown,
            Some(theirs),
            &bench.signer,
            &["bertil", "chiara"],
        )
        .await
        .digest
        .to_string();
    let message = fenced(&sidecar, Reason::Fenced, &release).await;
    for words in ["adoptRelease", "order the-day-2, which bertil, chiara approved"] {
        assert!(message.contains(words), "{words}: {message}");
    }
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
async fn a_fence_that_too_few_have_ordered_stops_home_all_the_same_and_is_told_as_that() {
    let (mut bench, sidecar) = bench().await;
    let head = bench.ledger().await.head_reference();
    bench
        .open_term(ORDER, State::Active, head, &embassy(), &["anna"])
        .await;
    bench.config.trigger = Some("although it is fenced".into());
    bench.write_config();
    let message = fenced(&sidecar, Reason::FenceNotApproved, "1 did (anna)").await;
    for words in ["by order the-day-1", "opened term 2", "another channel"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    sidecar.until("the refusal", refused).await;
    assert_eq!(bench.whole_copies().await, 1);

    // What home was told decides what it says, and nothing of what it does.
    bench.config.embassy.approvers = None;
    bench.write_config();
    fenced(
        &sidecar,
        Reason::FenceNotApproved,
        "names nobody who may order it",
    )
    .await;
    let mut one = approvers();
    one.required = 1;
    bench.config.embassy.approvers = Some(one);
    bench.write_config();
    fenced(&sidecar, Reason::Fenced, "which anna approved").await;
    assert_eq!(bench.whole_copies().await, 1);
}

#[tokio::test]
async fn a_fence_without_an_order_is_told_and_a_release_without_one_is_not_to_be_adopted() {
    let (bench, sidecar) = bench().await;
    let head = bench.ledger().await.head_reference();
    bench
        .append_custody(CustodyBody::Activation(opening(2, head, &embassy())))
        .await;
    fenced(&sidecar, Reason::FenceNotApproved, "names no order at all").await;
    let release = opening(3, head, &bench.signer);
    bench.append_custody(CustodyBody::Release(release)).await;
    fenced(&sidecar, Reason::FenceNotApproved, "do not adopt it yet").await;
}

#[tokio::test]
async fn a_copy_that_was_under_way_when_the_embassy_took_over_is_not_committed() {
    let mut bench = MirrorBench::start(17).await;
    bench.config.embassy.approvers = Some(approvers());
    bench.trust_custodian();
    let is_manifest = |method: &Method, target: &str| method == Method::PUT && target.contains("/manifest-");
    let waiting = hold(&bench.store.proxy, is_manifest);
    let sidecar = bench.sidecar();
    until_seen(&bench, is_manifest).await;
    bench
        .open_term(ORDER, State::Active, None, &embassy(), &TWO)
        .await;
    waiting.notify_one();
    let report = sidecar.until("the refusal", refused).await;
    assert!(
        report.last_copy.is_none() && report.fenced.is_some(),
        "{report:#?}"
    );
    assert!(bench.ledger().await.head.is_none());
    assert_eq!(puts_of_entries(&bench), 0, "an entry was sent");
}

/// Keeps the first request of a kind from the store until it is told.
fn hold(proxy: &FaultProxy, is_it: impl Fn(&Method, &str) -> bool + Send + 'static) -> Arc<Notify> {
    let held = Arc::new(Notify::new());
    let told = Arc::clone(&held);
    let wait = Fault::before(move || {
        let told = Arc::clone(&told);
        async move { told.notified().await }
    });
    proxy.inject(1, wait, is_it);
    held
}

async fn until_seen(bench: &MirrorBench, is_it: impl Fn(&Method, &str) -> bool) {
    let begun = Instant::now();
    let proxy = &bench.store.proxy;
    while proxy.asked_for(|seen| is_it(&seen.method, &seen.target)) == 0 {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "no such request was sent"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn puts_of_entries(bench: &MirrorBench) -> usize {
    let proxy = &bench.store.proxy;
    proxy.asked_for(|seen| seen.target.contains("/source/") && seen.method == Method::PUT)
}

fn is_second_entry(method: &Method, target: &str) -> bool {
    method == Method::PUT && target.contains("/source/0001-000000000002")
}

/// The entry that home put behind the fence is there, is no copy, and forks nothing.
async fn assert_left_behind(bench: &MirrorBench, head: Option<EntryRef>) {
    let late = format!("registries/{}/source/0001-000000000002", crate::bench::REGISTRY);
    assert!(
        bench.store.minio.get(BUCKET, &late).await.is_ok(),
        "the entry did not arrive"
    );
    let ledger = bench.ledger().await;
    assert_eq!(ledger.head_reference(), head);
    assert!(ledger.alarms.is_empty(), "{:?}", ledger.alarms);
    assert_eq!(bench.whole_copies().await, 1);
    // The embassy takes the number in its own term.
    let theirs = bench.append_source(&embassy(), |_| ()).await;
    assert_eq!(theirs.sequence.get(), 2);
    assert_eq!(bench.whole_copies().await, 2);
}

#[tokio::test]
async fn an_entry_that_arrives_after_the_fence_is_not_called_a_copy_although_the_store_took_it() {
    let (mut bench, sidecar) = bench().await;
    let head = bench.ledger().await.head_reference();
    let waiting = hold(&bench.store.proxy, is_second_entry);
    bench.config.trigger = Some("in the last moment".into());
    bench.write_config();
    until_seen(&bench, is_second_entry).await;
    bench
        .open_term(ORDER, State::Active, head, &embassy(), &TWO)
        .await;
    waiting.notify_one();
    let report = sidecar.until("the refusal", refused).await;
    assert!(
        report.recent_runs[0].message.contains("order the-day-1"),
        "{report:#?}"
    );
    assert_eq!(report.last_copy.map(|copy| copy.sequence), Some(1));
    assert_left_behind(&bench, head).await;
    fenced(&sidecar, Reason::Fenced, "order the-day-1").await;
}

#[tokio::test]
async fn a_sidecar_that_slept_through_the_activation_in_mid_commit_wakes_up_fenced() {
    wakes_up_fenced_after(Duration::from_secs(12)).await;
}

/// Past everything that a commit waits for, and not only past the end of its run.
#[tokio::test]
#[ignore = "long: it sleeps for more than a minute"]
async fn a_sidecar_that_slept_past_its_patience_with_a_commit_wakes_up_fenced() {
    wakes_up_fenced_after(Duration::from_secs(65)).await;
}

async fn wakes_up_fenced_after(sleep: Duration) {
    let (mut bench, sidecar) = bench().await;
    let head = bench.ledger().await.head_reference();
    let waiting = hold(&bench.store.proxy, is_second_entry);
    bench.config.schedule.deadline = "10s".parse().unwrap();
    bench.config.trigger = Some("in the last moment".into());
    bench.write_config();
    until_seen(&bench, is_second_entry).await;
    sidecar.signal("STOP");
    let asleep = Instant::now();
    bench
        .open_term(ORDER, State::Active, head, &embassy(), &TWO)
        .await;
    // No gate stands in between: the store takes what comes.
    waiting.notify_one();
    let late = format!("registries/{}/source/0001-000000000002", crate::bench::REGISTRY);
    while bench.store.minio.get(BUCKET, &late).await.is_err() || asleep.elapsed() < sleep {
        assert!(
            asleep.elapsed() < sleep + Duration::from_mins(1),
            "the entry did not arrive"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sidecar.signal("CONT");
    let woken = Instant::now();
    fenced(&sidecar, Reason::Fenced, "order the-day-1").await;
    assert!(woken.elapsed() < Duration::from_mins(1));
    let report = sidecar
        .until("the end of the run", |report| {
            report.run.is_none() && report.recent_runs.len() > 1
        })
        .await;
    let copied = report
        .recent_runs
        .iter()
        .filter(|run| run.outcome == Outcome::Copied);
    assert_eq!(copied.count(), 1, "{report:#?}");
    assert_eq!(report.last_copy.map(|copy| copy.sequence), Some(1));
    assert_left_behind(&bench, head).await;
}

/// The same with a gate, as it should be: it was told to refuse home's puts before the embassy opened its term.
#[tokio::test]
async fn a_sidecar_that_slept_in_mid_commit_is_kept_out_by_the_gate_and_wakes_up_fenced() {
    let mut bench = MirrorBench::start(17).await;
    bench.config.embassy.approvers = Some(approvers());
    let mut gate = GateBench::between(&mut bench).await;
    let link = FaultProxy::start(gate.gate.to_string(), &gate.authority)
        .await
        .unwrap();
    bench.config.embassy.store.endpoint = link.endpoint();
    bench.trust_custodian();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    bench.config.schedule.deadline = "10s".parse().unwrap();
    let head = bench.ledger().await.head_reference();
    let waiting = hold(&link, is_second_entry);
    bench.config.trigger = Some("in the last moment".into());
    bench.write_config();
    let begun = Instant::now();
    while link.faults_left() > 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "no entry was put");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sidecar.signal("STOP");
    gate.configure(|config| config.lanes[0].fenced = true).await;
    bench
        .open_term(ORDER, State::Active, head, &embassy(), &TWO)
        .await;
    gate.configure(|config| config.lanes[0].term = 2).await;
    waiting.notify_one();
    tokio::time::sleep(Duration::from_secs(12)).await;
    sidecar.signal("CONT");
    fenced(&sidecar, Reason::Fenced, "order the-day-1").await;
    let report = sidecar
        .until("the end of the run", |report| {
            report.run.is_none() && report.recent_runs.len() > 1
        })
        .await;
    assert_eq!(
        report.last_copy.as_ref().map(|copy| copy.sequence),
        Some(1),
        "{report:#?}"
    );
    let late = format!("registries/{}/source/0001-000000000002", crate::bench::REGISTRY);
    assert!(
        bench.store.minio.get(BUCKET, &late).await.is_err(),
        "the gate let the entry in"
    );
    let ledger = bench.ledger().await;
    assert_eq!(ledger.head_reference(), head);
    assert!(ledger.alarms.is_empty(), "{:?}", ledger.alarms);
    assert_eq!(bench.append_source(&embassy(), |_| ()).await.sequence.get(), 2);
    assert_eq!(bench.whole_copies().await, 2);
}

#[tokio::test]
async fn home_that_knows_an_entry_behind_the_fence_is_told_of_the_fence_and_comes_home_by_the_release() {
    let (mut bench, sidecar) = bench().await;
    let head = bench.ledger().await.head_reference();
    bench.config.trigger = Some("a second copy".into());
    bench.write_config();
    let report = sidecar.until_copy(2).await;
    let known = report.head.unwrap();
    // The custodian had read the head before: past a gate that was open, home got in between.
    bench.config.floor = Some(Floor {
        sequence: known.sequence,
        digest: known.digest,
    });
    bench.write_config();
    bench
        .open_term(ORDER, State::Active, head, &embassy(), &TWO)
        .await;
    fenced(&sidecar, Reason::Fenced, "order the-day-1").await;
    let theirs = bench.append_source(&embassy(), |_| ()).await;
    let release = bench
        .open_term("the-day-2", State::StoodDown, Some(theirs), &bench.signer, &TWO)
        .await
        .digest;
    bench.config.adopt_release = Some(release.to_string());
    bench.config.trigger = Some("home again".into());
    bench.write_config();
    let report = sidecar.until_copy(3).await;
    assert!(report.fenced.is_none(), "{report:#?}");
    assert_eq!(bench.whole_copies().await, 3);
}

#[tokio::test]
async fn home_that_ran_ahead_behind_the_fence_comes_home_to_a_release_below_what_it_knows() {
    let (mut bench, sidecar) = bench().await;
    let head = bench.ledger().await.head_reference();
    for (number, trigger) in [(2, "a second copy"), (3, "a third copy")] {
        bench.config.trigger = Some(trigger.into());
        bench.write_config();
        sidecar.until_copy(number).await;
    }
    let late = bench.ledger().await.head_reference().unwrap();
    assert_eq!(late.sequence.get(), 3);
    // As the operator at home remembers it.
    bench.config.floor = Some(Floor {
        sequence: late.sequence.get(),
        digest: late.digest.to_string(),
    });
    bench.write_config();
    bench
        .open_term(ORDER, State::Active, head, &embassy(), &TWO)
        .await;
    fenced(&sidecar, Reason::Fenced, "order the-day-1").await;
    let theirs = bench.append_source(&embassy(), |_| ()).await;
    assert_eq!(theirs.sequence.get(), 2);
    let release = bench
        .open_term("the-day-2", State::StoodDown, Some(theirs), &bench.signer, &TWO)
        .await
        .digest;

    // Whoever restores the released copy at home knows the same head.
    let read = bench.read_from(Some(late)).await.unwrap();
    assert_eq!(read.head_reference(), Some(theirs));
    // What was never there, or is somebody else's, is a roll-back as ever.
    let never = EntryRef {
        sequence: late.sequence,
        digest: Sha256Digest::of(b"another entry"),
    };
    let further = EntryRef {
        sequence: late.sequence.next().unwrap(),
        digest: late.digest,
    };
    for floor in [never, further] {
        let read = bench.read_from(Some(floor)).await.map(drop);
        assert_eq!(read.unwrap_err().reason(), Reason::RolledBack, "{floor:?}");
    }

    bench.config.adopt_release = Some(release.to_string());
    bench.config.trigger = Some("home again".into());
    bench.write_config();
    let report = sidecar
        .until("a copy of the next term", |report| {
            let copy = report.last_copy.as_ref();
            report.fenced.is_none()
                && copy.is_some_and(|copy| copy.sequence == 3 && copy.digest != late.digest.to_string())
        })
        .await;
    assert!(report.recent_runs[0].outcome == Outcome::Copied, "{report:#?}");
    let home = bench.ledger().await.head_reference().unwrap();
    assert_ne!(home.digest, late.digest);

    // A head of the term that goes on is missed when it is gone, whatever lies behind older fences.
    let gone = EntryRef {
        sequence: home.sequence.next().unwrap(),
        digest: home.digest,
    };
    let read = bench.read_from(Some(gone)).await.map(drop);
    assert_eq!(read.unwrap_err().reason(), Reason::RolledBack);
    // Where the entry behind the fence was taken away, nobody can tell that it was one.
    let read = bench.read_from(Some(late)).await.unwrap();
    assert_eq!(read.head_reference(), Some(home));
    bench.remove_source(1, late.sequence.get());
    let read = bench.read_from(Some(late)).await.map(drop);
    assert_eq!(read.unwrap_err().reason(), Reason::RolledBack);
}

#[tokio::test]
async fn the_circle_home_embassy_home_keeps_every_copy_and_counts_on() {
    let (mut bench, at_home) = bench().await;
    let head = bench.ledger().await.head_reference().unwrap();
    bench
        .open_term(ORDER, State::Active, Some(head), &embassy(), &TWO)
        .await;
    fenced(&at_home, Reason::Fenced, "order the-day-1").await;

    // The embassy's own mirror, of the database that it serves, with the key that the order names.
    let home = bench.config.clone();
    let served = bench.database.server.database().await.unwrap();
    served
        .execute("CREATE TABLE person AS SELECT i AS id, 'abroad' AS name FROM generate_series(1, 500) i")
        .await
        .unwrap();
    let folder = bench.move_to(tempfile::tempdir().unwrap(), &embassy()).await;
    bench
        .config
        .source
        .postgresql
        .as_mut()
        .unwrap()
        .database
        .clone_from(&served.name);
    bench.config.signers = vec![SignerConfig {
        public_key: bench.signer.public_key().to_string(),
        from_sequence: 1,
        until_sequence: None,
    }];
    bench.config.floor = Some(Floor {
        sequence: head.sequence.get(),
        digest: head.digest.to_string(),
    });
    bench.config.trigger = Some("the first one abroad".into());
    bench.write_config();
    let abroad = bench.second_sidecar();
    abroad.until_copy(2).await;
    bench.config.trigger = Some("the last one abroad".into());
    bench.write_config();
    let report = abroad.until_copy(3).await;
    assert!(report.fenced.is_none(), "{report:#?}");
    assert_eq!(report.suspicious, None, "{report:#?}");

    let last = bench.ledger().await.head_reference().unwrap();
    let release = bench
        .open_term("the-day-2", State::StoodDown, Some(last), &bench.signer, &TWO)
        .await
        .digest;
    fenced(&abroad, Reason::Fenced, "order the-day-2").await;
    fenced(&at_home, Reason::Fenced, "adoptRelease").await;

    bench.folder = folder;
    let stale = home.clone();
    bench.config = home;
    bench.config.adopt_release = Some(release.to_string());
    bench.config.trigger = Some("home again".into());
    bench.write_config();
    let report = at_home.until_copy(4).await;
    assert!(report.fenced.is_none(), "{report:#?}");
    // The embassy's mirror stays where it is, and out.
    bench.config.trigger = Some("and once more".into());
    bench.write_config();
    at_home.until_copy(5).await;
    assert_eq!(bench.whole_copies().await, 5);
    let keys = bench
        .store
        .minio
        .keys(BUCKET, &format!("registries/{}/source/", crate::bench::REGISTRY))
        .await
        .unwrap();
    let places: Vec<&str> = keys.iter().filter_map(|key| key.rsplit('/').next()).collect();
    assert_eq!(
        places,
        [
            "0001-000000000001",
            "0002-000000000002",
            "0002-000000000003",
            "0003-000000000004",
            "0003-000000000005",
        ]
    );

    // Home's first disk, as it was before all of that, with its own key: it commits in no term.
    let signer = bench.signer.clone();
    let _at_home = bench.move_to(tempfile::tempdir().unwrap(), &signer).await;
    bench.config = stale;
    bench.config.trigger = Some("from the old disk".into());
    bench.write_config();
    let old_disk = bench.second_sidecar();
    old_disk.until("its run to be refused", refused).await;
    fenced(&old_disk, Reason::Fenced, "adoptRelease").await;
    assert_eq!(bench.whole_copies().await, 5);
    assert_eq!(bench.ledger().await.head_reference().unwrap().sequence.get(), 5);
}

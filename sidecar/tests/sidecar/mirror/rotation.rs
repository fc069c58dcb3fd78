//! What a mirror holds is exchanged while it runs: no copy is lost, none is made by what was retired, and what was done before stays good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataembassy_archive::{CopyKey, Identities};
use dataembassy_contract::config::RecipientConfig;
use dataembassy_contract::report::{CheckState, FinishedRun, Outcome, Report};
use dataembassy_contract::{Reason, files};
use dataembassy_ledger::SigningKey;
use dataembassy_ledger::entry::{CustodyBody, IntactCopy, ProofBody, SourceBody, Standing};
use dataembassy_ledger::value::Timestamp;
use dataembassy_testkit::authority::Authority;
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::postgresql::{PASSWORD, Server};
use hyper::Method;
use tokio::sync::Notify;

use crate::bench::mirror::{MirrorBench, Sidecar};
use crate::bench::sequence;
use crate::restore::embassy::age_keygen;

/// Asks for one more copy, which becomes the one of this number.
pub(super) async fn copy_again(bench: &mut MirrorBench, sidecar: &Sidecar, number: u64) -> Report {
    bench.config.trigger = Some(format!("copy {number}"));
    bench.write_config();
    sidecar.until_copy(number).await
}

/// Asks for one more copy and holds it where its first segment is on the way, until it is told.
pub(super) async fn copy_held(bench: &mut MirrorBench, number: u64) -> Arc<Notify> {
    let is_segment = |method: &Method, target: &str| method == Method::PUT && target.contains("/copies/");
    let told = Arc::new(Notify::new());
    let wait = Arc::clone(&told);
    let hold = Fault::before(move || {
        let wait = Arc::clone(&wait);
        async move { wait.notified().await }
    });
    bench.store.proxy.inject(1, hold, is_segment);
    bench.config.trigger = Some(format!("copy {number}"));
    bench.write_config();
    let begun = Instant::now();
    while bench.store.proxy.faults_left() > 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "no copy was begun");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    told
}

#[tokio::test]
async fn a_recipient_is_exchanged_while_the_mirror_runs_and_each_copy_opens_for_those_it_was_made_for() {
    let (former, next) = (age_keygen(), age_keygen());
    let recipient = |name: &str, identity: &str| RecipientConfig {
        name: name.into(),
        public_key: identity
            .lines()
            .find_map(|line| line.strip_prefix("# public key: "))
            .unwrap()
            .into(),
    };
    let mut bench = MirrorBench::start(17).await;
    bench.config.embassy.recipients = vec![recipient("former", &former)];
    bench.write_config();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let mut copy_keys = Vec::new();
    for recipients in [
        vec![recipient("former", &former), recipient("next", &next)],
        vec![recipient("next", &next)],
    ] {
        copy_keys.push(copy_key(&bench).await);
        bench.config.embassy.recipients = recipients;
        let number = copy_keys.len() as u64 + 1;
        copy_again(&mut bench, &sidecar, number).await;
    }
    copy_keys.push(copy_key(&bench).await);
    let opens = |identity: &str| {
        let identities = Identities::parse(identity).unwrap();
        let opened = copy_keys
            .iter()
            .map(|copy_key| CopyKey::unwrap(copy_key, &identities).is_ok());
        opened.collect::<Vec<_>>()
    };
    assert_eq!(opens(&former), [true, true, false]);
    assert_eq!(opens(&next), [false, true, true]);
    assert_eq!(bench.whole_copies().await, 3);
}

/// The latest copy's own key, sealed to its recipients.
async fn copy_key(bench: &MirrorBench) -> String {
    let head = bench.ledger().await.head.unwrap();
    let SourceBody::Copy(copy) = head.entry.entry.body;
    copy.copy_key
}

#[tokio::test]
async fn a_mirrors_signing_key_is_exchanged_while_it_runs_and_each_signs_in_its_own_range() {
    let mut bench = MirrorBench::start(17).await;
    let next = SigningKey::from_seed(&[2; 32]);
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    // In this order nothing is ever signed by a key that is not named.
    let former = bench.retire_signer(1, &next);
    bench.write_secret(files::SIGNING_KEY, &next.to_openssh().unwrap());
    let shown = next.public_key().to_string();
    sidecar
        .until("the new key", |report| {
            report.signer.as_deref() == Some(shown.as_str())
        })
        .await;
    let report = copy_again(&mut bench, &sidecar, 2).await;
    assert_eq!(report.store.state, CheckState::True, "{report:#?}");
    let ledger = bench.ledger().await;
    assert_eq!(ledger.head_reference().unwrap().sequence, sequence(2));
    assert!(ledger.alarms.is_empty(), "{:?}", ledger.alarms);
    assert_eq!(bench.whole_copies().await, 2);

    // Who has stolen the former key makes no copy with it any more.
    bench.append_source(&former, |_| ()).await;
    let told = |report: &Report| report.store.reason == Reason::ForeignSignature;
    let report = sidecar.until("the former key's entry to be told", told).await;
    assert_eq!(report.last_copy.unwrap().sequence, 2);
}

#[tokio::test]
async fn a_signing_key_that_is_exchanged_amid_a_copy_leaves_no_entry_of_the_retired_one() {
    let mut bench = MirrorBench::start(17).await;
    let next = SigningKey::from_seed(&[2; 32]);
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let go_on = copy_held(&mut bench, 2).await;
    bench.retire_signer(1, &next);
    bench.write_secret(files::SIGNING_KEY, &next.to_openssh().unwrap());
    let is_shown = |report: &Report| report.signer == Some(next.public_key().to_string());
    sidecar.until("the new key", is_shown).await;
    go_on.notify_one();
    sidecar.until_copy(2).await;
    let ledger = bench.ledger().await;
    assert!(ledger.alarms.is_empty(), "{:?}", ledger.alarms);
    assert_eq!(ledger.head.unwrap().entry.signer, next.public_key());
    let report = copy_again(&mut bench, &sidecar, 3).await;
    assert_eq!(report.store.state, CheckState::True, "{report:#?}");
    assert_eq!(bench.whole_copies().await, 3);
}

#[tokio::test]
async fn a_mirror_that_is_pointed_elsewhere_amid_a_copy_signs_nothing_there() {
    let mut bench = MirrorBench::start(17).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let go_on = copy_held(&mut bench, 2).await;
    bench.config.embassy.store.bucket = "another".into();
    bench.config.generation += 1;
    bench.write_config();
    let generation = bench.config.generation;
    let is_loaded = |report: &Report| {
        report
            .loaded
            .as_ref()
            .is_some_and(|loaded| loaded.generation == generation)
    };
    sidecar.until("the new configuration", is_loaded).await;
    go_on.notify_one();
    let has_ended = |report: &Report| {
        let run = report.recent_runs.first();
        run.is_some_and(|run| run.message.contains("was changed while it copied"))
    };
    sidecar.until("the run to be given up", has_ended).await;
    assert_eq!(bench.whole_copies().await, 1);
}

#[tokio::test]
async fn a_key_that_is_retired_and_still_mounted_signs_nothing_and_a_range_that_ends_too_early_is_told() {
    let mut bench = MirrorBench::start(17).await;
    let next = SigningKey::from_seed(&[2; 32]);
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    copy_again(&mut bench, &sidecar, 2).await;
    let former = bench.retire_signer(2, &next);
    bench.config.trigger = Some("between".into());
    bench.write_config();
    let told = |report: &Report| report.store.reason == Reason::ForeignSignature;
    let report = sidecar.until("the retired key to be told", told).await;
    assert!(
        report.store.message.contains(&former.public_key().to_string()),
        "{}",
        report.store.message
    );
    assert_eq!(bench.whole_copies().await, 2);

    bench.write_secret(files::SIGNING_KEY, &next.to_openssh().unwrap());
    let previous = &mut bench.config.previous_keys[0];
    previous.until_sequence = 1;
    bench.write_config();
    let told = |report: &Report| {
        report
            .store
            .message
            .contains("with the last entry that it signed")
    };
    sidecar.until("what to do about entry 2", told).await;
    bench.config.previous_keys[0].until_sequence = 2;
    bench.write_config();
    sidecar.until_copy(3).await;
    assert_eq!(bench.whole_copies().await, 3);
}

#[tokio::test]
async fn a_custodians_key_is_exchanged_while_the_mirror_runs_and_proves_up_to_its_last_entry() {
    let mut bench = MirrorBench::start(17).await;
    bench.trust_custodian();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let proven = |number: u64| {
        move |report: &Report| {
            let proof = report.last_proof.as_ref();
            report.intact.state == CheckState::True && proof.is_some_and(|proof| proof.sequence == number)
        }
    };
    bench.append_custody(proof_of_the_head(&bench).await).await;
    sidecar.until("the former key's proof", proven(1)).await;
    let former = bench.retire_custodian(1, &SigningKey::from_seed(&[10; 32]));
    copy_again(&mut bench, &sidecar, 2).await;
    bench.append_custody(proof_of_the_head(&bench).await).await;
    sidecar.until("the new key's proof", proven(2)).await;

    // What the former key signs from now on proves nothing.
    copy_again(&mut bench, &sidecar, 3).await;
    let body = proof_of_the_head(&bench).await;
    bench.append_custody_as(&former, body).await;
    let unproven = |report: &Report| report.suspicious.is_some();
    let report = sidecar.until("the former key's entry to be told", unproven).await;
    assert_eq!(report.last_proof.unwrap().sequence, 2);
}

/// That the latest copy was read back just now.
async fn proof_of_the_head(bench: &MirrorBench) -> CustodyBody {
    let head = bench.ledger().await.head_reference().unwrap();
    CustodyBody::Proof(ProofBody {
        intact: Some(IntactCopy {
            sequence: head.sequence,
            digest: head.digest,
            at: Timestamp::from_jiff(jiff::Timestamp::now()).unwrap(),
        }),
        standing: Some(Standing::default()),
        ..ProofBody::new(head)
    })
}

#[tokio::test]
async fn deposit_credentials_that_are_exchanged_amid_a_copy_cost_that_copy_and_no_restart() {
    let mut bench = MirrorBench::start(17).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let go_on = copy_held(&mut bench, 2).await;
    let keys = bench.store.deposit_keys().await;
    let minio = &bench.store.minio;
    let keys = minio
        .change_secret(&keys, "another-secret-of-a-test")
        .await
        .unwrap();
    bench.write_secret(files::DEPOSIT_SECRET_ACCESS_KEY, &keys.secret_key);
    go_on.notify_one();
    let report = sidecar.until_copy(2).await;
    let refused = |run: &&FinishedRun| run.reason == Reason::StoreCredentialsRefused;
    assert!(report.recent_runs.iter().any(|run| refused(&run)), "{report:#?}");
    copy_again(&mut bench, &sidecar, 3).await;
    assert_eq!(bench.whole_copies().await, 3);
}

#[tokio::test]
async fn the_stores_authority_is_exchanged_while_the_mirror_runs() {
    let mut bench = MirrorBench::start(17).await;
    let former = bench.store.minio.authority().certificate();
    let next = Authority::new("the store's next authority").unwrap();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    // First both are trusted, then the store shows what the next one signed, then the former one goes.
    bench.config.embassy.store.ca_bundle = Some(format!("{former}{}", next.certificate()));
    copy_again(&mut bench, &sidecar, 2).await;
    let certificate = next.sign(&["127.0.0.1", "localhost"]).unwrap();
    bench.store.proxy.show(&certificate).unwrap();
    copy_again(&mut bench, &sidecar, 3).await;
    bench.config.embassy.store.ca_bundle = Some(next.certificate());
    copy_again(&mut bench, &sidecar, 4).await;
    let runs = sidecar.report().await.unwrap().recent_runs;
    assert!(runs.iter().all(|run| run.outcome == Outcome::Copied), "{runs:#?}");

    // Who trusts the former one alone does not talk to the store any more.
    bench.config.embassy.store.ca_bundle = Some(former);
    bench.write_config();
    sidecar
        .until("the fault", |report| report.store.state == CheckState::False)
        .await;
}

#[tokio::test]
async fn the_databases_authority_is_exchanged_while_the_mirror_runs() {
    let server = Server::lasting(17).unwrap();
    let mut bench = MirrorBench::of(server.database().await.unwrap()).await;
    let former = server.authority().certificate();
    let next = Authority::new("the database's next authority").unwrap();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    bench.write_secret(files::DATABASE_CA, &format!("{former}{}", next.certificate()));
    copy_again(&mut bench, &sidecar, 2).await;
    server
        .show(&next.sign(&["localhost", "127.0.0.1"]).unwrap())
        .unwrap();
    copy_again(&mut bench, &sidecar, 3).await;
    bench.write_secret(files::DATABASE_CA, &next.certificate());
    copy_again(&mut bench, &sidecar, 4).await;
    let runs = sidecar.report().await.unwrap().recent_runs;
    assert!(runs.iter().all(|run| run.outcome == Outcome::Copied), "{runs:#?}");

    bench.write_secret(files::DATABASE_CA, &former);
    sidecar
        .until("the fault", |report| report.source.state == CheckState::False)
        .await;
}

#[tokio::test]
async fn a_database_password_that_is_exchanged_amid_a_copy_costs_no_copy() {
    let mut bench = MirrorBench::start(17).await;
    let role = format!("dump_of_{}", bench.database.name);
    let make = format!("CREATE ROLE {role} LOGIN BYPASSRLS PASSWORD '{PASSWORD}' IN ROLE pg_read_all_data");
    bench.database.execute(&make).await.unwrap();
    bench.write_secret(files::DATABASE_USERNAME, &role);
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let go_on = copy_held(&mut bench, 2).await;
    let change = format!("ALTER ROLE {role} PASSWORD 'the next password of a test'");
    bench.database.execute(&change).await.unwrap();
    bench.write_secret(files::DATABASE_PASSWORD, "the next password of a test");
    go_on.notify_one();
    sidecar.until_copy(2).await;
    let report = copy_again(&mut bench, &sidecar, 3).await;
    let runs = report.recent_runs;
    assert!(runs.iter().all(|run| run.outcome == Outcome::Copied), "{runs:#?}");
    assert_eq!(bench.whole_copies().await, 3);
}

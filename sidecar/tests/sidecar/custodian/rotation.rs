//! What a custodian holds or judges by is exchanged while it runs: it goes on, and what was retired counts no more.

use std::sync::Arc;

use dataembassy_contract::config::ApproversConfig;
use dataembassy_contract::custodian::{
    CustodianReport, OrderBody, OrderConfig, RegistryReport, RetiredFor, SignerConfig, TrustedCustodian,
};
use dataembassy_contract::report::CheckState;
use dataembassy_contract::{Reason, files};
use dataembassy_ledger::SigningKey;
use dataembassy_ledger::activation::{State, Statement};
use dataembassy_ledger::entry::{CustodyBody, EntryRef};
use dataembassy_testkit::fabricated::{MadeCopy, Shape};
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::{BUCKET, StoreUser};
use hyper::Method;
use tokio::sync::Notify;

use crate::bench::REGISTRY;
use crate::bench::activation::{approvers, embassy, signed, statement, with_floor};
use crate::bench::custodian::{CustodianBench, custodian_key, home};

/// Whether the copy of this number is the latest, and its proof is signed.
pub(super) fn proven(number: u64) -> impl Fn(&RegistryReport) -> bool {
    move |report| {
        let head = report.source_head.as_ref();
        head.is_some_and(|head| head.sequence == number)
            && report.intact.state == CheckState::True
            && report.custody_head.is_some()
            && u64::from(report.verification.verified) == number
    }
}

#[tokio::test]
async fn a_mirrors_key_is_exchanged_and_the_custodian_proves_each_in_its_own_range() {
    let mut bench = CustodianBench::start().await;
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = custodian.until_registry("the first proof", proven(1)).await;
    bench.remember(&report);
    let next = SigningKey::from_seed(&[2; 32]);
    let signer = |key: &SigningKey, from_sequence, until_sequence| SignerConfig {
        public_key: key.public_key().to_string(),
        from_sequence,
        until_sequence,
    };
    bench.config.registries[0].signers = vec![signer(&home(), 1, Some(1)), signer(&next, 2, None)];
    bench.write_config();
    bench.ledger.sign_on_with(next);
    bench.copies(1, &Shape::default()).await;
    let report = custodian.until_registry("the second proof", proven(2)).await;
    assert!(report.alarms.is_empty(), "{:#?}", report.alarms);

    // The former key's entries are no copies any more.
    bench.ledger.sign_on_with(home());
    bench.copies(1, &Shape::default()).await;
    let report = custodian
        .until_registry("the former key to be told", |report| !report.alarms.is_empty())
        .await;
    assert_eq!(report.source_head.unwrap().sequence, 2);
}

#[tokio::test]
async fn a_custodians_own_key_is_exchanged_while_it_runs_and_the_chain_goes_on() {
    let mut bench = CustodianBench::start().await;
    bench.timing.push(("--prove-every", "1s"));
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let report = custodian.until_registry("the first proof", proven(1)).await;
    bench.remember(&report);
    let next = SigningKey::from_seed(&[10; 32]);
    let trusted = |key: &SigningKey, retired| TrustedCustodian {
        public_key: key.public_key().to_string(),
        retired,
    };
    // Until the custodian has loaded the new key it may sign a few more with the former one.
    let last = report.custody_head.unwrap().sequence + 100;
    let retired = RetiredFor {
        registry: REGISTRY.into(),
        until_sequence: last,
    };
    bench.config.custodian_keys = vec![
        trusted(&custodian_key(), vec![retired]),
        trusted(&next, Vec::new()),
    ];
    bench.write(files::CUSTODY_SIGNING_KEY, &next.to_openssh().unwrap());
    bench.write_config();
    let mut copies = 1;
    let keys = loop {
        copies += 1;
        bench.copies(1, &Shape::default()).await;
        let report = custodian.until_registry("its proof", proven(copies)).await;
        assert!(report.alarms.is_empty(), "{:#?}", report.alarms);
        let keys = bench.custody_signers().await;
        if keys.last() == Some(&next.public_key()) {
            break keys;
        }
        assert!(copies < 60, "the former key signs on and on");
    };
    assert_eq!(keys.first(), Some(&custodian_key().public_key()));
}

#[tokio::test]
async fn custody_credentials_are_exchanged_while_the_custodian_runs() {
    let mut bench = CustodianBench::start().await;
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    custodian.until_registry("the first proof", proven(1)).await;
    let keys = bench.minio.add_user(BUCKET, &StoreUser::Custody).await.unwrap();
    let keys = bench
        .minio
        .change_secret(&keys, "another-secret-of-a-test")
        .await
        .unwrap();
    let refused = |report: &CustodianReport| report.store.state == CheckState::False;
    let report = custodian.until("the former secret to be refused", refused).await;
    assert_eq!(report.store.reason, Reason::StoreCredentialsRefused);
    bench.write(files::CUSTODY_SECRET_ACCESS_KEY, &keys.secret_key);
    bench.copies(1, &Shape::default()).await;
    custodian.until_registry("the second proof", proven(2)).await;
}

#[tokio::test]
async fn custody_credentials_that_are_exchanged_amid_a_reading_cost_no_proof_and_no_restart() {
    let mut bench = CustodianBench::start().await;
    let told = Arc::new(Notify::new());
    let wait = Arc::clone(&told);
    let hold = Fault::before(move || {
        let wait = Arc::clone(&wait);
        async move { wait.notified().await }
    });
    let is_segment = |method: &Method, target: &str| {
        let is_other = target.contains("manifest") || target.contains("inventory");
        method == Method::GET && target.contains("/copies/") && !is_other
    };
    bench.proxy.inject(1, hold, is_segment);
    bench.copies(1, &Shape::default()).await;
    let custodian = bench.custodian();
    let is_held = |_: &CustodianReport| bench.proxy.faults_left() == 0;
    custodian.until("a segment that is being read", is_held).await;
    let keys = bench.minio.add_user(BUCKET, &StoreUser::Custody).await.unwrap();
    let keys = bench
        .minio
        .change_secret(&keys, "another-secret-of-a-test")
        .await
        .unwrap();
    bench.write(files::CUSTODY_SECRET_ACCESS_KEY, &keys.secret_key);
    // What was signed with the former secret is sent on only now, and refused.
    told.notify_one();
    custodian.until_registry("the first proof", proven(1)).await;
    // Whoever was refused before it had read the new secret says so until the next look.
    let is_calm = |report: &RegistryReport| report.alarms.is_empty();
    custodian.until_registry("no alarm", is_calm).await;
    bench.copies(1, &Shape::default()).await;
    custodian.until_registry("the second proof", proven(2)).await;
}

fn order(id: &str, statement: &Statement, names: &[&str]) -> OrderConfig {
    OrderConfig {
        id: id.into(),
        registry: REGISTRY.into(),
        body: OrderBody::Activate(Box::new(signed(statement, names))),
    }
}

/// What these people would be asked to sign.
fn statement_for(bench: &CustodianBench, id: &str, floor: &MadeCopy, who: &ApproversConfig) -> Statement {
    let who = who.clone().checked().unwrap();
    Statement {
        required: who.required(),
        approvers: who.digest(),
        ..with_floor(
            statement(bench.origin.store_id, id, State::Active, embassy().public_key()),
            1,
            floor.reference,
        )
    }
}

#[tokio::test]
async fn an_approver_is_exchanged_and_who_left_orders_nothing_more() {
    let mut bench = CustodianBench::start().await;
    let made = bench.copies(1, &Shape::default()).await;
    let (mut former, mut next) = (approvers(), approvers());
    former.approvers.retain(|one| one.name != "chiara");
    next.approvers.retain(|one| one.name != "anna");
    bench.config.approvers = Some(former.clone());
    bench.write_config();
    let custodian = bench.custodian();
    custodian.until_registry("the first proof", proven(1)).await;
    bench.config.approvers = Some(next.clone());
    bench.write_config();
    // Signed while anna was an approver, and ordered afterwards.
    let of_former = statement_for(&bench, "of-the-former", &made[0], &former);
    let of_next = statement_for(&bench, "of-the-next", &made[0], &next);
    bench.config.orders = vec![order("of-the-former", &of_former, &["anna", "bertil"])];
    bench.write_config();
    let (reason, message) = custodian
        .until_refused("of-the-former", "made for other approvers")
        .await;
    assert_eq!(reason, Reason::NotApproved, "{message}");
    let with_anna = statement_for(&bench, "with-anna", &made[0], &next);
    bench.config.orders = vec![order("with-anna", &with_anna, &["anna", "bertil"])];
    bench.write_config();
    let (reason, message) = custodian.until_refused("with-anna", "1 did (bertil)").await;
    assert_eq!(reason, Reason::NotApproved, "{message}");
    bench.config.orders = vec![order("of-the-next", &of_next, &["bertil", "chiara"])];
    bench.write_config();
    custodian.until_done("of-the-next").await;
    let fenced = bench
        .custody_entries()
        .await
        .into_iter()
        .filter_map(|body| match body {
            CustodyBody::Activation(body) => body.source_head,
            _ => None,
        });
    let fenced: Vec<EntryRef> = fenced.collect();
    assert_eq!(fenced, [made[0].reference]);
}

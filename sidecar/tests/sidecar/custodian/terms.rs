//! Terms that people order: home is fenced at the head that there is, once, by nobody but those who may, and whatever else is wrong.

use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{OrderBody, OrderConfig, OrderState, RegistryReport, TermHolder};
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::activation::{Mode, State, Statement, Warrant};
use dataembassy_ledger::chain::CustodyView;
use dataembassy_ledger::entry::{CustodyBody, EntryRef, TermBody};
use dataembassy_ledger::value::Timestamp;
use dataembassy_ledger::{ObjectKey, Sha256Digest, SigningKey};
use dataembassy_testkit::fabricated::{MadeCopy, Shape};
use dataembassy_testkit::fault_proxy::Fault;
use dataembassy_testkit::minio::{BUCKET, BucketKind};
use hyper::{Method, StatusCode};
use jiff::SignedDuration;

use crate::bench::activation::{approval, approvers, embassy, key_of, signed, statement, with_floor};
use crate::bench::custodian::{
    Custodian, CustodianBench, DEADLINE, alarm, answer, custodian_key, home, newest_only, on_disk,
};
use crate::bench::drill;
use crate::bench::{REGISTRY, sequence};

const ORDER: &str = "the-day-1";
const BACK: &str = "the-day-2";

fn activate(id: &str, warrant: Warrant) -> OrderConfig {
    OrderConfig {
        id: id.into(),
        registry: REGISTRY.into(),
        body: OrderBody::Activate(Box::new(warrant)),
    }
}

fn release(id: &str, warrant: Warrant) -> OrderConfig {
    OrderConfig {
        body: OrderBody::Release(Box::new(warrant)),
        ..activate(id, warrant_of_nothing())
    }
}

fn warrant_of_nothing() -> Warrant {
    Warrant {
        statement: String::new(),
        approvals: Vec::new(),
    }
}

/// A store with approvers, and copies of home.
async fn bench(copies: usize) -> (CustodianBench, Vec<MadeCopy>) {
    let mut bench = CustodianBench::start().await;
    bench.config.approvers = Some(approvers());
    bench.write_config();
    let made = bench.copies(copies, &Shape::default()).await;
    (bench, made)
}

/// What orders the activation of what was made so far.
fn activation(bench: &CustodianBench, order: &str, floor: &MadeCopy) -> Statement {
    let signer = embassy().public_key();
    let statement = statement(bench.origin.store_id, order, State::Active, signer);
    with_floor(statement, 1, floor.reference)
}

fn standing_down(bench: &CustodianBench, order: &str, floor: &MadeCopy) -> Statement {
    let signer = home().public_key();
    let statement = statement(bench.origin.store_id, order, State::StoodDown, signer);
    with_floor(statement, 2, floor.reference)
}

async fn openings(bench: &CustodianBench) -> Vec<TermBody> {
    let entries = bench.custody_entries().await.into_iter();
    entries
        .filter_map(|body| match body {
            CustodyBody::Activation(body) | CustodyBody::Release(body) => Some(body),
            _ => None,
        })
        .collect()
}

async fn until_waiting(custodian: &Custodian, order: &str, wanted: Reason) -> String {
    let waits = |report: &RegistryReport| match answer(report, order) {
        Some(OrderState::Waiting { reason, message }) if reason == wanted => Some(message),
        _ => None,
    };
    let what = format!("{order} to wait because of {wanted}");
    let report = custodian
        .until_registry(&what, |report| waits(report).is_some())
        .await;
    waits(&report).unwrap()
}

/// One activation is in the chain, at this head, by the order that two have approved.
async fn assert_fenced_once(bench: &CustodianBench, head: Option<EntryRef>) -> TermBody {
    let openings = openings(bench).await;
    let [opening] = openings.as_slice() else {
        panic!("there must be one opening: {openings:#?}");
    };
    assert_eq!(opening.source_head, head);
    assert_eq!(opening.next_term.get(), 2);
    assert_eq!(opening.signer, embassy().public_key());
    assert_eq!(
        opening.order.as_ref().map(ToString::to_string).as_deref(),
        Some(ORDER)
    );
    let approved = approvers()
        .checked()
        .unwrap()
        .approve(opening.warrant.as_ref().unwrap());
    assert_eq!(approved.map_or(0, |names| names.len()), 2);
    opening.clone()
}

#[tokio::test]
async fn home_is_fenced_at_the_head_that_there_is_and_the_entry_says_who_ordered_it() {
    let (mut bench, made) = bench(3).await;
    // The approvers saw the second copy; the third came while they signed.
    let statement = activation(&bench, ORDER, &made[1]);
    // What does not count is not carried along.
    let mut warrant = signed(&statement, &["bertil", "chiara"]);
    warrant.approvals.insert(0, "not a signature".into());
    bench.config.orders = vec![activate(ORDER, warrant)];
    bench.write_config();
    let custodian = bench.custodian();
    let report = custodian.until_done(ORDER).await;
    let opening = assert_fenced_once(&bench, Some(made[2].reference)).await;
    assert_eq!(
        opening.warrant.unwrap(),
        signed(&statement, &["bertil", "chiara"])
    );
    let told = report.opening.unwrap();
    assert_eq!((report.term, told.holder), (2, TermHolder::Embassy));
    assert_eq!(report.source_term, Some(1), "nobody has written in term 2");
    assert_eq!(told.order.as_deref(), Some(ORDER));
    assert_eq!(told.source_head.map(|head| head.sequence), Some(3));
    let store = bench.origin.store_id.to_string();
    custodian
        .until("the store's id", |report| {
            report.store_id.as_ref() == Some(&store)
        })
        .await;

    // Who comes later knows it by the chain alone; the same order again changes nothing.
    let report = custodian.registry().await.unwrap();
    bench.remember(&report);
    custodian.kill();
    let custodian = bench.custodian();
    custodian.until_done(ORDER).await;
    assert_fenced_once(&bench, Some(made[2].reference)).await;
}

/// Whoever ends the term cuts off what stands behind the head that it has read.
#[tokio::test]
async fn an_entry_that_was_read_damaged_is_read_anew_before_home_is_fenced() {
    let (mut bench, mut made) = bench(1).await;
    let custodian = bench.custodian();
    custodian.until_head(1).await;
    let second = bench.ledger.entry_key(sequence(2)).to_string();
    bench.proxy.inject(1, Fault::Flip(4_711), move |method, target| {
        method == Method::GET && target.contains(&second)
    });
    made.extend(bench.copies(1, &Shape::default()).await);
    custodian
        .until_registry("the damage to be told", |report| {
            report.ledger.state == CheckState::False
        })
        .await;
    let warrant = signed(&activation(&bench, ORDER, &made[0]), &["bertil", "chiara"]);
    bench.config.orders = vec![activate(ORDER, warrant)];
    bench.write_config();
    custodian.until_done(ORDER).await;
    assert_fenced_once(&bench, Some(made[1].reference)).await;
}

/// A refusal is for ever, so it rests on more than one reading.
#[tokio::test]
async fn a_floor_that_was_read_damaged_refuses_no_order() {
    let (mut bench, made) = bench(3).await;
    let custodian = bench.custodian();
    let all = |report: &RegistryReport| report.copies.len() == 3 && !report.reading;
    custodian.until_registry("all to be known", all).await;
    let floor = bench.ledger.entry_key(sequence(1)).to_string();
    bench.proxy.inject(1, Fault::Flip(4_711), move |method, target| {
        method == Method::GET && target.contains(&floor)
    });
    let warrant = signed(&activation(&bench, ORDER, &made[0]), &["bertil", "chiara"]);
    bench.config.orders = vec![activate(ORDER, warrant)];
    bench.write_config();
    custodian.until_done(ORDER).await;
    assert_fenced_once(&bench, Some(made[2].reference)).await;
}

/// A custodian that has just begun may be shown a chain that lacks its end, or its end's bytes may be damaged on their way.
async fn released_although(fault: impl FnOnce(jiff::Timestamp) -> Fault, of: &'static str) {
    let (mut bench, made) = bench(1).await;
    let two = ["anna", "bertil"];
    let custodian = bench.custodian();
    let report = custodian.until_head(1).await;
    let before = jiff::Timestamp::now();
    bench.config.orders = vec![activate(
        ORDER,
        signed(&activation(&bench, ORDER, &made[0]), &two),
    )];
    bench.write_config();
    custodian.until_done(ORDER).await;
    custodian.kill();
    // The operator was killed as well: what it knows of the ledger is older.
    bench.remember(&report);
    bench.proxy.inject(2, fault(before), move |method, target| {
        method == Method::GET && target.contains(of)
    });
    let back = with_floor(standing_down(&bench, BACK, &made[0]), 1, made[0].reference);
    bench.config.orders = vec![release(BACK, signed(&back, &two))];
    bench.write_config();
    let custodian = bench.custodian();
    let report = custodian.until_done(BACK).await;
    assert_eq!(bench.proxy.faults_left(), 0);
    assert_eq!(report.term, 3);
}

#[tokio::test]
async fn a_custody_chain_that_was_listed_late_refuses_no_release() {
    released_although(Fault::ListAsOf, "%2Fcustody%2F").await;
}

#[tokio::test]
async fn an_activation_that_was_read_damaged_refuses_no_release() {
    released_although(|_| Fault::Flip(4_711), "/custody/000000000001").await;
}

#[tokio::test]
async fn a_registry_without_a_copy_is_fenced_before_its_first_entry() {
    let (mut bench, _) = bench(0).await;
    let order = statement(
        bench.origin.store_id,
        ORDER,
        State::Active,
        embassy().public_key(),
    );
    bench.config.orders = vec![activate(ORDER, signed(&order, &["anna", "bertil"]))];
    bench.write_config();
    let custodian = bench.custodian();
    custodian.until_done(ORDER).await;
    assert_fenced_once(&bench, None).await;
}

type Change = fn(&mut Statement);

/// Statements that two approvers have signed and that order nothing here: what each says, and what it is told.
const REFUSED: [(&str, Change, Reason, &str); 10] = [
    (
        "of-another-store",
        |order| order.store = "0".repeat(32).parse().unwrap(),
        Reason::OrderRefused,
        "about store 000",
    ),
    (
        "of-another-embassy",
        |order| order.embassy = "vienna".parse().unwrap(),
        Reason::OrderRefused,
        "about embassy vienna",
    ),
    (
        "of-another-order",
        |order| order.order = "the-other-day".parse().unwrap(),
        Reason::OrderRefused,
        "about order the-other-day",
    ),
    (
        "a-rehearsal",
        |order| {
            order.mode = Mode::Rehearse;
            order.registries[0].signer = None;
        },
        Reason::OrderRefused,
        "rehearsal",
    ),
    (
        "the-way-back",
        |order| order.state = State::StoodDown,
        Reason::OrderRefused,
        "about state StoodDown, and not about Active",
    ),
    (
        "of-another-registry",
        |order| order.registries[0].registry = "business".parse().unwrap(),
        Reason::OrderRefused,
        "does not name registry population",
    ),
    (
        "of-other-approvers",
        |order| order.approvers = Sha256Digest::of(b"others"),
        Reason::NotApproved,
        "made for other approvers",
    ),
    (
        "too-late",
        |order| {
            let until = jiff::Timestamp::now().checked_sub(SignedDuration::from_secs(1));
            order.valid_until = Timestamp::from_jiff(until.unwrap()).unwrap();
        },
        Reason::OrderExpired,
        "could be carried out until",
    ),
    (
        "by-the-custodian",
        |order| order.registries[0].signer = Some(custodian_key().public_key()),
        Reason::KeyHasTwoRoles,
        "is a custodian's",
    ),
    (
        "by-an-approver",
        |order| order.registries[0].signer = Some(key_of("anna").public_key()),
        Reason::KeyHasTwoRoles,
        "is an approver's",
    ),
];

#[tokio::test]
async fn orders_that_nobody_may_give_are_refused_with_the_reason_and_fence_nobody() {
    let (mut bench, made) = bench(1).await;
    let two = ["anna", "bertil"];
    let good = |id: &str| activation(&bench, id, &made[0]);
    let mut orders = Vec::new();
    for (id, change, ..) in REFUSED {
        let mut order = good(id);
        change(&mut order);
        orders.push(activate(id, signed(&order, &two)));
    }
    let mut of_home = good("for-home");
    of_home.registries[0].signer = Some(home().public_key());
    orders.push(activate("for-home", signed(&of_home, &two)));
    let unknown = EntryRef {
        digest: Sha256Digest::of(b"elsewhere"),
        ..made[0].reference
    };
    let elsewhere = with_floor(good("elsewhere"), 1, unknown);
    orders.push(activate("elsewhere", signed(&elsewhere, &two)));
    let mut back = good("nothing-to-release");
    back.state = State::StoodDown;
    orders.push(release("nothing-to-release", signed(&back, &two)));
    bench.config.orders = orders;
    bench.write_config();
    let custodian = bench.custodian();
    for (id, _, expected, words) in REFUSED.iter().chain(&[
        (
            "for-home",
            (|_| ()) as Change,
            Reason::OrderRefused,
            "which is home's own",
        ),
        (
            "elsewhere",
            |_| (),
            Reason::RolledBack,
            "does not have that entry",
        ),
        (
            "nothing-to-release",
            |_| (),
            Reason::NotActivated,
            "is not served from the embassy",
        ),
    ]) {
        let (reason, message) = custodian.until_refused(id, words).await;
        assert_eq!(reason, *expected, "{id}: {message}");
    }
    assert!(openings(&bench).await.is_empty());
}

#[tokio::test]
async fn approvals_that_do_not_suffice_are_told_one_by_one_and_count_once_they_do() {
    let (mut bench, made) = bench(1).await;
    let order = activation(&bench, ORDER, &made[0]);
    let text = order.render().unwrap();
    let stranger = SigningKey::from_seed(&[99; 32]);
    let other = activation(&bench, "another-order", &made[0]).render().unwrap();
    let sign = |key: &SigningKey, role, text: &str| key.sign(role, text.as_bytes()).unwrap();
    let warrant = Warrant {
        statement: text.clone(),
        approvals: vec![
            approval(&text, "anna"),
            approval(&text, "anna"),
            sign(&stranger, dataembassy_ledger::Role::Activation, &text),
            sign(&key_of("bertil"), dataembassy_ledger::Role::Store, &text),
            approval(&other, "chiara"),
        ],
    };
    bench.config.orders = vec![activate(ORDER, warrant.clone())];
    bench.config.approvers = None;
    bench.write_config();
    let custodian = bench.custodian();
    let (reason, _) = custodian.until_refused(ORDER, "spec.activation").await;
    assert_eq!(reason, Reason::NoApprovers);

    // A refusal stands until something is configured anew.
    bench.config.approvers = Some(approvers());
    bench.write_config();
    let (reason, message) = custodian.until_refused(ORDER, "1 did (anna)").await;
    assert_eq!(reason, Reason::NotApproved);
    for words in [
        "2 must approve",
        "approval 2: anna approved already",
        "approval 3: it is signed by ssh-ed25519",
        "approval 4: ",
        "approval 5: ",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert!(openings(&bench).await.is_empty());

    bench.config.orders[0].body = OrderBody::Activate(Box::new(signed(&order, &["anna", "chiara"])));
    bench.write_config();
    custodian.until_done(ORDER).await;
    assert_fenced_once(&bench, Some(made[0].reference)).await;
    assert_eq!(
        alarm(&custodian.registry().await.unwrap(), Reason::LateEntry),
        None
    );
}

#[tokio::test]
async fn a_registry_is_fenced_whatever_is_wrong_with_its_copies() {
    let (mut bench, made) = bench(2).await;
    let custodian = bench.custodian();
    custodian.until_head(2).await;
    let segment = bench.folder(made[0].body.copy_id).await.remove(0).key;
    std::fs::remove_dir_all(on_disk(&bench.minio, &segment)).unwrap();
    custodian.until_alarm(Reason::ObjectMissing).await;
    let order = activation(&bench, ORDER, &made[1]);
    bench.config.orders = vec![activate(ORDER, signed(&order, &["anna", "bertil"]))];
    bench.write_config();
    let report = custodian.until_done(ORDER).await;
    assert!(
        alarm(&report, Reason::ObjectMissing).is_some(),
        "{:#?}",
        report.alarms
    );
    assert_fenced_once(&bench, Some(made[1].reference)).await;
}

#[tokio::test]
async fn what_stands_between_two_orders_and_each_other_is_told() {
    let (mut bench, made) = bench(1).await;
    let two = ["anna", "bertil"];
    bench.config.orders = vec![activate(
        ORDER,
        signed(&activation(&bench, ORDER, &made[0]), &two),
    )];
    bench.write_config();
    let custodian = bench.custodian();
    custodian.until_done(ORDER).await;

    // Another activation comes too late, and the order's id is no order to release.
    let other = activation(&bench, "the-other", &made[0]);
    let mut back = activation(&bench, ORDER, &made[0]);
    back.state = State::StoodDown;
    bench.config.orders = vec![
        activate("the-other", signed(&other, &two)),
        release(ORDER, signed(&back, &two)),
    ];
    bench.write_config();
    let (reason, message) = custodian.until_refused("the-other", "by order the-day-1").await;
    assert_eq!(reason, Reason::AlreadyActivated, "{message}");
    let (reason, message) = custodian.until_refused(ORDER, "no id is used twice").await;
    assert_eq!(reason, Reason::OrderUsed, "{message}");
    assert_fenced_once(&bench, Some(made[0].reference)).await;
}

#[tokio::test]
async fn an_order_waits_while_the_store_cannot_be_written_and_says_so() {
    let (mut bench, made) = bench(1).await;
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("a proof", |report| report.custody_head.is_some())
        .await;
    let is_entry = |method: &Method, target: &str| method == Method::PUT && target.contains("/custody/");
    let refuse = Fault::Answer(StatusCode::FORBIDDEN);
    bench.proxy.inject(usize::MAX, refuse, is_entry);
    let order = activation(&bench, ORDER, &made[0]);
    bench.config.orders = vec![activate(ORDER, signed(&order, &["anna", "bertil"]))];
    bench.remember(&report);
    let message = until_waiting(&custodian, ORDER, Reason::StoreAccessDenied).await;
    assert!(
        message.contains("the entry that opens the term cannot be written"),
        "{message}"
    );

    // A store that does not even answer is told as that, also by one who has not read anything yet.
    bench.proxy.heal();
    bench.proxy.inject(usize::MAX, Fault::Refuse, |_, target| {
        target.contains("population")
    });
    let message = until_waiting(&custodian, ORDER, Reason::StoreUnreachable).await;
    assert!(message.contains("cannot be read"), "{message}");
    custodian.kill();
    let custodian = bench.custodian();
    until_waiting(&custodian, ORDER, Reason::StoreUnreachable).await;
    assert!(openings(&bench).await.is_empty());
    bench.proxy.heal();
    custodian.until_done(ORDER).await;
    assert_fenced_once(&bench, Some(made[0].reference)).await;
}

#[tokio::test]
async fn an_order_waits_while_nobody_has_said_where_the_ledger_stood_or_it_was_set_back() {
    let (mut bench, made) = bench(2).await;
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("a proof", |report| report.custody_head.is_some())
        .await;
    custodian.kill();
    let order = activation(&bench, ORDER, &made[0]);
    bench.config.orders = vec![activate(ORDER, signed(&order, &["anna", "bertil"]))];
    bench.write_config();
    let custodian = bench.custodian();
    until_waiting(&custodian, ORDER, Reason::Unwitnessed).await;
    // It knew of a second entry, and that one is gone.
    let key = bench.ledger.entry_key(made[1].reference.sequence);
    let folder = on_disk(&bench.minio, &key.to_string());
    let aside = bench.folder.path().join("aside");
    std::fs::rename(&folder, &aside).unwrap();
    bench.remember(&report);
    let message = until_waiting(&custodian, ORDER, Reason::RolledBack).await;
    assert!(message.contains("no term can be opened"), "{message}");
    assert!(openings(&bench).await.is_empty());
    std::fs::rename(&aside, &folder).unwrap();
    custodian.until_done(ORDER).await;
    assert_fenced_once(&bench, Some(made[1].reference)).await;
}

/// Kills the custodian while the put of its opening waits for an answer, and lets another one go on.
async fn killed_at(fault: Fault, is_stored: bool) {
    let (mut bench, made) = bench(1).await;
    let custodian = bench.custodian();
    let report = custodian
        .until_registry("a proof", |report| report.custody_head.is_some())
        .await;
    let next = report.custody_head.as_ref().unwrap().sequence + 1;
    let key = format!("/custody/{next:012}");
    let is_it = move |method: &Method, target: &str| method == Method::PUT && target.contains(&key);
    bench.proxy.inject(usize::MAX, fault, is_it.clone());
    let order = activation(&bench, ORDER, &made[0]);
    bench.config.orders = vec![activate(ORDER, signed(&order, &["anna", "bertil"]))];
    bench.remember(&report);
    let has_come = || bench.proxy.asked_for(|one| is_it(&one.method, &one.target)) > 0;
    custodian.until("the request", |_| has_come()).await;
    if is_stored {
        bench
            .until_view("the entry", |view| view.openings().len() == 1)
            .await;
    }
    custodian.kill();
    bench.proxy.heal();
    let custodian = bench.custodian();
    custodian.until_done(ORDER).await;
    assert_fenced_once(&bench, Some(made[0].reference)).await;
}

#[tokio::test]
async fn a_custodian_killed_before_its_opening_is_there_writes_it_once() {
    killed_at(Fault::Stall, false).await;
}

#[tokio::test]
async fn a_custodian_killed_after_its_opening_was_written_writes_no_second_one() {
    killed_at(Fault::WithholdReply, true).await;
}

#[tokio::test]
async fn two_custodians_fence_home_once() {
    let (mut bench, made) = bench(1).await;
    let order = activation(&bench, ORDER, &made[0]);
    bench.config.orders = vec![activate(ORDER, signed(&order, &["anna", "bertil"]))];
    bench.write_config();
    let (one, other) = (bench.custodian(), bench.custodian());
    one.until_done(ORDER).await;
    other.until_done(ORDER).await;
    assert_fenced_once(&bench, Some(made[0].reference)).await;
}

#[tokio::test]
async fn what_home_puts_after_the_fence_makes_no_copy_and_is_an_alarm() {
    let (mut bench, made) = bench(2).await;
    // A number that somebody squatted in term 1 is left behind with it.
    let squatted = bench
        .ledger
        .entry_key(dataembassy_ledger::Sequence::new(7).unwrap());
    bench.depositor().await.put(&squatted, b"squatted").await.unwrap();
    let order = activation(&bench, ORDER, &made[1]);
    bench.config.orders = vec![activate(ORDER, signed(&order, &["anna", "bertil"]))];
    bench.write_config();
    let custodian = bench.custodian();
    custodian.until_done(ORDER).await;

    // Home does not know, or does not care, and has a way past the gate.
    let mut of_home = bench.ledger.apart("home");
    let late = {
        let mut depositor = bench.depositor().await;
        of_home.copy(&mut depositor, &Shape::default()).await.unwrap()
    };
    bench.ledger.hand_over(embassy()).unwrap();
    let theirs = bench.copies(1, &Shape::default()).await.remove(0);
    let message = custodian.until_alarm(Reason::LateEntry).await;
    assert!(message.contains("custody entry"), "{message}");
    let report = custodian
        .until_registry("the copy of the embassy", |report| {
            let head = report.source_head.as_ref();
            head.is_some_and(|head| head.digest == theirs.reference.digest.to_string())
        })
        .await;
    assert!(
        !report
            .copies
            .iter()
            .any(|copy| copy.copy_id == late.body.copy_id.to_string()),
        "{:#?}",
        report.copies
    );
    assert_eq!(report.ledger.state, CheckState::True, "{:?}", report.ledger);
    let view = bench.view().await;
    assert_eq!(view.term_of(late.reference.sequence).get(), 2);
}

#[tokio::test]
async fn the_embassy_writes_on_is_proven_and_drilled_and_the_registry_goes_home_again() {
    let (mut bench, made) = bench(2).await;
    bench.timing.push(("--prove-every", "1s"));
    let two = ["anna", "bertil"];
    bench.config.orders = vec![activate(
        ORDER,
        signed(&activation(&bench, ORDER, &made[1]), &two),
    )];
    bench.write_config();
    let custodian = bench.custodian();
    custodian.until_done(ORDER).await;
    bench.ledger.hand_over(embassy()).unwrap();
    let theirs = bench.copies(2, &Shape::default()).await;
    // Read back, proven and drilled as any other.
    let is_proven = |report: &RegistryReport| {
        let proven = report
            .copies
            .iter()
            .filter(|copy| copy.intact == CheckState::True);
        proven.count() == 4
    };
    custodian
        .until_registry("all copies to be intact", is_proven)
        .await;
    bench
        .until_view("a proof in term 2", |view| {
            view.intact()
                .is_some_and(|copy| copy.digest == theirs[1].reference.digest)
        })
        .await;
    let ended = jiff::Timestamp::now()
        .checked_sub(SignedDuration::from_mins(20))
        .unwrap();
    let result = drill::result("nightly-1", drill::drilled(&theirs[1]), true, ended);
    bench.config.orders.push(drill::order(result));
    bench.write_config();
    custodian.until_done("nightly-1").await;

    // A copy comes while the approvers sign: the release names the last one.
    let back = standing_down(&bench, BACK, &theirs[1]);
    let last = bench.copies(1, &Shape::default()).await.remove(0);
    custodian.until_head(5).await;
    let mut for_itself = back.clone();
    for_itself.order = "for-itself".parse().unwrap();
    for_itself.registries[0].signer = Some(embassy().public_key());
    bench.config.orders = vec![
        release("for-itself", signed(&for_itself, &two)),
        release(BACK, signed(&back, &two)),
    ];
    bench.write_config();
    custodian.until_refused("for-itself", "an activation's own").await;
    let report = custodian.until_done(BACK).await;
    let told = report.opening.unwrap();
    assert_eq!((report.term, told.holder), (3, TermHolder::Home));
    assert_eq!(report.source_term, Some(2));
    assert_eq!(
        told.source_head.map(|head| head.digest),
        Some(last.reference.digest.to_string())
    );
    let openings = openings(&bench).await;
    assert_eq!(openings.len(), 2);
    assert_eq!(openings[1].signer, home().public_key());

    // Numbers run on, and home may be fenced again, by another order.
    bench.ledger.hand_over(home()).unwrap();
    let again = bench.copies(1, &Shape::default()).await.remove(0);
    custodian.until_head(6).await;
    let mut order = activation(&bench, "the-day-3", &again);
    order = with_floor(order, 3, again.reference);
    bench.config.orders = vec![activate("the-day-3", signed(&order, &two))];
    bench.write_config();
    custodian.until_done("the-day-3").await;
    assert_eq!(bench.view().await.current_term().get(), 4);
    let key = ObjectKey::Source {
        registry: REGISTRY.parse().unwrap(),
        term: dataembassy_ledger::Term::new(3).unwrap(),
        sequence: again.reference.sequence,
    };
    assert!(bench.minio.get(BUCKET, &key.to_string()).await.is_ok());
}

#[tokio::test]
async fn copies_of_a_term_that_has_ended_go_as_any_other_and_its_last_one_stays() {
    let mut bench = CustodianBench::start_with(BucketKind::Lockable).await;
    bench.lock = Some(Duration::from_secs(4));
    for flag in ["--prove-every", "--expire-every"] {
        bench.timing.push((flag, "1s"));
    }
    bench.config.immutability.lock_on_arrival = "4s".parse().unwrap();
    bench.config.approvers = Some(approvers());
    bench.write_config();
    let made = bench.copies(2, &Shape::default()).await;
    let order = activation(&bench, ORDER, &made[1]);
    bench.config.orders = vec![activate(ORDER, signed(&order, &["anna", "bertil"]))];
    bench.write_config();
    let custodian = bench.custodian();
    custodian.until_done(ORDER).await;
    bench.ledger.hand_over(embassy()).unwrap();
    let theirs = bench.copies(1, &Shape::default()).await.remove(0);
    custodian.until_head(3).await;
    bench.config.registries[0].retention = newest_only();
    bench.write_config();
    let is_gone = |copy: &MadeCopy| {
        let sequence = copy.reference.sequence;
        move |view: &CustodyView| view.is_expired(sequence)
    };
    let view = bench.until_view("copy 1 to expire", is_gone(&made[0])).await;
    assert!(!is_gone(&made[1])(&view) && !is_gone(&theirs)(&view));
    let begun = Instant::now();
    while !bench.folder(made[0].body.copy_id).await.is_empty() {
        assert!(
            begun.elapsed() < DEADLINE,
            "a copy of term 1 is still there: {:#?}",
            custodian.registry().await
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The last word of a term is pushed out by nobody's.
    for stays in [&made[1], &theirs] {
        assert!(!bench.folder(stays.body.copy_id).await.is_empty());
    }
    let told = |report: &RegistryReport| (report.retention.kept, report.retention.deleted) == (2, 1);
    let report = custodian.until_registry("the count of it", told).await;
    assert_eq!(report.ledger.state, CheckState::True, "{:?}", report.ledger);
}

//! The way home: approved anew, applications shut out, a last copy, a release.

use std::time::Duration;

use dataembassy_contract::custodian::OrderBody;
use dataembassy_crds::{ActivationPhase, EmbassyActivationStatus, RegistryPhase};
use dataembassy_ledger::activation::{State, Statement};
use dataembassy_operator::activation::lanes;
use serde_json::{Value, json};

use super::{Custodian, HOME, LIVE, Shared, alone, approved, is_reported, mirror, phases, said, step, until};
use crate::world::read;

const SERVICE: &str = "/api/v1/namespaces/interior/services/population-db";
const POLICY: &str =
    "/apis/networking.k8s.io/v1/namespaces/interior/networkpolicies/home-lost-population-db-public";
const STATEFUL_SET: &str = "/apis/apps/v1/namespaces/interior/statefulsets/home-lost-population-db";

/// Asks for the registries to go home.
pub(super) fn ask(cluster: &Shared, signer: Option<&str>) {
    cluster.lock().unwrap().edit(|activation| {
        activation["spec"]["state"] = "StoodDown".into();
        for registry in activation["spec"]["registries"].as_array_mut().unwrap() {
            registry["homeSigner"] = signer.map_or(Value::Null, Value::from);
        }
    });
}

/// An activation that is served, and mirrored.
async fn served(external: bool) -> Shared {
    let cluster = approved(alone(external)).await;
    cluster.lock().unwrap().mirror = Some(mirror());
    until(&cluster, |status| {
        status.phase == ActivationPhase::Serving && status.registries.iter().all(is_reported)
    })
    .await;
    cluster
}

/// Waits for the statement of an order that was asked for, and signs it.
async fn sign(cluster: &Shared) -> Statement {
    let status = until(cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    assert_eq!(status.phase, ActivationPhase::AwaitingApproval);
    assert_eq!(
        phases(&status),
        [RegistryPhase::Serving],
        "nothing happens before it is approved"
    );
    cluster.lock().unwrap().sign(&[2, 3]);
    Statement::read(&status.statement.unwrap().text).unwrap()
}

/// Orders to serve on, signed.
async fn turn_round(cluster: &Shared) {
    cluster.lock().unwrap().edit(|activation| {
        activation["spec"]["state"] = "Active".into();
        activation["spec"]["validUntil"] = "2036-02-01T00:00:00Z".into();
    });
    until(cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    cluster.lock().unwrap().sign(&[1, 3]);
}

/// Turns round, and is served.
async fn serve_on(cluster: &Shared) -> EmbassyActivationStatus {
    turn_round(cluster).await;
    until(cluster, |status| status.phase == ActivationPhase::Serving).await
}

/// Whether the population register's copy is this one.
fn is_taken(status: &EmbassyActivationStatus, sequence: i64) -> bool {
    let copy = status.registries[0].copy.as_ref();
    copy.is_some_and(|copy| copy.sequence == sequence)
}

fn message(cluster: &Shared) -> String {
    cluster.lock().unwrap().status().registries[0].message.clone()
}

/// Whether the database takes sessions of applications.
pub(super) fn is_open(cluster: &Shared) -> bool {
    let cluster = cluster.lock().unwrap();
    let selector = &cluster.objects[SERVICE]["spec"]["selector"];
    let from = &cluster.objects[POLICY]["spec"]["ingress"];
    let template = cluster.objects[STATEFUL_SET]["spec"]["template"].to_string();
    let answers = [
        !selector.is_null(),
        *from != json!([]),
        !template.contains(r#""name":"DATABASE_SHUT""#),
    ];
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    answers[0]
}

#[tokio::test]
async fn applications_are_shut_out_then_the_last_copy_is_taken_and_read_back_and_then_it_is_released() {
    let cluster = served(false).await;
    ask(&cluster, Some(HOME));
    let statement = sign(&cluster).await;
    assert_eq!(statement.state, State::StoodDown);
    assert_eq!(statement.registries[0].signer.unwrap().to_string(), HOME);
    let text = statement.to_string();
    assert!(text.contains("taken when applications are shut out"), "{text}");
    assert!(is_open(&cluster));
    // The mirror hears nothing before the door is closed.
    while cluster.lock().unwrap().last_copy().is_none() {
        assert!(cluster.lock().unwrap().orders().is_empty());
        step(&cluster).await.unwrap();
    }
    assert!(!is_open(&cluster));
    let writes = cluster.lock().unwrap().writes.clone();
    let last = |path: &str| writes.iter().rposition(|line| line.ends_with(path)).unwrap();
    assert!(
        last(POLICY) < last(SERVICE) && last(SERVICE) < last(STATEFUL_SET),
        "{writes:?}"
    );
    // The copy is committed, and not yet read back.
    cluster.lock().unwrap().reports.get_mut("population").unwrap()["copies"][0]["intact"] = "Unknown".into();
    for _ in 0..3 {
        step(&cluster).await.unwrap();
        assert!(cluster.lock().unwrap().orders().is_empty());
    }
    assert!(
        message(&cluster).contains("reads it back"),
        "{}",
        message(&cluster)
    );
    {
        let mut cluster = cluster.lock().unwrap();
        cluster.custodian = Custodian::Waits;
        cluster.reports.get_mut("population").unwrap()["copies"][0]["intact"] = "True".into();
    }
    step(&cluster).await.unwrap();
    let orders = cluster.lock().unwrap().orders();
    assert!(
        matches!(&orders[..], [order] if matches!(order.body, OrderBody::Release(_))),
        "{orders:?}"
    );
    cluster.lock().unwrap().custodian = Custodian::Works;
    let status = until(&cluster, |status| status.phase == ActivationPhase::StoodDown).await;
    let state = &status.registries[0];
    // Four is the first one from here, five the last.
    assert_eq!(state.copy.as_ref().unwrap().sequence, 5);
    assert_eq!(state.release.as_deref(), Some("e".repeat(64).as_str()));
    assert!(state.message.contains("restore copy 5") && state.message.contains("adoptRelease"));
    assert_eq!(said(&status, "Ready").0, "True StoodDown");
    assert!(cluster.lock().unwrap().orders().is_empty() && !is_open(&cluster));
    let activation = std::sync::Arc::new(read(&cluster.lock().unwrap().activation()));
    assert!(lanes::cut("luxembourg", &[activation]).is_empty());
    let mut steps: Vec<&str> = state.steps.iter().map(|step| step.name.as_str()).collect();
    steps.retain(|step| *step != "report");
    assert!(
        steps.ends_with(&["serve", "close", "copy", "release"]),
        "{steps:?}"
    );
}

#[tokio::test]
async fn who_keeps_an_external_database_is_told_in_the_statement_to_shut_applications_out() {
    let cluster = served(true).await;
    ask(&cluster, Some(HOME));
    let text = sign(&cluster).await.to_string();
    assert!(
        text.contains("shuts applications out before this is signed"),
        "{text}"
    );
    let status = until(&cluster, |status| status.phase == ActivationPhase::StoodDown).await;
    assert_eq!(status.registries[0].copy.as_ref().unwrap().sequence, 5);
}

#[tokio::test]
async fn without_a_mirror_nobody_is_asked_to_sign_unless_what_was_written_is_given_up() {
    let cluster = served(false).await;
    cluster.lock().unwrap().mirror = None;
    ask(&cluster, Some(HOME));
    for _ in 0..3 {
        step(&cluster).await.unwrap();
    }
    let status = cluster.lock().unwrap().status();
    let (reason, message) = said(&status, "Stalled");
    assert_eq!(reason, "True NoMirror");
    assert!(message.contains("forgoLastCopy"), "{message}");
    assert_eq!(phases(&status), [RegistryPhase::Serving]);
    assert!(is_open(&cluster));

    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["registries"][0]["forgoLastCopy"] = true.into());
    let text = sign(&cluster).await.to_string();
    assert!(
        text.contains("written at the embassy since then is given up"),
        "{text}"
    );
    let status = until(&cluster, |status| status.phase == ActivationPhase::StoodDown).await;
    assert!(status.registries[0].release.is_some());
    assert!(!is_open(&cluster));
}

/// The mirror has not shown that it copies.
fn unproven(cluster: &Shared) {
    let mut cluster = cluster.lock().unwrap();
    cluster.mirror.as_mut().unwrap()["status"] = Value::Null;
    cluster.reports.get_mut("population").unwrap()["sourceTerm"] = 1.into();
}

#[tokio::test]
async fn applications_are_not_shut_out_before_the_mirror_has_shown_that_it_copies() {
    let cluster = served(false).await;
    ask(&cluster, Some(HOME));
    sign(&cluster).await;
    for _ in 0..4 {
        unproven(&cluster);
        step(&cluster).await.unwrap();
    }
    assert!(
        message(&cluster).contains("no copy from here yet"),
        "{}",
        message(&cluster)
    );
    assert!(is_open(&cluster));
    // One that cannot go on is told in its own words.
    let stalled = json!([{"type": "Stalled", "status": "True", "reason": "InvalidSchedule", "message": "no such day",
        "observedGeneration": 1, "lastTransitionTime": "2026-11-28T09:10:00Z"}]);
    cluster.lock().unwrap().mirror.as_mut().unwrap()["status"] = json!({"conditions": stalled});
    step(&cluster).await.unwrap();
    assert!(message(&cluster).contains("no such day"), "{}", message(&cluster));
    assert!(is_open(&cluster));
}

#[tokio::test]
async fn a_last_copy_that_is_not_whole_in_the_store_releases_nothing() {
    let cluster = served(false).await;
    cluster.lock().unwrap().read_back = "False";
    ask(&cluster, Some(HOME));
    sign(&cluster).await;
    let status = until(&cluster, |status| status.registries[0].reason == "NoIntactCopy").await;
    assert!(status.registries[0].message.contains("new spec.trigger"));
    assert!(cluster.lock().unwrap().orders().is_empty());
    // Whoever has another one made goes on with that.
    {
        let mut cluster = cluster.lock().unwrap();
        let report = cluster.reports.get_mut("population").unwrap();
        report["sourceHead"]["sequence"] = 6.into();
        let copies = report["copies"].as_array_mut().unwrap();
        let mut another = copies[0].clone();
        another["sequence"] = 6.into();
        another["intact"] = "True".into();
        copies.insert(0, another);
    }
    let status = until(&cluster, |status| status.phase == ActivationPhase::StoodDown).await;
    assert_eq!(status.registries[0].copy.as_ref().unwrap().sequence, 6);
}

#[tokio::test]
async fn an_order_to_serve_on_lets_applications_in_again_and_restores_nothing() {
    let cluster = served(false).await;
    cluster.lock().unwrap().edit(|activation| {
        activation["status"]["registries"][0]["rtoSeconds"] = 3_725.into();
        activation["status"]["registries"][0]["objectivesMet"] = false.into();
    });
    ask(&cluster, Some(HOME));
    sign(&cluster).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| is_taken(status, 5)).await;
    assert!(!is_open(&cluster));
    let status = serve_on(&cluster).await;
    assert!(is_open(&cluster));
    assert_eq!(status.registries[0].attempts, 1);
    assert_eq!(
        achieved(&status),
        (Some(3_725), Some(false)),
        "it was recovered when it was served first, and not now"
    );
    assert_eq!(status.recovery.as_deref(), Some("1h2m"));
    let cluster = cluster.lock().unwrap();
    assert_eq!(cluster.made("registryrestores").len(), 1);
    assert!(cluster.orders().is_empty() && cluster.last_copy().is_none());
}

#[tokio::test]
async fn what_the_ledger_has_released_is_homes_whatever_people_have_ordered_since() {
    let cluster = served(false).await;
    ask(&cluster, Some(HOME));
    sign(&cluster).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    let status = until(&cluster, |status| is_taken(status, 5)).await;
    // The custodian carries out what it was told, before it hears that people have turned round.
    let order = status.statement.unwrap().order;
    let release = super::released(
        cluster.lock().unwrap().reports.get_mut("population").unwrap(),
        &order,
    );
    turn_round(&cluster).await;
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::StoodDown]).await;
    assert_eq!(status.registries[0].release.as_deref(), Some(&*release));
    assert!(message(&cluster).contains("it was released to home"));
    for _ in 0..3 {
        step(&cluster).await.unwrap();
    }
    let cluster = cluster.lock().unwrap();
    assert!(cluster.objects[SERVICE]["spec"]["selector"].is_null());
    assert_eq!(cluster.objects[POLICY]["spec"]["ingress"], json!([]));
}

#[tokio::test]
async fn a_stand_down_that_is_ordered_again_unchanged_waits_for_a_copy_taken_since() {
    let cluster = served(false).await;
    ask(&cluster, Some(HOME));
    let first = sign(&cluster).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| is_taken(status, 5)).await;
    let asked = || cluster.lock().unwrap().last_copy().unwrap();
    let before = asked();
    let valid_until = cluster.lock().unwrap().activation()["spec"]["validUntil"].clone();
    serve_on(&cluster).await;
    // Times of a status are whole seconds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["validUntil"] = valid_until.clone());
    ask(&cluster, Some(HOME));
    assert_eq!(sign(&cluster).await, first);
    // The sixth was asked for while the order to serve on waited for its signatures.
    until(&cluster, |status| is_taken(status, 7)).await;
    assert_ne!(
        asked(),
        before,
        "a mirror answers a trigger once, and the copy of then lacks what was written since"
    );
}

/// What was achieved of the population register's objectives.
fn achieved(status: &EmbassyActivationStatus) -> (Option<i64>, Option<bool>) {
    let state = &status.registries[0];
    (state.rto_seconds, state.objectives_met)
}

/// Lets what goes on now have begun long ago.
fn age(cluster: &Shared) {
    const LONG_AGO: &str = "2026-11-27T09:00:00Z";
    cluster.lock().unwrap().edit(|activation| {
        activation["status"]["approvedAt"] = LONG_AGO.into();
        let steps = activation["status"]["registries"][0]["steps"].as_array_mut();
        for step in steps.unwrap().iter_mut().filter(|step| step["endedAt"].is_null()) {
            step["startedAt"] = LONG_AGO.into();
        }
    });
}

/// Which step `OnTime` calls late, if one is.
fn late(cluster: &Shared) -> Option<String> {
    let status = cluster.lock().unwrap().status();
    match said(&status, "OnTime") {
        (reason, message) if reason == "False StepOverdue" => {
            let step = message.split_once(" of population").unwrap().0;
            Some(step.trim_start_matches("the step ").to_owned())
        }
        (reason, _) => {
            assert_eq!(reason, "True OnTime");
            None
        }
    }
}

#[tokio::test]
async fn each_step_of_a_stand_down_has_its_time() {
    let cluster = served(false).await;
    ask(&cluster, Some(HOME));
    sign(&cluster).await;
    // The mirror has not shown that it copies, so the first step has not begun.
    for _ in 0..4 {
        unproven(&cluster);
        step(&cluster).await.unwrap();
        assert_eq!(late(&cluster), None);
    }
    age(&cluster);
    unproven(&cluster);
    step(&cluster).await.unwrap();
    assert_eq!(late(&cluster).as_deref(), Some("close"));

    // It copies, and is not read back.
    cluster.lock().unwrap().read_back = "Unknown";
    until(&cluster, |status| status.registries[0].reason == "Verifying").await;
    assert_eq!(late(&cluster), None);
    age(&cluster);
    step(&cluster).await.unwrap();
    assert_eq!(late(&cluster).as_deref(), Some("copy"));

    // It is read back, and the custodian cannot write.
    {
        let mut cluster = cluster.lock().unwrap();
        cluster.custodian = Custodian::Waits;
        cluster.reports.get_mut("population").unwrap()["copies"][0]["intact"] = "True".into();
    }
    for _ in 0..3 {
        step(&cluster).await.unwrap();
    }
    assert_eq!(late(&cluster), None);
    age(&cluster);
    step(&cluster).await.unwrap();
    assert_eq!(late(&cluster).as_deref(), Some("release"));

    cluster.lock().unwrap().custodian = Custodian::Works;
    until(&cluster, |status| status.phase == ActivationPhase::StoodDown).await;
    assert_eq!(late(&cluster), None);
}

#[tokio::test]
async fn letting_applications_in_again_has_its_time_too() {
    let cluster = served(false).await;
    ask(&cluster, Some(HOME));
    sign(&cluster).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| {
        let mut copies = status.registries.iter().filter_map(|state| state.copy.as_ref());
        copies.any(|copy| copy.sequence == 5)
    })
    .await;
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["state"] = "Active".into());
    until(&cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    {
        let mut cluster = cluster.lock().unwrap();
        cluster.sign(&[1, 3]);
        cluster.refused = Some(SERVICE);
    }
    until(&cluster, |status| status.approved_at.is_some()).await;
    step(&cluster).await.unwrap();
    assert_eq!(late(&cluster), None);
    age(&cluster);
    step(&cluster).await.unwrap();
    assert_eq!(late(&cluster).as_deref(), Some("serve"));
    cluster.lock().unwrap().refused = None;
    until(&cluster, |status| status.phase == ActivationPhase::Serving).await;
    assert_eq!(late(&cluster), None);
}

#[tokio::test]
async fn without_the_key_of_homes_mirror_nothing_is_stood_down() {
    let cluster = served(true).await;
    ask(&cluster, None);
    step(&cluster).await.unwrap();
    let status = cluster.lock().unwrap().status();
    let (reason, message) = said(&status, "Stalled");
    assert_eq!(reason, "True InvalidName");
    assert!(message.contains("homeSigner"), "{message}");
    assert_eq!(phases(&status), [RegistryPhase::Serving]);
}

#[tokio::test]
async fn what_was_fenced_and_never_served_goes_home_as_it_is() {
    let cluster = approved(alone(true)).await;
    cluster.lock().unwrap().restores = vec![Some("AnswerWrong")];
    until(&cluster, |status| status.phase == ActivationPhase::Failed).await;
    ask(&cluster, Some(HOME));
    let status = until(&cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    let text = status.statement.unwrap().text;
    assert!(text.contains("it was never served from the embassy"), "{text}");
    cluster.lock().unwrap().sign(&[1, 2]);
    let status = until(&cluster, |status| status.phase == ActivationPhase::StoodDown).await;
    assert!(status.registries[0].release.is_some());
}

#[tokio::test]
async fn signatures_that_are_taken_away_are_missed() {
    let cluster = approved(alone(true)).await;
    cluster.lock().unwrap().custodian = Custodian::Silent;
    until(&cluster, |status| status.approved_at.is_some()).await;
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["approvals"] = json!([]));
    for _ in 0..3 {
        step(&cluster).await.unwrap();
    }
    let status = cluster.lock().unwrap().status();
    assert_eq!(said(&status, "Approved").0, "False NotApproved");
    assert!(cluster.lock().unwrap().orders().is_empty());
}

/// The activation was deleted while it served, and one of this name is made, to give the registry back.
async fn orphaned() -> Shared {
    let cluster = served(false).await;
    {
        let mut cluster = cluster.lock().unwrap();
        let mut another = alone(false);
        another["metadata"]["uid"] = "uid-another".into();
        another["spec"]["state"] = "StoodDown".into();
        another["spec"]["registries"][0]["homeSigner"] = HOME.into();
        let before = cluster.objects.insert(super::LIVE.to_owned(), another).unwrap();
        assert_eq!(before["status"]["phase"], "Serving");
    }
    cluster
}

#[tokio::test]
async fn what_a_deleted_activation_left_is_given_back_by_one_of_its_name() {
    let cluster = orphaned().await;
    let status = until(&cluster, |status| status.statement.is_some()).await;
    let state = &status.registries[0];
    assert!(state.adopted_order.as_ref().unwrap().starts_with("home-lost-"));
    // The key that the fence names, in the Secret that is named by it.
    let secret = &state.signer.as_ref().unwrap().secret;
    assert!(
        cluster
            .lock()
            .unwrap()
            .of_kind("secrets")
            .iter()
            .any(|made| made["metadata"]["name"] == secret.as_str()),
        "{secret}"
    );
    assert!(is_open(&cluster));
    cluster.lock().unwrap().sign(&[1, 2]);
    let status = until(&cluster, |status| status.phase == ActivationPhase::StoodDown).await;
    let state = &status.registries[0];
    assert_eq!(state.copy.as_ref().unwrap().sequence, 5);
    assert!(state.release.is_some() && !is_open(&cluster));
    let cluster = cluster.lock().unwrap();
    assert_eq!(cluster.made("registryrestores").len(), 1, "nothing is restored");
    // A claim's marks can never change, so they stay the first one's.
    assert_eq!(
        cluster.objects[STATEFUL_SET]["spec"]["volumeClaimTemplates"][0]["metadata"]["annotations"]["dataembassy.io/made-for"],
        "uid-home-lost"
    );
}

#[tokio::test]
async fn what_is_another_ones_is_not_taken_over_and_nothing_is_served_anew() {
    let cluster = orphaned().await;
    cluster.lock().unwrap().reports.get_mut("population").unwrap()["opening"]["order"] =
        "another-0badcafe".into();
    step(&cluster).await.unwrap();
    let (reason, message) = said(&cluster.lock().unwrap().status(), "Stalled");
    assert_eq!(reason, "True AlreadyActivated");
    assert!(message.contains("spec.state StoodDown"), "{message}");

    let cluster = orphaned().await;
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["state"] = "Active".into());
    for _ in 0..3 {
        step(&cluster).await.unwrap();
    }
    assert_eq!(
        said(&cluster.lock().unwrap().status(), "Stalled").0,
        "True AlreadyActivated"
    );
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["state"] = "StoodDown".into());
    until(&cluster, |status| {
        status
            .registries
            .iter()
            .any(|state| state.adopted_order.is_some())
    })
    .await;
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["state"] = "Active".into());
    step(&cluster).await.unwrap();
    let (reason, message) = said(&cluster.lock().unwrap().status(), "Stalled");
    assert_eq!(reason, "True InvalidName");
    assert!(message.contains("to be given back"), "{message}");
    assert!(is_open(&cluster));
}

/// The custodian has the order still by which home is to be fenced, and the store takes entries again.
fn is_fenced_late(cluster: &Shared, order: &str) {
    let mut cluster = cluster.lock().unwrap();
    let signer = cluster.objects[LIVE]["status"]["registries"][0]["signer"]["publicKey"].clone();
    let report = cluster.reports.get_mut("population").unwrap();
    report["term"] = 2.into();
    report["opening"] = json!({
        "holder": "Embassy", "sequence": 9, "digest": "f".repeat(64), "signer": signer, "order": order,
        "sourceHead": report["sourceHead"],
    });
    cluster.custodian = Custodian::Works;
}

/// An activation whose fence the custodian could not write yet, with the order of it, when everybody turns round.
async fn turned_round() -> (Shared, String) {
    let cluster = approved(alone(true)).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Fencing]).await;
    let order = status.statement.unwrap().order;
    ask(&cluster, Some(HOME));
    until(&cluster, |status| {
        status.approved_at.is_none()
            && status
                .statement
                .as_ref()
                .is_some_and(|statement| statement.order != order)
    })
    .await;
    (cluster, order)
}

async fn goes_home(cluster: &Shared) {
    let status = until(cluster, |status| {
        status.phase == ActivationPhase::StoodDown && status.registries[0].release.is_some()
    })
    .await;
    assert_eq!(status.registries[0].fence, Some(9));
    assert_eq!(
        cluster.lock().unwrap().reports["population"]["opening"]["holder"],
        "Home"
    );
}

#[tokio::test]
async fn a_fence_that_the_ledger_got_while_people_signed_for_the_way_home_is_released() {
    let (cluster, order) = turned_round().await;
    is_fenced_late(&cluster, &order);
    cluster.lock().unwrap().sign(&[2, 3]);
    goes_home(&cluster).await;
}

#[tokio::test]
async fn a_fence_that_the_ledger_got_after_it_was_said_that_there_is_none_is_released() {
    let (cluster, order) = turned_round().await;
    cluster.lock().unwrap().sign(&[2, 3]);
    let status = until(&cluster, |status| status.phase == ActivationPhase::StoodDown).await;
    assert_eq!(status.registries[0].fence, None);
    is_fenced_late(&cluster, &order);
    goes_home(&cluster).await;
}

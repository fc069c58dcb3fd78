//! The way home: approved anew, a last copy, a release.

use dataembassy_contract::custodian::OrderBody;
use dataembassy_crds::{ActivationPhase, RegistryPhase};
use dataembassy_ledger::activation::{State, Statement};
use dataembassy_operator::activation::lanes;
use serde_json::{Value, json};

use super::{HOME, Shared, alone, approved, phases, said, step, until};
use crate::world::read;

/// Asks for the registries to go home.
fn ask(cluster: &Shared, signer: Option<&str>) {
    cluster.lock().unwrap().edit(|activation| {
        activation["spec"]["state"] = "StoodDown".into();
        for registry in activation["spec"]["registries"].as_array_mut().unwrap() {
            registry["homeSigner"] = signer.map_or(Value::Null, Value::from);
        }
    });
}

/// An activation that is served, and is to be stood down by an order that was signed.
async fn standing_down() -> Shared {
    let cluster = approved(alone(true)).await;
    until(&cluster, |status| status.phase == ActivationPhase::Serving).await;
    ask(&cluster, Some(HOME));
    let status = until(&cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    assert_eq!(status.phase, ActivationPhase::AwaitingApproval);
    assert_eq!(
        phases(&status),
        [RegistryPhase::Serving],
        "nothing happens before it is approved"
    );
    let statement = Statement::read(&status.statement.unwrap().text).unwrap();
    assert_eq!(statement.state, State::StoodDown);
    assert_eq!(statement.registries[0].signer.unwrap().to_string(), HOME);
    cluster.lock().unwrap().sign(&[2, 3]);
    cluster
}

#[tokio::test]
async fn a_registry_is_released_after_its_last_copy_and_the_release_is_named() {
    let cluster = standing_down().await;
    until(&cluster, |status| phases(status) == [RegistryPhase::StandingDown]).await;
    for _ in 0..5 {
        step(&cluster).await.unwrap();
    }
    // The copies that there are were taken before.
    assert!(cluster.lock().unwrap().orders().is_empty());
    let status = cluster.lock().unwrap().status();
    assert!(
        status.registries[0].message.contains("last copy"),
        "{}",
        status.registries[0].message
    );

    let taken = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let copy = json!({
        "sequence": 4, "digest": "a".repeat(64), "copyId": "c".repeat(32), "takenAt": taken, "arrivedAt": taken, "bytes": 1, "intact": "Unknown",
    });
    cluster.lock().unwrap().reports.get_mut("population").unwrap()["copies"]
        .as_array_mut()
        .unwrap()
        .insert(0, copy);
    cluster.lock().unwrap().custodian = super::Custodian::Waits;
    until(&cluster, |status| {
        status.registries[0]
            .copy
            .as_ref()
            .is_some_and(|copy| copy.sequence == 4)
    })
    .await;
    let orders = cluster.lock().unwrap().orders();
    assert!(
        matches!(&orders[..], [order] if matches!(order.body, OrderBody::Release(_))),
        "{orders:?}"
    );
    cluster.lock().unwrap().custodian = super::Custodian::Works;
    let status = until(&cluster, |status| status.phase == ActivationPhase::StoodDown).await;
    assert_eq!(
        status.registries[0].release.as_deref(),
        Some("e".repeat(64).as_str())
    );
    assert!(
        status.registries[0].message.contains("adoptRelease"),
        "{}",
        status.registries[0].message
    );
    assert_eq!(said(&status, "Ready").0, "True StoodDown");
    assert!(cluster.lock().unwrap().orders().is_empty());
    let activation = std::sync::Arc::new(read(&cluster.lock().unwrap().activation()));
    assert!(lanes::cut("luxembourg", &[activation]).is_empty());
}

#[tokio::test]
async fn without_the_key_of_homes_mirror_nothing_is_stood_down() {
    let cluster = approved(alone(true)).await;
    until(&cluster, |status| status.phase == ActivationPhase::Serving).await;
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
    until(&cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    cluster.lock().unwrap().sign(&[1, 2]);
    let status = until(&cluster, |status| status.phase == ActivationPhase::StoodDown).await;
    assert!(status.registries[0].release.is_some());
}

#[tokio::test]
async fn signatures_that_are_taken_away_are_missed() {
    let cluster = approved(alone(true)).await;
    cluster.lock().unwrap().custodian = super::Custodian::Silent;
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

//! Cut, then fence: nothing is restored before home is fenced, and nobody is fenced before the gates refuse its puts.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataembassy_contract::config;
use dataembassy_contract::custodian::OrderBody;
use dataembassy_contract::files::CONFIG_FILE;
use dataembassy_crds::RegistryPhase;
use dataembassy_operator::activation::vigil::Vigil;
use dataembassy_operator::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Custodian, HOME, PATIENCE, Shared, alone, approved, cluster, look, look_as, phases, released, said, step,
    until,
};
use crate::world::World;
use crate::world::embassy::{GATES, embassy_settings, gate_report, pod};
use crate::world::process::Processes;

fn gate_config(fenced: bool) -> String {
    json!({
        "embassy": "luxembourg", "generation": 5, "store": {"endpoint": "https://store.embassy.example:9000", "bucket": "registries",
            "region": "us-east-1", "addressing": "Path", "allowInsecure": false},
        "lanes": [{"registry": "population", "term": 1, "fenced": fenced}],
    })
    .to_string()
}

/// What the gates are told, and two gates that have loaded these.
async fn gates(told: &str, loaded: [&str; 2]) -> (impl Fn(&mut World) + use<>, Processes) {
    let processes = Processes::default();
    for (gate, loaded) in GATES.into_iter().zip(loaded) {
        let mut report = gate_report();
        report["loaded"]["digest"] = config::digest(loaded.as_bytes()).into();
        processes.say(gate, "/status", report);
    }
    let port = processes.listen(&GATES).await;
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "luxembourg-gate", "namespace": "dataembassy"},
        "data": {CONFIG_FILE: told},
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "luxembourg-gate", "namespace": "dataembassy", "uid": "uid-luxembourg-gate"},
        "spec": {"selector": {}, "template": {}},
    });
    let change = move |world: &mut World| {
        world.objects.extend([config_map.clone(), deployment.clone()]);
        let [set, first] = pod("gate", 0, GATES[0]);
        let [_, second] = pod("gate", 1, GATES[1]);
        world.objects.extend([set, first, second]);
        let mut settings = embassy_settings();
        settings.status_port = port;
        world.settings = Some(settings);
    };
    (change, processes)
}

/// An activation that has begun to cut.
async fn cutting() -> Shared {
    let cluster = approved(alone(true)).await;
    cluster.lock().unwrap().custodian = Custodian::Silent;
    until(&cluster, |status| phases(status) == [RegistryPhase::Cutting]).await;
    cluster.lock().unwrap().custodian = Custodian::Works;
    cluster
}

fn message(cluster: &Shared) -> String {
    cluster.lock().unwrap().status().registries[0].message.clone()
}

#[tokio::test]
async fn the_custodian_is_asked_when_every_gate_that_runs_has_loaded_that_it_refuses_the_puts() {
    let cluster = cutting().await;
    let (open, closed) = (gate_config(false), gate_config(true));
    for (told, loaded, words) in [
        (&open, [&open, &open], "being told"),
        (&closed, [&open, &open], "has not loaded"),
        (&closed, [&closed, &open], "has not loaded"),
    ] {
        let (change, _processes) = gates(told, loaded.map(String::as_str)).await;
        look(&cluster, change).await.unwrap();
        assert!(message(&cluster).contains(words), "{}", message(&cluster));
        assert!(cluster.lock().unwrap().orders().is_empty());
    }
    // One that runs and says nothing may let puts through.
    let (change, processes) = gates(&closed, [&closed, &closed]).await;
    processes.say(GATES[1], "/status", Value::from("nothing"));
    look(&cluster, change).await.unwrap();
    assert!(
        message(&cluster).contains("does not say"),
        "{}",
        message(&cluster)
    );
    let (change, _processes) = gates(&closed, [&closed, &closed]).await;
    look(&cluster, change).await.unwrap();
    let status = cluster.lock().unwrap().status();
    assert_eq!(phases(&status), [RegistryPhase::Fencing]);
    let orders = cluster.lock().unwrap().orders();
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].id, status.statement.as_ref().unwrap().order);
    let OrderBody::Activate(warrant) = &orders[0].body else {
        panic!("{orders:?}");
    };
    assert_eq!(warrant.statement, status.statement.unwrap().text);
    assert_eq!(warrant.approvals.len(), 2);
}

#[tokio::test]
async fn a_gate_that_says_what_it_lets_in_need_not_have_loaded_the_newest_file() {
    let cluster = cutting().await;
    let closed = gate_config(true);
    let (change, processes) = gates(&closed, ["an older file", "another"]).await;
    let says = |gate: Ipv4Addr, open: Value| {
        let mut report = gate_report();
        report["open"] = open;
        processes.say(gate, "/status", report);
    };
    says(GATES[0], json!(["business"]));
    says(GATES[1], json!(["business", "population"]));
    look(&cluster, &change).await.unwrap();
    assert!(
        message(&cluster).contains("has not loaded"),
        "{}",
        message(&cluster)
    );
    // More than there can be says nothing.
    says(GATES[1], vec!["business"; 513].into());
    look(&cluster, &change).await.unwrap();
    assert!(
        message(&cluster).contains("has not loaded"),
        "{}",
        message(&cluster)
    );
    says(GATES[1], json!([]));
    look(&cluster, &change).await.unwrap();
    assert_eq!(
        phases(&cluster.lock().unwrap().status()),
        [RegistryPhase::Fencing]
    );
}

#[tokio::test]
async fn where_no_gate_runs_nobody_can_put_anything() {
    let cluster = cutting().await;
    step(&cluster).await.unwrap();
    assert_eq!(
        phases(&cluster.lock().unwrap().status()),
        [RegistryPhase::Fencing]
    );
}

#[tokio::test]
async fn nothing_is_restored_before_the_ledger_has_the_fence() {
    let cluster = approved(alone(true)).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    for _ in 0..20 {
        step(&cluster).await.unwrap();
    }
    let status = cluster.lock().unwrap().status();
    assert_eq!(phases(&status), [RegistryPhase::Fencing]);
    assert_eq!(status.registries[0].reason, "StoreUnreachable");
    assert_eq!(status.registries[0].copy, None);
    assert!(cluster.lock().unwrap().made("registryrestores").is_empty());
    cluster.lock().unwrap().custodian = Custodian::Works;
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    assert_eq!(status.registries[0].fence, Some(9));
    assert!(cluster.lock().unwrap().orders().is_empty(), "it was answered");
}

#[tokio::test]
async fn an_order_that_the_custodian_refuses_is_over_and_home_is_let_in_again() {
    let cluster = approved(alone(true)).await;
    cluster.lock().unwrap().custodian = Custodian::Refuses;
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Failed]).await;
    assert_eq!(status.registries[0].reason, "NotApproved");
    assert!(status.registries[0].message.contains("nobody has signed"));
    step(&cluster).await.unwrap();
    let status = cluster.lock().unwrap().status();
    assert_eq!(said(&status, "Stalled").0, "True NotApproved");
    assert!(cluster.lock().unwrap().made("registryrestores").is_empty());
}

/// Makes the approval older than any deadline of the fence.
fn long_ago(cluster: &Shared) {
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["status"]["approvedAt"] = "2026-11-28T09:00:00Z".into());
}

#[tokio::test]
async fn a_fence_that_is_overdue_is_an_alarm_and_waited_for_on() {
    let cluster = approved(alone(true)).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| phases(status) == [RegistryPhase::Fencing]).await;
    let status = cluster.lock().unwrap().status();
    assert_eq!(said(&status, "OnTime").0, "True OnTime");
    long_ago(&cluster);
    step(&cluster).await.unwrap();
    let status = cluster.lock().unwrap().status();
    let (reason, message) = said(&status, "OnTime");
    assert_eq!(reason, "False StepOverdue");
    assert!(
        message.contains("fence") && message.contains("population"),
        "{message}"
    );
    assert_eq!(phases(&status), [RegistryPhase::Fencing]);
    // Nothing goes on any more, which is no reason to call off the alarm.
    let spoil = |activation: &mut Value| activation["spec"]["validUntil"] = "soon".into();
    cluster.lock().unwrap().edit(spoil);
    step(&cluster).await.unwrap();
    let status = cluster.lock().unwrap().status();
    assert_eq!(said(&status, "OnTime").0, "False StepOverdue");
}

#[tokio::test]
async fn only_where_the_approvers_say_so_it_goes_on_unfenced_and_it_is_fenced_as_soon_as_it_can_be() {
    let mut activation = alone(true);
    activation["spec"]["unfenced"] = "Accepted".into();
    let cluster = approved(activation).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| phases(status) == [RegistryPhase::Fencing]).await;
    // Not before its time is over.
    step(&cluster).await.unwrap();
    assert_eq!(
        phases(&cluster.lock().unwrap().status()),
        [RegistryPhase::Fencing]
    );
    long_ago(&cluster);
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    assert_eq!(
        (status.registries[0].reason.as_str(), status.registries[0].fence),
        ("Unfenced", None)
    );
    assert_eq!(said(&status, "Ready").0, "True Unfenced");
    assert_eq!(cluster.lock().unwrap().orders().len(), 1, "it is asked for on");
    cluster.lock().unwrap().custodian = Custodian::Works;
    let status = until(&cluster, |status| status.registries[0].fence.is_some()).await;
    assert_eq!(status.registries[0].reason, "Serving");
}

/// Has the same ordered anew, by another statement.
async fn order_again(cluster: &Shared, restore: &str) {
    let edit = |activation: &mut Value| activation["spec"]["deadlines"]["restore"] = restore.into();
    cluster.lock().unwrap().edit(edit);
    until(cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    cluster.lock().unwrap().sign(&[1, 3]);
    until(cluster, |status| status.approved_at.is_some()).await;
}

/// One order failed and was told; another one served without a fence, which it took a third to find.
#[tokio::test]
async fn what_is_fenced_under_a_later_order_is_told_once_although_an_even_earlier_one_was() {
    let mut activation = alone(true);
    activation["spec"]["unfenced"] = "Accepted".into();
    let cluster = approved(activation).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| phases(status) == [RegistryPhase::Fencing]).await;
    long_ago(&cluster);
    until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    cluster.lock().unwrap().edit(|activation| {
        activation["status"]["registries"][0]["report"] = json!({
            "order": "failed-0badcafe-report", "path": "registries/population/reports/failed-0badcafe-report", "entry": 5,
            "message": "the custodian has signed for it",
        });
    });
    order_again(&cluster, "7h").await;
    cluster.lock().unwrap().custodian = Custodian::Works;
    let status = until(&cluster, |status| {
        let mut reports = status.registries[0].report.iter();
        reports.any(|report| report.order != "failed-0badcafe-report" && report.path.is_some())
    })
    .await;
    assert_eq!(status.registries[0].fence, Some(9));
    let told = cluster.lock().unwrap().told.clone();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0].1["outcome"], "Served");
    order_again(&cluster, "8h").await;
    for _ in 0..5 {
        step(&cluster).await.unwrap();
    }
    assert_eq!(cluster.lock().unwrap().told.len(), 1);
}

/// Somebody sets the clock of the operator's machine ahead: in that time nobody could have been fenced.
#[tokio::test]
async fn a_clock_that_is_set_ahead_lets_no_order_go_on_unfenced() {
    let mut activation = alone(true);
    activation["spec"]["unfenced"] = "Accepted".into();
    let cluster = approved(activation).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    let (vigil, begun) = (Arc::<Vigil>::default(), Instant::now());
    // Looks so often with a clock on which so many seconds have gone, and which somebody has set ahead by so many more.
    let looks = async |gone: u32, ahead: u32| {
        for _ in 0..PATIENCE {
            let vigil = Arc::clone(&vigil);
            let look = look_as(
                &cluster,
                |_| {},
                move |context| {
                    context.vigil = vigil;
                    context.clock = Clock::new(move || {
                        let shown = Timestamp::now() + SignedDuration::from_secs(i64::from(gone + ahead));
                        (shown, begun + Duration::from_secs(gone.into()))
                    });
                },
            );
            look.await.unwrap();
        }
        phases(&cluster.lock().unwrap().status())
    };
    let day = 24 * 3_600;
    assert_eq!(looks(0, 0).await, [RegistryPhase::Fencing]);
    assert_eq!(looks(0, day).await, [RegistryPhase::Fencing]);
    assert_eq!(looks(day, 0).await, [RegistryPhase::Serving]);
    assert_eq!(cluster.lock().unwrap().status().registries[0].reason, "Unfenced");
}

/// An activation with a database that the operator makes, served without a fence, and asked to go home.
async fn unfenced(forgoes: bool) -> Shared {
    let mut activation = alone(false);
    activation["spec"]["unfenced"] = "Accepted".into();
    activation["spec"]["registries"][0]["forgoLastCopy"] = forgoes.into();
    let cluster = approved(activation).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| phases(status) == [RegistryPhase::Fencing]).await;
    long_ago(&cluster);
    until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    super::stand_down::ask(&cluster, Some(HOME));
    cluster
}

#[tokio::test]
async fn applications_that_were_let_in_without_a_fence_are_shut_out_before_it_is_homes_again() {
    let cluster = unfenced(true).await;
    assert!(super::stand_down::is_open(&cluster));
    until(&cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    cluster.lock().unwrap().sign(&[2, 3]);
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::StoodDown]).await;
    assert_eq!(status.registries[0].reason, "NotActivated");
    assert!(!super::stand_down::is_open(&cluster));
}

#[tokio::test]
async fn what_was_written_without_a_fence_is_not_given_up_unasked() {
    let cluster = unfenced(false).await;
    for _ in 0..3 {
        step(&cluster).await.unwrap();
    }
    let status = cluster.lock().unwrap().status();
    let (reason, message) = said(&status, "Stalled");
    assert_eq!(reason, "True Unfenced");
    assert!(message.contains("forgoLastCopy"), "{message}");
    assert_eq!(phases(&status), [RegistryPhase::Serving]);
    assert!(super::stand_down::is_open(&cluster));
}

#[tokio::test]
async fn what_is_not_cut_off_in_the_orders_time_is_not_fenced() {
    let mut activation = alone(true);
    activation["spec"]["validUntil"] = "2026-11-28T10:00:00Z".into();
    let cluster = approved(activation).await;
    // It was approved in time; then the operator was away.
    long_ago(&cluster);
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Failed]).await;
    assert_eq!(status.registries[0].reason, "OrderExpired");
    assert!(cluster.lock().unwrap().orders().is_empty());
    assert!(status.registries[0].steps.iter().all(|step| step.name != "cut"));
}

#[tokio::test]
async fn what_an_earlier_activation_has_given_back_to_home_is_fenced_and_served_again() {
    let cluster = cluster(alone(true));
    released(
        cluster.lock().unwrap().reports.get_mut("population").unwrap(),
        "earlier-0badcafe",
    );
    until(&cluster, |status| status.statement.is_some()).await;
    cluster.lock().unwrap().sign(&[1, 2]);
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    let state = &status.registries[0];
    assert_eq!((state.fence, state.release.as_deref()), (Some(9), None));
}

//! What becomes of a result: it is kept before the pod is told so, it becomes an order, and what the custodian answers is recorded.

use std::sync::Arc;

use dataembassy_contract::custodian::{CustodianConfig, OrderBody, RegistryReport};
use dataembassy_contract::drill::Verdict;
use dataembassy_contract::files::CONFIG_FILE;
use dataembassy_contract::gate::GateConfig;
use dataembassy_crds::{DataEmbassy, RegistryCustody, RegistryDrill};
use dataembassy_operator::drill::orders::orders;
use dataembassy_operator::drill::reconcile;
use dataembassy_operator::embassy;
use dataembassy_operator::embassy::configuration::Documents;
use dataembassy_operator::poll::Known;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Cluster, JOBS, ORDER, STATUS, abroad, after, asking, at_work, counted, recording, result, run, run_in,
    saying, writes,
};
use crate::world::embassy::{embassy_settings, standing};
use crate::world::{Asked, World, client, drill, embassy as reached, lines, read, said, written};

/// A reconcile in a context that knows what the custodian has said of the order.
async fn answered(resource: &Value, cluster: &Cluster, state: &Value) -> Vec<Asked> {
    let (context, log) = cluster.context(&abroad(resource), resource);
    let report = json!({"registry": "population", "orders": [
        {"id": "another", "state": {"done": {"sequence": 1}}}, {"id": ORDER, "state": state}
    ]});
    let known = Known {
        pod_uid: "uid".to_owned(),
        etag: None,
        report: Arc::new(read::<RegistryReport>(&report)),
    };
    context
        .registry_reports
        .keep("luxembourg/population".to_owned(), known);
    run_in(&context, resource).await;
    log.take()
}

#[tokio::test]
async fn a_result_is_kept_before_the_pod_is_told_that_it_was_received() {
    let (resource, mut cluster) = at_work().await;
    let report = json!({"progress": {"phase": "Done"}, "result": result("Passed", "Drilled")});
    let (running, processes, port) = saying(&report).await;
    cluster.pod = Some(running);
    let (context, log) = cluster.context(&asking(port, &resource), &resource);
    // However often it is asked: as long as the status does not have it, the pod is not told.
    for _ in 0..3 {
        run_in(&context, &resource).await;
    }
    let asked = log.take();
    assert_eq!(writes(&asked), [STATUS; 3]);
    assert_eq!(processes.received(), Vec::<Value>::new());
    let kept = after(&resource, &asked);
    let text = kept["status"]["current"]["result"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap()["verdict"], "Passed");
    assert_eq!(said(written(&asked, "/status"), "Ready").1, "Recording");
    // Then it is, and its Job goes.
    let asked = run_kept(&kept, &cluster, &context).await;
    assert_eq!(writes(&asked)[0], format!("DELETE {JOBS}/{ORDER}-1"));
    assert_eq!(processes.received(), [report]);
}

/// A reconcile in the same context, in which the watch and the API server show the newer status.
async fn run_kept(
    resource: &Value,
    cluster: &Cluster,
    context: &Arc<dataembassy_operator::run::Context>,
) -> Vec<Asked> {
    let (newer, log) = cluster.context(
        &World {
            settings: Some(context.settings.clone()),
            ..abroad(resource)
        },
        resource,
    );
    let known = context.drill_reports.get("RegistryDrill/drills/nightly").unwrap();
    newer
        .drill_reports
        .keep("RegistryDrill/drills/nightly".to_owned(), known);
    reconcile(Arc::new(read::<RegistryDrill>(resource)), newer)
        .await
        .unwrap();
    log.take()
}

#[tokio::test]
async fn a_run_that_was_signed_is_recorded_and_leaves_nothing_behind() {
    let (resource, cluster) = recording("Passed", "Drilled").await;
    let asked = answered(&resource, &cluster, &json!({"done": {"sequence": 9}})).await;
    assert_eq!(
        writes(&asked),
        [format!("DELETE {JOBS}/{ORDER}-1"), STATUS.to_owned()]
    );
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["current"], Value::Null);
    let last = &status["status"]["last"];
    assert_eq!(
        (&last["result"], &last["reason"], &last["entry"]),
        (&json!("PASSED"), &json!("DrillPassed"), &json!(9))
    );
    assert_eq!(last["report"], format!("registries/population/reports/{ORDER}"));
    assert_eq!(
        (&last["recovery"], &last["recoverySeconds"]),
        (&json!("48 s of 2h"), &json!(48))
    );
    assert_eq!(
        (&last["assertions"], &last["copy"]["sequence"]),
        (&json!("1 of 1"), &json!(12))
    );
    assert_eq!(status["status"]["runs"], json!([last]));
    assert_eq!(status["status"]["lastPassedTime"], last["endedAt"]);
    assert_eq!(said(status, "Passed").0, "True");
    assert_eq!(said(status, "Ready").1, "Accepted");
    let note = asked
        .iter()
        .find_map(|asked| asked.body["note"].as_str().filter(|note| note.contains("PASSED")));
    assert!(note.is_some_and(|note| note.contains("copy 12")), "{note:?}");
    // The next look has nothing to do.
    let ended = after(&resource, &asked);
    let asked = run(&abroad(&ended), &Cluster::default(), &ended).await;
    assert_eq!(lines(&asked), Vec::<String>::new());
}

#[tokio::test]
async fn a_copy_that_failed_is_signed_as_that_and_counted() {
    let (mut resource, cluster) = recording("Failed", "AnswerWrong").await;
    resource["status"]["lastPassedTime"] = "2026-11-27T03:00:00Z".into();
    resource["status"]["consecutiveFailures"] = 2.into();
    let asked = answered(&resource, &cluster, &json!({"done": {"sequence": 9}})).await;
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["last"]["result"], "FAILED");
    assert_eq!(status["status"]["last"]["entry"], 9);
    assert_eq!(status["status"]["consecutiveFailures"], 3);
    assert_eq!(status["status"]["lastPassedTime"], "2026-11-27T03:00:00Z");
    let (passed, reason, _) = said(status, "Passed");
    assert_eq!((passed.as_str(), reason.as_str()), ("False", "AnswerWrong"));
}

#[tokio::test]
async fn what_the_custodian_refuses_is_inconclusive_and_what_it_waits_for_is_said() {
    let (resource, cluster) = recording("Passed", "Drilled").await;
    let refused = json!({"refused": {"reason": "UnknownCopy", "message": "there is no copy 12"}});
    let asked = answered(&resource, &cluster, &refused).await;
    let status = written(&asked, "/status");
    let last = &status["status"]["last"];
    assert_eq!(
        (&last["result"], &last["reason"]),
        (&json!("INCONCLUSIVE"), &json!("OrderRefused"))
    );
    let message = last["message"].as_str().unwrap();
    assert!(
        message.contains("UnknownCopy") && message.contains("no copy 12"),
        "{message}"
    );
    assert_eq!((&last["entry"], &last["report"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&last["copy"]["sequence"], &last["recoverySeconds"]),
        (&json!(12), &json!(48))
    );
    let (passed, reason, _) = said(status, "Passed");
    assert_eq!((passed.as_str(), reason.as_str()), ("Unknown", "OrderRefused"));

    let waiting = json!({"waiting": {"reason": "StoreUnreachable", "message": "no route"}});
    let asked = answered(&resource, &cluster, &waiting).await;
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["current"]["order"], ORDER);
    let (ready, reason, message) = said(status, "Ready");
    assert_eq!((ready.as_str(), reason.as_str()), ("False", "StoreUnreachable"));
    assert!(message.contains("no route"), "{message}");
}

#[tokio::test]
async fn an_inconclusive_run_is_recorded_without_an_order() {
    let (resource, cluster) = recording("Inconclusive", "StoreUnreachable").await;
    let resources = [Arc::new(read::<RegistryDrill>(&resource))];
    let custodies = [Arc::new(read::<RegistryCustody>(&counted("drills")))];
    assert_eq!(orders("luxembourg", &resources, &custodies), []);
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert_eq!(
        writes(&asked),
        [format!("DELETE {JOBS}/{ORDER}-1"), STATUS.to_owned()]
    );
    let last = &written(&asked, "/status")["status"]["last"];
    assert_eq!(
        (&last["result"], &last["reason"]),
        (&json!("INCONCLUSIVE"), &json!("StoreUnreachable"))
    );
}

#[tokio::test]
async fn a_pod_cannot_speak_for_another_order_registry_or_drill() {
    for (field, value) in [
        ("order", "another-20261128t030000z"),
        ("registry", "health"),
        ("drill", "drills/another"),
    ] {
        let (resource, mut cluster) = at_work().await;
        let mut claimed = result("Passed", "Drilled");
        claimed[field] = value.into();
        let (running, _processes, port) = saying(&json!({"result": claimed})).await;
        cluster.pod = Some(running);
        let asked = run(&asking(port, &resource), &cluster, &resource).await;
        let text = &written(&asked, "/status")["status"]["current"]["result"];
        let kept: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        assert_eq!(
            (&kept["verdict"], &kept["reason"]),
            (&json!("Inconclusive"), &json!("InternalError"))
        );
        assert_eq!(kept["order"], ORDER);
        // Nor can whoever writes it into the status.
        let (mut forged, cluster) = recording("Passed", "Drilled").await;
        forged["status"]["current"]["result"] = claimed.to_string().into();
        let drills = [Arc::new(read::<RegistryDrill>(&forged))];
        let custodies = [Arc::new(read::<RegistryCustody>(&counted("drills")))];
        assert_eq!(orders("luxembourg", &drills, &custodies), [], "{field}");
        let asked = answered(&forged, &cluster, &json!({"done": {"sequence": 9}})).await;
        assert_eq!(
            written(&asked, "/status")["status"]["last"]["result"],
            "INCONCLUSIVE"
        );
    }
}

#[tokio::test]
async fn a_database_that_was_killed_at_its_limit_is_named() {
    let (resource, mut cluster) = at_work().await;
    let report = json!({"result": result("Inconclusive", "CellLost")});
    let (mut running, _processes, port) = saying(&report).await;
    running["status"]["initContainerStatuses"] = json!([{
        "name": "database", "image": "postgres:17", "imageID": "", "ready": true, "restartCount": 1,
        "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }]);
    cluster.pod = Some(running);
    let asked = run(&asking(port, &resource), &cluster, &resource).await;
    let text = &written(&asked, "/status")["status"]["current"]["result"];
    let kept: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    assert_eq!(kept["reason"], "OutOfMemory");
    assert!(
        kept["message"]
            .as_str()
            .unwrap()
            .contains("spec.server.resources"),
        "{kept}"
    );
}

#[tokio::test]
async fn a_registry_that_counts_drills_no_more_ends_the_wait_for_its_signature() {
    let (resource, cluster) = recording("Passed", "Drilled").await;
    let world = World {
        settings: Some(embassy_settings()),
        ..World::of(&[reached(), counted("elsewhere"), resource.clone()])
    };
    let asked = run(&world, &cluster, &resource).await;
    let last = &written(&asked, "/status")["status"]["last"];
    assert_eq!(
        (&last["result"], &last["reason"]),
        (&json!("INCONCLUSIVE"), &json!("DrillNotAllowed"))
    );
}

/// A pipeline that replaces a resource deletes it first.
#[tokio::test]
async fn a_registry_that_is_deleted_and_made_again_costs_no_result() {
    // A year ahead, by a clock of the pod's that was wrong, is not waited for.
    for (minutes, ends) in [(1, false), (11, true), (-60 * 24 * 365, true)] {
        let (mut resource, cluster) = recording("Passed", "Drilled").await;
        let kept = &mut resource["status"]["current"]["result"];
        let mut result: Value = serde_json::from_str(kept.as_str().unwrap()).unwrap();
        let ended = Timestamp::now() - SignedDuration::from_mins(minutes);
        result["endedAt"] = ended.to_string().into();
        *kept = result.to_string().into();
        let world = World {
            settings: Some(embassy_settings()),
            ..World::of(&[reached(), resource.clone()])
        };
        let asked = run(&world, &cluster, &resource).await;
        let has_ended = asked
            .iter()
            .any(|asked| asked.body["status"]["last"]["reason"] == "DrillNotAllowed");
        assert_eq!(has_ended, ends, "{asked:#?}");
    }
}

#[tokio::test]
async fn the_history_remembers_as_many_of_each_kind_as_it_is_told() {
    let (mut resource, cluster) = recording("Passed", "Drilled").await;
    resource["spec"]["history"] = json!({"passed": 1, "failed": 2});
    let ended = |order: &str, result: &str| json!({"order": order, "result": result, "reason": "x", "message": "x", "startedAt": "2026-11-27T03:00:00Z", "endedAt": "2026-11-27T03:00:00Z"});
    resource["status"]["runs"] = json!([
        ended("e", "FAILED"),
        ended("d", "PASSED"),
        ended("c", "INCONCLUSIVE"),
        ended("b", "FAILED"),
        ended("a", "PASSED")
    ]);
    let asked = answered(&resource, &cluster, &json!({"done": {"sequence": 9}})).await;
    let runs = written(&asked, "/status")["status"]["runs"].as_array().unwrap();
    let orders: Vec<&Value> = runs.iter().map(|run| &run["order"]).collect();
    assert_eq!(orders, [ORDER, "e", "c"]);
}

/// A drill of this name whose run began at an hour and has a result.
fn asking_for(name: &str, hour: u32) -> RegistryDrill {
    let mut resource = drill(name);
    let order = format!("{name}-20261128t{hour:02}0000z");
    let mut found = result("Failed", "AnswerWrong");
    found["order"] = order.clone().into();
    found["drill"] = format!("drills/{name}").into();
    resource["status"] = json!({"current": {
        "order": order, "startedAt": format!("2026-11-28T{hour:02}:00:00Z"), "attempt": 1, "words": "", "result": found.to_string()
    }});
    read(&resource)
}

#[test]
fn the_oldest_results_that_count_become_orders_in_a_stable_order() {
    let mut drills: Vec<Arc<RegistryDrill>> = (0..20)
        .map(|number| Arc::new(asking_for(&format!("drill-{number:02}"), 23 - number)))
        .collect();
    let custodies = [Arc::new(read::<RegistryCustody>(&counted("drills")))];
    let ids = |drills: &[Arc<RegistryDrill>]| -> Vec<String> {
        let orders = orders("luxembourg", drills, &custodies).into_iter();
        orders.map(|order| order.id).collect()
    };
    let found = ids(&drills);
    let expected: Vec<String> = (4..20)
        .rev()
        .map(|number| format!("drill-{number:02}-20261128t{:02}0000z", 23 - number))
        .collect();
    assert_eq!(found, expected);
    drills.reverse();
    assert_eq!(ids(&drills), found);
    // Those of another embassy and another namespace, and of one that is being deleted, are none.
    assert_eq!(orders("atlantis", &drills, &custodies), []);
    let elsewhere = [Arc::new(read::<RegistryCustody>(&counted("elsewhere")))];
    assert_eq!(orders("luxembourg", &drills, &elsewhere), []);
    let mut leaving = asking_for("leaving", 1);
    leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
    assert_eq!(orders("luxembourg", &[Arc::new(leaving)], &custodies), []);
}

#[test]
fn an_order_that_only_another_drill_could_have_made_is_none() {
    let custodies = [Arc::new(read::<RegistryCustody>(&counted("drills")))];
    for stolen in ["other-20261128t010000z", "drill-other-20261128t010000z", "Drill"] {
        let mut drill = asking_for("drill", 1);
        let current = drill.status.as_mut().unwrap().current.as_mut().unwrap();
        let text = current.result.as_ref().unwrap();
        current.result = Some(text.replace(&current.order, stolen));
        stolen.clone_into(&mut current.order);
        assert_eq!(
            orders("luxembourg", &[Arc::new(drill)], &custodies),
            [],
            "{stolen}"
        );
    }
}

#[test]
fn orders_leave_room_in_the_configuration_for_the_registries() {
    let long = |number: u32| {
        let mut drill = asking_for(&format!("drill-{number:02}"), number);
        let current = drill.status.as_mut().unwrap().current.as_mut().unwrap();
        let mut found: Value = serde_json::from_str(current.result.as_ref().unwrap()).unwrap();
        found["assertions"] = (0..64)
            .map(|number| json!({"name": format!("a-{number}"), "kind": "Sql", "passed": false, "expected": "x".repeat(150), "found": "y".repeat(150)}))
            .collect();
        current.result = Some(found.to_string());
        Arc::new(drill)
    };
    let drills: Vec<Arc<RegistryDrill>> = (0..16).map(long).collect();
    let custodies = [Arc::new(read::<RegistryCustody>(&counted("drills")))];
    let found = orders("luxembourg", &drills, &custodies);
    let bytes = serde_json::to_string_pretty(&found).unwrap().len();
    assert!(!found.is_empty() && found.len() < 16, "{}", found.len());
    assert!(bytes < 300 * 1024, "{bytes}");
    assert_eq!(found[0].id, "drill-00-20261128t000000z");
}

/// What custodian and gate are told where this drill is there.
async fn told(resource: Option<&Value>) -> Documents {
    let mut objects = vec![standing(), counted("drills")];
    objects.extend(resource.cloned());
    let world = World {
        settings: Some(embassy_settings()),
        ..World::of(&objects)
    };
    let (client, log) = client(|_| None);
    let embassy = Arc::new(read::<DataEmbassy>(&standing()));
    embassy::reconcile(embassy, world.context(client)).await.unwrap();
    let asked = log.take();
    let document = |part: &str| {
        let map = written(&asked, &format!("/configmaps/luxembourg-{part}"));
        map["data"][CONFIG_FILE].as_str().unwrap().to_owned()
    };
    Documents {
        custodian: CustodianConfig::from_json(document("custodian").as_bytes()).unwrap(),
        gate: GateConfig::from_json(document("gate").as_bytes()).unwrap(),
    }
}

#[tokio::test]
async fn the_custodian_is_told_of_an_order_and_its_kubelet_is_called_for_it() {
    let (resource, _) = recording("Passed", "Drilled").await;
    let (before, after) = (told(None).await, told(Some(&resource)).await);
    assert_eq!(before.custodian.orders, []);
    let [order] = &after.custodian.orders[..] else {
        panic!("{:?}", after.custodian.orders)
    };
    assert_eq!(
        (order.id.as_str(), order.registry.as_str()),
        (ORDER, "population")
    );
    let OrderBody::Drill(found) = &order.body else {
        panic!("another order: {order:?}");
    };
    assert_eq!(found.verdict, Verdict::Passed);
    assert_ne!(before.custodian_digest(), after.custodian_digest());
    assert_eq!(before.gate_digest(), after.gate_digest());
    // Once it is answered it is there no more, and everything as it was.
    assert_eq!(told(Some(&drill("nightly"))).await, before);
}

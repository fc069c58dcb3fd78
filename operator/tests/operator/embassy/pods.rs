//! What keeps custodian and gates from running, in the words of whoever keeps them from it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{run, settled};
use crate::world::embassy::{GATES, pod, standing};
use crate::world::{World, lines, refusals, said, written};

/// What is said of a part, and how it is spoken of.
const PARTS: [(&str, &str, &str); 2] = [
    ("custodian", "CustodianReady", "spec.custodian"),
    ("gate", "GateReady", "spec.custodian.gate"),
];

/// The pods of a part.
fn pods_of<'w>(world: &'w mut World, part: &str) -> impl Iterator<Item = &'w mut Value> {
    world
        .objects
        .iter_mut()
        .filter(move |object| is_pod_of(object, part))
}

/// The Deployment of a part.
fn deployment<'w>(world: &'w mut World, part: &str) -> &'w mut Value {
    let name = format!("luxembourg-{part}");
    let mut objects = world.objects.iter_mut();
    let is_it = |object: &&mut Value| object["kind"] == "Deployment" && object["metadata"]["name"] == name;
    objects.find(is_it).unwrap()
}

/// Whether an object is a pod of a part, all of which are called after it.
fn is_pod_of(object: &Value, part: &str) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    object["kind"] == "Pod" && name.starts_with(&format!("luxembourg-{part}-"))
}

/// Says this of the Deployment of a part.
fn judge(world: &mut World, part: &str, conditions: &Value) {
    deployment(world, part)["status"]["conditions"] = conditions.clone();
}

/// Says this of the pod of this number of a part alone.
fn strike_one(world: &mut World, part: &str, number: usize, status: &Value) {
    let name = format!("luxembourg-{part}-1-{number}");
    let struck = pods_of(world, part).find(|pod| pod["metadata"]["name"] == name);
    struck.unwrap()["status"] = status.clone();
}

/// Says this of every pod of a part.
fn strike(world: &mut World, part: &str, status: &Value) {
    for pod in pods_of(world, part) {
        pod["status"] = status.clone();
    }
}

fn container(part: &str, state: &Value, last: &Value) -> Value {
    json!({"phase": "Running", "containerStatuses": [{
        "name": part, "image": "sidecar@sha256:0000", "imageID": "", "ready": false, "restartCount": 4, "state": state, "lastState": last,
    }]})
}

#[tokio::test]
async fn a_custodian_and_a_gate_that_are_not_let_in_say_by_whom_and_nothing_is_written_twice() {
    for (part, condition, _) in PARTS {
        for words in refusals::ALL {
            let (mut world, mut resource, _running) = settled(&standing(), &[]).await;
            world.objects.retain(|object| !is_pod_of(object, part));
            judge(&mut world, part, &refusals::condition(words));
            let asked = run(&world, &resource).await;
            let status = written(&asked, "/status");
            let (ready, reason, message) = said(status, condition);
            assert_eq!(
                (ready.as_str(), reason.as_str()),
                ("False", "PodRefused"),
                "{part}: {message}"
            );
            assert!(message.contains(words), "{part}: {message}");
            resource["status"] = status["status"].clone();
            let again = lines(&run(&world, &resource).await);
            assert!(again.is_empty(), "{part}: {again:?}");
        }
    }
}

#[tokio::test]
async fn what_keeps_a_custodian_and_a_gate_from_running_is_said_with_what_to_do() {
    let none = json!({});
    let unplaced = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."}]});
    let killed =
        json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-23T10:00:00Z"}});
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}});
    let ended =
        json!({"terminated": {"exitCode": 2, "reason": "Error", "finishedAt": "2026-11-23T10:00:00Z"}});
    let imageless = json!({"waiting": {"reason": "ErrImagePull", "message": "failed to pull and unpack image: not found"}});
    for (part, condition, settings) in PARTS {
        let more_memory = format!("raise {settings}.resources.limits.memory");
        for (status, expected, words) in [
            (unplaced.clone(), "Unschedulable", "2 Insufficient cpu"),
            (
                container(part, &waiting, &killed),
                "OutOfMemory",
                more_memory.as_str(),
            ),
            (container(part, &waiting, &ended), "CrashLooping", "with status 2"),
            (container(part, &imageless, &none), "ImagePullFailed", "not found"),
        ] {
            let (mut world, resource, _running) = settled(&standing(), &[]).await;
            strike(&mut world, part, &status);
            let asked = run(&world, &resource).await;
            let (ready, reason, message) = said(written(&asked, "/status"), condition);
            assert_eq!(
                (ready.as_str(), reason.as_str()),
                ("False", expected),
                "{part}: {message}"
            );
            assert!(message.contains(words), "{part}: {message}");
        }
    }
}

/// Puts the containers of every pod of a part into this state, while the pods run and answer.
fn restart(world: &mut World, part: &str, times: i32, end: &str, begun: Timestamp) {
    for pod in pods_of(world, part) {
        pod["status"]["containerStatuses"] = json!([{
            "name": part, "image": "sidecar@sha256:0000", "imageID": "", "ready": true, "restartCount": times,
            "state": {"running": {"startedAt": begun}},
            "lastState": {"terminated": {"exitCode": 137, "reason": end, "finishedAt": begun}},
        }]);
    }
}

/// Between two ends it answers: whoever looks then must not be told that all is well.
#[tokio::test]
async fn a_custodian_and_a_gate_that_end_again_and_again_are_not_ready_while_they_run_in_between() {
    let ago = |seconds| Timestamp::now() - SignedDuration::from_secs(seconds);
    for (part, condition, settings) in PARTS {
        for (times, end, begun, status, reason) in [
            (2, "Error", ago(10), "False", Some("CrashLooping")),
            (2, "OOMKilled", ago(10), "False", Some("OutOfMemory")),
            (1, "Error", ago(10), "True", None),
            (2, "Error", ago(600), "True", None),
        ] {
            let (mut world, mut resource, _running) = settled(&standing(), &[]).await;
            // What is told now is told anew.
            resource.as_object_mut().unwrap().remove("status");
            restart(&mut world, part, times, end, begun);
            let asked = run(&world, &resource).await;
            let told = written(&asked, "/status");
            for kind in [condition, "Ready"] {
                let (found, why, message) = said(told, kind);
                assert_eq!(found, status, "{part}, {times} {end}, {kind}: {message}");
                assert!(reason.is_none_or(|reason| reason == why), "{part}, {kind}: {why}");
            }
            let (_, _, message) = said(told, condition);
            if reason == Some("OutOfMemory") {
                assert!(
                    message.contains(&format!("raise {settings}.resources.limits.memory")),
                    "{message}"
                );
            }
        }
    }
}

/// Home has a door, and what was asked for is not there.
#[tokio::test]
async fn one_gate_that_lets_home_in_does_not_hide_what_keeps_another_from_it() {
    let unplaced = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 2 Insufficient cpu."}]});
    let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let looping = container(
        "gate",
        &json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        &killed,
    );
    for (status, expected, words) in [
        (unplaced, "Unschedulable", "2 Insufficient cpu"),
        (
            looping,
            "OutOfMemory",
            "raise spec.custodian.gate.resources.limits.memory",
        ),
    ] {
        let (mut world, resource, _running) = settled(&standing(), &[]).await;
        strike_one(&mut world, "gate", 0, &status);
        let asked = run(&world, &resource).await;
        let (gate, _, message) = said(written(&asked, "/status"), "GateReady");
        assert_eq!(gate, "True", "{message}");
        assert!(message.contains("1 of 2") && message.contains(words), "{message}");
        let (ready, reason, message) = said(written(&asked, "/status"), "Ready");
        assert_eq!((ready.as_str(), reason.as_str()), ("False", expected));
        assert!(message.contains(words), "{message}");
    }
}

/// The old ones go on; the new one is refused, and so nothing of what was asked for comes.
#[tokio::test]
async fn a_gate_that_is_not_let_into_the_place_of_an_old_one_says_by_whom() {
    for words in refusals::ALL {
        let (mut world, mut resource, _running) = settled(&standing(), &[]).await;
        judge(&mut world, "gate", &refusals::condition(words));
        deployment(&mut world, "gate")["status"]["updatedReplicas"] = 0.into();
        let asked = run(&world, &resource).await;
        let status = written(&asked, "/status");
        let (gate, _, message) = said(status, "GateReady");
        assert_eq!(gate, "True", "{message}");
        assert!(message.contains("2 of 2") && message.contains(words), "{message}");
        let (ready, reason, message) = said(status, "Ready");
        assert_eq!((ready.as_str(), reason.as_str()), ("False", "PodRefused"));
        assert!(message.contains(words), "{message}");
        resource["status"] = status["status"].clone();
        let again = lines(&run(&world, &resource).await);
        assert!(again.is_empty(), "{again:?}");
    }
}

/// It stays in the list for as long as nobody deletes it, and that is no trouble once others run in its place.
#[tokio::test]
async fn an_evicted_gate_is_not_held_against_those_that_run() {
    let (mut world, mut resource, _running) = settled(&standing(), &[]).await;
    let [_, mut evicted] = pod("gate", 7, GATES[0]);
    evicted["metadata"]["creationTimestamp"] = "2026-11-23T10:00:00Z".into();
    evicted["status"] = json!({"phase": "Failed", "reason": "Evicted", "containerStatuses": [{
        "name": "gate", "image": "sidecar@sha256:0000", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }]});
    world.objects.push(evicted);
    resource.as_object_mut().unwrap().remove("status");
    let asked = run(&world, &resource).await;
    for kind in ["GateReady", "Ready"] {
        let (found, _, message) = said(written(&asked, "/status"), kind);
        assert_eq!(found, "True", "{kind}: {message}");
    }
}

/// It stays in the list for as long as nobody deletes it.
#[tokio::test]
async fn an_evicted_pod_does_not_hide_that_the_next_one_is_refused() {
    for (part, condition, _) in PARTS {
        let (mut world, resource, _running) = settled(&standing(), &[]).await;
        let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. "});
        strike(&mut world, part, &evicted);
        judge(&mut world, part, &refusals::condition(refusals::QUOTA));
        let asked = run(&world, &resource).await;
        let (ready, reason, message) = said(written(&asked, "/status"), condition);
        assert_eq!(
            (ready.as_str(), reason.as_str()),
            ("False", "PodRefused"),
            "{part}: {message}"
        );
        assert!(message.contains("exceeded quota: strict"), "{part}: {message}");
    }
}

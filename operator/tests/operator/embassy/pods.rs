//! What keeps custodian and gates from running, in the words of whoever keeps them from it.

use serde_json::{Value, json};

use super::{run, settled};
use crate::world::embassy::standing;
use crate::world::{World, lines, refusals, said, written};

/// What is said of a part, and how it is spoken of.
const PARTS: [(&str, &str, &str); 2] = [
    ("custodian", "CustodianReady", "spec.custodian"),
    ("gate", "GateReady", "spec.custodian.gate"),
];

/// Whether an object is a pod of a part, all of which are called after it.
fn is_pod_of(object: &Value, part: &str) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    object["kind"] == "Pod" && name.starts_with(&format!("luxembourg-{part}-"))
}

/// Says this of the Deployment of a part.
fn judge(world: &mut World, part: &str, conditions: &Value) {
    for object in &mut world.objects {
        if object["kind"] == "Deployment" && object["metadata"]["name"] == format!("luxembourg-{part}") {
            object["status"]["conditions"] = conditions.clone();
        }
    }
}

/// Says this of every pod of a part.
fn strike(world: &mut World, part: &str, status: &Value) {
    for object in world.objects.iter_mut().filter(|object| is_pod_of(object, part)) {
        object["status"] = status.clone();
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

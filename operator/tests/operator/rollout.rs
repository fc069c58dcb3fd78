//! When a new pod waits for the run in progress, and when that is no run worth waiting for.

use crate::mirror::{OBJECTS, pod, run, settled};
use crate::world::process::answering;
use crate::world::{lines, mirror, settings, written};
use dataembassy_operator::settings::Settings;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Whether a new pod is made while the sidecar's container is as `container` says, and has said, or says now, that it makes a copy.
async fn is_replaced(container: &Value, last_copy: &Value, answers: bool) -> bool {
    is_replaced_of(Timestamp::now(), container, last_copy, answers).await
}

/// The same of a copy that began at this moment.
async fn is_replaced_of(began: Timestamp, container: &Value, last_copy: &Value, answers: bool) -> bool {
    let (mut world, mut resource) = settled(&mirror("population")).await;
    let report = json!({
        "loaded": {"generation": 3, "digest": "d"},
        "run": {"startedAt": began, "deadlineAt": began, "progress": {"phase": "Copying"}}
    });
    // Nobody listens at the first port.
    let port = if answers { answering(report).await } else { 1 };
    resource["status"]["run"] = json!({"startedAt": began, "deadlineAt": began, "phase": "Copying"});
    resource["status"]["lastCopy"] = last_copy.clone();
    let [set, mut pod] = pod(&json!({}));
    pod["status"]["containerStatuses"] = json!([container]);
    world.objects.extend([set, pod]);
    world.settings = Some(Settings {
        status_port: port,
        sidecar_image: "sidecar@sha256:1111".to_owned(),
        ..settings()
    });
    let asked = run(&world, &resource).await;
    assert!(written(&asked, "/status")["status"]["conditions"].is_array());
    lines(&asked).contains(&format!("PATCH {}", OBJECTS[3]))
}

fn container(state: &Value, last_state: &Value) -> Value {
    json!({
        "name": "sidecar", "image": "sidecar", "imageID": "", "ready": true, "restartCount": 1,
        "state": state, "lastState": last_state,
    })
}

fn copied(at: &str) -> Value {
    json!({"sequence": 1, "digest": "a".repeat(64), "takenAt": at, "committedAt": at, "bytes": 1, "size": "1 B"})
}

#[tokio::test]
async fn a_run_in_progress_is_waited_for_whether_or_not_its_sidecar_answers() {
    let sound = container(&json!({"running": {}}), &json!({}));
    for answers in [true, false] {
        assert!(!is_replaced(&sound, &Value::Null, answers).await, "{answers}");
    }
}

#[tokio::test]
async fn a_run_that_a_wrong_clock_has_dated_is_not_waited_for_until_that_day_comes() {
    let sound = container(&json!({"running": {}}), &json!({}));
    let began = Timestamp::now() + SignedDuration::from_hours(24 * 365);
    for answers in [true, false] {
        assert!(
            is_replaced_of(began, &sound, &Value::Null, answers).await,
            "{answers}"
        );
    }
}

#[tokio::test]
async fn nobody_waits_for_the_run_of_a_sidecar_that_does_not_run_any_more() {
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
    for state in [&waiting, &ended] {
        let down = container(state, &ended);
        assert!(is_replaced(&down, &Value::Null, false).await, "{state}");
    }
}

#[tokio::test]
async fn who_gives_a_sidecar_more_memory_waits_for_no_run_that_it_will_be_killed_in() {
    let killed =
        json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-23T10:00:00Z"}});
    let again = container(&json!({"running": {}}), &killed);
    assert!(is_replaced(&again, &Value::Null, true).await);
    assert!(is_replaced(&again, &copied("2026-11-23T09:59:00Z"), true).await);
    // It has shown that it can do with what it has.
    assert!(!is_replaced(&again, &copied("2026-11-23T10:01:00Z"), true).await);
    // A copy that a wrong clock has dated ahead shows nothing.
    let ahead = (Timestamp::now() + SignedDuration::from_hours(24 * 365)).to_string();
    assert!(is_replaced(&again, &copied(&ahead), true).await);
}

//! How a run goes: what is said of it while it is at work, how it ends without a result, and when another attempt is made.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Cluster, EVENTS, JOBS, LIVE, ORDER, PODS, STATUS, abroad, after, asking, at_work, begun, counted, job,
    pod, run, saying, writes,
};
use crate::world::{World, embassy, lines, refusals, said, written};

/// The result that was kept, of a status that was written.
fn kept(status: &Value) -> Value {
    serde_json::from_str(status["status"]["current"]["result"].as_str().unwrap()).unwrap()
}

/// A drill of which no attempt is left.
async fn last_attempt() -> (Value, Cluster) {
    let (mut resource, cluster) = at_work().await;
    resource["spec"]["retries"] = 0.into();
    (resource, cluster)
}

#[tokio::test]
async fn a_look_at_a_run_that_finds_nothing_new_writes_nothing() {
    let (resource, cluster) = at_work().await;
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert_eq!(
        lines(&asked),
        [format!("GET {JOBS}/{ORDER}-1"), format!("GET {PODS}")]
    );
    let mut resource = resource;
    let status = json!({"status": resource["status"].take()});
    assert_eq!(
        (
            said(&status, "Ready").0.as_str(),
            said(&status, "Ready").1.as_str()
        ),
        ("True", "Drilling")
    );
}

#[tokio::test]
async fn a_drill_says_since_when_its_identity_lies_in_the_cluster_until_a_pod_misses_it() {
    let (mut resource, mut cluster) = at_work().await;
    resource["status"]["identity"] = json!({
        "secret": "drill-identity", "presentSince": "2026-11-25T03:00:00Z", "lookedAt": "2026-11-27T03:00:00Z",
    });
    let mut report = json!({
        "copy": {"sequence": 3, "copyId": "07".repeat(16), "takenAt": "2026-11-23T10:00:00Z"},
        "progress": {"phase": "Rows", "bytes": 0, "rows": 0, "rate": 0},
    });
    let mut look = async |report: &Value, resource: &Value| {
        let (mut running, _processes, port) = saying(report).await;
        running["status"]["startTime"] = "2026-11-28T03:00:00Z".into();
        cluster.pod = Some(running);
        let asked = run(&asking(port, resource), &cluster, resource).await;
        written(&asked, "/status").clone()
    };
    let found = look(&report, &resource).await;
    assert_eq!(
        found["status"]["identity"],
        json!({"secret": "drill-identity", "presentSince": "2026-11-25T03:00:00Z", "lookedAt": "2026-11-28T03:00:00Z"})
    );
    assert_eq!(said(&found, "IdentityPresent").0, "True");
    // Another run, whose pod does not find it.
    report = json!({
        "missingSecrets": [{"secret": "Identity", "key": "identity.txt"}],
        "progress": {"phase": "Waiting", "bytes": 0, "rows": 0, "rate": 0},
    });
    let lacked = look(&report, &resource).await;
    assert!(lacked["status"]["identity"]["presentSince"].is_null(), "{lacked}");
    assert_eq!(
        (
            said(&lacked, "IdentityPresent").0.as_str(),
            said(&lacked, "IdentityPresent").1.as_str()
        ),
        ("False", "IdentityAbsent")
    );
}

#[tokio::test]
async fn what_a_run_reports_is_shown_and_missing_secrets_are_named() {
    let (resource, mut cluster) = at_work().await;
    let mut report = json!({
        "version": "0.1.0",
        "missingSecrets": [{"secret": "Identity", "key": "identity.txt"}],
        "progress": {"phase": "Waiting", "bytes": 0, "rows": 0, "rate": 0},
    });
    let (running, processes, port) = saying(&report).await;
    cluster.pod = Some(running);
    let asked = run(&asking(port, &resource), &cluster, &resource).await;
    let status = written(&asked, "/status");
    let (_, reason, message) = said(status, "Ready");
    assert_eq!(reason, "SecretMissing");
    assert!(
        message.contains("drill-identity") && message.contains("identity.txt"),
        "{message}"
    );
    assert_eq!(status["status"]["current"]["words"], "waiting: SecretMissing");
    // The kubelet is called, so that a Secret that comes reaches the pod at once.
    assert!(lines(&asked).contains(&format!("PATCH {PODS}/drill-x")));

    report = json!({
        "progress": {"phase": "Questioning", "bytes": 42, "rows": 7, "share": 1.0, "rate": 21},
        "copy": {"sequence": 3, "copyId": "07".repeat(16), "takenAt": "2026-11-23T10:00:00Z"},
    });
    processes.say(std::net::Ipv4Addr::LOCALHOST, "/status", report.clone());
    let resource = after(&resource, &asked);
    let asked = run(&asking(port, &resource), &cluster, &resource).await;
    let status = written(&asked, "/status");
    assert_eq!(
        status["status"]["current"]["words"],
        "asking the restored database, 100 %"
    );
    assert_eq!(status["status"]["current"]["copy"]["sequence"], 3);
    assert_eq!(said(status, "Reconciling").0, "");
    // What a pod says later of the copy changes nothing.
    report["copy"]["sequence"] = 4.into();
    processes.say(std::net::Ipv4Addr::LOCALHOST, "/status", report);
    let resource = after(&resource, &asked);
    let asked = run(&asking(port, &resource), &cluster, &resource).await;
    assert_eq!(writes(&asked), Vec::<String>::new());
}

#[tokio::test]
async fn a_pod_that_cannot_start_says_why() {
    let (resource, mut cluster) = at_work().await;
    let mut ours = pod(&json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}));
    ours["status"]["phase"] = "Pending".into();
    let mut database = pod(&json!({"waiting": {"reason": "PodInitializing"}}));
    database["status"]["phase"] = "Pending".into();
    database["status"]["initContainerStatuses"] = json!([{
        "name": "database", "image": "postgres:nowhere", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}},
    }]);
    let mut unscheduled = pod(&json!({"waiting": {"reason": "PodInitializing"}}));
    unscheduled["status"] = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    ]});
    let mut killed = database.clone();
    killed["status"]["initContainerStatuses"][0]["state"] =
        json!({"waiting": {"reason": "CrashLoopBackOff"}});
    killed["status"]["initContainerStatuses"][0]["lastState"] =
        json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    for (pod, reason, words) in [
        (ours, "ImagePullFailed", "sidecar"),
        (killed, "OutOfMemory", "spec.server.resources.limits.memory, or"),
        (database, "ImagePullFailed", "postgres:nowhere"),
        (unscheduled, "Unschedulable", "0/1 nodes"),
    ] {
        cluster.pod = Some(pod);
        let asked = run(&abroad(&resource), &cluster, &resource).await;
        let status = written(&asked, "/status");
        let (ready, found, message) = said(status, "Ready");
        assert_eq!((ready.as_str(), found.as_str()), ("False", reason));
        assert!(message.contains(words), "{message}");
        assert_eq!(said(status, "Reconciling").0, "True");
        assert_eq!(status["status"]["current"]["words"], format!("waiting: {reason}"));
    }
    // Without a pod, and with one that does not answer.
    cluster.pod = None;
    cluster.job.as_mut().unwrap()["metadata"]["creationTimestamp"] = "2026-11-23T09:00:00Z".into();
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert_eq!(said(written(&asked, "/status"), "Ready").1, "PodRefused");
    for words in refusals::ALL {
        cluster.said = Some(words);
        let asked = run(&abroad(&resource), &cluster, &resource).await;
        let status = written(&asked, "/status");
        let (ready, reason, message) = said(status, "Ready");
        assert_eq!((ready.as_str(), reason.as_str()), ("False", "PodRefused"));
        assert!(
            message.contains(words) && message.contains("policies of the namespace drills"),
            "{message}"
        );
        assert_eq!(status["status"]["current"]["words"], "waiting: PodRefused");
        let looks = asked
            .iter()
            .filter(|asked| asked.method == "GET" && asked.path == EVENTS);
        assert_eq!(looks.count(), 1);
    }
    let (silent, _, _) = saying(&json!({})).await;
    cluster.pod = Some(silent);
    let asked = run(&asking(9, &resource), &cluster, &resource).await;
    assert_eq!(said(written(&asked, "/status"), "Ready").1, "SidecarSilent");
}

#[tokio::test]
async fn neither_suspension_nor_an_edit_that_is_not_valid_stops_a_run_at_work() {
    let (resource, cluster) = at_work().await;
    let mut suspended = resource.clone();
    suspended["spec"]["suspend"] = true.into();
    suspended["metadata"]["generation"] = 2.into();
    let asked = run(&abroad(&suspended), &cluster, &suspended).await;
    assert_eq!(writes(&asked), [STATUS]);
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["current"]["jobUid"], "uid-job-1");
    assert_eq!(said(status, "Ready").1, "Drilling");

    let mut invalid = resource.clone();
    invalid["spec"]["server"]["volumeSize"] = "lots".into();
    let asked = run(&abroad(&invalid), &cluster, &invalid).await;
    assert_eq!(writes(&asked), [STATUS]);
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["current"]["jobUid"], "uid-job-1");
    let (_, reason, message) = said(status, "Stalled");
    assert_eq!(reason, "InvalidQuantity");
    assert!(message.contains("goes on"), "{message}");
}

#[tokio::test]
async fn a_pod_that_was_lost_is_tried_again_under_the_same_order_as_often_as_said() {
    let (resource, mut cluster) = at_work().await;
    cluster.pod = Some(pod(&json!({"terminated": {"exitCode": 137, "reason": "Error"}})));
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert_eq!(
        writes(&asked),
        [format!("DELETE {JOBS}/{ORDER}-1"), STATUS.to_owned()]
    );
    let deleted = asked.iter().find(|asked| asked.method == "DELETE").unwrap();
    assert_eq!(deleted.body["propagationPolicy"], "Background");
    assert_eq!(deleted.body["preconditions"]["uid"], "uid-job-1");
    let again = after(&resource, &asked);
    let current = &again["status"]["current"];
    assert_eq!(
        (&current["order"], &current["attempt"]),
        (&json!(ORDER), &json!(2))
    );
    assert_eq!(current["jobUid"], Value::Null);
    // The second attempt has a Job of its own.
    let asked = run(&abroad(&again), &Cluster::default(), &again).await;
    assert!(
        writes(&asked).contains(&format!("PATCH {JOBS}/{ORDER}-2")),
        "{:?}",
        lines(&asked)
    );
    // It is lost as well, with its Job, and there is no third.
    let mut lost = again.clone();
    lost["status"]["current"]["jobUid"] = "uid-job-2".into();
    let asked = run(&abroad(&lost), &Cluster::default(), &lost).await;
    assert_eq!(writes(&asked), [STATUS]);
    let result = kept(written(&asked, "/status"));
    assert_eq!(
        (&result["verdict"], &result["reason"]),
        (&json!("Inconclusive"), &json!("Interrupted"))
    );
    let ending = after(&lost, &asked);
    let asked = run(&abroad(&ending), &Cluster::default(), &ending).await;
    let status = &written(&asked, "/status")["status"];
    assert_eq!(status["current"], Value::Null);
    assert_eq!(status["last"]["result"], "INCONCLUSIVE");
    assert_eq!(status["consecutiveFailures"], 1);
    assert!(status["last"]["message"].as_str().unwrap().contains("attempt 2"));
}

#[tokio::test]
async fn a_job_that_was_made_again_is_not_this_runs() {
    let (resource, mut cluster) = last_attempt().await;
    cluster.job.as_mut().unwrap()["metadata"]["uid"] = "uid-other".into();
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert_eq!(writes(&asked), [STATUS]);
    assert_eq!(kept(written(&asked, "/status"))["reason"], "Interrupted");
}

#[tokio::test]
async fn each_end_without_a_result_has_its_reason() {
    let (resource, cluster) = last_attempt().await;
    let failed = |reason: &str| {
        let mut job = job(1);
        job["status"] = json!({"conditions": [{"type": "Failed", "status": "True", "reason": reason}]});
        Cluster {
            job: Some(job),
            ..Cluster::default()
        }
    };
    let with_pod = |pod: Value| Cluster {
        pod: Some(pod),
        ..cluster.clone()
    };
    let words = |verdict: &str, reason: &str| {
        let words = json!({"verdict": verdict, "reason": reason, "message": "its last words"}).to_string();
        with_pod(pod(&json!({"terminated": {"exitCode": 1, "message": words}})))
    };
    let evicted = |message: &str| {
        let mut pod = pod(&json!({"terminated": {"exitCode": 137}}));
        pod["status"]["reason"] = "Evicted".into();
        pod["status"]["message"] = message.into();
        with_pod(pod)
    };
    let killed = pod(&json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}));
    let database = |reason: &str| {
        let mut pod = pod(&json!({"running": {}}));
        pod["status"]["phase"] = "Running".into();
        pod["status"]["initContainerStatuses"] = json!([{
            "name": "database", "image": "postgres:17", "imageID": "", "ready": false, "restartCount": 1,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": reason}},
        }]);
        with_pod(pod)
    };
    for (cluster, reason, said) in [
        (database("Error"), "CellLost", "with status 137"),
        (database("OOMKilled"), "OutOfMemory", "spec.server.resources"),
        (failed("DeadlineExceeded"), "DeadlineExceeded", "2h"),
        (
            failed("BackoffLimitExceeded"),
            "Interrupted",
            "BackoffLimitExceeded",
        ),
        (with_pod(killed), "OutOfMemory", "spec.sidecar.resources"),
        (
            evicted("Usage of EmptyDir volume \"cell-data\" exceeds the limit \"10Gi\"."),
            "CellFull",
            "spec.server.volumeSize",
        ),
        (
            evicted("Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Gi\"."),
            "ScratchSpaceExhausted",
            "spec.sidecar.scratchSize",
        ),
        (
            evicted("The node was low on resource: memory."),
            "Interrupted",
            "low on resource",
        ),
        (
            words("Inconclusive", "StoreUnreachable"),
            "StoreUnreachable",
            "its last words",
        ),
        (words("Passed", "DrillPassed"), "Interrupted", "nothing is signed"),
    ] {
        let asked = run(&abroad(&resource), &cluster, &resource).await;
        assert_eq!(writes(&asked), [STATUS], "{reason}");
        let result = kept(written(&asked, "/status"));
        assert_eq!(
            (&result["verdict"], &result["reason"]),
            (&json!("Inconclusive"), &json!(reason))
        );
        let message = result["message"].as_str().unwrap();
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test]
async fn what_another_attempt_would_not_change_is_not_tried_again() {
    let (resource, cluster) = at_work().await;
    let mut full = pod(&json!({"terminated": {"exitCode": 137}}));
    full["status"]["reason"] = "Evicted".into();
    full["status"]["message"] = "Usage of EmptyDir volume \"cell-data\" exceeds the limit \"10Gi\".".into();
    let mut late = job(1);
    late["status"] =
        json!({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]});
    for (cluster, reason) in [
        (
            Cluster {
                pod: Some(full),
                ..cluster.clone()
            },
            "CellFull",
        ),
        (
            Cluster {
                job: Some(late),
                ..Cluster::default()
            },
            "DeadlineExceeded",
        ),
    ] {
        let asked = run(&abroad(&resource), &cluster, &resource).await;
        assert_eq!(kept(written(&asked, "/status"))["reason"], reason);
    }
    // What kept it waiting is not forgotten.
    let mut waiting = resource.clone();
    waiting["status"]["conditions"][0]["status"] = "False".into();
    waiting["status"]["conditions"][0]["message"] = "no node takes it".into();
    let mut late = job(1);
    late["status"] =
        json!({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]});
    let late = Cluster {
        job: Some(late),
        ..Cluster::default()
    };
    let asked = run(&abroad(&waiting), &late, &waiting).await;
    let result = kept(written(&asked, "/status"));
    assert!(
        result["message"]
            .as_str()
            .unwrap()
            .ends_with("at last: no node takes it"),
        "{result}"
    );
    // One that is told to stop says so, and is tried again.
    let words =
        json!({"verdict": "Inconclusive", "reason": "Interrupted", "message": "told to stop"}).to_string();
    let stopped = Cluster {
        pod: Some(pod(&json!({"terminated": {"exitCode": 1, "message": words}}))),
        ..cluster
    };
    let asked = run(&abroad(&resource), &stopped, &resource).await;
    assert_eq!(written(&asked, "/status")["status"]["current"]["attempt"], 2);
}

#[tokio::test]
async fn a_run_whose_job_cannot_be_made_in_its_time_ends_without_one() {
    let mut resource = begun();
    let world = World::of(&[embassy(), counted("elsewhere"), resource.clone()]);
    // Before, it waits, and says why.
    let asked = run(&world, &Cluster::default(), &resource).await;
    assert_eq!(writes(&asked), [STATUS]);
    assert_eq!(said(written(&asked, "/status"), "Ready").1, "DrillNotAllowed");
    resource = after(&resource, &asked);
    resource["status"]["current"]["startedAt"] = "2026-11-28T00:00:00Z".into();
    let asked = run(&world, &Cluster::default(), &resource).await;
    assert_eq!(
        lines(&asked),
        [
            format!("GET {JOBS}/{ORDER}-1"),
            format!("GET {LIVE}"),
            STATUS.to_owned()
        ]
    );
    let result = kept(written(&asked, "/status"));
    assert_eq!(result["reason"], "DeadlineExceeded");
    assert!(
        result["message"]
            .as_str()
            .unwrap()
            .contains("spec.drills.namespace"),
        "{result}"
    );
}

#[tokio::test]
async fn a_run_that_a_clock_ahead_has_begun_does_not_wait_until_that_day_comes() {
    let mut resource = begun();
    let world = World::of(&[embassy(), counted("elsewhere"), resource.clone()]);
    let ahead = Timestamp::now() + SignedDuration::from_hours(24 * 365);
    resource["status"]["current"]["startedAt"] = json!(ahead);
    let asked = run(&world, &Cluster::default(), &resource).await;
    let result = kept(written(&asked, "/status"));
    assert_eq!(result["reason"], "DeadlineExceeded");
    let message = result["message"].as_str().unwrap();
    assert!(message.contains("a clock that was ahead of ours"), "{message}");
}

#[tokio::test]
async fn a_drill_that_is_being_deleted_is_left_to_its_owner_references() {
    let (mut resource, cluster) = at_work().await;
    resource["metadata"]["deletionTimestamp"] = "2026-11-28T03:00:00Z".into();
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert_eq!(lines(&asked), Vec::<String>::new());
}

#[tokio::test]
async fn a_former_attempts_job_that_came_after_all_goes_before_the_next_one_is_made() {
    let mut resource = begun();
    resource["status"]["current"]["attempt"] = 2.into();
    let cluster = Cluster {
        job: Some(job(1)),
        ..Cluster::default()
    };
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    let writes = writes(&asked);
    let at = |start: String| writes.iter().position(|line| line.starts_with(&start));
    let removed = at(format!("DELETE {JOBS}/{ORDER}-1"));
    let made = at(format!("PATCH {JOBS}/{ORDER}-2"));
    assert!(removed.is_some() && removed < made, "{writes:?}");
}

//! A restore's reconcile against an API server that records every request: one Job, ever, and a result that stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use dataembassy_contract::assertion::Expectation;
use dataembassy_contract::files;
use dataembassy_contract::restore::RestoreConfig;
use dataembassy_crds::RegistryRestore;
use dataembassy_operator::restore::reconcile;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::addresses::NOWHERE;
use crate::world::embassy::custody;
use crate::world::process::answering;
use crate::world::refusals::{self, events};
use crate::world::{Asked, World, client, embassy, lines, mirror, read, restore, said, settings, written};

const JOB: &str = "/apis/batch/v1/namespaces/interior/jobs/back-restore";
const PODS: &str = "/api/v1/namespaces/interior/pods";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/interior/events";
const OBJECTS: [&str; 4] = [
    "/api/v1/namespaces/interior/serviceaccounts/back-restore",
    "/api/v1/namespaces/interior/configmaps/back-restore",
    "/apis/networking.k8s.io/v1/namespaces/interior/networkpolicies/back-restore",
    JOB,
];
const STATUS: &str = "PATCH /apis/dataembassy.io/v1alpha1/namespaces/interior/registryrestores/back/status";

const LIVE: &str = "/apis/dataembassy.io/v1alpha1/namespaces/interior/registryrestores/back";

/// What the API server has of the restore's Job and pod, and of the restore itself where that is not what the watch shows.
#[derive(Clone, Default)]
struct Cluster {
    job: Option<Value>,
    pod: Option<Value>,
    live: Option<Value>,
    /// What is said in events of the Job.
    said: Option<&'static str>,
}

async fn run(world: &World, cluster: &Cluster, resource: &Value) -> Vec<Asked> {
    let cluster = cluster.clone();
    let live = cluster.live.clone().unwrap_or_else(|| resource.clone());
    let (client, log) = client(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", LIVE) => Some((200, live.clone())),
        ("GET", JOB) => cluster.job.clone().map(|job| (200, job)),
        ("GET", EVENTS) => {
            let said = cluster.said?;
            Some((200, events("uid-job", &format!("Error creating: {said}"))))
        }
        ("GET", PODS) => {
            let pods: Vec<Value> = cluster.pod.clone().into_iter().collect();
            Some((
                200,
                json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods}),
            ))
        }
        _ => None,
    });
    reconcile(Arc::new(read::<RegistryRestore>(resource)), world.context(client))
        .await
        .unwrap();
    log.take()
}

/// The embassy, where the registry was accepted.
fn abroad(resource: &Value) -> World {
    World::of(&[embassy(), custody("population"), resource.clone()])
}

/// A restore whose Job was made, and that Job.
async fn begun() -> (Value, Cluster) {
    let resource = restore("back");
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    let mut job = written(&asked, JOB).clone();
    job["metadata"]["uid"] = "uid-job".into();
    let cluster = Cluster {
        job: Some(job),
        ..Cluster::default()
    };
    let resource = after(&resource, &run(&abroad(&resource), &cluster, &resource).await);
    (resource, cluster)
}

/// The resource with the status that was written.
fn after(resource: &Value, asked: &[Asked]) -> Value {
    let mut resource = resource.clone();
    resource["status"] = written(asked, "/status")["status"].clone();
    resource
}

/// The Job's pod, whose container is in this state.
fn pod(state: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "back-restore-x", "namespace": "interior", "uid": "uid-pod",
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "back-restore", "uid": "uid-job", "controller": true}]},
        "status": {"phase": "Failed", "containerStatuses": [{
            "name": "restore", "image": "sidecar", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }]}
    })
}

fn last_words(words: &str, code: i32) -> Value {
    pod(
        &json!({"terminated": {"exitCode": code, "message": words, "reason": if code == 0 { "Completed" } else { "Error" }}}),
    )
}

#[tokio::test]
async fn a_status_goes_to_what_was_judged_and_one_that_comes_late_is_no_failure() {
    let mut resource = restore("back");
    resource["metadata"]["resourceVersion"] = "17".into();
    let world = abroad(&resource);
    let live = resource.clone();
    let (client, log) = client(move |asked| {
        let conflict = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "message": "modified", "code": 409});
        match asked.path.as_str() {
            LIVE => Some((200, live.clone())),
            path => path.ends_with("/status").then_some((409, conflict)),
        }
    });
    let done = reconcile(
        Arc::new(read::<RegistryRestore>(&resource)),
        world.context(client),
    )
    .await;
    assert!(done.is_ok(), "{done:?}");
    assert_eq!(
        written(&log.take(), "/status")["metadata"],
        json!({"resourceVersion": "17"})
    );
}

#[tokio::test]
async fn a_new_restore_gets_its_objects_its_job_last_and_a_status() {
    let resource = restore("back");
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    let mut expected = vec![format!("GET {JOB}"), format!("GET {LIVE}")];
    for path in OBJECTS {
        expected.extend([format!("GET {path}"), format!("PATCH {path}")]);
    }
    expected.push(STATUS.to_owned());
    assert_eq!(lines(&asked), expected);
    let job = written(&asked, JOB);
    assert_eq!(job["spec"]["backoffLimit"], 0);
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 6 * 3600);
    let pod = &job["spec"]["template"];
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    assert_eq!(pod["metadata"]["labels"]["dataembassy.io/store-access"], "true");
    assert_eq!(
        pod["spec"]["containers"][0]["args"],
        json!(["restore-job", "--config-dir", files::CONFIG_DIR])
    );
}

#[tokio::test]
async fn a_restores_pod_has_the_secrets_that_the_restore_names_and_no_others() {
    let resource = restore("back");
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    let pod = &written(&asked, JOB)["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap().iter();
    let sources = volumes.flat_map(|volume| {
        let projected = volume["projected"]["sources"].as_array().cloned();
        let own = volume["secret"]["secretName"].as_str().map(str::to_owned);
        let named = projected.unwrap_or_default().into_iter();
        let named = named.filter_map(|source| source["secret"]["name"].as_str().map(str::to_owned));
        named.chain(own).collect::<Vec<_>>()
    });
    let mounted: BTreeSet<String> = sources.collect();
    let spec = &resource["spec"];
    let named = [
        &spec["retrievalCredentialsRef"],
        &spec["identityRef"],
        &spec["target"]["credentialsRef"],
        &spec["target"]["tls"]["caRef"],
    ];
    let named: BTreeSet<String> = named
        .iter()
        .map(|secret| secret["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(mounted, named);
    for container in pod["containers"].as_array().unwrap() {
        assert_eq!(container["envFrom"], Value::Null);
        let variables = container["env"].as_array().into_iter().flatten();
        assert!(
            variables
                .into_iter()
                .all(|variable| variable["valueFrom"]["secretKeyRef"].is_null())
        );
    }
}

#[tokio::test]
async fn a_restore_of_an_activation_makes_the_database_and_is_let_into_it() {
    let mut resource = restore("back");
    let plain = run(&abroad(&resource), &Cluster::default(), &resource).await;
    resource["metadata"]["labels"] =
        json!({"dataembassy.io/database": "day-population", "theirs": "not ours"});
    resource["spec"]["target"]["createIfMissing"] = true.into();
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    let labels = |asked: &[Asked]| written(asked, JOB)["spec"]["template"]["metadata"]["labels"].clone();
    let mut expected = labels(&plain);
    expected["dataembassy.io/database"] = "day-population".into();
    assert_eq!(labels(&asked), expected);
    let told = |asked: &[Asked]| {
        let map = written(asked, "/configmaps/back-restore");
        let document = map["data"][files::CONFIG_FILE].as_str().unwrap();
        RestoreConfig::from_json(document.as_bytes())
            .unwrap()
            .target
            .create_if_missing
    };
    assert!(told(&asked) && !told(&plain));
}

#[tokio::test]
async fn what_drops_what_a_rehearsal_has_restored_has_neither_an_identity_nor_a_way_to_the_store() {
    let mut resource = restore("back");
    resource["spec"]["rehearsal"] = json!({"uid": "uid-rehearsal", "empties": true});
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    let template = &written(&asked, JOB)["spec"]["template"];
    let spec = &resource["spec"];
    for secret in ["identityRef", "retrievalCredentialsRef"] {
        let name = spec[secret]["name"].as_str().unwrap();
        assert!(!template.to_string().contains(name), "{secret}: {template}");
    }
    let database = spec["target"]["credentialsRef"]["name"].as_str().unwrap();
    assert!(template.to_string().contains(database));
    assert!(template["metadata"]["labels"]["dataembassy.io/store-access"].is_null());
    let map = written(&asked, "/configmaps/back-restore");
    let document = map["data"][files::CONFIG_FILE].as_str().unwrap();
    let config = RestoreConfig::from_json(document.as_bytes()).unwrap();
    assert!(config.rehearsal.is_some_and(|rehearsal| rehearsal.empties));
}

#[tokio::test]
async fn the_job_believes_whom_the_cluster_believes_and_knows_the_last_head() {
    let resource = restore("back");
    let mut accepted = custody("population");
    accepted["status"] = json!({"sourceHead": {"sequence": 7, "digest": "ab".repeat(32)}});
    let world = World::of(&[embassy(), accepted.clone(), resource.clone()]);
    let asked = run(&world, &Cluster::default(), &resource).await;
    let map = written(&asked, "/configmaps/back-restore");
    let config =
        RestoreConfig::from_json(map["data"][files::CONFIG_FILE].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(config.floor.unwrap().sequence, 7);
    assert_eq!(
        json!(config.signers[0].public_key),
        accepted["spec"]["signers"][0]["publicKey"]
    );
    assert_eq!(config.jobs, 4);
}

#[tokio::test]
async fn at_home_it_is_the_mirror_of_its_own_namespace_that_says_whose_signatures_count() {
    let key = custody("population")["spec"]["signers"][0]["publicKey"].clone();
    let resource = restore("back");
    let mut own = mirror("population");
    own["status"] = json!({"signer": key, "conditions": []});
    let world = World::of(&[embassy(), own.clone(), resource.clone()]);
    let asked = run(&world, &Cluster::default(), &resource).await;
    assert!(
        lines(&asked).contains(&format!("PATCH {JOB}")),
        "{:?}",
        lines(&asked)
    );
    // A neighbour's mirror says nothing here.
    own["metadata"]["namespace"] = "neighbour".into();
    let world = World::of(&[embassy(), own, resource.clone()]);
    let asked = run(&world, &Cluster::default(), &resource).await;
    assert_eq!(lines(&asked), [format!("GET {JOB}"), STATUS.to_owned()]);
    let (status, reason, message) = said(written(&asked, "/status"), "Stalled");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "UnknownRegistry"));
    assert!(
        message.contains("population") && message.contains("make a new RegistryRestore"),
        "{message}"
    );
}

#[tokio::test]
async fn nothing_is_made_for_a_restore_that_cannot_be_followed_and_it_says_why() {
    let change = |path: &str, value: Value| {
        let mut resource = restore("back");
        *resource.pointer_mut(path).unwrap() = value;
        resource
    };
    let at = change("/spec/embassyRef/name", "atlantis".into());
    let mut time = restore("back");
    time["spec"]["copy"] = json!({"atOrBefore": "yesterday"});
    let database = change("/spec/target/database", "ä".repeat(40).into());
    for (resource, reason) in [
        (at, "UnknownEmbassy"),
        (time, "InvalidName"),
        (database, "InvalidName"),
    ] {
        let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
        assert_eq!(lines(&asked), [format!("GET {JOB}"), STATUS.to_owned()]);
        let status = written(&asked, "/status");
        let (_, said_reason, message) = said(status, "Ready");
        assert_eq!(said_reason, reason);
        assert!(
            message.contains("make a new RegistryRestore") && !message.contains("correct spec"),
            "what cannot be edited is not asked for: {message}"
        );
        assert_eq!(status["status"]["phase"], "Pending");
    }
}

#[tokio::test]
async fn a_job_of_that_name_that_is_somebody_elses_is_left_alone() {
    let resource = restore("back");
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "back-restore", "namespace": "interior", "uid": "uid-other"},
        "spec": {"template": {"spec": {"containers": []}}}
    });
    let cluster = Cluster {
        job: Some(job),
        ..Cluster::default()
    };
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert!(
        !lines(&asked).contains(&format!("PATCH {JOB}")),
        "{:?}",
        lines(&asked)
    );
    assert_eq!(said(written(&asked, "/status"), "Stalled").1, "ForeignObject");
}

#[tokio::test]
async fn a_job_is_made_once_whatever_becomes_of_it() {
    let (resource, cluster) = begun().await;
    assert_eq!(resource["status"]["phase"], "Running");
    assert_eq!(resource["status"]["jobUid"], "uid-job");
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert_eq!(
        lines(&asked),
        [format!("GET {JOB}"), format!("GET {PODS}")],
        "a look that finds nothing new writes nothing"
    );
    // Somebody deletes it: that is the end, and no second one is made.
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    assert_eq!(lines(&asked), [format!("GET {JOB}"), STATUS.to_owned()]);
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["phase"], "Failed");
    assert_eq!(said(status, "Ready").1, "Interrupted");
    let ended = after(&resource, &asked);
    let asked = run(&abroad(&ended), &Cluster::default(), &ended).await;
    assert_eq!(lines(&asked), Vec::<String>::new(), "terminal is terminal");
}

#[tokio::test]
async fn the_last_words_are_the_result() {
    let (resource, mut cluster) = begun().await;
    let words = json!({
        "ending": "Restored", "reason": "Restored", "message": "4 tables are in population",
        "copy": {"sequence": 3, "copyId": "07".repeat(16), "takenAt": "2026-11-23T10:00:00Z"},
        "tables": 4, "rows": 7, "bytes": 100, "largeObjects": 1, "seconds": 2.25,
        "leftOut": [{"kind": "ROLE", "count": 2}, {"kind": "ROLE", "count": 3}],
    });
    cluster.pod = Some(last_words(&words.to_string(), 0));
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["phase"], "Restored");
    assert_eq!(said(status, "Ready").0, "True");
    assert_eq!(status["status"]["copy"]["sequence"], 3);
    assert_eq!(
        status["status"]["restored"],
        json!({"tables": 4, "rows": 7, "bytes": 100, "largeObjects": 1, "seconds": 3})
    );
    assert_eq!(status["status"]["leftOut"], json!([{"kind": "ROLE", "count": 2}]));
    assert!(status["status"]["endedAt"].is_string());
}

#[tokio::test]
async fn a_target_that_is_nobodys_registry_is_refused_before_anything_is_made() {
    let cloud = ("registry.eu-central-1.rds.amazonaws.com", "commercial cloud");
    for (host, words) in NOWHERE.into_iter().chain([cloud]) {
        let mut resource = restore("back");
        resource["spec"]["target"]["host"] = host.into();
        let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
        assert_eq!(lines(&asked), [format!("GET {JOB}"), STATUS.to_owned()]);
        let (_, reason, message) = said(written(&asked, "/status"), "Ready");
        assert_eq!(reason, "NotSovereign");
        assert!(
            message.contains("spec.target.host") && message.contains(words),
            "{host}: {message}"
        );
    }
}

#[tokio::test]
async fn what_the_database_is_asked_goes_to_the_job_and_what_cannot_be_asked_is_refused() {
    let mut resource = restore("back");
    resource["spec"]["assertions"] = json!([
        {"name": "rows", "sql": "SELECT count(*) FROM person", "within": {"atLeast": "7"}},
        {"name": "fresh", "sql": "SELECT max(born) FROM person", "notOlderThan": "1d"},
    ]);
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    let map = written(&asked, "/configmaps/back-restore");
    let document = map["data"][files::CONFIG_FILE].as_str().unwrap();
    let assertions = RestoreConfig::from_json(document.as_bytes()).unwrap().assertions;
    assert_eq!(assertions.len(), 2);
    assert_eq!(assertions[1].expect, Expectation::NotOlderThan(86_400));
    resource["spec"]["assertions"][1]["name"] = "rows".into();
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    assert_eq!(lines(&asked), [format!("GET {JOB}"), STATUS.to_owned()]);
    let (_, reason, message) = said(written(&asked, "/status"), "Ready");
    assert_eq!(reason, "InvalidName");
    assert!(message.contains("two called rows"), "{message}");
}

#[tokio::test]
async fn a_wrong_answer_fails_a_restore_whose_copy_is_there() {
    let (resource, mut cluster) = begun().await;
    let answer = |name: &str, found: &str| json!({"name": name, "expected": "'1'", "found": found});
    let mut right = answer("right", "1");
    right["passed"] = true.into();
    let words = json!({
        "ending": "Unconfirmed", "reason": "AnswerWrong", "message": "population holds the copy whole, but gave a wrong answer",
        "tables": 4, "rows": 7, "bytes": 100, "largeObjects": 1, "seconds": 2.25,
        // Somebody made up a name twice, and one that is none.
        "assertions": [right, answer("wrong", "2\u{1b}[2J"), answer("wrong", "3"), answer("", "4")],
    });
    cluster.pod = Some(last_words(&words.to_string(), 1));
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["phase"], "Failed");
    let (ready, reason, message) = said(status, "Ready");
    assert_eq!((ready.as_str(), reason.as_str()), ("False", "AnswerWrong"));
    assert!(message.contains("holds the copy whole"), "{message}");
    assert_eq!(said(status, "Stalled").0, "True");
    assert_eq!(status["status"]["restored"]["rows"], 7);
    assert_eq!(
        status["status"]["assertions"],
        json!([
            {"name": "right", "passed": true, "expected": "'1'", "found": "1"},
            {"name": "wrong", "passed": false, "expected": "'1'", "found": "2[2J"},
        ])
    );
    // A person looks; the operator does nothing any more.
    let ended = after(&resource, &asked);
    let asked = run(&abroad(&ended), &cluster, &ended).await;
    assert_eq!(lines(&asked), Vec::<String>::new());
}

#[tokio::test]
async fn each_end_without_a_result_has_its_reason() {
    let (resource, cluster) = begun().await;
    let job_that_failed = |reason: &str| {
        let mut job = cluster.job.clone().unwrap();
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
    let killed = pod(&json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}));
    let words = json!({"ending": "NothingWritten", "reason": "TargetLacks", "message": "nothing was written\n- a role"});
    for (cluster, reason) in [
        (job_that_failed("DeadlineExceeded"), "DeadlineExceeded"),
        (job_that_failed("BackoffLimitExceeded"), "Interrupted"),
        (with_pod(killed), "OutOfMemory"),
        (with_pod(last_words("Segmentation fault", 139)), "Interrupted"),
        (with_pod(last_words(&words.to_string(), 1)), "TargetLacks"),
    ] {
        let asked = run(&abroad(&resource), &cluster, &resource).await;
        let status = written(&asked, "/status");
        assert_eq!(status["status"]["phase"], "Failed", "{reason}");
        assert_eq!(said(status, "Ready").1, reason);
        assert_eq!(said(status, "Stalled").0, "True", "{reason}");
    }
}

/// An activation empties a database that its own restore has written into, and no other.
#[tokio::test]
async fn that_a_restore_has_written_is_told_from_then_on_and_never_of_one_that_empties() {
    let (resource, cluster) = begun().await;
    let mut known = resource.clone();
    known["status"]["hasWritten"] = true.into();
    let mut empties = resource.clone();
    empties["spec"]["rehearsal"] = json!({"uid": "uid-rehearsal", "empties": true});
    let has_written = |asked: &[Asked]| written(asked, "/status")["status"]["hasWritten"] == true;
    for (resource, ending, expected) in [
        (&resource, "NothingWritten", false),
        (&resource, "Unfinished", true),
        (&resource, "Restored", true),
        (&known, "NothingWritten", true),
        (&empties, "Restored", false),
    ] {
        let words = json!({"ending": ending, "reason": "TargetLacks", "message": "so it ended"});
        let ended = Cluster {
            pod: Some(last_words(&words.to_string(), 1)),
            ..cluster.clone()
        };
        let asked = run(&abroad(resource), &ended, resource).await;
        assert_eq!(has_written(&asked), expected, "{ending}");
    }
    for (resource, phase, expected) in [
        (&resource, "Checking", false),
        (&resource, "Definitions", true),
        (&known, "Checking", true),
        (&empties, "Rows", false),
    ] {
        let mut running = pod(&json!({"running": {}}));
        running["status"]["phase"] = "Running".into();
        running["status"]["podIP"] = "127.0.0.1".into();
        let at_work = Cluster {
            pod: Some(running),
            ..cluster.clone()
        };
        let mut settings = settings();
        settings.status_port = answering(json!({"progress": {"phase": phase}})).await;
        let mut world = abroad(resource);
        world.settings = Some(settings);
        let asked = run(&world, &at_work, resource).await;
        assert_eq!(has_written(&asked), expected, "{phase}");
    }
}

#[tokio::test]
async fn a_pod_that_cannot_start_says_why() {
    let (resource, mut cluster) = begun().await;
    let mut waiting = pod(&json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}));
    waiting["status"]["phase"] = "Pending".into();
    cluster.pod = Some(waiting);
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["phase"], "Running");
    assert_eq!(said(status, "Ready").1, "ImagePullFailed");
}

#[tokio::test]
async fn what_a_running_restore_reports_is_shown_and_missing_secrets_are_named() {
    let (resource, mut cluster) = begun().await;
    let report = json!({
        "version": "0.1.0",
        "missingSecrets": [{"secret": "Identity", "key": "identity.txt"}],
        "progress": {"phase": "Rows", "bytes": 42, "rows": 7, "share": 0.42, "rate": 21, "etaSeconds": 3},
        "copy": {"sequence": 3, "copyId": "07".repeat(16), "takenAt": "2026-11-23T10:00:00Z"},
    });
    let port = answering(report).await;
    let mut running = pod(&json!({"running": {}}));
    running["status"]["phase"] = "Running".into();
    running["status"]["podIP"] = "127.0.0.1".into();
    cluster.pod = Some(running);
    let mut world = abroad(&resource);
    let mut settings = settings();
    settings.status_port = port;
    world.settings = Some(settings);
    let asked = run(&world, &cluster, &resource).await;
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["progress"]["words"], "loading rows, 42 %");
    assert_eq!(status["status"]["copy"]["sequence"], 3);
    let (_, reason, message) = said(status, "Ready");
    assert_eq!(reason, "SecretMissing");
    assert!(
        message.contains("identity") && message.contains("identity.txt"),
        "{message}"
    );
    // The kubelet is called, so that a Secret that comes reaches the pod at once.
    assert!(lines(&asked).contains(&format!("PATCH {PODS}/back-restore-x")));
    // What a pod says later of the copy changes nothing.
    let resource = after(&resource, &asked);
    let other = json!({"progress": {"phase": "Rows"}, "copy": {"sequence": 4, "copyId": "08".repeat(16), "takenAt": "2026-11-23T10:00:00Z"}});
    let mut world = abroad(&resource);
    let mut settings = crate::world::settings();
    settings.status_port = answering(other).await;
    world.settings = Some(settings);
    let asked = run(&world, &cluster, &resource).await;
    assert_eq!(written(&asked, "/status")["status"]["copy"]["sequence"], 3);
}

#[tokio::test]
async fn since_when_the_identity_lies_in_the_cluster_is_said_once_it_was_found_and_written_once() {
    let (resource, mut cluster) = begun().await;
    let report = json!({
        "progress": {"phase": "Rows", "bytes": 42, "rows": 7, "share": 0.42, "rate": 21, "etaSeconds": 3},
        "copy": {"sequence": 3, "copyId": "07".repeat(16), "takenAt": "2026-11-23T10:00:00Z"},
    });
    let port = answering(report).await;
    let mut running = pod(&json!({"running": {}}));
    running["status"]["phase"] = "Running".into();
    running["status"]["podIP"] = "127.0.0.1".into();
    running["status"]["startTime"] = "2026-11-28T11:00:00Z".into();
    cluster.pod = Some(running);
    let look = async |resource: &Value| {
        let mut world = abroad(resource);
        let mut settings = settings();
        settings.status_port = port;
        world.settings = Some(settings);
        run(&world, &cluster, resource).await
    };
    let asked = look(&resource).await;
    let status = written(&asked, "/status");
    let secret = resource["spec"]["identityRef"]["name"].as_str().unwrap();
    assert_eq!(
        status["status"]["identity"],
        json!({"secret": secret, "presentSince": "2026-11-28T11:00:00Z", "lookedAt": "2026-11-28T11:00:00Z"})
    );
    let (word, reason, message) = said(status, "IdentityPresent");
    assert_eq!((word.as_str(), reason.as_str()), ("True", "IdentityPresent"));
    assert!(
        message.contains(secret) && message.contains("delete the Secret"),
        "{message}"
    );
    // Time passes, and nothing is written.
    let asked = look(&after(&resource, &asked)).await;
    assert!(
        lines(&asked).iter().all(|line| line.starts_with("GET")),
        "{:?}",
        lines(&asked)
    );
}

#[tokio::test]
async fn a_job_that_completed_is_a_restored_copy_even_if_nobody_read_its_last_words() {
    let (resource, mut cluster) = begun().await;
    cluster.job.as_mut().unwrap()["status"] =
        json!({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]});
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    let status = &written(&asked, "/status")["status"];
    assert_eq!(status["phase"], "Restored");
    // Its activation may replace what it has restored itself.
    assert_eq!(status["hasWritten"], true);
}

#[tokio::test]
async fn what_the_watch_shows_may_be_old_and_no_second_job_comes_of_it() {
    let resource = restore("back");
    let mut ended = resource.clone();
    ended["status"] = json!({"phase": "Failed", "jobUid": "uid-job"});
    let mut other = resource.clone();
    other["metadata"]["uid"] = "uid-another".into();
    let mut leaving = resource.clone();
    leaving["metadata"]["deletionTimestamp"] = "2026-11-23T10:00:00Z".into();
    for live in [ended, other, leaving] {
        let cluster = Cluster {
            live: Some(live),
            ..Cluster::default()
        };
        let asked = run(&abroad(&resource), &cluster, &resource).await;
        assert_eq!(lines(&asked), [format!("GET {JOB}"), format!("GET {LIVE}")]);
    }
}

#[tokio::test]
async fn a_job_that_was_made_again_is_not_this_restores() {
    let (resource, mut cluster) = begun().await;
    cluster.job.as_mut().unwrap()["metadata"]["uid"] = "uid-second".into();
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["phase"], "Failed");
    assert_eq!(status["status"]["jobUid"], "uid-job");
}

#[tokio::test]
async fn a_restore_that_could_not_begin_within_its_deadline_never_does() {
    let mut resource = restore("back");
    resource["spec"]["deadline"] = "1h".into();
    resource["metadata"]["creationTimestamp"] = "2026-11-23T09:00:00Z".into();
    let world = World::of(&[embassy(), resource.clone()]);
    let asked = run(&world, &Cluster::default(), &resource).await;
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["phase"], "Failed");
    let (_, reason, message) = said(status, "Ready");
    assert_eq!(reason, "DeadlineExceeded");
    assert!(message.contains("whose signatures count"), "{message}");
    let ended = after(&resource, &asked);
    let asked = run(&abroad(&ended), &Cluster::default(), &ended).await;
    assert_eq!(lines(&asked), Vec::<String>::new());
}

#[tokio::test]
async fn nor_does_one_that_could_begin_only_later() {
    let mut resource = restore("back");
    resource["spec"]["deadline"] = "1h".into();
    resource["metadata"]["creationTimestamp"] = "2026-11-23T09:00:00Z".into();
    // Whoever refused its Job, or was not there, would let it in by now.
    resource["status"] = json!({"phase": "Pending", "conditions": [{"type": "Ready", "status": "False", "reason": "QuotaExceeded",
        "message": "the quota is used up", "observedGeneration": 1, "lastTransitionTime": "2026-11-23T09:00:00Z"}]});
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    assert!(
        lines(&asked)
            .iter()
            .all(|line| !line.contains("/jobs") || line.starts_with("GET")),
        "{asked:?}"
    );
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["phase"], "Failed");
    let (_, reason, message) = said(status, "Ready");
    assert_eq!(reason, "DeadlineExceeded");
    assert!(
        message.contains("because the quota is used up. Nothing was written"),
        "{message}"
    );
}

#[tokio::test]
async fn the_time_of_a_restore_that_a_clock_ahead_has_asked_for_counts_from_what_was_said_of_it() {
    for (said_at, phase) in [
        (Timestamp::now() - SignedDuration::from_hours(2), "Failed"),
        (Timestamp::now() - SignedDuration::from_mins(20), "Pending"),
        // Ours was the clock that was wrong: it is not known how long it has waited.
        (Timestamp::now() + SignedDuration::from_hours(2), "Pending"),
    ] {
        let mut resource = restore("back");
        resource["spec"]["deadline"] = "1h".into();
        let ahead = Timestamp::now() + SignedDuration::from_hours(24 * 365);
        resource["metadata"]["creationTimestamp"] = json!(ahead);
        resource["status"] = json!({"phase": "Pending", "conditions": [{"type": "Ready", "status": "False", "reason": "QuotaExceeded",
            "message": "the quota is used up", "observedGeneration": 1, "lastTransitionTime": said_at}]});
        let world = World::of(&[embassy(), resource.clone()]);
        let asked = run(&world, &Cluster::default(), &resource).await;
        assert_eq!(written(&asked, "/status")["status"]["phase"], phase, "{said_at}");
    }
}

#[tokio::test]
async fn a_container_that_somebody_put_beside_ours_says_nothing_about_the_restore() {
    let (resource, mut cluster) = begun().await;
    let mut pod = last_words("ready", 0);
    pod["status"]["phase"] = "Pending".into();
    pod["status"]["containerStatuses"][0]["name"] = "injected".into();
    cluster.pod = Some(pod);
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert_eq!(
        lines(&asked),
        [format!("GET {JOB}"), format!("GET {PODS}")],
        "nothing is new"
    );
}

#[tokio::test]
async fn a_job_without_a_pod_is_told_and_not_waited_for_in_silence() {
    let (resource, mut cluster) = begun().await;
    cluster.job.as_mut().unwrap()["metadata"]["creationTimestamp"] = "2026-11-23T09:00:00Z".into();
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    let (_, reason, message) = said(written(&asked, "/status"), "Ready");
    assert_eq!(reason, "PodRefused");
    for words in [
        "nobody says why",
        "ResourceQuota",
        "kubectl describe job back-restore --namespace interior",
    ] {
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_job_whose_pod_is_refused_says_by_whom_asks_once_a_look_and_writes_it_once() {
    let (resource, mut cluster) = begun().await;
    // A Job that was made just now is not asked about.
    cluster.said = Some(refusals::QUOTA);
    cluster.job.as_mut().unwrap()["metadata"]["creationTimestamp"] = json!(jiff::Timestamp::now());
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert!(asked.iter().all(|asked| asked.path != EVENTS), "{asked:?}");

    cluster.job.as_mut().unwrap()["metadata"]["creationTimestamp"] = "2026-11-23T09:00:00Z".into();
    for words in refusals::ALL {
        cluster.said = Some(words);
        let asked = run(&abroad(&resource), &cluster, &resource).await;
        let (ready, reason, message) = said(written(&asked, "/status"), "Ready");
        assert_eq!((ready.as_str(), reason.as_str()), ("False", "PodRefused"));
        assert!(
            message.contains(words) && message.contains("policies of the namespace interior"),
            "{message}"
        );
        // As long as the same is said, nothing is written any more, and each look costs one question.
        let told = after(&resource, &asked);
        let asked = run(&abroad(&told), &cluster, &told).await;
        let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
        assert_eq!(paths, [JOB, PODS, EVENTS]);
        assert!(asked.iter().all(|asked| asked.method == "GET"), "{asked:?}");
    }
}

#[tokio::test]
async fn what_keeps_a_restores_pod_from_running_is_said() {
    let (resource, mut cluster) = begun().await;
    let mut unplaced = pod(&json!({}));
    unplaced["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."}]});
    let mut imageless = pod(
        &json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"sidecar\""}}),
    );
    imageless["status"]["phase"] = "Pending".into();
    for (pod, reason, words) in [
        (unplaced, "Unschedulable", "3 Insufficient memory"),
        (imageless, "ImagePullFailed", "Back-off pulling image"),
    ] {
        cluster.pod = Some(pod);
        let asked = run(&abroad(&resource), &cluster, &resource).await;
        let status = written(&asked, "/status");
        let (ready, found, message) = said(status, "Ready");
        assert_eq!((ready.as_str(), found.as_str()), ("False", reason));
        assert!(message.contains(words), "{message}");
        assert_eq!(status["status"]["phase"], "Running");
    }
    // An evicted pod never runs again, and its Job makes no other.
    let mut evicted = pod(&json!({"terminated": {"exitCode": 137, "reason": "Error"}}));
    evicted["status"]["reason"] = "Evicted".into();
    evicted["status"]["message"] = "The node was low on resource: memory.".into();
    cluster.pod = Some(evicted);
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    let status = written(&asked, "/status");
    let (_, found, message) = said(status, "Ready");
    assert_eq!(
        (status["status"]["phase"].as_str(), found.as_str()),
        (Some("Failed"), "Interrupted")
    );
    assert!(
        message.contains("Evicted: The node was low on resource: memory."),
        "{message}"
    );
}

#[tokio::test]
async fn of_two_custodies_of_one_registry_the_younger_has_no_say() {
    let resource = restore("back");
    let mut younger = custody("population");
    younger["metadata"]["name"] = "usurper".into();
    younger["metadata"]["uid"] = "uid-usurper".into();
    younger["metadata"]["creationTimestamp"] = "2026-11-24T09:00:00Z".into();
    younger["status"] = json!({"sourceHead": {"sequence": 9, "digest": "cd".repeat(32)}});
    let world = World::of(&[embassy(), younger, custody("population"), resource.clone()]);
    let asked = run(&world, &Cluster::default(), &resource).await;
    let map = written(&asked, "/configmaps/back-restore");
    let document = map["data"][files::CONFIG_FILE].as_str().unwrap();
    assert_eq!(RestoreConfig::from_json(document.as_bytes()).unwrap().floor, None);
}

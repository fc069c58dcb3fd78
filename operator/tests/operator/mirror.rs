//! A mirror's reconcile against an API server that records every request: what is missing fails a test, and so does what is too much.

use std::sync::Arc;

use crate::world::process::answering;
use crate::world::{Asked, World, client, embassy, lines, mirror, read, settings};
use dataembassy_contract::files;
use dataembassy_crds::RegistryMirror;
use dataembassy_operator::mirror::{key, reconcile};
use dataembassy_operator::run::Context;
use serde_json::{Value, json};

pub(crate) const OBJECTS: [&str; 4] = [
    "/api/v1/namespaces/interior/serviceaccounts/population-mirror",
    "/api/v1/namespaces/interior/configmaps/population-mirror",
    "/apis/networking.k8s.io/v1/namespaces/interior/networkpolicies/population-mirror",
    "/apis/apps/v1/namespaces/interior/deployments/population-mirror",
];
const STATUS: &str =
    "PATCH /apis/dataembassy.io/v1alpha1/namespaces/interior/registrymirrors/population/status";
const SECRETS: &str = "POST /api/v1/namespaces/interior/secrets";

pub(crate) async fn run(world: &World, resource: &Value) -> Vec<Asked> {
    let (client, log) = client(|_| None);
    reconcile(Arc::new(read::<RegistryMirror>(resource)), world.context(client))
        .await
        .unwrap();
    log.take()
}

fn written<'a>(asked: &'a [Asked], path: &str) -> &'a Value {
    &asked
        .iter()
        .find(|asked| asked.method == "PATCH" && asked.path.ends_with(path))
        .unwrap()
        .body
}

fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    let conditions = status["status"]["conditions"].as_array().unwrap();
    conditions
        .iter()
        .find(|condition| condition["type"] == type_)
        .unwrap_or(&Value::Null)
}

/// The configuration that was written.
fn config(asked: &[Asked]) -> Value {
    let document = &written(asked, OBJECTS[1])["data"]["config.json"];
    serde_json::from_str(document.as_str().unwrap()).unwrap()
}

/// The world after a first reconcile, as the watches would show it.
pub(crate) async fn settled(resource: &Value) -> (World, Value) {
    let world = World::of(&[embassy(), resource.clone()]);
    let asked = run(&world, resource).await;
    let mut resource = resource.clone();
    resource["status"] = written(&asked, "/status")["status"].clone();
    let mut objects = vec![embassy(), resource.clone()];
    objects.extend(OBJECTS.iter().map(|path| written(&asked, path).clone()));
    for object in &mut objects {
        if object["kind"] == "Deployment" {
            object["metadata"]["uid"] = "uid-deployment".into();
        }
    }
    (World::of(&objects), resource)
}

pub(crate) fn pod(extra: &Value) -> [Value; 2] {
    let labels = json!({"app.kubernetes.io/instance": "population"});
    let owned = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "population-mirror-1-x", "namespace": "interior", "uid": "uid-pod", "labels": labels,
            "ownerReferences": owned("ReplicaSet", "population-mirror-1", "uid-set")},
        "status": {"phase": "Running", "podIP": "127.0.0.1"}
    });
    pod["metadata"]["annotations"] = extra.clone();
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "population-mirror-1", "namespace": "interior", "uid": "uid-set", "labels": labels,
            "ownerReferences": owned("Deployment", "population-mirror", "uid-deployment")}
    });
    [set, pod]
}

#[tokio::test]
async fn a_new_mirror_gets_its_key_its_objects_and_a_status_and_nothing_else() {
    let world = World::of(&[embassy(), mirror("population")]);
    let asked = run(&world, &mirror("population")).await;
    let mut expected = vec![SECRETS.to_owned()];
    for path in OBJECTS {
        expected.extend([format!("GET {path}"), format!("PATCH {path}")]);
    }
    expected.push(STATUS.to_owned());
    assert_eq!(lines(&asked), expected);
}

#[tokio::test]
async fn the_signing_key_outlives_the_mirror_and_is_an_openssh_key() {
    let world = World::of(&[embassy(), mirror("population")]);
    let asked = run(&world, &mirror("population")).await;
    let secret = &asked
        .iter()
        .find(|asked| asked.path.ends_with("/secrets"))
        .unwrap()
        .body;
    assert_eq!(secret["metadata"]["name"], "population-signing-key");
    assert!(
        secret["metadata"]["ownerReferences"].is_null(),
        "deleting the mirror must not delete the key"
    );
    assert!(
        secret["stringData"]["ssh-privatekey"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN OPENSSH PRIVATE KEY-----")
    );
}

#[tokio::test]
async fn a_key_of_ones_own_is_never_made() {
    let mut resource = mirror("population");
    resource["spec"]["signing"] = json!({"signerRef": {"name": "own-key"}});
    let world = World::of(&[embassy(), resource.clone()]);
    let asked = run(&world, &resource).await;
    assert!(!lines(&asked).contains(&SECRETS.to_owned()));
    let sources =
        written(&asked, OBJECTS[3])["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"]
            .to_string();
    assert!(sources.contains("own-key") && !sources.contains("population-signing-key"));
}

#[tokio::test]
async fn a_reconcile_that_changes_nothing_writes_nothing() {
    let (world, resource) = settled(&mirror("population")).await;
    assert_eq!(lines(&run(&world, &resource).await), Vec::<String>::new());
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_put_back_alone() {
    let (mut world, resource) = settled(&mirror("population")).await;
    for object in &mut world.objects {
        if object["kind"] == "NetworkPolicy" {
            object["spec"]["egress"] = json!([{}]);
        }
    }
    assert_eq!(
        lines(&run(&world, &resource).await),
        vec![format!("PATCH {}", OBJECTS[2])]
    );
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_taken_over() {
    let world = World::of(&[embassy(), mirror("population")]);
    let (client, log) = client(|asked: &Asked| {
        let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "population-mirror", "namespace": "interior"}});
        (asked.method == "GET" && asked.path == OBJECTS[1]).then_some((200, theirs))
    });
    reconcile(Arc::new(read(&mirror("population"))), world.context(client))
        .await
        .unwrap();
    let asked = log.take();
    assert!(!lines(&asked).contains(&format!("PATCH {}", OBJECTS[1])));
    let status = written(&asked, "/status");
    assert_eq!(condition(status, "Ready")["reason"], "ForeignObject");
    assert_eq!(condition(status, "Stalled")["status"], "True");
}

#[tokio::test]
async fn a_right_that_the_operator_lacks_is_named_and_an_api_server_that_is_busy_is_asked_again() {
    let lacks = "deployments.apps \"population-mirror\" is forbidden: User \"system:serviceaccount:operator\" cannot patch resource \
                 \"deployments\" in API group \"apps\" in the namespace \"interior\"";
    for (code, reason, said) in [
        (403, "Forbidden", lacks),
        (429, "TooManyRequests", "please try again later"),
    ] {
        let world = World::of(&[embassy(), mirror("population")]);
        let (client, log) = client(move |asked: &Asked| {
            let refusal = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": said,
            });
            (asked.method == "PATCH" && asked.path == OBJECTS[3]).then_some((code, refusal))
        });
        let done = reconcile(Arc::new(read(&mirror("population"))), world.context(client)).await;
        let asked = log.take();
        let status = written(&asked, "/status");
        let ready = condition(status, "Ready");
        assert_eq!(ready["reason"], "ApplyFailed", "{ready}");
        assert!(ready["message"].as_str().unwrap().contains(said), "{ready}");
        let is_stalled = condition(status, "Stalled")["status"] == "True";
        assert_eq!(
            (is_stalled, done.is_err()),
            (code == 403, code == 429),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_report_of_this_generation_makes_the_mirror_ready() {
    let (mut world, resource) = settled(&mirror("population")).await;
    let port = answering(json!({
        "process": "p", "loaded": {"generation": 3, "digest": "d"},
        "source": {"state": "True", "reason": "Reachable", "message": "", "since": "2026-11-23T10:00:00Z"},
        "store": {"state": "False", "reason": "StoreTlsFailed", "message": "unknown authority", "since": "2026-11-23T10:00:00Z"},
        "intact": {"state": "True", "reason": "Proven", "message": "copy 6 was read back", "since": "2026-11-23T10:00:00Z"},
        "lastProof": {"sequence": 6, "digest": "b".repeat(64), "readBackAt": "2026-11-23T10:00:00.5Z", "provenAt": "2026-11-23T10:01:00Z"},
        "drilled": {"state": "False", "reason": "DrillFailed", "message": "copy 5 did not pass", "since": "2026-11-23T10:00:00Z"},
        "head": {"sequence": 7, "digest": "a".repeat(64)},
        "signer": "ssh-ed25519 AAAA"
    }))
    .await;
    world.objects.extend(pod(&json!({})));
    world.settings = Some(dataembassy_operator::settings::Settings {
        status_port: port,
        ..settings()
    });
    let asked = run(&world, &resource).await;
    let status = written(&asked, "/status");
    assert_eq!(condition(status, "Ready")["status"], "True", "{status}");
    let source = condition(status, "SourceReachable");
    assert_eq!(source["status"], "True");
    assert!(!source["message"].as_str().unwrap().is_empty(), "{source}");
    assert_eq!(condition(status, "StoreReachable")["reason"], "StoreTlsFailed");
    assert_eq!(condition(status, "Reconciling"), &Value::Null);
    assert_eq!(status["status"]["head"]["sequence"], 7);
    let intact = condition(status, "Intact");
    assert_eq!(
        (&intact["status"], &intact["reason"]),
        (&json!("True"), &json!("Proven"))
    );
    assert_eq!(intact["message"], "copy 6 was read back");
    let drilled = condition(status, "Drilled");
    assert_eq!(
        (&drilled["status"], &drilled["reason"], &drilled["message"]),
        (
            &json!("False"),
            &json!("DrillFailed"),
            &json!("copy 5 did not pass")
        )
    );
    let proof = json!({"sequence": 6, "digest": "b".repeat(64), "readBackAt": "2026-11-23T10:00:00Z", "provenAt": "2026-11-23T10:01:00Z"});
    assert_eq!(status["status"]["lastProof"], proof);
    // The pod is called once for its configuration.
    assert_eq!(
        lines(&asked),
        vec![
            "PATCH /api/v1/namespaces/interior/pods/population-mirror-1-x".to_owned(),
            STATUS.to_owned()
        ]
    );
}

#[tokio::test]
async fn whether_copies_are_intact_is_unknown_until_the_embassy_has_said_so_and_false_when_it_says_that() {
    let asked = run(
        &World::of(&[embassy(), mirror("population")]),
        &mirror("population"),
    )
    .await;
    let intact = condition(written(&asked, "/status"), "Intact").clone();
    assert_eq!(
        (&intact["status"], &intact["reason"]),
        (&json!("Unknown"), &json!("NotYetKnown"))
    );
    for (reported, status, reason) in [
        (json!({}), "Unknown", "NotYetKnown"),
        (
            json!({"state": "Unknown", "reason": "VerificationOverdue", "message": "copy 6 waits"}),
            "Unknown",
            "VerificationOverdue",
        ),
        (
            json!({"state": "False", "reason": "ObjectMissing", "message": "copy 6 is broken"}),
            "False",
            "ObjectMissing",
        ),
    ] {
        let (mut world, resource) = settled(&mirror("population")).await;
        let report = json!({"process": "p", "loaded": {"generation": 3, "digest": "d"}, "intact": reported, "lastProof": {"sequence": 0,
            "digest": "not one", "readBackAt": "2026-11-23T10:00:00Z", "provenAt": "2026-11-23T10:01:00Z"}});
        let port = answering(report).await;
        world.objects.extend(pod(&json!({})));
        world.settings = Some(dataembassy_operator::settings::Settings {
            status_port: port,
            ..settings()
        });
        let asked = run(&world, &resource).await;
        let written = written(&asked, "/status");
        let intact = condition(written, "Intact");
        assert_eq!(
            (&intact["status"], &intact["reason"]),
            (&json!(status), &json!(reason))
        );
        assert_ne!(intact["message"], "");
        // A sidecar that says nothing of drills knows nothing of them.
        let drilled = condition(written, "Drilled");
        assert_eq!(
            (&drilled["status"], &drilled["reason"]),
            (&json!("Unknown"), &json!("NotYetKnown"))
        );
        assert_eq!(
            condition(written, "Ready")["status"],
            "True",
            "a bad night stops no deployment"
        );
        assert_eq!(written["status"]["lastProof"], Value::Null);
    }
}

/// An alarm waits for ten minutes in which it is not ready: it must not look well for the seconds that it runs.
#[tokio::test]
async fn a_sidecar_that_ends_again_and_again_is_not_ready_while_it_runs_in_between() {
    let ago = |seconds| jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
    for (restarts, end, begun, status, reason) in [
        (1, "Error", ago(10), "True", "Loaded"),
        (2, "Error", ago(10), "False", "CrashLooping"),
        (2, "Error", ago(600), "True", "Loaded"),
        (1, "OOMKilled", ago(10), "True", "OutOfMemory"),
        (2, "OOMKilled", ago(600), "False", "OutOfMemory"),
    ] {
        let (mut world, resource) = settled(&mirror("population")).await;
        let port = answering(json!({"process": "p", "loaded": {"generation": 3, "digest": "d"}})).await;
        let [set, mut pod] = pod(&json!({}));
        pod["status"]["containerStatuses"] = json!([{
            "name": "sidecar", "image": "sidecar", "imageID": "", "ready": true, "restartCount": restarts,
            "state": {"running": {"startedAt": begun}},
            "lastState": {"terminated": {"exitCode": 137, "reason": end, "finishedAt": begun}},
        }]);
        world.objects.extend([set, pod]);
        world.settings = Some(dataembassy_operator::settings::Settings {
            status_port: port,
            ..settings()
        });
        let asked = run(&world, &resource).await;
        let ready = condition(written(&asked, "/status"), "Ready").clone();
        assert_eq!(
            (&ready["status"], &ready["reason"]),
            (&json!(status), &json!(reason)),
            "{restarts} {end}: {ready}"
        );
    }
}

#[tokio::test]
async fn a_sidecar_that_was_killed_for_its_memory_says_so_until_its_next_copy() {
    for (committed, restarts, reason) in [
        ("2026-11-23T09:59:00Z", 1, "OutOfMemory"),
        ("2026-11-23T10:01:00Z", 1, "Loaded"),
        ("2026-11-23T10:01:00Z", 3, "Loaded"),
    ] {
        let (mut world, resource) = settled(&mirror("population")).await;
        let port = answering(json!({
            "process": "p", "loaded": {"generation": 3, "digest": "d"},
            "lastCopy": {"sequence": 1, "digest": "a".repeat(64), "takenAt": committed, "committedAt": committed, "bytes": 1},
        }))
        .await;
        let [set, mut pod] = pod(&json!({}));
        pod["status"]["containerStatuses"] = json!([{
            "name": "sidecar", "image": "sidecar", "imageID": "", "ready": true, "restartCount": restarts,
            "state": {"running": {"startedAt": jiff::Timestamp::now()}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-23T10:00:00Z"}},
        }]);
        world.objects.extend([set, pod]);
        world.settings = Some(dataembassy_operator::settings::Settings {
            status_port: port,
            ..settings()
        });
        let asked = run(&world, &resource).await;
        let ready = condition(written(&asked, "/status"), "Ready").clone();
        assert_eq!(
            ready["status"], "True",
            "a bad night stops no deployment: {ready}"
        );
        assert_eq!(ready["reason"], reason, "{ready}");
        let told = asked
            .iter()
            .filter(|asked| asked.path.contains("/events"))
            .any(|asked| asked.body["reason"] == "OutOfMemory" && asked.body["type"] == "Warning");
        assert_eq!(told, reason == "OutOfMemory");
    }
}

#[tokio::test]
async fn the_sidecar_is_told_of_the_collector_in_the_words_that_it_reads() {
    let world = |ca: Option<&str>| World {
        settings: Some(dataembassy_operator::settings::Settings {
            otlp_endpoint: Some("https://collector.observability:4318".to_owned()),
            otlp_ca: ca.map(str::to_owned),
            ..settings()
        }),
        ..World::of(&[embassy(), mirror("population")])
    };
    let asked = run(&world(Some("the authorities")), &mirror("population")).await;
    let pod = &written(&asked, OBJECTS[3])["spec"]["template"];
    let certificate = format!("{}/{}", files::CONFIG_DIR, files::OTLP_CA);
    assert_eq!(
        pod["spec"]["containers"][0]["env"],
        json!([
            {"name": files::OTLP_ENDPOINT_VARIABLE, "value": "https://collector.observability:4318"},
            {"name": files::OTLP_CERTIFICATE_VARIABLE, "value": certificate},
        ])
    );
    let items = &pod["spec"]["volumes"][0]["projected"]["sources"][0]["configMap"]["items"];
    let item = items
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["path"] == files::OTLP_CA)
        .unwrap();
    let key = item["key"].as_str().unwrap();
    assert_eq!(written(&asked, OBJECTS[1])["data"][key], "the authorities");

    // They are read when a process starts, so others need another pod.
    let others = run(&world(Some("other authorities")), &mirror("population")).await;
    assert_ne!(&written(&others, OBJECTS[3])["spec"]["template"], pod);
    let none = run(&world(None), &mirror("population")).await;
    let pod = written(&none, OBJECTS[3])["spec"]["template"].to_string();
    assert!(!pod.contains(files::OTLP_CA) && !pod.contains(files::OTLP_CERTIFICATE_VARIABLE));
}

#[tokio::test]
async fn a_head_that_goes_down_does_not_lower_the_floor() {
    let (mut world, mut resource) = settled(&mirror("population")).await;
    resource["status"]["head"] = json!({"sequence": 9, "digest": "b".repeat(64)});
    world.objects.retain(|object| object["kind"] != "RegistryMirror");
    world.objects.push(resource.clone());
    let port = answering(json!({"head": {"sequence": 2, "digest": "c".repeat(64)}})).await;
    world.objects.extend(pod(&json!({})));
    world.settings = Some(dataembassy_operator::settings::Settings {
        status_port: port,
        ..settings()
    });
    let asked = run(&world, &resource).await;
    assert_eq!(written(&asked, "/status")["status"]["head"]["sequence"], 9);
    assert_eq!(
        config(&asked)["floor"],
        json!({"sequence": 9, "digest": "b".repeat(64)})
    );
}

#[tokio::test]
async fn another_store_of_the_embassy_takes_nothing_away_from_what_a_mirror_knows() {
    for (field, value) in [
        ("endpoint", "https://elsewhere.embassy.example:9000"),
        ("bucket", "another"),
    ] {
        let (mut world, mut resource) = settled(&mirror("population")).await;
        let head = json!({"sequence": 9, "digest": "b".repeat(64)});
        resource["status"]["head"] = head.clone();
        for object in &mut world.objects {
            if object["kind"] == "DataEmbassy" {
                object["spec"]["store"][field] = value.into();
            }
        }
        let config = config(&run(&world, &resource).await);
        let store = config["embassy"]["store"][field].as_str().unwrap();
        assert!(store.starts_with(value), "{store}");
        assert_eq!(config["floor"], head, "{field}");
    }
}

#[tokio::test]
async fn a_mirror_that_is_made_again_knows_nothing_of_what_the_one_before_it_knew() {
    let (mut world, _) = settled(&mirror("population")).await;
    let head = json!({"sequence": 9, "digest": "b".repeat(64)});
    for object in &mut world.objects {
        if object["kind"] == "ConfigMap" {
            let document = &mut object["data"]["config.json"];
            let mut known: Value = serde_json::from_str(document.as_str().unwrap()).unwrap();
            known["floor"] = head.clone();
            *document = known.to_string().into();
        }
    }
    let port = answering(json!({"process": "p", "head": head})).await;
    world.objects.extend(pod(&json!({})));
    world.settings = Some(dataembassy_operator::settings::Settings {
        status_port: port,
        ..settings()
    });
    let mut again = mirror("population");
    again["metadata"]["uid"] = "uid-again".into();
    world.objects.retain(|object| object["kind"] != "RegistryMirror");
    world.objects.push(again.clone());

    // The former one's objects and its pod are still there: nothing of them is taken over, and nothing of what they say.
    let asked = run(&world, &again).await;
    assert_eq!(lines(&asked), [SECRETS, STATUS]);
    let status = written(&asked, "/status");
    assert_eq!(condition(status, "Ready")["reason"], "ForeignObject");
    assert_eq!(status["status"]["head"], Value::Null, "{status}");

    let world = World::of(&[embassy(), again.clone()]);
    let config = config(&run(&world, &again).await);
    assert_eq!(config["mirror"]["uid"], "uid-again");
    assert_eq!(config["floor"], Value::Null);
}

#[tokio::test]
async fn a_new_pod_waits_for_the_run_in_progress() {
    let (mut world, resource) = settled(&mirror("population")).await;
    let now = jiff::Timestamp::now();
    let port = answering(json!({
        "loaded": {"generation": 3, "digest": "d"},
        "run": {"startedAt": now, "deadlineAt": now, "progress": {"phase": "Copying"}}
    }))
    .await;
    world.objects.extend(pod(&json!({})));
    let upgraded = dataembassy_operator::settings::Settings {
        status_port: port,
        sidecar_image: "sidecar@sha256:1111".to_owned(),
        ..settings()
    };
    world.settings = Some(upgraded);
    let asked = run(&world, &resource).await;
    assert!(!lines(&asked).contains(&format!("PATCH {}", OBJECTS[3])));
    assert_eq!(
        condition(written(&asked, "/status"), "Ready")["reason"],
        "RolloutPending"
    );
}

#[tokio::test]
async fn a_pod_that_is_replaced_is_not_ready_and_counts_until_the_new_one_answers() {
    let (mut world, mut resource) = settled(&mirror("population")).await;
    let port = answering(json!({"loaded": {"generation": 3, "digest": "d"}})).await;
    world.objects.extend(pod(&json!({})));
    world.settings = Some(dataembassy_operator::settings::Settings {
        status_port: port,
        sidecar_image: "sidecar@sha256:1111".to_owned(),
        ..settings()
    });
    let (api, log) = client(|_| None);
    let context = world.context(api);
    let others = |context: &Context| {
        let room = ["a", "b", "c"].map(|other| context.rollouts.begin(other));
        for other in ["a", "b", "c"] {
            context.rollouts.end(other);
        }
        room.into_iter().filter(|room| *room).count()
    };
    reconcile(Arc::new(read::<RegistryMirror>(&resource)), context.clone())
        .await
        .unwrap();
    let asked = log.take();
    let ready = condition(written(&asked, "/status"), "Ready");
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("False"), &json!("Applying"))
    );
    assert_eq!(others(&context), 2, "the old pod's report ended the rollout");

    resource["status"] = written(&asked, "/status")["status"].clone();
    for object in &mut world.objects {
        if object["kind"] == "Deployment" {
            *object = written(&asked, OBJECTS[3]).clone();
            object["metadata"]["uid"] = "uid-deployment".into();
            object["metadata"]["generation"] = 2.into();
            object["status"] = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1});
        }
    }
    let (api, _) = client(|_| None);
    let context = world.context(api);
    assert!(context.rollouts.begin(&key(&read(&resource))));
    reconcile(Arc::new(read::<RegistryMirror>(&resource)), context.clone())
        .await
        .unwrap();
    assert_eq!(
        others(&context),
        3,
        "the new pod's report did not end the rollout"
    );
}

#[tokio::test]
async fn an_idle_pod_is_replaced_at_once() {
    let (mut world, resource) = settled(&mirror("population")).await;
    let port = answering(json!({"loaded": {"generation": 3, "digest": "d"}})).await;
    world.objects.extend(pod(&json!({})));
    world.settings = Some(dataembassy_operator::settings::Settings {
        status_port: port,
        sidecar_image: "sidecar@sha256:1111".to_owned(),
        ..settings()
    });
    let asked = run(&world, &resource).await;
    assert!(lines(&asked).contains(&format!("PATCH {}", OBJECTS[3])));
}

#[tokio::test]
async fn an_invalid_edit_and_a_vanished_embassy_touch_nothing_that_runs() {
    let (world, resource) = settled(&mirror("population")).await;
    let mut edited = resource.clone();
    edited["metadata"]["generation"] = json!(4);
    edited["spec"]["schedule"]["cron"] = json!("0 0 30 2 *");
    let asked = run(&world, &edited).await;
    assert_eq!(lines(&asked), vec![STATUS.to_owned()]);
    let stalled = condition(written(&asked, "/status"), "Stalled");
    assert_eq!(
        (stalled["status"].as_str(), stalled["reason"].as_str()),
        (Some("True"), Some("ImpossibleDate"))
    );
    assert!(
        stalled["message"]
            .as_str()
            .unwrap()
            .contains("goes on with its last valid configuration")
    );
    assert_eq!(stalled["observedGeneration"], 4);

    let mut alone = world.clone();
    alone.objects.retain(|object| object["kind"] != "DataEmbassy");
    let asked = run(&alone, &resource).await;
    assert_eq!(lines(&asked), vec![STATUS.to_owned()]);
    assert_eq!(
        condition(written(&asked, "/status"), "Stalled")["reason"],
        "UnknownEmbassy"
    );
}

#[tokio::test]
async fn an_invalid_mirror_can_still_be_told_to_stop() {
    let (world, resource) = settled(&mirror("population")).await;
    let mut edited = resource;
    edited["spec"]["schedule"]["cron"] = json!("nonsense");
    edited["spec"]["suspend"] = json!(true);
    let asked = run(&world, &edited).await;
    assert_eq!(
        lines(&asked),
        vec![format!("PATCH {}", OBJECTS[3]), STATUS.to_owned()]
    );
    assert_eq!(written(&asked, OBJECTS[3]), &json!({"spec": {"replicas": 0}}));
}

#[tokio::test]
async fn a_suspended_mirror_answers_a_new_trigger_and_rests_again() {
    let mut resource = mirror("population");
    resource["spec"]["suspend"] = json!(true);
    let replicas = async |resource: &Value| {
        let world = World::of(&[embassy(), resource.clone()]);
        let asked = run(&world, resource).await;
        written(&asked, OBJECTS[3])["spec"]["replicas"].as_i64().unwrap()
    };
    assert_eq!(replicas(&resource).await, 0);
    resource["spec"]["trigger"] = json!("before-upgrade");
    assert_eq!(replicas(&resource).await, 1);
    resource["status"] = json!({"lastTrigger": "before-upgrade"});
    assert_eq!(replicas(&resource).await, 0);
    // One that is taken back asks for nothing.
    resource["spec"].as_object_mut().unwrap().remove("trigger");
    assert_eq!(replicas(&resource).await, 0);
}

#[tokio::test]
async fn a_missing_secret_is_named_and_the_kubelet_is_asked_to_look_again() {
    let (mut world, resource) = settled(&mirror("population")).await;
    let missing = |secret: &str, key: &str| json!({"secret": secret, "key": key});
    let port = answering(json!({"missingSecrets": [
        missing("Deposit", "accessKeyId"), missing("Deposit", "secretAccessKey"), missing("Database", "password")
    ]}))
    .await;
    world.objects.extend(pod(&json!({})));
    world.settings = Some(dataembassy_operator::settings::Settings {
        status_port: port,
        ..settings()
    });
    let asked = run(&world, &resource).await;
    let status = written(&asked, "/status");
    let ready = condition(status, "Ready");
    assert_eq!(ready["reason"], "SecretMissing");
    for name in ["population-deposit", "population-dump", "password"] {
        assert!(ready["message"].as_str().unwrap().contains(name), "{ready}");
    }
    let store = condition(status, "StoreReachable");
    assert_eq!(store["reason"], "SecretMissing");
    assert!(store["message"].as_str().unwrap().contains("population-deposit"));
    let source = condition(status, "SourceReachable");
    assert_eq!(source["reason"], "SecretKeyMissing");
    assert!(
        source["message"]
            .as_str()
            .unwrap()
            .contains("the Secret population-dump lacks the key password")
    );
    let annotations = &written(&asked, "/pods/population-mirror-1-x")["metadata"]["annotations"];
    assert!(annotations["dataembassy.io/secrets-awaited-since"].is_string());
}

#[tokio::test]
async fn a_pod_that_only_carries_our_labels_is_not_asked() {
    let (mut world, resource) = settled(&mirror("population")).await;
    let port = answering(json!({"head": {"sequence": 1000, "digest": "f".repeat(64)}})).await;
    let [_, mut stranger] = pod(&json!({}));
    stranger["metadata"]["ownerReferences"] = json!([]);
    world.objects.push(stranger);
    world.settings = Some(dataembassy_operator::settings::Settings {
        status_port: port,
        ..settings()
    });
    assert_eq!(lines(&run(&world, &resource).await), Vec::<String>::new());
}

#[tokio::test]
async fn the_pod_meets_the_restricted_standard_and_has_no_token() {
    let world = World::of(&[embassy(), mirror("population")]);
    let asked = run(&world, &mirror("population")).await;
    let pod = &written(&asked, OBJECTS[3])["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(
        container["securityContext"]["capabilities"]["drop"],
        json!(["ALL"])
    );
    assert_eq!(container["resources"]["limits"]["memory"], "192Mi");
    for source in &pod["volumes"][0]["projected"]["sources"].as_array().unwrap()[1..] {
        assert_eq!(source["secret"]["optional"], true);
    }
}

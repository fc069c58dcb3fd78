//! How a run begins: what makes one due, that its order is fixed before anything is made for it, and what is made.

use dataembassy_contract::drill::{CELL_SCRIPT, DrillConfig};
use dataembassy_contract::files;
use serde_json::{Value, json};

use super::{Cluster, JOBS, LIVE, ORDER, STATUS, abroad, after, begun, counted, job, run, writes};
use crate::world::{World, drill, embassy, lines, said, written};

const OBJECTS: [&str; 3] = [
    "/api/v1/namespaces/drills/serviceaccounts/nightly-drill",
    "/api/v1/namespaces/drills/configmaps/nightly-drill",
    "/apis/networking.k8s.io/v1/namespaces/drills/networkpolicies/nightly-drill",
];

fn triggered() -> Value {
    let mut resource = drill("nightly");
    resource["spec"]["trigger"] = "audit".into();
    resource
}

fn first_job() -> String {
    format!("{JOBS}/{ORDER}-1")
}

#[tokio::test]
async fn a_run_is_fixed_in_the_status_before_anything_is_made_for_it() {
    let resource = triggered();
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    assert_eq!(lines(&asked), [format!("GET {LIVE}"), STATUS.to_owned()]);
    let status = &written(&asked, "/status")["status"];
    let order = status["current"]["order"].as_str().unwrap();
    assert!(order.starts_with("nightly-2") && order.ends_with('z'), "{order}");
    assert_eq!(status["current"]["attempt"], 1);
    assert_eq!(status["current"]["trigger"], "audit");
    assert_eq!(status["lastTrigger"], "audit");
    // The next look makes the Job of that order, and answers the trigger no second time.
    let fixed = after(&resource, &asked);
    let asked = run(&abroad(&fixed), &Cluster::default(), &fixed).await;
    let job = format!("{JOBS}/{order}-1");
    let mut expected = vec![format!("GET {job}"), format!("GET {LIVE}")];
    for path in OBJECTS.into_iter().chain([job.as_str()]) {
        expected.extend([format!("GET {path}"), format!("PATCH {path}")]);
    }
    expected.push(STATUS.to_owned());
    assert_eq!(lines(&asked), expected);
    assert_eq!(written(&asked, "/status")["status"]["current"]["order"], order);
}

#[tokio::test]
async fn a_job_that_was_made_before_the_operator_was_killed_is_found_again() {
    let resource = begun();
    let cluster = Cluster {
        job: Some(job(1)),
        ..Cluster::default()
    };
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert_eq!(writes(&asked), [STATUS]);
    let status = &written(&asked, "/status")["status"];
    assert_eq!(status["current"]["jobUid"], "uid-job-1");
    let settled = after(&resource, &asked);
    let asked = run(&abroad(&settled), &cluster, &settled).await;
    assert_eq!(
        writes(&asked),
        Vec::<String>::new(),
        "a look that finds nothing new writes nothing"
    );
}

#[tokio::test]
async fn whoever_has_not_seen_the_newest_status_takes_no_step() {
    let mut ahead = triggered();
    ahead["status"] = begun()["status"].clone();
    let mut another = triggered();
    another["metadata"]["uid"] = "uid-another".into();
    let mut leaving = triggered();
    leaving["metadata"]["deletionTimestamp"] = "2026-11-28T03:00:00Z".into();
    let mut edited = triggered();
    edited["spec"]["trigger"] = "another".into();
    for live in [ahead, another, leaving, edited] {
        let resource = triggered();
        let cluster = Cluster {
            live: Some(live),
            ..Cluster::default()
        };
        let asked = run(&abroad(&resource), &cluster, &resource).await;
        assert_eq!(lines(&asked), [format!("GET {LIVE}")]);
    }
    // The same where a Job would be made a second time.
    let resource = begun();
    let mut made = begun();
    made["status"]["current"]["jobUid"] = "uid-job-1".into();
    let cluster = Cluster {
        live: Some(made),
        ..Cluster::default()
    };
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert_eq!(writes(&asked), Vec::<String>::new());
}

#[tokio::test]
async fn after_downtime_one_run_makes_up_for_all_slots_and_the_others_are_counted() {
    let mut resource = drill("nightly");
    resource["spec"]["schedule"]["cron"] = "0 * * * *".into();
    resource["metadata"]["creationTimestamp"] = "2026-11-01T00:00:00Z".into();
    let now = jiff::Timestamp::now();
    let hours_ago = now.checked_sub(jiff::SignedDuration::from_hours(5)).unwrap();
    resource["status"] = json!({"observedGeneration": 1, "lastScheduleTime": hours_ago, "missedRuns": 2});
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    let status = &written(&asked, "/status")["status"];
    let slot = status["current"]["slot"].as_str().unwrap();
    assert!(slot.parse::<jiff::Timestamp>().unwrap() <= now);
    assert_eq!(status["lastScheduleTime"], slot);
    assert_eq!(status["missedRuns"], 2 + 4);
    assert_eq!(status["current"]["trigger"], Value::Null);
    // Fixed, it is at work: nothing of it is due again.
    let fixed = after(&resource, &asked);
    let asked = run(&abroad(&fixed), &Cluster::default(), &fixed).await;
    let status = &written(&asked, "/status")["status"];
    assert_eq!(
        (&status["missedRuns"], &status["lastScheduleTime"]),
        (&json!(6), &json!(slot))
    );
}

#[tokio::test]
async fn a_drill_that_rests_or_waits_for_its_slot_makes_nothing_and_then_writes_nothing() {
    for suspended in [false, true] {
        let mut resource = drill("nightly");
        resource["spec"]["suspend"] = suspended.into();
        let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
        assert_eq!(lines(&asked), [STATUS]);
        let status = written(&asked, "/status");
        let reason = if suspended { "Suspended" } else { "Accepted" };
        assert_eq!(
            (said(status, "Ready").0.as_str(), said(status, "Ready").1.as_str()),
            ("True", reason)
        );
        assert_eq!(said(status, "Passed").1, "NeverDrilled");
        assert_eq!(status["status"]["nextScheduleTime"].is_string(), !suspended);
        let settled = after(&resource, &asked);
        let asked = run(&abroad(&settled), &Cluster::default(), &settled).await;
        assert_eq!(lines(&asked), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_database_is_a_native_sidecar_that_gets_no_secret_and_no_network_of_its_own() {
    let resource = begun();
    let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
    let job = written(&asked, &first_job());
    assert_eq!(job["spec"]["backoffLimit"], 0);
    let deadline = job["spec"]["activeDeadlineSeconds"].as_u64().unwrap();
    assert!((7_490..=7_500).contains(&deadline), "{deadline}");
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 3600);
    let template = &job["spec"]["template"];
    assert_eq!(
        template["metadata"]["labels"]["dataembassy.io/store-access"],
        "true"
    );
    let pod = &template["spec"];
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let database = &pod["initContainers"][0];
    assert_eq!(pod["initContainers"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&database["name"], &database["restartPolicy"], &database["image"]),
        (&json!("database"), &json!("Always"), &json!("postgres:17"))
    );
    assert_eq!(
        database["command"],
        json!(["/bin/sh", "-ceu", CELL_SCRIPT, "cell", "10240"]),
        "its volume has 10 GiB"
    );
    for field in ["env", "envFrom", "ports", "args"] {
        assert_eq!(database[field], Value::Null, "{field}");
    }
    // Of all volumes it has the socket's and its own, and only its own is not ours.
    let folders = |container: &Value| -> Vec<String> {
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        mounts
            .map(|mount| mount["mountPath"].as_str().unwrap().to_owned())
            .collect()
    };
    let ours = &pod["containers"][0];
    assert_eq!(folders(database), [files::CELL_DIR, files::CELL_DATA_DIR]);
    assert_eq!(folders(ours), [files::CONFIG_DIR, "/tmp", files::CELL_DIR]);
    assert_eq!(ours["args"], json!(["drill", "--config-dir", files::CONFIG_DIR]));
    let sizes: Vec<&Value> = pod["volumes"].as_array().unwrap()[1..]
        .iter()
        .map(|volume| &volume["emptyDir"]["sizeLimit"])
        .collect();
    assert_eq!(sizes, ["1Gi", "16Mi", "10Gi"]);
    for container in [ours, database] {
        let security = &container["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
        assert!(container["resources"]["limits"]["memory"].is_string());
        assert_eq!(container["resources"]["limits"]["cpu"], "2");
    }
    assert_eq!(database["securityContext"]["runAsUser"], 65_534);
    // Nothing of the script is taken for a variable of Kubernetes'.
    assert!(!CELL_SCRIPT.contains("$$"));
    let policy = &written(&asked, OBJECTS[2])["spec"];
    assert_eq!(
        policy["egress"],
        json!([
            {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
            {"ports": [{"protocol": "TCP", "port": 9000}]},
        ])
    );
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy["ingress"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_drill_reaches_the_store_in_the_networks_that_it_may_be_in_and_nowhere_else() {
    let resource = begun();
    let mut world = abroad(&resource);
    for object in &mut world.objects {
        if object["kind"] == "DataEmbassy" {
            object["spec"]["sovereignty"]["allowedNetworks"] = json!(["203.0.113.0/24"]);
        }
    }
    let asked = run(&world, &Cluster::default(), &resource).await;
    assert_eq!(
        written(&asked, OBJECTS[2])["spec"]["egress"][1],
        json!({"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"protocol": "TCP", "port": 9000}]})
    );
}

#[tokio::test]
async fn a_run_is_told_its_order_its_time_and_whom_the_cluster_believes() {
    let mut resource = begun();
    resource["spec"]["server"]["volumeSize"] = "2Gi".into();
    let world = abroad(&resource);
    let asked = run(&world, &Cluster::default(), &resource).await;
    let map = written(&asked, OBJECTS[1]);
    let config =
        DrillConfig::from_json(map["data"][files::CONFIG_FILE].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(
        (config.order.as_str(), config.drill.as_str()),
        (ORDER, "drills/nightly")
    );
    assert!((7_190..=7_200).contains(&config.deadline_seconds));
    assert_eq!(config.database_limit_bytes, 2 << 30);
    assert_eq!(
        json!(config.signers[0].public_key),
        counted("drills")["spec"]["signers"][0]["publicKey"]
    );
    // Without an objective of its own it is measured by the registry's.
    assert_eq!(config.rto_seconds, Some(2 * 3600));
    for object in OBJECTS.into_iter().chain([first_job().as_str()]) {
        let owner = &written(&asked, object)["metadata"]["ownerReferences"][0];
        assert_eq!(
            (&owner["uid"], &owner["controller"]),
            (&json!("uid-nightly"), &json!(true))
        );
    }
}

#[tokio::test]
async fn nothing_is_begun_for_a_drill_that_cannot_be_followed_and_it_says_why() {
    let change = |path: &str, value: Value| {
        let mut resource = triggered();
        *resource.pointer_mut(path).unwrap() = value;
        resource
    };
    let assertion = |expected: Value| {
        let mut resource = triggered();
        resource["spec"]["assertions"] = json!([expected]);
        resource
    };
    let within = |bounds: Value| assertion(json!({"name": "a", "sql": "SELECT 1", "within": bounds}));
    let twice = json!([
        {"name": "a", "sql": "SELECT 1", "equals": "1"}, {"name": "a", "sql": "SELECT 2", "equals": "2"}
    ]);
    for (resource, reason, words) in [
        (
            change("/spec/embassyRef/name", "atlantis".into()),
            "UnknownEmbassy",
            "atlantis",
        ),
        (
            change("/spec/registry/id", "health".into()),
            "UnknownRegistry",
            "health",
        ),
        (
            change("/spec/schedule/cron", "@daily".into()),
            "InvalidSchedule",
            "nickname",
        ),
        (
            change("/spec/schedule/cron", "0 0 30 2 *".into()),
            "ImpossibleDate",
            "never happens",
        ),
        (
            change("/spec/schedule/timeZone", "Mars/Base".into()),
            "UnknownTimeZone",
            "Mars/Base",
        ),
        (
            change("/spec/schedule/deadline", "soon".into()),
            "InvalidDuration",
            "deadline",
        ),
        (
            change("/spec/server/volumeSize", "lots".into()),
            "InvalidQuantity",
            "volumeSize",
        ),
        (change("/spec/server/image", "a b".into()), "InvalidName", "image"),
        (change("/spec/assertions", twice), "InvalidName", "two called a"),
        (
            assertion(json!({"name": "a", "sql": " \n", "equals": "1"})),
            "InvalidName",
            "empty",
        ),
        (
            assertion(json!({"name": "a", "sql": "SELECT 1"})),
            "InvalidName",
            "exactly one",
        ),
        (within(json!({})), "InvalidName", "atLeast, atMost"),
        (within(json!({"atLeast": "1e3"})), "InvalidName", "1e3"),
        (
            within(json!({"atLeast": "10", "atMost": "9"})),
            "InvalidName",
            "no answer could be right",
        ),
        (
            assertion(json!({"name": "a", "sql": "SELECT 1", "notOlderThan": "x"})),
            "InvalidDuration",
            "notOlderThan",
        ),
    ] {
        let asked = run(&abroad(&resource), &Cluster::default(), &resource).await;
        assert_eq!(lines(&asked), [STATUS.to_owned()], "{reason}");
        let status = written(&asked, "/status");
        let (stalled, found, message) = said(status, "Stalled");
        assert_eq!((stalled.as_str(), found.as_str()), ("True", reason));
        assert!(message.contains(words), "{message}");
        assert_eq!(status["status"]["current"], Value::Null);
        // What asked for it stays due.
        assert_eq!(status["status"]["lastTrigger"], Value::Null);
    }
}

#[tokio::test]
async fn only_the_namespace_that_the_registry_names_counts() {
    let resource = triggered();
    let mut nowhere = counted("drills");
    nowhere["spec"].as_object_mut().unwrap().remove("drills");
    let mut younger = counted("drills");
    younger["metadata"]["name"] = "usurper".into();
    younger["metadata"]["uid"] = "uid-usurper".into();
    younger["metadata"]["creationTimestamp"] = "2026-11-24T09:00:00Z".into();
    for custodies in [
        vec![counted("elsewhere")],
        vec![nowhere],
        vec![counted("elsewhere"), younger],
    ] {
        let mut objects = vec![embassy(), resource.clone()];
        objects.extend(custodies);
        let asked = run(&World::of(&objects), &Cluster::default(), &resource).await;
        assert_eq!(lines(&asked), [STATUS.to_owned()]);
        let (_, reason, message) = said(written(&asked, "/status"), "Stalled");
        assert_eq!(reason, "DrillNotAllowed");
        assert!(message.contains("spec.drills.namespace"), "{message}");
    }
}

#[tokio::test]
async fn a_job_of_that_name_that_is_somebody_elses_is_left_alone() {
    let resource = begun();
    let mut foreign = job(1);
    foreign["metadata"]["ownerReferences"] = json!([]);
    let cluster = Cluster {
        job: Some(foreign),
        ..Cluster::default()
    };
    let asked = run(&abroad(&resource), &cluster, &resource).await;
    assert!(
        !lines(&asked).contains(&format!("PATCH {}", first_job())),
        "{:?}",
        lines(&asked)
    );
    assert_eq!(said(written(&asked, "/status"), "Stalled").1, "ForeignObject");
}

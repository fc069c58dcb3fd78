//! What is made for an embassy, and when it is replaced.

use dataembassy_operator::settings::Settings;
use serde_json::json;

use super::{
    CUSTODIAN_DEPLOYMENT, CUSTODIAN_POLICY, GATE_DEPLOYMENT, GATE_POLICY, OBJECTS, SERVICE, STATUS, run,
    run_in, settle, settled, world,
};
use crate::world::embassy::{CUSTODIAN, custodian_report, custody, standing};
use crate::world::{Asked, client, lines, said, settings, written};

#[tokio::test]
async fn a_new_embassy_gets_its_objects_and_a_status_and_nothing_else() {
    let asked = run(&world(&standing(), &[custody("population")]), &standing()).await;
    let mut expected = Vec::new();
    for path in OBJECTS {
        expected.extend([format!("GET {path}"), format!("PATCH {path}")]);
    }
    expected.push(STATUS.to_owned());
    assert_eq!(lines(&asked), expected);
}

/// An owner would take them with it: a resource that vanished must not close the door of the store.
#[tokio::test]
async fn what_runs_belongs_to_no_resource_that_could_vanish() {
    let asked = run(&world(&standing(), &[]), &standing()).await;
    for path in OBJECTS {
        let object = written(&asked, path);
        assert!(object["metadata"]["ownerReferences"].is_null(), "{path}");
        assert_eq!(
            object["metadata"]["labels"]["app.kubernetes.io/managed-by"],
            "dataembassy-operator"
        );
    }
}

#[tokio::test]
async fn an_image_that_does_not_work_stops_at_the_custodian() {
    let (mut world, mut resource, running) = settled(&standing(), &[]).await;
    let upgraded = Settings {
        sidecar_image: "sidecar@sha256:1111".to_owned(),
        ..world.settings.clone().unwrap()
    };
    world.settings = Some(upgraded);
    let asked = run(&world, &resource).await;
    let patched = lines(&asked);
    assert!(patched.contains(&format!("PATCH {CUSTODIAN_DEPLOYMENT}")));
    assert!(!patched.contains(&format!("PATCH {GATE_DEPLOYMENT}")));
    let (ready, reason, message) = said(written(&asked, "/status"), "Ready");
    assert_eq!(
        (ready.as_str(), reason.as_str()),
        ("False", "Applying"),
        "{message}"
    );

    // The new pod does not answer.
    settle(&mut world, &mut resource, &asked);
    running.processes.say(CUSTODIAN, "/status", json!("nonsense"));
    let asked = run(&world, &resource).await;
    assert!(!lines(&asked).contains(&format!("PATCH {GATE_DEPLOYMENT}")));
    let (_, reason, message) = said(written(&asked, "/status"), "Ready");
    assert_eq!(reason, "RolloutPending");
    assert!(message.contains("CustodianReady"), "{message}");

    running.processes.say(CUSTODIAN, "/status", custodian_report());
    let asked = run(&world, &resource).await;
    assert!(lines(&asked).contains(&format!("PATCH {GATE_DEPLOYMENT}")));
}

#[tokio::test]
async fn a_gate_is_replaced_only_when_a_new_one_is_ready() {
    let asked = run(&world(&standing(), &[]), &standing()).await;
    let gate = &written(&asked, GATE_DEPLOYMENT)["spec"];
    assert_eq!(gate["replicas"], 2);
    assert_eq!(
        gate["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
    );
    let pod = &gate["template"]["spec"];
    assert_eq!(
        pod["topologySpreadConstraints"][0]["whenUnsatisfiable"],
        "ScheduleAnyway"
    );
    assert!(pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"].is_array());
    let custodian = &written(&asked, CUSTODIAN_DEPLOYMENT)["spec"];
    assert_eq!(
        (&custodian["replicas"], &custodian["strategy"]["type"]),
        (&json!(1), &json!("Recreate"))
    );
}

#[tokio::test]
async fn both_pods_meet_the_restricted_standard_and_have_no_token_and_no_more_secrets_than_they_need() {
    let asked = run(&world(&standing(), &[]), &standing()).await;
    for (path, limit, args, secrets) in [
        (
            CUSTODIAN_DEPLOYMENT,
            "128Mi",
            "custodian",
            &["custody", "custodian-key", "store-check"][..],
        ),
        (GATE_DEPLOYMENT, "64Mi", "gate", &["gate-tls"][..]),
    ] {
        let pod = &written(&asked, path)["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0];
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(container["resources"]["limits"]["memory"], limit);
        assert_eq!(container["args"][0], args);
        assert!(container["livenessProbe"].is_object() && container["readinessProbe"].is_object());
        let volumes = pod["volumes"].as_array().unwrap();
        assert_eq!(volumes.len(), 1, "nothing is kept on a disk");
        let sources = volumes[0]["projected"]["sources"].as_array().unwrap();
        let found: Vec<&str> = sources[1..]
            .iter()
            .map(|source| {
                assert_eq!(source["secret"]["optional"], true);
                source["secret"]["name"].as_str().unwrap()
            })
            .collect();
        assert_eq!(found, secrets);
    }
}

#[tokio::test]
async fn who_reaches_whom_is_said_and_no_more_than_that() {
    let mut embassy = standing();
    embassy["spec"]["sovereignty"]["allowedNetworks"] = json!(["203.0.113.0/24"]);
    let asked = run(&world(&embassy, &[]), &embassy).await;
    let dns = json!({"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]});
    let store = json!({"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"protocol": "TCP", "port": 9000}]});
    let pods = json!({
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "store"}}}],
        "ports": [{"protocol": "TCP", "port": 9000}]
    });
    let operator = json!({
        "from": [{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "dataembassy"}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "dataembassy", "app.kubernetes.io/component": "operator"}}
        }],
        "ports": [{"protocol": "TCP", "port": 8080}]
    });
    let home = json!({"ports": [{"protocol": "TCP", "port": 8443}]});
    for (path, ingress) in [
        (CUSTODIAN_POLICY, json!([operator])),
        (GATE_POLICY, json!([operator, home])),
    ] {
        let spec = &written(&asked, path)["spec"];
        assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(spec["ingress"], ingress);
        assert_eq!(spec["egress"], json!([dns, store, pods]));
    }
}

#[tokio::test]
async fn the_service_is_what_the_resource_asks_for() {
    let mut embassy = standing();
    embassy["spec"]["custodian"]["gate"]["service"] = json!({"type": "LoadBalancer", "port": 9443, "nodePort": 30443, "annotations": {"lb.example/pool": "embassy"}});
    let asked = run(&world(&embassy, &[]), &embassy).await;
    let service = written(&asked, SERVICE);
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    assert_eq!(
        service["spec"]["ports"],
        json!([{"name": "gate", "port": 9443, "targetPort": "gate", "protocol": "TCP", "nodePort": 30443}])
    );
    assert_eq!(service["metadata"]["annotations"]["lb.example/pool"], "embassy");
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_taken_over() {
    let (client, log) = client(|asked: &Asked| {
        let theirs = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "luxembourg-gate", "namespace": "dataembassy"}});
        (asked.method == "GET" && asked.path == SERVICE).then_some((200, theirs))
    });
    run_in(&world(&standing(), &[]).context(client), &standing()).await;
    let asked = log.take();
    assert!(!lines(&asked).contains(&format!("PATCH {SERVICE}")));
    assert_eq!(said(written(&asked, "/status"), "Stalled").1, "ForeignObject");
}

#[tokio::test]
async fn at_home_nothing_runs_for_the_block() {
    let mut world = world(&standing(), &[custody("population")]);
    world.settings = Some(settings());
    let asked = run(&world, &standing()).await;
    assert_eq!(lines(&asked), vec![STATUS.to_owned()]);
    let (ready, _, message) = said(written(&asked, "/status"), "Ready");
    assert_eq!(ready, "True");
    assert!(message.contains("means nothing at home"), "{message}");
}

#[tokio::test]
async fn without_the_block_nothing_runs_at_the_embassy_either() {
    let mut embassy = standing();
    embassy["spec"].as_object_mut().unwrap().remove("custodian");
    let asked = run(&world(&embassy, &[]), &embassy).await;
    assert_eq!(lines(&asked), vec![STATUS.to_owned()]);
    assert_eq!(said(written(&asked, "/status"), "Ready").0, "True");
}

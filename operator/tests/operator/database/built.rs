//! What the objects say.

use dataembassy_contract::database::{READY_SCRIPT, SCRIPT};
use dataembassy_crds::{EmbassyActivation, SecretRef, TlsMode};
use dataembassy_operator::activation::database::build::{self, Public, Replicas};
use serde_json::{Value, json};

use super::{activation, managed};
use crate::world::settings;

fn set(activation: &EmbassyActivation) -> Value {
    build::stateful_set(&managed(activation), Replicas::One, Public::Closed, &settings())
}

#[test]
fn the_pod_may_do_nothing_to_its_node_and_has_no_token() {
    let set = set(&activation("Activate"));
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(
        pod["securityContext"],
        json!({
            "runAsNonRoot": true, "runAsUser": 65534, "runAsGroup": 65534, "fsGroup": 65534,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        })
    );
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["enableServiceLinks"], false);
    assert_eq!(pod["terminationGracePeriodSeconds"], 180);
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
    );
    assert_eq!(container["command"], json!(["/bin/sh", "-ceu", SCRIPT]));
    assert!(container["livenessProbe"].is_null());
    for probe in ["startupProbe", "readinessProbe"] {
        assert_eq!(
            container[probe]["exec"]["command"],
            json!(["/bin/sh", "-ceu", READY_SCRIPT])
        );
    }
    // Kubernetes makes one sign of two, and takes what it knows in parentheses for its own.
    for script in [SCRIPT, READY_SCRIPT] {
        assert!(!script.contains("$$") && !script.contains("$(DATABASE"));
    }
    // Nothing is secret in what everybody may read who may read pods.
    let environment = json!([
        {"name": "DATABASE_SHARED_BUFFERS", "value": "256MB"}, {"name": "DATABASE_MAX_WAL_SIZE", "value": "1280MB"}
    ]);
    assert_eq!(container["env"], environment);
}

#[test]
fn the_volume_stays_where_it_is_meant_and_goes_after_a_rehearsal() {
    for (mode, expected) in [("Activate", "Retain"), ("Rehearse", "Delete")] {
        let set = set(&activation(mode));
        assert_eq!(
            set["spec"]["persistentVolumeClaimRetentionPolicy"],
            json!({"whenDeleted": expected, "whenScaled": "Retain"})
        );
        let claim = &set["spec"]["volumeClaimTemplates"][0];
        assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "10Gi");
        assert!(claim["spec"]["storageClassName"].is_null());
        assert_eq!(set["metadata"]["ownerReferences"].is_null(), mode == "Activate");
    }
    // What is rehearsed goes with whoever deletes the rehearsal in between, its volume included.
    let rehearsed = set(&activation("Rehearse"));
    let owner = &rehearsed["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["uid"]),
        (&json!("EmbassyActivation"), &json!("uid-day"))
    );
}

#[test]
fn the_servers_private_key_is_copied_into_memory_only() {
    let pod = set(&activation("Activate"))["spec"]["template"]["spec"].clone();
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let writable = mounts
        .iter()
        .filter(|mount| mount["readOnly"] != true && mount["name"] != "data");
    let volumes = pod["volumes"].as_array().unwrap();
    let mut seen = 0;
    for mount in writable {
        let volume = volumes
            .iter()
            .find(|volume| volume["name"] == mount["name"])
            .unwrap();
        assert_eq!(volume["emptyDir"]["medium"], "Memory", "{mount}");
        seen += 1;
    }
    assert!(seen > 1);
}

#[test]
fn the_pod_goes_to_the_nodes_that_were_named_and_nowhere_by_default() {
    let mut activation = activation("Activate");
    let pod = &set(&activation)["spec"]["template"]["spec"];
    for field in ["nodeSelector", "tolerations", "priorityClassName"] {
        assert!(pod[field].is_null(), "{field}");
    }
    let spec = activation.spec.registries[0].target.managed.as_mut().unwrap();
    spec.node_selector = [("disk".to_owned(), "fast".to_owned())].into();
    spec.tolerations = serde_json::from_value(json!([{"key": "registries", "operator": "Exists"}])).unwrap();
    spec.priority_class_name = Some("registries".to_owned());
    let pod = &set(&activation)["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"], json!({"disk": "fast"}));
    assert_eq!(
        pod["tolerations"],
        json!([{"key": "registries", "operator": "Exists"}])
    );
    assert_eq!(pod["priorityClassName"], "registries");
}

#[test]
fn strangers_are_kept_out_and_the_server_calls_nobody() {
    let activation = activation("Activate");
    let managed = managed(&activation);
    let policy = build::restore_policy(&managed, None);
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy["spec"]["egress"], json!([]));
    let mut labels = json!({});
    for (name, value) in managed.restore_labels() {
        labels[name] = value.into();
    }
    assert_eq!(
        policy["spec"]["ingress"],
        json!([{"from": [{"podSelector": {"matchLabels": labels}}], "ports": [{"protocol": "TCP", "port": 5432}]}])
    );
    let pod = &set(&activation)["spec"]["template"]["metadata"]["labels"];
    for policy in [policy, build::public_policy(&managed, build::Public::Open)] {
        let chosen = policy["spec"]["podSelector"]["matchLabels"]
            .as_object()
            .unwrap()
            .clone();
        assert!(
            chosen.iter().all(|(name, value)| pod[name] == *value),
            "{chosen:?}"
        );
    }
}

#[test]
fn a_certificate_that_was_named_is_used_and_what_was_asked_for_is_built() {
    let mut activation = activation("Activate");
    let spec = activation.spec.registries[0].target.managed.as_mut().unwrap();
    spec.tls_ref = Some(SecretRef {
        name: "people-tls".to_owned(),
    });
    spec.storage_class = Some("fast".to_owned());
    spec.service = Some("people".to_owned());
    spec.database = Some("registry".to_owned());
    spec.resources = serde_json::from_value(json!({"limits": {"memory": "1.5Gi"}})).unwrap();
    let managed = managed(&activation);
    let target = managed.target();
    assert_eq!(
        (target.host.as_str(), target.port, target.database.as_str()),
        ("day-population-db.abroad.svc", 5432, "registry")
    );
    assert!(target.create_if_missing && target.tls.mode == TlsMode::VerifyFull);
    assert_eq!(target.tls.ca_ref.name, "people-tls");
    assert_eq!(target.credentials_ref.name, "day-population.superuser");
    assert_eq!(managed.certificate_ends(), None);
    let set = set(&activation);
    let pod = &set["spec"]["template"]["spec"];
    let secrets = &pod["volumes"][2]["projected"];
    assert_eq!(secrets["defaultMode"], 0o440);
    let names: Vec<&Value> = secrets["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["secret"]["name"])
        .collect();
    assert_eq!(names, ["day-population.superuser", "people-tls"]);
    assert_eq!(
        set["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"],
        "fast"
    );
    assert_eq!(pod["containers"][0]["env"][0]["value"], "384MB");
    let service = build::public_service(&managed, Public::Closed);
    assert_eq!(service["metadata"]["name"], "people");
    assert!(
        service["spec"]["selector"].is_null()
            && service["metadata"]["annotations"]["dataembassy.io/certificate-ends"].is_null()
    );
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
}

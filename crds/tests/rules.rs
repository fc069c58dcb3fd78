//! The CEL rules, judged without a cluster, from raw JSON as a user would write it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should end"
)]

use dataembassy_crds::{
    DataEmbassy, RecoveryPoint, RegistryCustody, RegistryDrill, RegistryMirror, RegistryRestore, all,
};
use kube::core::cel::Validator;
use serde_json::{Value, json};

fn violations(kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    let definition = all()
        .into_iter()
        .find(|definition| definition.spec.names.kind == kind)
        .unwrap();
    let schema = definition.spec.versions[0]
        .schema
        .as_ref()
        .unwrap()
        .open_api_v3_schema
        .as_ref()
        .unwrap();
    let schema = serde_json::to_value(schema).unwrap();
    match Validator::new().validate(&schema, object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
    }
}

fn mirror() -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "RegistryMirror",
        "metadata": {"name": "population", "namespace": "interior"},
        "spec": {
            "registry": {"id": "population"},
            "embassyRef": {"name": "luxembourg"},
            "depositCredentialsRef": {"name": "population-deposit"},
            "source": {"postgresql": {
                "host": "population-db", "port": 5432, "database": "population",
                "tls": {"mode": "VerifyFull", "caRef": {"name": "db-ca"}},
                "credentialsRef": {"name": "population-dump"},
                "maxConnections": 6, "maxSnapshotAge": "1h", "yieldToDDLAfter": "30s"
            }},
            "schedule": {"cron": "*/15 * * * *", "timeZone": "UTC", "deadline": "1h"},
            "objectives": {"rpo": "30m"}
        }
    })
}

fn embassy() -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "DataEmbassy",
        "metadata": {"name": "luxembourg"},
        "spec": {
            "store": {"endpoint": "https://gate.embassy.example", "bucket": "registries", "region": "us-east-1", "addressing": "Path"},
            "immutability": {"mode": "Compliance", "lockOnArrival": "14d"},
            "recipients": [{"name": "ministry", "publicKey": "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"}]
        }
    })
}

fn custodian() -> Value {
    json!({
        "credentialsRef": {"name": "custody"},
        "signerRef": {"name": "custodian-key"},
        "gate": {"tlsRef": {"name": "gate-tls"}, "service": {"type": "NodePort", "port": 443, "nodePort": 30443}}
    })
}

fn custody() -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "RegistryCustody",
        "metadata": {"name": "population"},
        "spec": {
            "embassyRef": {"name": "luxembourg"},
            "registry": {"id": "population"},
            "signers": [{"publicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHn22dY2ve98n6oX/KkfPa8DMfEOcM9T9AbhjhFmkdyg", "fromSequence": 1}],
            "rpo": "30m",
            "retention": {"keepWithin": "30d", "daily": 14, "weekly": 8, "monthly": 12, "yearly": 10, "minimum": 3}
        }
    })
}

fn recovery_point() -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "RecoveryPoint",
        "metadata": {"name": "population-000000000007"},
        "spec": {
            "registry": "population", "sequence": 7, "digest": "0".repeat(64), "copyId": "0".repeat(32),
            "takenAt": "2026-11-23T10:00:00Z", "arrivedAt": "2026-11-23T10:00:09Z", "bytes": 1, "size": "1 B"
        }
    })
}

#[test]
fn what_the_manual_shows_is_let_in() {
    assert_eq!(
        violations("RegistryMirror", &mirror(), None),
        Vec::<String>::new()
    );
    assert_eq!(violations("DataEmbassy", &embassy(), None), Vec::<String>::new());
    serde_json::from_value::<RegistryMirror>(mirror()).unwrap();
    serde_json::from_value::<DataEmbassy>(embassy()).unwrap();
    let mut object = embassy();
    object["spec"]["custodian"] = custodian();
    assert_eq!(violations("DataEmbassy", &object, None), Vec::<String>::new());
    assert_eq!(
        violations("RegistryCustody", &custody(), None),
        Vec::<String>::new()
    );
    serde_json::from_value::<RegistryCustody>(custody()).unwrap();
    assert_eq!(
        violations("RecoveryPoint", &recovery_point(), None),
        Vec::<String>::new()
    );
    serde_json::from_value::<RecoveryPoint>(recovery_point()).unwrap();
}

#[track_caller]
fn assert_violates(kind: &str, object: &Value, old: Option<&Value>, words: &str) {
    let found = violations(kind, object, old);
    assert!(
        matches!(&found[..], [message] if message.contains(words)),
        "{found:?}"
    );
}

#[test]
fn a_retention_that_keeps_more_copies_apart_than_a_ledger_can_tell_is_refused() {
    let mut object = custody();
    object["spec"]["retention"]["daily"] = json!(870);
    assert_eq!(violations("RegistryCustody", &object, None), Vec::<String>::new());
    object["spec"]["retention"]["daily"] = json!(871);
    assert_violates("RegistryCustody", &object, None, "not be more than 900 together");
}

#[test]
fn an_embassy_that_objects_are_named_after_has_a_name_that_they_can_bear() {
    for name in ["a".repeat(41), "1embassy".to_owned()] {
        let mut object = embassy();
        object["metadata"]["name"] = json!(name);
        assert_eq!(
            violations("DataEmbassy", &object, None),
            Vec::<String>::new(),
            "at home"
        );
        object["spec"]["custodian"] = custodian();
        assert_violates("DataEmbassy", &object, None, "with spec.custodian");
    }
}

#[test]
fn a_nodes_port_needs_a_type_that_has_one() {
    let mut object = embassy();
    object["spec"]["custodian"] = custodian();
    object["spec"]["custodian"]["gate"]["service"]["type"] = json!("ClusterIP");
    assert_violates("DataEmbassy", &object, None, "nodePort needs type");
    object["spec"]["custodian"]["gate"]["service"] = json!({"nodePort": 30443});
    assert_violates("DataEmbassy", &object, None, "nodePort needs type");
}

#[test]
fn a_signers_last_entry_is_not_before_its_first() {
    let mut object = custody();
    object["spec"]["signers"][0]["untilSequence"] = json!(1);
    assert_eq!(violations("RegistryCustody", &object, None), Vec::<String>::new());
    object["spec"]["signers"][0]["fromSequence"] = json!(2);
    assert_violates("RegistryCustody", &object, None, "untilSequence");
}

#[test]
fn a_registry_in_custody_never_changes_its_id_nor_its_embassy_once_it_has_a_ledger() {
    let mut object = custody();
    object["spec"]["registry"]["id"] = json!("health");
    assert_violates("RegistryCustody", &object, Some(&custody()), "immutable");
    let mut object = custody();
    object["spec"]["embassyRef"]["name"] = json!("estonia");
    assert_eq!(
        violations("RegistryCustody", &object, Some(&custody())),
        Vec::<String>::new()
    );
    let mut copied = custody();
    copied["status"] = json!({"sourceHead": {"sequence": 1, "digest": "0".repeat(64)}});
    object["status"] = copied["status"].clone();
    assert_violates(
        "RegistryCustody",
        &object,
        Some(&copied),
        "embassyRef is immutable",
    );
}

#[test]
fn a_recovery_point_is_named_after_its_copy() {
    for name in ["health-000000000007", "population-7", "population-00000000000x"] {
        let mut object = recovery_point();
        object["metadata"]["name"] = json!(name);
        assert_violates("RecoveryPoint", &object, None, "12 digits");
    }
}

#[test]
fn a_source_without_an_engine_is_refused() {
    let mut object = mirror();
    object["spec"]["source"] = json!({});
    let found = violations("RegistryMirror", &object, None);
    assert!(
        found.iter().any(|message| message.contains("exactly one engine")),
        "{found:?}"
    );
}

#[test]
fn a_registry_never_changes_its_id() {
    let mut object = mirror();
    object["spec"]["registry"]["id"] = json!("health");
    let found = violations("RegistryMirror", &object, Some(&mirror()));
    assert!(
        found.iter().any(|message| message.contains("immutable")),
        "{found:?}"
    );
}

#[test]
fn a_mistyped_embassy_can_be_corrected_before_the_first_copy_only() {
    let mut object = mirror();
    object["spec"]["embassyRef"]["name"] = json!("estonia");
    assert_eq!(
        violations("RegistryMirror", &object, Some(&mirror())),
        Vec::<String>::new()
    );
    let mut copied = mirror();
    copied["status"] = json!({"head": {"sequence": 1, "digest": "0".repeat(64)}});
    object["status"] = copied["status"].clone();
    let found = violations("RegistryMirror", &object, Some(&copied));
    assert!(
        found
            .iter()
            .any(|message| message.contains("embassyRef is immutable")),
        "{found:?}"
    );
}

#[test]
fn a_name_that_no_object_could_be_named_after_is_refused() {
    for name in ["a".repeat(41), "population.v2".to_owned()] {
        let mut object = mirror();
        object["metadata"]["name"] = json!(name);
        assert_eq!(violations("RegistryMirror", &object, None).len(), 1, "{name}");
    }
    let mut object = embassy();
    object["metadata"]["name"] = json!("luxembourg.site");
    assert_eq!(violations("DataEmbassy", &object, None).len(), 1);
}

#[test]
fn plain_http_needs_permission_in_every_spelling_of_its_absence() {
    let mut object = embassy();
    object["spec"]["store"]["endpoint"] = json!("http://store.embassy.example:9000");
    for absence in [None, Some(json!(false))] {
        match absence {
            Some(value) => object["spec"]["store"]["allowInsecure"] = value,
            None => drop(
                object["spec"]["store"]
                    .as_object_mut()
                    .unwrap()
                    .remove("allowInsecure"),
            ),
        }
        let found = violations("DataEmbassy", &object, None);
        assert!(
            found.iter().any(|message| message.contains("allowInsecure")),
            "{found:?}"
        );
    }
    object["spec"]["store"]["allowInsecure"] = json!(true);
    assert_eq!(violations("DataEmbassy", &object, None), Vec::<String>::new());
}

#[test]
fn what_is_no_age_key_is_refused_without_being_repeated() {
    let private = format!("AGE-SECRET-KEY-1{}", "Q".repeat(58));
    for text in [
        private.as_str(),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI",
        "AGE1QL3Z7",
    ] {
        let mut object = embassy();
        object["spec"]["recipients"][0]["publicKey"] = json!(text);
        let found = violations("DataEmbassy", &object, None);
        assert!(
            matches!(&found[..], [message] if message.contains("age-keygen -y") && !message.contains(text)),
            "{found:?}"
        );
    }
}

/// An `Option` that was written as null would count as set, and the local judgement would be kinder than the API server's.
#[test]
fn what_is_absent_is_written_as_nothing_and_not_as_null() {
    fn has_null(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) => items.iter().any(has_null),
            Value::Object(fields) => fields.values().any(has_null),
            _ => false,
        }
    }
    let mirror: RegistryMirror = serde_json::from_value(mirror()).unwrap();
    assert!(!has_null(&serde_json::to_value(&mirror.spec).unwrap()));
    let status = dataembassy_crds::RegistryMirrorStatus::default();
    assert!(!has_null(&serde_json::to_value(&status).unwrap()));
    let mut object = embassy();
    object["spec"]["custodian"] = custodian();
    let embassy: DataEmbassy = serde_json::from_value(object).unwrap();
    assert!(!has_null(&serde_json::to_value(&embassy.spec).unwrap()));
    let custody: RegistryCustody = serde_json::from_value(custody()).unwrap();
    assert!(!has_null(&serde_json::to_value(&custody.spec).unwrap()));
    for status in [
        serde_json::to_value(dataembassy_crds::DataEmbassyStatus::default()).unwrap(),
        serde_json::to_value(dataembassy_crds::RegistryCustodyStatus::default()).unwrap(),
        serde_json::to_value(dataembassy_crds::RecoveryPointStatus::default()).unwrap(),
    ] {
        assert!(!has_null(&status));
    }
}

fn restore() -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "RegistryRestore",
        "metadata": {"name": "population", "namespace": "restores"},
        "spec": {
            "embassyRef": {"name": "luxembourg"},
            "registry": {"id": "population"},
            "copy": {},
            "retrievalCredentialsRef": {"name": "population-retrieval"},
            "identityRef": {"name": "identity"},
            "target": {
                "host": "restored", "port": 5432, "database": "population",
                "tls": {"mode": "VerifyFull", "caRef": {"name": "restored-ca"}},
                "credentialsRef": {"name": "restored-owner"}
            },
            "ifNotEmpty": "Refuse", "jobs": 4, "deadline": "6h"
        }
    })
}

#[test]
fn a_restore_names_one_copy_at_most_and_is_never_changed() {
    assert_eq!(
        violations("RegistryRestore", &restore(), None),
        Vec::<String>::new()
    );
    serde_json::from_value::<RegistryRestore>(restore()).unwrap();
    let mut both = restore();
    both["spec"]["copy"] = json!({"sequence": 1, "atOrBefore": "2026-11-23T12:00:00Z"});
    let said = violations("RegistryRestore", &both, None);
    assert!(said[0].contains("at most one"), "{said:?}");
    for (of_drilled, fits) in [(true, false), (false, true)] {
        let mut drilled = restore();
        drilled["spec"]["copy"] = json!({"sequence": 1, "latestDrilled": of_drilled});
        assert_eq!(violations("RegistryRestore", &drilled, None).is_empty(), fits);
    }
    let mut other = restore();
    other["spec"]["target"]["database"] = "elsewhere".into();
    let said = violations("RegistryRestore", &other, Some(&restore()));
    assert!(said[0].contains("spec is immutable"), "{said:?}");
    let mut long = restore();
    long["metadata"]["name"] = "x".repeat(41).into();
    let said = violations("RegistryRestore", &long, None);
    assert!(said[0].contains("at most 40 characters"), "{said:?}");
}

fn drill(assertion: &Value) -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "RegistryDrill",
        "metadata": {"name": "population", "namespace": "drills"},
        "spec": {
            "registry": {"id": "population"},
            "embassyRef": {"name": "luxembourg"},
            "schedule": {"cron": "0 3 * * *", "timeZone": "UTC", "deadline": "2h"},
            "retrievalCredentialsRef": {"name": "population-retrieval"},
            "identityRef": {"name": "identity"},
            "pick": "Latest",
            "server": {"image": "postgres:17", "imagePullPolicy": "IfNotPresent", "volumeSize": "10Gi"},
            "assertions": [assertion],
            "retries": 1,
            "jobs": 4,
            "history": {"passed": 5, "failed": 5}
        }
    })
}

fn question(expected: &Value) -> Value {
    let mut assertion =
        json!({"name": "persons-are-there", "sql": "SELECT count(*) FROM population.persons"});
    for (field, value) in expected.as_object().unwrap() {
        assertion[field] = value.clone();
    }
    assertion
}

#[test]
fn an_assertion_has_one_expectation() {
    for expected in [
        json!({"equals": "7"}),
        json!({"within": {"atLeast": "1"}}),
        json!({"within": {"atMost": "-0.5"}}),
        json!({"notOlderThan": "1d"}),
    ] {
        let object = drill(&question(&expected));
        assert_eq!(
            violations("RegistryDrill", &object, None),
            Vec::<String>::new(),
            "{expected}"
        );
        serde_json::from_value::<RegistryDrill>(object).unwrap();
    }
    for expected in [
        json!({}),
        json!({"equals": "7", "notOlderThan": "1d"}),
        json!({"equals": "7", "within": {"atLeast": "1"}}),
        json!({"equals": "7", "within": {"atLeast": "1"}, "notOlderThan": "1d"}),
    ] {
        let object = drill(&question(&expected));
        assert_violates(
            "RegistryDrill",
            &object,
            None,
            "exactly one of equals, within and notOlderThan",
        );
    }
    let object = drill(&question(&json!({"within": {}})));
    assert_violates("RegistryDrill", &object, None, "set atLeast, atMost, or both");
}

#[test]
fn a_restore_asks_as_a_drill_does() {
    let asking = |expected: Value| {
        let mut object = restore();
        object["spec"]["assertions"] = json!([question(&expected)]);
        object
    };
    let object = asking(json!({"notOlderThan": "1d"}));
    assert_eq!(violations("RegistryRestore", &object, None), Vec::<String>::new());
    serde_json::from_value::<RegistryRestore>(object).unwrap();
    assert_violates(
        "RegistryRestore",
        &asking(json!({})),
        None,
        "exactly one of equals, within and notOlderThan",
    );
}

#[test]
fn an_activation_stays_one_of_its_embassy_and_as_earnest_as_it_was() {
    let object = json!({
        "metadata": {"name": "home-lost", "namespace": "interior"},
        "spec": {
            "embassyRef": {"name": "luxembourg"}, "mode": "Activate", "state": "Active", "validUntil": "2026-12-01T12:00:00Z",
            "registries": [],
        },
    });
    for (path, value) in [("/spec/embassyRef/name", "atlantis"), ("/spec/mode", "Rehearse")] {
        let mut other = object.clone();
        *other.pointer_mut(path).unwrap() = value.into();
        assert_violates("EmbassyActivation", &other, Some(&object), "immutable");
    }
    let mut edited = object.clone();
    edited["spec"]["validUntil"] = "2026-12-02T12:00:00Z".into();
    assert_eq!(
        violations("EmbassyActivation", &edited, Some(&object)),
        Vec::<String>::new()
    );
}

#[test]
fn a_drill_stays_one_of_its_registry_and_has_a_name_that_its_objects_can_bear() {
    let object = drill(&question(&json!({"equals": "7"})));
    for name in ["a".repeat(41), "with.dot".to_owned(), "-a".to_owned()] {
        let mut named = object.clone();
        named["metadata"]["name"] = name.into();
        assert_violates("RegistryDrill", &named, None, "at most 40 characters");
    }
    for (path, value) in [
        ("/spec/registry/id", "health"),
        ("/spec/embassyRef/name", "atlantis"),
    ] {
        let mut other = object.clone();
        *other.pointer_mut(path).unwrap() = value.into();
        assert_violates("RegistryDrill", &other, Some(&object), "immutable");
    }
    let mut edited = object.clone();
    edited["spec"]["suspend"] = true.into();
    assert_eq!(
        violations("RegistryDrill", &edited, Some(&object)),
        Vec::<String>::new()
    );
}

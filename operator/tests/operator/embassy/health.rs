//! How custodian, gate and store are, in words.

use serde_json::Value;
use serde_json::json;

use super::{run, settled};
use crate::world::embassy::{CUSTODIAN, GATES, custodian_report, gate_report, standing};
use crate::world::{condition, lines, said, written};

#[tokio::test]
async fn what_is_missing_is_named_and_the_kubelet_is_asked_to_look_again() {
    let (world, resource, running) = settled(&standing(), &[]).await;
    let mut report = custodian_report();
    report["loaded"] = Value::Null;
    report["missingSecrets"] = json!([
        {"secret": "Custody", "key": "accessKeyId"}, {"secret": "Custody", "key": "secretAccessKey"},
        {"secret": "Signing", "key": "ssh-privatekey"}
    ]);
    running.processes.say(CUSTODIAN, "/status", report);
    for gate in GATES {
        let mut report = gate_report();
        report["loaded"] = Value::Null;
        report["missingSecrets"] = json!([{"secret": "GateTls", "key": "tls.key"}]);
        running.processes.say(gate, "/status", report);
    }
    let asked = run(&world, &resource).await;
    let status = written(&asked, "/status");
    let (_, reason, message) = said(status, "CustodianReady");
    assert_eq!(reason, "SecretMissing");
    for name in ["the Secret custody ", "the Secret custodian-key "] {
        assert!(message.contains(name), "{message}");
    }
    let (gate, reason, message) = said(status, "GateReady");
    assert_eq!((gate.as_str(), reason.as_str()), ("False", "SecretKeyMissing"));
    assert!(
        message.contains("the Secret gate-tls lacks the key tls.key"),
        "{message}"
    );
    assert_eq!(said(status, "Ready").0, "False");
    let called = lines(&asked)
        .iter()
        .filter(|line| line.contains("/pods/"))
        .count();
    assert_eq!(called, 3);
}

#[tokio::test]
async fn faults_are_readable_in_conditions_of_their_own() {
    let (world, resource, running) = settled(&standing(), &[]).await;
    let mut report = custodian_report();
    report["store"] =
        json!({"state": "False", "reason": "NoObjectLock", "message": "the bucket does not lock"});
    report["space"]["sufficient"] =
        json!({"state": "False", "reason": "SpaceShort", "message": "full on 2027-01-01"});
    report["clockDifferenceSeconds"] = json!(-95);
    report["unknownRegistries"] = json!(["land"]);
    report["signer"] =
        json!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFfnGTva3wvhnebyPhEW7tuz8SkNOETtLKBFVcKwsia9");
    report["doors"] =
        json!({"checkedAt": "2026-11-23T10:00:00Z", "open": ["UnpackOverVersion", "FormPost"], "tried": 40});
    running.processes.say(CUSTODIAN, "/status", report);
    let mut gate = gate_report();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(72);
    gate["certificateEndsAt"] = json!(soon);
    gate["unclaimed"] = json!([{"refusal": "UnknownUser", "count": 12, "lastAt": jiff::Timestamp::now()}]);
    running.processes.say(GATES[0], "/status", gate);
    let asked = run(&world, &resource).await;
    let status = written(&asked, "/status");
    for (type_, holds, reason, words) in [
        ("StoreReachable", "False", "NoObjectLock", "does not lock"),
        ("SpaceSufficient", "False", "SpaceShort", "2027"),
        ("ClockSkewed", "True", "ClockSkewed", "95 s behind"),
        ("UnknownRegistries", "True", "UnknownRegistry", "land"),
        ("CustodianReady", "False", "UntrustedCustodian", "custodianKeys"),
        ("StoreExposed", "True", "StoreExposed", "2 of 40 probes"),
        ("CertificateExpiring", "True", "CertificateExpiring", "replace it"),
        ("Suspicious", "True", "RequestsRefused", "UnknownUser 12"),
    ] {
        let (status, found, message) = said(status, type_);
        assert_eq!(
            (status.as_str(), found.as_str()),
            (holds, reason),
            "{type_}: {message}"
        );
        assert!(message.contains(words), "{type_}: {message}");
    }
    assert_eq!(status["status"]["storeDoors"]["open"][0], "UnpackOverVersion");
    let events: Vec<&str> = asked
        .iter()
        .filter(|asked| asked.path.contains("/events") && asked.body["type"] == "Warning")
        .map(|asked| asked.body["reason"].as_str().unwrap())
        .collect();
    for reason in [
        "NoObjectLock",
        "SpaceShort",
        "StoreExposed",
        "RequestsRefused",
        "ClockSkewed",
    ] {
        assert!(events.contains(&reason), "{events:?}");
    }
}

#[tokio::test]
async fn home_finds_a_door_as_long_as_one_gate_is_up() {
    let (world, resource, running) = settled(&standing(), &[]).await;
    running.processes.say(GATES[0], "/status", json!("nonsense"));
    let asked = run(&world, &resource).await;
    let (gate, _, message) = said(written(&asked, "/status"), "GateReady");
    assert_eq!(gate, "True");
    assert!(message.contains("1 of 2"), "{message}");

    running.processes.say(GATES[1], "/status", json!("nonsense"));
    let asked = run(&world, &resource).await;
    let (gate, reason, _) = said(written(&asked, "/status"), "GateReady");
    assert_eq!((gate.as_str(), reason.as_str()), ("False", "GateDown"));
}

#[tokio::test]
async fn a_custodian_that_falls_silent_is_said_to_be() {
    let (world, resource, running) = settled(&standing(), &[]).await;
    running.processes.say(CUSTODIAN, "/status", json!("nonsense"));
    let asked = run(&world, &resource).await;
    let status = written(&asked, "/status");
    assert_eq!(said(status, "CustodianReady").1, "CustodianSilent");
    assert_eq!(said(status, "StoreReachable").0, "Unknown");
    assert_eq!(said(status, "GateReady").0, "True");
    assert_eq!(
        status["status"]["space"]["used"], "1.0 GiB",
        "silence takes nothing back"
    );
}

#[tokio::test]
async fn a_pod_that_only_carries_our_labels_is_not_asked() {
    let (mut world, resource, running) = settled(&standing(), &[]).await;
    let mut report = custodian_report();
    report["unknownRegistries"] = json!(["stranger"]);
    running.processes.say(CUSTODIAN, "/status", report);
    for object in &mut world.objects {
        if object["kind"] == "Pod" {
            object["metadata"]["ownerReferences"] = json!([]);
        }
    }
    let asked = run(&world, &resource).await;
    let status = written(&asked, "/status");
    assert_eq!(condition(status, "UnknownRegistries"), &Value::Null);
    assert_eq!(said(status, "CustodianReady").1, "Applying");
}

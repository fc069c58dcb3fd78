//! Documents of every released version are still read, and nothing in them gets lost. Once a version is released, its folder is never
//! edited: a new field gets a new folder.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should end"
)]

use std::path::{Path, PathBuf};

use dataembassy_contract::config::MirrorConfig;
use dataembassy_contract::custodian::{CustodianReport, RegistryReport};
use dataembassy_contract::gate::GateReport;
use dataembassy_contract::report::Report;
use serde_json::{Value, json};

fn goldens(file: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let versions = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join(file));
    let found: Vec<_> = versions
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    assert!(!found.is_empty());
    found
}

/// Whether everything in `old` is in `new` with the same value; a newer version may add.
fn keeps(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => old
            .iter()
            .all(|(name, value)| new.get(name).is_some_and(|now| keeps(value, now))),
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| keeps(old, new))
        }
        (old, new) => old == new,
    }
}

/// Adds a field that no version knows to every object in `value`.
fn with_unknown_fields(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(with_unknown_fields);
            fields.insert("fieldOfTheFuture".to_owned(), json!({"deep": [1]}));
        }
        Value::Array(items) => items.iter_mut().for_each(with_unknown_fields),
        _ => {}
    }
}

#[test]
fn every_released_configuration_is_read_and_kept() {
    for (path, bytes) in goldens("config.json") {
        let config = MirrorConfig::from_json(&bytes).unwrap();
        let old: Value = serde_json::from_slice(&bytes).unwrap();
        let new: Value = serde_json::from_str(&config.to_json().unwrap()).unwrap();
        assert!(keeps(&old, &new), "{}: {new:#}", path.display());
    }
}

#[test]
fn every_released_report_is_read_and_kept() {
    for (path, bytes) in goldens("report.json") {
        let report = Report::read(&bytes).unwrap();
        let old: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(
            keeps(&old, &serde_json::to_value(&report).unwrap()),
            "{}",
            path.display()
        );
    }
}

#[test]
fn fields_of_a_newer_neighbour_are_ignored() {
    for (_, bytes) in goldens("config.json") {
        let mut document: Value = serde_json::from_slice(&bytes).unwrap();
        with_unknown_fields(&mut document);
        assert_eq!(
            MirrorConfig::from_json(document.to_string().as_bytes()).unwrap(),
            MirrorConfig::from_json(&bytes).unwrap()
        );
    }
    for (_, bytes) in goldens("report.json") {
        let mut document: Value = serde_json::from_slice(&bytes).unwrap();
        with_unknown_fields(&mut document);
        assert_eq!(
            Report::read(document.to_string().as_bytes()),
            Report::read(&bytes)
        );
    }
}

#[test]
fn words_of_a_newer_neighbour_lose_nothing_else() {
    let report = json!({
        "source": {"state": "Perhaps", "reason": "MoonFull", "message": "wait"},
        "missingSecrets": [{"secret": "Charm", "key": "word"}],
        "run": {"startedAt": "2026-11-23T10:15:00Z", "deadlineAt": "2026-11-23T11:15:00Z", "progress": {"phase": "Dancing"}},
        "consecutiveFailures": 4
    });
    assert_eq!(
        Report::read(report.to_string().as_bytes())
            .unwrap()
            .consecutive_failures,
        4
    );
}

#[test]
fn a_report_is_cut_to_its_bounds() {
    let run = json!({
        "startedAt": "2026-11-23T10:00:00Z", "endedAt": "2026-11-23T10:00:09Z", "outcome": "Failed", "reason": "StoreFull",
        "message": "é".repeat(3_000)
    });
    let report = json!({"recentRuns": vec![run; 9], "process": "x\u{1b}]0;\u{7}"});
    let report = Report::read(report.to_string().as_bytes()).unwrap();
    assert_eq!(report.recent_runs[0].message.chars().count(), 1_024);
    assert_eq!(report.process, "x]0;");
    assert_eq!(Report::read(&vec![b' '; 65_537]), None);
}

#[test]
fn reports_of_gate_and_custodian_are_cut_to_their_bounds() {
    let missing = json!({"secret": "GateTls", "key": "k".repeat(300)});
    let refused = json!({"refusal": "Method", "count": 1, "lastAt": "2026-11-23T10:00:00Z"});
    let mut lanes = vec![json!({"registry": "r".repeat(300), "refused": vec![refused; 40]})];
    lanes.resize(2_500, json!({"registry": "health"}));
    let report = json!({
        "missingSecrets": vec![missing; 20],
        "store": {"state": "False", "reason": "StoreUnreachable", "message": "a\u{1b}[2J".repeat(1_000)},
        "lanes": lanes,
    })
    .to_string();
    let gate = GateReport::read(report.as_bytes()).unwrap();
    assert_eq!((gate.missing_secrets.len(), gate.lanes.len()), (16, 512));
    assert_eq!(gate.missing_secrets[0].key.len(), 256);
    assert_eq!(
        (gate.lanes[0].registry.len(), gate.lanes[0].refused.len()),
        (256, 32)
    );
    assert_eq!(gate.store.message.len(), 1_024);

    // Such a report is too long for a custodian.
    assert_eq!(CustodianReport::read(report.as_bytes()), None);
    let short = json!({"missingSecrets": vec![json!({"secret": "Custody", "key": "k"}); 20], "unknownRegistries": vec!["r"; 20]});
    let custodian = CustodianReport::read(short.to_string().as_bytes()).unwrap();
    assert_eq!(
        (
            custodian.missing_secrets.len(),
            custodian.unknown_registries.len()
        ),
        (16, 16)
    );

    let alarm =
        json!({"reason": "ObjectChanged", "message": "m".repeat(2_000), "since": "2026-11-23T10:00:00Z"});
    let report = json!({"alarms": vec![alarm; 20], "retention": {"expiring": vec![1; 60]}}).to_string();
    let registry = RegistryReport::read(report.as_bytes()).unwrap();
    assert_eq!(
        (registry.alarms.len(), registry.retention.expiring.len()),
        (16, 50)
    );
    assert_eq!(registry.alarms[0].message.len(), 1_024);
}

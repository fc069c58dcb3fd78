//! Recovery points come from the custodian's report, and from nothing else.

use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use super::{POINTS, STATUS, heard, name, run, run_in, settle, settle_points, settled, world};
use crate::world::embassy::{CUSTODIAN, custody, point_spec, registry_report};
use crate::world::{Asked, client, condition, lines, said, written};

#[tokio::test]
async fn a_report_becomes_recovery_points_and_a_status_and_nothing_else() {
    let mut report = registry_report(&[2, 1]);
    let words = "copy 1 has expired and cannot be deleted";
    report["retention"] = json!({
        "kept": 1, "expiring": [1], "expiringCopies": 1, "expiringBytes": 1024, "waiting": 3, "waitingBytes": 4096, "deleted": 7,
        "blocked": {"reason": "RetentionBlocked", "message": words, "since": Timestamp::now()}
    });
    let (world, running) = world(&custody("population"), report).await;
    heard(&running, Timestamp::now());
    let asked = run(&world, &custody("population")).await;
    let mut expected = Vec::new();
    for sequence in [2, 1] {
        let path = format!("{POINTS}/{}", name(sequence));
        expected.extend([
            format!("GET {path}"),
            format!("PATCH {path}"),
            format!("PATCH {path}/status"),
        ]);
    }
    expected.push(STATUS.to_owned());
    assert_eq!(lines(&asked), expected);

    let point = written(&asked, &name(2));
    assert_eq!(point["spec"]["takenAt"], "2026-11-23T10:00:00Z");
    assert_eq!(point["spec"]["size"], "1.0 KiB");
    assert_eq!(point["metadata"]["ownerReferences"][0]["kind"], "RegistryCustody");
    let known = &written(&asked, &format!("{}/status", name(2)))["status"];
    assert_eq!(known["intact"], "True");
    assert_eq!(known["drilled"], "Unknown");
    assert_eq!(known["lockedUntil"], "2026-12-23T10:00:30Z");

    let status = written(&asked, "/registrycustodies/population/status");
    for (type_, holds) in [
        ("Ready", "True"),
        ("HomeHeard", "True"),
        ("WithinRPO", "True"),
        ("LedgerSound", "True"),
        ("Intact", "True"),
        ("Drilled", "Unknown"),
    ] {
        let (status, reason, message) = said(status, type_);
        assert_eq!(status, holds, "{type_}: {reason}: {message}");
    }
    for absent in ["Alarmed", "Suspicious", "RetrievalOpen", "Stalled", "Reconciling"] {
        assert_eq!(condition(status, absent), &Value::Null);
    }
    let status = &status["status"];
    assert_eq!(status["sourceHead"]["sequence"], 2);
    assert_eq!(status["custodyHead"]["digest"], "c".repeat(64));
    assert_eq!(
        (&status["lastCopy"]["sequence"], &status["lastCopy"]["size"]),
        (&json!(2), &json!("1.0 KiB"))
    );
    assert_eq!(
        status["verification"],
        json!({"copies": 2, "verified": 2, "oldestProofAt": "2026-11-23T11:00:00Z"})
    );
    assert_eq!(
        status["retention"],
        json!({
            "kept": 1, "expiring": [1], "expiringCopies": 1, "expiringBytes": 1024, "waiting": 3, "waitingBytes": 4096, "blocked": words
        })
    );
}

#[tokio::test]
async fn a_settled_registry_writes_nothing_however_much_is_read_back() {
    let report = registry_report(&[2, 1]);
    let (world, resource, running) = settled(report.clone()).await;
    assert_eq!(lines(&run(&world, &resource).await), Vec::<String>::new());
    let mut later = report;
    later["verification"]["bytesRead"] = json!(8_589_934_592_u64);
    later["usedBytes"] = json!(2060);
    running.processes.say(CUSTODIAN, "/registries/population", later);
    heard(&running, Timestamp::now());
    assert_eq!(lines(&run(&world, &resource).await), Vec::<String>::new());
}

#[tokio::test]
async fn a_recovery_point_that_was_deleted_or_edited_by_hand_is_put_back() {
    let (mut world, resource, _running) = settled(registry_report(&[2, 1])).await;
    world
        .objects
        .retain(|object| object["metadata"]["name"] != json!(name(2)));
    for object in &mut world.objects {
        if object["metadata"]["name"] == json!(name(1)) {
            object["spec"]["bytes"] = json!(0);
            object["status"]["intact"] = json!("False");
        }
    }
    let (two, one) = (format!("{POINTS}/{}", name(2)), format!("{POINTS}/{}", name(1)));
    assert_eq!(
        lines(&run(&world, &resource).await),
        vec![
            format!("GET {two}"),
            format!("PATCH {two}"),
            format!("PATCH {two}/status"),
            format!("PATCH {one}"),
            format!("PATCH {one}/status"),
        ]
    );
}

/// Whoever waits for a registry's alarm does not wait for all of its points, nor for those of a hundred others.
#[tokio::test]
async fn a_status_does_not_wait_for_many_recovery_points_and_the_newest_are_made_first() {
    let sequences: Vec<u64> = (1..=25).rev().collect();
    let mut resource = custody("population");
    let (mut world, running) = world(&resource, registry_report(&sequences)).await;
    heard(&running, Timestamp::now());
    let mut made: Vec<Vec<String>> = Vec::new();
    for look in 0..6 {
        let asked = run(&world, &resource).await;
        let paths = asked.iter().filter(|asked| asked.method == "PATCH");
        let paths = paths.filter_map(|asked| asked.path.strip_prefix(POINTS)?.strip_prefix('/'));
        made.push(
            paths
                .filter(|path| !path.contains('/'))
                .map(ToOwned::to_owned)
                .collect(),
        );
        assert_eq!(
            lines(&asked).contains(&STATUS.to_owned()),
            look == 0,
            "look {look}"
        );
        if look == 0 {
            settle(&mut world, &mut resource, &asked);
        } else {
            settle_points(&mut world, &asked);
        }
    }
    let named: Vec<String> = sequences.iter().map(|sequence| name(*sequence)).collect();
    let expected: Vec<Vec<String>> = named.chunks(5).map(<[_]>::to_vec).chain([Vec::new()]).collect();
    assert_eq!(made, expected);
}

#[tokio::test]
async fn a_recovery_point_goes_when_its_copy_went() {
    let (world, resource, running) = settled(registry_report(&[3, 2, 1])).await;
    let mut report = registry_report(&[3, 2]);
    report["lastArrival"] = json!({"sequence": 3, "takenAt": resource["status"]["lastCopy"]["takenAt"], "arrivedAt": resource["status"]["lastCopy"]["arrivedAt"]});
    running.processes.say(CUSTODIAN, "/registries/population", report);
    let asked = run(&world, &resource).await;
    assert!(
        lines(&asked).contains(&format!("DELETE {POINTS}/{}", name(1))),
        "{:?}",
        lines(&asked)
    );
}

#[tokio::test]
async fn many_recovery_points_go_a_few_at_a_time() {
    let sequences: Vec<u64> = (1..=9).rev().collect();
    let (mut world, resource, _running) = settled(registry_report(&sequences)).await;
    for sequence in 20..=35_u64 {
        let mut point = world
            .objects
            .iter()
            .find(|object| object["metadata"]["name"] == name(9))
            .unwrap()
            .clone();
        point["metadata"]["name"] = name(sequence).into();
        point["spec"]["sequence"] = sequence.into();
        world.objects.push(point);
    }
    let mut removed = Vec::new();
    for _ in 0..5 {
        let asked = run(&world, &resource).await;
        let names: Vec<String> = asked
            .iter()
            .filter(|asked| asked.method == "DELETE")
            .filter_map(|asked| {
                Some(
                    asked
                        .path
                        .strip_prefix(POINTS)?
                        .trim_start_matches('/')
                        .to_owned(),
                )
            })
            .collect();
        world
            .objects
            .retain(|object| !names.iter().any(|name| object["metadata"]["name"] == **name));
        removed.push(names.len());
    }
    assert_eq!(removed, [5, 5, 5, 1, 0]);
}

/// It tells of the head first, and of older copies once it has read them.
#[tokio::test]
async fn a_recovery_point_stays_while_a_custodian_that_has_just_begun_reads() {
    let (world, resource, running) = settled(registry_report(&[3, 2, 1])).await;
    let mut report = registry_report(&[3]);
    report["reading"] = true.into();
    running.processes.say(CUSTODIAN, "/registries/population", report);
    let asked = run(&world, &resource).await;
    assert!(
        !lines(&asked).iter().any(|line| line.contains(&name(1))),
        "{:?}",
        lines(&asked)
    );
}

#[tokio::test]
async fn a_recovery_point_whose_copy_the_ledger_lost_stays_to_be_seen() {
    let (world, resource, running) = settled(registry_report(&[3, 2, 1])).await;
    let mut report = registry_report(&[1]);
    report["ledger"] =
        json!({"state": "False", "reason": "RolledBack", "message": "population ends at 1, 3 is known"});
    running.processes.say(CUSTODIAN, "/registries/population", report);
    let asked = run(&world, &resource).await;
    assert!(
        !lines(&asked).iter().any(|line| line.starts_with("DELETE")),
        "{:?}",
        lines(&asked)
    );
    let lost = &written(&asked, &format!("{}/status", name(3)))["status"];
    assert_eq!(lost["intact"], "Unknown");
    assert!(lost["message"].as_str().unwrap().contains("LedgerSound"));
    let status = written(&asked, "/registrycustodies/population/status");
    assert_eq!(said(status, "LedgerSound").1, "RolledBack");
    assert_eq!(status["status"]["sourceHead"]["sequence"], 3);
}

#[tokio::test]
async fn a_custodian_that_has_not_read_the_ledger_yet_takes_nothing_away() {
    let (world, resource, running) = settled(registry_report(&[2, 1])).await;
    running.processes.say(
        CUSTODIAN,
        "/registries/population",
        json!({"registry": "population", "generation": 2, "process": "new"}),
    );
    let asked = run(&world, &resource).await;
    assert_eq!(lines(&asked), vec![STATUS.to_owned()]);
    let status = written(&asked, "/status");
    assert_eq!(status["status"]["lastCopy"]["sequence"], 2);
    assert_eq!(status["status"]["usedBytes"], 2048);
    assert_eq!(said(status, "LedgerSound").0, "Unknown");
    let warned = asked
        .iter()
        .any(|asked| asked.path.contains("/events") && asked.body["type"] == "Warning");
    assert!(!warned, "a start is nothing to warn of");
}

#[tokio::test]
async fn what_is_not_as_the_ledger_has_it_gets_no_recovery_point() {
    let mut report = registry_report(&[4, 3, 2, 1]);
    report["copies"][0]["digest"] = json!("not a digest");
    report["copies"][1]["copyId"] = json!("../../etc/passwd");
    report["copies"][2]["sequence"] = json!(1_000_000_000_000_u64);
    let (world, _running) = world(&custody("population"), report).await;
    let asked = run(&world, &custody("population")).await;
    let made: Vec<String> = lines(&asked)
        .into_iter()
        .filter(|line| {
            line.starts_with("PATCH") && line.contains("/recoverypoints/") && !line.ends_with("/status")
        })
        .collect();
    assert_eq!(made, vec![format!("PATCH {POINTS}/{}", name(1))]);
}

#[tokio::test]
async fn a_point_of_somebody_else_is_not_taken_over() {
    let (world, _running) = world(&custody("population"), registry_report(&[1])).await;
    let theirs = json!({
        "apiVersion": "dataembassy.io/v1alpha1", "kind": "RecoveryPoint", "metadata": {"name": name(1)}, "spec": point_spec(1)
    });
    let (client, log) = client(move |asked: &Asked| {
        (asked.method == "GET" && asked.path.contains("recoverypoints")).then_some((200, theirs.clone()))
    });
    run_in(&world.context(client), &custody("population")).await;
    let asked = log.take();
    assert!(
        !lines(&asked)
            .iter()
            .any(|line| line.contains("recoverypoints") && line.starts_with("PATCH"))
    );
    assert_eq!(said(written(&asked, "/status"), "Stalled").1, "ForeignObject");
}

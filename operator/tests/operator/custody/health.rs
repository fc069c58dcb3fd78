//! Whether a registry is safe, in words; floors never go down.

use std::sync::Arc;

use dataembassy_contract::custodian::CustodianReport;
use dataembassy_operator::poll::Known;
use serde_json::{Value, json};

use super::{STATUS, ago, deployments, name, run, run_in, settled, status_of, world};
use crate::world::embassy::{CUSTODIAN, Running, custodian_report, custody, registry_report, standing};
use crate::world::{World, client, lines, read, said, written};

#[tokio::test]
async fn a_head_that_goes_down_is_an_alarm_and_lowers_no_floor() {
    for (source, custody_head) in [(1, 2), (2, 1)] {
        let (world, resource, running) = settled(registry_report(&[2, 1])).await;
        let mut report = registry_report(&[2, 1]);
        report["sourceHead"] = json!({"sequence": source, "digest": "a".repeat(64)});
        report["custodyHead"] = json!({"sequence": custody_head, "digest": "c".repeat(64)});
        running.processes.say(CUSTODIAN, "/registries/population", report);
        let status = status_of(&world, &resource).await;
        let (sound, reason, message) = said(&status, "LedgerSound");
        assert_eq!((sound.as_str(), reason.as_str()), ("False", "RolledBack"));
        for part in [
            "registry population: the ",
            "ends at 1",
            "entry 2",
            "Lost: ",
            "Stands: that chain up to entry 1",
            "Find out what became of the store",
            "delete the RegistryMirror (at the embassy the RegistryCustody) and make it again",
        ] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(status["status"]["sourceHead"]["sequence"], 2);
        assert_eq!(status["status"]["custodyHead"]["sequence"], 2);
    }
    // A point whose copy such a ledger does not name is what somebody has to see.
    let (world, resource, running) = settled(registry_report(&[2, 1])).await;
    running
        .processes
        .say(CUSTODIAN, "/registries/population", registry_report(&[1]));
    let asked = run(&world, &resource).await;
    assert!(!lines(&asked).iter().any(|line| line.starts_with("DELETE")));
    let lost = &written(&asked, &format!("{}/status", name(2)))["status"];
    assert_eq!(lost["intact"], "Unknown");

    // Beside it: the same number, another entry.
    let (world, resource, running) = settled(registry_report(&[2, 1])).await;
    let mut report = registry_report(&[2, 1]);
    report["sourceHead"] = json!({"sequence": 2, "digest": "f".repeat(64)});
    running.processes.say(CUSTODIAN, "/registries/population", report);
    let status = status_of(&world, &resource).await;
    assert_eq!(said(&status, "LedgerSound").1, "RolledBack");
    assert_eq!(status["status"]["sourceHead"]["digest"], "a".repeat(64));
}

#[tokio::test]
async fn a_head_that_nobody_vouches_for_becomes_no_floor() {
    let mut report = registry_report(&[2, 1]);
    report["unwitnessed"] = json!(true);
    report["ledger"] = json!({"state": "False", "reason": "Unwitnessed", "message": "nobody has said where it stood before"});
    let (world, resource, running) = settled(report).await;
    let (sound, reason, _) = said(&json!({"status": resource["status"]}), "LedgerSound");
    assert_eq!((sound.as_str(), reason.as_str()), ("False", "Unwitnessed"));
    // It is shown to who compares it, and comes back to the custodian as nothing.
    assert_eq!(resource["status"]["lastCopy"]["sequence"], 2);
    for head in ["sourceHead", "custodyHead"] {
        assert!(resource["status"].get(head).is_none(), "{}", resource["status"]);
    }
    // A person has confirmed it.
    running
        .processes
        .say(CUSTODIAN, "/registries/population", registry_report(&[2, 1]));
    let status = status_of(&world, &resource).await;
    assert_eq!(status["status"]["custodyHead"]["sequence"], 2);
}

#[tokio::test]
async fn each_fault_is_told_in_a_condition_and_in_an_event() {
    let (world, resource, running) = settled(registry_report(&[2, 1])).await;
    let mut report = registry_report(&[2, 1]);
    report["intact"] = json!({"state": "False", "reason": "ObjectChanged", "message": "1 object of it is not what the ledger says"});
    report["copies"][0]["intact"] = json!("False");
    report["copies"][0]["message"] = json!("segment 3 is not what the ledger says");
    report["alarms"] = json!([
        {"reason": "ObjectChanged", "message": "copy 2 of population is lost; copy 1 stands", "since": ago(1), "sequence": 2},
        {"reason": "LockTooShort", "message": "locks of copy 1 end too soon", "since": ago(1), "sequence": 1},
    ]);
    running.processes.say(CUSTODIAN, "/registries/population", report);
    let asked = run(&world, &resource).await;
    let status = written(&asked, "/registrycustodies/population/status");
    let (_, reason, message) = said(status, "Intact");
    assert_eq!(reason, "ObjectChanged");
    assert_eq!(
        message,
        "registry population: copy 2 of population is lost; copy 1 stands"
    );
    let note = asked
        .iter()
        .filter(|asked| asked.path.contains("/events"))
        .filter_map(|asked| asked.body["note"].as_str())
        .find(|note| note.starts_with("Intact is False"));
    assert_eq!(note, Some(&*format!("Intact is False: {message}")));
    assert_eq!(said(status, "Ready").0, "True", "a bad night stops no deployment");
    let (alarmed, reason, message) = said(status, "Alarmed");
    assert_eq!((alarmed.as_str(), reason.as_str()), ("True", "ObjectChanged"));
    assert!(message.contains("copy 1 stands (and 1 more"), "{message}");
    let told: Vec<&str> = asked
        .iter()
        .filter(|asked| asked.path.contains("/events"))
        .map(|asked| asked.body["reason"].as_str().unwrap())
        .collect();
    assert!(told.contains(&"LockTooShort"), "{told:?}");
    let point = &written(&asked, &format!("{}/status", name(2)))["status"];
    assert_eq!(point["intact"], "False");
    assert!(point["message"].as_str().unwrap().contains("segment 3"));
}

#[tokio::test]
async fn drills_are_told_by_the_newest_of_them_and_by_those_that_do_not_come() {
    let (world, resource, running) = settled(registry_report(&[2, 1])).await;
    let passed = json!({"sequence": 1, "at": "2026-11-23T03:15:00.250Z", "order": "nightly-1"});
    let alarm = |reason: &str| json!([{"reason": reason, "message": "registry population: as it is", "since": ago(1)}]);
    for (alarms, status, reason, words) in [
        (
            json!([]),
            "True",
            "Drilled",
            "registry population: copy 1 was restored, and gave every answer as it must; the drill ended 2026-11-23T03:15:00Z, and its \
             report is registries/population/reports/nightly-1.html",
        ),
        (
            alarm("DrillFailed"),
            "False",
            "DrillFailed",
            "registry population: as it is",
        ),
        (
            alarm("DrillOverdue"),
            "Unknown",
            "DrillOverdue",
            "registry population: as it is",
        ),
    ] {
        let mut report = registry_report(&[2, 1]);
        report["lastDrilled"] = passed.clone();
        report["copies"][1]["drilled"] = json!("True");
        report["alarms"] = alarms;
        running.processes.say(CUSTODIAN, "/registries/population", report);
        let asked = run(&world, &resource).await;
        let written_status = written(&asked, "/registrycustodies/population/status");
        let (is, why, message) = said(written_status, "Drilled");
        assert_eq!((is.as_str(), why.as_str()), (status, reason), "{message}");
        assert!(message.contains(words), "{message}");
        let point = &written(&asked, &format!("{}/status", name(1)))["status"];
        assert_eq!(point["drilled"], "True");
    }
}

#[tokio::test]
async fn space_is_the_registrys_own_quota_first_and_then_the_stores() {
    let (world, resource, running) = settled(registry_report(&[1])).await;
    let mut report = registry_report(&[1]);
    report["usedBytes"] = json!(200_u64 << 30);
    running
        .processes
        .say(CUSTODIAN, "/registries/population", report.clone());
    let status = status_of(&world, &resource).await;
    let (space, reason, message) = said(&status, "SpaceSufficient");
    assert_eq!((space.as_str(), reason.as_str()), ("False", "QuotaExceeded"));
    assert!(message.contains("registry population has 200.0 GiB"), "{message}");

    // Within its quota it has what the store has left for all, as the custodian has said of itself.
    let mut said_last = custodian_report();
    said_last["space"]["sufficient"] =
        json!({"state": "False", "reason": "SpaceShort", "message": "full on 2027-01-01"});
    for (report, reason, words) in [
        (registry_report(&[1]), "SpaceShort", "full on 2027-01-01"),
        (report, "QuotaExceeded", "registry population has 200.0 GiB"),
    ] {
        running.processes.say(CUSTODIAN, "/registries/population", report);
        let (client, log) = client(|_| None);
        let context = world.context(client);
        let known = Known {
            pod_uid: "uid".to_owned(),
            etag: None,
            report: Arc::new(read::<CustodianReport>(&said_last)),
        };
        context.custodian_reports.keep("luxembourg".to_owned(), known);
        run_in(&context, &resource).await;
        let asked = log.take();
        let status = written(&asked, "/registrycustodies/population/status");
        let (space, found, message) = said(status, "SpaceSufficient");
        assert_eq!((space.as_str(), found.as_str()), ("False", reason), "{message}");
        assert!(message.contains(words), "{message}");
        let events: Vec<&Value> = asked
            .iter()
            .filter(|asked| asked.path.contains("/events") && asked.body["type"] == "Warning")
            .map(|asked| &asked.body["reason"])
            .collect();
        assert!(events.iter().any(|found| *found == reason), "{events:?}");
    }
}

#[tokio::test]
async fn every_condition_has_words_and_those_of_the_data_name_the_registry() {
    let mut rich = registry_report(&[2, 1]);
    rich["intact"] = json!({"state": "Unknown", "reason": "Verifying", "message": ""});
    let mut silent = registry_report(&[]);
    silent["ledger"] = json!({"state": "False", "reason": "LedgerGap", "message": ""});
    for report in [registry_report(&[2, 1]), registry_report(&[]), rich, silent] {
        let (world, _running) = world(&custody("population"), report).await;
        let status = status_of(&world, &custody("population")).await;
        for condition in status["status"]["conditions"].as_array().unwrap() {
            let (type_, message) = (&condition["type"], condition["message"].as_str().unwrap());
            assert!(!message.is_empty(), "{type_} says nothing");
            let of_the_data = ["HomeHeard", "WithinRPO", "LedgerSound", "Intact", "Drilled"];
            if of_the_data.iter().any(|one| type_ == one) {
                assert!(message.contains("registry population"), "{type_}: {message}");
            }
        }
    }
}

#[tokio::test]
async fn the_last_word_of_a_custodian_that_is_replaced_stands_for_two_minutes() {
    let (world, mut resource, running) = settled(registry_report(&[1])).await;
    running
        .processes
        .say(CUSTODIAN, "/registries/population", json!("nonsense"));
    let status = status_of(&world, &resource).await;
    assert_eq!(said(&status, "Ready").1, "CustodianSilent");
    assert_eq!(said(&status, "Intact").0, "True");
    resource["status"] = status["status"].clone();
    // Or for as long as a clock was ahead that has written since when: a year.
    for since in [ago(3), ago(-60 * 24 * 365)] {
        for condition in resource["status"]["conditions"].as_array_mut().unwrap() {
            if condition["type"] == "Ready" {
                condition["lastTransitionTime"] = json!(since);
            }
        }
        let status = status_of(&world, &resource).await;
        for type_ in ["LedgerSound", "Intact", "Drilled", "SpaceSufficient"] {
            let (found, reason, _) = said(&status, type_);
            assert_eq!(
                (found.as_str(), reason.as_str()),
                ("Unknown", "CustodianSilent"),
                "{type_}"
            );
        }
        assert_eq!(status["status"]["lastCopy"]["sequence"], 1);
    }
}

#[tokio::test]
async fn a_report_about_another_registry_is_not_taken() {
    let mut report = registry_report(&[2, 1]);
    report["registry"] = json!("health");
    let (world, _running) = world(&custody("population"), report).await;
    let asked = run(&world, &custody("population")).await;
    assert_eq!(lines(&asked), vec![STATUS.to_owned()]);
    let (_, reason, message) = said(written(&asked, "/status"), "Ready");
    assert_eq!(reason, "CustodianSilent");
    assert!(message.contains("'health'"), "{message}");
}

#[tokio::test]
async fn a_custodian_that_does_not_know_the_registry_yet_is_waited_for() {
    let (world, _running) = world(&custody("population"), registry_report(&[1])).await;
    let mut resource = custody("population");
    resource["metadata"]["generation"] = json!(3);
    let (_, reason, _) = said(&status_of(&world, &resource).await, "Ready");
    assert_eq!(reason, "NotYetLoaded");
    let (world, _running) = {
        let running = Running::well(&[]).await;
        let mut objects = vec![standing(), custody("population")];
        objects.extend(deployments());
        let mut world = World::of(&objects);
        running.join(&mut world);
        (world, running)
    };
    let (_, reason, _) = said(&status_of(&world, &custody("population")).await, "Ready");
    assert_eq!(reason, "NotYetLoaded");
}

#[tokio::test]
async fn an_invalid_edit_and_a_vanished_embassy_take_nothing_back() {
    let (world, resource, _running) = settled(registry_report(&[2, 1])).await;
    let mut edited = resource.clone();
    edited["metadata"]["generation"] = json!(3);
    edited["spec"]["retention"]["keepWithin"] = json!("1w");
    let asked = run(&world, &edited).await;
    assert_eq!(lines(&asked), vec![STATUS.to_owned()]);
    let status = written(&asked, "/status");
    let (stalled, reason, message) = said(status, "Stalled");
    assert_eq!((stalled.as_str(), reason.as_str()), ("True", "InvalidDuration"));
    assert!(
        message.contains("custody of the registry goes on with what was valid before"),
        "{message}"
    );
    assert_eq!(said(status, "Intact").0, "True");

    let mut alone = world.clone();
    alone.objects.retain(|object| object["kind"] != "DataEmbassy");
    let asked = run(&alone, &resource).await;
    assert_eq!(lines(&asked), vec![STATUS.to_owned()]);
    let status = written(&asked, "/status");
    assert_eq!(said(status, "Stalled").1, "UnknownEmbassy");
    assert_eq!(said(status, "LedgerSound").0, "True");
}

//! What custodian and gate are told: it fails static, and floors and used bytes move as they may.

use serde_json::json;

use dataembassy_contract::custodian::RegistryReport;
use dataembassy_operator::poll::Known;

use super::{
    CUSTODIAN_CONFIG, GATE_CONFIG, STATUS, custodian_config, gate_config, run, run_in, settled, world,
};
use crate::world::embassy::{CUSTODIAN, KEY, custodian_report, custody, registry_report, standing};
use crate::world::{client, lines, read, said, written};

#[tokio::test]
async fn both_are_told_of_every_registry_that_was_accepted() {
    let mut population = custody("population");
    population["spec"]["rate"] = json!("50Mi");
    population["spec"]["homeMayRetrieve"] = json!(true);
    population["spec"]["confirmedHead"] = json!({"sequence": 3, "digest": "e".repeat(64)});
    population["spec"]["retention"]["pins"] = json!([{"sequence": 7, "reason": "before the census"}]);
    population["status"] = json!({"term": 2, "sourceHead": {"sequence": 9, "digest": "b".repeat(64)}});
    let asked = run(&world(&standing(), &[population, custody("health")]), &standing()).await;

    let config = custodian_config(&asked);
    assert_eq!((config.embassy.as_str(), config.generation), ("luxembourg", 5));
    assert_eq!(config.store.endpoint, "https://store.embassy.example:9000");
    assert_eq!(config.custodian_keys[0].public_key, KEY);
    assert_eq!(config.verification.bytes_per_second, 100 << 20);
    assert_eq!(config.capacity_bytes, Some(10 << 40));
    assert_eq!(config.check.unwrap().interval.to_string(), "7d");
    let ids: Vec<&str> = config
        .registries
        .iter()
        .map(|registry| registry.registry.as_str())
        .collect();
    assert_eq!(ids, ["health", "population"]);
    let population = &config.registries[1];
    assert_eq!(
        (population.generation, population.quota_bytes),
        (2, Some(200 << 30))
    );
    assert_eq!(population.source_floor.as_ref().unwrap().sequence, 9);
    assert_eq!(population.confirmed_head.as_ref().unwrap().sequence, 3);
    assert_eq!(population.pins[0].sequence, 7);

    let lanes = gate_config(&asked).lanes;
    assert_eq!(lanes[1].registry, "population");
    assert_eq!((lanes[0].term, lanes[1].term), (1, 2));
    assert_eq!(lanes[1].bytes_per_second, Some(50 << 20));
    assert_eq!(
        (lanes[0].home_may_retrieve, lanes[1].home_may_retrieve),
        (false, true)
    );
    assert!(!lanes[1].fenced);
}

#[tokio::test]
async fn a_settled_embassy_is_ready_and_writes_nothing() {
    let (world, resource, _running) = settled(&standing(), &[custody("population")]).await;
    for type_ in [
        "Ready",
        "CustodianReady",
        "GateReady",
        "StoreReachable",
        "SpaceSufficient",
    ] {
        let (status, reason, message) = said(&resource, type_);
        assert_eq!(status, "True", "{type_}: {reason}: {message}");
    }
    assert_eq!(resource["status"]["custodianKey"], KEY);
    assert_eq!(resource["status"]["space"]["used"], "1.0 GiB");
    assert_eq!(lines(&run(&world, &resource).await), Vec::<String>::new());
}

#[tokio::test]
async fn an_invalid_edit_and_a_block_that_was_taken_out_touch_nothing_that_runs() {
    let (world, resource, _running) = settled(&standing(), &[custody("population")]).await;
    let mut sweeping = resource.clone();
    sweeping["spec"]["custodian"]["sweepAfter"] = json!("30s");
    let mut astray = resource.clone();
    astray["spec"]["store"]["endpoint"] = json!("https://s3.eu-central-1.amazonaws.com");
    let mut without = resource.clone();
    without["spec"].as_object_mut().unwrap().remove("custodian");
    for (mut edited, reason) in [
        (sweeping, "InvalidDuration"),
        (astray, "NotSovereign"),
        (without, "NoCustodian"),
    ] {
        edited["metadata"]["generation"] = json!(6);
        let asked = run(&world, &edited).await;
        assert_eq!(lines(&asked), vec![STATUS.to_owned()], "{reason}");
        let status = written(&asked, "/status");
        assert_eq!(said(status, "Ready").1, reason);
        let (stalled, _, message) = said(status, "Stalled");
        assert_eq!(stalled, "True");
        assert!(
            message.contains("custodian and gate go on with what was valid before"),
            "{message}"
        );
        assert_eq!(said(status, "GateReady").0, "True", "what runs is told as it is");
    }
}

#[tokio::test]
async fn a_registry_whose_resource_is_not_valid_any_more_stays_as_it_was() {
    let (mut world, resource, _running) =
        settled(&standing(), &[custody("population"), custody("health")]).await;
    for object in &mut world.objects {
        if object["kind"] == "RegistryCustody" && object["metadata"]["name"] == "population" {
            object["spec"]["quota"] = json!("200GB");
            object["spec"]["rpo"] = json!("1m");
            object["status"] = json!({"sourceHead": {"sequence": 4, "digest": "d".repeat(64)}});
        }
        if object["kind"] == "RegistryCustody" && object["metadata"]["name"] == "health" {
            object["spec"]["rpo"] = json!("2h");
        }
    }
    let asked = run(&world, &resource).await;
    let registries = custodian_config(&asked).registries;
    assert_eq!(registries[0].rpo.to_string(), "2h", "the other one is followed");
    assert_eq!(registries[1].registry, "population");
    assert_eq!(registries[1].rpo.to_string(), "30m");
    assert_eq!(registries[1].quota_bytes, Some(200 << 30));
    assert_eq!(registries[1].source_floor.as_ref().unwrap().sequence, 4);
    assert!(
        !lines(&asked).contains(&format!("PATCH {GATE_CONFIG}")),
        "the gate has nothing new to know"
    );
}

#[tokio::test]
async fn a_registry_that_is_not_accepted_any_more_leaves_alone() {
    let (mut world, resource, _running) =
        settled(&standing(), &[custody("population"), custody("health")]).await;
    world
        .objects
        .retain(|object| object["metadata"]["uid"] != "uid-health");
    let asked = run(&world, &resource).await;
    let written = lines(&asked);
    assert!(written.contains(&format!("PATCH {CUSTODIAN_CONFIG}")));
    assert!(
        !written.iter().any(|line| line.contains("deployments")),
        "{written:?}"
    );
    assert_eq!(custodian_config(&asked).registries.len(), 1);
    assert_eq!(gate_config(&asked).lanes[0].registry, "population");
}

#[tokio::test]
async fn a_floor_is_not_lowered_by_losing_the_status() {
    let mut population = custody("population");
    population["status"] = json!({
        "sourceHead": {"sequence": 9, "digest": "b".repeat(64)}, "custodyHead": {"sequence": 5, "digest": "c".repeat(64)}, "term": 3
    });
    let (mut world, resource, _running) = settled(&standing(), &[population]).await;
    for object in &mut world.objects {
        if object["kind"] == "RegistryCustody" {
            object["status"] = json!({"sourceHead": {"sequence": 2, "digest": "f".repeat(64)}});
            // Something else is to be written.
            object["spec"]["rpo"] = json!("45m");
            object["spec"]["homeMayRetrieve"] = json!(true);
        }
    }
    let asked = run(&world, &resource).await;
    let registry = &custodian_config(&asked).registries[0];
    assert_eq!(registry.rpo.to_string(), "45m");
    let floor = registry.source_floor.as_ref().unwrap();
    assert_eq!((floor.sequence, floor.digest.as_str()), (9, &*"b".repeat(64)));
    assert_eq!(registry.custody_floor.as_ref().unwrap().sequence, 5);
    assert_eq!(gate_config(&asked).lanes[0].term, 3);
}

#[tokio::test]
async fn a_floor_that_moved_is_written_without_calling_the_kubelet() {
    let (mut world, resource, _running) = settled(&standing(), &[custody("population")]).await;
    for object in &mut world.objects {
        if object["kind"] == "RegistryCustody" {
            object["status"] = json!({"sourceHead": {"sequence": 1, "digest": "f".repeat(64)}});
        }
    }
    assert_eq!(
        lines(&run(&world, &resource).await),
        vec![format!("PATCH {CUSTODIAN_CONFIG}")]
    );
}

#[tokio::test]
async fn used_bytes_reach_the_gate_only_when_they_moved_by_a_hundredth_of_the_quota() {
    let (world, resource, running) = settled(&standing(), &[custody("population")]).await;
    let quota: u64 = 200 << 30;
    let say = |used: u64| {
        let mut report = custodian_report();
        report["registries"][0]["usedBytes"] = used.into();
        running.processes.say(CUSTODIAN, "/status", report);
    };
    say(quota / 100);
    assert_eq!(lines(&run(&world, &resource).await), Vec::<String>::new());
    say(quota / 100 + 1);
    let asked = run(&world, &resource).await;
    assert_eq!(lines(&asked), vec![format!("PATCH {GATE_CONFIG}")]);
    assert_eq!(gate_config(&asked).lanes[0].used_bytes, quota / 100 + 1);
}

/// A registry's report that says what opened its term.
fn opened(holder: &str, term: u32) -> serde_json::Value {
    let mut report = registry_report(&[3]);
    report["term"] = term.into();
    report["opening"] = json!({"holder": holder, "sequence": 9, "digest": "f".repeat(64), "signer": "s", "order": "lost-0123abcd"});
    report
}

/// The lane of the population register that is written where the custodian said `report` last, after `before` was in effect.
async fn lane(report: Option<serde_json::Value>, before: Option<(u32, bool)>) -> (u32, bool) {
    let mut world = world(&standing(), &[custody("population")]);
    if let Some((term, fenced)) = before {
        let asked = run(&world, &standing()).await;
        let mut object = written(&asked, GATE_CONFIG).clone();
        let mut config = gate_config(&asked);
        (config.lanes[0].term, config.lanes[0].fenced) = (term, fenced);
        object["data"][dataembassy_contract::files::CONFIG_FILE] = config.to_json().unwrap().into();
        world.objects.push(object);
    }
    let (client, log) = client(|_| None);
    let context = world.context(client);
    if let Some(report) = report {
        let report = std::sync::Arc::new(read::<RegistryReport>(&report));
        let known = Known {
            pod_uid: "uid".to_owned(),
            etag: None,
            report,
        };
        context
            .registry_reports
            .keep("luxembourg/population".to_owned(), known);
    }
    run_in(&context, &standing()).await;
    let lanes = gate_config(&log.take()).lanes;
    (lanes[0].term, lanes[0].fenced)
}

#[tokio::test]
async fn a_lane_is_closed_while_the_embassy_holds_the_registry_and_open_in_the_term_that_gave_it_back() {
    assert_eq!(lane(None, None).await, (1, false));
    assert_eq!(lane(Some(opened("Embassy", 2)), None).await, (2, true));
    assert_eq!(lane(Some(opened("Home", 3)), Some((2, true))).await, (3, false));
}

#[tokio::test]
async fn an_operator_that_has_just_begun_and_a_custodian_that_has_read_nothing_open_no_lane() {
    // The operator was restarted, and nobody has told it anything. What it writes differs from what is in effect in the term alone.
    let mut older = registry_report(&[3]);
    older["term"] = 1.into();
    assert_eq!(lane(Some(older), Some((2, true))).await, (2, true));
    let mut unread = registry_report(&[]);
    unread["ledger"] = json!({"state": "Unknown", "reason": "NotYetKnown", "message": ""});
    unread["term"] = 3.into();
    assert_eq!(lane(Some(unread), Some((2, true))).await, (3, true));
    assert_eq!(lane(Some(opened("Embassy", 3)), Some((2, true))).await, (3, true));
}

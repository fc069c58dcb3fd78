//! What the embassy sees of home by itself.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{ago, heard, run, settled, status_of, world};
use crate::world::embassy::{GATES, Running, custody, gate_report, registry_report};
use crate::world::{lines, said};

/// Within the time that home may say nothing.
fn just_now() -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(20)
}

#[tokio::test]
async fn the_embassy_itself_finds_out_that_home_is_silent() {
    let (world, running) = world(&custody("population"), registry_report(&[1])).await;
    let resource = custody("population");
    let status = status_of(&world, &resource).await;
    assert_eq!(
        (
            said(&status, "HomeHeard").0.as_str(),
            said(&status, "HomeHeard").1.as_str()
        ),
        ("Unknown", "NotYetKnown"),
        "before the first word"
    );

    heard(&running, just_now());
    let status = status_of(&world, &resource).await;
    assert_eq!(said(&status, "HomeHeard").0, "True");

    // The gate that heard it is gone, and the operator has started anew: the status remembers.
    let (world, resource, running) = settled(registry_report(&[1])).await;
    heard(&running, ago(3));
    assert_eq!(lines(&run(&world, &resource).await), Vec::<String>::new());

    let mut resource = resource;
    resource["status"]["lastHeardTime"] = json!(ago(10));
    let last = ago(3);
    heard(&running, last);
    let status = status_of(&world, &resource).await;
    let (home, reason, message) = said(&status, "HomeHeard");
    assert_eq!((home.as_str(), reason.as_str()), ("False", "HomeSilent"));
    let at = Timestamp::from_second(last.as_second()).unwrap().to_string();
    for part in [
        &*format!("registry population: home was last heard at {at}"),
        "Lost: nothing that was committed",
        "Stands: the ledger up to copy 1, taken at",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(status["status"]["lastHeardTime"], at);
}

#[tokio::test]
async fn a_time_that_a_wrong_clock_has_left_in_the_status_hides_no_silence() {
    let (world, mut resource, running) = settled(registry_report(&[1])).await;
    resource["status"]["lastHeardTime"] = json!(Timestamp::now() + SignedDuration::from_hours(24 * 365));
    let last = ago(3);
    heard(&running, last);
    let status = status_of(&world, &resource).await;
    assert_eq!(said(&status, "HomeHeard").1, "HomeSilent");
    let at = Timestamp::from_second(last.as_second()).unwrap().to_string();
    assert_eq!(status["status"]["lastHeardTime"], at);
}

#[tokio::test]
async fn nor_of_a_home_that_no_gate_has_heard_since_operator_and_gates_began_anew() {
    let (world, mut resource, running) = settled(registry_report(&[1])).await;
    let ahead = Timestamp::now() + SignedDuration::from_hours(24 * 365);
    resource["status"]["lastHeardTime"] = json!(ahead);
    let begun = |started: Timestamp| {
        for gate in GATES {
            let mut report = gate_report();
            report["startedAt"] = json!(started);
            running.processes.say(gate, "/status", report);
        }
    };
    // Nobody knows yet, and that home was heard is not forgotten.
    begun(just_now());
    let status = status_of(&world, &resource).await;
    assert_eq!(said(&status, "HomeHeard").1, "NotYetKnown");
    assert_eq!(status["status"]["lastHeardTime"], json!(ahead));

    let since = ago(3);
    for (started, at) in [
        (since, Some(since)),
        (Timestamp::now() + SignedDuration::from_hours(1), None),
    ] {
        begun(started);
        let status = status_of(&world, &resource).await;
        assert_eq!(said(&status, "HomeHeard").1, "HomeSilent", "{started}");
        let told: Timestamp = status["status"]["lastHeardTime"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(told < Timestamp::now(), "{told}");
        if let Some(at) = at {
            assert_eq!(told.as_second(), at.as_second());
        }
    }
}

#[tokio::test]
async fn a_gate_that_has_just_begun_makes_no_silence() {
    let (world, mut resource, running) = settled(registry_report(&[1])).await;
    resource["status"]["lastHeardTime"] = json!(ago(60 * 24));
    let restarted = |started: Timestamp| {
        for gate in GATES {
            let mut report = gate_report();
            report["startedAt"] = json!(started);
            running.processes.say(gate, "/status", report);
        }
    };
    restarted(just_now());
    assert_eq!(lines(&run(&world, &resource).await), Vec::<String>::new());
    restarted(ago(3));
    let status = status_of(&world, &resource).await;
    assert_eq!(said(&status, "HomeHeard").1, "HomeSilent");
    // One whose clock ran ahead when it began has not just begun for years.
    restarted(Timestamp::now() + SignedDuration::from_hours(24 * 365));
    let status = status_of(&world, &resource).await;
    assert_eq!(said(&status, "HomeHeard").1, "HomeSilent");
}

/// What a gate says whose clock is so many minutes behind ours: home was heard so long ago, and somebody was refused ten seconds ago.
fn by_a_clock_behind(minutes: i64, running: &Running, heard_ago: SignedDuration) {
    let at_the_gate = |ago: SignedDuration| Timestamp::now() - SignedDuration::from_mins(minutes) - ago;
    let refused =
        json!([{"refusal": "OtherPlace", "count": 1, "lastAt": at_the_gate(SignedDuration::from_secs(10))}]);
    let mut report = gate_report();
    report["at"] = json!(at_the_gate(SignedDuration::ZERO));
    report["lanes"] =
        json!([{"registry": "population", "heardAt": at_the_gate(heard_ago), "refused": refused}]);
    for gate in GATES {
        running.processes.say(gate, "/status", report.clone());
    }
}

#[tokio::test]
async fn a_gate_whose_clock_is_wrong_hides_no_home_no_silence_and_no_refused_request() {
    for minutes in [1, 11, 60, -60, 60 * 24 * 365] {
        let (world, running) = world(&custody("population"), registry_report(&[1])).await;
        let resource = custody("population");
        by_a_clock_behind(minutes, &running, SignedDuration::from_secs(10));
        let status = status_of(&world, &resource).await;
        assert_eq!(said(&status, "HomeHeard").1, "Heard", "{minutes}");
        assert_eq!(said(&status, "Suspicious").1, "RequestsRefused", "{minutes}");

        by_a_clock_behind(minutes, &running, SignedDuration::from_mins(3));
        let status = status_of(&world, &resource).await;
        assert_eq!(said(&status, "HomeHeard").1, "HomeSilent", "{minutes}");
    }
}

#[tokio::test]
async fn without_a_gate_nobody_knows_whether_home_is_there() {
    let (mut world, mut resource, _running) = settled(registry_report(&[1])).await;
    resource["status"]["lastHeardTime"] = json!(ago(10));
    world
        .objects
        .retain(|object| object["kind"] != "Pod" || object["metadata"]["name"] == "luxembourg-custodian-1-1");
    let status = status_of(&world, &resource).await;
    let (home, reason, _) = said(&status, "HomeHeard");
    assert_eq!((home.as_str(), reason.as_str()), ("Unknown", "GateDown"));
}

#[tokio::test]
async fn a_copy_is_as_old_as_the_older_of_its_two_times() {
    for (taken, arrived, within) in [
        (ago(10), ago(9), "True"),
        (ago(40), ago(1), "False"),
        // Home's clock, or home, lies.
        (ago(-60), ago(40), "False"),
    ] {
        let mut report = registry_report(&[2, 1]);
        report["lastArrival"] = json!({"sequence": 2, "takenAt": taken, "arrivedAt": arrived});
        let (world, _running) = world(&custody("population"), report).await;
        let status = status_of(&world, &custody("population")).await;
        let (found, _, message) = said(&status, "WithinRPO");
        assert_eq!(found, within, "{message}");
    }
}

#[tokio::test]
async fn a_registry_that_never_got_a_copy_is_overdue_after_its_objective() {
    let mut resource = custody("population");
    resource["metadata"]["creationTimestamp"] = json!(ago(29));
    let (world, _running) = world(&resource, registry_report(&[])).await;
    assert_eq!(
        said(&status_of(&world, &resource).await, "WithinRPO").0,
        "Unknown"
    );
    resource["metadata"]["creationTimestamp"] = json!(ago(31));
    let (found, reason, _) = said(&status_of(&world, &resource).await, "WithinRPO");
    assert_eq!((found.as_str(), reason.as_str()), ("False", "NoCopyYet"));
}

#[tokio::test]
async fn refused_requests_make_the_registry_suspicious_as_long_as_they_are_recent() {
    let (world, resource, running) = settled(registry_report(&[1])).await;
    let refused = |at: Timestamp| {
        for (gate, count) in GATES.into_iter().zip([3, 4]) {
            let mut report = gate_report();
            report["lanes"] = json!([{"registry": "population", "heardAt": Timestamp::now(), "refused": [
                {"refusal": "OtherPlace", "count": count, "lastAt": at}, {"refusal": "Rate", "count": 9, "lastAt": at}
            ]}]);
            running.processes.say(gate, "/status", report);
        }
    };
    refused(ago(9));
    let status = status_of(&world, &resource).await;
    let (suspicious, reason, message) = said(&status, "Suspicious");
    assert_eq!(
        (suspicious.as_str(), reason.as_str()),
        ("True", "RequestsRefused")
    );
    assert!(
        message.contains("OtherPlace 7") && !message.contains("Rate"),
        "{message}"
    );
    refused(ago(11));
    assert_eq!(lines(&run(&world, &resource).await), Vec::<String>::new());
}

#[tokio::test]
async fn an_open_way_back_is_said_as_long_as_it_is_open() {
    let (world, mut resource, _running) = settled(registry_report(&[1])).await;
    resource["spec"]["homeMayRetrieve"] = json!(true);
    let status = status_of(&world, &resource).await;
    let (open, reason, message) = said(&status, "RetrievalOpen");
    assert_eq!((open.as_str(), reason.as_str()), ("True", "RetrievalOpen"));
    assert!(message.contains("population.retrieval"), "{message}");
}

//! Which copy comes up: at or below the fence, and by the rule of the spec.

use dataembassy_crds::RegistryPhase;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Shared, alone, approved, cluster, phases, said, stated, step, until};

/// What the custodian says of every copy of the registry.
fn of_every_copy(cluster: &Shared, field: &str, said: &str) {
    let mut cluster = cluster.lock().unwrap();
    let report = cluster.reports.get_mut("population").unwrap();
    for copy in report["copies"].as_array_mut().unwrap() {
        copy[field] = said.into();
    }
}

/// Lets the fence stand for so long that the custodian has had the time to look again.
async fn settle(cluster: &Shared) {
    let status = until(cluster, |status| status.registries[0].reason == "NotYetKnown").await;
    assert_eq!(phases(&status), [RegistryPhase::Fencing]);
    let message = &status.registries[0].message;
    assert!(message.contains("before that is final"), "{message}");
    cluster.lock().unwrap().edit(|activation| {
        let steps = activation["status"]["registries"][0]["steps"].as_array_mut();
        let fence = steps.unwrap().iter_mut().find(|step| step["name"] == "fence");
        fence.unwrap()["endedAt"] = "2026-11-27T09:00:00Z".into();
    });
}

#[tokio::test]
async fn a_copy_that_home_commits_behind_the_fence_is_not_taken() {
    let cluster = approved(alone(true)).await;
    until(&cluster, |status| phases(status) == [RegistryPhase::Fencing]).await;
    // The fence names entry 2; home, which knows nothing of it, has committed 3.
    {
        let mut cluster = cluster.lock().unwrap();
        let report = cluster.reports.get_mut("population").unwrap();
        assert!(report["opening"].is_object());
        report["opening"]["sourceHead"] = json!({"sequence": 2, "digest": "b".repeat(64)});
    }
    let status = until(&cluster, |status| status.registries[0].copy.is_some()).await;
    assert_eq!(status.registries[0].copy.as_ref().unwrap().sequence, 2);
}

#[tokio::test]
async fn a_copy_that_the_custodian_does_not_list_is_not_guessed_and_nobody_is_asked_to_sign_for_a_guess() {
    let cluster = cluster({
        let mut activation = alone(true);
        activation["spec"]["registries"][0]["copy"] = json!({"atOrBefore": "2026-01-01T00:00:00Z"});
        activation
    });
    cluster.lock().unwrap().reports.get_mut("population").unwrap()["completeFrom"] = 2.into();
    for _ in 0..6 {
        step(&cluster).await.unwrap();
    }
    let status = cluster.lock().unwrap().status();
    assert!(status.statement.is_none());
    let (reason, message) = said(&status, "Stalled");
    assert_eq!(reason, "True NoIntactCopy");
    assert!(
        message.contains("below number 2") && message.contains("spec.retention.pins"),
        "{message}"
    );
    // By its number it is taken, below that too.
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["registries"][0]["copy"] = json!({"sequence": 1}));
    let status = until(&cluster, |status| status.statement.is_some()).await;
    assert!(status.statement.unwrap().text.contains("\ncopy: number 1\n"));
    cluster.lock().unwrap().sign(&[1, 2]);
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    assert_eq!(status.registries[0].copy.as_ref().unwrap().sequence, 1);
}

#[tokio::test]
async fn a_copy_that_is_dated_years_ahead_was_no_younger_at_the_fence_than_its_entry() {
    let cluster = approved(alone(true)).await;
    until(&cluster, |status| phases(status) == [RegistryPhase::Fencing]).await;
    of_every_copy(&cluster, "takenAt", "2036-11-23T10:00:00Z");
    let status = until(&cluster, |status| status.registries[0].copy.is_some()).await;
    let state = &status.registries[0];
    let taken_at = &state.copy.as_ref().unwrap().taken_at;
    assert!(taken_at.starts_with("2036-11-23"), "{taken_at}");
    // The entries of the test came days ago.
    assert!(
        state.rpo_seconds.is_some_and(|age| age > 24 * 3_600),
        "{:?}",
        state.rpo_seconds
    );
}

#[tokio::test]
async fn a_copy_is_chosen_once() {
    let cluster = approved(alone(true)).await;
    let status = until(&cluster, |status| status.registries[0].copy.is_some()).await;
    let chosen = status.registries[0].copy.clone();
    cluster.lock().unwrap().reports.get_mut("population").unwrap()["copies"][0]["intact"] = "False".into();
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    assert_eq!(status.registries[0].copy, chosen);
    let restore = &cluster.lock().unwrap().of_kind("registryrestores")[0];
    assert_eq!(restore["spec"]["copy"]["sequence"], 3);
}

#[tokio::test]
async fn a_registry_whose_copies_are_not_read_back_yet_waits_for_the_first_that_is() {
    let cluster = approved(alone(true)).await;
    of_every_copy(&cluster, "intact", "Unknown");
    let status = until(&cluster, |status| status.registries[0].reason == "AwaitingProof").await;
    let message = &status.registries[0].message;
    assert!(
        message.contains("copy 3") && message.contains("copy.latest"),
        "{message}"
    );
    assert_eq!(phases(&status), [RegistryPhase::Fencing]);
    cluster.lock().unwrap().reports.get_mut("population").unwrap()["copies"][0]["intact"] = "True".into();
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    assert_eq!(status.registries[0].copy.as_ref().unwrap().sequence, 3);
}

#[tokio::test]
async fn a_registry_all_of_whose_copies_are_damaged_fails() {
    let cluster = approved(alone(true)).await;
    of_every_copy(&cluster, "intact", "False");
    settle(&cluster).await;
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Failed]).await;
    assert_eq!(status.registries[0].reason, "NoIntactCopy");
    assert!(status.registries[0].message.contains("damaged"));
}

/// What was read damaged once may be whole when it is looked at again, and a drill's entry may follow its copy.
#[tokio::test]
async fn a_copy_that_is_found_good_soon_after_the_fence_comes_up() {
    for (field, choice) in [("intact", json!({})), ("drilled", json!({"latestDrilled": true}))] {
        let cluster = approved({
            let mut activation = alone(true);
            activation["spec"]["registries"][0]["copy"] = choice;
            activation
        })
        .await;
        of_every_copy(&cluster, field, "False");
        until(&cluster, |status| status.registries[0].reason == "NotYetKnown").await;
        cluster.lock().unwrap().reports.get_mut("population").unwrap()["copies"][1][field] = "True".into();
        let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
        assert_eq!(status.registries[0].copy.as_ref().unwrap().sequence, 2, "{field}");
    }
}

/// A custodian that was killed after the fence knows of the head alone when it comes back.
#[tokio::test]
async fn nothing_is_decided_by_what_a_custodian_has_read_that_has_just_begun() {
    let cluster = approved({
        let mut activation = alone(true);
        activation["spec"]["registries"][0]["copy"] = json!({"sequence": 1});
        activation
    })
    .await;
    let all = {
        let mut cluster = cluster.lock().unwrap();
        let report = cluster.reports.get_mut("population").unwrap();
        let all = report["copies"].clone();
        report["copies"] = json!([all[0]]);
        report["completeFrom"] = 3.into();
        report["reading"] = true.into();
        all
    };
    let status = until(&cluster, |status| status.registries[0].reason == "NotYetKnown").await;
    assert!(status.registries[0].message.contains("still reading"));
    // However long that takes.
    cluster.lock().unwrap().edit(|activation| {
        activation["status"]["approvedAt"] = "2026-11-27T09:00:00Z".into();
    });
    for _ in 0..4 {
        step(&cluster).await.unwrap();
    }
    assert_eq!(
        phases(&cluster.lock().unwrap().status()),
        [RegistryPhase::Fencing]
    );
    {
        let mut cluster = cluster.lock().unwrap();
        let report = cluster
            .reports
            .get_mut("population")
            .unwrap()
            .as_object_mut()
            .unwrap();
        report.insert("copies".to_owned(), all);
        report.remove("completeFrom");
        report.remove("reading");
    }
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    assert_eq!(status.registries[0].copy.as_ref().unwrap().sequence, 1);
}

#[tokio::test]
async fn a_registry_without_a_copy_that_the_choice_allows_fails_and_says_what_can_be_done() {
    let cluster = approved({
        let mut activation = alone(true);
        activation["spec"]["registries"][0]["copy"] = json!({"latestDrilled": true});
        activation
    })
    .await;
    of_every_copy(&cluster, "drilled", "Unknown");
    settle(&cluster).await;
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Failed]).await;
    assert_eq!(status.registries[0].reason, "NoIntactCopy");
    assert!(status.registries[0].message.contains("another rule"));
    // It is fenced, so what helps is another order; the fence stands.
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["registries"][0]["copy"] = json!({"latest": true}));
    until(&cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    step(&cluster).await.unwrap();
    cluster.lock().unwrap().sign(&[1, 3]);
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    assert_eq!(status.registries[0].fence, Some(9));
    assert_eq!(status.registries[0].copy.as_ref().unwrap().sequence, 3);
}

#[tokio::test]
async fn a_fence_that_a_clock_ahead_has_dated_is_waited_for_by_the_clock_of_today() {
    let cluster = approved({
        let mut activation = alone(true);
        activation["spec"]["registries"][0]["copy"] = json!({"latestDrilled": true});
        activation
    })
    .await;
    of_every_copy(&cluster, "drilled", "Unknown");
    until(&cluster, |status| status.registries[0].reason == "NotYetKnown").await;
    cluster.lock().unwrap().edit(|activation| {
        let steps = activation["status"]["registries"][0]["steps"].as_array_mut();
        let fence = steps.unwrap().iter_mut().find(|step| step["name"] == "fence");
        fence.unwrap()["endedAt"] = json!(Timestamp::now() + SignedDuration::from_hours(24 * 365));
    });
    step(&cluster).await.unwrap();
    let status = cluster.lock().unwrap().status();
    assert_eq!(phases(&status), [RegistryPhase::Fencing], "nothing is final yet");
    let mut steps = status.registries[0].steps.iter();
    let fence = steps.find(|step| step.name == "fence").unwrap();
    let ended: Timestamp = fence.ended_at.as_ref().unwrap().parse().unwrap();
    assert!(ended <= Timestamp::now(), "{fence:?}");
    settle(&cluster).await;
    until(&cluster, |status| phases(status) == [RegistryPhase::Failed]).await;
}

#[tokio::test]
async fn people_sign_for_the_copy_that_the_spec_chooses_and_for_where_it_is_served() {
    for (choice, words) in [
        (json!({}), "the newest that is intact"),
        (json!({"latest": true}), "the newest, read back or not"),
        (json!({"latestDrilled": true}), "the newest that passed a drill"),
        (
            json!({"atOrBefore": "2026-11-23T12:00:00Z"}),
            "the newest that was taken at 2026-11-23T12:00:00.000Z or before",
        ),
        (json!({"sequence": 2}), "number 2"),
    ] {
        let cluster = stated({
            let mut activation = alone(true);
            activation["spec"]["registries"][0]["copy"] = choice;
            activation
        })
        .await;
        let text = cluster.lock().unwrap().status().statement.unwrap().text;
        assert!(text.contains(&format!("\ncopy: {words}\n")), "{text}");
        assert!(text.contains("\nexposed: population-db port 5432\n"), "{text}");
    }
}

//! Which copy comes up: at or below the fence, and by the rule of the spec.

use dataembassy_crds::RegistryPhase;
use serde_json::json;

use super::{Shared, alone, approved, cluster, phases, said, step, until};

/// What the custodian says of every copy of the registry.
fn of_every_copy(cluster: &Shared, field: &str, said: &str) {
    let mut cluster = cluster.lock().unwrap();
    let report = cluster.reports.get_mut("population").unwrap();
    for copy in report["copies"].as_array_mut().unwrap() {
        copy[field] = said.into();
    }
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
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Failed]).await;
    assert_eq!(status.registries[0].reason, "NoIntactCopy");
    assert!(status.registries[0].message.contains("damaged"));
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

//! The restores of a registry: what is tried again, what is not, and what is never overwritten.

use dataembassy_crds::{ActivationPhase, RegistryPhase};
use serde_json::Value;

use super::{AT_WORK, alone, approved, phases, said, sample, step, until};

fn endings(cluster: &super::Shared, endings: &[Option<&'static str>]) {
    cluster.lock().unwrap().restores = endings.to_vec();
}

/// Changes the first registry, and signs the order that this makes.
async fn order_anew(cluster: &super::Shared, change: impl FnOnce(&mut Value)) {
    let change = |activation: &mut Value| change(&mut activation["spec"]["registries"][0]);
    cluster.lock().unwrap().edit(change);
    until(cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    cluster.lock().unwrap().sign(&[1, 2]);
}

fn rules(restores: &[Value]) -> Vec<String> {
    let rules = restores.iter().map(|restore| {
        let rule = restore["spec"]["ifNotEmpty"].as_str().unwrap_or("Refuse");
        rule.to_owned()
    });
    rules.collect()
}

#[tokio::test]
async fn a_restore_is_told_everything_that_was_approved_and_goes_with_the_activation() {
    let cluster = approved(alone(false)).await;
    until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    let restore = cluster.lock().unwrap().of_kind("registryrestores").remove(0);
    assert_eq!(restore["metadata"]["ownerReferences"][0]["uid"], "uid-home-lost");
    assert_eq!(restore["metadata"]["ownerReferences"][0]["controller"], true);
    let spec = &restore["spec"];
    assert_eq!(spec["copy"]["sequence"], 3);
    assert_eq!(spec["trustSource"], true);
    assert_eq!(spec["assertions"][0]["name"], "persons-are-there");
    assert_eq!(spec["deadline"], "6h");
    assert_eq!(spec["identityRef"]["name"], "ministry-identity");
    assert_eq!(spec["target"]["createIfMissing"], true);
    assert_eq!(spec["target"]["database"], "population");
    assert_eq!(rules(std::slice::from_ref(&restore)), ["ReplaceUnfinished"]);
}

#[tokio::test]
async fn a_restore_that_was_lost_is_begun_anew_and_replaces_what_it_has_written() {
    let cluster = approved(alone(true)).await;
    endings(&cluster, &[Some("Interrupted"), Some("TargetUnreachable"), None]);
    cluster.lock().unwrap().writing = true;
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    assert_eq!(status.registries[0].attempts, 3);
    let restores = cluster.lock().unwrap().of_kind("registryrestores");
    assert_eq!(rules(&restores), ["ReplaceUnfinished", "Replace", "Replace"]);
    assert!(
        restores
            .iter()
            .all(|restore| restore["spec"]["copy"]["sequence"] == 3)
    );
}

#[tokio::test]
async fn a_database_into_which_nobody_saw_anything_written_is_never_emptied() {
    let cluster = approved(alone(true)).await;
    endings(
        &cluster,
        &[
            Some("StoreUnreachable"),
            Some("TargetRefused"),
            Some("Interrupted"),
            None,
        ],
    );
    until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    let restores = cluster.lock().unwrap().of_kind("registryrestores");
    assert_eq!(rules(&restores), ["ReplaceUnfinished"; 4]);
}

#[tokio::test]
async fn under_a_new_order_another_database_is_not_emptied_for_what_was_written_into_the_first() {
    let cluster = approved(alone(true)).await;
    endings(&cluster, &[Some("AnswerWrong"), Some("AnswerWrong"), None]);
    cluster.lock().unwrap().writing = true;
    let changes: [fn(&mut Value); 2] = [
        |registry| registry["jobs"] = 2.into(),
        |registry| registry["target"]["external"]["host"] = "another-db".into(),
    ];
    for (attempts, change) in (1..).zip(changes) {
        until(&cluster, |status| {
            phases(status) == [RegistryPhase::Failed] && status.registries[0].attempts == attempts
        })
        .await;
        order_anew(&cluster, change).await;
    }
    until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    let restores = cluster.lock().unwrap().of_kind("registryrestores");
    assert_eq!(
        rules(&restores),
        ["ReplaceUnfinished", "Replace", "ReplaceUnfinished"]
    );
}

#[tokio::test]
async fn a_rehearsal_replaces_nothing_but_what_bears_its_mark() {
    let mut activation = alone(true);
    activation["spec"]["mode"] = "Rehearse".into();
    activation["spec"]["registries"][0]["target"]["external"]["scratch"] = true.into();
    let cluster = approved(activation).await;
    endings(&cluster, &[Some("Interrupted"), Some(AT_WORK)]);
    cluster.lock().unwrap().writing = true;
    until(&cluster, |status| {
        let state = &status.registries[0];
        let is_made = state
            .restore
            .as_ref()
            .is_some_and(|restore| restore.uid.is_some());
        state.attempts == 2 && is_made && state.written_into.is_some()
    })
    .await;
    let restores = cluster.lock().unwrap().of_kind("registryrestores");
    assert_eq!(rules(&restores), ["ReplaceUnfinished"; 2]);
}

#[tokio::test]
async fn it_is_not_begun_anew_for_ever() {
    let cluster = approved(alone(true)).await;
    endings(&cluster, &[Some("StoreUnreachable")]);
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Failed]).await;
    assert_eq!(status.registries[0].attempts, 5);
    assert_eq!(status.registries[0].reason, "RestoreFailed");
    assert!(
        status.registries[0].message.contains("5 times"),
        "{}",
        status.registries[0].message
    );
}

#[tokio::test]
async fn a_restore_that_somebody_deletes_is_another_attempt() {
    let cluster = approved(alone(true)).await;
    endings(&cluster, &[Some(AT_WORK)]);
    until(&cluster, |status| {
        status.registries[0]
            .restore
            .as_ref()
            .is_some_and(|restore| restore.uid.is_some())
    })
    .await;
    let is_restore = |path: &String| path.contains("/registryrestores/");
    cluster
        .lock()
        .unwrap()
        .objects
        .retain(|path, _| !is_restore(path));
    endings(&cluster, &[None]);
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    assert_eq!(status.registries[0].attempts, 2);
}

#[tokio::test]
async fn a_database_that_held_something_is_not_replaced_under_a_new_order_either() {
    let cluster = approved(alone(true)).await;
    endings(&cluster, &[Some("TargetLacks"), None]);
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Failed]).await;
    assert_eq!(status.registries[0].reason, "TargetLacks");
    assert_eq!(status.registries[0].attempts, 1);
    order_anew(&cluster, |registry| registry["jobs"] = 2.into()).await;
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    assert_eq!(status.registries[0].attempts, 2);
    assert_eq!(
        rules(&cluster.lock().unwrap().of_kind("registryrestores")),
        ["ReplaceUnfinished"; 2]
    );
}

#[tokio::test]
async fn what_depends_on_a_registry_that_fails_is_not_begun_and_what_does_not_goes_on() {
    let mut activation = sample(true);
    // Business depends on nothing any more.
    activation["spec"]["registries"][2]["dependsOn"] = serde_json::json!([]);
    let cluster = approved(activation).await;
    endings(&cluster, &[Some("AnswerWrong"), None]);
    let status = until(&cluster, |status| status.ended_at.is_some()).await;
    assert_eq!(
        phases(&status),
        [
            RegistryPhase::Failed,
            RegistryPhase::Skipped,
            RegistryPhase::Serving
        ]
    );
    assert_eq!(status.registries[0].reason, "AnswerWrong");
    assert_eq!(status.registries[1].reason, "DependencyFailed");
    assert!(status.registries[1].message.contains("population"));
    step(&cluster).await.unwrap();
    let status = cluster.lock().unwrap().status();
    assert_eq!(status.phase, ActivationPhase::Failed);
    assert_eq!(status.serving.as_deref(), Some("1/3"));
    let (reason, message) = said(&status, "Stalled");
    assert_eq!(reason, "True AnswerWrong");
    assert!(message.starts_with("population: "), "{message}");
    let restored = cluster.lock().unwrap().of_kind("registryrestores");
    assert!(
        restored
            .iter()
            .all(|restore| restore["spec"]["registry"]["id"] != "health")
    );
}

#[tokio::test]
async fn an_activation_says_since_when_an_identity_lies_in_the_cluster_over_all_its_attempts() {
    let cluster = approved(alone(true)).await;
    cluster.lock().unwrap().restores = vec![Some("StoreUnreachable"), None];
    let status = until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    let state = &status.registries[0];
    assert_eq!(state.attempts, 2);
    let identity = state.identity.as_ref().unwrap();
    assert_eq!(identity.present_since.as_deref(), Some("2026-11-28T09:01:00Z"));
    assert_eq!(identity.looked_at, "2026-11-28T09:02:00Z");
    assert_eq!(status.identity_since, identity.present_since);
    let (reason, message) = said(&status, "IdentityPresent");
    assert_eq!(reason, "True IdentityPresent");
    assert!(message.contains(&identity.secret), "{message}");
}

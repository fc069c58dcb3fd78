//! The whole way of an activation, and what is said of it.

use dataembassy_crds::{ActivationPhase, RegistryPhase};
use dataembassy_operator::activation::lanes;
use serde_json::{Value, json};

use super::{alone, approved, is_reported, look, phases, said, sample, step, until};
use crate::world::read;

#[tokio::test]
async fn a_recovery_that_took_too_long_is_told_although_the_copy_was_new_enough() {
    let cluster = approved(alone(true)).await;
    for _ in 0..super::PATIENCE {
        look(&cluster, |world| {
            for object in &mut world.objects {
                if object["kind"] == "RegistryCustody" {
                    object["spec"]["rpo"] = "9999d".into();
                    object["spec"]["rto"] = "1h".into();
                }
            }
        })
        .await
        .unwrap();
        let status = cluster.lock().unwrap().status();
        if status.phase == ActivationPhase::Serving {
            break;
        }
        if status.approved_at.is_some() {
            cluster.lock().unwrap().edit(|activation| {
                activation["status"]["approvedAt"] = "2026-11-27T09:00:00Z".into();
            });
        }
    }
    let status = cluster.lock().unwrap().status();
    assert_eq!(phases(&status), [RegistryPhase::Serving]);
    let (met, message) = said(&status, "ObjectivesMet");
    assert_eq!(met, "False RTOMissed", "{message}");
    assert_eq!(status.registries[0].objectives_met, Some(false));
}

#[tokio::test]
async fn three_registries_come_up_in_order_and_are_served() {
    let cluster = approved(sample(false)).await;
    // Those that wait have their copy chosen and their database up; nothing of them is restored.
    let status = until(&cluster, |status| {
        phases(status)
            == [
                RegistryPhase::Restoring,
                RegistryPhase::Waiting,
                RegistryPhase::Waiting,
            ]
            && status.registries[2].copy.is_some()
    })
    .await;
    assert_eq!(status.registries[1].reason, "WaitsForOthers");
    let restores = cluster.lock().unwrap().of_kind("registryrestores");
    assert!(
        restores
            .iter()
            .all(|restore| restore["spec"]["registry"]["id"] == "population")
    );
    let service = |cluster: &super::Shared, name: &str| -> Value {
        let services = cluster.lock().unwrap().of_kind("services");
        services
            .into_iter()
            .find(|service| service["metadata"]["name"] == name)
            .unwrap()
    };
    assert!(
        service(&cluster, "health-db")["spec"]["selector"].is_null(),
        "nobody is let in yet"
    );

    let status = until(&cluster, |status| status.phase == ActivationPhase::Serving).await;
    assert_eq!(phases(&status), [RegistryPhase::Serving; 3]);
    assert_eq!(status.serving.as_deref(), Some("3/3"));
    assert!(status.recovery.is_some() && status.ended_at.is_some());
    for state in &status.registries {
        let names: Vec<&str> = state.steps.iter().map(|step| step.name.as_str()).collect();
        for name in ["cut", "fence", "database", "restore", "serve"] {
            let step = state.steps.iter().find(|step| step.name == name);
            assert!(
                step.is_some_and(|step| step.ended_at.is_some()),
                "{name}: {names:?}"
            );
        }
        assert!(state.rto_seconds.is_some() && state.rpo_seconds.is_some());
        assert!(state.credentials.is_some());
        // Ten years after the activation was made.
        let end = state.certificate_ends.as_deref().unwrap_or_default();
        assert!(end.starts_with("2036-11-"), "{end}");
        // The copies of the test are days old.
        assert_eq!(state.objectives_met, Some(false));
    }
    assert_eq!(said(&status, "Ready").0, "True Serving");
    assert_eq!(said(&status, "Approved").0, "True Approved");
    assert_eq!(said(&status, "OnTime").0, "True OnTime");
    assert_eq!(said(&status, "ObjectivesMet").0, "False RPOMissed");
    assert_eq!(
        (said(&status, "Stalled").0, said(&status, "Reconciling").0),
        (String::new(), String::new())
    );
    assert!(!service(&cluster, "health-db")["spec"]["selector"].is_null());
    // Home is kept cut off, whatever the custodian says or does not.
    let activation = std::sync::Arc::new(read(&cluster.lock().unwrap().activation()));
    assert_eq!(lanes::cut("luxembourg", &[activation]).len(), 3);
    until(&cluster, |status| status.registries.iter().all(is_reported)).await;
    // Once the StatefulSet says that it is served, nothing is written any more.
    step(&cluster).await.unwrap();
    cluster.lock().unwrap().writes.clear();
    step(&cluster).await.unwrap();
    assert_eq!(cluster.lock().unwrap().writes, Vec::<String>::new());
}

#[tokio::test]
async fn who_has_renewed_the_certificate_says_until_when_it_counts_and_nobody_signs_for_that() {
    let cluster = approved(alone(false)).await;
    until(&cluster, |status| status.registries.iter().all(is_reported)).await;
    let ends = |cluster: &super::Shared| {
        let status = cluster.lock().unwrap().status();
        assert_eq!(status.phase, ActivationPhase::Serving);
        status.registries[0].certificate_ends.clone().unwrap()
    };
    let made = ends(&cluster);
    for (said, shown) in [
        ("2046-11-30", "2046-11-30"),
        ("tomorrow", made.as_str()),
        ("2030-01-01", made.as_str()),
    ] {
        cluster.lock().unwrap().edit(|activation| {
            activation["metadata"]["annotations"]["dataembassy.io/certificate-ends.population"] = said.into();
        });
        step(&cluster).await.unwrap();
        assert_eq!(ends(&cluster), shown, "{said}");
    }
}

#[tokio::test]
async fn what_was_begun_is_not_taken_out_of_the_list() {
    let cluster = approved(sample(true)).await;
    until(&cluster, |status| {
        phases(status)[1] == RegistryPhase::Waiting && status.registries[1].copy.is_some()
    })
    .await;
    cluster.lock().unwrap().edit(|activation| {
        activation["spec"]["registries"]
            .as_array_mut()
            .unwrap()
            .truncate(1);
    });
    step(&cluster).await.unwrap();
    let status = cluster.lock().unwrap().status();
    let (reason, message) = said(&status, "Stalled");
    assert_eq!(reason, "True InvalidName");
    assert!(
        message.contains("health") && message.contains("put it back"),
        "{message}"
    );
    assert_eq!(status.registries.len(), 3, "nothing is forgotten");
}

#[tokio::test]
async fn a_database_that_is_served_and_cannot_come_up_again_is_told() {
    let cluster = approved(alone(false)).await;
    until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    step(&cluster).await.unwrap();
    let set = "/apis/apps/v1/namespaces/interior/statefulsets/home-lost-population-db";
    let uid = cluster.lock().unwrap().objects[set]["metadata"]["uid"].clone();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "home-lost-population-db-0", "namespace": "interior", "uid": "uid-pod",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "home-lost-population-db", "uid": uid, "controller": true}]},
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]},
    });
    let place = "/api/v1/namespaces/interior/pods/home-lost-population-db-0".to_owned();
    cluster.lock().unwrap().objects.insert(place, pod);
    cluster.lock().unwrap().objects.get_mut(set).unwrap()["status"]["readyReplicas"] = 0.into();
    step(&cluster).await.unwrap();
    let status = cluster.lock().unwrap().status();
    assert_eq!(phases(&status), [RegistryPhase::Serving], "it is not given up");
    let (reason, message) = said(&status, "Ready");
    assert_eq!(reason, "False Unschedulable");
    assert!(
        message.contains("does not answer now") && message.contains("0/1 nodes"),
        "{message}"
    );
    cluster.lock().unwrap().objects.get_mut(set).unwrap()["status"]["readyReplicas"] = 1.into();
    step(&cluster).await.unwrap();
    assert_eq!(said(&cluster.lock().unwrap().status(), "Ready").0, "True Serving");
}

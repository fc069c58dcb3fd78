//! A rehearsal does everything but cut, fence and serve, and leaves nothing behind.

use dataembassy_crds::{ActivationPhase, RegistryPhase};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{AT_WORK, Custodian, Shared, alone, approved, cluster, look, phases, said, sample, step, until};

fn rehearsal() -> Value {
    let mut activation = sample(false);
    activation["spec"]["mode"] = "Rehearse".into();
    activation
}

fn kinds(cluster: &Shared) -> Vec<String> {
    let cluster = cluster.lock().unwrap();
    let paths = cluster.objects.keys().filter(|path| path.as_str() != super::LIVE);
    paths.cloned().collect()
}

#[tokio::test]
async fn a_rehearsal_asks_the_custodian_for_nothing_and_is_cleaned_up() {
    let cluster = approved(rehearsal()).await;
    let status = until(&cluster, |status| phases(status)[0] == RegistryPhase::Rehearsed).await;
    assert!(
        status
            .registries
            .iter()
            .all(|state| state.signer.is_none() && state.fence.is_none())
    );
    assert!(cluster.lock().unwrap().orders().is_empty());
    let status = until(&cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
    assert_eq!(phases(&status), [RegistryPhase::Rehearsed; 3]);
    assert_eq!(said(&status, "Ready").0, "True Rehearsed");
    assert!(
        status
            .registries
            .iter()
            .all(|state| state.rto_seconds.is_some() && state.rpo_seconds.is_some())
    );
    assert!(status.registries.iter().all(|state| {
        state
            .steps
            .iter()
            .all(|step| step.name != "cut" && step.name != "serve")
    }));
    for kind in ["registryrestores", "statefulsets"] {
        assert!(cluster.lock().unwrap().of_kind(kind).is_empty(), "{kind}");
    }
    // What belongs to a StatefulSet goes with it; nothing else was made.
    let owned = |path: &String| {
        let object = cluster.lock().unwrap().objects[path].clone();
        object["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"
    };
    assert!(kinds(&cluster).iter().all(owned), "{:?}", kinds(&cluster));
    // It is over, and is not begun again.
    cluster.lock().unwrap().writes.clear();
    step(&cluster).await.unwrap();
    step(&cluster).await.unwrap();
    assert_eq!(cluster.lock().unwrap().writes, Vec::<String>::new());
}

#[tokio::test]
async fn a_rehearsal_of_a_registry_whose_first_copy_the_custodian_has_not_seen_waits_for_it() {
    let cluster = approved(on_scratch()).await;
    let seen = {
        let mut cluster = cluster.lock().unwrap();
        let report = cluster.reports.get_mut("population").unwrap();
        let seen = report.clone();
        report["sourceHead"] = Value::Null;
        report["copies"] = Value::Array(Vec::new());
        seen
    };
    let status = until(&cluster, |status| status.registries[0].reason == "NotYetKnown").await;
    assert_eq!(phases(&status), [RegistryPhase::Fencing]);
    let message = &status.registries[0].message;
    assert!(message.contains("no copy"), "{message}");
    cluster
        .lock()
        .unwrap()
        .reports
        .insert("population".to_owned(), seen);
    let status = until(&cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
    assert_eq!(status.registries[0].copy.as_ref().unwrap().sequence, 3);
}

/// A rehearsal on a database that somebody else keeps, and gives for it.
pub(super) fn on_scratch() -> Value {
    let mut activation = alone(true);
    activation["spec"]["mode"] = "Rehearse".into();
    activation["spec"]["registries"][0]["target"]["external"]["scratch"] = true.into();
    activation
}

fn message(cluster: &Shared) -> String {
    let status = cluster.lock().unwrap().status();
    let clean_up = status.registries[0].clean_up.clone();
    clean_up.unwrap_or_default().message
}

#[tokio::test]
async fn what_was_restored_into_a_database_of_somebody_else_is_dropped_by_its_mark() {
    let cluster = approved(on_scratch()).await;
    until(&cluster, |status| status.registries[0].restore.is_some()).await;
    // What restores says for whom, and what drops needs no copy.
    until(&cluster, |status| status.registries[0].clean_up.is_some()).await;
    let restores = cluster.lock().unwrap().of_kind("registryrestores");
    let [clean_up] = restores.as_slice() else {
        panic!("what restored is gone before: {restores:?}");
    };
    assert_eq!(
        clean_up["spec"]["rehearsal"],
        serde_json::json!({"uid": "uid-home-lost", "empties": true})
    );
    let owner = &clean_up["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], "uid-home-lost");
    let status = until(&cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
    assert_eq!(said(&status, "Ready").0, "True Rehearsed");
    assert!(kinds(&cluster).is_empty(), "{:?}", kinds(&cluster));
    cluster.lock().unwrap().writes.clear();
    step(&cluster).await.unwrap();
    assert_eq!(cluster.lock().unwrap().writes, Vec::<String>::new());
}

/// Moves the moment at which the clean-up failed last.
fn failed_at(cluster: &Shared, moment: &str) {
    cluster.lock().unwrap().edit(|activation| {
        activation["status"]["registries"][0]["cleanUp"]["failedAt"] = moment.into();
    });
}

#[tokio::test]
async fn a_rehearsal_that_cannot_be_taken_back_yet_says_why_and_is_tried_until_it_is() {
    let cluster = approved(on_scratch()).await;
    cluster.lock().unwrap().clean_ups = vec![Some("TargetUnreachable"), Some("TargetRefused"), None];
    for (failures, reason) in [(1, "TargetUnreachable"), (2, "TargetRefused")] {
        let status = until(&cluster, |status| {
            let clean_up = status.registries[0].clean_up.as_ref();
            clean_up.is_some_and(|clean_up| clean_up.failures == failures)
        })
        .await;
        assert_eq!(status.phase, ActivationPhase::Recovering, "it is not over");
        let (ready, told) = said(&status, "Ready");
        assert_eq!(ready, "False CleaningUp");
        assert!(
            told.contains(reason) && message(&cluster).contains("tried again"),
            "{told}"
        );
        // However long the test takes, the next one is not due; further ahead it would be what a wrong clock has said.
        failed_at(
            &cluster,
            &(Timestamp::now() + SignedDuration::from_mins(4)).to_string(),
        );
        for _ in 0..2 {
            step(&cluster).await.unwrap();
        }
        assert_eq!(
            cluster.lock().unwrap().status().registries[0]
                .clean_up
                .as_ref()
                .unwrap()
                .failures,
            failures,
            "a failure is counted once"
        );
        cluster.lock().unwrap().edit(|activation| {
            let steps = activation["status"]["registries"][0]["steps"]
                .as_array_mut()
                .unwrap();
            let step = steps.iter_mut().find(|step| step["name"] == "clean").unwrap();
            step["startedAt"] = "2026-11-27T09:00:00Z".into();
        });
        failed_at(&cluster, "2026-11-27T09:00:00Z");
        step(&cluster).await.unwrap();
        let (on_time, late) = said(&cluster.lock().unwrap().status(), "OnTime");
        assert_eq!(on_time, "False StepOverdue");
        assert!(late.contains("the step clean of population"), "{late}");
    }
    let status = until(&cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
    assert_eq!(said(&status, "OnTime").0, "True OnTime");
    assert!(cluster.lock().unwrap().of_kind("registryrestores").is_empty());
}

#[tokio::test]
async fn a_clean_up_that_failed_by_a_clock_that_ran_ahead_is_tried_again() {
    let cluster = approved(on_scratch()).await;
    cluster.lock().unwrap().clean_ups = vec![Some("TargetUnreachable"), None];
    until(&cluster, |status| {
        let clean_up = status.registries[0].clean_up.as_ref();
        clean_up.is_some_and(|clean_up| clean_up.failures == 1)
    })
    .await;
    failed_at(&cluster, "2036-01-01T00:00:00Z");
    until(&cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
}

/// The same, of registries that do not wait for each other.
fn elsewhere_beside() -> Value {
    let mut activation = elsewhere();
    for registry in activation["spec"]["registries"].as_array_mut().unwrap() {
        registry["dependsOn"] = serde_json::json!([]);
    }
    activation
}

/// A rehearsal into databases of somebody else, each of them scratch.
fn elsewhere() -> Value {
    let mut activation = sample(true);
    activation["spec"]["mode"] = "Rehearse".into();
    for registry in activation["spec"]["registries"].as_array_mut().unwrap() {
        registry["target"]["external"]["scratch"] = true.into();
    }
    activation
}

#[tokio::test]
async fn what_a_failed_rehearsal_has_restored_is_dropped_too_and_of_what_was_not_begun_nothing_is() {
    let cluster = approved(elsewhere()).await;
    cluster.lock().unwrap().restores = vec![Some("AnswerWrong")];
    let status = until(&cluster, |status| status.phase == ActivationPhase::Failed).await;
    let cleaned: Vec<bool> = status
        .registries
        .iter()
        .map(|state| {
            state
                .steps
                .iter()
                .any(|step| step.name == "clean" && step.ended_at.is_some())
        })
        .collect();
    assert_eq!(cleaned, [true, false, false]);
    assert!(cluster.lock().unwrap().of_kind("registryrestores").is_empty());
}

/// The first registry is taken out of the list, which is refused with a way out.
async fn stays_in_the_list(cluster: &Shared) {
    cluster.lock().unwrap().edit(|activation| {
        let registries = activation["spec"]["registries"].as_array_mut().unwrap();
        registries.remove(0);
    });
    step(cluster).await.unwrap();
    let status = cluster.lock().unwrap().status();
    let (reason, message) = said(&status, "Stalled");
    assert_eq!(reason, "True InvalidName");
    for words in ["population", "put it back", "delete this resource"] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(status.registries.len(), 3, "nothing is forgotten");
}

#[tokio::test]
async fn what_a_rehearsal_has_restored_is_not_taken_out_of_the_list_before_it_is_dropped() {
    let cluster = approved(elsewhere()).await;
    cluster.lock().unwrap().restores = vec![Some("AnswerWrong")];
    until(&cluster, |status| {
        phases(status)[0] == RegistryPhase::Failed && status.ended_at.is_none()
    })
    .await;
    stays_in_the_list(&cluster).await;
}

#[tokio::test]
async fn a_rehearsal_stays_with_its_database_until_what_it_has_restored_there_is_dropped() {
    let cluster = approved(on_scratch()).await;
    cluster.lock().unwrap().restores = vec![Some("AnswerWrong")];
    until(&cluster, |status| {
        phases(status) == [RegistryPhase::Failed] && status.ended_at.is_none()
    })
    .await;
    let changes: [fn(&mut Value); 2] = [
        |target| target["external"]["database"] = "another".into(),
        |target| *target = serde_json::json!({"managed": {"image": "postgres:17", "storage": "1Gi"}}),
    ];
    let target = cluster.lock().unwrap().activation()["spec"]["registries"][0]["target"].clone();
    for change in changes {
        let edit = |change: &dyn Fn(&mut Value)| {
            cluster
                .lock()
                .unwrap()
                .edit(|activation| change(&mut activation["spec"]["registries"][0]["target"]));
        };
        edit(&change);
        for _ in 0..3 {
            step(&cluster).await.unwrap();
        }
        let (reason, message) = said(&cluster.lock().unwrap().status(), "Stalled");
        assert_eq!(reason, "True InvalidName");
        assert!(
            message.contains("population-db:5432/registry") && message.contains("put the target back"),
            "{message}"
        );
        edit(&|found| *found = target.clone());
    }
    let status = until(&cluster, |status| status.ended_at.is_some()).await;
    let clean = status.registries[0]
        .steps
        .iter()
        .find(|step| step.name == "clean");
    assert!(clean.is_some_and(|clean| clean.ended_at.is_some()));
    assert!(kinds(&cluster).is_empty(), "{:?}", kinds(&cluster));
    // What is clean may go elsewhere.
    cluster.lock().unwrap().edit(|activation| {
        activation["metadata"]["generation"] = 2.into();
        activation["spec"]["registries"][0]["target"]["external"]["database"] = "another".into();
    });
    let status = until(&cluster, |status| {
        status
            .statement
            .as_ref()
            .is_some_and(|statement| statement.text.contains("database another"))
    })
    .await;
    assert_eq!(status.phase, ActivationPhase::AwaitingApproval);
}

#[tokio::test]
async fn what_was_dropped_before_another_attempt_says_nothing_of_that_attempt() {
    let cluster = approved(on_scratch()).await;
    cluster.lock().unwrap().restores = vec![Some("AnswerWrong")];
    cluster.lock().unwrap().clean_ups = vec![Some(AT_WORK), Some(AT_WORK), None];
    until(&cluster, |status| status.registries[0].clean_up.is_some()).await;
    step(&cluster).await.unwrap();
    let jobs = |number: i64| {
        cluster
            .lock()
            .unwrap()
            .edit(|activation| activation["spec"]["registries"][0]["jobs"] = number.into());
    };
    // It is changed and nobody signs; the clean-up ends meanwhile; and then it is what it was, which two have signed.
    let before = cluster.lock().unwrap().activation()["spec"]["registries"][0]["jobs"].clone();
    jobs(2);
    let status = until(&cluster, |status| {
        status.phase == ActivationPhase::AwaitingApproval
    })
    .await;
    let (_, message) = said(&status, "Ready");
    assert!(
        message.contains("population-db:5432/registry may still hold"),
        "{message}"
    );
    for _ in 0..3 {
        step(&cluster).await.unwrap();
    }
    let dropped = cluster.lock().unwrap().of_kind("registryrestores");
    assert!(
        dropped.iter().any(|one| one["status"]["phase"] == "Restored"),
        "{dropped:#?}"
    );
    jobs(before.as_i64().unwrap());
    let status = until(&cluster, |status| status.ended_at.is_some()).await;
    assert_eq!(status.registries[0].attempts, 2);
    let made = cluster.lock().unwrap().made("registryrestores").len();
    assert_eq!(made, 4, "each attempt was dropped");
    assert!(kinds(&cluster).is_empty(), "{:?}", kinds(&cluster));
}

#[tokio::test]
async fn what_an_earlier_order_has_restored_is_not_forgotten_while_a_later_one_has_not_begun() {
    let cluster = approved(elsewhere()).await;
    cluster.lock().unwrap().restores = vec![Some(AT_WORK)];
    until(&cluster, |status| status.registries[0].attempts == 1).await;
    cluster
        .lock()
        .unwrap()
        .edit(|activation| activation["spec"]["registries"][0]["jobs"] = 2.into());
    until(&cluster, |status| {
        status.phase == ActivationPhase::AwaitingApproval
    })
    .await;
    cluster.lock().unwrap().sign(&[1, 2]);
    cluster.lock().unwrap().custodian = Custodian::Silent;
    let status = until(&cluster, |status| status.approved_at.is_some()).await;
    assert!(status.registries[0].steps.is_empty(), "{status:#?}");
    stays_in_the_list(&cluster).await;
}

#[tokio::test]
async fn what_a_changed_rehearsal_has_left_where_it_was_restored_is_an_alarm_in_time() {
    let cluster = approved(on_scratch()).await;
    cluster.lock().unwrap().restores = vec![Some("AnswerWrong")];
    until(&cluster, |status| {
        phases(status) == [RegistryPhase::Failed] && status.ended_at.is_none()
    })
    .await;
    cluster.lock().unwrap().edit(|activation| {
        activation["spec"]["registries"][0]["jobs"] = 2.into();
        for step in activation["status"]["registries"][0]["steps"]
            .as_array_mut()
            .unwrap()
        {
            step["startedAt"] = "2026-11-27T09:00:00Z".into();
        }
    });
    let status = until(&cluster, |status| {
        status.phase == ActivationPhase::AwaitingApproval
    })
    .await;
    let (on_time, _) = said(&status, "OnTime");
    assert_eq!(on_time, "Unknown NotYetKnown", "nobody has had the time to sign");
    cluster.lock().unwrap().edit(|activation| {
        activation["status"]["statement"]["madeAt"] = "2026-11-27T09:00:00Z".into();
    });
    step(&cluster).await.unwrap();
    let (on_time, late) = said(&cluster.lock().unwrap().status(), "OnTime");
    assert_eq!(on_time, "False StepOverdue");
    assert!(
        late.contains("the step clean of population") && late.contains("population-db:5432/registry"),
        "{late}"
    );
}

#[tokio::test]
async fn what_was_rehearsed_early_waits_for_the_others_to_be_cleaned_up_and_is_not_late() {
    let cluster = approved(elsewhere_beside()).await;
    cluster.lock().unwrap().restores = vec![Some(AT_WORK)];
    until(&cluster, |status| {
        phases(status)[1] == RegistryPhase::Rehearsed && status.registries[0].attempts == 1
    })
    .await;
    cluster.lock().unwrap().edit(|activation| {
        for step in activation["status"]["registries"][1]["steps"]
            .as_array_mut()
            .unwrap()
        {
            step["startedAt"] = "2026-11-27T09:00:00Z".into();
        }
    });
    for _ in 0..2 {
        step(&cluster).await.unwrap();
        let status = cluster.lock().unwrap().status();
        assert_eq!(said(&status, "OnTime").0, "True OnTime", "{status:#?}");
    }
}

#[tokio::test]
async fn a_database_into_which_nothing_was_restored_is_not_cleaned_up() {
    let cluster = approved(on_scratch()).await;
    until(&cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
    let made = cluster.lock().unwrap().made("registryrestores").len();
    cluster.lock().unwrap().edit(|activation| {
        activation["metadata"]["generation"] = 2.into();
        activation["spec"]["registries"][0]["target"]["external"]["database"] = "another".into();
    });
    until(&cluster, |status| {
        status.phase == ActivationPhase::AwaitingApproval
    })
    .await;
    cluster.lock().unwrap().sign(&[1, 2]);
    {
        let mut cluster = cluster.lock().unwrap();
        let report = cluster.reports.get_mut("population").unwrap();
        for copy in report["copies"].as_array_mut().unwrap() {
            copy["intact"] = "False".into();
        }
    }
    until(&cluster, |status| status.registries[0].reason == "NotYetKnown").await;
    cluster.lock().unwrap().edit(|activation| {
        activation["status"]["approvedAt"] = "2026-11-27T09:00:00Z".into();
    });
    let status = until(&cluster, |status| status.ended_at.is_some()).await;
    assert_eq!(phases(&status), [RegistryPhase::Failed]);
    assert_eq!(cluster.lock().unwrap().made("registryrestores").len(), made);
}

#[tokio::test]
async fn a_rehearsal_that_was_edited_into_what_is_refused_goes_on_when_that_is_put_right() {
    let cluster = approved(rehearsal()).await;
    until(&cluster, |status| status.ended_at.is_some()).await;
    cluster.lock().unwrap().edit(|activation| {
        activation["metadata"]["generation"] = 2.into();
        activation["spec"]["registries"][0]["jobs"] = 2.into();
    });
    for _ in 0..2 {
        look(&cluster, |world| {
            world.objects.retain(|object| object["kind"] != "RegistryCustody");
        })
        .await
        .unwrap();
        let status = cluster.lock().unwrap().status();
        assert_eq!(said(&status, "Stalled").0, "True UnknownRegistry");
    }
    until(&cluster, |status| {
        status.phase == ActivationPhase::AwaitingApproval
    })
    .await;
}

#[tokio::test]
async fn how_a_rehearsal_has_ended_is_not_judged_again() {
    let cluster = approved(rehearsal()).await;
    until(&cluster, |status| status.ended_at.is_some()).await;
    cluster.lock().unwrap().edit(|activation| {
        activation["metadata"]["generation"] = 2.into();
        activation["spec"]["approvals"] = serde_json::json!([]);
    });
    for _ in 0..2 {
        look(&cluster, |world| {
            world.objects.retain(|object| object["kind"] != "RegistryCustody");
        })
        .await
        .unwrap();
        let status = cluster.lock().unwrap().status();
        assert_eq!(said(&status, "Ready").0, "True Rehearsed");
        assert_eq!(status.observed_generation, Some(2));
    }
}

#[tokio::test]
async fn a_rehearsal_that_has_ended_lets_go_of_its_registries_whatever_was_edited_since() {
    let cluster = approved(rehearsal()).await;
    cluster.lock().unwrap().restores = vec![Some("AnswerWrong")];
    until(&cluster, |status| status.ended_at.is_some()).await;
    cluster.lock().unwrap().edit(|activation| {
        activation["metadata"]["generation"] = 2.into();
        activation["spec"]["registries"][0]["jobs"] = 2.into();
    });
    until(&cluster, |status| {
        status.phase == ActivationPhase::AwaitingApproval
    })
    .await;
    cluster.lock().unwrap().edit(|activation| {
        let registries = activation["spec"]["registries"].as_array_mut().unwrap();
        registries.truncate(1);
    });
    let status = until(&cluster, |status| status.registries.len() == 1).await;
    assert_eq!(status.phase, ActivationPhase::AwaitingApproval);
}

#[tokio::test]
async fn a_rehearsal_restores_into_a_database_of_somebody_else_only_where_that_is_scratch() {
    let mut activation = alone(true);
    activation["spec"]["mode"] = "Rehearse".into();
    let cluster = cluster(activation);
    for _ in 0..3 {
        step(&cluster).await.unwrap();
    }
    let status = cluster.lock().unwrap().status();
    assert!(status.statement.is_none(), "nobody is asked to sign for it");
    let (reason, message) = said(&status, "Stalled");
    assert_eq!(reason, "True InvalidName");
    assert!(message.contains("scratch: true"), "{message}");
    cluster.lock().unwrap().edit(|activation| {
        activation["spec"]["registries"][0]["target"]["external"]["scratch"] = true.into();
    });
    let status = until(&cluster, |status| status.statement.is_some()).await;
    let text = status.statement.unwrap().text;
    assert!(
        text.contains("database registry, scratch: emptied afterwards"),
        "{text}"
    );
    cluster.lock().unwrap().sign(&[1, 2]);
    until(&cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
}

#[tokio::test]
async fn a_rehearsal_that_fails_says_why_and_is_cleaned_up_too() {
    let cluster = approved(rehearsal()).await;
    cluster.lock().unwrap().restores = vec![Some("AnswerWrong")];
    let status = until(&cluster, |status| status.phase == ActivationPhase::Failed).await;
    assert_eq!(
        phases(&status),
        [
            RegistryPhase::Failed,
            RegistryPhase::Skipped,
            RegistryPhase::Skipped
        ]
    );
    assert_eq!(said(&status, "Ready").0, "False AnswerWrong");
    assert!(cluster.lock().unwrap().of_kind("statefulsets").is_empty());
    assert!(cluster.lock().unwrap().of_kind("registryrestores").is_empty());
}

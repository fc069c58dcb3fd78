//! What came of an order is told to the custodian once, and the status says where the signed report lies.

use dataembassy_contract::activation::{ActivationReport, ActivationResult, Outcome};
use dataembassy_contract::custodian::OrderBody;
use dataembassy_crds::{ActivationPhase, RegistryPhase};
use dataembassy_ledger::activation::Statement;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Custodian, HOME, Shared, alone, approved, is_reported, mirror, phases, said, step, until};

/// What the custodian is asked to sign for now.
fn asked(cluster: &Shared) -> Vec<(String, ActivationReport)> {
    let orders = cluster.lock().unwrap().asked_to_report().into_iter();
    orders
        .map(|order| match order.body {
            OrderBody::Report(report) => (order.id, *report),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn rehearsal() -> Value {
    let mut activation = alone(false);
    activation["spec"]["mode"] = "Rehearse".into();
    activation
}

#[tokio::test]
async fn what_came_of_an_activation_is_told_with_its_times_its_answers_and_who_ordered_it() {
    let cluster = approved(alone(false)).await;
    until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    // The custodian carries out nothing while it is looked at.
    cluster.lock().unwrap().custodian = Custodian::Waits;
    let status = until(&cluster, |status| status.registries[0].report.is_some()).await;
    let reports = asked(&cluster);
    let [(id, report)] = reports.as_slice() else {
        panic!("{reports:?}");
    };
    let statement = Statement::read(&report.warrant.statement).unwrap();
    assert_eq!(*id, format!("{}-report", statement.order));
    assert_eq!(report.warrant.approvals.len(), 2);
    let (result, state) = (&report.result, &status.registries[0]);
    assert_eq!(
        (result.order.as_str(), result.about.as_str()),
        (id.as_str(), statement.order.as_str())
    );
    assert_eq!((result.outcome, result.fence), (Outcome::Served, Some(9)));
    assert_eq!(result.activation, "interior/home-lost");
    let copy = result.copy.as_ref().unwrap();
    assert_eq!(
        i64::try_from(copy.sequence).ok(),
        state.copy.as_ref().map(|copy| copy.sequence)
    );
    let whole = |seconds: Option<u64>| seconds.and_then(|seconds| i64::try_from(seconds).ok());
    assert_eq!(
        (whole(result.rpo_seconds), whole(result.rto_seconds)),
        (state.rpo_seconds, state.rto_seconds)
    );
    assert!(result.rpo_objective_seconds.is_some());
    for step in ["cut", "fence", "database", "restore", "serve"] {
        assert!(result.ended(step).is_some(), "{step}: {:?}", result.steps);
    }
    assert_eq!(Some(result.ended_at), result.ended("serve"));
    assert_eq!(result.restored.map(|restored| restored.rows), Some(12_480_113));
    assert_eq!(result.assertions[0].found, "12480113");
    assert_eq!(
        (result.left_out[0].kind.as_str(), result.left_out[0].count),
        ("SUBSCRIPTION", 2)
    );
    assert!(result.target.contains("postgres"), "{}", result.target);
    assert!(!result.versions.sidecar.is_empty() && !result.versions.server.is_empty());

    for _ in 0..3 {
        step(&cluster).await.unwrap();
    }
    let status = cluster.lock().unwrap().status();
    let told = status.registries[0].report.as_ref().unwrap();
    assert!(
        told.message.contains("the store does not answer"),
        "{}",
        told.message
    );
    assert!(told.path.is_none() && told.result.is_some());

    cluster.lock().unwrap().custodian = Custodian::Works;
    let status = until(&cluster, |status| is_reported(&status.registries[0])).await;
    let told = status.registries[0].report.as_ref().unwrap();
    assert_eq!(told.path, Some(format!("registries/population/reports/{id}")));
    assert_eq!((told.entry, &told.result), (Some(20), &None));
    assert!(asked(&cluster).is_empty(), "it is asked once");
    assert_eq!(cluster.lock().unwrap().told.len(), 1);
}

#[tokio::test]
async fn a_rehearsal_ends_when_its_report_is_signed_for_and_is_cleaned_up_before() {
    let cluster = approved(rehearsal()).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| {
        let report = status.registries[0].report.as_ref();
        report.is_some_and(|report| !report.message.is_empty())
    })
    .await;
    for _ in 0..5 {
        step(&cluster).await.unwrap();
    }
    let status = cluster.lock().unwrap().status();
    assert_eq!(status.phase, ActivationPhase::Recovering);
    let (reason, message) = said(&status, "Ready");
    assert_eq!(reason, "False ReportAwaited");
    assert!(message.contains("the store does not answer"), "{message}");
    for kind in ["registryrestores", "statefulsets"] {
        assert!(cluster.lock().unwrap().of_kind(kind).is_empty(), "{kind}");
    }
    let reports = asked(&cluster);
    assert_eq!(reports[0].1.result.outcome, Outcome::Rehearsed);
    assert_eq!(reports[0].1.result.fence, None);
    assert_eq!(
        reports[0].1.result.assertions.len(),
        1,
        "answers outlive the restore that gave them"
    );

    cluster.lock().unwrap().custodian = Custodian::Works;
    let status = until(&cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
    assert!(is_reported(&status.registries[0]));
}

#[tokio::test]
async fn a_report_that_the_custodian_refuses_is_told_and_not_asked_for_again() {
    let cluster = approved(rehearsal()).await;
    cluster.lock().unwrap().custodian = Custodian::Refuses;
    let status = until(&cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
    let report = status.registries[0].report.as_ref().unwrap();
    assert!(
        report.message.contains("refuses to sign for it"),
        "{}",
        report.message
    );
    assert!(report.path.is_none() && report.entry.is_none());
    assert_eq!(report.reason.as_deref(), Some("NotApproved"));
    let result = report.result.as_deref().and_then(ActivationResult::read);
    assert_eq!(
        result.map(|result| result.outcome),
        Some(Outcome::Rehearsed),
        "what it would have signed stays to be read"
    );
    let (reason, message) = said(&status, "Reported");
    assert_eq!(reason, "False NotApproved");
    assert!(
        message.contains("population") && message.contains("nobody has signed"),
        "{message}"
    );
    assert!(asked(&cluster).is_empty());
}

/// An activation that is served, and to whose report the custodian has not answered.
async fn unanswered() -> Shared {
    let cluster = approved(alone(true)).await;
    until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| status.registries[0].report.is_some()).await;
    cluster
}

/// Another order, in the same edit in which the signatures of the one before leave the spec.
fn order_anew(cluster: &Shared, change: impl FnOnce(&mut Value)) {
    cluster.lock().unwrap().edit(|activation| {
        activation["spec"]["approvals"] = json!([]);
        change(activation);
    });
}

#[tokio::test]
async fn an_order_that_is_replaced_before_the_custodian_has_signed_is_signed_for_all_the_same() {
    let cluster = unanswered().await;
    let first = asked(&cluster);
    order_anew(&cluster, |activation| {
        activation["spec"]["deadlines"]["restore"] = "7h".into();
    });
    let status = until(&cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    assert_eq!(
        asked(&cluster),
        first,
        "with its own statement and its own signatures"
    );
    assert_eq!(first[0].1.warrant.approvals.len(), 2);
    assert_eq!(said(&status, "Reported").0, "False ReportAwaited");
    // It is answered while the next order waits for signatures.
    cluster.lock().unwrap().custodian = Custodian::Works;
    let status = until(&cluster, |status| is_reported(&status.registries[0])).await;
    assert!(status.approved_at.is_none());
    let [replaced] = status.replaced.as_slice() else {
        panic!("{:?}", status.replaced);
    };
    assert_eq!(
        Some(&replaced.reports[0].report),
        status.registries[0].report.as_ref()
    );
    assert!(replaced.statement.is_empty() && replaced.signatures.is_empty());
    assert_eq!(said(&status, "Reported").0, "True Reported");
    assert!(asked(&cluster).is_empty());
    assert_eq!(cluster.lock().unwrap().told.len(), 1, "it is asked once");
}

#[tokio::test]
async fn what_came_of_two_orders_is_signed_for_though_the_second_has_ended_first() {
    let cluster = unanswered().await;
    cluster.lock().unwrap().mirror = Some(mirror());
    let first = asked(&cluster)[0].0.clone();
    order_anew(&cluster, |activation| {
        activation["spec"]["state"] = "StoodDown".into();
        activation["spec"]["registries"][0]["homeSigner"] = HOME.into();
    });
    until(&cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    {
        let mut cluster = cluster.lock().unwrap();
        cluster.sign(&[2, 3]);
        cluster.custodian = Custodian::WorksOnTerms;
    }
    let status = until(&cluster, |status| {
        status.phase == ActivationPhase::StoodDown
            && status.registries[0]
                .report
                .as_ref()
                .is_some_and(|report| report.order != first)
    })
    .await;
    assert_eq!(status.replaced[0].reports[0].report.order, first);
    assert_eq!(asked(&cluster).len(), 2);
    let (reason, message) = said(&status, "Reported");
    assert_eq!(reason, "False ReportAwaited");
    assert!(message.contains(&first), "{message}");
    cluster.lock().unwrap().custodian = Custodian::Works;
    let status = until(&cluster, |status| said(status, "Reported").0 == "True Reported").await;
    let outcomes: Vec<Value> = cluster
        .lock()
        .unwrap()
        .told
        .iter()
        .map(|told| told.1["outcome"].clone())
        .collect();
    assert_eq!(outcomes, [json!("Served"), json!("StoodDown")]);
    assert!(is_reported(&status.registries[0]) && status.replaced[0].reports[0].report.path.is_some());
    assert!(asked(&cluster).is_empty());
    // Nothing of it is written any more.
    step(&cluster).await.unwrap();
    cluster.lock().unwrap().writes.clear();
    step(&cluster).await.unwrap();
    assert_eq!(cluster.lock().unwrap().writes, Vec::<String>::new());
}

#[tokio::test]
async fn a_rehearsal_that_is_ordered_anew_ends_when_the_one_before_is_signed_for_too() {
    let cluster = approved(rehearsal()).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| status.registries[0].report.is_some()).await;
    order_anew(&cluster, |activation| {
        activation["spec"]["deadlines"]["restore"] = "7h".into();
    });
    until(&cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    {
        let mut cluster = cluster.lock().unwrap();
        cluster.sign(&[1, 3]);
        cluster.custodian = Custodian::Works;
    }
    let status = until(&cluster, |status| status.phase == ActivationPhase::Rehearsed).await;
    assert_eq!(cluster.lock().unwrap().told.len(), 2);
    assert!(status.replaced[0].reports[0].report.path.is_some());
}

#[tokio::test]
async fn what_failed_is_told_too_and_what_was_not_begun_is_not() {
    let cluster = approved({
        let mut activation = super::sample(false);
        activation["spec"]["mode"] = "Rehearse".into();
        activation
    })
    .await;
    cluster.lock().unwrap().restores = vec![Some("AnswerWrong")];
    let status = until(&cluster, |status| status.phase == ActivationPhase::Failed).await;
    assert!(is_reported(&status.registries[0]));
    assert!(status.registries[1].report.is_none() && status.registries[2].report.is_none());
    let told = cluster.lock().unwrap().told.clone();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0].1["outcome"], &told[0].1["reason"]),
        (&json!("Failed"), &json!("AnswerWrong"))
    );
    assert!(told[0].1["rtoSeconds"].is_null(), "{}", told[0].1);
}

#[tokio::test]
async fn what_is_served_without_a_fence_is_told_when_home_is_fenced() {
    let mut activation = alone(true);
    activation["spec"]["unfenced"] = "Accepted".into();
    activation["spec"]["deadlines"] = json!({"fence": "1s"});
    let cluster = approved(activation).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| status.approved_at.is_some()).await;
    // Its time is over.
    cluster.lock().unwrap().edit(|activation| {
        activation["status"]["approvedAt"] = "2026-11-28T09:00:00Z".into();
    });
    until(&cluster, |status| phases(status) == [RegistryPhase::Serving]).await;
    for _ in 0..5 {
        step(&cluster).await.unwrap();
    }
    assert!(cluster.lock().unwrap().status().registries[0].report.is_none());
    cluster.lock().unwrap().custodian = Custodian::Works;
    let status = until(&cluster, |status| is_reported(&status.registries[0])).await;
    assert_eq!(status.registries[0].fence, Some(9));
    assert_eq!(cluster.lock().unwrap().told[0].1["fence"], 9);
}

#[tokio::test]
async fn what_was_approved_by_a_clock_that_ran_ahead_is_told_all_the_same() {
    let cluster = approved(alone(true)).await;
    until(&cluster, |status| status.approved_at.is_some()).await;
    cluster.lock().unwrap().edit(|activation| {
        activation["status"]["approvedAt"] = "2040-01-01T00:00:00Z".into();
    });
    until(&cluster, |status| is_reported(&status.registries[0])).await;
    assert_eq!(cluster.lock().unwrap().told[0].1["outcome"], "Served");
}

#[tokio::test]
async fn a_later_order_does_not_report_again_on_what_an_earlier_one_has_brought_up() {
    let cluster = approved(alone(true)).await;
    until(&cluster, |status| status.registries.iter().all(is_reported)).await;
    cluster.lock().unwrap().edit(|activation| {
        // Long ago, so that no second is shared with the next order.
        for step in activation["status"]["registries"][0]["steps"]
            .as_array_mut()
            .unwrap()
        {
            step["startedAt"] = "2026-11-28T09:00:00Z".into();
            step["endedAt"] = "2026-11-28T09:00:30Z".into();
        }
        activation["spec"]["deadlines"]["restore"] = "7h".into();
    });
    until(&cluster, |status| {
        status.approved_at.is_none() && status.statement.is_some()
    })
    .await;
    cluster.lock().unwrap().sign(&[1, 3]);
    until(&cluster, |status| status.approved_at.is_some()).await;
    for _ in 0..5 {
        step(&cluster).await.unwrap();
    }
    assert_eq!(cluster.lock().unwrap().told.len(), 1);
    assert!(is_reported(&cluster.lock().unwrap().status().registries[0]));
}

#[tokio::test]
async fn a_report_that_nobody_signs_is_late_like_a_step() {
    let mut activation = rehearsal();
    activation["spec"]["deadlines"] = json!({"fence": "5m"});
    let cluster = approved(activation).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| status.registries[0].report.is_some()).await;
    cluster.lock().unwrap().edit(|activation| {
        let steps = activation["status"]["registries"][0]["steps"]
            .as_array_mut()
            .unwrap();
        let step = steps.iter_mut().find(|step| step["name"] == "report").unwrap();
        step["startedAt"] = "2026-11-28T09:00:00Z".into();
    });
    step(&cluster).await.unwrap();
    let (reason, message) = said(&cluster.lock().unwrap().status(), "OnTime");
    assert_eq!(reason, "False StepOverdue");
    assert!(message.contains("the step report of population"), "{message}");
}

#[tokio::test]
async fn a_step_that_a_clock_ahead_has_begun_is_late_now_and_not_when_that_day_comes() {
    let mut activation = rehearsal();
    activation["spec"]["deadlines"] = json!({"fence": "5m"});
    let cluster = approved(activation).await;
    cluster.lock().unwrap().custodian = Custodian::Waits;
    until(&cluster, |status| status.registries[0].report.is_some()).await;
    cluster.lock().unwrap().edit(|activation| {
        let steps = activation["status"]["registries"][0]["steps"].as_array_mut();
        let mut steps = steps.unwrap().iter_mut();
        let step = steps.find(|step| step["name"] == "report").unwrap();
        step["startedAt"] = json!(Timestamp::now() + SignedDuration::from_hours(24 * 365));
    });
    step(&cluster).await.unwrap();
    let (reason, _) = said(&cluster.lock().unwrap().status(), "OnTime");
    assert_eq!(reason, "False StepOverdue");
}

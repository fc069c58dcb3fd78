//! A rehearsal does everything but cut, fence and serve, and leaves nothing behind.

use dataembassy_crds::{ActivationPhase, RegistryPhase};
use serde_json::Value;

use super::{Shared, alone, approved, cluster, phases, said, sample, step, until};

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
async fn a_rehearsal_leaves_rows_in_a_database_of_somebody_else_only_where_that_is_scratch() {
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
        text.contains("database registry, scratch: its rows stay"),
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

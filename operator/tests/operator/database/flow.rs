//! What is asked of the API server, in which order, and what is never touched.

use dataembassy_contract::Reason;
use dataembassy_operator::activation::database::Standing;
use serde_json::{Value, json};

use super::{
    CLAIM, Deed, EVENTS, INTERNAL, POD, PUBLIC, PUBLIC_POLICY, RESTORE_POLICY, SECRET, SECRETS, STATEFUL_SET,
    Shared, activation,
};
use crate::world::{read, refusals};

#[tokio::test]
async fn the_pod_comes_last_when_its_secret_and_the_policy_before_it_are_there() {
    let (shared, activation) = (Shared::default(), activation("Activate"));
    let first = shared.ensure(&activation).await.unwrap();
    assert!(
        matches!(
            first,
            Standing::Coming {
                reason: Reason::Applying,
                ..
            }
        ),
        "{first:?}"
    );
    shared.look(|cluster| {
        assert_eq!(
            cluster.writes(),
            [
                format!("PATCH {STATEFUL_SET}"),
                format!("POST {SECRETS}"),
                format!("PATCH {RESTORE_POLICY}"),
                format!("PATCH {INTERNAL}"),
                format!("PATCH {PUBLIC}"),
                format!("PATCH {STATEFUL_SET}"),
            ]
        );
        assert_eq!(cluster.objects[STATEFUL_SET]["spec"]["replicas"], 1);
        let secret = &cluster.objects[SECRET]["stringData"];
        for key in ["username", "password", "tls.crt", "tls.key", "ca.crt"] {
            assert!(
                secret[key].as_str().is_some_and(|value| !value.is_empty()),
                "{key}"
            );
        }
        // Whoever looks finds what it was made for, and until when its certificate counts.
        let annotations = &cluster.objects[STATEFUL_SET]["metadata"]["annotations"];
        assert_eq!(annotations["dataembassy.io/made-for"], "uid-day");
        assert_eq!(annotations["dataembassy.io/certificate-ends"], "2036-11-28");
        for object in cluster.objects.values() {
            let owners = &object["metadata"]["ownerReferences"];
            let is_pod = object["kind"] == "Pod";
            assert!(is_pod || owners.is_null(), "{object}");
        }
    });
    assert_eq!(shared.ensure(&activation).await.unwrap(), Standing::Ready);
}

#[tokio::test]
async fn what_is_as_it_should_be_is_not_written_again_and_no_second_password_is_made() {
    for exposed in [false, true] {
        let (shared, activation) = (Shared::default(), activation("Activate"));
        shared.until_done(Deed::Ensure, &activation).await;
        if exposed {
            shared.until_done(Deed::Expose, &activation).await;
            shared.until_done(Deed::Keep, &activation).await;
            shared.until_done(Deed::Keep, &activation).await;
        }
        shared.look(|cluster| {
            cluster.asked.clear();
            // Whoever removed the Secret of a server that has begun has removed it.
            cluster.objects.remove(SECRET);
        });
        assert_eq!(shared.ensure(&activation).await.unwrap(), Standing::Ready);
        if exposed {
            shared.until_done(Deed::Expose, &activation).await;
            shared.until_done(Deed::Keep, &activation).await;
        }
        shared.look(|cluster| assert_eq!(cluster.writes(), Vec::<&str>::new(), "exposed: {exposed}"));
    }
}

#[tokio::test]
async fn applications_are_let_in_when_they_are_and_stay_in() {
    let (shared, activation) = (Shared::default(), activation("Activate"));
    shared.until_done(Deed::Ensure, &activation).await;
    shared.look(|cluster| {
        assert!(cluster.objects[PUBLIC]["spec"]["selector"].is_null());
        assert!(!cluster.objects.contains_key(PUBLIC_POLICY));
        assert_eq!(
            cluster.objects[STATEFUL_SET]["spec"]["updateStrategy"]["type"],
            "RollingUpdate"
        );
    });
    shared.until_done(Deed::Expose, &activation).await;
    for _ in 0..2 {
        shared.until_done(Deed::Ensure, &activation).await;
    }
    shared.look(|cluster| {
        let pod = &cluster.objects[STATEFUL_SET]["spec"]["template"]["metadata"]["labels"];
        let selector = cluster.objects[PUBLIC]["spec"]["selector"].as_object().unwrap();
        assert!(
            selector.iter().all(|(name, value)| pod[name] == *value),
            "{selector:?}"
        );
        assert_eq!(
            cluster.objects[PUBLIC_POLICY]["spec"]["ingress"][0]["from"],
            json!([{"podSelector": {}}])
        );
        // Nobody restarts a server that people use but people.
        assert_eq!(
            cluster.objects[STATEFUL_SET]["spec"]["updateStrategy"]["type"],
            "OnDelete"
        );
    });
}

#[tokio::test]
async fn applications_that_are_served_are_let_in_again_when_somebody_takes_the_service_or_its_policy_away() {
    let (shared, activation) = (Shared::default(), activation("Activate"));
    shared.until_done(Deed::Ensure, &activation).await;
    shared.until_done(Deed::Expose, &activation).await;
    shared.until_done(Deed::Keep, &activation).await;
    // Another template waits for its next pod, as it does where people are served.
    shared.look(|cluster| {
        let status = &mut cluster.objects.get_mut(STATEFUL_SET).unwrap()["status"];
        status["currentRevision"] = "former".into();
        status["updateRevision"] = "next".into();
    });
    let served = shared.look(|cluster| cluster.objects.clone());
    for taken in [&[PUBLIC][..], &[PUBLIC_POLICY], &[PUBLIC, PUBLIC_POLICY]] {
        shared.look(|cluster| taken.iter().for_each(|path| drop(cluster.objects.remove(*path))));
        shared.until_done(Deed::Keep, &activation).await;
        shared.look(|cluster| {
            for path in [PUBLIC, PUBLIC_POLICY, STATEFUL_SET] {
                assert_eq!(
                    cluster.objects[path]["spec"], served[path]["spec"],
                    "{taken:?}: {path}"
                );
            }
        });
    }
    // Nor is one let in who was not before: until every question is answered nobody is served.
    shared.look(|cluster| {
        cluster.objects.remove(PUBLIC);
        cluster.objects.remove(PUBLIC_POLICY);
    });
    shared.until_done(Deed::Ensure, &activation).await;
    shared.look(|cluster| {
        assert!(cluster.objects[PUBLIC]["spec"]["selector"].is_null());
        assert!(!cluster.objects.contains_key(PUBLIC_POLICY));
    });
}

#[tokio::test]
async fn an_object_of_somebody_else_is_refused_and_not_touched() {
    for (path, is_first) in [
        (STATEFUL_SET, true),
        (PUBLIC, true),
        (INTERNAL, false),
        (RESTORE_POLICY, false),
    ] {
        for mode in ["Activate", "Rehearse"] {
            for annotations in [
                json!({}),
                json!({"dataembassy.io/made-for": "uid-of-an-earlier-one"}),
            ] {
                let (shared, activation) = (Shared::default(), activation(mode));
                let kind = match path.rsplit('/').nth(1).unwrap() {
                    "statefulsets" => ("apps/v1", "StatefulSet"),
                    "services" => ("v1", "Service"),
                    _ => ("networking.k8s.io/v1", "NetworkPolicy"),
                };
                let foreign = json!({"apiVersion": kind.0, "kind": kind.1,
                    "metadata": {"name": path.rsplit('/').next(), "uid": "uid-foreign", "annotations": annotations}});
                shared.look(|cluster| cluster.objects.insert(path.to_owned(), foreign.clone()));
                let standing = shared.ensure(&activation).await.unwrap();
                let Standing::Refused { reason, message } = standing else {
                    panic!("{path}: {standing:?}");
                };
                assert_eq!(reason, Reason::ForeignObject);
                assert!(message.contains(path.rsplit('/').next().unwrap()), "{message}");
                shared.look(|cluster| {
                    assert_eq!(cluster.objects[path], foreign);
                    assert!(!cluster.objects.contains_key(POD), "{path}");
                    assert_eq!(
                        cluster.writes().is_empty(),
                        is_first,
                        "{path}: {:?}",
                        cluster.writes()
                    );
                });
            }
        }
    }
}

#[tokio::test]
async fn a_rehearsal_serves_nobody_and_leaves_nothing_behind() {
    let (shared, activation) = (Shared::default(), activation("Rehearse"));
    shared.until_done(Deed::Ensure, &activation).await;
    shared.until_done(Deed::Expose, &activation).await;
    let uid = shared.look(|cluster| {
        assert!(!cluster.objects.contains_key(PUBLIC) && !cluster.objects.contains_key(PUBLIC_POLICY));
        cluster.objects[STATEFUL_SET]["metadata"]["uid"].clone()
    });
    shared.look(|cluster| {
        for path in [SECRET, INTERNAL, RESTORE_POLICY] {
            let owner = &cluster.objects[path]["metadata"]["ownerReferences"][0];
            assert_eq!(
                (&owner["uid"], &owner["blockOwnerDeletion"]),
                (&uid, &json!(true)),
                "{path}"
            );
        }
    });
    shared.until_done(Deed::Remove, &activation).await;
    shared.look(|cluster| {
        assert!(cluster.objects.is_empty(), "{:?}", cluster.objects.keys());
        assert_eq!(cluster.deletions.len(), 1);
        assert_eq!(cluster.deletions[0]["preconditions"]["uid"], uid);
        assert_eq!(cluster.deletions[0]["propagationPolicy"], "Foreground");
    });
    shared.until_done(Deed::Remove, &activation).await;
}

#[tokio::test]
async fn a_volume_that_is_not_gone_yet_is_waited_for() {
    let (shared, activation) = (Shared::default(), activation("Rehearse"));
    shared.until_done(Deed::Ensure, &activation).await;
    let claim = shared.look(|cluster| cluster.objects[CLAIM].clone());
    assert!(
        !shared.is_done(Deed::Remove, &activation).await,
        "it was only asked for"
    );
    shared.look(|cluster| cluster.objects.insert(CLAIM.to_owned(), claim));
    assert!(!shared.is_done(Deed::Remove, &activation).await);
    shared.look(|cluster| cluster.objects.remove(CLAIM));
    assert!(shared.is_done(Deed::Remove, &activation).await);
}

#[tokio::test]
async fn what_a_meant_activation_has_made_is_never_removed() {
    let (shared, meant) = (Shared::default(), activation("Activate"));
    shared.until_done(Deed::Ensure, &meant).await;
    let before = shared.look(|cluster| cluster.objects.clone());
    assert!(!shared.is_done(Deed::Remove, &meant).await);
    // Nor by a rehearsal of the same name that came after it.
    let mut later = activation("Rehearse");
    later.metadata.uid = Some("uid-later".to_owned());
    shared.is_done(Deed::Remove, &later).await;
    shared.look(|cluster| {
        assert_eq!(cluster.objects, before);
        assert!(cluster.deletions.is_empty());
    });
}

#[tokio::test]
async fn a_server_whose_pod_is_refused_says_by_whom_and_comes_up_when_it_is_let_in() {
    for words in refusals::ALL {
        let (shared, activation) = (Shared::default(), activation("Activate"));
        shared.look(|cluster| cluster.refuses = Some(words));
        let standing = shared.ensure(&activation).await.unwrap();
        assert!(matches!(standing, Standing::Coming { .. }), "{standing:?}");
        let Standing::Coming { reason, message } = shared.ensure(&activation).await.unwrap() else {
            panic!("a pod that is refused serves nobody");
        };
        assert_eq!(reason, Reason::PodRefused);
        assert!(
            message.contains(words) && message.contains("policies of the namespace abroad"),
            "{message}"
        );
        // A look costs reads, and one of them is for why.
        shared.look(|cluster| cluster.asked.clear());
        shared.ensure(&activation).await.unwrap();
        shared.look(|cluster| {
            assert!(cluster.writes().is_empty(), "{:?}", cluster.asked);
            let asked = cluster.asked.iter().filter(|asked| asked.contains(EVENTS));
            assert_eq!(asked.count(), 1, "{:?}", cluster.asked);
            cluster.refuses = None;
        });
        shared.until_done(Deed::Ensure, &activation).await;
    }
}

#[tokio::test]
async fn what_keeps_the_server_from_coming_up_is_said_in_its_own_words() {
    let (shared, activation) = (Shared::default(), activation("Activate"));
    shared.until_done(Deed::Ensure, &activation).await;
    let ends = |message: &str| {
        json!({"containerStatuses": [{
            "name": "database", "image": "postgres:17", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": message}},
        }]})
    };
    let unbound = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "pod has unbound immediate PersistentVolumeClaims"}]});
    let killed = json!({"containerStatuses": [{
        "name": "database", "image": "postgres:17", "imageID": "", "ready": false, "restartCount": 3,
        "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }]});
    let said: [(Value, Reason, &str); 4] = [
        (
            ends("one\ndatabase: the image has no initdb\n"),
            Reason::CrashLooping,
            "the image has no initdb",
        ),
        (
            unbound,
            Reason::Unschedulable,
            "unbound immediate PersistentVolumeClaims",
        ),
        (
            killed,
            Reason::OutOfMemory,
            "target.managed.resources.limits.memory",
        ),
        (json!({}), Reason::Applying, "is starting"),
    ];
    for (status, expected, words) in said {
        shared.look(|cluster| {
            cluster.objects.get_mut(STATEFUL_SET).unwrap()["status"] =
                json!({"replicas": 1, "observedGeneration": 1});
            cluster.objects.get_mut(POD).unwrap()["status"] = status;
        });
        let standing = shared.ensure(&activation).await.unwrap();
        let Standing::Coming { reason, message } = standing else {
            panic!("{standing:?}");
        };
        assert_eq!(reason, expected);
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_secret_that_the_server_misses_is_named() {
    for (key, reason, words) in [
        (
            "username",
            Reason::SecretMissing,
            "the Secret day-population.superuser is missing",
        ),
        (
            "password",
            Reason::SecretKeyMissing,
            "the Secret day-population.superuser lacks the key password",
        ),
        (
            "tls.crt",
            Reason::SecretMissing,
            "the Secret population-tls is missing",
        ),
        (
            "tls.key",
            Reason::SecretKeyMissing,
            "the Secret population-tls lacks the key tls.key",
        ),
    ] {
        let (shared, mut activation) = (Shared::default(), activation("Activate"));
        let managed = activation.spec.registries[0].target.managed.as_mut().unwrap();
        managed.tls_ref = Some(read(&json!({"name": "population-tls"})));
        shared.until_done(Deed::Ensure, &activation).await;
        let said =
            format!("database: the Secret lacks the key {key}: add it, and the server starts by itself\n");
        shared.look(|cluster| {
            cluster.objects.get_mut(STATEFUL_SET).unwrap()["status"] =
                json!({"replicas": 1, "observedGeneration": 1});
            cluster.objects.get_mut(POD).unwrap()["status"] = json!({"containerStatuses": [{
                "name": "database", "image": "postgres:17", "imageID": "", "ready": false, "restartCount": 1,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": said}},
            }]});
        });
        let standing = shared.ensure(&activation).await.unwrap();
        let Standing::Coming {
            reason: told,
            message,
        } = standing
        else {
            panic!("{standing:?}");
        };
        assert_eq!(told, reason, "{key}: {message}");
        assert!(message.contains(words), "{key}: {message}");
    }
}

//! What the objects of a managed database say of it. Pure.

use dataembassy_contract::database;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use super::{Left, Managed, build};
use crate::labels::MADE_FOR;

/// Whether a Service has a selector, and thereby endpoints.
pub(super) fn is_open(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    let selector = spec.and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| !selector.is_empty())
}

/// Whether applications come to it: where they are served, also when somebody has taken the Service away.
pub(super) fn is_open_to_all(service: Option<&Service>, anchor: Option<&StatefulSet>, serves: bool) -> bool {
    service.is_some_and(is_open) || serves && anchor.is_some_and(|anchor| !is_shut(anchor))
}

/// Whether a pod was ever asked for.
pub(super) fn has_begun(anchor: &StatefulSet) -> bool {
    let wanted = anchor.spec.as_ref().and_then(|spec| spec.replicas);
    wanted.is_some_and(|replicas| replicas > 0)
}

/// Whether the `StatefulSet` counts its pod as ready, as it is asked for now.
pub(super) fn is_ready(anchor: &StatefulSet) -> bool {
    let status = anchor.status.as_ref();
    let is_seen = status.and_then(|status| status.observed_generation) >= anchor.metadata.generation;
    is_seen && status.and_then(|status| status.ready_replicas) >= Some(1)
}

/// Whether the server that runs is of the template that is there, and the template one that takes everybody's sessions.
pub(super) fn takes_everybody(anchor: &StatefulSet) -> bool {
    !is_shut(anchor) && is_rolled_out(anchor)
}

/// Whether the template is one that takes none but the superuser's sessions.
fn is_shut(anchor: &StatefulSet) -> bool {
    let template = anchor.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let containers = template.iter().flat_map(|pod| &pod.containers);
    let mut variables = containers.flat_map(|container| container.env.iter().flatten());
    variables.any(|variable| variable.name == database::SHUT_VARIABLE)
}

/// Whether the server that runs is of the template that is there.
pub(super) fn is_rolled_out(anchor: &StatefulSet) -> bool {
    anchor.status.as_ref().is_some_and(|status| {
        status.observed_generation >= anchor.metadata.generation
            && status.update_revision == status.current_revision
    })
}

/// The marks of a database that an activation of this name has left for this registry. A name is one resource's at a time, so that one is gone.
pub(super) fn left<'s>(anchor: &'s StatefulSet, managed: &Managed<'_>) -> Option<Left<'s>> {
    let says = |annotation: &str, value: &str| {
        anchor
            .annotations()
            .get(annotation)
            .is_some_and(|said| said == value)
    };
    let is_left = says(build::OF_ACTIVATION, managed.activation_name())
        && says(build::OF_REGISTRY, &managed.registry.id);
    Some(Left {
        uid: anchor.annotations().get(MADE_FOR).filter(|_| is_left)?,
        made_at: anchor
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or_else(Timestamp::now, |time| time.0),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::managed::tests::activation;
    use super::*;

    fn set(change: impl FnOnce(&mut Value)) -> StatefulSet {
        let mut set = json!({
            "metadata": {
                "name": "day-population-db", "generation": 3, "creationTimestamp": "2026-11-28T09:30:00Z",
                "annotations": {
                    "dataembassy.io/activation": "day", "dataembassy.io/registry": "population", "dataembassy.io/made-for": "uid-before",
                },
            },
            "spec": {
                "replicas": 1, "serviceName": "day-population-db", "selector": {},
                "template": {"spec": {"containers": [{"name": "database", "env": [{"name": "DATABASE_SHARED_BUFFERS", "value": "1MB"}]}]}},
            },
            "status": {
                "replicas": 1, "observedGeneration": 3, "readyReplicas": 1, "currentRevision": "a", "updateRevision": "a",
            },
        });
        change(&mut set);
        serde_json::from_value(set).unwrap()
    }

    fn shut(set: &mut Value) {
        set["spec"]["template"]["spec"]["containers"][0]["env"][0]["name"] = "DATABASE_SHUT".into();
    }

    #[test]
    fn only_a_service_with_a_selector_lets_applications_in() {
        let service = |spec: &Value| -> Service {
            serde_json::from_value(json!({"metadata": {"name": "population"}, "spec": spec})).unwrap()
        };
        let open = service(&json!({"selector": {"app": "database"}}));
        assert!(is_open(&open));
        for spec in [json!({"selector": {}}), json!({}), Value::Null] {
            assert!(!is_open(&service(&spec)), "{spec}");
        }
        let closed = service(&json!({}));
        let (takes, shut) = (set(|_| {}), set(shut));
        for (service, anchor, serves, expected) in [
            (Some(&open), None, false, true),
            (Some(&open), Some(&shut), false, true),
            (Some(&closed), Some(&takes), false, false),
            // Somebody has taken the Service away from those who are served.
            (Some(&closed), Some(&takes), true, true),
            (None, Some(&takes), true, true),
            (None, Some(&shut), true, false),
            (None, None, true, false),
        ] {
            assert_eq!(
                is_open_to_all(service, anchor, serves),
                expected,
                "{service:?} {serves}"
            );
        }
    }

    #[test]
    fn a_server_has_begun_when_a_pod_was_asked_for() {
        assert!(has_begun(&set(|_| {})));
        assert!(!has_begun(&set(|set| set["spec"]["replicas"] = 0.into())));
        assert!(!has_begun(&set(|set| set["spec"]["replicas"] = Value::Null)));
    }

    #[test]
    fn a_server_is_ready_and_takes_everybody_when_all_that_was_asked_for_is_so() {
        type Change = fn(&mut Value);
        let cases: [(Change, bool, bool, bool); 8] = [
            (|_| {}, true, true, true),
            (shut, true, true, false),
            (|set| set["status"]["readyReplicas"] = 0.into(), false, true, true),
            (
                |set| set["status"]["readyReplicas"] = Value::Null,
                false,
                true,
                true,
            ),
            (
                |set| set["status"]["observedGeneration"] = 2.into(),
                false,
                false,
                false,
            ),
            (
                |set| set["status"]["observedGeneration"] = 4.into(),
                true,
                true,
                true,
            ),
            (
                |set| set["status"]["updateRevision"] = "b".into(),
                true,
                false,
                false,
            ),
            (|set| set["status"] = Value::Null, false, false, false),
        ];
        for (change, ready, rolled_out, takes) in cases {
            let set = set(change);
            let found = (is_ready(&set), is_rolled_out(&set), takes_everybody(&set));
            assert_eq!(found, (ready, rolled_out, takes), "{:?}", set.status);
        }
    }

    #[test]
    fn an_heir_takes_over_what_one_of_its_name_has_left_for_the_same_registry() {
        let activation = activation("population", &json!({}));
        let managed = Managed::of(&activation, &activation.spec.registries[0]).unwrap();
        let anchor = set(|_| {});
        let found = left(&anchor, &managed).unwrap();
        assert_eq!(found.uid, "uid-before");
        assert_eq!(found.made_at.to_string(), "2026-11-28T09:30:00Z");
        for (annotation, value) in [
            ("dataembassy.io/activation", json!("another")),
            ("dataembassy.io/registry", json!("another")),
            ("dataembassy.io/made-for", Value::Null),
        ] {
            let other = set(|set| {
                let annotations = &mut set["metadata"]["annotations"];
                if value.is_null() {
                    annotations.as_object_mut().unwrap().remove(annotation);
                } else {
                    annotations[annotation] = value;
                }
            });
            assert!(left(&other, &managed).is_none(), "{annotation}");
        }
    }
}

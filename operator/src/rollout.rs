//! When a pod may be replaced: not all at once, and not before those that go first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::Value;

use crate::apply::is_applied;

/// The annotation of a Deployment that holds the digest of its pod template.
pub const TEMPLATE_DIGEST: &str = "dataembassy.io/template-digest";
/// How many pods are replaced at a time.
pub const AT_A_TIME: usize = 3;
/// How long a replaced pod keeps others waiting if it never answers.
pub const LONGEST: Duration = Duration::from_mins(2);

/// The pods that are being replaced.
#[derive(Debug, Default)]
pub struct Rollouts(Mutex<HashMap<String, Instant>>);

impl Rollouts {
    /// Whether the pod of `object` may be replaced now; if so it counts as being replaced.
    pub fn begin(&self, object: &str) -> bool {
        let mut going = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        going.retain(|_, since| since.elapsed() < LONGEST);
        if going.len() >= AT_A_TIME && !going.contains_key(object) {
            return false;
        }
        going.insert(object.to_owned(), Instant::now());
        true
    }

    /// The new pod of `object` answers.
    pub fn end(&self, object: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(object);
    }
}

/// Whether applying `desired` would replace a pod that exists.
#[must_use]
pub fn replaces_pod(live: Option<&Deployment>, desired: &Value) -> bool {
    let Some(live) = live else { return false };
    let runs = live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1) > 0;
    let stays = desired["spec"]["replicas"].as_i64().unwrap_or(1) > 0;
    let digest = live.annotations().get(TEMPLATE_DIGEST).map(String::as_str);
    let same = digest == desired["metadata"]["annotations"][TEMPLATE_DIGEST].as_str()
        && serde_json::to_value(live)
            .is_ok_and(|live| is_applied(&live["spec"]["template"], &desired["spec"]["template"]));
    runs && stays && !same
}

/// Whether the pod that runs is of the newest template.
#[must_use]
pub fn is_rolled_out(live: &Deployment) -> bool {
    let wanted = live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    live.status.as_ref().is_some_and(|status| {
        status.observed_generation >= live.metadata.generation
            && status.updated_replicas.unwrap_or(0) == wanted
            && status.replicas.unwrap_or(0) == wanted
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_few_pods_are_replaced_at_a_time() {
        let rollouts = Rollouts::default();
        for object in ["a", "b", "c"] {
            assert!(rollouts.begin(object));
        }
        assert!(!rollouts.begin("d"));
        assert!(rollouts.begin("a"), "one that was begun goes on");
        rollouts.end("b");
        assert!(rollouts.begin("d"));
    }

    /// A Deployment of so many pods, whose template has this digest and this image.
    fn deployment(replicas: i32, digest: &str, image: &str) -> Value {
        json!({
            "metadata": {"name": "population-mirror", "generation": 4, "annotations": {TEMPLATE_DIGEST: digest}},
            "spec": {
                "replicas": replicas, "selector": {},
                "template": {"spec": {"containers": [{"name": "mirror", "image": image}]}},
            },
        })
    }

    #[test]
    fn a_pod_is_replaced_where_one_runs_that_is_another_than_is_meant() {
        let meant = deployment(1, "d", "new");
        for (live, desired, replaces) in [
            (deployment(1, "d", "new"), &meant, false),
            (deployment(1, "e", "new"), &meant, true),
            // Somebody changed it by hand, and left its digest.
            (deployment(1, "d", "old"), &meant, true),
            (deployment(0, "e", "new"), &meant, false),
            (deployment(1, "e", "new"), &deployment(0, "d", "new"), false),
        ] {
            let read: Deployment = serde_json::from_value(live.clone()).unwrap();
            assert_eq!(replaces_pod(Some(&read), desired), replaces, "{live} {desired}");
        }
        assert!(!replaces_pod(None, &meant));
    }

    #[test]
    fn it_is_rolled_out_when_all_pods_are_of_the_newest_template_and_no_other_is_left() {
        for (observed, updated, all, is_done) in [
            (4, 2, 2, true),
            (5, 2, 2, true),
            (3, 2, 2, false),
            (4, 1, 2, false),
            (4, 2, 3, false),
        ] {
            let mut live = deployment(2, "d", "new");
            live["status"] =
                json!({"observedGeneration": observed, "updatedReplicas": updated, "replicas": all});
            let live: Deployment = serde_json::from_value(live).unwrap();
            assert_eq!(is_rolled_out(&live), is_done, "{observed} {updated} {all}");
        }
        let unseen: Deployment = serde_json::from_value(deployment(0, "d", "new")).unwrap();
        assert!(!is_rolled_out(&unseen));
    }
}

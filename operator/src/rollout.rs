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
}

//! When a pod may be replaced: not while it makes a copy, and not all at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dataembassy_crds::RegistryMirror;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::Value;

use crate::apply::is_applied;
use crate::mirror::dereference::Found;
use crate::mirror::validate::Checked;

/// The annotation of a Deployment that holds the digest of its pod template.
pub const TEMPLATE_DIGEST: &str = "dataembassy.io/template-digest";
/// How many pods are replaced at a time.
pub const AT_A_TIME: usize = 3;
/// How long a replaced pod keeps others waiting if it never answers.
pub const LONGEST: Duration = Duration::from_mins(2);

/// Why a new pod has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The old one makes a copy.
    RunInProgress,
    /// Others are being replaced.
    OthersFirst,
}

/// The pods that are being replaced.
#[derive(Debug, Default)]
pub struct Rollouts(Mutex<HashMap<String, Instant>>);

impl Rollouts {
    /// Whether the pod of `mirror` may be replaced now; if so it counts as being replaced.
    pub fn begin(&self, mirror: &str) -> bool {
        let mut going = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        going.retain(|_, since| since.elapsed() < LONGEST);
        if going.len() >= AT_A_TIME && !going.contains_key(mirror) {
            return false;
        }
        going.insert(mirror.to_owned(), Instant::now());
        true
    }

    /// The new pod of `mirror` answers.
    pub fn end(&self, mirror: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(mirror);
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

/// Whether the sidecar makes a copy that is worth waiting for. A run past its deadline is not, whatever the report says its deadline
/// is; where the sidecar is silent, the status remembers.
#[must_use]
pub fn is_running(mirror: &RegistryMirror, checked: &Checked, found: &Found, now: Timestamp) -> bool {
    let started = match &found.report {
        Some(Ok(report)) => report.run.as_ref().map(|run| run.started_at),
        Some(Err(_)) => mirror
            .status
            .as_ref()
            .and_then(|status| status.run.as_ref())
            .and_then(|run| run.started_at.parse().ok()),
        None => None,
    };
    let Ok(deadline) = SignedDuration::try_from(checked.config.schedule.deadline.as_std()) else {
        return false;
    };
    started.is_some_and(|started| now.duration_since(started) < deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_few_pods_are_replaced_at_a_time() {
        let rollouts = Rollouts::default();
        for mirror in ["a", "b", "c"] {
            assert!(rollouts.begin(mirror));
        }
        assert!(!rollouts.begin("d"));
        assert!(rollouts.begin("a"), "one that was begun goes on");
        rollouts.end("b");
        assert!(rollouts.begin("d"));
    }
}

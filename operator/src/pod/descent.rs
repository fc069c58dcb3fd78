//! Which pods are a Deployment's: labels can be copied, owner references to a UID cannot be guessed.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::reflector::Store;

use crate::apply::is_owned;

/// The pods that descend from the Deployment by UIDs and are not being deleted, newest first.
#[must_use]
pub fn pods_of(
    deployment: &Deployment,
    replica_sets: &Store<ReplicaSet>,
    pods: &Store<Pod>,
) -> Vec<Arc<Pod>> {
    let Some(owner) = deployment.uid() else {
        return Vec::new();
    };
    let namespace = deployment.namespace();
    let sets = replica_sets.state_filter(|set| set.namespace() == namespace && is_owned(set, &owner));
    let sets: Vec<String> = sets.iter().filter_map(|set| set.uid()).collect();
    let mut found = pods.state_filter(|pod| {
        pod.namespace() == namespace
            && pod.metadata.deletion_timestamp.is_none()
            && sets.iter().any(|set| is_owned(pod, set))
    });
    found.sort_by_cached_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        std::cmp::Reverse((created, pod.uid()))
    });
    found
}

/// The newest of [`pods_of`] a Deployment that may not be there.
#[must_use]
pub fn newest(
    deployment: Option<&Deployment>,
    replica_sets: &Store<ReplicaSet>,
    pods: &Store<Pod>,
) -> Option<Arc<Pod>> {
    pods_of(deployment?, replica_sets, pods).into_iter().next()
}

//! What Kubernetes does by itself: Deployments, `StatefulSet`s and Jobs get their pods, pods run and end, and what belongs to something that is
//! gone is collected. Each step may come at once or later.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::cluster::{Place, seconds};
use super::world::World;

/// How a Job's container ends.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) code: i32,
    /// The kubelet's word, such as `Completed` or `OOMKilled`.
    pub(crate) reason: &'static str,
    /// The last words.
    pub(crate) message: String,
}

/// Lets Kubernetes work: everything that can happen does, or in a hurry only what chance picks.
pub(crate) fn work(world: &mut World, is_hurried: bool) {
    collect(world, is_hurried);
    deployments(world, is_hurried);
    stateful_sets(world, is_hurried);
    jobs(world, is_hurried);
    run(world, is_hurried);
}

fn is_picked(world: &mut World, is_hurried: bool) -> bool {
    !is_hurried || world.random.one_in(2)
}

fn all(world: &World, kind: &str) -> Vec<(Place, Arc<Value>)> {
    let found = world.cluster.of_kind(kind);
    found
        .map(|(place, object)| (place.clone(), object.clone()))
        .collect()
}

fn owned_by(object: &Value) -> Value {
    json!([{
        "apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"], "controller": true,
    }])
}

fn is_owned_by(object: &Value, owner: &Value) -> bool {
    object["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
}

/// The garbage collector.
fn collect(world: &mut World, is_hurried: bool) {
    for kind in [
        "RegistryRestore",
        "RecoveryPoint",
        "Deployment",
        "ReplicaSet",
        "Job",
        "Pod",
        "ConfigMap",
        "ServiceAccount",
        "NetworkPolicy",
        "Service",
        "Secret",
        "PersistentVolumeClaim",
    ] {
        for (place, object) in all(world, kind) {
            if world.cluster.is_orphan(&object) && is_picked(world, is_hurried) {
                world.cluster.delete(&place, None).unwrap();
            }
        }
    }
}

/// A pod of a template, under a name.
fn pod(owner: &Value, template: &Value) -> Value {
    let mut metadata = template["metadata"].clone();
    metadata["ownerReferences"] = owned_by(owner);
    json!({"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}})
}

fn deployments(world: &mut World, is_hurried: bool) {
    for (place, deployment) in all(world, "Deployment") {
        let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
        let digest = &deployment["metadata"]["annotations"]["dataembassy.io/template-digest"];
        let sets: Vec<_> = all(world, "ReplicaSet")
            .into_iter()
            .filter(|(_, set)| is_owned_by(set, &deployment))
            .collect();
        let current = sets
            .iter()
            .find(|(_, set)| set["metadata"]["annotations"]["digest"] == *digest);
        let Some((_, current)) = current else {
            if is_picked(world, is_hurried) {
                let name = format!("{}-{}", place.name, world.cluster.changes.len());
                let set = json!({
                    "metadata": {
                        "labels": deployment["spec"]["template"]["metadata"]["labels"], "annotations": {"digest": digest},
                        "ownerReferences": owned_by(&deployment),
                    },
                    "spec": {"replicas": wanted, "template": deployment["spec"]["template"], "selector": {}},
                });
                world
                    .cluster
                    .create(&Place::new("ReplicaSet", &place.namespace, &name), set)
                    .unwrap();
            }
            continue;
        };
        let current = current.clone();
        // Recreate: pods of former templates go first.
        let mut there = 0;
        let mut former = 0;
        for (pod_place, pod) in all(world, "Pod") {
            if is_owned_by(&pod, &current) && there < wanted {
                there += 1;
            } else if is_owned_by(&pod, &current) || sets.iter().any(|(_, set)| is_owned_by(&pod, set)) {
                former += 1;
                if is_picked(world, is_hurried) {
                    world.cluster.delete(&pod_place, None).unwrap();
                    former -= 1;
                }
            }
        }
        if former == 0 && there < wanted && is_picked(world, is_hurried) {
            let name = format!(
                "{}-{}",
                current["metadata"]["name"].as_str().unwrap(),
                world.cluster.changes.len()
            );
            let pod = pod(&current, &deployment["spec"]["template"]);
            world
                .cluster
                .create(&Place::new("Pod", &place.namespace, &name), pod)
                .unwrap();
            there += 1;
        }
        if is_picked(world, is_hurried) {
            let status = json!({
                "observedGeneration": deployment["metadata"]["generation"], "replicas": there + former, "updatedReplicas": there,
                "readyReplicas": there,
            });
            world
                .cluster
                .edit(&place, |deployment| deployment["status"] = status);
        }
    }
}

fn stateful_sets(world: &mut World, is_hurried: bool) {
    for (place, set) in all(world, "StatefulSet") {
        let wanted = set["spec"]["replicas"].as_u64().unwrap_or(1);
        let name = Place::new("Pod", &place.namespace, &format!("{}-0", place.name));
        let revision = set["spec"]["template"].to_string();
        let claim = Place::new(
            "PersistentVolumeClaim",
            &place.namespace,
            &format!("data-{}-0", place.name),
        );
        let running = world.cluster.get(&name).cloned();
        match running {
            None if wanted > 0 && is_picked(world, is_hurried) => {
                if world.cluster.get(&claim).is_none() {
                    let mut metadata = set["spec"]["volumeClaimTemplates"][0]["metadata"].clone();
                    metadata["labels"] = set["metadata"]["labels"].clone();
                    world
                        .cluster
                        .create(&claim, json!({"metadata": metadata, "spec": {}}))
                        .unwrap();
                }
                let mut pod = pod(&set, &set["spec"]["template"]);
                pod["metadata"]["annotations"]["revision"] = revision.clone().into();
                world.cluster.create(&name, pod).unwrap();
            }
            Some(pod)
                if pod["metadata"]["annotations"]["revision"] != revision && is_picked(world, is_hurried) =>
            {
                world.cluster.delete(&name, None).unwrap();
            }
            _ => {}
        }
        if is_picked(world, is_hurried) {
            let pod = world.cluster.get(&name).cloned();
            let is_current = pod
                .as_ref()
                .is_some_and(|pod| pod["metadata"]["annotations"]["revision"] == revision);
            let ready = u64::from(pod.is_some_and(|pod| pod["status"]["phase"] == "Running"));
            let status = json!({
                "observedGeneration": set["metadata"]["generation"], "replicas": wanted, "readyReplicas": ready,
                "updateRevision": "new", "currentRevision": if is_current { "new" } else { "old" },
            });
            world.cluster.edit(&place, |set| set["status"] = status);
        }
    }
}

fn jobs(world: &mut World, is_hurried: bool) {
    for (place, job) in all(world, "Job") {
        let is_over = job["status"]["conditions"].is_array();
        if is_over || !is_picked(world, is_hurried) {
            continue;
        }
        let pods = all(world, "Pod");
        let pod_of_job = pods.into_iter().find(|(_, pod)| is_owned_by(pod, &job));
        let has_begun = job["status"]["startTime"].is_string();
        match pod_of_job {
            None if !has_begun => {
                let mut pod = pod(&job, &job["spec"]["template"]);
                pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] = place.name.clone().into();
                let name = Place::new(
                    "Pod",
                    &place.namespace,
                    &format!("{}-{}", place.name, world.cluster.changes.len()),
                );
                world.cluster.create(&name, pod).unwrap();
                let at = seconds(world.cluster.now);
                world
                    .cluster
                    .edit(&place, |job| job["status"]["startTime"] = at.into());
            }
            None => conclude(world, &place, "Failed", "BackoffLimitExceeded"),
            Some((_, pod)) => match pod["status"]["phase"].as_str() {
                Some("Succeeded") => conclude(world, &place, "Complete", "CompletionsReached"),
                Some("Failed") => conclude(world, &place, "Failed", "BackoffLimitExceeded"),
                _ => {}
            },
        }
    }
}

fn conclude(world: &mut World, place: &Place, type_: &str, reason: &str) {
    let condition = json!([{"type": type_, "status": "True", "reason": reason}]);
    world
        .cluster
        .edit(place, |job| job["status"]["conditions"] = condition);
}

/// Pods get an address and run.
fn run(world: &mut World, is_hurried: bool) {
    for (place, pod) in all(world, "Pod") {
        if pod["status"]["phase"] == "Pending" && is_picked(world, is_hurried) {
            let number = u32::try_from(world.cluster.changes.len()).unwrap();
            let [_, high, middle, low] = number.to_be_bytes();
            let address = format!("10.{high}.{middle}.{low}");
            let container = pod["spec"]["containers"][0]["name"].clone();
            world.cluster.edit(&place, |pod| {
                pod["status"] = json!({"phase": "Running", "podIP": address, "containerStatuses": [{
                    "name": container, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}},
                }]});
            });
        }
    }
}

/// The pods that run, with their addresses.
pub(crate) fn running(world: &World) -> Vec<(Place, Arc<Value>, IpAddr)> {
    let pods = all(world, "Pod").into_iter();
    pods.filter(|(_, pod)| pod["status"]["phase"] == "Running")
        .filter_map(|(place, pod)| {
            let address = pod["status"]["podIP"].as_str()?.parse().ok()?;
            Some((place, pod, address))
        })
        .collect()
}

/// The Job of a pod and the resource that it is for, by UID, where it is one's.
pub(crate) fn job_of(world: &World, pod: &Value) -> Option<(Arc<Value>, String)> {
    let owner = &pod["metadata"]["ownerReferences"][0];
    let namespace = pod["metadata"]["namespace"].as_str()?;
    let place = Place::new(
        "Job",
        namespace,
        owner["name"].as_str().filter(|_| owner["kind"] == "Job")?,
    );
    let job = world
        .cluster
        .get(&place)
        .filter(|job| job["metadata"]["uid"] == owner["uid"])?;
    let resource = job["metadata"]["ownerReferences"][0]["uid"].as_str()?.to_owned();
    Some((job.clone(), resource))
}

/// A container ends, and its pod with it.
pub(crate) fn end(world: &mut World, place: &Place, end: &End) {
    let phase = if end.code == 0 { "Succeeded" } else { "Failed" };
    world.cluster.edit(place, |pod| {
        pod["status"]["phase"] = phase.into();
        pod["status"]["containerStatuses"][0]["state"] =
            json!({"terminated": {"exitCode": end.code, "reason": end.reason, "message": end.message}});
    });
}

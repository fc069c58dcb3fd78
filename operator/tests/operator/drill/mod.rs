//! A drill's reconcile against an API server that records every request: one run for each slot and trigger, one step at a time, and nothing
//! that is left behind.

mod begin;
mod course;
mod killed;
mod order;

use std::net::Ipv4Addr;
use std::sync::Arc;

use dataembassy_contract::files::STATUS_PATH;
use dataembassy_crds::RegistryDrill;
use dataembassy_operator::drill::reconcile;
use dataembassy_operator::run::Context;
use serde_json::{Value, json};

use crate::world::embassy::{custody, embassy_settings};
use crate::world::process::Processes;
use crate::world::refusals::events;
use crate::world::{Asked, World, client, drill, embassy, lines, read, written};

const LIVE: &str = "/apis/dataembassy.io/v1alpha1/namespaces/drills/registrydrills/nightly";
const STATUS: &str = "PATCH /apis/dataembassy.io/v1alpha1/namespaces/drills/registrydrills/nightly/status";
const JOBS: &str = "/apis/batch/v1/namespaces/drills/jobs";
const PODS: &str = "/api/v1/namespaces/drills/pods";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/drills/events";
/// The order of the runs below.
const ORDER: &str = "nightly-20261128t030000z";

/// What the API server has of a run's Job and pod, and of the drill itself where that is not what the watch shows.
#[derive(Clone, Default)]
struct Cluster {
    job: Option<Value>,
    pod: Option<Value>,
    live: Option<Value>,
    /// What is said in events of the first attempt's Job.
    said: Option<&'static str>,
}

impl Cluster {
    /// A context in this cluster, and the log of what is asked in it.
    fn context(&self, world: &World, resource: &Value) -> (Arc<Context>, crate::world::Log) {
        let cluster = self.clone();
        let live = cluster.live.clone().unwrap_or_else(|| resource.clone());
        let (client, log) = client(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", LIVE) => Some((200, live.clone())),
            ("GET", PODS) => {
                let pods: Vec<Value> = cluster.pod.clone().into_iter().collect();
                Some((
                    200,
                    json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods}),
                ))
            }
            ("GET", EVENTS) => {
                let said = cluster.said?;
                Some((200, events("uid-job-1", &format!("Error creating: {said}"))))
            }
            ("GET", path) => {
                let job = cluster
                    .job
                    .clone()
                    .filter(|job| path == format!("{JOBS}/{}", job["metadata"]["name"].as_str().unwrap()));
                job.map(|job| (200, job))
            }
            _ => None,
        });
        (world.context(client), log)
    }
}

/// The embassy, where the registry was accepted and drills of this namespace count.
fn abroad(resource: &Value) -> World {
    World {
        settings: Some(embassy_settings()),
        ..World::of(&[embassy(), counted("drills"), resource.clone()])
    }
}

/// The registry in custody, whose drills count from a namespace.
fn counted(namespace: &str) -> Value {
    let mut custody = custody("population");
    custody["spec"]["drills"] = json!({"namespace": namespace, "every": "7d"});
    custody
}

async fn run(world: &World, cluster: &Cluster, resource: &Value) -> Vec<Asked> {
    let (context, log) = cluster.context(world, resource);
    run_in(&context, resource).await;
    log.take()
}

async fn run_in(context: &Arc<Context>, resource: &Value) {
    reconcile(Arc::new(read::<RegistryDrill>(resource)), context.clone())
        .await
        .unwrap();
}

/// The resource with the status that was written.
fn after(resource: &Value, asked: &[Asked]) -> Value {
    let mut resource = resource.clone();
    resource["status"] = written(asked, "/status")["status"].clone();
    resource
}

/// A drill of which a run has begun that has no Job yet.
fn begun() -> Value {
    let mut resource = drill("nightly");
    resource["status"] = json!({"observedGeneration": 1, "current": {
        "order": ORDER, "startedAt": jiff::Timestamp::now(), "trigger": "now", "attempt": 1, "words": "beginning",
    }});
    resource
}

/// The Job of a run's attempt, as the API server has it.
fn job(attempt: u32) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": format!("{ORDER}-{attempt}"), "namespace": "drills", "uid": format!("uid-job-{attempt}"),
            "ownerReferences": [{"apiVersion": "dataembassy.io/v1alpha1", "kind": "RegistryDrill", "name": "nightly", "uid": "uid-nightly", "controller": true}]
        },
        "spec": {"template": {"spec": {"containers": []}}}
    })
}

/// A drill that is at work, and its cluster; what is there is settled, so that a look writes nothing.
async fn at_work() -> (Value, Cluster) {
    let cluster = Cluster {
        job: Some(job(1)),
        ..Cluster::default()
    };
    let resource = begun();
    let resource = after(&resource, &run(&abroad(&resource), &cluster, &resource).await);
    (resource, cluster)
}

/// The Job's pod, with its container in this state.
fn pod(state: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "drill-x", "namespace": "drills", "uid": "uid-pod",
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": format!("{ORDER}-1"), "uid": "uid-job-1", "controller": true}]},
        "status": {"phase": "Failed", "containerStatuses": [{
            "name": "drill", "image": "sidecar", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }]}
    })
}

/// A pod that runs, and says this at the port that is returned.
async fn saying(report: &Value) -> (Value, Processes, u16) {
    let processes = Processes::default();
    processes.say(Ipv4Addr::LOCALHOST, STATUS_PATH, report.clone());
    let port = processes.listen(&[Ipv4Addr::LOCALHOST]).await;
    let mut running = pod(&json!({"running": {}}));
    running["status"]["phase"] = "Running".into();
    running["status"]["podIP"] = "127.0.0.1".into();
    (running, processes, port)
}

/// A world in which pods are asked at a port.
fn asking(port: u16, resource: &Value) -> World {
    let mut world = abroad(resource);
    world.settings.as_mut().unwrap().status_port = port;
    world
}

/// What a run has found.
fn result(verdict: &str, reason: &str) -> Value {
    json!({
        "order": ORDER, "drill": "drills/nightly", "registry": "population", "verdict": verdict, "reason": reason,
        "message": "what it found", "pick": "Latest",
        "copy": {"sequence": 12, "digest": "ab".repeat(32), "copyId": "07".repeat(16), "takenAt": "2026-11-28T02:00:00Z",
            "sealedBytes": 4096, "sourceVersion": "17.11"},
        "startedAt": jiff::Timestamp::now(), "endedAt": jiff::Timestamp::now(), "recoverySeconds": 47.5, "rtoSeconds": 7200,
        "assertions": [{"name": "persons-are-there", "kind": "Sql", "passed": verdict == "Passed"}],
    })
}

/// A drill whose run has a result that is kept, and whose Job is there still.
async fn recording(verdict: &str, reason: &str) -> (Value, Cluster) {
    let (mut resource, cluster) = at_work().await;
    resource["status"]["current"]["result"] = result(verdict, reason).to_string().into();
    (resource, cluster)
}

/// `METHOD path` of what was written.
fn writes(asked: &[Asked]) -> Vec<String> {
    let lines = lines(asked).into_iter();
    lines.filter(|line| !line.starts_with("GET")).collect()
}

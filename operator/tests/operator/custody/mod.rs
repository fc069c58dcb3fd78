//! The reconcile of a registry in custody against an API server that records every request: what is missing fails a test, and so does
//! what is too much.

mod health;
mod home;
mod points;
mod refusals;

use std::sync::Arc;

use dataembassy_crds::RegistryCustody;
use dataembassy_operator::custody::reconcile;
use dataembassy_operator::run::Context;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::world::embassy::{GATES, Running, custody, gate_report, standing};
use crate::world::{Asked, World, client, read, written};

const STATUS: &str = "PATCH /apis/dataembassy.io/v1alpha1/registrycustodies/population/status";
const POINTS: &str = "/apis/dataembassy.io/v1alpha1/recoverypoints";

async fn run(world: &World, resource: &Value) -> Vec<Asked> {
    let (client, log) = client(|_| None);
    run_in(&world.context(client), resource).await;
    log.take()
}

async fn run_in(context: &Arc<Context>, resource: &Value) {
    reconcile(Arc::new(read::<RegistryCustody>(resource)), context.clone())
        .await
        .unwrap();
}

/// The status that a reconcile writes, in a context that sees the gates anew.
async fn status_of(world: &World, resource: &Value) -> Value {
    let asked = run(world, resource).await;
    json!({"status": written(&asked, "/registrycustodies/population/status")["status"]})
}

/// The Deployments that the pods descend from.
fn deployments() -> Vec<Value> {
    ["custodian", "gate"]
        .into_iter()
        .map(|part| {
            let name = format!("luxembourg-{part}");
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": name, "namespace": "dataembassy", "uid": format!("uid-{name}")},
                "spec": {"selector": {}, "template": {}}
            })
        })
        .collect()
}

/// A world in which custodian and gates run, and the custodian says this of population.
async fn world(resource: &Value, report: Value) -> (World, Running) {
    let running = Running::well(&[("population", report)]).await;
    let mut objects = vec![standing(), resource.clone()];
    objects.extend(deployments());
    let mut world = World::of(&objects);
    running.join(&mut world);
    (world, running)
}

/// A registry whose home was heard just now at one of the gates.
fn heard(running: &Running, at: Timestamp) {
    let mut report = gate_report();
    report["lanes"] = json!([{"registry": "population", "heardAt": at}]);
    running.processes.say(GATES[1], "/status", report);
}

fn ago(minutes: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(minutes)
}

/// The world after a reconcile, as the watches would show it.
fn settle(world: &mut World, resource: &mut Value, asked: &[Asked]) {
    resource["status"] = written(asked, "/registrycustodies/population/status")["status"].clone();
    settle_points(world, asked);
}

/// The recovery points after a reconcile.
fn settle_points(world: &mut World, asked: &[Asked]) {
    for asked in asked.iter().filter(|asked| asked.path.starts_with(POINTS)) {
        if let Some(of) = asked.path.strip_suffix("/status") {
            let name = of.rsplit('/').next().unwrap();
            for object in &mut world.objects {
                if object["metadata"]["name"] == name {
                    object["status"] = asked.body["status"].clone();
                }
            }
        } else if asked.method == "PATCH" {
            world.objects.push(asked.body.clone());
        }
    }
}

async fn settled(report: Value) -> (World, Value, Running) {
    let mut resource = custody("population");
    let (mut world, running) = world(&resource, report).await;
    heard(&running, Timestamp::now());
    let asked = run(&world, &resource).await;
    settle(&mut world, &mut resource, &asked);
    (world, resource, running)
}

fn name(sequence: u64) -> String {
    format!("population-{sequence:012}")
}

//! An embassy's reconcile, at the embassy, against an API server that records every request: what is missing fails a test, and so does
//! what is too much.

mod configuration;
mod health;
mod objects;
mod pods;

use std::sync::Arc;

use dataembassy_contract::custodian::CustodianConfig;
use dataembassy_contract::gate::GateConfig;
use dataembassy_crds::DataEmbassy;
use dataembassy_operator::embassy::reconcile;
use dataembassy_operator::run::Context;
use serde_json::{Value, json};

use crate::world::embassy::{Running, embassy_settings};
use crate::world::{Asked, World, client, lines, read, written};

const OBJECTS: [&str; 9] = [
    "/api/v1/namespaces/dataembassy/serviceaccounts/luxembourg-custodian",
    "/api/v1/namespaces/dataembassy/configmaps/luxembourg-custodian",
    "/apis/networking.k8s.io/v1/namespaces/dataembassy/networkpolicies/luxembourg-custodian",
    "/api/v1/namespaces/dataembassy/serviceaccounts/luxembourg-gate",
    "/api/v1/namespaces/dataembassy/configmaps/luxembourg-gate",
    "/apis/networking.k8s.io/v1/namespaces/dataembassy/networkpolicies/luxembourg-gate",
    "/api/v1/namespaces/dataembassy/services/luxembourg-gate",
    "/apis/apps/v1/namespaces/dataembassy/deployments/luxembourg-custodian",
    "/apis/apps/v1/namespaces/dataembassy/deployments/luxembourg-gate",
];
const CUSTODIAN_CONFIG: &str = OBJECTS[1];
const GATE_CONFIG: &str = OBJECTS[4];
const CUSTODIAN_POLICY: &str = OBJECTS[2];
const GATE_POLICY: &str = OBJECTS[5];
const SERVICE: &str = OBJECTS[6];
const CUSTODIAN_DEPLOYMENT: &str = OBJECTS[7];
const GATE_DEPLOYMENT: &str = OBJECTS[8];
const STATUS: &str = "PATCH /apis/dataembassy.io/v1alpha1/dataembassies/luxembourg/status";

async fn run(world: &World, resource: &Value) -> Vec<Asked> {
    let (client, log) = client(|_| None);
    run_in(&world.context(client), resource).await;
    log.take()
}

async fn run_in(context: &Arc<Context>, resource: &Value) {
    reconcile(Arc::new(read::<DataEmbassy>(resource)), context.clone())
        .await
        .unwrap();
}

/// The embassy's world with these registries and nothing running.
fn world(embassy: &Value, custodies: &[Value]) -> World {
    let mut objects = vec![embassy.clone()];
    objects.extend_from_slice(custodies);
    World {
        settings: Some(embassy_settings()),
        ..World::of(&objects)
    }
}

/// Puts what was written into the world, as the watches would show it, and the status into the resource.
fn settle(world: &mut World, resource: &mut Value, asked: &[Asked]) {
    for path in OBJECTS {
        let Some(change) = asked
            .iter()
            .find(|asked| asked.method == "PATCH" && asked.path == path)
        else {
            continue;
        };
        let mut object = change.body.clone();
        let same = |known: &Value| {
            known["kind"] == object["kind"] && known["metadata"]["name"] == object["metadata"]["name"]
        };
        world.objects.retain(|known| !same(known));
        if object["kind"] == "Deployment" {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            object["metadata"]["uid"] = format!("uid-{name}").into();
            object["metadata"]["generation"] = 1.into();
            let replicas = object["spec"]["replicas"].clone();
            object["status"] =
                json!({"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas});
        }
        world.objects.push(object);
    }
    if lines(asked).contains(&STATUS.to_owned()) {
        resource["status"] = written(asked, "/status")["status"].clone();
        world
            .objects
            .retain(|known| known["metadata"]["uid"] != resource["metadata"]["uid"]);
        world.objects.push(resource.clone());
    }
}

/// The world in which everything runs as it should, and nothing is left to write.
async fn settled(embassy: &Value, custodies: &[Value]) -> (World, Value, Running) {
    let mut world = world(embassy, custodies);
    let mut resource = embassy.clone();
    let asked = run(&world, &resource).await;
    settle(&mut world, &mut resource, &asked);
    let running = Running::well(&[]).await;
    running.join(&mut world);
    // Once the reports come in, the pods are called for their configuration, and the status is written.
    for _ in 0..2 {
        let asked = run(&world, &resource).await;
        for asked in asked.iter().filter(|asked| asked.path.contains("/pods/")) {
            for object in &mut world.objects {
                if object["kind"] == "Pod"
                    && asked
                        .path
                        .ends_with(&format!("/{}", object["metadata"]["name"].as_str().unwrap()))
                {
                    object["metadata"]["annotations"] = asked.body["metadata"]["annotations"].clone();
                }
            }
        }
        settle(&mut world, &mut resource, &asked);
    }
    (world, resource, running)
}

fn custodian_config(asked: &[Asked]) -> CustodianConfig {
    let text = written(asked, CUSTODIAN_CONFIG)["data"]["config.json"]
        .as_str()
        .unwrap();
    CustodianConfig::from_json(text.as_bytes()).unwrap()
}

fn gate_config(asked: &[Asked]) -> GateConfig {
    let text = written(asked, GATE_CONFIG)["data"]["config.json"]
        .as_str()
        .unwrap();
    GateConfig::from_json(text.as_bytes()).unwrap()
}

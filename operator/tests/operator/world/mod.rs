//! A small world: what the watches know, an API server that records what is asked of it and answers as it is told, and processes that
//! answer for their state.

pub(crate) mod embassy;
pub(crate) mod process;
pub(crate) mod refusals;

use std::sync::{Arc, Mutex};

use dataembassy_crds::{DataEmbassy, RegistryMirror};
use dataembassy_operator::metrics::Metrics;
use dataembassy_operator::run::{Context, Stores};
use dataembassy_operator::settings::{Settings, Side};
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::runtime::reflector::{Store, store};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use crate::resources;

/// One request, as the API server saw it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// Everything that was asked, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    /// What was asked since the last look, and forgets it.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// `METHOD path` of each request, without events: those are tested on their own.
pub(crate) fn lines(asked: &[Asked]) -> Vec<String> {
    asked
        .iter()
        .filter(|asked| !asked.path.contains("/events"))
        .map(|asked| format!("{} {}", asked.method, asked.path))
        .collect()
}

/// A client whose API server stores nothing: reads find what `found` says, or nothing; writes are answered with what was written.
pub(crate) fn client(
    found: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static,
) -> (Client, Log) {
    let log = Log::default();
    let seen = log.clone();
    let found = Arc::new(found);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (seen, found) = (seen.clone(), found.clone());
        async move {
            let method = request.method().to_string();
            let path = request.uri().path().to_owned();
            let bytes = request.into_body().collect().await?.to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let asked = Asked { method, path, body };
            let (status, answer) = found(&asked).unwrap_or_else(|| {
                if asked.method == "GET" {
                    (404, not_found())
                } else {
                    (200, with_name(&asked))
                }
            });
            seen.0.lock().unwrap().push(asked);
            let response = Response::builder()
                .status(status)
                .body(Body::from(answer.to_string().into_bytes()))
                .unwrap();
            Ok::<_, kube::Error>(response)
        }
    });
    (Client::new(service, "default"), log)
}

fn not_found() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404})
}

/// What a write is answered with: an object that can be read as the kind it is of.
fn with_name(asked: &Asked) -> Value {
    if asked.method == "DELETE" {
        return json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
    }
    let mut object = asked.body.clone();
    if asked.path.ends_with("/status") {
        object["spec"] = match asked.body["kind"].as_str() {
            Some("DataEmbassy") => embassy()["spec"].clone(),
            Some("RegistryCustody") => embassy::custody("population")["spec"].clone(),
            Some("RecoveryPoint") => embassy::point_spec(1),
            Some("RegistryRestore") => restore("back")["spec"].clone(),
            Some("RegistryDrill") => drill("nightly")["spec"].clone(),
            _ => mirror("population")["spec"].clone(),
        };
    }
    if object["metadata"]["name"].is_null() {
        object["metadata"]["name"] = "population".into();
    }
    object
}

pub(crate) fn settings() -> Settings {
    resources::settings(Side::Home)
}

pub(crate) fn mirror(name: &str) -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "RegistryMirror",
        "metadata": {
            "name": name, "namespace": "interior", "uid": format!("uid-{name}"), "generation": 3,
            "creationTimestamp": "2026-11-23T09:00:00Z"
        },
        "spec": resources::mirror_spec()
    })
}

pub(crate) fn restore(name: &str) -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "RegistryRestore",
        "metadata": {"name": name, "namespace": "interior", "uid": format!("uid-{name}"), "generation": 1},
        "spec": resources::restore_spec()
    })
}

pub(crate) fn drill(name: &str) -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "RegistryDrill",
        "metadata": {
            "name": name, "namespace": "drills", "uid": format!("uid-{name}"), "generation": 1,
            "creationTimestamp": jiff::Timestamp::now()
        },
        "spec": resources::drill_spec()
    })
}

pub(crate) fn embassy() -> Value {
    json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "DataEmbassy",
        "metadata": {"name": "luxembourg", "uid": "uid-luxembourg", "generation": 1},
        "spec": resources::embassy_spec()
    })
}

/// What was written to a path, last.
#[track_caller]
pub(crate) fn written<'a>(asked: &'a [Asked], path: &str) -> &'a Value {
    &asked
        .iter()
        .rev()
        .find(|asked| asked.method == "PATCH" && asked.path.ends_with(path))
        .unwrap_or_else(|| panic!("nothing was written to {path}: {:?}", lines(asked)))
        .body
}

/// A condition of a status that was written.
pub(crate) fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    status["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|condition| condition["type"] == type_)
        .unwrap_or(&Value::Null)
}

/// Status, reason and message of a condition.
pub(crate) fn said(status: &Value, type_: &str) -> (String, String, String) {
    let condition = condition(status, type_);
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

pub(crate) fn read<K: serde::de::DeserializeOwned>(value: &Value) -> K {
    serde_json::from_value(value.clone()).unwrap()
}

/// What the watches know, by kind.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) objects: Vec<Value>,
    pub(crate) settings: Option<Settings>,
}

impl World {
    pub(crate) fn of(objects: &[Value]) -> Self {
        Self {
            objects: objects.to_vec(),
            settings: None,
        }
    }

    pub(crate) fn context(&self, client: Client) -> Arc<Context> {
        let settings = self.settings.clone().unwrap_or_else(settings);
        Arc::new(Context::new(
            client,
            settings,
            Metrics::default(),
            self.stores(),
            None,
        ))
    }

    pub(crate) fn stores(&self) -> Stores {
        Stores {
            mirrors: self.store::<RegistryMirror>("RegistryMirror"),
            embassies: self.store::<DataEmbassy>("DataEmbassy"),
            custodies: self.store("RegistryCustody"),
            restores: self.store("RegistryRestore"),
            drills: self.store("RegistryDrill"),
            activations: self.store("EmbassyActivation"),
            recovery_points: self.store("RecoveryPoint"),
            services: self.store("Service"),
            config_maps: self.store("ConfigMap"),
            service_accounts: self.store("ServiceAccount"),
            network_policies: self.store("NetworkPolicy"),
            deployments: self.store("Deployment"),
            replica_sets: self.store("ReplicaSet"),
            pods: self.store("Pod"),
        }
    }

    fn store<K>(&self, kind: &str) -> Store<K>
    where
        K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let (reader, mut writer) = store();
        writer.apply_watcher_event(&Event::Init);
        for object in self.objects.iter().filter(|object| object["kind"] == kind) {
            writer.apply_watcher_event(&Event::InitApply(read::<K>(object)));
        }
        writer.apply_watcher_event(&Event::InitDone);
        reader
    }
}

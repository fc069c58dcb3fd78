//! A managed database against an API server that keeps what is written and does what Kubernetes does: makes the pod and its volume, and takes
//! away what belongs to what was deleted.

mod built;
mod flow;
mod killed;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dataembassy_crds::EmbassyActivation;
use dataembassy_operator::activation::database::{Managed, Standing, ensure, expose, remove};
use dataembassy_operator::run::ReconcileError;
use serde_json::{Value, json};

use crate::world::refusals::events;
use crate::world::{Asked, World, client, read};

const STATEFUL_SET: &str = "/apis/apps/v1/namespaces/abroad/statefulsets/day-population-db";
const SECRETS: &str = "/api/v1/namespaces/abroad/secrets";
const SECRET: &str = "/api/v1/namespaces/abroad/secrets/day-population.superuser";
const INTERNAL: &str = "/api/v1/namespaces/abroad/services/day-population-db";
const PUBLIC: &str = "/api/v1/namespaces/abroad/services/population";
const RESTORE_POLICY: &str =
    "/apis/networking.k8s.io/v1/namespaces/abroad/networkpolicies/day-population-db-restore";
const PUBLIC_POLICY: &str =
    "/apis/networking.k8s.io/v1/namespaces/abroad/networkpolicies/day-population-db-public";
const POD: &str = "/api/v1/namespaces/abroad/pods/day-population-db-0";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/abroad/events";
const CLAIM: &str = "/api/v1/namespaces/abroad/persistentvolumeclaims/data-day-population-db-0";

/// An activation of `population`, meant or rehearsed.
fn activation(mode: &str) -> EmbassyActivation {
    read(&json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "EmbassyActivation",
        "metadata": {"name": "day", "namespace": "abroad", "uid": "uid-day", "creationTimestamp": "2026-11-28T09:00:00Z"},
        "spec": {
            "embassyRef": {"name": "luxembourg"},
            "mode": mode,
            "validUntil": "2026-12-01T12:00:00Z",
            "registries": [{
                "id": "population",
                "retrievalCredentialsRef": {"name": "population-retrieval"},
                "identityRef": {"name": "identity"},
                "target": {"managed": {"image": "postgres:17", "storage": "10Gi"}}
            }]
        }
    }))
}

/// Its one registry.
fn managed(activation: &EmbassyActivation) -> Managed<'_> {
    Managed::of(activation, &activation.spec.registries[0]).unwrap()
}

/// What becomes of a request at which the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// The API server never got it.
    Before,
    /// The API server did what was asked, and nobody read its answer.
    After,
}

/// What Kubernetes has.
#[derive(Default)]
struct Cluster {
    objects: BTreeMap<String, Value>,
    /// `METHOD path` of everything that was asked.
    asked: Vec<String>,
    /// The bodies of what was asked to be deleted.
    deletions: Vec<Value>,
    dies: Option<(usize, Death)>,
    made: usize,
    /// Why no pod may be made, where none may.
    refuses: Option<&'static str>,
}

impl Cluster {
    fn dying(at: usize, death: Death) -> Self {
        Self {
            dies: Some((at, death)),
            ..Self::default()
        }
    }

    fn answer(&mut self, asked: &Asked) -> (u16, Value) {
        let dies = self.dies.filter(|(at, _)| *at == self.asked.len());
        self.asked.push(format!("{} {}", asked.method, asked.path));
        match dies {
            Some((_, Death::Before)) => status(500),
            Some((_, Death::After)) => {
                self.carry_out(asked);
                status(500)
            }
            None => self.carry_out(asked),
        }
    }

    fn carry_out(&mut self, asked: &Asked) -> (u16, Value) {
        let answer = match asked.method.as_str() {
            "GET" if asked.path == EVENTS => self.told(),
            "GET" => self.objects.get(&asked.path).cloned(),
            "POST" => {
                let name = asked.body["metadata"]["name"].as_str().unwrap();
                let path = format!("{}/{name}", asked.path);
                if self.objects.contains_key(&path) {
                    return status(409);
                }
                Some(self.keep(&path, &asked.body))
            }
            "PATCH" => Some(self.keep(&asked.path, &asked.body)),
            "DELETE" => {
                self.deletions.push(asked.body.clone());
                let Some(found) = self.objects.get(&asked.path) else {
                    return status(404);
                };
                if found["metadata"]["uid"] != asked.body["preconditions"]["uid"] {
                    return status(409);
                }
                let found = found.clone();
                self.take_away(&asked.path, &found);
                Some(found)
            }
            other => panic!("{other} {}", asked.path),
        };
        self.work();
        answer.map_or_else(|| status(404), |object| (200, object))
    }

    /// Keeps what was written, as what it was before.
    fn keep(&mut self, path: &str, body: &Value) -> Value {
        let mut object = body.clone();
        let found = self.objects.get(path);
        if let Some(status) = found
            .map(|found| &found["status"])
            .filter(|status| !status.is_null())
        {
            object["status"] = status.clone();
        }
        let uid = found.map(|found| found["metadata"]["uid"].clone());
        object["metadata"]["uid"] = uid.unwrap_or_else(|| {
            self.made += 1;
            format!("uid-{}", self.made).into()
        });
        object["metadata"]["generation"] = 1.into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    /// The garbage collector's work, and that of whoever keeps volumes.
    fn take_away(&mut self, path: &str, found: &Value) {
        self.objects.remove(path);
        let uid = found["metadata"]["uid"].clone();
        let owned: Vec<(String, Value)> = self
            .objects
            .iter()
            .filter(|(_, object)| {
                let owners = object["metadata"]["ownerReferences"].as_array();
                owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == uid))
            })
            .map(|(path, object)| (path.clone(), object.clone()))
            .collect();
        for (path, object) in owned {
            self.take_away(&path, &object);
        }
    }

    /// The work of whoever makes the pods of a `StatefulSet`.
    fn work(&mut self) {
        let has_pod = self.objects.contains_key(POD);
        let Some(set) = self.objects.get_mut(STATEFUL_SET) else {
            return;
        };
        if set["spec"]["replicas"] != 1 || has_pod || self.refuses.is_some() {
            return;
        }
        set["status"] = json!({"replicas": 1, "readyReplicas": 1, "observedGeneration": 1});
        let set = set.clone();
        let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "day-population-db",
            "uid": set["metadata"]["uid"], "controller": true}]);
        let mut claim = set["spec"]["volumeClaimTemplates"][0].clone();
        claim["metadata"]["name"] = "data-day-population-db-0".into();
        if set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete" {
            claim["metadata"]["ownerReferences"] = owner.clone();
        }
        self.objects.insert(CLAIM.to_owned(), claim);
        self.objects.insert(
            POD.to_owned(),
            json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "day-population-db-0", "namespace": "abroad", "ownerReferences": owner}}),
        );
    }

    /// What whoever makes the pods has to say, once it was asked for one.
    fn told(&self) -> Option<Value> {
        let (set, why) = (self.objects.get(STATEFUL_SET)?, self.refuses?);
        let note =
            format!("create Pod day-population-db-0 in StatefulSet day-population-db failed error: {why}");
        Some(events(set["metadata"]["uid"].as_str()?, &note))
    }

    fn writes(&self) -> Vec<&str> {
        let asked = self.asked.iter().map(String::as_str);
        asked.filter(|asked| !asked.starts_with("GET ")).collect()
    }
}

fn status(code: u16) -> (u16, Value) {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": reason, "code": code}),
    )
}

/// What an operator does to a managed database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Ensure,
    Expose,
    /// What is done for as long as applications are served.
    Keep,
    Remove,
}

/// A cluster that operators come to, each of which knows nothing of the one before.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Cluster>>);

impl Shared {
    fn of(cluster: Cluster) -> Self {
        Self(Arc::new(Mutex::new(cluster)))
    }

    fn look<T>(&self, look: impl FnOnce(&mut Cluster) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// What `ensure` says.
    async fn ensure(&self, activation: &EmbassyActivation) -> Result<Standing, ReconcileError> {
        let shared = self.clone();
        let (client, _log) = client(move |asked| Some(shared.look(|cluster| cluster.answer(asked))));
        ensure(&World::of(&[]).context(client), &managed(activation), false).await
    }

    /// Does it, and says whether it came to its end.
    async fn is_done(&self, deed: Deed, activation: &EmbassyActivation) -> bool {
        let shared = self.clone();
        let (client, _log) = client(move |asked| Some(shared.look(|cluster| cluster.answer(asked))));
        let (context, managed) = (World::of(&[]).context(client), managed(activation));
        match deed {
            Deed::Ensure => matches!(ensure(&context, &managed, false).await, Ok(Standing::Ready)),
            Deed::Keep => matches!(ensure(&context, &managed, true).await, Ok(Standing::Ready)),
            Deed::Expose => expose(&context, &managed).await.is_ok_and(|open| open),
            Deed::Remove => remove(&context, &managed).await.is_ok_and(|gone| gone),
        }
    }

    /// Lets operators come until one is done.
    async fn until_done(&self, deed: Deed, activation: &EmbassyActivation) {
        for _ in 0..10 {
            if self.is_done(deed, activation).await {
                return;
            }
        }
        panic!(
            "{deed:?} never ends: {:?}",
            self.look(|cluster| cluster.asked.clone())
        );
    }
}

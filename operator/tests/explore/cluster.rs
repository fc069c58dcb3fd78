//! What an API server keeps, as far as the operator can tell: objects with versions, UIDs and generations, statuses beside specs, server-side
//! apply that knows whose a field is, conflicts, and every change in order for those who watch.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Kinds that are kept: plural, kind, API version.
const KINDS: [(&str, &str, &str); 17] = [
    ("secrets", "Secret", "v1"),
    ("configmaps", "ConfigMap", "v1"),
    ("serviceaccounts", "ServiceAccount", "v1"),
    ("services", "Service", "v1"),
    ("pods", "Pod", "v1"),
    ("persistentvolumeclaims", "PersistentVolumeClaim", "v1"),
    ("networkpolicies", "NetworkPolicy", "networking.k8s.io/v1"),
    ("deployments", "Deployment", "apps/v1"),
    ("replicasets", "ReplicaSet", "apps/v1"),
    ("statefulsets", "StatefulSet", "apps/v1"),
    ("jobs", "Job", "batch/v1"),
    ("dataembassies", "DataEmbassy", "dataembassy.io/v1alpha1"),
    ("registrymirrors", "RegistryMirror", "dataembassy.io/v1alpha1"),
    ("registrycustodies", "RegistryCustody", "dataembassy.io/v1alpha1"),
    ("recoverypoints", "RecoveryPoint", "dataembassy.io/v1alpha1"),
    ("registryrestores", "RegistryRestore", "dataembassy.io/v1alpha1"),
    ("registrydrills", "RegistryDrill", "dataembassy.io/v1alpha1"),
];
const ACTIVATIONS: (&str, &str, &str) = (
    "embassyactivations",
    "EmbassyActivation",
    "dataembassy.io/v1alpha1",
);

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) kind: &'static str,
    /// Empty for those of the cluster.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: known(kind).1,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

fn kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    KINDS.into_iter().chain([ACTIVATIONS])
}

/// The kind that a path's plural means.
pub(crate) fn kind_of(plural: &str) -> Option<&'static str> {
    kinds().find(|known| known.0 == plural).map(|known| known.1)
}

fn known(kind: &str) -> (&'static str, &'static str, &'static str) {
    kinds().find(|known| known.1 == kind).unwrap()
}

/// What became of an object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) place: Place,
    /// As it is now, or as it was last.
    pub(crate) object: Arc<Value>,
    pub(crate) is_gone: bool,
    /// Whether the operator wrote it, rather than somebody else.
    pub(crate) is_ours: bool,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    AlreadyExists,
    Conflict,
    Invalid,
}

impl Refusal {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Invalid => 422,
        }
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Invalid => "Invalid",
        }
    }
}

#[derive(Clone, Debug)]
struct Kept {
    object: Arc<Value>,
    /// What each manager applied last, its status apart from the rest.
    applied: Applied,
}

type Applied = BTreeMap<(String, bool), Arc<Value>>;

/// The API server's store.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    kept: BTreeMap<Place, Kept>,
    /// UIDs of all that there is.
    alive: HashSet<String>,
    version: u64,
    births: u64,
    /// Every change, in order.
    pub(crate) changes: Vec<Change>,
    /// The API server's own clock.
    pub(crate) now: Timestamp,
    /// Whether it is the operator that writes now.
    pub(crate) is_ours: bool,
}

impl Cluster {
    /// One with nothing in it.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            ..Self::default()
        }
    }

    pub(crate) fn get(&self, place: &Place) -> Option<&Arc<Value>> {
        self.kept.get(place).map(|kept| &kept.object)
    }

    /// Everything of a kind.
    pub(crate) fn of_kind<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = (&'s Place, &'s Arc<Value>)> {
        let from = self.kept.range(Place::new(kind, "", "")..);
        from.take_while(move |(place, _)| place.kind == kind)
            .map(|(place, kept)| (place, &kept.object))
    }

    /// Makes an object.
    pub(crate) fn create(&mut self, place: &Place, mut object: Value) -> Result<Arc<Value>, Refusal> {
        if self.kept.contains_key(place) {
            return Err(Refusal::AlreadyExists);
        }
        if has_status(place.kind)
            && self.is_ours
            && let Some(object) = object.as_object_mut()
        {
            object.remove("status");
        }
        self.bear(place, &mut object);
        Ok(self.keep(place, object, Applied::new()))
    }

    /// Server-side apply by `manager`, with force; of the status alone, or of all but it.
    pub(crate) fn apply(
        &mut self,
        place: &Place,
        manager: &str,
        is_status: bool,
        desired: &Value,
    ) -> Result<Arc<Value>, Refusal> {
        let by = (manager.to_owned(), is_status);
        let Some(kept) = self.kept.get(place) else {
            if is_status {
                return Err(Refusal::NotFound);
            }
            let mut object = desired.clone();
            self.bear(place, &mut object);
            return Ok(self.keep(place, object, Applied::from([(by, Arc::new(desired.clone()))])));
        };
        if !is_due(&kept.object, desired) {
            return Err(Refusal::Conflict);
        }
        let mut object = (*kept.object).clone();
        let before = kept.applied.get(&by).map_or(&Value::Null, Arc::as_ref);
        if is_status {
            merge(&mut object["status"], &before["status"], &desired["status"]);
        } else {
            for field in [
                "metadata",
                "spec",
                "data",
                "stringData",
                "automountServiceAccountToken",
            ] {
                if desired.get(field).is_some() {
                    merge(&mut object[field], &before[field], &desired[field]);
                }
            }
        }
        if place.kind == "Job" && template(&object) != template(&kept.object) {
            return Err(Refusal::Invalid);
        }
        if before != desired {
            let applied = &mut self.kept.get_mut(place).unwrap().applied;
            applied.insert(by, Arc::new(desired.clone()));
        }
        Ok(self.change(place, object))
    }

    /// A merge patch.
    pub(crate) fn patch(&mut self, place: &Place, patch: &Value) -> Result<Arc<Value>, Refusal> {
        let kept = self.kept.get(place).ok_or(Refusal::NotFound)?;
        let given = &patch["metadata"]["uid"];
        if !given.is_null() && *given != kept.object["metadata"]["uid"] || !is_due(&kept.object, patch) {
            return Err(Refusal::Conflict);
        }
        let mut object = (*kept.object).clone();
        merge_patch(&mut object, patch);
        Ok(self.change(place, object))
    }

    /// Somebody else than the operator changes an object.
    pub(crate) fn edit(&mut self, place: &Place, change: impl FnOnce(&mut Value)) {
        if let Some(kept) = self.kept.get(place) {
            let mut object = (*kept.object).clone();
            change(&mut object);
            self.change(place, object);
        }
    }

    /// Deletes an object; what it controls stays until somebody collects it.
    pub(crate) fn delete(&mut self, place: &Place, uid: Option<&str>) -> Result<(), Refusal> {
        let kept = self.kept.get(place).ok_or(Refusal::NotFound)?;
        if uid.is_some_and(|uid| kept.object["metadata"]["uid"] != uid) {
            return Err(Refusal::Conflict);
        }
        let object = self.kept.remove(place).unwrap().object;
        self.alive.remove(object["metadata"]["uid"].as_str().unwrap());
        self.version += 1;
        self.changes.push(Change {
            place: place.clone(),
            object,
            is_gone: true,
            is_ours: self.is_ours,
        });
        Ok(())
    }

    /// Whether an object's controller is gone.
    pub(crate) fn is_orphan(&self, object: &Value) -> bool {
        let owners = object["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| {
            let mut owners = owners.iter().map(|owner| owner["uid"].as_str());
            owners.any(|uid| uid.is_none_or(|uid| !self.alive.contains(uid)))
        })
    }

    fn bear(&mut self, place: &Place, object: &mut Value) {
        self.births += 1;
        object["apiVersion"] = known(place.kind).2.into();
        object["kind"] = place.kind.into();
        object["metadata"]["name"] = place.name.clone().into();
        if !place.namespace.is_empty() {
            object["metadata"]["namespace"] = place.namespace.clone().into();
        }
        let uid = format!("uid-{}-{}", place.name, self.births);
        object["metadata"]["uid"] = uid.as_str().into();
        self.alive.insert(uid);
        object["metadata"]["generation"] = 1.into();
        object["metadata"]["creationTimestamp"] = seconds(self.now).into();
    }

    fn change(&mut self, place: &Place, mut object: Value) -> Arc<Value> {
        let before = self.kept[place].object.clone();
        let generation = &before["metadata"]["generation"];
        object["metadata"]["generation"] = if object["spec"] == before["spec"] {
            generation.clone()
        } else {
            (generation.as_i64().unwrap_or(1) + 1).into()
        };
        object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        // What changes nothing is no new version, and nobody who watches hears of it.
        if object == *before {
            return before;
        }
        let object = self.tell(place, object);
        self.kept.get_mut(place).unwrap().object = object.clone();
        object
    }

    fn keep(&mut self, place: &Place, object: Value, applied: Applied) -> Arc<Value> {
        let object = self.tell(place, object);
        let kept = Kept {
            object: object.clone(),
            applied,
        };
        self.kept.insert(place.clone(), kept);
        object
    }

    /// Gives an object its next version, and tells those who watch.
    fn tell(&mut self, place: &Place, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(object);
        self.changes.push(Change {
            place: place.clone(),
            object: object.clone(),
            is_gone: false,
            is_ours: self.is_ours,
        });
        object
    }
}

/// A moment as Kubernetes writes it.
pub(crate) fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap().to_string()
}

fn has_status(kind: &str) -> bool {
    !matches!(kind, "Secret" | "ConfigMap" | "ServiceAccount" | "NetworkPolicy")
}

fn template(object: &Value) -> &Value {
    &object["spec"]["template"]
}

/// Whether the version that a write is based on, if it says one, is the newest.
fn is_due(object: &Value, write: &Value) -> bool {
    let based_on = &write["metadata"]["resourceVersion"];
    based_on.is_null() || *based_on == object["metadata"]["resourceVersion"]
}

/// Brings what is there to what is desired; what the same manager had applied `before` and leaves out now goes.
fn merge(live: &mut Value, before: &Value, desired: &Value) {
    let Value::Object(wanted) = desired else {
        *live = desired.clone();
        return;
    };
    if !live.is_object() {
        *live = json!({});
    }
    let Value::Object(live) = live else { return };
    if let Value::Object(before) = before {
        for field in before.keys().filter(|field| !wanted.contains_key(*field)) {
            live.remove(field);
        }
    }
    for (field, wanted) in wanted {
        // What others may not set is no part of a write.
        if matches!(field.as_str(), "resourceVersion" | "uid" | "managedFields") {
            continue;
        }
        let before = before.get(field).unwrap_or(&Value::Null);
        merge(live.entry(field.clone()).or_insert(Value::Null), before, wanted);
    }
}

fn merge_patch(live: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *live = patch.clone();
        return;
    };
    if !live.is_object() {
        *live = Value::Object(Map::new());
    }
    let Value::Object(live) = live else { return };
    for (field, value) in fields {
        if value.is_null() {
            live.remove(field);
        } else {
            merge_patch(live.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

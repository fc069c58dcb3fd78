//! What the operator's watches show of the cluster: late, with gaps until they list anew, and sometimes twice; but of one object never anything
//! older than what was shown before.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use dataembassy_operator::run::Stores;
use kube::Resource;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Store, store};
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cluster::{Change, Cluster};

/// The label by which the operator watches only what it made, and the kinds that it watches so.
const OURS: (&str, &str) = ("app.kubernetes.io/managed-by", "dataembassy-operator");
const OF_OURS: [&str; 9] = [
    "Job",
    "ConfigMap",
    "ServiceAccount",
    "NetworkPolicy",
    "Deployment",
    "ReplicaSet",
    "Pod",
    "Service",
    "RecoveryPoint",
];

/// One kind's cache.
trait Cache {
    fn list(&mut self, objects: &[Arc<Value>]);
    fn show(&mut self, object: &Value, is_gone: bool);
}

struct Typed<K>(Writer<K>)
where
    K: Resource<DynamicType = ()> + Clone + 'static;

impl<K> Cache for Typed<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + 'static,
{
    fn list(&mut self, objects: &[Arc<Value>]) {
        self.0.apply_watcher_event(&Event::Init);
        for object in objects {
            self.0.apply_watcher_event(&Event::InitApply(read(object)));
        }
        self.0.apply_watcher_event(&Event::InitDone);
    }

    fn show(&mut self, object: &Value, is_gone: bool) {
        let object = read(object);
        let event = if is_gone {
            Event::Delete(object)
        } else {
            Event::Apply(object)
        };
        self.0.apply_watcher_event(&event);
    }
}

/// A watch of which only the changes are of interest.
struct Unkept;

impl Cache for Unkept {
    fn list(&mut self, _objects: &[Arc<Value>]) {}

    fn show(&mut self, _object: &Value, _is_gone: bool) {}
}

fn read<K: DeserializeOwned>(object: &Value) -> K {
    K::deserialize(object).unwrap_or_else(|error| panic!("{error}: {object}"))
}

/// One watch: what its cache has not been shown yet, and whether it has lost something.
struct Watch {
    cache: Box<dyn Cache>,
    waiting: Vec<Change>,
    is_broken: bool,
}

/// All watches of one operator.
pub(crate) struct Watches {
    by_kind: BTreeMap<&'static str, Watch>,
    /// How many of the cluster's changes were taken.
    taken: usize,
}

impl Watches {
    /// The watches of an operator that has just begun: each has listed what there is.
    pub(crate) fn begin(cluster: &Cluster) -> (Self, Stores) {
        let mut watches = Self {
            by_kind: BTreeMap::new(),
            taken: cluster.changes.len(),
        };
        let stores = Stores {
            embassies: watches.watch("DataEmbassy"),
            mirrors: watches.watch("RegistryMirror"),
            custodies: watches.watch("RegistryCustody"),
            restores: watches.watch("RegistryRestore"),
            drills: watches.watch("RegistryDrill"),
            activations: watches.watch("EmbassyActivation"),
            recovery_points: watches.watch("RecoveryPoint"),
            services: watches.watch("Service"),
            config_maps: watches.watch("ConfigMap"),
            service_accounts: watches.watch("ServiceAccount"),
            network_policies: watches.watch("NetworkPolicy"),
            deployments: watches.watch("Deployment"),
            replica_sets: watches.watch("ReplicaSet"),
            pods: watches.watch("Pod"),
        };
        watches.keep("Job", Box::new(Unkept));
        for (kind, watch) in &mut watches.by_kind {
            watch.list(kind, cluster);
        }
        (watches, stores)
    }

    fn watch<K>(&mut self, kind: &'static str) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let (reader, writer) = store();
        self.keep(kind, Box::new(Typed(writer)));
        reader
    }

    fn keep(&mut self, kind: &'static str, cache: Box<dyn Cache>) {
        let watch = Watch {
            cache,
            waiting: Vec::new(),
            is_broken: false,
        };
        self.by_kind.insert(kind, watch);
    }

    /// Takes what has happened since the last time; nothing of it is shown yet. How many changes were lost.
    pub(crate) fn take(&mut self, cluster: &Cluster) -> u64 {
        let mut lost = 0;
        for change in &cluster.changes[self.taken..] {
            if let Some(watch) = self.by_kind.get_mut(change.place.kind)
                && is_watched(change.place.kind, &change.object)
            {
                if watch.is_broken {
                    lost += 1;
                } else {
                    watch.waiting.push(change.clone());
                }
            }
        }
        self.taken = cluster.changes.len();
        lost
    }

    /// Whether something has happened that is not shown yet, and will be.
    pub(crate) fn is_behind(&self) -> bool {
        let mut all = self.by_kind.values();
        all.any(|watch| !watch.waiting.is_empty())
    }

    /// Shows all that waits of the kinds that are let through, and says what was shown.
    pub(crate) fn deliver(&mut self, mut is_let_through: impl FnMut(&'static str) -> bool) -> Vec<Change> {
        let mut shown = Vec::new();
        for (kind, watch) in &mut self.by_kind {
            if watch.waiting.is_empty() || !is_let_through(kind) {
                continue;
            }
            for change in watch.waiting.drain(..) {
                watch.cache.show(&change.object, change.is_gone);
                shown.push(change);
            }
        }
        shown
    }

    /// A watch loses what waits, and all that follows, until it lists anew. How many changes waited.
    pub(crate) fn lose(&mut self, kind: &str) -> u64 {
        let Some(watch) = self.by_kind.get_mut(kind) else {
            return 0;
        };
        watch.is_broken = true;
        u64::try_from(watch.waiting.drain(..).count()).unwrap()
    }

    /// Watches that have lost something list what there is; which kinds those are.
    pub(crate) fn mend(&mut self, cluster: &Cluster) -> Vec<&'static str> {
        let mut mended = Vec::new();
        for (kind, watch) in &mut self.by_kind {
            if watch.is_broken {
                watch.list(kind, cluster);
                mended.push(*kind);
            }
        }
        mended
    }
}

impl Watch {
    fn list(&mut self, kind: &str, cluster: &Cluster) {
        let objects = cluster.of_kind(kind).map(|(_, object)| object.clone());
        let objects: Vec<Arc<Value>> = objects.filter(|object| is_watched(kind, object)).collect();
        self.cache.list(&objects);
        self.is_broken = false;
        self.waiting.clear();
    }
}

fn is_watched(kind: &str, object: &Value) -> bool {
    !OF_OURS.contains(&kind) || object["metadata"]["labels"][OURS.0] == OURS.1
}

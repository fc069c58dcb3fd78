//! A simulated operator process: its watches, its memory, and the same reconciles that the real one runs, woken by the same changes and timers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dataembassy_operator::metrics::Metrics;
use dataembassy_operator::run::{Context, ReconcileError};
use dataembassy_operator::settings::Side;
use dataembassy_operator::{activation, custody, drill, embassy, mirror, restore};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Resource};

use super::cluster::{Change, Place};
use super::resources::settings;
use super::tally::Fault;
use super::watches::Watches;
use super::world::Shared;

/// How long after a failure it is tried again here; the real wait is tested where it is counted.
const AGAIN: Duration = Duration::from_secs(5);

/// One process.
pub(crate) struct Operator {
    pub(crate) context: Arc<Context>,
    pub(crate) watches: Watches,
    /// The resources that it reconciles, by kind.
    kinds: &'static [&'static str],
    /// Resources that something has changed for.
    pub(crate) woken: BTreeSet<Place>,
    /// When each is looked at again by itself.
    timers: BTreeMap<Place, Duration>,
}

impl Operator {
    /// A process that has just begun: all that there is wakes it.
    pub(crate) fn begin(world: &Shared, client: Client, side: Side, kinds: &'static [&'static str]) -> Self {
        let mut locked = world.lock();
        locked.is_dead = false;
        let (watches, stores) = Watches::begin(&locked.cluster);
        let woken = kinds.iter().flat_map(|kind| locked.cluster.of_kind(kind));
        let woken = woken.map(|(place, _)| place.clone()).collect();
        drop(locked);
        let mut context = Context::new(client, settings(side), Metrics::default(), stores, None);
        context.clock = world.clock();
        context.chance = world.chance();
        context.wire = Arc::new(world.clone());
        Self {
            context: Arc::new(context),
            watches,
            kinds,
            woken,
            timers: BTreeMap::new(),
        }
    }

    /// Shows what waits of the kinds that are let through, and wakes what it is for.
    pub(crate) fn deliver(&mut self, world: &Shared, is_let_through: impl FnMut(&'static str) -> bool) {
        self.catch_up(world);
        for change in self.watches.deliver(is_let_through) {
            self.wake(world, &change);
        }
    }

    /// Hears what has happened, and shows nothing of it yet.
    fn catch_up(&mut self, world: &Shared) {
        let mut locked = world.lock();
        let lost = self.watches.take(&locked.cluster);
        locked.tally.count_many(Fault::MissedEvent, lost);
    }

    /// Watches that have lost something list anew.
    pub(crate) fn mend(&mut self, world: &Shared) {
        self.catch_up(world);
        let locked = world.lock();
        let mended = self.watches.mend(&locked.cluster);
        let listed: Vec<Change> = mended
            .into_iter()
            .flat_map(|kind| locked.cluster.of_kind(kind))
            .map(|(place, object)| Change {
                place: place.clone(),
                object: object.clone(),
                is_gone: false,
                is_ours: false,
            })
            .collect();
        drop(locked);
        for change in listed {
            self.wake(world, &change);
        }
    }

    /// The same that the controllers' watches wake.
    fn wake(&mut self, world: &Shared, change: &Change) {
        let metadata = &change.object["metadata"];
        let owner = &metadata["ownerReferences"][0];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let (instance, component) = (
            text(&metadata["labels"]["app.kubernetes.io/instance"]),
            text(&metadata["labels"]["app.kubernetes.io/component"]),
        );
        let place = &change.place;
        let mut woken = Vec::new();
        if self.kinds.contains(&place.kind) && !change.is_gone {
            woken.push(place.clone());
        }
        let dependants: &[&str] = match place.kind {
            "DataEmbassy" => &[
                "RegistryCustody",
                "RegistryDrill",
                "EmbassyActivation",
                "RegistryMirror",
            ],
            "RegistryCustody" => &[
                "DataEmbassy",
                "RegistryDrill",
                "EmbassyActivation",
                "RegistryMirror",
            ],
            "RegistryDrill" => &["DataEmbassy"],
            "EmbassyActivation" => &["DataEmbassy", "RegistryMirror"],
            _ => &[],
        };
        let locked = world.lock();
        for kind in self.kinds.iter().filter(|kind| dependants.contains(kind)) {
            woken.extend(locked.cluster.of_kind(kind).map(|(place, _)| place.clone()));
        }
        match place.kind {
            "Job" | "RegistryRestore" if owner["kind"].is_string() => {
                woken.push(Place::new(
                    owner["kind"].as_str().unwrap(),
                    &place.namespace,
                    &text(&owner["name"]),
                ));
            }
            "RecoveryPoint" => woken.push(Place::new("RegistryCustody", "", &instance)),
            "ConfigMap" | "ServiceAccount" | "NetworkPolicy" | "Deployment" | "ReplicaSet" | "Pod"
            | "Service" => match component.as_str() {
                "mirror" => woken.push(Place::new("RegistryMirror", &place.namespace, &instance)),
                "custodian" | "gate" => woken.push(Place::new("DataEmbassy", "", &instance)),
                _ => {}
            },
            _ => {}
        }
        let kinds = self.kinds;
        self.woken
            .extend(woken.into_iter().filter(|place| kinds.contains(&place.kind)));
    }

    /// When the next timer runs out, by what has passed.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.timers.values().min().copied()
    }

    /// What is to be looked at now: what was woken, and whose timer has run out.
    pub(crate) fn due(&self, elapsed: Duration) -> Vec<Place> {
        let timers = self.timers.iter().filter(|(_, at)| **at <= elapsed);
        let mut due: BTreeSet<Place> = timers.map(|(place, _)| place.clone()).collect();
        due.extend(self.woken.iter().cloned());
        due.into_iter().collect()
    }

    /// Reconciles one resource, if the watch shows it.
    pub(crate) async fn reconcile(&mut self, world: &Shared, place: &Place) {
        self.woken.remove(place);
        self.timers.remove(place);
        self.catch_up(world);
        {
            let mut locked = world.lock();
            locked.tally.reconciles += 1;
            if self.watches.is_behind() {
                locked.tally.count(Fault::StaleCache);
            }
            locked.tell_story(|| format!("reconcile {} {}", place.kind, place.name));
        }
        let context = &self.context;
        let stores = &context.stores;
        let done = match place.kind {
            "DataEmbassy" => one(&stores.embassies, place, context, embassy::reconcile).await,
            "RegistryCustody" => one(&stores.custodies, place, context, custody::reconcile).await,
            "RegistryMirror" => one(&stores.mirrors, place, context, mirror::reconcile).await,
            "RegistryRestore" => one(&stores.restores, place, context, restore::reconcile).await,
            "RegistryDrill" => one(&stores.drills, place, context, drill::reconcile).await,
            "EmbassyActivation" => one(&stores.activations, place, context, activation::reconcile).await,
            other => panic!("nobody reconciles {other}"),
        };
        let mut locked = world.lock();
        let wait = match done {
            None => None,
            Some(Ok(action)) => wait_of(&action),
            Some(Err(error)) => {
                locked.tell_story(|| format!("  failed: {error}"));
                Some(AGAIN)
            }
        };
        if let Some(wait) = wait {
            self.timers.insert(place.clone(), locked.elapsed + wait);
        }
    }
}

async fn one<K, F>(
    store: &Store<K>,
    place: &Place,
    context: &Arc<Context>,
    reconcile: impl FnOnce(Arc<K>, Arc<Context>) -> F,
) -> Option<Result<Action, ReconcileError>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    F: Future<Output = Result<Action, ReconcileError>>,
{
    let object = store.get(&ObjectRef::new(&place.name).within(&place.namespace))?;
    Some(reconcile(object, context.clone()).await)
}

/// How long an action waits; it shows so only to those who debug it.
fn wait_of(action: &Action) -> Option<Duration> {
    if *action == Action::await_change() {
        return None;
    }
    let shown = format!("{action:?}");
    let length = shown.split("Some(").nth(1).unwrap().split(')').next().unwrap();
    let units = [("ms", 0.001), ("µs", 0.000_001), ("ns", 0.0), ("s", 1.0)];
    let (number, scale) = units
        .iter()
        .find_map(|(unit, scale)| Some((length.strip_suffix(unit)?, scale)))
        .unwrap();
    Some(Duration::from_secs_f64(number.parse::<f64>().unwrap() * scale))
}

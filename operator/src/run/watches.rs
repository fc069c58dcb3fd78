//! Watches of what the operator made.

use std::pin::pin;

use futures::stream::{BoxStream, Stream, StreamExt, poll_fn, select_all};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store, reflector, store};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::backoff::WatchBackoff;
use crate::labels::SELECTOR;

/// How many changes wait for a controller: it takes them at once, and remembers each resource once.
const WAITING: usize = 256;

/// Which resource an object was made for, as its labels say. A label is a hint only: it decides what is looked at again, never what is
/// trusted.
pub(super) type MadeFor<M> = fn(&ObjectMeta) -> Option<M>;

/// What the operator made in all namespaces, and the stream of what it was made for, where something changed.
pub(super) struct Objects<M> {
    pub(super) config_maps: Store<ConfigMap>,
    pub(super) service_accounts: Store<ServiceAccount>,
    pub(super) network_policies: Store<NetworkPolicy>,
    pub(super) deployments: Store<Deployment>,
    pub(super) replica_sets: Store<ReplicaSet>,
    pub(super) pods: Store<Pod>,
    pub(super) changes: BoxStream<'static, M>,
}

impl<M> Objects<M>
where
    M: Send + 'static,
{
    /// Watches each kind once, whatever its objects were made for.
    pub(super) fn watch(client: &Client, made_for: MadeFor<M>) -> Self {
        let (config_maps, config_map_changes) = watch_ours(Api::all(client.clone()), made_for);
        let (service_accounts, service_account_changes) = watch_ours(Api::all(client.clone()), made_for);
        let (network_policies, network_policy_changes) = watch_ours(Api::all(client.clone()), made_for);
        let (deployments, deployment_changes) = watch_ours(Api::all(client.clone()), made_for);
        let (replica_sets, replica_set_changes) = watch_ours(Api::all(client.clone()), made_for);
        let (pods, pod_changes) = watch_ours(Api::all(client.clone()), made_for);
        Self {
            config_maps,
            service_accounts,
            network_policies,
            deployments,
            replica_sets,
            pods,
            changes: select_all([
                config_map_changes,
                service_account_changes,
                network_policy_changes,
                deployment_changes,
                replica_set_changes,
                pod_changes,
            ])
            .boxed(),
        }
    }
}

/// Hands changes on to two controllers, each of which has a stream of its own, until `stopped`. The future has to be driven.
pub(super) fn fan_out<A, B>(
    changes: BoxStream<'static, Which<A, B>>,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> (
    impl Stream<Item = A> + Send + 'static,
    impl Stream<Item = B> + Send + 'static,
    impl Future<Output = ()> + Send + 'static,
)
where
    A: Send + 'static,
    B: Send + 'static,
{
    let (to_one, mut one) = mpsc::channel(WAITING);
    let (to_other, mut other) = mpsc::channel(WAITING);
    let driver = async move {
        let mut changes = pin!(changes.take_until(stopped));
        while let Some(change) = changes.next().await {
            // A controller that is gone means that the process is ending.
            match change {
                Which::One(change) => drop(to_one.send(change).await),
                Which::Other(change) => drop(to_other.send(change).await),
            }
        }
    };
    (
        poll_fn(move |context| one.poll_recv(context)),
        poll_fn(move |context| other.poll_recv(context)),
        driver,
    )
}

/// Which of two controllers a change is for.
pub(super) enum Which<A, B> {
    /// The one.
    One(A),
    /// The other.
    Other(B),
}

/// Objects of one namespace.
pub(super) fn scoped<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}

/// Watches what the operator made of a kind.
pub(super) fn watch_ours<K, M>(api: Api<K>, made_for: MadeFor<M>) -> (Store<K>, BoxStream<'static, M>)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    M: Send + 'static,
{
    let (reader, writer) = store();
    let ours = watcher::Config::default().labels(SELECTOR);
    let patiently = WatchBackoff::default();
    let events = watcher(api, ours).backoff(patiently).modify(|object| {
        // Nobody here reads them, and they are half of an object's size.
        object.meta_mut().managed_fields = None;
    });
    let changes = reflector(writer, events)
        .touched_objects()
        .filter_map(move |object| {
            let resource = match object {
                Ok(object) => made_for(object.meta()),
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "a watch was interrupted; it goes on by itself");
                    None
                }
            };
            std::future::ready(resource)
        });
    (reader, changes.boxed())
}

/// A kind that this side does not watch: there is nothing of it, and nobody waits for it.
pub(super) fn unwatched<K>() -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let (reader, mut writer) = store();
    writer.apply_watcher_event(&Event::Init);
    writer.apply_watcher_event(&Event::InitDone);
    reader
}

/// The resources that something else touches, by what the watch of their own kind knows.
pub(super) fn touched<K>(all: &Store<K>, is_touched: impl Fn(&K) -> bool) -> Vec<ObjectRef<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let touched = super::those(all, is_touched);
    touched.iter().map(|one| ObjectRef::from_obj(&**one)).collect()
}

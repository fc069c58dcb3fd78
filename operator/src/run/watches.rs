//! Watches of what the operator made.

use futures::stream::{BoxStream, StreamExt, select_all};
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

use crate::labels::SELECTOR;

/// Which resource an object was made for, as its labels say. A label is a hint only: it decides what is looked at again, never what is
/// trusted.
pub(super) type MadeFor<R> = fn(&ObjectMeta) -> Option<ObjectRef<R>>;

/// What the operator made in namespaces, and the stream of resources whose objects changed.
pub(super) struct Objects<R: Resource<DynamicType = ()> + 'static> {
    pub(super) config_maps: Store<ConfigMap>,
    pub(super) service_accounts: Store<ServiceAccount>,
    pub(super) network_policies: Store<NetworkPolicy>,
    pub(super) deployments: Store<Deployment>,
    pub(super) replica_sets: Store<ReplicaSet>,
    pub(super) pods: Store<Pod>,
    pub(super) changes: BoxStream<'static, ObjectRef<R>>,
}

impl<R> Objects<R>
where
    R: Resource<DynamicType = ()> + 'static,
{
    /// Watches in one namespace, or in all.
    pub(super) fn watch(client: &Client, namespace: Option<&str>, made_for: MadeFor<R>) -> Self {
        let (config_maps, config_map_changes) = watch_ours(scoped(client, namespace), made_for);
        let (service_accounts, service_account_changes) = watch_ours(scoped(client, namespace), made_for);
        let (network_policies, network_policy_changes) = watch_ours(scoped(client, namespace), made_for);
        let (deployments, deployment_changes) = watch_ours(scoped(client, namespace), made_for);
        let (replica_sets, replica_set_changes) = watch_ours(scoped(client, namespace), made_for);
        let (pods, pod_changes) = watch_ours(scoped(client, namespace), made_for);
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

/// Objects of one namespace, or of all.
pub(super) fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Watches what the operator made of a kind.
pub(super) fn watch_ours<K, R>(
    api: Api<K>,
    made_for: MadeFor<R>,
) -> (Store<K>, BoxStream<'static, ObjectRef<R>>)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    R: Resource<DynamicType = ()> + 'static,
{
    let (reader, writer) = store();
    let ours = watcher::Config::default().labels(SELECTOR);
    let events = watcher(api, ours).default_backoff().modify(|object| {
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
    let all = all.state();
    let touched = all.iter().filter(|one| is_touched(one));
    touched.map(|one| ObjectRef::from_obj(&**one)).collect()
}

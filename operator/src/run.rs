//! Wires everything together: watches, controllers, the lease, and an orderly end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use dataembassy_crds::{DataEmbassy, RegistryMirror};
use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store, reflector, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::apply::ApplyError;
use crate::backoff::Failures;
use crate::lease::WriteLease;
use crate::metrics::Metrics;
use crate::mirror::names;
use crate::mirror::rollout::Rollouts;
use crate::poll::Known;
use crate::server::{self, Health};
use crate::settings::Settings;
use crate::{embassy, mirror};

/// How many objects are reconciled at once.
const CONCURRENCY: u16 = 16;
/// Changes that come within this time are reconciled together.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// Why a reconcile has to be tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// An object was not written.
    #[error(transparent)]
    NotApplied(ApplyError),
    /// The status was not written.
    #[error("the status was not taken by the API server: {source}")]
    StatusNotWritten {
        /// What it said.
        source: Box<kube::Error>,
    },
}

/// What the watches know.
#[derive(Clone, Debug)]
pub struct Stores {
    /// All mirrors.
    pub mirrors: Store<RegistryMirror>,
    /// All embassies.
    pub embassies: Store<DataEmbassy>,
    /// Ours only, as are all below.
    pub config_maps: Store<ConfigMap>,
    /// Identities.
    pub service_accounts: Store<ServiceAccount>,
    /// Policies.
    pub network_policies: Store<NetworkPolicy>,
    /// Sidecars.
    pub deployments: Store<Deployment>,
    /// What Deployments made.
    pub replica_sets: Store<ReplicaSet>,
    /// What those made.
    pub pods: Store<Pod>,
}

impl Stores {
    /// Waits until each watch has listed what there is: judging by half a picture would stall mirrors for nothing.
    pub async fn ready(&self) {
        // A writer that was dropped means that the process is ending.
        drop(self.mirrors.wait_until_ready().await);
        drop(self.embassies.wait_until_ready().await);
        drop(self.config_maps.wait_until_ready().await);
        drop(self.service_accounts.wait_until_ready().await);
        drop(self.network_policies.wait_until_ready().await);
        drop(self.deployments.wait_until_ready().await);
        drop(self.replica_sets.wait_until_ready().await);
        drop(self.pods.wait_until_ready().await);
    }
}

/// What every reconcile needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the operator was started with.
    pub settings: Settings,
    /// What is counted.
    pub metrics: Metrics,
    /// Where events go.
    pub recorder: Recorder,
    /// How often each object failed.
    pub failures: Failures,
    /// Which pods are being replaced.
    pub rollouts: Rollouts,
    /// What the watches know.
    pub stores: Stores,
    reports: Mutex<HashMap<String, Known>>,
}

impl Context {
    /// A context in which nothing has happened yet.
    #[must_use]
    pub fn new(
        client: Client,
        settings: Settings,
        metrics: Metrics,
        stores: Stores,
        instance: Option<String>,
    ) -> Self {
        let reporter = Reporter {
            controller: "dataembassy-operator".to_owned(),
            instance,
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            settings,
            metrics,
            failures: Failures::default(),
            rollouts: Rollouts::default(),
            stores,
            reports: Mutex::default(),
        }
    }

    /// What the sidecar of `mirror` said last.
    pub fn known_report(&self, mirror: &str) -> Option<Known> {
        self.reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(mirror)
            .cloned()
    }

    /// Keeps what the sidecar of `mirror` said, to be asked for changes only.
    pub fn remember_report(&self, mirror: String, known: Known) {
        self.reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(mirror, known);
    }

    /// Forgets the reports of mirrors that are gone.
    fn forget_reports(&self) {
        let mirrors = self.stores.mirrors.state();
        let there: Vec<String> = mirrors
            .iter()
            .map(|mirror| format!("{}/{}", mirror.namespace().unwrap_or_default(), mirror.name_any()))
            .collect();
        self.reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|mirror, _| there.contains(mirror));
    }
}

/// Runs until a signal comes or the lease is lost.
pub async fn run(
    client: Client,
    settings: Settings,
    instance: String,
    health_port: u16,
    metrics_port: u16,
) -> anyhow::Result<()> {
    let metrics = Metrics::default();
    let health = Arc::new(Health::default());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        wait_for_signal().await;
        tracing::info!("told to stop");
        // Nobody listens any more if the process is ending for another reason.
        let _ = stop.send(true);
    });
    let servers = {
        let health = server::serve_health(health_port, health.clone());
        let metrics = server::serve_metrics(metrics_port, Arc::new(metrics.catalog()));
        async {
            tokio::try_join!(health, metrics)
                .map(drop)
                .context("cannot serve health or metrics")
        }
    };
    let work = work(client, settings, metrics, instance, health, stopped);
    tokio::select! {
        result = work => result,
        result = servers => result,
    }
}

async fn work(
    client: Client,
    settings: Settings,
    metrics: Metrics,
    instance: String,
    health: Arc<Health>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let lease = WriteLease::new(client.clone(), &settings.namespace, instance.clone());
    let held = tokio::select! {
        held = lease.acquire() => held,
        () = stop(stopped.clone()) => return Ok(()),
    };
    tracing::info!(holder = instance, "holding the write lease");
    metrics.leading.set(1);
    let controllers = controllers(client, settings, metrics, instance, health, stopped);
    tokio::select! {
        () = controllers => {
            lease.release().await;
            Ok(())
        }
        // Whatever is still being written may cross what the next holder writes: no graceful end.
        lost = lease.hold(held) => Err(lost.into()),
    }
}

async fn controllers(
    client: Client,
    settings: Settings,
    metrics: Metrics,
    instance: String,
    health: Arc<Health>,
    stopped: watch::Receiver<bool>,
) {
    let embassies = Controller::new(
        Api::<DataEmbassy>::all(client.clone()),
        watcher::Config::default(),
    );
    let mirrors = Controller::new(
        Api::<RegistryMirror>::all(client.clone()),
        watcher::Config::default(),
    );
    let (config_maps, config_map_changes) = watch_ours::<ConfigMap>(&client);
    let (service_accounts, service_account_changes) = watch_ours::<ServiceAccount>(&client);
    let (network_policies, network_policy_changes) = watch_ours::<NetworkPolicy>(&client);
    let (deployments, deployment_changes) = watch_ours::<Deployment>(&client);
    let (replica_sets, replica_set_changes) = watch_ours::<ReplicaSet>(&client);
    let (pods, pod_changes) = watch_ours::<Pod>(&client);
    let stores = Stores {
        mirrors: mirrors.store(),
        embassies: embassies.store(),
        config_maps,
        service_accounts,
        network_policies,
        deployments,
        replica_sets,
        pods,
    };
    let changes = select_all([
        config_map_changes,
        service_account_changes,
        network_policy_changes,
        deployment_changes,
        replica_set_changes,
        pod_changes,
    ]);
    let context = Arc::new(Context::new(
        client.clone(),
        settings,
        metrics,
        stores.clone(),
        Some(instance),
    ));
    let all_mirrors = stores.mirrors.clone();
    let mirrors_of = move |embassy: DataEmbassy| {
        let name = embassy.name_any();
        let mirrors = all_mirrors.state();
        let touched = mirrors
            .iter()
            .filter(|mirror| mirror.spec.embassy_ref.name == name);
        touched
            .map(|mirror| ObjectRef::from_obj(&**mirror))
            .collect::<Vec<_>>()
    };
    let config = || Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE);
    let embassies = embassies
        .with_config(config())
        .graceful_shutdown_on(stop(stopped.clone()))
        .run(embassy::reconcile, try_embassy_again, context.clone())
        .for_each(|_| async {});
    let mirrors = mirrors
        .with_config(config())
        .watches(
            Api::<DataEmbassy>::all(client),
            watcher::Config::default(),
            mirrors_of,
        )
        .reconcile_on(changes)
        .graceful_shutdown_on(stop(stopped))
        .run(reconcile_mirror, try_mirror_again, context.clone())
        .for_each(|_| async {});
    let announce = async {
        stores.ready().await;
        health.set_ready();
        tracing::info!("all watches are up");
    };
    tokio::join!(embassies, mirrors, announce);
}

async fn reconcile_mirror(
    mirror: Arc<RegistryMirror>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    context.stores.ready().await;
    context.forget_reports();
    mirror::reconcile(mirror, context).await
}

#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
fn try_mirror_again(mirror: Arc<RegistryMirror>, error: &ReconcileError, context: Arc<Context>) -> Action {
    try_again("RegistryMirror", &mirror::key(&mirror), error, &context)
}

#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
fn try_embassy_again(embassy: Arc<DataEmbassy>, error: &ReconcileError, context: Arc<Context>) -> Action {
    try_again(
        "DataEmbassy",
        &format!("DataEmbassy/{}", embassy.name_any()),
        error,
        &context,
    )
}

fn try_again(kind: &'static str, object: &str, error: &ReconcileError, context: &Context) -> Action {
    let wait = context.failures.failed(object, rand::random());
    context.metrics.reconciled(kind, "failed");
    tracing::warn!(object, %error, again_in = ?wait, "reconcile failed");
    Action::requeue(wait)
}

/// Watches what the operator made of a kind, and says which mirror each change belongs to. The label is a hint only: it decides what
/// is looked at again, never what is trusted.
fn watch_ours<K>(client: &Client) -> (Store<K>, BoxStream<'static, ObjectRef<RegistryMirror>>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (reader, writer) = store();
    let ours = watcher::Config::default().labels(names::SELECTOR);
    let events = watcher(Api::<K>::all(client.clone()), ours)
        .default_backoff()
        .modify(|object| {
            // Nobody here reads them, and they are half of an object's size.
            object.managed_fields_mut().clear();
        });
    let changes = reflector(writer, events)
        .touched_objects()
        .filter_map(async |object| match object {
            Ok(object) => {
                let mirror = object.labels().get("app.kubernetes.io/instance")?.clone();
                Some(ObjectRef::new(&mirror).within(&object.namespace()?))
            }
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "a watch was interrupted; it goes on by itself");
                None
            }
        });
    (reader, changes.boxed())
}

async fn stop(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone means that the process is ending.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be listened to, so the process has to be killed to stop");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

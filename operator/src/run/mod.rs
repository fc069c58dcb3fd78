//! Wires everything together: watches, controllers, the lease, and an orderly end.

mod activations;
mod drills;
mod embassy;
mod home;
mod known;
mod mirrors;
mod restores;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use dataembassy_contract::custodian::{CustodianReport, RegistryReport};
use dataembassy_contract::drill::DrillReport;
use dataembassy_contract::gate::GateReport;
use dataembassy_contract::report::Report;
use dataembassy_contract::restore::RestoreReport;
use dataembassy_crds::{
    DataEmbassy, EmbassyActivation, RecoveryPoint, RegistryCustody, RegistryDrill, RegistryMirror,
    RegistryRestore,
};
use futures::future::{BoxFuture, LocalBoxFuture};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Client;
use kube::runtime::controller::{Action, Config};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::Store;
use tokio::sync::watch;

use crate::activation::vigil::Vigil;
use crate::apply::ApplyError;
use crate::backoff::{Chance, Failures};
use crate::clock::Clock;
use crate::embassy::gates::Sights;
use crate::lease::WriteLease;
use crate::metrics::Metrics;
use crate::poll::{Memory, Network, Wire};
use crate::rollout::Rollouts;
use crate::server::{self, Health};
use crate::settings::{Settings, Side};
pub use known::{all, get, those};

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
    /// Something that the resource depends on could not be asked for.
    #[error("the API server does not tell what there is: {source}")]
    NotRead {
        /// What it said.
        source: Box<kube::Error>,
    },
    /// The status was not written.
    #[error("the status was not taken by the API server: {source}")]
    StatusNotWritten {
        /// What it said.
        source: Box<kube::Error>,
    },
}

/// A reconcile under way. Boxed where it is compiled: whatever polls an async function of another crate compiles its body once more, and the
/// tests are such crates.
pub type Reconcile = BoxFuture<'static, Result<Action, ReconcileError>>;

/// What the watches know. What a side does not watch is empty, and nobody waits for it.
#[derive(Clone, Debug)]
pub struct Stores {
    /// All embassies.
    pub embassies: Store<DataEmbassy>,
    /// All mirrors.
    pub mirrors: Store<RegistryMirror>,
    /// All registries in custody; none at home.
    pub custodies: Store<RegistryCustody>,
    /// All restores.
    pub restores: Store<RegistryRestore>,
    /// All drills; none at home.
    pub drills: Store<RegistryDrill>,
    /// All activations.
    pub activations: Store<EmbassyActivation>,
    /// Ours only, as are all below; none at home.
    pub recovery_points: Store<RecoveryPoint>,
    /// Before gates; none at home.
    pub services: Store<Service>,
    /// Configurations.
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
    /// Waits until each watch has listed what there is. Only one may wait: a store wakes but the last of those who wait for it, so
    /// reconciles wait for [`Context::ready`].
    async fn ready(&self) {
        // A writer that was dropped means that the process is ending.
        drop(self.mirrors.wait_until_ready().await);
        drop(self.custodies.wait_until_ready().await);
        drop(self.restores.wait_until_ready().await);
        drop(self.drills.wait_until_ready().await);
        drop(self.activations.wait_until_ready().await);
        drop(self.recovery_points.wait_until_ready().await);
        drop(self.services.wait_until_ready().await);
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
    /// Where the time comes from.
    pub clock: Clock,
    /// Where the numbers come from that spread waits.
    pub chance: Chance,
    /// How processes are asked for their reports.
    pub wire: Arc<dyn Wire>,
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
    /// What sidecars said last, by `namespace/mirror`.
    pub mirror_reports: Memory<Report>,
    /// What custodians said last, by embassy.
    pub custodian_reports: Memory<CustodianReport>,
    /// What they said of each registry, by `embassy/registry`.
    pub registry_reports: Memory<RegistryReport>,
    /// What restores said last, by `RegistryRestore/namespace/name`.
    pub restore_reports: Memory<RestoreReport>,
    /// What drills said last, by `RegistryDrill/namespace/name`.
    pub drill_reports: Memory<DrillReport>,
    /// What gates said last, by `embassy/pod UID`.
    pub gate_reports: Memory<GateReport>,
    /// What the gates of each embassy say together.
    pub sights: Sights,
    /// For how long orders have been waited for. Whoever tries one operator after the other has them share it.
    pub vigil: Arc<Vigil>,
    complete: watch::Sender<bool>,
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
        metrics.follow("RegistryMirror", stores.mirrors.clone());
        metrics.follow("DataEmbassy", stores.embassies.clone());
        metrics.follow("RegistryCustody", stores.custodies.clone());
        metrics.follow("RegistryRestore", stores.restores.clone());
        metrics.follow("RegistryDrill", stores.drills.clone());
        metrics.follow("EmbassyActivation", stores.activations.clone());
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            settings,
            clock: Clock::default(),
            chance: Chance::default(),
            wire: Arc::new(Network),
            metrics,
            failures: Failures::default(),
            rollouts: Rollouts::default(),
            stores,
            mirror_reports: Memory::default(),
            custodian_reports: Memory::default(),
            registry_reports: Memory::default(),
            restore_reports: Memory::default(),
            drill_reports: Memory::default(),
            gate_reports: Memory::default(),
            sights: Sights::default(),
            vigil: Arc::default(),
            complete: watch::Sender::new(false),
        }
    }

    /// Waits for the watches, and then lets every reconcile go. One task does so.
    pub async fn complete(&self) {
        self.stores.ready().await;
        self.complete.send_replace(true);
    }

    /// Waits until the watches have listed what there is: judging by half a picture would stall resources for nothing.
    pub async fn ready(&self) {
        // The sender is ours, so it is not gone.
        drop(self.complete.subscribe().wait_for(|complete| *complete).await);
    }
}

/// Runs until a signal comes or the lease is lost. Boxed here, so that the tests do not compile all of it once more.
#[must_use]
pub fn run(
    client: Client,
    settings: Settings,
    instance: String,
    health_port: u16,
    metrics_port: u16,
) -> LocalBoxFuture<'static, anyhow::Result<()>> {
    Box::pin(until_stopped(
        client,
        settings,
        instance,
        health_port,
        metrics_port,
    ))
}

async fn until_stopped(
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
        let metrics = server::serve_metrics(metrics_port, metrics.clone());
        async {
            tokio::try_join!(health, metrics)
                .map(drop)
                .context("cannot serve health or metrics")
        }
    };
    let work = work(Process {
        client,
        settings,
        metrics,
        instance,
        health,
        stopped,
    });
    tokio::select! {
        result = work => result,
        result = servers => result,
    }
}

/// What the controllers of either side are started with.
struct Process {
    client: Client,
    settings: Settings,
    metrics: Metrics,
    instance: String,
    health: Arc<Health>,
    stopped: watch::Receiver<bool>,
}

impl Process {
    fn context(&self, stores: Stores) -> Arc<Context> {
        Arc::new(Context::new(
            self.client.clone(),
            self.settings.clone(),
            self.metrics.clone(),
            stores,
            Some(self.instance.clone()),
        ))
    }

    /// Says that the operator is ready, once it is.
    async fn announce(&self, context: &Context) {
        context.complete().await;
        self.health.set_ready();
        tracing::info!("all watches are up");
    }
}

async fn work(process: Process) -> anyhow::Result<()> {
    let instance = process.instance.clone();
    let lease = WriteLease::new(
        process.client.clone(),
        &process.settings.namespace,
        instance.clone(),
    );
    let held = tokio::select! {
        held = lease.acquire() => held,
        () = stop(process.stopped.clone()) => return Ok(()),
    };
    tracing::info!(holder = instance, "holding the write lease");
    process.metrics.leading.set(1);
    let controllers = async {
        match process.settings.side {
            Side::Home => Box::pin(home::controllers(process)).await,
            Side::Embassy => Box::pin(embassy::controllers(process)).await,
        }
    };
    tokio::select! {
        () = controllers => {
            lease.release().await;
            Ok(())
        }
        // Whatever is still being written may cross what the next holder writes: no graceful end.
        lost = lease.hold(held) => Err(lost.into()),
    }
}

/// How every controller works.
fn config() -> Config {
    Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE)
}

/// Counts a reconcile that failed, and says when it is tried again.
pub(crate) fn try_again(
    kind: &'static str,
    object: &str,
    error: &ReconcileError,
    context: &Context,
) -> Action {
    let wait = context.failures.failed(object, context.chance.draw());
    context.metrics.reconciled(kind, "failed");
    tracing::warn!(object, %error, again_in = ?wait, "reconcile failed");
    Action::requeue(wait)
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

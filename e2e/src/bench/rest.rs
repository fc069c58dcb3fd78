//! What the product takes while nothing happens, on the test bed: the sidecars, the custodian and home's operator of three registries, and then an
//! operator of [many suspended mirrors](super::suspended). What is promised stands beside it.
//!
//! The kernel counts, in the containers as operator and chart make them: the memory that a process is resident with, its program included, and
//! the processor time.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use dataembassy_crds::{ConditionStatus, DataEmbassy};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::json;

use super::{row::Row, suspended, table};
use crate::{
    bed::{self, Bed},
    cache::Cache,
    cluster::{self, Cluster, Site, container::Container},
    command::wait_for,
    product::{
        self, EMBASSY, Product, RELEASE_NAMESPACE, conditions, custody::Custody, mirror::Mirror, registry,
        sidecar::Sidecar,
    },
    progress::Progress,
    registries::{Amount, Registry},
};

/// How much data there is: a twentieth of the sample registries' full size.
const SCALE: f64 = 0.05;
/// The longest that a first copy, or its proof, may take.
const PATIENCE: Duration = Duration::from_mins(10);
/// How long a part may take to start.
const STARTS: Duration = Duration::from_mins(3);
/// How long nothing has happened before it counts as rest.
const QUIET: Duration = Duration::from_mins(2);
/// How long it is looked at then.
const WATCHED: Duration = Duration::from_mins(2);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// What sidecar, custodian and operator may each be resident with, in MiB.
const RESIDENT: [f64; 3] = [16.0, 20.0, 32.0];
/// How much of a processor each may take, in percent.
const SHARE: f64 = 0.5;

/// Measures and returns the rows, on a bed of its own: it is taken down at the end, whatever comes of it.
pub(super) async fn measure(cache: &Cache, progress: &Progress) -> Result<Vec<Row>> {
    ensure!(
        !Site::BOTH.into_iter().any(cluster::is_up),
        "the bed is up, and whatever runs on it would be measured too: take it down first, with `cargo e2e down`"
    );
    let measured = tokio::select! {
        measured = Box::pin(on_the_bed(cache, progress)) => measured,
        interrupted = tokio::signal::ctrl_c() => Err(interrupted.map_or_else(Into::into, |()| anyhow!("interrupted"))),
    };
    let step = progress.step("taking everything down that was started");
    let down = bed::down(false).await;
    if down.is_ok() {
        step.done();
    }
    match (measured, down) {
        (measured, Ok(())) => measured,
        (Ok(rows), Err(left)) => {
            // They took the better part of an hour.
            progress.line(&table::render(&rows));
            Err(left)
        }
        (Err(why), Err(left)) => Err(why.context(format!("the bed could not be taken down: {left:#}"))),
    }
}

async fn on_the_bed(cache: &Cache, progress: &Progress) -> Result<Vec<Row>> {
    let bed = Bed::up(cache, progress).await?;
    let product = Product::install(&bed, progress).await?;
    let step = progress.step("three registries, each with one copy that is proven");
    verify_weekly(&product).await?;
    try_join_all(Registry::ALL.map(|registry| mirrored(&product, registry))).await?;
    step.done();
    let mut rows = at_rest(&product, progress).await?;
    // Whatever comes of the rest, this is known.
    progress.line(&table::render(&rows));
    let step = progress.step("the three mirrors go");
    for registry in Registry::ALL {
        let namespace = registry::ministry(registry);
        let arguments = [
            "delete",
            "registrymirror",
            registry.id(),
            "--namespace",
            namespace,
        ];
        bed.home().kubectl(arguments).await?;
    }
    step.done();
    rows.extend(suspended::measure(bed.home(), progress).await?);
    Ok(rows)
}

/// The bed has everything read back each half minute, and who reads does not rest: from now on it is each week, as the sample says.
async fn verify_weekly(product: &Product) -> Result<()> {
    let embassy = product.bed.embassy();
    let patch = json!({"spec": {"custodian": {"verification": {"period": "7d"}}}});
    let flag = format!("--patch={patch}");
    let arguments = ["patch", "dataembassy", EMBASSY, "--type=merge", &flag];
    embassy.kubectl(arguments).await?;
    let api = Api::<DataEmbassy>::all(embassy.client().clone());
    conditions::wait(&api, EMBASSY, "Ready", ConditionStatus::True, None, STARTS)
        .await
        .map(drop)
}

/// A sample registry, accepted and mirrored, whose first copy the embassy has proven.
async fn mirrored(product: &Product, registry: Registry) -> Result<()> {
    let (home, id) = (product.bed.home(), registry.id());
    let namespace = registry::ministry(registry);
    registry::establish(product, registry, &Amount::of_scale(SCALE)).await?;
    registry::accept(product, namespace, id).await?;
    home.apply(&yearly(&std::fs::read_to_string(product::sample(id))?)?)
        .await?;
    let mirror = Mirror::of(home, namespace, id);
    mirror.copied(1, PATIENCE).await?;
    for condition in ["Ready", "Intact"] {
        mirror
            .condition(condition, ConditionStatus::True, None, PATIENCE)
            .await?;
    }
    Custody::of(product, id).proven(PATIENCE).await.map(drop)
}

/// The sample of a mirror, but with the copy after the first one next year: who copies does not rest.
fn yearly(sample: &str) -> Result<String> {
    let yearly = sample.replace("*/15 * * * *", "0 0 1 1 *");
    ensure!(yearly != sample, "the sample has no copy each quarter of an hour");
    Ok(yearly)
}

/// What each part takes after a while in which nothing happened.
async fn at_rest(product: &Product, progress: &Progress) -> Result<Vec<Row>> {
    let (home, embassy) = (product.bed.home(), product.bed.embassy());
    let step = progress.step(format!("nothing happens for {} s", QUIET.as_secs()));
    tokio::time::sleep(QUIET).await;
    step.done();
    let step = progress.step(format!(
        "what each takes in the {} s after that",
        WATCHED.as_secs()
    ));
    let mut sidecars = Vec::new();
    for registry in Registry::ALL {
        let sidecar = Sidecar::of(home, registry::ministry(registry), registry.id()).await?;
        sidecars.push(sidecar.container().await?);
    }
    let custodian = Running::of(embassy, "custodian", None).await?;
    let operator = Running::of(home, "operator", None).await?;
    let [sidecar_has, custodian_has, operator_has] = RESIDENT;
    let parts = [
        Watched {
            name: "the largest of three sidecars",
            promised: sidecar_has,
            containers: sidecars,
        },
        Watched {
            name: "a custodian of three registries",
            promised: custodian_has,
            containers: vec![custodian.container],
        },
        Watched {
            name: "an operator of three mirrors",
            promised: operator_has,
            containers: vec![operator.container],
        },
    ];
    let rows = watch(&parts).await?;
    step.done();
    Ok(rows)
}

/// A part of the product, in each container that it has.
struct Watched {
    name: &'static str,
    /// What it may be resident with, in MiB.
    promised: f64,
    containers: Vec<Container>,
}

impl Watched {
    /// What the largest is resident with, in MiB.
    fn resident(&self) -> Result<f64> {
        let all = self.containers.iter();
        all.map(|container| mebibytes(container.resident()?.now))
            .try_fold(0.0, |most: f64, one| Ok(most.max(one?)))
    }

    fn processor_times(&self) -> Result<Vec<Duration>> {
        self.containers.iter().map(Container::processor_time).collect()
    }
}

/// Looks at the parts for a while: of each, the most that it was resident with, and its share of a processor.
async fn watch(parts: &[Watched]) -> Result<Vec<Row>> {
    let began = Instant::now();
    let before = parts.iter().map(Watched::processor_times);
    let before = before.collect::<Result<Vec<_>>>()?;
    let mut resident = vec![0.0_f64; parts.len()];
    while began.elapsed() < WATCHED {
        tokio::time::sleep(LOOK).await;
        for (most, part) in resident.iter_mut().zip(parts) {
            *most = most.max(part.resident()?);
        }
    }
    let elapsed = began.elapsed();
    let mut rows = Vec::new();
    for ((part, resident), before) in parts.iter().zip(resident).zip(before) {
        let now = part.processor_times()?.into_iter();
        let busiest = now
            .zip(before)
            .map(|(now, before)| now.saturating_sub(before))
            .max();
        let share = percent(busiest.unwrap_or_default(), elapsed);
        let Watched { name, promised, .. } = part;
        let row = format!("{name} at rest: resident, and what is promised at most");
        rows.push(Row::within(row, resident, *promised, "MiB"));
        let row = format!("{name} at rest: share of a processor, and what is promised at most");
        rows.push(Row::within(row, share, SHARE, "%"));
    }
    Ok(rows)
}

/// A container of ours in the release's namespace.
pub(super) struct Running {
    /// Its pod.
    pub(super) pod: String,
    /// Itself.
    pub(super) container: Container,
    /// When it began, up to a second too early: Kubernetes tells whole seconds.
    pub(super) since: Timestamp,
    /// How many have run before it in the same pod.
    pub(super) restarts: i32,
}

impl Running {
    /// The one of a component, once it runs, in another pod than `former`.
    pub(super) async fn of(cluster: &Cluster, component: &str, former: Option<&str>) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), RELEASE_NAMESPACE);
        let chosen = ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
        let what = format!("the {component} to run");
        wait_for(&what, STARTS, || async {
            for pod in pods.list(&chosen).await? {
                let name = pod.name_any();
                let Some((status, since)) = running(&pod).filter(|_| former != Some(name.as_str())) else {
                    continue;
                };
                let id = status.container_id.as_deref().unwrap_or_default();
                return Ok(Some(Self {
                    container: cluster.container(id)?,
                    pod: name,
                    since,
                    restarts: status.restart_count,
                }));
            }
            Ok(None)
        })
        .await
    }
}

/// The only container of a pod that does not end, and since when it runs.
fn running(pod: &Pod) -> Option<(&ContainerStatus, Timestamp)> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let state = status.state.as_ref()?.running.as_ref()?;
    let stays = pod.metadata.deletion_timestamp.is_none();
    stays.then_some((status, state.started_at.as_ref()?.0))
}

/// Bytes in MiB.
pub(super) fn mebibytes(bytes: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(bytes >> 10)?) / 1024.0)
}

/// Processor time as a share of one processor.
pub(super) fn percent(busy: Duration, of: Duration) -> f64 {
    100.0 * busy.as_secs_f64() / of.as_secs_f64()
}

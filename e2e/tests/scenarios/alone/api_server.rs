//! The API server is away while the operator stays: it answers nobody for a while, or dies. The operator gives the lease up that it cannot renew,
//! begins again once, and asks no more than it needs when the API server is back.

use anyhow::{Context, Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{
    cluster::{Cluster, Component},
    command::wait_for,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::{STANDING, running};
use crate::{
    requests::Requests,
    world::{MINUTE, PATIENCE, Subject, World, alone},
};

/// How it is away.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It takes connections and answers nobody.
    Frozen,
    /// It takes none.
    Dead,
}

/// The most that an operator asks until it has found everything again: a list and a watch of each of about twenty, and what it writes.
const ASKED: usize = 200;
/// The most that it asks about a mirror that has just been copied, while it renews the lease so many times.
const AT_REST: (usize, usize) = (20, 3);

#[test]
fn an_operator_whose_api_server_freezes_or_dies_begins_again_once_and_asks_no_more_than_it_needs() {
    alone(away);
}

async fn away(world: &'static World) -> Result<()> {
    let ministry = world.ministry("api-server").await?;
    let subject = ministry.small_registry("unattended").await?;
    subject.mirrored().await?;
    for (copy, fault) in (2..).zip([Fault::Frozen, Fault::Dead]) {
        let through = through(world, &subject, fault, copy).await;
        through.with_context(|| format!("{fault:?}"))?;
    }
    subject.delete().await
}

async fn through(world: &'static World, subject: &Subject, fault: Fault, copy: i64) -> Result<()> {
    let home = world.home();
    let before = Operator::of(home).await?;
    let requests = Requests::since_now(world)?;
    match fault {
        Fault::Frozen => home.freeze(Component::ApiServer)?,
        Fault::Dead => home.kill(Component::ApiServer).await?,
    }
    let ended = without_answers(home, &before).await;
    // Whatever came of it, the others need it.
    back(home).await?;
    ended?;

    let trigger = format!("{fault:?}");
    subject.mirror.trigger(&trigger).await?;
    subject.mirror.copied(copy, PATIENCE).await?;
    subject
        .mirror
        .condition("Ready", ConditionStatus::True, Some("Loaded"), MINUTE)
        .await?;
    let after = Operator::of(home).await?;
    ensure!(
        after.pod == before.pod && after.restarts == before.restarts + 1,
        "it was not begun again once: {before:?}, and now {after:?}"
    );
    let asked = requests.besides_the_lease()?;
    ensure!(asked.len() <= ASKED, "it asked {} times: {asked:#?}", asked.len());
    let (most, renewals) = AT_REST;
    let requests = Requests::since_now(world)?;
    requests.until_renewed(renewals).await?;
    let asked = requests.about(&subject.namespace)?;
    ensure!(asked.len() <= most, "it finds no rest: {asked:#?}");
    Ok(())
}

/// Waits until the operator has ended, because it can renew its lease no more.
async fn without_answers(home: &Cluster, before: &Operator) -> Result<()> {
    ensure!(!home.answers().await, "the API server answers");
    wait_for("the end of the operator", MINUTE, || async {
        Ok(home.container(&before.container).is_err().then_some(()))
    })
    .await?;
    ensure!(!home.answers().await, "the API server answers");
    Ok(())
}

async fn back(home: &Cluster) -> Result<()> {
    home.thaw(Component::ApiServer)?;
    home.start(Component::ApiServer).await?;
    // After an outage they look for the API server ever more seldom; the bed has no time for that.
    for component in [Component::ControllerManager, Component::Scheduler] {
        home.stop(component).await?;
        home.start(component).await?;
    }
    Ok(())
}

/// The operator's process, as its node has it.
#[derive(Debug)]
struct Operator {
    pod: Option<String>,
    container: String,
    restarts: i32,
}

impl Operator {
    /// The one that runs.
    async fn of(home: &Cluster) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(home.client().clone(), STANDING);
        let its = ListParams::default().labels("app.kubernetes.io/component=operator");
        wait_for("a running operator", PATIENCE, || async {
            let found = pods.list(&its).await?.items;
            Ok(found.iter().find_map(Self::in_pod))
        })
        .await
    }

    fn in_pod(pod: &Pod) -> Option<Self> {
        let container = running(pod).next()?.to_owned();
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        Some(Self {
            pod: pod.metadata.uid.clone(),
            container,
            restarts: statuses.iter().map(|status| status.restart_count).sum(),
        })
    }
}

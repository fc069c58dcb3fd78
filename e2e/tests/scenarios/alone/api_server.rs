//! The API server is away while the operator stays: it answers nobody for a while, or dies. The operator gives the lease up that it cannot renew,
//! begins again once, and asks no more than it needs when the API server is back.

use std::fs;

use anyhow::{Context, Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{
    cluster::{Cluster, Component, kept_logs},
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

/// What an operator says that ends because its API server was late with one renewal after the other: a machine that is busy with the bed's beginning
/// again may be.
const LATE: &str =
    "the write lease was lost: it could not be renewed in time: the API server has not answered for ";
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
    let before_late = before.unanswered(home)?;
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
    let again = usize::try_from(after.restarts - before.restarts)?;
    // One that is frozen has not answered either.
    let fault_itself = usize::from(matches!(fault, Fault::Frozen));
    let late = after.unanswered(home)?.saturating_sub(before_late + fault_itself);
    ensure!(
        after.pod == before.pod && (1..=1 + late).contains(&again),
        "it was not begun again once, nor for an API server that was late {late} times: {before:?}, and now {after:?}"
    );
    let asked = requests.besides_the_lease()?;
    let most = ASKED * again;
    ensure!(asked.len() <= most, "it asked {} times: {asked:#?}", asked.len());
    Requests::since_now(world)?
        .stay_few(&subject.namespace, AT_REST)
        .await
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

    /// How often one has ended in this pod because the API server was late.
    fn unanswered(&self, home: &Cluster) -> Result<usize> {
        let pod = self.pod.as_deref().context("a pod has a UID")?;
        let mut found = 0;
        for folder in fs::read_dir(kept_logs::look(home.site())?)? {
            let folder = folder?;
            if !folder.file_name().to_string_lossy().ends_with(pod) {
                continue;
            }
            for container in fs::read_dir(folder.path())? {
                for log in fs::read_dir(container?.path())? {
                    let text = fs::read(log?.path())?;
                    let text = String::from_utf8_lossy(&text);
                    found += text.lines().filter(|line| line.contains(LATE)).count();
                }
            }
        }
        Ok(found)
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

//! An operator of 2,000 mirrors that are all suspended: what memory it takes, how soon after its start it knows all of them, and what it writes
//! while nothing happens. What is promised stands beside it.
//!
//! A suspended mirror has no pod, so that the bed's one node will do; all else that the operator makes for a mirror is there.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use dataembassy_contract::files::METRICS_PORT;
use dataembassy_crds::{ConditionStatus, RegistryMirror};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{
    asked::Asked,
    rest::{Running, mebibytes, percent},
    row::Row,
};
use crate::{
    cluster::Cluster,
    product::{EMBASSY, RELEASE_NAMESPACE},
    progress::Progress,
};

const NAMESPACES: usize = 20;
/// Mirrors in each namespace.
const EACH: usize = 100;
const MIRRORS: usize = NAMESPACES * EACH;
/// What the operator may be resident with at most, in MiB.
const RESIDENT: f64 = 80.0;
/// Within this time of its start it knows every mirror, in seconds.
const KNOWN: f64 = 20.0;
/// How long it is watched for writes.
const REST: Duration = Duration::from_mins(10);
/// How long nothing has changed before everything counts as settled.
const QUIET: Duration = Duration::from_mins(1);
/// The longest that this may take: the cluster's own controllers make some twenty requests a second.
const SETTLES: Duration = Duration::from_hours(1);
/// After this time an operator is not waited for any longer.
const DEADLINE: Duration = Duration::from_mins(5);
/// Between two looks at an operator that was started.
const LOOK: Duration = Duration::from_secs(1);
/// The lease is renewed every four seconds: in a log that shows fewer renewals in [`REST`], writes may be missing too.
const RENEWALS: usize = 100;
/// How many of the writes are told.
const TOLD: usize = 10;

/// Measures and returns the rows. No other mirror may be there.
pub(super) async fn measure(home: &Cluster, progress: &Progress) -> Result<Vec<Row>> {
    let step = progress.step(format!("{MIRRORS} suspended mirrors in {NAMESPACES} namespaces"));
    for number in 0..NAMESPACES {
        home.namespace(&namespace(number)).await?;
    }
    for number in 0..NAMESPACES {
        step.at(&namespace(number));
        home.apply(&manifests(number)).await?;
    }
    step.done();
    let step = progress.step("what is made for them, until nothing changes any more");
    settle(home).await?;
    step.done();
    let former = Running::of(home, "operator", None).await?;
    progress.line(&format!(
        "  the operator that took them in was resident with {:.1} MiB at most; its container was started again {} times",
        mebibytes(former.container.resident()?.most)?,
        former.restarts,
    ));

    let step = progress.step("an operator that is started anew");
    let pods: Api<Pod> = Api::namespaced(home.client().clone(), RELEASE_NAMESPACE);
    pods.delete(&former.pod, &DeleteParams::default()).await?;
    let operator = Running::of(home, "operator", Some(&former.pod)).await?;
    let known = until_known(home, &operator).await?;
    step.done();
    let step = progress.step(format!("{} s of rest", REST.as_secs()));
    let seen = home.audit_log()?.lines().count();
    let (began, before) = (Instant::now(), operator.container.processor_time()?);
    tokio::time::sleep(REST).await;
    let busy = operator.container.processor_time()?.saturating_sub(before);
    let share = percent(busy, began.elapsed());
    let resident = operator.container.resident()?;
    let asked = Asked::read(&home.audit_log()?, seen)?;
    step.done();
    ensure!(
        asked.renewals >= RENEWALS,
        "the API server's log has only {} renewals of the operator's lease, so it may lack writes too",
        asked.renewals
    );
    progress.line(&format!("  meanwhile it took {share:.2} % of a processor"));
    for write in asked.writes.iter().take(TOLD) {
        progress.line(&format!("  and wrote: {write}"));
    }
    let (most, now) = (mebibytes(resident.most)?, mebibytes(resident.now)?);
    rows(known, most, now, asked.writes.len())
}

fn rows(known: f64, most: f64, now: f64, writes: usize) -> Result<Vec<Row>> {
    let of = format!("an operator of {MIRRORS} suspended mirrors");
    let row = |what: &str, ours, theirs, unit| {
        let name = format!("{of}: {what}, and what is promised at most");
        Row::within(name, ours, theirs, unit)
    };
    let written = f64::from(u32::try_from(writes)?);
    Ok(vec![
        row("most that it was resident with", most, RESIDENT, "MiB"),
        row("resident at rest", now, RESIDENT, "MiB"),
        row("from its start until it knew all of them", known, KNOWN, "s"),
        row(
            "writes in ten minutes of rest but for its lease",
            written,
            0.0,
            "writes",
        ),
    ])
}

fn namespace(number: usize) -> String {
    format!("rest-{number:02}")
}

/// The mirrors of a namespace: as in the docs' samples, but suspended, and with an objective that is not missed while they are measured. The
/// Secrets that they name are nowhere: only a pod reads them.
fn manifests(number: usize) -> String {
    let namespace = namespace(number);
    let all = (0..EACH).map(|mirror| {
        let id = format!("registry-{:04}", number * EACH + mirror);
        let manifest = json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "RegistryMirror",
            "metadata": {"name": id, "namespace": namespace},
            "spec": {
                "registry": {"id": id, "owner": "Ministry of the Interior"},
                "embassyRef": {"name": EMBASSY},
                "depositCredentialsRef": {"name": format!("{id}-deposit")},
                "source": {"postgresql": {
                    "host": format!("{id}-db"),
                    "database": id,
                    "tls": {"caRef": {"name": format!("{id}-db-ca")}},
                    "credentialsRef": {"name": format!("{id}-db-dump")},
                }},
                "suspend": true,
                "schedule": {"cron": "*/15 * * * *", "timeZone": "Europe/Tallinn"},
                "objectives": {"rpo": "365d"},
            },
        });
        manifest.to_string()
    });
    all.collect::<Vec<_>>().join("\n---\n")
}

/// Waits until the operator has judged every mirror, and neither it nor the cluster's own controllers have changed anything for a while.
async fn settle(home: &Cluster) -> Result<()> {
    let began = Instant::now();
    let mut before = None;
    loop {
        let now = made(home).await?;
        let is_whole = now.map(|(count, _)| count) == [MIRRORS, MIRRORS, MIRRORS, 0];
        if is_whole && before == Some(now) {
            break;
        }
        if began.elapsed() > SETTLES {
            let pods = home
                .kubectl(["get", "pods", "--namespace", RELEASE_NAMESPACE])
                .await?;
            bail!(
                "mirrors, Deployments, ReplicaSets and pods, and the newest version of each, are still {now:?}\n{pods}"
            );
        }
        before = Some(now);
        tokio::time::sleep(QUIET).await;
    }
    let mirrors = Api::<RegistryMirror>::all(home.client().clone());
    let all = mirrors.list(&ListParams::default()).await?;
    if let Some(mirror) = all.iter().find(|mirror| !is_settled(mirror)) {
        bail!("{} is not settled: {:#?}", mirror.name_any(), mirror.status);
    }
    Ok(())
}

fn is_settled(mirror: &RegistryMirror) -> bool {
    mirror.status.as_ref().is_some_and(|status| {
        status.observed_generation == mirror.metadata.generation
            && status.conditions.iter().any(|condition| {
                condition.type_ == "Ready"
                    && condition.status == ConditionStatus::True
                    && condition.reason == "Suspended"
            })
    })
}

/// How many mirrors there are, and Deployments, `ReplicaSets` and pods of mirrors; each with the version of the newest.
async fn made(home: &Cluster) -> Result<[(usize, u64); 4]> {
    let client = home.client();
    let ours = ListParams::default().labels("app.kubernetes.io/component=mirror");
    let everything = ListParams::default();
    Ok([
        count(&Api::<RegistryMirror>::all(client.clone()), &everything).await?,
        count(&Api::<Deployment>::all(client.clone()), &ours).await?,
        count(&Api::<ReplicaSet>::all(client.clone()), &ours).await?,
        count(&Api::<Pod>::all(client.clone()), &ours).await?,
    ])
}

async fn count<K>(api: &Api<K>, chosen: &ListParams) -> Result<(usize, u64)>
where
    K: Clone + DeserializeOwned + Debug,
{
    let all = api.list_metadata(chosen).await?;
    let versions = all.iter().filter_map(|one| {
        let version = one.metadata.resource_version.as_deref()?;
        version.parse::<u64>().ok()
    });
    Ok((all.items.len(), versions.max().unwrap_or_default()))
}

/// How many seconds after its container's start an operator had judged every mirror: up to two seconds too many, never too few. It is asked as
/// Prometheus would ask it, and tells of each mirror from the moment when it judged that one first.
async fn until_known(home: &Cluster, operator: &Running) -> Result<f64> {
    let began = Instant::now();
    loop {
        // Nobody answers before it listens.
        let metrics = metrics(home, &operator.pod).await.unwrap_or_default();
        let (known, since) = (judged(&metrics), Timestamp::now().duration_since(operator.since));
        if known >= MIRRORS {
            return Ok(since.as_secs_f64());
        }
        ensure!(
            began.elapsed() < DEADLINE,
            "the operator knows {known} of {MIRRORS} mirrors after {} s",
            since.as_secs()
        );
        tokio::time::sleep(LOOK).await;
    }
}

async fn metrics(home: &Cluster, pod: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/{RELEASE_NAMESPACE}/pods/{pod}:{METRICS_PORT}/proxy/metrics");
    let request = hyper::Request::get(path).body(Vec::new())?;
    Ok(home.client().request_text(request).await?)
}

/// How many mirrors an operator tells to be `Ready`, as one that is suspended is.
fn judged(metrics: &str) -> usize {
    let of_mirror = r#"dataembassy_operator_condition{kind="RegistryMirror","#;
    let is_ready = r#",condition="Ready"} 1"#;
    let lines = metrics.lines();
    lines
        .filter(|line| line.starts_with(of_mirror) && line.ends_with(is_ready))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_counts_once_it_is_told_of_as_ready() {
        let line = |kind: &str, name: &str, condition: &str, value: i8| {
            format!(
                "dataembassy_operator_condition{{kind=\"{kind}\",resource_namespace=\"rest-00\",resource=\"{name}\",\
                 condition=\"{condition}\"}} {value}\n"
            )
        };
        let metrics = [
            line("RegistryMirror", "one", "Ready", 1),
            line("RegistryMirror", "one", "Intact", -1),
            line("RegistryMirror", "two", "Ready", 1),
            line("RegistryMirror", "three", "Ready", 0),
            line("DataEmbassy", "luxembourg", "Ready", 1),
        ];
        assert_eq!(judged(&metrics.concat()), 2);
    }

    #[test]
    fn every_mirror_has_a_name_of_its_own_that_the_kind_takes() {
        let all: Vec<String> = (0..NAMESPACES).map(manifests).collect();
        let all = all.join("\n---\n");
        let mut ids = std::collections::BTreeSet::new();
        for manifest in all.split("\n---\n") {
            let mirror: RegistryMirror = serde_json::from_str(manifest).unwrap();
            assert!(mirror.spec.suspend);
            ids.insert(mirror.spec.registry.id);
        }
        assert_eq!(ids.len(), MIRRORS);
    }
}

//! A mirror's sidecar, from near: its pod, what it reports itself, and its death.

use std::{ops::Deref, time::Duration};

use anyhow::{Context, Result, ensure};
use dataembassy_contract::{files::STATUS_PATH, files::STATUS_PORT, report::Report};
use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{EvictParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, container::Container},
    command::wait_for,
};

/// How long a pod may take to start or to end.
const TURNS: Duration = Duration::from_mins(2);

/// One pod that mirrors.
#[derive(Clone)]
pub struct Sidecar {
    cluster: Cluster,
    pods: Api<Pod>,
    namespace: String,
    name: String,
}

impl Sidecar {
    /// The one that the operator runs for a mirror, once its container runs.
    pub async fn of(cluster: &Cluster, namespace: &str, mirror: &str) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), namespace);
        let labels = format!("app.kubernetes.io/component=mirror,app.kubernetes.io/instance={mirror}");
        let chosen = ListParams::default().labels(&labels);
        let name = wait_for(&format!("the sidecar of {mirror}"), TURNS, || async {
            let found = pods.list(&chosen).await?;
            Ok(found.items.iter().find(|pod| runs(pod)).map(Pod::name_any))
        })
        .await?;
        Ok(Self {
            cluster: cluster.clone(),
            pods,
            namespace: namespace.to_owned(),
            name,
        })
    }

    /// Starts another pod like this one, with the same Secrets and a copy of the configuration. The operator knows nothing of it.
    pub async fn twin(&self) -> Result<Twin> {
        let pod = self.pods.get(&self.name).await?;
        let mut labels = pod.labels().clone();
        // By this label the Deployment would take it for a pod too many.
        labels.remove("pod-template-hash");
        let mut spec = serde_json::to_value(pod.spec.context("the pod has no spec")?)?;
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("nodeName");
        }
        let name = format!("{}-twin", self.name);
        let configuration = configuration(&mut spec).context("the pod has no configuration")?;
        let original = configuration.as_str().unwrap_or_default().to_owned();
        *configuration = name.as_str().into();
        let twin = Twin {
            configurations: Api::namespaced(self.cluster.client().clone(), &self.namespace),
            original,
            sidecar: Self {
                name: name.clone(),
                ..self.clone()
            },
        };
        twin.copy_configuration().await?;
        let manifest = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": labels}, "spec": spec});
        self.pods
            .create(&PostParams::default(), &serde_json::from_value(manifest)?)
            .await?;
        wait_for("the sidecar's twin", TURNS, || async {
            Ok(runs(&self.pods.get(&name).await?).then_some(()))
        })
        .await?;
        Ok(twin)
    }

    /// What it reports of itself.
    pub async fn report(&self) -> Result<Report> {
        let (namespace, name) = (&self.namespace, &self.name);
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{STATUS_PORT}/proxy{STATUS_PATH}");
        let request = hyper::Request::get(path).body(Vec::new())?;
        let text = self.cluster.client().request_text(request).await?;
        Report::read(text.as_bytes()).with_context(|| format!("{name} reports {text}"))
    }

    /// Waits until its report is as wanted, and returns it.
    pub async fn until(
        &self,
        what: &str,
        deadline: Duration,
        wanted: impl Fn(&Report) -> bool,
    ) -> Result<Report> {
        let found = wait_for(&format!("{what} of {}", self.name), deadline, || async {
            let report = self.report().await?;
            Ok(wanted(&report).then_some(report))
        })
        .await;
        match found {
            Ok(report) => Ok(report),
            Err(error) => Err(error.context(match self.report().await {
                Ok(report) => serde_json::to_string_pretty(&report).unwrap_or_default(),
                Err(silent) => silent.to_string(),
            })),
        }
    }

    /// Evicts the pod, as the drain of a node does, and waits until the pod in its place runs; returns that one.
    pub async fn evict(&self, mirror: &str) -> Result<Self> {
        let before = self.pods.get(&self.name).await?.uid();
        self.pods.evict(&self.name, &EvictParams::default()).await?;
        wait_for(&format!("the end of the pod {}", self.name), TURNS, || async {
            let now = self.pods.get_opt(&self.name).await?;
            Ok(now.is_none_or(|pod| pod.uid() != before).then_some(()))
        })
        .await?;
        Self::of(&self.cluster, &self.namespace, mirror).await
    }

    /// Kills the process, as a node that is short of memory does, and waits until another runs in its place.
    pub async fn kill(&self) -> Result<()> {
        let before = self.status().await?;
        self.cluster
            .container(before.container_id.as_deref().unwrap_or_default())?
            .kill()?;
        let what = format!("another process in {}", self.name);
        let after = wait_for(&what, TURNS, || async {
            let now = self.status().await?;
            Ok((now.restart_count > before.restart_count && is_running(&now)).then_some(now))
        })
        .await?;
        // A node that cleans up forgets how the one before has ended.
        if let Some(ended) = after.last_state.and_then(|state| state.terminated) {
            let code = ended.exit_code;
            ensure!(code == 137, "it was to be killed, and ended with status {code}");
        }
        Ok(())
    }

    /// The container that runs now.
    pub async fn container(&self) -> Result<Container> {
        let status = self.status().await?;
        self.cluster
            .container(status.container_id.as_deref().unwrap_or_default())
    }

    /// How often its process was started again.
    pub async fn restarts(&self) -> Result<i32> {
        Ok(self.status().await?.restart_count)
    }

    async fn status(&self) -> Result<ContainerStatus> {
        let pod = self.pods.get(&self.name).await?;
        container(&pod)
            .cloned()
            .with_context(|| format!("{} has no container", self.name))
    }
}

/// A second sidecar of the same mirror. What it is told changes only when the test says so.
pub struct Twin {
    configurations: Api<ConfigMap>,
    original: String,
    sidecar: Sidecar,
}

impl Twin {
    /// Tells it what the operator's own sidecar is told by now.
    pub async fn catch_up(&self) -> Result<()> {
        self.copy_configuration().await?;
        // Without a change of the pod the kubelet takes a minute and more.
        let now = json!({"metadata": {"annotations": {"dataembassy.io/caught-up": jiff::Timestamp::now().to_string()}}});
        self.pods
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(now))
            .await?;
        Ok(())
    }

    async fn copy_configuration(&self) -> Result<()> {
        let data = self.configurations.get(&self.original).await?.data;
        let copy =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name}, "data": data});
        let patch = Patch::Apply(copy);
        self.configurations
            .patch(&self.name, &PatchParams::apply("scenario").force(), &patch)
            .await?;
        Ok(())
    }
}

impl Deref for Twin {
    type Target = Sidecar;

    fn deref(&self) -> &Sidecar {
        &self.sidecar
    }
}

/// Where a pod's spec names the `ConfigMap` that it reads.
fn configuration(spec: &mut Value) -> Option<&mut Value> {
    let volumes = spec["volumes"].as_array_mut()?;
    let sources = volumes
        .iter_mut()
        .filter_map(|volume| volume.get_mut("projected")?.get_mut("sources")?.as_array_mut());
    sources
        .flatten()
        .find_map(|source| source.get_mut("configMap")?.get_mut("name"))
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn runs(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && container(pod).is_some_and(is_running)
}

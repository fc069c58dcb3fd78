//! What a test or a demo does with a cluster.

use std::{ffi::OsStr, path::Path, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use rustix::process::Signal;
use tokio::process::Command;

use super::{Cluster, Component, cgroup, lifecycle, network, process::Process, runtime};
use crate::{
    command::{command, output, output_with_input, wait_for},
    images::Image,
};

/// The two Helms that charts are tested with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helm {
    /// Helm 3.
    Three,
    /// Helm 4.
    Four,
}

impl Cluster {
    /// kubectl for this cluster, to be given arguments.
    pub fn kubectl_command(&self) -> Result<Command> {
        let mut kubectl = command(self.cache.path("kubectl")?);
        kubectl.arg("--kubeconfig").arg(self.kubeconfig());
        Ok(kubectl)
    }

    /// Runs kubectl and returns what it printed.
    pub async fn kubectl(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        output(self.kubectl_command()?.args(arguments)).await
    }

    /// Helm for this cluster, to be given arguments. It keeps nothing in the user's home.
    pub fn helm_command(&self, helm: Helm) -> Result<Command> {
        let name = match helm {
            Helm::Three => "helm3",
            Helm::Four => "helm4",
        };
        let mut command = command(self.cache.path(name)?);
        let folder = self.site.folder().join(name);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HELM_CACHE_HOME", folder.join("cache"))
            .env("HELM_CONFIG_HOME", folder.join("config"))
            .env("HELM_DATA_HOME", folder.join("data"));
        Ok(command)
    }

    /// Runs Helm and returns what it printed.
    pub async fn helm(
        &self,
        helm: Helm,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<String> {
        output(self.helm_command(helm)?.args(arguments)).await
    }

    /// Applies YAML or JSON (server-side, strictly validated).
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        let mut kubectl = self.kubectl_command()?;
        kubectl.args([
            "apply",
            "--server-side",
            "--force-conflicts",
            "--validate=strict",
            "-f",
            "-",
        ]);
        output_with_input(&mut kubectl, manifest.as_bytes()).await
    }

    /// Applies a file, or every file of a folder.
    pub async fn apply_path(&self, path: &Path) -> Result<String> {
        let mut kubectl = self.kubectl_command()?;
        kubectl.args([
            "apply",
            "--server-side",
            "--force-conflicts",
            "--validate=strict",
            "-f",
        ]);
        output(kubectl.arg(path)).await
    }

    /// Makes a namespace, unless it is there, and waits until pods are let in.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let manifest = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted",
        }}});
        self.apply(&manifest.to_string()).await?;
        wait_for(
            &format!("the service account of namespace {name}"),
            Duration::from_mins(1),
            || async {
                let accounts: Api<ServiceAccount> = Api::namespaced(self.client().clone(), name);
                Ok(Some(accounts.get("default").await?))
            },
        )
        .await
        .map(drop)
    }

    /// Waits with `kubectl wait --for`, for example `condition=Ready` or `delete`.
    pub async fn wait_until(
        &self,
        kind: &str,
        name: &str,
        namespace: Option<&str>,
        condition: &str,
        deadline: Duration,
    ) -> Result<()> {
        let what = format!("{kind}/{name}");
        let condition_flag = format!("--for={condition}");
        wait_for(&format!("{condition} of {what}"), deadline, || async {
            let mut arguments = vec!["wait", &what, &condition_flag, "--timeout=10s"];
            arguments.extend(
                namespace
                    .into_iter()
                    .flat_map(|namespace| ["--namespace", namespace]),
            );
            self.kubectl(arguments).await.map(Some)
        })
        .await
        .map(drop)
    }

    /// Waits until a Deployment or `StatefulSet` (`deployment/name`) runs as its spec says.
    pub async fn rolled_out(&self, what: &str, namespace: &str, deadline: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", deadline.as_secs());
        match self
            .kubectl(["rollout", "status", what, "--namespace", namespace, &timeout])
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => {
                // Why it does not run stands in the events.
                let events = self
                    .kubectl(["get", "events,pods", "--namespace", namespace])
                    .await
                    .unwrap_or_default();
                Err(error.context(format!("{what} does not run:\n{events}")))
            }
        }
    }

    /// Runs a command in a pod's first container and returns what it printed. `pod` may be `deployment/name`.
    pub async fn exec(&self, namespace: &str, pod: &str, program: &[&str]) -> Result<String> {
        let arguments = ["exec", "--namespace", namespace, pod, "--"];
        self.kubectl(arguments.iter().chain(program)).await
    }

    /// What a pod's containers have written.
    pub async fn logs(&self, namespace: &str, pod: &str) -> Result<String> {
        self.kubectl([
            "logs",
            "--namespace",
            namespace,
            pod,
            "--all-containers",
            "--tail=-1",
        ])
        .await
    }

    /// Whether the API server answers and is ready.
    pub async fn answers(&self) -> bool {
        let ready = self
            .kubectl(["get", "--raw", "/readyz", "--request-timeout=2s"])
            .await;
        ready.is_ok_and(|text| text == "ok")
    }

    /// Brings an image into the node's runtime, unless it is there.
    pub async fn import_image(&self, image: &Image) -> Result<()> {
        runtime::import(self.site, image, &runtime::images(self.site).await?).await
    }

    /// Ends one of the cluster's processes. Pods go on running.
    pub async fn stop(&self, component: Component) -> Result<()> {
        Process::of(self.site, component.name())
            .stop(Duration::from_secs(15))
            .await
    }

    /// Kills one of the cluster's processes, which hears nothing of it.
    pub async fn kill(&self, component: Component) -> Result<()> {
        let process = Process::of(self.site, component.name());
        process.signal(Signal::KILL)?;
        // What is left of it is taken away.
        process.stop(Duration::from_secs(15)).await
    }

    /// Stops one of the cluster's processes where it is: its connections stay, and nobody is answered until [`Self::thaw`].
    pub fn freeze(&self, component: Component) -> Result<()> {
        Process::of(self.site, component.name()).signal(Signal::STOP)
    }

    /// Lets a frozen process go on, if it runs.
    pub fn thaw(&self, component: Component) -> Result<()> {
        Process::of(self.site, component.name()).signal(Signal::CONT)
    }

    /// Starts a process that was stopped; for the API server, waits until it answers.
    pub async fn start(&self, component: Component) -> Result<()> {
        lifecycle::start(self.site, &self.cache, component)?;
        if component == Component::ApiServer {
            wait_for("the API server", Duration::from_mins(2), || async {
                Ok(self.answers().await.then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// The node dies and comes up again, as at a power cut: its agent and everything in its pods end at once. The control plane, which would be
    /// elsewhere, goes on.
    pub async fn reboot_node(&self) -> Result<()> {
        self.stop(Component::Kubelet).await?;
        wait_for("the end of all pods", Duration::from_secs(30), || async {
            Ok((cgroup::kill(&self.site.cgroup())? == 0).then_some(()))
        })
        .await?;
        self.start(Component::Kubelet).await
    }

    /// What one of the cluster's processes has written so far.
    pub fn component_log(&self, component: Component) -> Result<String> {
        let log = Process::of(self.site, component.name()).log;
        std::fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))
    }

    /// What pods have asked of the API server so far: one audit event, in JSON, a line.
    pub fn audit_log(&self) -> Result<String> {
        let log = self.site.folder().join("log/audit.log");
        std::fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))
    }

    /// A command in the node's network, to be given arguments.
    #[must_use]
    pub fn within(&self, program: &str) -> Command {
        network::within(self.site, program)
    }
}

//! The operator, installed from the chart.

use std::{io::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use super::TREE;
use crate::{
    bed::Bed,
    cluster::{Cluster, Helm},
    command::wait_for,
};

/// The namespace of the release, which bears the same name.
pub const RELEASE_NAMESPACE: &str = "dataembassy-system";
/// The name of the operator's Deployment and of its service account.
pub const OPERATOR: &str = "dataembassy-operator";
/// The name of the release.
pub const RELEASE: &str = "dataembassy";
/// How long Helm waits for the operator.
const STARTS: &str = "--timeout=3m";

/// Installs or upgrades one side's release and waits until the operator is ready.
pub(super) async fn install(bed: &Bed, cluster: &Cluster, side: &str) -> Result<()> {
    cluster.namespace(RELEASE_NAMESPACE).await?;
    let image = |of: &str, name: &str| -> Result<Vec<String>> {
        // By digest: another build is another image, and rolls the pods.
        let by_digest = bed.image(name)?.by_digest();
        let (repository, digest) = by_digest.split_once('@').unwrap_or((&by_digest, ""));
        Ok(vec![
            format!("--set={of}.image.repository={repository}"),
            format!("--set={of}.image.digest={digest}"),
            format!("--set={of}.image.pullPolicy=Never"),
        ])
    };
    let mut values = vec![format!("--set=side={side}")];
    values.extend(image("operator", "operator:dev")?);
    values.extend(image("sidecar", "sidecar:dev")?);
    upgrade(cluster, Helm::Four, &values).await
}

/// The chart, as a folder.
#[must_use]
pub fn chart() -> PathBuf {
    PathBuf::from(TREE).join("charts/dataembassy")
}

async fn upgrade(cluster: &Cluster, helm: Helm, values: &[String]) -> Result<()> {
    let mut arguments = vec![
        "upgrade".to_owned(),
        "--install".to_owned(),
        RELEASE.to_owned(),
        chart().display().to_string(),
        format!("--namespace={RELEASE_NAMESPACE}"),
        "--wait".to_owned(),
        STARTS.to_owned(),
    ];
    arguments.extend_from_slice(values);
    cluster.helm(helm, &arguments).await.map(drop)
}

/// The release on a running bed: it can be taken away and brought back as it was.
pub struct Release {
    cluster: Cluster,
    values: NamedTempFile,
}

impl Release {
    /// The release that is installed, with what it was installed with.
    pub async fn installed(cluster: &Cluster) -> Result<Self> {
        let cluster = cluster.clone();
        let namespace = format!("--namespace={RELEASE_NAMESPACE}");
        let arguments = ["get", "values", RELEASE, &namespace, "--output=json"];
        let said = cluster.helm(Helm::Four, arguments).await?;
        let mut values = NamedTempFile::new().context("cannot keep the release's values")?;
        values.write_all(said.as_bytes())?;
        Ok(Self { cluster, values })
    }

    /// Installs or upgrades it with its values and these, and waits until the operator is ready.
    pub async fn upgrade(&self, helm: Helm, more: &[&str]) -> Result<()> {
        let mut values = vec![format!("--values={}", self.values.path().display())];
        values.extend(more.iter().map(|value| (*value).to_owned()));
        upgrade(&self.cluster, helm, &values).await
    }

    /// Uninstalls it and waits until the operator's pod is gone.
    pub async fn uninstall(&self, helm: Helm) -> Result<()> {
        let namespace = format!("--namespace={RELEASE_NAMESPACE}");
        let arguments = ["uninstall", RELEASE, &namespace, "--wait", STARTS];
        self.cluster.helm(helm, arguments).await?;
        self.stopped().await
    }

    /// Lets the operator run, or not, and waits until it is so.
    pub async fn scale(&self, replicas: u8) -> Result<()> {
        let what = format!("deployment/{OPERATOR}");
        let replicas_flag = format!("--replicas={replicas}");
        self.cluster
            .kubectl(["scale", &what, &replicas_flag, "--namespace", RELEASE_NAMESPACE])
            .await?;
        if replicas == 0 {
            return self.stopped().await;
        }
        self.cluster
            .rolled_out(&what, RELEASE_NAMESPACE, Duration::from_mins(3))
            .await
    }

    async fn stopped(&self) -> Result<()> {
        wait_for("the end of the operator", Duration::from_mins(1), || async {
            let selector = "--selector=app.kubernetes.io/component=operator";
            let arguments = [
                "get",
                "pods",
                selector,
                "--namespace",
                RELEASE_NAMESPACE,
                "--output=name",
            ];
            let pods = self.cluster.kubectl(arguments).await?;
            Ok(pods.is_empty().then_some(()))
        })
        .await
    }
}

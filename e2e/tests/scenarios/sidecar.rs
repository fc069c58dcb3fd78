//! A mirror's sidecar past the operator: its pod, and what it says itself. Once found it can be asked without the API server.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use dataembassy_contract::{
    files::{STATUS_PATH, STATUS_PORT},
    report::{FinishedRun, Report},
};
use dataembassy_e2e::{cluster::Cluster, command::wait_for};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::world::Subject;

/// The one pod of a mirror. Two are equal while neither the pod was replaced nor its container restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sidecar {
    /// The pod's UID.
    pub(crate) uid: String,
    /// How often its container was restarted.
    pub(crate) restarts: i32,
    address: IpAddr,
}

impl Sidecar {
    /// The pod that runs for a mirror now; there must be exactly one.
    pub(crate) async fn of(home: &Cluster, subject: &Subject) -> Result<Self> {
        let pods = pods(home, subject).await?;
        let [pod] = pods.as_slice() else {
            anyhow::bail!("{} has {} pods", subject.id, pods.len());
        };
        let status = pod.status.as_ref().context("the pod has no status")?;
        let container = status
            .container_statuses
            .as_ref()
            .and_then(|containers| containers.first())
            .context("the pod's container was not started")?;
        let address = status.pod_ip.as_ref().context("the pod has no address")?;
        Ok(Self {
            uid: pod.metadata.uid.clone().context("the pod has no UID")?,
            restarts: container.restart_count,
            address: address.parse()?,
        })
    }

    /// What it says of itself.
    pub(crate) async fn report(&self) -> Result<Report> {
        let mut stream = TcpStream::connect((self.address, STATUS_PORT)).await?;
        let request = format!("GET {STATUS_PATH} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let text = String::from_utf8(answer)?;
        let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
        ensure!(head.contains(" 200 "), "{head}");
        Report::read(body.as_bytes()).context("the report cannot be read")
    }

    /// Waits until its report is as it should be.
    pub(crate) async fn until(
        &self,
        what: &str,
        deadline: Duration,
        is_so: impl Fn(&Report) -> bool,
    ) -> Result<Report> {
        wait_for(what, deadline, || async {
            let report = self.report().await?;
            Ok(is_so(&report).then_some(report))
        })
        .await
    }
}

/// The pods of a mirror.
pub(crate) async fn pods(home: &Cluster, subject: &Subject) -> Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(home.client().clone(), &subject.namespace);
    let labels = format!(
        "app.kubernetes.io/component=mirror,app.kubernetes.io/instance={}",
        subject.id
    );
    Ok(api.list(&ListParams::default().labels(&labels)).await?.items)
}

/// The runs of a report that made a copy, the oldest first.
pub(crate) fn copies(report: &Report) -> Vec<&FinishedRun> {
    let copied = report.recent_runs.iter().filter(|run| run.sequence.is_some());
    let mut copied: Vec<_> = copied.collect();
    copied.reverse();
    copied
}

//! The command line: everything that the operator is told when it starts.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory, Parser};
use dataembassy_contract::files::{
    METRICS_PORT, OTLP_CERTIFICATE_VARIABLE, OTLP_ENDPOINT_VARIABLE, STATUS_PORT,
};
use dataembassy_contract::sovereignty::{Loopback, Sovereignty};
use dataembassy_telemetry as telemetry;
use kube::Client;

use crate::settings::{Settings, Side};

/// Reconciles `DataEmbassy` and, at home, `RegistryMirror` resources, at the embassy `RegistryCustody` and `RegistryDrill`
/// ones: runs a sidecar for each mirror, or the embassy's custodian and gate, restores copies and drills them, and says how they are.
#[derive(Debug, Parser)]
#[command(name = "dataembassy-operator", version)]
struct CommandLine {
    /// Which half of `DataEmbassy` this cluster runs: home or embassy.
    #[arg(long, env = "DATAEMBASSY_SIDE", default_value = "home")]
    side: Side,
    /// The operator's own namespace, where its write lease is.
    #[arg(long, env = "DATAEMBASSY_NAMESPACE")]
    namespace: String,
    /// What this process calls itself as holder of the write lease: the name of its pod.
    #[arg(long, env = "DATAEMBASSY_POD_NAME")]
    pod_name: String,
    /// The sidecar's image.
    #[arg(long, env = "DATAEMBASSY_SIDECAR_IMAGE")]
    sidecar_image: String,
    /// When the kubelet pulls it.
    #[arg(long, env = "DATAEMBASSY_SIDECAR_IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    sidecar_image_pull_policy: String,
    /// Secrets with which it is pulled, in the namespace of each pod that is made.
    #[arg(long, env = "DATAEMBASSY_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    image_pull_secrets: Vec<String>,
    /// Namespaces whose pods may read the sidecars' metrics.
    #[arg(long, env = "DATAEMBASSY_METRICS_NAMESPACES", value_delimiter = ',')]
    metrics_namespaces: Vec<String>,
    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, env = "DATAEMBASSY_LOG_LEVEL", default_value = "info")]
    log_level: telemetry::Level,
    /// A collector of traces, OTLP over HTTP, for the operator and its sidecars.
    #[arg(long, env = OTLP_ENDPOINT_VARIABLE)]
    otlp_endpoint: Option<String>,
    /// A PEM file with the authorities that an https collector is checked against, by the operator and its sidecars.
    #[arg(long, env = OTLP_CERTIFICATE_VARIABLE)]
    otlp_certificate: Option<PathBuf>,
    /// The port of /livez and /readyz.
    #[arg(long, env = "DATAEMBASSY_HEALTH_PORT", default_value_t = 8080)]
    health_port: u16,
    /// The port of /metrics.
    #[arg(long, env = "DATAEMBASSY_METRICS_PORT", default_value_t = METRICS_PORT)]
    metrics_port: u16,
}

/// The command line as data, from which its reference page is made.
#[must_use]
pub fn command() -> clap::Command {
    CommandLine::command()
}

/// Parses the command line of this process and runs until it is told to stop.
#[must_use]
pub fn main() -> ExitCode {
    match run(CommandLine::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(line: CommandLine) -> anyhow::Result<()> {
    telemetry::core_dumps::forbid()?;
    // Before any TLS is set up: there is one provider in this product.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        anyhow::bail!("another TLS provider was installed before ours");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let collector = line.otlp_endpoint.clone().map(|endpoint| telemetry::Collector {
        endpoint,
        certificates: line.otlp_certificate.clone(),
    });
    let otlp_ca = line
        .otlp_certificate
        .as_ref()
        .map(|path| {
            std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the collector's authorities in {}", path.display()))
        })
        .transpose()?;
    let entered = runtime.enter();
    let telemetry = telemetry::start(&telemetry::Settings {
        service: "dataembassy-operator",
        version: env!("CARGO_PKG_VERSION"),
        level: line.log_level,
        collector,
        address_guard: collector_guard(),
    })?;
    drop(entered);
    let result = runtime.block_on(async {
        let client = Client::try_default()
            .await
            .context("cannot find the API server")?;
        let settings = Settings {
            side: line.side,
            namespace: line.namespace,
            sidecar_image: line.sidecar_image,
            pull_policy: line.sidecar_image_pull_policy,
            pull_secrets: line.image_pull_secrets,
            metrics_namespaces: line.metrics_namespaces,
            otlp_endpoint: line.otlp_endpoint,
            otlp_ca,
            status_port: STATUS_PORT,
        };
        crate::run::run(
            client,
            settings,
            line.pod_name,
            line.health_port,
            line.metrics_port,
        )
        .await
    });
    telemetry.stop(Duration::from_secs(2));
    result
}

/// Who installs the operator says where its own traces go, and no resource has a say in it: any address will do. A commercial cloud is refused
/// all the same, and here: each sidecar would refuse it too, and none would start.
fn collector_guard() -> telemetry::AddressGuard {
    let names = Sovereignty::default().with_loopback(Loopback::Allowed);
    telemetry::AddressGuard::none()
        .with_names(move |name| names.judge_destination(name).map_err(|error| error.to_string()))
}

#[expect(clippy::print_stderr, reason = "the last words of a command line program")]
fn report(error: &anyhow::Error) {
    eprintln!("dataembassy-operator: {error:#}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_that_is_to_send_its_traces_to_a_commercial_cloud_does_not_start() {
        let endpoint = "http://traces.eu-central-1.amazonaws.com:4318";
        let started = telemetry::start(&telemetry::Settings {
            service: "dataembassy-operator",
            version: "0.0.0",
            level: telemetry::Level::default(),
            collector: Some(telemetry::Collector {
                endpoint: endpoint.to_owned(),
                certificates: None,
            }),
            address_guard: collector_guard(),
        });
        let said = started.unwrap_err().to_string();
        assert!(
            said.contains(endpoint) && said.contains("commercial cloud"),
            "{said}"
        );
    }
}

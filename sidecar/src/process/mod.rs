//! What the processes of a pod share: how each is started and ended, what is to be expected at its [`beginning`], its [`folder`] of
//! configuration and secrets, what some of that means ([`conversion`], [`database`]), the [`report`] that it keeps and the ports that it is
//! [`served`](serve) on. Nothing here knows what a process is for.

pub mod beginning;
pub mod clock;
pub mod conversion;
pub mod database;
pub mod folder;
pub mod report;
pub mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use clap::Args;
use dataembassy_contract::files;
use dataembassy_contract::sovereignty::{Loopback, Sovereignty};
use dataembassy_telemetry::{AddressGuard, Collector, Level, Settings};
use rand::Rng as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a process waits, at its end, for a collector to take the last traces.
const LAST_TRACES: Duration = Duration::from_secs(3);

/// The flags that every long-running process has.
#[derive(Debug, Args)]
pub struct ProcessArguments {
    /// The folder that holds the configuration and the secrets.
    #[arg(long, env = "DATAEMBASSY_CONFIG_DIR", default_value = files::CONFIG_DIR)]
    config_dir: PathBuf,
    /// Where /status, /livez and /readyz are answered.
    #[arg(long, env = "DATAEMBASSY_STATUS_ADDRESS", default_value_t = SocketAddr::from(([0, 0, 0, 0], files::STATUS_PORT)))]
    status_address: SocketAddr,
    /// Where /metrics is answered.
    #[arg(long, env = "DATAEMBASSY_METRICS_ADDRESS", default_value_t = SocketAddr::from(([0, 0, 0, 0], files::METRICS_PORT)))]
    metrics_address: SocketAddr,
    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, env = "DATAEMBASSY_LOG_LEVEL", default_value_t)]
    log_level: Level,
    /// Where traces go, OTLP over HTTP, such as `http://collector.observability:4318`; nowhere unless set.
    #[arg(long, env = files::OTLP_ENDPOINT_VARIABLE)]
    otlp_endpoint: Option<String>,
    /// A PEM file with the authorities that an https collector is checked against.
    #[arg(long, env = files::OTLP_CERTIFICATE_VARIABLE)]
    otlp_certificate: Option<PathBuf>,
    /// Lets loopback addresses through, for tests on one machine.
    #[arg(long)]
    allow_loopback: bool,
}

/// What a process was started with; the same for all of its configurations.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder that holds configuration and secrets.
    pub config_dir: PathBuf,
    /// Whether loopback addresses may be reached.
    pub loopback: Loopback,
    /// Where `/status`, `/livez` and `/readyz` are answered.
    pub status_address: SocketAddr,
    /// Where `/metrics` is answered.
    pub metrics_address: SocketAddr,
}

impl ProcessArguments {
    /// Where the process is.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            config_dir: self.config_dir.clone(),
            loopback: if self.allow_loopback {
                Loopback::Allowed
            } else {
                Loopback::Refused
            },
            status_address: self.status_address,
            metrics_address: self.metrics_address,
        }
    }

    fn telemetry(&self) -> Settings {
        let certificates = self.otlp_certificate.clone();
        let guard = Sovereignty::default().with_loopback(self.place().loopback);
        let names = guard.clone();
        Settings {
            service: "dataembassy-sidecar",
            version: env!("CARGO_PKG_VERSION"),
            level: self.log_level,
            collector: self.otlp_endpoint.clone().map(|endpoint| Collector {
                endpoint,
                certificates,
            }),
            address_guard: AddressGuard::new(move |address| {
                guard.judge_address(address).map_err(|error| error.to_string())
            })
            .with_names(move |name| names.judge_destination(name).map_err(|error| error.to_string())),
        }
    }

    /// Starts logs and traces, and runs `process`, whose token is cancelled by SIGTERM and by SIGINT: it must end soon after that.
    pub async fn run<F>(&self, process: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let telemetry = dataembassy_telemetry::start(&self.telemetry())?;
        let ending = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let told = ending.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("told to end");
            told.cancel();
        });
        let done = process(ending).await;
        tokio::task::spawn_blocking(move || telemetry.stop(LAST_TRACES)).await?;
        done
    }
}

/// A name for this process, drawn at random: another one means that it was restarted.
#[must_use]
pub fn name() -> String {
    format!("{:016x}", rand::rng().random::<u64>())
}

/// A port that is answered on until this is dropped.
#[derive(Debug)]
pub struct Serving(JoinHandle<std::io::Result<()>>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Answers on an address by these routes.
pub async fn serve(address: SocketAddr, routes: Router) -> anyhow::Result<Serving> {
    let listener = listen(address).await?;
    Ok(Serving(tokio::spawn(axum::serve(listener, routes).into_future())))
}

/// Takes an address; nothing is answered yet.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{address} cannot be listened on"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        process: ProcessArguments,
    }

    /// Why a process that is told to send its traces there does not start.
    fn refusal(endpoint: &str) -> String {
        let line = Line::try_parse_from(["sidecar", "--otlp-endpoint", endpoint]).unwrap();
        let started = dataembassy_telemetry::start(&line.process.telemetry());
        started.unwrap_err().to_string()
    }

    #[test]
    fn traces_go_to_no_commercial_cloud_however_its_name_is_spelled_and_to_no_forbidden_address() {
        for endpoint in [
            "http://traces.eu-central-1.amazonaws.com:4318",
            "http://Traces.AZURE.com.:4318",
            "http://windows.net",
        ] {
            let said = refusal(endpoint);
            assert!(
                said.contains("commercial cloud") && said.contains(endpoint),
                "{said}"
            );
        }
        for (endpoint, kind) in [
            ("http://169.254.169.254:4318", "link-local"),
            ("http://[::ffff:169.254.169.254]:4318", "link-local"),
            ("http://[fd00:ec2::254]:4318", "metadata"),
            ("http://localhost:4318", "loopback"),
            ("http://[::1]:4318", "loopback"),
        ] {
            let said = refusal(endpoint);
            assert!(said.contains(kind), "{said}");
        }
    }
}

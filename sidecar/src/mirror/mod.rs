//! The long-running process at home: one registry, copied on schedule.
//!
//! [`watch`] brings the configuration, [`agenda`] says what is due, [`run`] makes one copy, [`process`] puts them together and
//! [`report`] says what became of it. The process keeps no truth on disk: what it must know is in the ledger and in its
//! configuration.

pub mod agenda;
pub mod configuration;
pub mod metrics;
pub mod pipeline;
pub mod process;
pub mod report;
pub mod run;
pub mod server;
pub mod upload;
pub mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use dataembassy_contract::files;
use dataembassy_contract::sovereignty::Loopback;
use dataembassy_telemetry::{Collector, Level, Settings};
use rand::Rng as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use configuration::Environment;
use metrics::Metrics;
use process::Mirror;
use report::Board;

/// Command line of `dataembassy-sidecar mirror`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder that holds the configuration and the secrets.
    #[arg(long, env = "DATAEMBASSY_CONFIG_DIR", default_value = files::CONFIG_DIR)]
    config_dir: PathBuf,
    /// The folder that holds `<major>/bin/pg_dump` for each major version of PostgreSQL.
    #[arg(
        long,
        env = "DATAEMBASSY_POSTGRESQL_PROGRAMS",
        default_value = "/usr/lib/postgresql"
    )]
    postgresql_programs: PathBuf,
    /// Where plans lie while a run lasts: about a kilobyte for each table and large object.
    #[arg(long, env = "DATAEMBASSY_SCRATCH", default_value = "/tmp")]
    scratch: PathBuf,
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

/// How long the process waits, at its end, for a collector to take the last traces.
const LAST_TRACES: Duration = Duration::from_secs(3);

impl Arguments {
    fn telemetry(&self) -> Settings {
        let certificates = self.otlp_certificate.clone();
        Settings {
            service: "dataembassy-sidecar",
            version: env!("CARGO_PKG_VERSION"),
            level: self.log_level,
            collector: self.otlp_endpoint.clone().map(|endpoint| Collector {
                endpoint,
                certificates,
            }),
        }
    }

    fn environment(self) -> Environment {
        Environment {
            config_dir: self.config_dir,
            programs: self.postgresql_programs,
            scratch: self.scratch,
            loopback: if self.allow_loopback {
                Loopback::Allowed
            } else {
                Loopback::Refused
            },
            status_address: self.status_address,
            metrics_address: self.metrics_address,
        }
    }
}

/// Runs the mirror until SIGTERM or SIGINT.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let telemetry = dataembassy_telemetry::start(&arguments.telemetry())?;
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
    let done = run_until(arguments.environment(), ending).await;
    tokio::task::spawn_blocking(move || telemetry.stop(LAST_TRACES)).await?;
    done
}

/// Runs the mirror until `ending`.
pub async fn run_until(environment: Environment, ending: CancellationToken) -> anyhow::Result<()> {
    let process = format!("{:016x}", rand::rng().random::<u64>());
    let board = Board::new(process, jiff::Timestamp::now());
    let metrics = Metrics::new();
    let listen = async |address: SocketAddr| {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("{address} cannot be listened on"))
    };
    let status = listen(environment.status_address).await?;
    let scraped = listen(environment.metrics_address).await?;
    let serving = tokio::spawn(axum::serve(status, server::status(board.clone())).into_future());
    let scraping = tokio::spawn(axum::serve(scraped, server::metrics(metrics.clone())).into_future());
    let (effective, configurations) = tokio::sync::watch::channel(None);
    let watching = tokio::spawn(watch::run(environment, board.clone(), effective));
    Mirror::new(board, metrics, configurations, ending).run().await;
    watching.abort();
    scraping.abort();
    serving.abort();
    Ok(())
}

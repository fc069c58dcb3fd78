//! Logs, traces and metrics: how a process of ours tells what it does; and what it [never](core_dumps) tells.
//!
//! Nothing leaves the machine unless an OTLP endpoint is set, and then only traces, only to there. Libraries may say what went wrong and no
//! more: at finer levels some print requests, and a request may hold what nobody should read.

pub mod core_dumps;
mod guard;
pub mod metrics;
mod transport;

use std::fmt;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt as lines};

pub use guard::AddressGuard;

/// Every crate of ours has a target that begins like this.
const OURS: &str = "dataembassy";
/// How long one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much our own code says. Libraries say warnings and errors at most, whatever is set here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(LevelFilter);

impl Default for Level {
    fn default() -> Self {
        Self(LevelFilter::INFO)
    }
}

impl FromStr for Level {
    type Err = TelemetryError;

    fn from_str(word: &str) -> Result<Self, TelemetryError> {
        match word {
            "error" => Ok(Self(LevelFilter::ERROR)),
            "warn" => Ok(Self(LevelFilter::WARN)),
            "info" => Ok(Self(LevelFilter::INFO)),
            "debug" => Ok(Self(LevelFilter::DEBUG)),
            "trace" => Ok(Self(LevelFilter::TRACE)),
            _ => Err(TelemetryError::UnknownLevel {
                word: word.chars().take(32).collect(),
            }),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Where traces go: a collector that takes OTLP over HTTP (protobuf).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Its base address, such as `http://collector.observability:4318`; `/v1/traces` is added.
    pub endpoint: String,
    /// A PEM file with the authorities that an `https` collector is checked against. There are no built-in ones.
    pub certificates: Option<PathBuf>,
}

/// What a process sets once, when it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `service.name` of its traces.
    pub service: &'static str,
    /// `service.version` of its traces.
    pub version: &'static str,
    /// How much it logs.
    pub level: Level,
    /// Where its traces go; nowhere if absent.
    pub collector: Option<Collector>,
    /// Asked about the collector's name, and about every address of it before it is connected to.
    pub address_guard: AddressGuard,
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Not a level.
    #[error("unknown log level {word:?}: use error, warn, info, debug or trace")]
    UnknownLevel {
        /// What was given, cut to 32 characters.
        word: String,
    },
    /// The collector cannot be reached as configured.
    #[error(transparent)]
    Collector(#[from] transport::TransportError),
    /// The exporter refuses its settings.
    #[error("cannot export traces to {endpoint}: {source}")]
    Exporter {
        /// The collector's endpoint.
        endpoint: String,
        /// What the exporter says.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Started twice in one process.
    #[error("telemetry is already set up in this process")]
    AlreadyStarted,
}

/// Running telemetry. [`Telemetry::stop`] sends what is still held back.
#[must_use = "traces held back are lost unless it is stopped"]
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts logs, and traces where a collector is set. Logs go to standard error: lines for people on a terminal, else one JSON object a line.
///
/// Call it within a Tokio runtime if a collector is set: exports run there.
pub fn start(settings: &Settings) -> Result<Telemetry, TelemetryError> {
    let shown = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(OURS, settings.level.0);
    let terminal = std::io::stderr().is_terminal();
    let logs = if terminal {
        lines::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .compact()
            .boxed()
    } else {
        lines::layer()
            .with_writer(std::io::stderr)
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed()
    };
    let traces = settings
        .collector
        .as_ref()
        .map(|collector| provider(settings, collector))
        .transpose()?;
    // Spans are made at every level of ours: one run is one trace even where the log is quiet.
    let spans = traces.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(settings.service))
            .with_filter(Targets::new().with_target(OURS, LevelFilter::DEBUG))
    });
    Registry::default()
        .with(logs.with_filter(shown))
        .with(spans)
        .try_init()
        .map_err(|_| TelemetryError::AlreadyStarted)?;
    Ok(Telemetry { traces })
}

fn provider(settings: &Settings, collector: &Collector) -> Result<SdkTracerProvider, TelemetryError> {
    let client = transport::Client::new(collector, &settings.address_guard)?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(format!("{}/v1/traces", collector.endpoint.trim_end_matches('/')))
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| TelemetryError::Exporter {
            endpoint: collector.endpoint.clone(),
            source,
        })?;
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", settings.service),
            KeyValue::new("service.version", settings.version),
        ])
        .build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

impl Telemetry {
    /// Sends what is held back and stops, within `timeout`: a collector that does not answer must not keep a process alive.
    ///
    /// Blocks; call it outside of asynchronous code, or where blocking is allowed.
    pub fn stop(self, timeout: Duration) {
        if let Some(provider) = self.traces
            && let Err(error) = provider.shutdown_with_timeout(timeout)
        {
            tracing::warn!(%error, "some traces were not delivered");
        }
    }
}

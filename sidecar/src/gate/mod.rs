//! The embassy's door: the only way from home to the store.
//!
//! What may pass is decided by [`dataembassy_ledger::door`], a grammar without I/O. This room carries it out: [`configuration`] judges what
//! the folder holds, the listener takes connections, each request is judged, waits for its turn, and is passed on with its signature
//! untouched; the gate holds no key of the store. Bodies pass in pieces, so the memory in use grows with the number of requests and not
//! with their size. Replicas know nothing of each other.

mod allowance;
pub mod certificate;
pub mod configuration;
mod crowd;
mod download;
mod effective;
mod lane;
mod listener;
pub mod metrics;
mod serving;
mod upload;
mod upstream;
mod wire;
mod words;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::Args;
use dataembassy_contract::Reason;
use dataembassy_contract::files;
use dataembassy_contract::gate::GateReport;
use dataembassy_contract::sovereignty::Loopback;
use dataembassy_ledger::door::Refusal;
use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::process::beginning::Beginning;
use crate::process::clock::Now;
use crate::process::folder::{self, Files};
use crate::process::report::{Board, note, replace};
use crate::process::server::Status;
use crate::process::{self, Place as Site, ProcessArguments, server};
use crate::store::StoreError;
use certificate::{Certificate, CertificateError, Shown};
use configuration::{Configuration, ConfigurationError, NAMES};
use crowd::{CAPACITY, Crowd, Place};
use effective::Effective;
use lane::Refused;
use metrics::{Metrics, NOBODY};

/// The most bytes of a body that one side of a request buffers.
const BUFFER: usize = 64 * 1024;
/// The most requests under way beside one of each registry.
const COMMON_TURNS: usize = 64;
/// Between two looks at the store.
const PROBE_PERIOD: Duration = Duration::from_secs(15);
/// Between two looks at connections that nobody uses.
const TIDY_PERIOD: Duration = Duration::from_secs(5);

/// Command line of `dataembassy-sidecar gate`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    process: ProcessArguments,
    /// Where requests for the store are taken, over TLS.
    #[arg(long, env = "DATAEMBASSY_GATE_ADDRESS", default_value_t = SocketAddr::from(([0, 0, 0, 0], files::GATE_PORT)))]
    gate_address: SocketAddr,
}

/// Runs the gate until SIGTERM or SIGINT.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let (site, address) = (arguments.process.place(), arguments.gate_address);
    arguments
        .process
        .run(|ending| run_until(site, address, ending))
        .await
}

/// Runs the gate until `ending`.
pub async fn run_until(site: Site, address: SocketAddr, ending: CancellationToken) -> anyhow::Result<()> {
    let (effective, configurations) = watch::channel(None);
    let gate = Arc::new(Gate::new(configurations));
    let listener = process::listen(address).await?;
    let tls = TlsAcceptor::from(gate.shown.server_config()?);
    let _status = process::serve(site.status_address, server::status(Arc::clone(&gate))).await?;
    let catalog = Arc::clone(gate.metrics.catalog());
    let _metrics = process::serve(site.metrics_address, server::metrics(catalog)).await?;
    let (judging, loopback) = (Arc::clone(&gate), site.loopback);
    let judge = move |files: &Files| judging.take(files, loopback);
    let watching = tokio::spawn(folder::watch(site.config_dir, NAMES, effective, judge));
    let looking = tokio::spawn(look(Arc::clone(&gate)));
    listener::serve(gate, listener, tls, ending).await;
    looking.abort();
    watching.abort();
    Ok(())
}

/// One gate at work.
struct Gate {
    board: Board<GateReport>,
    metrics: Metrics,
    shown: Shown,
    effective: watch::Receiver<Option<Arc<Effective>>>,
    crowd: Crowd,
    common: Arc<Semaphore>,
    unclaimed: Mutex<Refused>,
    /// What holds a certificate that has ended, by a clock that may be set right.
    ended: Mutex<Option<Files>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Gate")
    }
}

impl Gate {
    fn new(effective: watch::Receiver<Option<Arc<Effective>>>) -> Self {
        Self {
            board: Board::begin(GateReport {
                process: process::name(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: Some(Timestamp::now()),
                ..GateReport::default()
            }),
            metrics: Metrics::new(),
            shown: Shown::default(),
            effective,
            crowd: Crowd::new(CAPACITY),
            common: Arc::new(Semaphore::new(COMMON_TURNS)),
            unclaimed: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    /// Judges what the folder holds and reports what came of it. Certificate and configuration do not wait for each other: whichever can
    /// be used is in effect.
    fn take(&self, files: &Files, loopback: Loopback) -> Option<Effective> {
        let certificate = configuration::certificate(files, Timestamp::now());
        let has_ended = matches!(
            certificate,
            Err(ConfigurationError::Certificate(CertificateError::Ended { .. }))
        );
        // Until all is told: nobody shows the former one, or says that all is well, between this and the end.
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended = has_ended.then(|| files.clone());
        if let Ok(certificate) = &certificate {
            self.show(certificate);
        }
        let adopted = self.adopt(files, loopback);
        let (effective, refused) = match adopted {
            Ok(effective) => (Some(effective), certificate.err()),
            Err(error) => (None, Some(error)),
        };
        self.metrics.current(refused.is_none());
        if let Some(error) = &refused {
            tracing::warn!(reason = %error.reason(), %error, "the newest configuration or certificate cannot be used");
        }
        self.board.write(|report| {
            report.missing_secrets = refused
                .as_ref()
                .map_or_else(Vec::new, |error| error.missing().to_vec());
            let fault = refused.map(|error| (error.reason(), error.to_string()));
            replace(&mut report.refused, fault);
        });
        effective
    }

    fn show(&self, certificate: &Certificate) {
        self.shown.show(certificate);
        self.metrics.certificate(certificate.ends_at.as_second());
        self.board
            .write(|report| report.certificate_ends_at = Some(certificate.ends_at));
    }

    /// Judges a certificate again that had ended: the folder stays as it is when somebody sets the clock right.
    fn judge_again(&self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Ok(certificate)) = ended
            .as_ref()
            .map(|files| configuration::certificate(files, Timestamp::now()))
        else {
            return;
        };
        *ended = None;
        tracing::info!("the certificate that had ended is shown, as the clock was set");
        self.show(&certificate);
        let is_of_it = self.board.look(|report| {
            let refused = report.refused.as_ref();
            refused.is_some_and(|fault| fault.reason == Reason::CertificateInvalid)
        });
        if is_of_it {
            self.metrics.current(true);
            self.board.write(|report| report.refused = None);
        }
    }

    fn adopt(&self, files: &Files, loopback: Loopback) -> Result<Effective, ConfigurationError> {
        let configuration = Configuration::judge(files, loopback)?;
        let loaded = configuration.loaded.clone();
        let effective = Effective::adopt(configuration, self.effective().as_deref(), &self.metrics)?;
        tracing::info!(
            generation = loaded.generation,
            registries = effective.lanes().count(),
            "a configuration is in effect"
        );
        self.board.write(|report| report.loaded = Some(loaded));
        Ok(effective)
    }

    fn effective(&self) -> Option<Arc<Effective>> {
        self.effective.borrow().clone()
    }

    const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The turns that all registries share.
    const fn common(&self) -> &Arc<Semaphore> {
        &self.common
    }

    /// A place for another connection.
    fn join(&self) -> Option<Place> {
        self.crowd.join()
    }

    /// A request that claimed no registry of ours was refused.
    fn refused(&self, refusal: &Refusal) {
        self.metrics.refused(NOBODY, refusal.word());
        if self.unclaimed().count(refusal.word(), Now::read()) {
            tracing::warn!(refusal = refusal.word(), why = %refusal, "a request of nobody's was refused");
        }
    }

    fn unclaimed(&self) -> MutexGuard<'_, Refused> {
        self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store_answered(&self) {
        self.metrics.store(true);
        self.board.write(|report| note(&mut report.store, Ok(())));
    }

    fn store_failed(&self, error: &StoreError) {
        self.metrics.store(false);
        self.metrics.store_failed(error.reason());
        let found = Err((error.reason(), error.to_string()));
        self.board.write(|report| note(&mut report.store, found));
    }
}

impl Status for Arc<Gate> {
    type Report = GateReport;

    fn report(&self) -> GateReport {
        let mut report = self.board.look(GateReport::clone);
        if let Some(effective) = self.effective() {
            report.lanes = effective.lanes().filter_map(|lane| lane.report()).collect();
            let open = effective.lanes().filter(|lane| lane.is_open());
            report.open = Some(open.map(|lane| lane.registry().to_string()).collect());
        }
        report.unclaimed = self.unclaimed().report(Now::read());
        report.at = Some(Timestamp::now());
        report.cleaned()
    }

    fn is_ready(&self) -> bool {
        self.shown.is_there() && self.effective.borrow().is_some()
    }
}

/// Looks at the store again and again, so that a fault is told before a request meets it, and closes connections that nobody uses.
async fn look(gate: Arc<Gate>) {
    let mut effective = gate.effective.clone();
    let mut ticks = tokio::time::interval(TIDY_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut probed: Option<Instant> = None;
    let beginning = Beginning::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = effective.changed() => {
                if changed.is_err() {
                    return;
                }
                probed = None;
            }
        }
        gate.judge_again();
        let Some(effective) = gate.effective() else {
            continue;
        };
        let upstream = effective.upstream();
        upstream.tidy();
        if probed.is_some_and(|probed| probed.elapsed() < PROBE_PERIOD) {
            continue;
        }
        match upstream.probe().await {
            Ok(()) => gate.store_answered(),
            Err(error) => {
                beginning.tell(error.reason(), &error, "the store cannot be used");
                gate.store_failed(&error);
            }
        }
        probed = Some(Instant::now());
    }
}

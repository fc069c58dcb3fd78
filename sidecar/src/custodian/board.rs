//! What the custodian says about itself and about each registry, and the routes that it is asked by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use dataembassy_contract::Reason;
use dataembassy_contract::custodian::{
    CustodianReport, MAX_BYTES, RegistryReport, RegistrySummary, registry_path,
};
use dataembassy_contract::report::{Loaded, MissingSecret};
use jiff::Timestamp;

use super::space::Flow;
use crate::process::report::replace;
use crate::process::server::{self, Status};

/// The most unknown registries that are named.
const MAX_UNKNOWN: usize = 16;

/// The reports, shared between the process and its server.
#[derive(Clone, Debug)]
pub struct Board(Arc<Mutex<Reports>>);

#[derive(Debug)]
struct Reports {
    report: CustodianReport,
    registries: BTreeMap<String, Told>,
}

/// What was said about one registry.
#[derive(Debug)]
struct Told {
    summary: RegistrySummary,
    report: Arc<RegistryReport>,
    /// What it has and gets; none before it was counted.
    flow: Option<Flow>,
}

impl Board {
    /// An empty report of a process that has just started; `process` tells it from every other.
    #[must_use]
    pub fn new(process: String, now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Reports {
            report: CustodianReport {
                process,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: Some(now),
                ..CustodianReport::default()
            },
            registries: BTreeMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the custodian's own report.
    pub fn write<T>(&self, change: impl FnOnce(&mut CustodianReport) -> T) -> T {
        change(&mut self.lock().report)
    }

    /// A configuration is in effect.
    pub fn loaded(&self, loaded: Loaded, signer: String) {
        self.write(|report| {
            report.loaded = Some(loaded);
            report.signer = Some(signer);
            report.refused = None;
            report.missing_secrets.clear();
        });
    }

    /// The newest configuration is not in effect.
    pub fn refused(&self, reason: Reason, message: String, missing: Vec<MissingSecret>) {
        self.write(|report| {
            report.missing_secrets = missing;
            replace(&mut report.refused, Some((reason, message)));
        });
    }

    /// Registries that the store has and nobody accepted.
    pub fn unknown(&self, mut names: Vec<String>) {
        names.truncate(MAX_UNKNOWN);
        self.write(|report| report.unknown_registries = names);
    }

    /// What is to be said about one registry now.
    pub fn tell(&self, summary: RegistrySummary, report: RegistryReport, flow: Option<Flow>) {
        let registry = report.registry.clone();
        let told = Told {
            summary,
            report: Arc::new(report),
            flow,
        };
        self.lock().registries.insert(registry, told);
    }

    /// A registry is not kept any more.
    pub fn forget(&self, registry: &str) {
        self.lock().registries.remove(registry);
    }

    /// What each registry has and gets, as far as they were counted.
    #[must_use]
    pub fn flows(&self) -> Vec<Flow> {
        let reports = self.lock();
        reports.registries.values().filter_map(|told| told.flow).collect()
    }

    fn registry(&self, registry: &str) -> Option<Arc<RegistryReport>> {
        self.lock()
            .registries
            .get(registry)
            .map(|told| Arc::clone(&told.report))
    }
}

impl Status for Board {
    type Report = CustodianReport;

    fn report(&self) -> CustodianReport {
        let state = self.lock();
        let mut report = state.report.clone();
        report.registries = state
            .registries
            .values()
            .map(|told| told.summary.clone())
            .collect();
        drop(state);
        fit(report.cleaned())
    }

    fn is_ready(&self) -> bool {
        self.lock().report.loaded.is_some()
    }
}

/// Lets go of registries without alarms, last ones first, until the operator reads it.
fn fit(mut report: CustodianReport) -> CustodianReport {
    let length =
        |report: &CustodianReport| serde_json::to_vec(report).map_or(usize::MAX, |bytes| bytes.len());
    while length(&report) > MAX_BYTES && !report.registries.is_empty() {
        let quiet = report
            .registries
            .iter()
            .rposition(|registry| registry.alarms == 0);
        report
            .registries
            .remove(quiet.unwrap_or(report.registries.len() - 1));
    }
    report
}

/// The routes of the status port.
pub fn routes(board: Board) -> Router {
    let registries = Router::new()
        .route(&registry_path("{registry}"), get(registry))
        .with_state(board.clone());
    server::status(board).merge(registries)
}

async fn registry(State(board): State<Board>, Path(registry): Path<String>, asked: HeaderMap) -> Response {
    match board.registry(&registry) {
        Some(report) => server::document(&asked, report.as_ref()),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

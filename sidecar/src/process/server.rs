//! `/status`, `/livez` and `/readyz` on one port, `/metrics` on another.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dataembassy_contract::files::STATUS_PATH;
use dataembassy_ledger::Sha256Digest;
use dataembassy_telemetry::metrics::Catalog;
use serde::Serialize;

/// What a process shows at its status port.
pub trait Status: Clone + Send + Sync + 'static {
    /// The report.
    type Report: Serialize;

    /// The report as it is now, within its bounds.
    fn report(&self) -> Self::Report;

    /// Whether a configuration is in effect: how well the work goes has conditions of its own.
    fn is_ready(&self) -> bool;

    /// Somebody asked and has this very report already: they have received it.
    fn is_known(&self, _report: &Self::Report) {}
}

/// The routes of the status port.
pub fn status<S: Status>(status: S) -> Router {
    Router::new()
        .route(STATUS_PATH, get(report::<S>))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready::<S>))
        .with_state(status)
}

/// The routes of the metrics port.
pub fn metrics(catalog: Arc<Catalog>) -> Router {
    let answer = move || async move {
        let headers = [(CONTENT_TYPE, dataembassy_telemetry::metrics::CONTENT_TYPE)];
        (headers, catalog.encode())
    };
    Router::new().route("/metrics", get(answer))
}

async fn report<S: Status>(State(status): State<S>, asked: HeaderMap) -> Response {
    let report = status.report();
    let answer = document(&asked, &report);
    if answer.status() == StatusCode::NOT_MODIFIED {
        status.is_known(&report);
    }
    answer
}

async fn ready<S: Status>(State(status): State<S>) -> StatusCode {
    if status.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Answers with a document; an unchanged one is not sent twice.
pub fn document(asked: &HeaderMap, document: &impl Serialize) -> Response {
    let Ok(body) = serde_json::to_vec(document) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let tag = format!("\"{}\"", Sha256Digest::of(&body));
    if asked
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    ([(ETAG, tag), (CONTENT_TYPE, "application/json".to_owned())], body).into_response()
}

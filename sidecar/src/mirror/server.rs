//! `/status`, `/livez` and `/readyz` on one port, `/metrics` on another.

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dataembassy_contract::files::STATUS_PATH;
use dataembassy_ledger::Sha256Digest;

use super::metrics::Metrics;
use super::report::Board;

/// The routes of the status port.
pub fn status(board: Board) -> Router {
    Router::new()
        .route(STATUS_PATH, get(report))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(board)
}

/// The routes of the metrics port.
pub fn metrics(metrics: Metrics) -> Router {
    let answer = move || async move {
        let headers = [(CONTENT_TYPE, dataembassy_telemetry::metrics::CONTENT_TYPE)];
        (headers, metrics.catalog().encode())
    };
    Router::new().route("/metrics", get(answer))
}

/// The report; an unchanged one is not sent twice.
async fn report(State(board): State<Board>, asked: HeaderMap) -> Response {
    let Ok(body) = serde_json::to_vec(&board.read()) else {
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

/// Ready once a configuration is in effect: whether copies succeed has conditions of its own.
async fn ready(State(board): State<Board>) -> StatusCode {
    if board.read().loaded.is_some() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

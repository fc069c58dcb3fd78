//! Health on one port, metrics on another, so that a network policy can tell them apart.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use dataembassy_telemetry::metrics::{CONTENT_TYPE as CONTENT_TYPE_OF_METRICS, Catalog};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// What the probes are answered by.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
}

impl Health {
    /// Says that the watches are up and the lease is held.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }
}

/// Serves `/livez` and `/readyz`.
pub async fn serve_health(port: u16, health: Arc<Health>) -> std::io::Result<()> {
    let ready = |State(health): State<Arc<Health>>| async move {
        if health.ready.load(Ordering::Relaxed) {
            (StatusCode::OK, "ok\n")
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "waiting for the write lease or the API server\n",
            )
        }
    };
    let routes = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(health);
    axum::serve(listen(port).await?, routes).await
}

/// Serves `/metrics`.
pub async fn serve_metrics(port: u16, metrics: Metrics) -> std::io::Result<()> {
    let state = (Arc::new(metrics.catalog()), metrics);
    let text = |State((catalog, metrics)): State<(Arc<Catalog>, Metrics)>| async move {
        metrics.forget_gone();
        ([(CONTENT_TYPE, CONTENT_TYPE_OF_METRICS)], catalog.encode())
    };
    let routes = Router::new().route("/metrics", get(text)).with_state(state);
    axum::serve(listen(port).await?, routes).await
}

/// Listens on every address, of both families where the machine has both.
async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).await,
    }
}

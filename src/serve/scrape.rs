//! Metrics for Prometheus.

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::CONTENT_TYPE;

use crate::telemetry::Registry;

/// Version 0.0.4 of the text format, which every scraper reads.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/metrics` in Prometheus' text format.
pub fn routes(registry: Registry) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(registry)
}

async fn metrics(State(registry): State<Registry>) -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT)], registry.render())
}

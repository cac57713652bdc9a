//! Alive, and ready.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;

use crate::flow::Readiness;

/// `/health` answers `OK` for as long as the process lives. `/ready` answers `Ready`, or 503 with a line for each reason why not.
pub fn routes(readiness: Readiness) -> Router {
    Router::new().route("/health", get(|| async { "OK" })).route("/ready", get(ready)).with_state(readiness)
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let reasons = readiness.reasons();
    if reasons.is_empty() {
        return "Ready".into_response();
    }
    let text: String = reasons.iter().map(|reason| format!("not ready: {reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

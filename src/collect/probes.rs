//! Small routes that senders and Grafana ask before they trust us.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, RawForm, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::json;

use crate::flow::{Clock, Readiness};

/// A question of Grafana's is some tens of bytes.
const MAX_BODY: usize = 4 << 10;

/// Time for a question and its answer: these routes hold a connection that senders of logs need.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn routes(readiness: Readiness, clock: Clock) -> Router {
    Router::new()
        // COMPAT: Vector's health check falls back to this when there is no `/ready`, and wants exactly 200.
        .route("/", get(|| async { "kube-sentinel\n" }))
        .route("/ready", get(ready).with_state(readiness))
        .route("/loki/api/v1/status/buildinfo", get(build_info))
        .route("/loki/api/v1/labels", get(empty).post(empty))
        .route("/loki/api/v1/label", get(empty))
        .route("/loki/api/v1/label/{name}/values", get(|_: Path<String>| empty()))
        .route("/loki/api/v1/series", get(empty).post(empty))
        .route("/loki/api/v1/query", get(query).post(query).with_state(clock))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(in_time))
}

async fn in_time(request: Request, next: Next) -> Response {
    let late = |_| (StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time\n").into_response();
    tokio::time::timeout(PATIENCE, next.run(request)).await.unwrap_or_else(late)
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let reasons = readiness.reasons();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], format!("not ready: {}\n", reasons.join(", "))).into_response()
}

async fn build_info() -> Json<serde_json::Value> {
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({ "version": version, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "" }))
}

/// We keep no logs to be asked for, so there are no labels either.
async fn empty() -> Json<serde_json::Value> {
    Json(json!({ "status": "success", "data": [] }))
}

/// COMPAT: Grafana's "Save & test" asks for `vector(1)+vector(1)`. No other query has an answer here.
async fn query(State(clock): State<Clock>, RawForm(form): RawForm) -> Response {
    let form = String::from_utf8_lossy(&form).to_ascii_lowercase();
    let query = form.split('&').find_map(|pair| pair.strip_prefix("query=")).unwrap_or_default();
    // The sign and spaces come as `+`, `%2B` or `%20`.
    let query = query.replace("%28", "(").replace("%29", ")").replace("%2b", "").replace("%20", "").replace('+', "");
    if query != "vector(1)vector(1)" {
        return (StatusCode::BAD_REQUEST, "only vector(1)+vector(1) can be asked for: logs are not kept\n").into_response();
    }
    let seconds = clock.now().millis().div_euclid(1000);
    let data = json!({ "resultType": "vector", "result": [{ "metric": {}, "value": [seconds, "2"] }] });
    Json(json!({ "status": "success", "data": data })).into_response()
}

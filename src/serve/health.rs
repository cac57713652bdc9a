//! Alive, and ready.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode, Version};

use crate::flow::Readiness;

/// `/health` answers `OK` for as long as the process lives. `/ready` answers `Ready`, or 503 with a line for each reason why not. What is not as it
/// should be and keeps nobody from being served, such as a source that is behind, has a line in both answers.
pub fn routes(readiness: Readiness) -> Router {
    Router::new().route("/health", get(|| async { "OK" })).route("/ready", get(ready)).with_state(readiness)
}

/// Ends HTTP/1 connections with their next answer once the process is going to stop, so that their owners connect to somebody else. Those of
/// HTTP/2 are told when the listener closes.
pub fn closing_when_draining(router: Router, readiness: Readiness) -> Router {
    router.layer(middleware::from_fn_with_state(readiness, close_when_draining))
}

async fn close_when_draining(State(readiness): State<Readiness>, request: Request, next: Next) -> Response {
    let http_1 = request.version() < Version::HTTP_2;
    let mut response = next.run(request).await;
    if http_1 && readiness.is_draining() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let reasons = readiness.reasons();
    let remarks: String = readiness.remarks().iter().map(|remark| format!("{remark}\n")).collect();
    if reasons.is_empty() {
        let text = if remarks.is_empty() { "Ready".to_owned() } else { format!("Ready\n{remarks}") };
        return text.into_response();
    }
    let text: String = reasons.iter().map(|reason| format!("not ready: {reason}\n")).chain([remarks]).collect();
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

//! The REST API: JSON in snake_case, times in RFC 3339 and UTC.
//!
//! COMPAT: paths, parameters, clamps and the shape of the bodies are those of contracts A.6 and A.7, so that dashboards made for the older
//! program keep working; what we add stands beside it. One thing is not as it was: a filter that makes no sense is refused, not left out.

pub(super) mod errors;
pub(super) mod evidence;
pub(super) mod incidents;
mod query;
mod rules;
mod stats;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::Handles;
use super::config::RequestConfig;
use super::reader::Reader;
use crate::store::{Store, StoreError};

/// What every handler may use.
#[derive(Debug, Clone)]
struct Api(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handles: Handles,
    reader: Reader,
    /// One pattern at a time is tried: a hostile one is bounded, but still takes seconds.
    trials: Arc<Semaphore>,
}

/// Why a request was not answered with what it asked for. The body is `{"error": TEXT}`.
#[derive(Debug)]
struct ApiError {
    status: StatusCode,
    text: String,
}

/// `GET /api/version`.
#[derive(Debug, Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
}

/// All routes below `/api`.
pub(super) fn routes(handles: Handles, reader: Reader, config: &RequestConfig) -> Router {
    let api = Api(Arc::new(Inner { handles, reader, trials: Arc::new(Semaphore::new(1)) }));
    Router::new()
        .route("/api/errors", get(errors::list))
        .route("/api/errors/{id}", get(errors::get))
        .route("/api/incidents", get(incidents::list))
        .route("/api/incidents/{id}", get(incidents::get))
        .route("/api/incidents/{id}/resolve", post(incidents::resolve))
        .route("/api/rules", get(rules::list))
        .route("/api/rules/test", post(rules::test))
        .route("/api/rules/reload", post(rules::reload))
        .route("/api/stats", get(stats::get))
        .route("/api/version", get(version))
        .with_state(api)
        .layer(DefaultBodyLimit::max(config.max_body.bytes()))
        .layer(middleware::from_fn_with_state(config.timeout.0, limit_time))
}

async fn version() -> Json<Version> {
    Json(Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("no answer within {} s", limit.as_secs_f32())).into_response(),
    }
}

impl Api {
    /// Reads from the store.
    async fn read<T, F>(&self, read: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    {
        match self.0.reader.read(read).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => {
                tracing::error!(%error, "the store cannot be read");
                Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the store cannot be read: {error}")))
            }
            None => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the read was broken off".to_owned())),
        }
    }
}

impl ApiError {
    pub(super) fn new(status: StatusCode, text: String) -> Self {
        Self { status, text }
    }

    fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        error(self.status, &self.text)
    }
}

/// An answer with the body `{"error": TEXT}`.
pub(super) fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(serde_json::json!({ "error": text }))).into_response()
}

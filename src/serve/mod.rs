//! Answers people and programs: what happened, what is looked for, how are we doing.
//!
//! Comes in: requests to the API listener. Goes out: JSON, Prometheus text and the gRPC feed, all read from the store, which is the only
//! thing that this stage knows about events. The [`listener::Listener`] and the [`auth::Guard`] also carry the ingest listener, whose routes
//! are `collect`'s.
//!
//! # Invariants
//!
//! - Nothing here changes state without the key of an operator, on loopback neither.
//! - A slow peer costs itself: its connection is bounded in time, and a subscriber reads pages from the store at its own pace.
//! - No type of `model` is serialised: the API has types of its own, so that a change inside is no change outside.
//!
//! # Assembly
//!
//! ```text
//! Policy::of ─► Guard::new ─► router(handles, .., guard) ─────────┬─► Listener::bind(..).serve(router, shutdown)
//!                        └──► guard.protect(routes of `collect`) ─┘
//! ```

mod api;
pub mod auth;
pub mod config;
pub mod convert;
mod feed;
mod health;
pub mod listener;
pub mod metrics;
mod observe;
mod reader;
mod resolver;
mod rules_view;
mod scrape;
pub mod tls;
mod watch;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;

use self::auth::Guard;
use self::metrics::ServeMetrics;
use self::reader::Reader;
use crate::flow::{Clock, Readiness, Shutdown};
use crate::model::Timestamp;
use crate::store::Store;
use crate::telemetry::Registry;

pub use api::errors::Event as EventJson;
pub use api::evidence::EvidenceJson;
pub use api::incidents::IncidentJson;
pub use config::ServeConfig;
pub use health::{closing_when_draining, routes as health_routes};
pub use resolver::{IncidentResolver, NotResolved};
pub use rules_view::{AbsenceView, NoReload, Reload, ReloadRequests, Reloader, RuleProblem, RulesStatus, RulesView};
pub use scrape::routes as scrape_routes;
pub use watch::watch;

/// Everything that the API answers from.
#[derive(Debug, Clone)]
pub struct Handles {
    /// Events and the feed.
    pub store: Store,
    /// The rules in force.
    pub rules: RulesView,
    /// What rules wait for.
    pub absences: AbsenceView,
    /// Where a reload of the rules is asked for.
    pub reload: Reloader,
    /// Where a person says that an incident is over.
    pub incidents: IncidentResolver,
    /// What has passed since the start.
    pub totals: TotalsView,
    /// Ready or not.
    pub readiness: Readiness,
    /// All metrics.
    pub registry: Registry,
    /// Tells the time.
    pub clock: Clock,
    /// Clock time of the start.
    pub started: Timestamp,
    /// Ends the streams of the feed.
    pub shutdown: Shutdown,
}

/// What has passed since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines that were scanned.
    pub lines: u64,
    /// Their bytes.
    pub line_bytes: u64,
    /// Hits of rules on them.
    pub hits: u64,
}

/// Reads the [`Totals`] where the stages count them. Cheap to clone.
#[derive(Clone)]
pub struct TotalsView(Arc<dyn Fn() -> Totals + Send + Sync>);

/// The routes of the API listener behind their guard: `/api`, the gRPC feed, `/health`, `/ready` and `/metrics`.
pub fn router(handles: Handles, config: &ServeConfig, guard: &Guard, metrics: &ServeMetrics) -> Router {
    let reader = Reader::new(handles.store.clone());
    let routes = Router::new()
        .merge(health::routes(handles.readiness.clone()))
        .merge(scrape::routes(handles.registry.clone()))
        .merge(feed::routes(reader.clone(), &config.feed, metrics, handles.shutdown.clone()))
        .merge(api::routes(handles, reader, &config.requests))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method);
    observe::observe(guard.protect(routes), metrics.clone())
}

async fn unknown_path(request: Request) -> Response {
    if auth::is_grpc(&request) {
        return tonic::Status::unimplemented("there is no such method").into_http();
    }
    api::error(StatusCode::NOT_FOUND, &format!("there is nothing at {}", request.uri().path()))
}

async fn wrong_method(request: Request) -> Response {
    api::error(StatusCode::METHOD_NOT_ALLOWED, &format!("{} is not for {}", request.uri().path(), request.method()))
}

impl TotalsView {
    /// Wraps the function that reads them.
    pub fn new(read: impl Fn() -> Totals + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The totals now.
    #[must_use]
    pub fn read(&self) -> Totals {
        (self.0)()
    }
}

impl fmt::Debug for TotalsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotalsView")
    }
}

//! Events, which the API calls errors.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::Serialize;

use super::query::Listing;
use super::{Api, ApiError};
use crate::model::{ErrorEvent, EventId, Timestamp};

/// `GET /api/errors`.
#[derive(Debug, Serialize)]
pub(super) struct List {
    errors: Vec<Event>,
    total: usize,
    page: usize,
    #[serde(rename = "pageSize")]
    page_size_as_before: usize,
    page_size: usize,
}

/// `GET /api/errors/{id}`.
#[derive(Debug, Serialize)]
pub(super) struct One {
    error: Event,
    /// Nothing is remediated in this version.
    remediations: [(); 0],
}

/// One event in JSON.
#[derive(Debug, Serialize)]
pub struct Event {
    id: String,
    fingerprint: String,
    timestamp: String,
    first_seen: String,
    last_seen: String,
    tenant: String,
    cluster: String,
    namespace: String,
    pod: String,
    container: String,
    node: String,
    workload: String,
    provenance: &'static str,
    message: String,
    template: String,
    labels: BTreeMap<String, String>,
    priority: &'static str,
    rule_name: String,
    state: &'static str,
    reason: &'static str,
    count: u64,
    window: Window,
    sampled: bool,
    generation: u64,
    remediated: bool,
    remediated_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct Window {
    count: u64,
    seconds: u64,
}

pub(super) async fn list(State(api): State<Api>, Query(parameters): Query<Vec<(String, String)>>) -> Result<Json<List>, ApiError> {
    let listing = Listing::read(&parameters, api.0.handles.clock.now()).map_err(ApiError::bad_request)?;
    let window = listing.window();
    let filter = listing.filter;
    let found = api.read(move |store| store.list(&filter, window)).await?;
    Ok(Json(List {
        errors: found.events.iter().map(Event::from).collect(),
        total: found.total,
        page: listing.page,
        page_size_as_before: listing.page_size,
        page_size: listing.page_size,
    }))
}

pub(super) async fn get(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<One>, ApiError> {
    let not_found = || ApiError::new(StatusCode::NOT_FOUND, "error not found".to_owned());
    let id = EventId::parse(&id).ok_or_else(not_found)?;
    let event = api.read(move |store| store.get(id)).await?.ok_or_else(not_found)?;
    Ok(Json(One { error: Event::from(&event), remediations: [] }))
}

impl From<&ErrorEvent> for Event {
    fn from(event: &ErrorEvent) -> Self {
        let (head, workload) = (&event.head, &event.workload);
        let time = |at: Timestamp| at.to_string();
        Self {
            id: event.id.to_string(),
            fingerprint: event.fingerprint.to_hex(),
            timestamp: time(head.last_seen),
            first_seen: time(head.first_seen),
            last_seen: time(head.last_seen),
            tenant: event.tenant.as_str().to_owned(),
            cluster: event.cluster.to_string(),
            namespace: workload.namespace.to_string(),
            pod: workload.pod.to_string(),
            container: workload.container.to_string(),
            node: workload.node.to_string(),
            workload: workload.name.to_string(),
            provenance: workload.provenance.as_str(),
            message: event.message.to_string(),
            template: event.template.to_string(),
            labels: event.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            priority: head.priority.as_str(),
            rule_name: event.rule.as_str().to_owned(),
            state: head.state.as_str(),
            reason: head.reason.as_str(),
            count: head.count,
            window: Window { count: head.window_count, seconds: event.window.as_secs() },
            sampled: head.sampled,
            generation: event.generation.0,
            remediated: false,
            remediated_at: None,
        }
    }
}

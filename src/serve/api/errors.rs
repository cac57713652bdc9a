//! Events, which the API calls errors.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Serialize;

use super::evidence::EvidenceJson;
use super::query::{Listing, Order};
use super::{Api, ApiError};
use crate::model::{ErrorEvent, EventId, EventState, Notice, Provenance, Timestamp, TransitionReason};
use crate::proto::v1;
use crate::serve::auth::Receiver;
use crate::serve::convert;
use crate::store::EventFilter;

/// `GET /api/errors`.
#[derive(Debug, Serialize)]
pub(super) struct List {
    errors: Vec<Event>,
    /// Of all pages. Missing behind a `before`: to count would be to read all.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    page: usize,
    #[serde(rename = "pageSize")]
    page_size_as_before: usize,
    page_size: usize,
    /// With `order=newest`: what to ask for as `before` to get the next page. Missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// `GET /api/errors/{id}`.
#[derive(Debug, Serialize)]
pub(super) struct One {
    error: Event,
    /// Lines around the hit that was captured last.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<EvidenceJson>,
    /// The same for the first one, if there is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_evidence: Option<EvidenceJson>,
    /// Nothing is remediated in this version.
    remediations: [(); 0],
}

/// One event in JSON: the same object in lists, in the feed as the command line tells it, and from `scan`.
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
    /// How often it came back.
    flap_count: u64,
    flapping: bool,
    /// What a person should be told of it; null before it fired.
    notice: Option<&'static str>,
    /// The event that counts its hits since their template groups merged; null for all others.
    merged_into: Option<String>,
    /// The incident that it last fired in; null before it fired.
    incident_id: Option<String>,
    generation: u64,
    remediated: bool,
    remediated_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct Window {
    count: u64,
    seconds: u64,
}

pub(super) async fn list(
    State(api): State<Api>,
    Extension(Receiver(egress)): Extension<Receiver>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<List>, ApiError> {
    let listing = Listing::read(&parameters, api.0.handles.clock.now()).map_err(ApiError::bad_request)?;
    let window = listing.window();
    let filter = EventFilter { egress, ..listing.filter };
    let order = listing.order;
    let mut found = api
        .read(move |store| match order {
            Order::Urgency => store.list(&filter, window),
            Order::Newest(before) => store.list_newest(&filter, before, window.limit),
        })
        .await?;
    found.events.iter_mut().for_each(|event| egress.hide_event(event));
    let goes_on = found.more && order != Order::Urgency;
    Ok(Json(List {
        errors: found.events.iter().map(Event::from).collect(),
        total: found.total,
        page: listing.page,
        page_size_as_before: listing.page_size,
        page_size: listing.page_size,
        next: found.events.last().filter(|_| goes_on).map(|event| event.id.to_string()),
    }))
}

pub(super) async fn get(
    State(api): State<Api>,
    Extension(Receiver(egress)): Extension<Receiver>,
    Path(id): Path<String>,
) -> Result<Json<One>, ApiError> {
    let not_found = || ApiError::new(StatusCode::NOT_FOUND, "error not found".to_owned());
    let id = EventId::parse(&id).ok_or_else(not_found)?;
    let found = api.read(move |store| {
        let Some(event) = store.get(id)? else { return Ok(None) };
        let evidence = store.evidence(event.row)?;
        Ok(Some((event, evidence)))
    });
    let (mut event, mut kept) = found.await?.ok_or_else(not_found)?;
    egress.hide_event(&mut event);
    kept.first.iter_mut().chain(&mut kept.latest).for_each(|evidence| egress.hide_evidence(evidence));
    let evidence = kept.newest().map(EvidenceJson::from);
    let first_evidence = kept.latest.and(kept.first.as_ref()).map(EvidenceJson::from);
    Ok(Json(One { error: Event::from(&event), evidence, first_evidence, remediations: [] }))
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
            flap_count: head.life.flap_count(),
            flapping: head.life.flapping,
            notice: head.life.notice.map(Notice::as_str),
            merged_into: event.merged_into.map(|id| id.to_string()),
            incident_id: event.incident.map(|incident| incident.to_string()),
            generation: event.generation.0,
            remediated: false,
            remediated_at: None,
        }
    }
}

/// The event of an update of the feed, for clients that write JSON. What a newer server tells and this version does not know is `unknown`.
impl From<&v1::ErrorEvent> for Event {
    fn from(event: &v1::ErrorEvent) -> Self {
        let workload = event.workload.clone().unwrap_or_default();
        let time = |at: Option<&prost_types::Timestamp>| at.map_or_else(String::new, |at| convert::time(at).to_string());
        let last_seen = time(event.last_seen.as_ref());
        Self {
            id: event.id.clone(),
            fingerprint: event.fingerprint.clone(),
            timestamp: last_seen.clone(),
            first_seen: time(event.first_seen.as_ref()),
            last_seen,
            tenant: event.tenant.clone(),
            cluster: event.cluster.clone(),
            provenance: match workload.provenance() {
                v1::Provenance::Claim => Provenance::Claim.as_str(),
                v1::Provenance::KubeletPath => Provenance::KubeletPath.as_str(),
                v1::Provenance::ApiServer => Provenance::ApiServer.as_str(),
                v1::Provenance::Unspecified => convert::UNKNOWN,
            },
            namespace: workload.namespace,
            pod: workload.pod,
            container: workload.container,
            node: workload.node,
            workload: workload.name,
            message: event.message.clone(),
            template: event.template.clone(),
            labels: event.labels.clone(),
            priority: convert::priority_name(event.priority),
            rule_name: event.rule.clone(),
            state: convert::name_of(event.state, EventState::from_code, EventState::as_str),
            reason: convert::name_of(event.reason, TransitionReason::from_code, TransitionReason::as_str),
            count: event.count,
            window: event
                .window
                .as_ref()
                .map_or(Window { count: 0, seconds: 0 }, |window| Window { count: window.count, seconds: u64::from(window.seconds) }),
            sampled: event.sampled,
            flap_count: event.flap_count,
            flapping: event.flapping,
            notice: (event.notice != v1::Notice::Unspecified as i32)
                .then(|| convert::name_of(event.notice, Notice::from_code, Notice::as_str)),
            merged_into: Some(event.merged_into.clone()).filter(|id| !id.is_empty()),
            incident_id: Some(event.incident_id.clone()).filter(|id| !id.is_empty()),
            generation: event.generation,
            remediated: false,
            remediated_at: None,
        }
    }
}

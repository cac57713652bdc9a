//! Incidents: what breaks at one service at one time.

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Serialize;

use super::errors::Event;
use super::{Api, ApiError};
use crate::model::{Incident, IncidentId, IncidentState, Priority, Recurrence, TenantId};
use crate::proto::v1;
use crate::serve::auth::Receiver;
use crate::serve::{NotResolved, convert};
use crate::store::{EventFilter, IncidentEntry, IncidentFilter, Page};

/// Incidents on a page when nobody asks for a number, and the most.
const PAGE_SIZE: (usize, usize) = (20, 100);

/// Events that are shown with an incident. `GET /api/errors?incident=ID` has all of them.
const SHOWN_EVENTS: usize = 100;

/// Every parameter.
const PARAMETERS: [&str; 7] = ["page_size", "before", "state", "severity", "namespace", "workload", "tenant"];

/// `GET /api/incidents`.
#[derive(Debug, Serialize)]
pub(super) struct List {
    incidents: Vec<IncidentJson>,
    /// Of all pages. Missing behind a `before`.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    page_size: usize,
    /// What to ask for as `before` to get the next page. Missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// `GET /api/incidents/{id}`.
#[derive(Debug, Serialize)]
pub(super) struct One {
    incident: IncidentJson,
    /// The most urgent first.
    events: Vec<Event>,
    /// Its last transitions, as far as the feed still has them.
    history: Vec<Transition>,
}

/// `POST /api/incidents/{id}/resolve`.
#[derive(Debug, Serialize)]
pub(super) struct Resolved {
    incident: IncidentJson,
}

#[derive(Debug, Serialize)]
pub(super) struct Transition {
    seq: u64,
    at: String,
    state: &'static str,
    reason: &'static str,
    severity: &'static str,
    event_count: u64,
}

/// One incident in JSON: the same object in lists and in the feed as the command line tells it.
#[derive(Debug, Serialize)]
pub struct IncidentJson {
    id: String,
    tenant: String,
    cluster: String,
    namespace: String,
    workload: String,
    state: &'static str,
    reason: &'static str,
    severity: &'static str,
    mode: &'static str,
    /// Why it is to be investigated; null when it is not.
    mode_reason: Option<String>,
    recurrence: Option<RecurrenceJson>,
    opened_at: String,
    changed_at: String,
    resolved_at: Option<String>,
    reopened_count: u64,
    event_count: u64,
}

#[derive(Debug, Serialize)]
struct RecurrenceJson {
    number: u64,
    last_incident_id: String,
    last_ended_at: String,
}

/// What `GET /api/incidents` was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listing {
    filter: IncidentFilter,
    before: Option<IncidentId>,
    page_size: usize,
}

pub(super) async fn list(
    State(api): State<Api>,
    Extension(Receiver(egress)): Extension<Receiver>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<List>, ApiError> {
    let Listing { filter, before, page_size } = Listing::read(&parameters).map_err(ApiError::bad_request)?;
    let filter = IncidentFilter { egress, ..filter };
    let mut found = api.read(move |store| store.list_incidents(&filter, before, page_size)).await?;
    found.incidents.iter_mut().for_each(|incident| egress.hide_incident(incident));
    Ok(Json(List {
        incidents: found.incidents.iter().map(IncidentJson::from).collect(),
        total: found.total,
        page_size,
        next: found.incidents.last().filter(|_| found.more).map(|incident| incident.id.to_string()),
    }))
}

pub(super) async fn get(
    State(api): State<Api>,
    Extension(Receiver(egress)): Extension<Receiver>,
    Path(id): Path<String>,
) -> Result<Json<One>, ApiError> {
    let id = IncidentId::parse(&id).ok_or_else(not_found)?;
    let (mut incident, history) = api.read(move |store| store.get_incident(id)).await?.ok_or_else(not_found)?;
    let filter = EventFilter { incident: Some(id), with_pending: true, ..EventFilter::default() };
    let mut shown = api.read(move |store| store.list(&filter, Page { offset: 0, limit: SHOWN_EVENTS })).await?;
    egress.hide_incident(&mut incident);
    shown.events.iter_mut().for_each(|event| egress.hide_event(event));
    Ok(Json(One {
        incident: IncidentJson::from(&incident),
        events: shown.events.iter().map(Event::from).collect(),
        history: history.iter().map(Transition::from).collect(),
    }))
}

pub(super) async fn resolve(
    State(api): State<Api>,
    Extension(Receiver(egress)): Extension<Receiver>,
    Path(id): Path<String>,
) -> Result<Json<Resolved>, ApiError> {
    let id = IncidentId::parse(&id).ok_or_else(not_found)?;
    match api.0.handles.incidents.resolve(id).await {
        Ok(mut incident) => {
            egress.hide_incident(&mut incident);
            Ok(Json(Resolved { incident: IncidentJson::from(&incident) }))
        }
        Err(NotResolved::Unknown) => Err(not_found()),
        Err(refused @ NotResolved::Refused(_)) => Err(ApiError::new(StatusCode::CONFLICT, refused.to_string())),
        Err(busy @ NotResolved::Busy) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, busy.to_string())),
    }
}

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "incident not found".to_owned())
}

impl Listing {
    /// Reads the parameters; empty ones count as missing, and what is wrong with one is told, as for `GET /api/errors`.
    fn read(parameters: &[(String, String)]) -> Result<Self, String> {
        let mut listing = Self { page_size: PAGE_SIZE.0, ..Self::default() };
        let filter = &mut listing.filter;
        for (name, value) in parameters {
            if value.is_empty() && PARAMETERS.contains(&name.as_str()) {
                continue;
            }
            match name.as_str() {
                "page_size" => {
                    let size = value.parse().ok().filter(|size| (1..=PAGE_SIZE.1).contains(size));
                    listing.page_size = size.ok_or_else(|| format!("page_size: {value:?} is out of range: write 1 to 100"))?;
                }
                "before" => {
                    let id = IncidentId::parse(value);
                    let id = id.ok_or_else(|| format!("before: {value:?} is no id: write the `next` of the page before this one"))?;
                    listing.before = Some(id);
                }
                "state" => {
                    let state = IncidentState::ALL.into_iter().find(|state| state.as_str() == value);
                    filter.state = Some(state.ok_or_else(|| format!("state: {value:?} is none: write open or resolved"))?);
                }
                "severity" => filter.severity = Some(value.parse::<Priority>().map_err(|error| format!("severity: {error}"))?),
                "namespace" => filter.namespace = Some(value.clone()),
                "workload" => filter.workload = Some(value.clone()),
                "tenant" => filter.tenant = Some(TenantId::parse(value).map_err(|error| format!("tenant: {error}"))?),
                // What a browser's library adds so that no cache answers means nothing to anybody.
                name if name.starts_with('_') => {}
                _ => return Err(format!("{name:?} is no parameter of this list: it has {}", PARAMETERS.join(", "))),
            }
        }
        Ok(listing)
    }
}

impl From<&Incident> for IncidentJson {
    fn from(incident: &Incident) -> Self {
        let service = &incident.service;
        Self {
            id: incident.id.to_string(),
            tenant: service.tenant.as_str().to_owned(),
            cluster: service.cluster.to_string(),
            namespace: service.namespace.to_string(),
            workload: service.workload.to_string(),
            state: incident.state.as_str(),
            reason: incident.reason.as_str(),
            severity: incident.severity.as_str(),
            mode: incident.mode().as_str(),
            mode_reason: incident.mode_reason(),
            recurrence: incident.recurrence.map(RecurrenceJson::from),
            opened_at: incident.opened.clock.to_string(),
            changed_at: incident.changed_at.to_string(),
            resolved_at: incident.ended.map(|ended| ended.clock.to_string()),
            reopened_count: incident.reopened,
            event_count: incident.events,
        }
    }
}

impl From<Recurrence> for RecurrenceJson {
    fn from(recurrence: Recurrence) -> Self {
        Self { number: recurrence.number, last_incident_id: recurrence.last.to_string(), last_ended_at: recurrence.last_ended.to_string() }
    }
}

impl From<&IncidentEntry> for Transition {
    fn from(entry: &IncidentEntry) -> Self {
        let incident = &entry.incident;
        Self {
            seq: entry.seq.0,
            at: incident.changed_at.to_string(),
            state: incident.state.as_str(),
            reason: incident.reason.as_str(),
            severity: incident.severity.as_str(),
            event_count: incident.events,
        }
    }
}

/// The incident of an update of the feed, for clients that write JSON.
impl From<&v1::Incident> for IncidentJson {
    fn from(incident: &v1::Incident) -> Self {
        let time = |at: Option<&prost_types::Timestamp>| at.map(|at| convert::time(at).to_string());
        Self {
            id: incident.id.clone(),
            tenant: incident.tenant.clone(),
            cluster: incident.cluster.clone(),
            namespace: incident.namespace.clone(),
            workload: incident.workload.clone(),
            state: convert::incident_state_name(incident.state),
            reason: convert::incident_reason_name(incident.reason),
            severity: convert::priority_name(incident.severity),
            mode: convert::incident_mode_name(incident.mode),
            mode_reason: Some(incident.mode_reason.clone()).filter(|reason| !reason.is_empty()),
            recurrence: incident.recurrence.as_ref().map(|recurrence| RecurrenceJson {
                number: recurrence.number,
                last_incident_id: recurrence.last_incident_id.clone(),
                last_ended_at: time(recurrence.last_ended_at.as_ref()).unwrap_or_default(),
            }),
            opened_at: time(incident.opened_at.as_ref()).unwrap_or_default(),
            changed_at: time(incident.changed_at.as_ref()).unwrap_or_default(),
            resolved_at: time(incident.resolved_at.as_ref()),
            reopened_count: incident.reopened_count,
            event_count: incident.event_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Timestamp;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Listing, String> {
        Listing::read(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn filters_are_read_and_what_makes_no_sense_is_told() {
        let id = IncidentId::new(Timestamp::from_parts(1, 0), 7);
        let all = [
            ("page_size", "7"),
            ("before", &*id.to_string()),
            ("state", "open"),
            ("severity", "high"),
            ("namespace", "shop"),
            ("workload", "api"),
            ("tenant", "team-a"),
            ("_", "17"),
        ];
        let filter = IncidentFilter {
            tenant: TenantId::parse("team-a").ok(),
            namespace: Some("shop".to_owned()),
            workload: Some("api".to_owned()),
            state: Some(IncidentState::Open),
            severity: Some(Priority::P2),
            egress: crate::model::Egress::default(),
        };
        assert_eq!(read(&all), Ok(Listing { filter, before: Some(id), page_size: 7 }));
        assert_eq!(read(&[]).expect("nothing").page_size, 20);
        for name in PARAMETERS {
            assert_eq!(read(&[(name, "")]), read(&[]), "{name} without a value");
        }
        let cases = [
            ("page_size", "0", "page_size: \"0\" is out of range: write 1 to 100"),
            ("before", "x", "before: \"x\" is no id"),
            ("state", "firing", "state: \"firing\" is none: write open or resolved"),
            ("severity", "P9", "severity: \"P9\" is no priority"),
            ("tenant", "a|b", "tenant: several tenants"),
            ("service", "x", "\"service\" is no parameter of this list: it has page_size, before, state,"),
        ];
        for (name, value, expected) in cases {
            let told = read(&[(name, value)]).expect_err(value);
            assert!(told.starts_with(expected), "{name}={value}: {told}");
        }
    }
}

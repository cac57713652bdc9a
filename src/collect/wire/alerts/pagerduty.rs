//! Webhooks of PagerDuty, version 3.

use serde::Deserialize;

use crate::model::{AlertKind, AlertPhase, Priority, Timestamp};

use super::fields::{Field, Object};
use super::{Body, DecodeError, Flaw, Told, severity};

#[derive(Debug, Deserialize)]
struct Webhook {
    event: Event,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(default)]
    id: Field,
    event_type: String,
    #[serde(default)]
    occurred_at: Field,
    #[serde(default)]
    data: Field,
}

/// Reads the body of a webhook.
pub(super) fn decode(body: &[u8], received: Timestamp) -> Result<Body, DecodeError> {
    let Webhook { event } = serde_json::from_slice(body)?;
    let data = event.data.object();
    let is_incident = data.is_some_and(|data| data.text("type").is_none_or(|kind| kind == "incident"));
    if !event.event_type.starts_with("incident.") || !is_incident {
        return Ok(Body { ignored: Some("not about the state of an incident"), ..Body::default() });
    }
    Ok(Body { alerts: vec![data.ok_or(Flaw::Missing("event.data")).and_then(|data| told(&event, data, received))], ..Body::default() })
}

fn told(event: &Event, data: &Object, received: Timestamp) -> Result<Told, Flaw> {
    let id = data.text("id").filter(|id| id.len() <= 64).ok_or(Flaw::Missing("event.data.id"))?;
    event.id.text().ok_or(Flaw::Missing("event.id"))?;
    let time = |field: &Field| field.text().and_then(|time| Timestamp::parse(time).ok()).filter(|time| *time > Timestamp(0));
    let occurred = time(&event.occurred_at).ok_or(Flaw::Missing("event.occurred_at"))?.min(received);
    let phase = match (event.event_type.as_str(), data.text("status")) {
        ("incident.resolved", _) | (_, Some("resolved")) => AlertPhase::Over(occurred),
        ("incident.reopened", _) => AlertPhase::Fires(occurred),
        // Whatever else is said of it, it has been open since it was made.
        _ => AlertPhase::Fires(time(data.get("created_at")).unwrap_or(occurred).min(occurred)),
    };
    let title = data.text("title").unwrap_or(id);
    let inside = |name: &str, member: &str| data.get(name).object().and_then(|object| object.text(member)).map(str::to_owned);
    let service = inside("service", "summary").or_else(|| inside("service", "id"));
    let level = inside("priority", "summary").or_else(|| inside("priority", "name"));
    let urgency = match data.text("urgency") {
        Some("low") => Priority::P3,
        _ => Priority::P2,
    };
    let text = |name: &str| data.text(name).map(str::to_owned);
    let labels = [
        ("service_name", service.clone()),
        ("pagerduty_incident", Some(id.to_owned())),
        ("pagerduty_service", inside("service", "id")),
        ("pagerduty_urgency", text("urgency")),
        ("pagerduty_priority", level.clone()),
    ];
    let about = [
        ("event_type", Some(event.event_type.clone())),
        ("number", text("number")),
        ("status", text("status")),
        ("incident_key", text("incident_key")),
        ("created_at", text("created_at")),
        ("html_url", text("html_url")),
        ("escalation_policy", inside("escalation_policy", "summary")),
    ];
    let owned = |pairs: &[(&str, Option<String>)]| -> Vec<(String, String)> {
        pairs.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?))).collect()
    };
    Ok(Told {
        id: id.to_owned(),
        kind: AlertKind::PagerDuty,
        name: title.to_owned(),
        key: format!("pagerduty/{id}"),
        priority: level.as_deref().and_then(severity).unwrap_or(urgency),
        phase,
        at: Some(occurred),
        labels: owned(&labels),
        text: match &service {
            Some(service) => format!("{service}: {title}"),
            None => title.to_owned(),
        },
        details: vec![("pagerduty", owned(&about))],
    })
}

//! The webhook of Alertmanager, version 4.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{AlertPhase, Priority, Timestamp};

use super::fields::{Field, Object};
use super::{Body, DecodeError, Flaw, Told, severity, subject};

/// Annotations that say what an alert is about, the preferred one first.
const SUMMARIES: [&str; 3] = ["summary", "message", "title"];

/// Longest fingerprint that is taken as it is; those of Alertmanager have 16.
const LONGEST_ID: usize = 64;

/// What stands around the alerts.
#[derive(Debug, Default)]
struct Envelope {
    alerts: Option<Vec<Field>>,
    status: Field,
    receiver: Field,
    external_url: Field,
    truncated: Field,
}

/// Reads the body of a webhook.
pub(super) fn decode(body: &[u8], received: Timestamp, most: usize) -> Result<Body, DecodeError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let envelope = Most(most).deserialize(&mut reader)?;
    reader.end()?;
    let alerts = envelope.alerts.as_deref().unwrap_or_default();
    let truncated = envelope.truncated.text().and_then(|number| number.parse().ok()).unwrap_or_default();
    Ok(Body { alerts: alerts.iter().map(|alert| told(alert, &envelope, received)).collect(), truncated, ignored: None })
}

fn told(alert: &Field, envelope: &Envelope, received: Timestamp) -> Result<Told, Flaw> {
    let alert = alert.object().ok_or(Flaw::Shape("no object"))?;
    let labels = alert.get("labels").object().ok_or(Flaw::Missing("labels"))?;
    if labels.is_cut || labels.is_nested() {
        return Err(Flaw::Shape("labels must be at most 128 texts"));
    }
    let name = labels.text("alertname").ok_or(Flaw::Missing("labels.alertname"))?;
    let status = alert.get("status");
    let state = match status {
        Field::Object(object) => object.text("state"),
        Field::Missing => envelope.status.text(),
        other => other.text(),
    };
    // An alert without a beginning begins with its first word.
    let since = alert.text("startsAt").and_then(|time| Timestamp::parse(time).ok()).filter(|time| *time > Timestamp(0)).unwrap_or(received);
    let phase = match state {
        // The states of Alertmanager's API stand beside those of its webhook. One that is silenced fires all the same.
        Some("firing" | "active" | "suppressed" | "unprocessed") => AlertPhase::Fires(since),
        Some("resolved" | "inactive") => AlertPhase::Over(since),
        _ => return Err(Flaw::Shape("status must be firing or resolved")),
    };
    let sent: Vec<(String, String)> = labels.texts().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let id = alert.text("fingerprint").filter(|id| id.len() <= LONGEST_ID && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    let id = id.map_or_else(|| fingerprint(&sent), str::to_owned);
    let annotations = alert.get("annotations").object();
    let priority = labels.text("severity").or(labels.text("priority")).and_then(severity).unwrap_or(Priority::P3);
    let (kind, about) = (subject::kind(&sent), subject::resolve(name, &sent)?);
    Ok(Told {
        key: format!("alertmanager/{id}"),
        kind,
        name: name.to_owned(),
        priority,
        phase,
        at: None,
        labels: about,
        text: text(name, annotations),
        details: details(alert, annotations, status, envelope, sent),
        id,
    })
}

fn text(name: &str, annotations: Option<&Object>) -> String {
    let annotation = |name: &str| annotations.and_then(|annotations| annotations.text(name));
    let summary = SUMMARIES.iter().find_map(|name| annotation(name));
    let description = annotation("description").filter(|text| summary != Some(*text));
    let parts = summary.into_iter().chain(description).map(str::trim);
    std::iter::once(name).chain(parts).collect::<Vec<_>>().join(": ")
}

fn details(
    alert: &Object,
    annotations: Option<&Object>,
    status: &Field,
    envelope: &Envelope,
    sent: Vec<(String, String)>,
) -> Vec<(&'static str, Vec<(String, String)>)> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let times = ["startsAt", "generatorURL"].into_iter().filter_map(|name| Some(owned((name, alert.text(name)?))));
    let quiet = ["silencedBy", "inhibitedBy"].into_iter().filter_map(|name| {
        let by = status.object()?.get(name).texts().collect::<Vec<_>>().join(",");
        (!by.is_empty()).then(|| (name.to_owned(), by))
    });
    let around = [("receiver", &envelope.receiver), ("externalURL", &envelope.external_url)];
    let around = around.into_iter().filter_map(|(name, field)| Some(owned((name, field.text()?))));
    vec![
        ("labels", sent),
        ("annotations", annotations.map(|annotations| annotations.texts().map(owned).collect()).unwrap_or_default()),
        ("alertmanager", times.chain(quiet).chain(around).collect()),
    ]
}

/// What tells an alert whose sender gives no fingerprint: all of its labels.
fn fingerprint(labels: &[(String, String)]) -> String {
    let mut labels: Vec<_> = labels.iter().collect();
    labels.sort();
    format!("{:016x}", xxh3_64(format!("{labels:?}").as_bytes()))
}

/// Reads a body with at most so many alerts.
struct Most(usize);

impl<'de> DeserializeSeed<'de> for Most {
    type Value = Envelope;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Envelope, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Most {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of an Alertmanager webhook")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(Name(name)) = map.next_key()? {
            match name {
                Member::Alerts if envelope.alerts.is_some() => return Err(A::Error::duplicate_field("alerts")),
                Member::Alerts => envelope.alerts = Some(map.next_value_seed(Alerts(self.0))?),
                Member::Status => envelope.status = map.next_value()?,
                Member::Receiver => envelope.receiver = map.next_value()?,
                Member::ExternalUrl => envelope.external_url = map.next_value()?,
                Member::Truncated => envelope.truncated = map.next_value()?,
                Member::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match envelope.alerts {
            Some(_) => Ok(envelope),
            None => Err(A::Error::missing_field("alerts")),
        }
    }
}

struct Name(Member);

enum Member {
    Alerts,
    Status,
    Receiver,
    ExternalUrl,
    Truncated,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Known;

        impl Visitor<'_> for Known {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
                Ok(Name(match name {
                    "alerts" => Member::Alerts,
                    "status" => Member::Status,
                    "receiver" => Member::Receiver,
                    "externalURL" => Member::ExternalUrl,
                    "truncatedAlerts" => Member::Truncated,
                    _ => Member::Other,
                }))
            }
        }

        deserializer.deserialize_identifier(Known)
    }
}

/// The list of alerts, of at most so many.
struct Alerts(usize);

impl<'de> DeserializeSeed<'de> for Alerts {
    type Value = Vec<Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Field>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Alerts {
    type Value = Vec<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of alerts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Field>, A::Error> {
        let mut alerts = Vec::new();
        while let Some(alert) = seq.next_element()? {
            if alerts.len() == self.0 {
                return Err(A::Error::custom(format!(
                    "more than {} alerts (collect.alerts.max_alerts): let Alertmanager send fewer with max_alerts, or group them",
                    self.0
                )));
            }
            alerts.push(alert);
        }
        Ok(alerts)
    }
}

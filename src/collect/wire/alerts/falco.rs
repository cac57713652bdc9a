//! Events of Falco, as it and falcosidekick post them.

use serde::de::Deserialize;

use crate::model::{AlertKind, AlertPhase, Priority, Timestamp};

use super::fields::{Field, Object};
use super::{Body, DecodeError, Flaw, Told, label_name};

/// Names of parts of an identity, the preferred one first: those of the container engine, of the plug-in for Kubernetes, and of audit events.
const NAMESPACE: [&str; 3] = ["k8s.ns.name", "k8smeta.ns.name", "ka.target.namespace"];
const POD: [&str; 2] = ["k8s.pod.name", "k8smeta.pod.name"];

/// What Falco writes where it does not know.
const UNKNOWN: &str = "<NA>";

/// Reads one event, or a list of events.
pub(super) fn decode(body: &[u8], most: usize) -> Result<Body, DecodeError> {
    let mut alerts = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(body).into_iter::<OneOrMany>();
    for value in &mut reader {
        let OneOrMany(events) = value?;
        if alerts.len() + events.len() > most {
            return Err(DecodeError::TooLarge { what: "the number of events (collect.alerts.max_alerts)", limit: most as u64 });
        }
        alerts.extend(events.iter().map(told));
    }
    Ok(Body { alerts, ..Body::default() })
}

fn told(event: &Field) -> Result<Told, Flaw> {
    let event = event.object().ok_or(Flaw::Shape("no object"))?;
    let rule = event.text("rule").ok_or(Flaw::Missing("rule"))?;
    let output = event.text("output").unwrap_or(rule);
    let nothing = Object::default();
    let fields = event.get("output_fields").object().unwrap_or(&nothing);
    let at = event.text("time").and_then(|time| Timestamp::parse(time).ok()).filter(|time| *time > Timestamp(0));
    let sent: Vec<(String, String)> =
        fields.texts().filter(|(_, value)| *value != UNKNOWN).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let event_fields = ["uuid", "priority", "source", "hostname", "time"];
    let mut about: Vec<(String, String)> =
        event_fields.iter().filter_map(|name| Some(((*name).to_owned(), event.text(name)?.to_owned()))).collect();
    let tags = event.get("tags").texts().collect::<Vec<_>>().join(",");
    if !tags.is_empty() {
        about.push(("tags".to_owned(), tags));
    }
    Ok(Told {
        id: event.text("uuid").unwrap_or_default().to_owned(),
        kind: AlertKind::Falco,
        name: rule.to_owned(),
        key: format!("falco/{rule}"),
        priority: priority(event.text("priority").unwrap_or_default()),
        phase: AlertPhase::Happened,
        at,
        labels: labels(event, rule, fields, &sent),
        text: format!("{rule}: {output}"),
        details: vec![("falco", about), ("output_fields", sent)],
    })
}

/// Who is meant, and every field of the event under a name that a label may have: custom fields of falcosidekick are among them.
fn labels(event: &Object, rule: &str, fields: &Object, sent: &[(String, String)]) -> Vec<(String, String)> {
    let field = |name: &str| fields.text(name).filter(|value| *value != UNKNOWN);
    let first = |names: &[&str]| names.iter().find_map(|name| field(name));
    let audited = field("ka.target.name").filter(|_| field("ka.target.resource") == Some("pods"));
    let pod = first(&POD).or(audited);
    let host = event.text("hostname");
    let container = field("container.name").filter(|_| pod.is_some());
    // What happens on a node itself has no pod: the node is what it is about.
    let service = pod.is_none().then(|| field("container.name").filter(|name| *name != "host").or(host)).flatten();
    let known = [
        ("namespace", first(&NAMESPACE)),
        ("pod", pod),
        ("container", container),
        ("node", host),
        ("service_name", service),
        ("falco_rule", Some(rule)),
        ("severity", event.text("priority")),
        ("falco_source", event.text("source")),
    ];
    let mut labels: Vec<(String, String)> =
        known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    for (name, value) in sent {
        let name = label_name(name);
        if !name.is_empty() && labels.iter().all(|(known, _)| *known != name) {
            labels.push((name, value.clone()));
        }
    }
    labels
}

/// Contracts E.2.
fn priority(word: &str) -> Priority {
    match word.to_ascii_lowercase().as_str() {
        "emergency" | "alert" | "critical" => Priority::P1,
        "error" => Priority::P2,
        "warning" => Priority::P3,
        _ => Priority::P4,
    }
}

/// What stands at the top of a body.
struct OneOrMany(Vec<Field>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Field::deserialize(deserializer)? {
            Field::List(events) => events,
            one => vec![one],
        }))
    }
}

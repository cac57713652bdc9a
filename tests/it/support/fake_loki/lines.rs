//! What a Loki holds, and how it answers questions for it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::logql::{Labels, Query};

/// One line with its time, its labels and the metadata that is no label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) at: i64,
    pub(crate) labels: Labels,
    pub(crate) line: String,
    pub(crate) metadata: Labels,
}

/// The lines of one tenant in the order of their times.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<Entry>);

/// What a question asks for.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) query: Query,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) limit: usize,
    pub(crate) forward: bool,
}

/// Labels that name the service, in the order in which a Loki looks for one. It adds `service_name` to every stream that has none.
const SERVICE: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

impl Entry {
    /// With the name of its service.
    pub(crate) fn named(mut self) -> Self {
        if !self.labels.contains_key("service_name") {
            let name = SERVICE.into_iter().find_map(|name| self.labels.get(name).cloned());
            self.labels.insert("service_name".to_owned(), name.unwrap_or_else(|| "unknown_service".to_owned()));
        }
        self
    }
}

impl Lines {
    /// Takes a line; false for one that is there already: same labels, time and text, as in a Loki.
    pub(crate) fn add(&mut self, entry: Entry) -> bool {
        let from = self.0.partition_point(|known| known.at < entry.at);
        let same = self.0[from..].iter().take_while(|known| known.at == entry.at);
        if same.clone().any(|known| known.labels == entry.labels && known.line == entry.line) {
            return false;
        }
        let place = from + same.count();
        self.0.insert(place, entry);
        true
    }

    /// Names of all labels.
    pub(crate) fn names(&self) -> Vec<&str> {
        let names: std::collections::BTreeSet<&str> = self.0.iter().flat_map(|entry| entry.labels.keys().map(String::as_str)).collect();
        names.into_iter().collect()
    }

    /// The first or the last lines of a time, up to the limit.
    pub(crate) fn range(&self, range: &Range) -> Vec<&Entry> {
        let (from, to) = (self.0.partition_point(|entry| entry.at < range.start), self.0.partition_point(|entry| entry.at < range.end));
        let found = self.0[from..to.max(from)].iter().filter(|entry| range.query.takes(&entry.labels, &entry.line));
        match range.forward {
            true => found.take(range.limit).collect(),
            false => found.rev().take(range.limit).collect(),
        }
    }
}

/// The labels that an answer shows of a line, and what stands behind its text.
fn shown(entry: &Entry, categorized: bool) -> (Labels, Option<Value>) {
    if categorized {
        let mut behind = serde_json::Map::new();
        if !entry.metadata.is_empty() {
            behind.insert("structuredMetadata".to_owned(), json!(entry.metadata));
        }
        return (entry.labels.clone(), Some(Value::Object(behind)));
    }
    let mut labels = entry.labels.clone();
    labels.extend(entry.metadata.clone());
    (labels, None)
}

fn value(entry: &Entry, behind: Option<Value>) -> Value {
    let mut value = vec![json!(entry.at.to_string()), json!(entry.line)];
    value.extend(behind);
    Value::Array(value)
}

/// The answer to a question.
pub(crate) fn answer(found: &[&Entry], categorized: bool) -> Value {
    let mut streams: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
    for entry in found {
        let (labels, behind) = shown(entry, categorized);
        streams.entry(labels).or_default().push(value(entry, behind));
    }
    // Streams are in no order that anybody may rest on.
    let result: Vec<Value> = streams.into_iter().rev().map(|(stream, values)| json!({"stream": stream, "values": values})).collect();
    let mut data = json!({"resultType": "streams", "result": result, "stats": {"summary": {"totalLinesProcessed": found.len()}}});
    if categorized {
        data["encodingFlags"] = json!(["categorize-labels"]);
    }
    json!({"status": "success", "data": data})
}

/// A message of a tail: each line as a stream of its own.
pub(crate) fn message(entries: &[Entry], dropped: &[Entry], categorized: bool) -> Value {
    let streams: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let (stream, behind) = shown(entry, categorized);
            json!({"stream": stream, "values": [value(entry, behind)]})
        })
        .collect();
    let mut message = json!({"streams": streams});
    if !dropped.is_empty() {
        message["dropped_entries"] =
            dropped.iter().map(|entry| json!({"timestamp": entry.at.to_string(), "labels": entry.labels})).collect();
    }
    if categorized {
        message["encodingFlags"] = json!(["categorize-labels"]);
    }
    message
}

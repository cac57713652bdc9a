//! What the doors count. Counters add for each request, never for each line.

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder, Unit};

use crate::model::{DropReason, Refusal, SourceName};

use super::wire::Counts;

/// All counters of this stage. Every label value stands at zero from the start.
#[derive(Debug)]
pub struct Metrics {
    doors: Vec<(SourceName, DoorMetrics)>,
    budget_used: Gauge,
    budget_capacity: Gauge,
}

/// Those of one door.
#[derive(Debug)]
pub(super) struct DoorMetrics {
    requests: Vec<(u16, Counter)>,
    refused: Vec<(Refusal, Counter)>,
    body_bytes: Counter,
    inflated_bytes: Counter,
    lines_received: Counter,
    /// The name that other tools of this field use for the lines that come from Loki's senders, or from a Loki.
    entries: Option<Counter>,
    lines_truncated: Counter,
    lines_clamped: Counter,
    lines_dropped: Vec<(DropReason, Counter)>,
    lines_refused: Vec<(Refusal, Counter)>,
    labels_lenient: Counter,
    label_cache_misses: Counter,
    /// Of the one sender that says how many it left out.
    alerts_truncated: Option<Counter>,
}

/// What the counter of dropped lines says of itself.
pub const DROPPED_LINES: &str = "Received lines of taken requests that were not scanned.";

/// Every door that lines are pushed through, and every status that it answers with.
///
/// Answers of gRPC count under the code that the same answer has over HTTP.
const DOORS: &[(SourceName, &[u16])] = &[
    (SourceName::LokiPush, &[204, 400, 413, 422, 429, 503]),
    (SourceName::Otlp, &[200, 400, 413, 415, 429, 503]),
    (SourceName::HttpLines, &[204, 400, 413, 422, 429, 503]),
    (SourceName::LokiTail, &[]),
    (SourceName::Forward, &[]),
    (SourceName::Syslog, &[]),
    (SourceName::Journald, &[]),
    (SourceName::Alertmanager, ALERT_CODES),
    (SourceName::Falco, ALERT_CODES),
    (SourceName::PagerDuty, ALERT_CODES),
];

/// COMPAT: 429 is not among them: Alertmanager gives up on it, and tries again on 503.
const ALERT_CODES: &[u16] = &[202, 400, 401, 403, 413, 503];

const METADATA: Metadata<'static> = Metadata::new("kube_sentinel::collect", Level::INFO, None);

impl Metrics {
    /// Registers everything with a recorder.
    #[must_use]
    pub fn register(recorder: &dyn Recorder) -> Self {
        let names = Names(recorder);
        names.counter("kube_sentinel_collect_requests_total", Unit::Count, "Push requests by the status of their answer.");
        names.counter("kube_sentinel_collect_requests_refused_total", Unit::Count, "Push requests that were not taken, by reason.");
        names.counter("kube_sentinel_collect_body_bytes_total", Unit::Bytes, "Bytes of push bodies as sent.");
        names.counter("kube_sentinel_collect_inflated_bytes_total", Unit::Bytes, "Bytes of push bodies after decompression.");
        names.counter("kube_sentinel_collect_lines_received_total", Unit::Count, "Lines of requests that could be decoded.");
        names.counter(
            "kube_sentinel_loki_entries_total",
            Unit::Count,
            "Lines received by Loki push: kube_sentinel_collect_lines_received_total of that source.",
        );
        names.counter("kube_sentinel_collect_lines_truncated_total", Unit::Count, "Lines that were cut at max_line.");
        names.counter("kube_sentinel_collect_lines_clamped_total", Unit::Count, "Lines from the future, put to the time of receipt.");
        names.counter("kube_sentinel_collect_lines_dropped_total", Unit::Count, DROPPED_LINES);
        names.counter(
            "kube_sentinel_collect_lines_refused_total",
            Unit::Count,
            "Received lines of requests that were not taken in the end.",
        );
        names.counter("kube_sentinel_collect_labels_lenient_total", Unit::Count, "Label texts that only the lenient parser could read.");
        names.counter("kube_sentinel_collect_label_cache_misses_total", Unit::Count, "Label texts that had to be parsed.");
        names.counter(
            "kube_sentinel_collect_alerts_truncated_total",
            Unit::Count,
            "Alerts that Alertmanager left out of its notifications (truncatedAlerts): raise max_alerts there.",
        );
        names.gauge("kube_sentinel_collect_budget_used_bytes", Unit::Bytes, "Memory that requests in flight hold.");
        names.gauge("kube_sentinel_collect_budget_capacity_bytes", Unit::Bytes, "Memory that requests in flight may hold together.");

        Self {
            doors: DOORS.iter().map(|(door, codes)| (*door, DoorMetrics::register(*door, codes, &names))).collect(),
            budget_used: recorder.register_gauge(&Key::from_name("kube_sentinel_collect_budget_used_bytes"), &METADATA),
            budget_capacity: recorder.register_gauge(&Key::from_name("kube_sentinel_collect_budget_capacity_bytes"), &METADATA),
        }
    }

    pub(super) fn of(&self, source: SourceName) -> &DoorMetrics {
        let found = self.doors.iter().find(|(door, _)| *door == source);
        &found.expect("every door is listed").1
    }

    pub(super) fn budget(&self, used: usize, capacity: usize) {
        self.budget_used.set(used as f64);
        self.budget_capacity.set(capacity as f64);
    }
}

impl DoorMetrics {
    fn register(door: SourceName, codes: &[u16], names: &Names<'_>) -> Self {
        let source = || Label::new("source", door.as_str());
        let reason = |reason: &'static str| vec![source(), Label::new("reason", reason)];
        let plain = |name| names.register(name, vec![source()]);
        Self {
            requests: codes
                .iter()
                .map(|code| {
                    let labels = vec![source(), Label::new("code", code.to_string())];
                    (*code, names.register("kube_sentinel_collect_requests_total", labels))
                })
                .collect(),
            refused: Refusal::ALL
                .map(|why| (why, names.register("kube_sentinel_collect_requests_refused_total", reason(why.as_str()))))
                .into(),
            body_bytes: plain("kube_sentinel_collect_body_bytes_total"),
            inflated_bytes: plain("kube_sentinel_collect_inflated_bytes_total"),
            lines_received: plain("kube_sentinel_collect_lines_received_total"),
            entries: matches!(door, SourceName::LokiPush | SourceName::LokiTail)
                .then(|| names.register("kube_sentinel_loki_entries_total", Vec::new())),
            lines_truncated: plain("kube_sentinel_collect_lines_truncated_total"),
            lines_clamped: plain("kube_sentinel_collect_lines_clamped_total"),
            lines_dropped: DropReason::ALL
                .map(|why| (why, names.register("kube_sentinel_collect_lines_dropped_total", reason(why.as_str()))))
                .into(),
            lines_refused: Refusal::ALL
                .map(|why| (why, names.register("kube_sentinel_collect_lines_refused_total", reason(why.as_str()))))
                .into(),
            labels_lenient: plain("kube_sentinel_collect_labels_lenient_total"),
            label_cache_misses: plain("kube_sentinel_collect_label_cache_misses_total"),
            alerts_truncated: (door == SourceName::Alertmanager).then(|| plain("kube_sentinel_collect_alerts_truncated_total")),
        }
    }

    pub(super) fn answered(&self, code: u16, refusal: Option<Refusal>) {
        add(&self.requests, code, 1);
        if let Some(why) = refusal {
            add(&self.refused, why, 1);
        }
    }

    pub(super) fn read(&self, body: usize) {
        self.body_bytes.increment(body as u64);
    }

    /// A request was decoded.
    pub(super) fn decoded(&self, inflated: usize, counts: &Counts) {
        self.inflated_bytes.increment(inflated as u64);
        self.lines_received.increment(counts.lines);
        if let Some(entries) = &self.entries {
            entries.increment(counts.lines);
        }
        add(&self.lines_dropped, DropReason::BadLabels, counts.bad_labels);
        add(&self.lines_dropped, DropReason::BadEntry, counts.bad_entries);
        for (counter, count) in [
            (&self.lines_truncated, counts.truncated),
            (&self.lines_clamped, counts.clamped),
            (&self.labels_lenient, counts.label_lenient),
            (&self.label_cache_misses, counts.label_misses),
        ] {
            if count > 0 {
                counter.increment(count);
            }
        }
    }

    /// Alerts that their sender did not send.
    pub(super) fn alerts_truncated(&self, alerts: u64) {
        if let Some(counter) = &self.alerts_truncated {
            counter.increment(alerts);
        }
    }

    pub(super) fn repeated(&self, lines: u64) {
        self.left_out(DropReason::Repeated, lines);
    }

    /// Lines that were received and are not scanned.
    pub(super) fn left_out(&self, why: DropReason, lines: u64) {
        add(&self.lines_dropped, why, lines);
    }

    pub(super) fn lines_refused(&self, why: Refusal, lines: u64) {
        add(&self.lines_refused, why, lines);
    }
}

/// Adds to the counter of one label value. The sets are closed and small, so a search is quicker than a hash.
fn add<K: PartialEq>(counters: &[(K, Counter)], key: K, count: u64) {
    if count > 0
        && let Some((_, counter)) = counters.iter().find(|(of, _)| *of == key)
    {
        counter.increment(count);
    }
}

/// Registers by name.
struct Names<'r>(&'r dyn Recorder);

impl Names<'_> {
    fn counter(&self, name: &'static str, unit: Unit, help: &'static str) {
        self.0.describe_counter(KeyName::from_const_str(name), Some(unit), help.into());
    }

    fn gauge(&self, name: &'static str, unit: Unit, help: &'static str) {
        self.0.describe_gauge(KeyName::from_const_str(name), Some(unit), help.into());
    }

    /// The counter with one set of labels, at zero.
    fn register(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        let counter = self.0.register_counter(&Key::from_parts(name, labels), &METADATA);
        counter.increment(0);
        counter
    }
}

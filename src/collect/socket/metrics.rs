//! What the doors on connections count, with the names of the other doors where they count the same.

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder, Unit};

use crate::collect::wire::Counts;
use crate::model::{DropReason, Refusal, SourceName};

/// The counters of one door. Every label value stands at zero from the start.
#[derive(Debug)]
pub(in crate::collect) struct SocketMetrics {
    source: SourceName,
    connections: Gauge,
    timed_out: Counter,
    accept_errors: Counter,
    handshake_errors: Counter,
    auth_failures: Counter,
    messages: Counter,
    body_bytes: Counter,
    inflated_bytes: Counter,
    lines_received: Counter,
    lines_truncated: Counter,
    lines_clamped: Counter,
    lines_dropped: [Counter; DropReason::ALL.len()],
    lines_refused: [Counter; Refusal::ALL.len()],
    refused: [Counter; Refusal::ALL.len()],
    label_cache_misses: Counter,
    budget_used: Gauge,
}

/// Takes itself off the open connections when it is dropped.
pub(super) struct Open(Gauge);

const METADATA: Metadata<'static> = Metadata::new("kube_sentinel::collect", Level::INFO, None);

impl SocketMetrics {
    /// Registers everything with a recorder.
    pub(in crate::collect) fn register(recorder: &dyn Recorder, source: SourceName) -> Self {
        let labels = || vec![Label::new("source", source.as_str())];
        let with = |reason: &'static str| vec![Label::new("source", source.as_str()), Label::new("reason", reason)];
        let counter = |name: &'static str, unit: Unit, help: &'static str, labels: Vec<Label>| {
            recorder.describe_counter(KeyName::from_const_str(name), Some(unit), help.into());
            let counter = recorder.register_counter(&Key::from_parts(name, labels), &METADATA);
            counter.increment(0);
            counter
        };
        let plain = |name, unit, help| counter(name, unit, help, labels());
        recorder.describe_gauge(
            KeyName::from_const_str("kube_sentinel_collect_connections"),
            Some(Unit::Count),
            "Open connections of senders that do not speak HTTP.".into(),
        );
        Self {
            source,
            connections: recorder.register_gauge(&Key::from_parts("kube_sentinel_collect_connections", labels()), &METADATA),
            timed_out: plain(
                "kube_sentinel_collect_connections_timed_out_total",
                Unit::Count,
                "Connections closed because the peer was silent or stopped reading for too long.",
            ),
            accept_errors: plain("kube_sentinel_collect_accept_errors_total", Unit::Count, "Connections that could not be accepted."),
            handshake_errors: plain("kube_sentinel_collect_tls_handshake_errors_total", Unit::Count, "TLS handshakes that failed."),
            auth_failures: plain(
                "kube_sentinel_collect_auth_failures_total",
                Unit::Count,
                "Connections closed because the peer did not know the shared key or a password.",
            ),
            messages: plain("kube_sentinel_collect_messages_total", Unit::Count, "Messages of senders that do not speak HTTP."),
            body_bytes: plain("kube_sentinel_collect_body_bytes_total", Unit::Bytes, "Bytes of push bodies as sent."),
            inflated_bytes: plain("kube_sentinel_collect_inflated_bytes_total", Unit::Bytes, "Bytes of push bodies after decompression."),
            lines_received: plain("kube_sentinel_collect_lines_received_total", Unit::Count, "Lines of requests that could be decoded."),
            lines_truncated: plain("kube_sentinel_collect_lines_truncated_total", Unit::Count, "Lines that were cut at max_line."),
            lines_clamped: plain(
                "kube_sentinel_collect_lines_clamped_total",
                Unit::Count,
                "Lines from the future, put to the time of receipt.",
            ),
            lines_dropped: DropReason::ALL.map(|why| {
                let help = "Received lines of taken requests that were not scanned.";
                counter("kube_sentinel_collect_lines_dropped_total", Unit::Count, help, with(why.as_str()))
            }),
            lines_refused: Refusal::ALL.map(|why| {
                let help = "Received lines of requests that were not taken in the end.";
                counter("kube_sentinel_collect_lines_refused_total", Unit::Count, help, with(why.as_str()))
            }),
            refused: Refusal::ALL.map(|why| {
                let help = "Push requests that were not taken, by reason.";
                counter("kube_sentinel_collect_requests_refused_total", Unit::Count, help, with(why.as_str()))
            }),
            label_cache_misses: plain("kube_sentinel_collect_label_cache_misses_total", Unit::Count, "Label texts that had to be parsed."),
            budget_used: recorder.register_gauge(&Key::from_name("kube_sentinel_collect_budget_used_bytes"), &METADATA),
        }
    }

    /// The name of the door.
    pub(in crate::collect) fn source(&self) -> &'static str {
        self.source.as_str()
    }

    pub(super) fn open(&self) -> Open {
        self.connections.increment(1.0);
        Open(self.connections.clone())
    }

    pub(in crate::collect) fn timed_out(&self) {
        self.timed_out.increment(1);
    }

    pub(super) fn accept_failed(&self) {
        self.accept_errors.increment(1);
    }

    pub(super) fn handshake_failed(&self) {
        self.handshake_errors.increment(1);
    }

    pub(in crate::collect) fn not_let_in(&self) {
        self.auth_failures.increment(1);
    }

    /// Messages came, of so many bytes.
    pub(in crate::collect) fn read(&self, messages: usize, bytes: usize) {
        self.messages.increment(messages as u64);
        self.body_bytes.increment(bytes as u64);
    }

    pub(super) fn decoded(&self, text: usize, counts: &Counts) {
        self.inflated_bytes.increment(text as u64);
        self.lines_received.increment(counts.lines);
        self.lines_truncated.increment(counts.truncated);
        self.lines_clamped.increment(counts.clamped);
        self.label_cache_misses.increment(counts.label_misses);
        self.dropped(DropReason::BadLabels, counts.bad_labels);
        self.dropped(DropReason::BadEntry, counts.bad_entries);
    }

    pub(super) fn dropped(&self, why: DropReason, lines: u64) {
        if let Some(at) = DropReason::ALL.iter().position(|reason| *reason == why) {
            self.lines_dropped[at].increment(lines);
        }
    }

    pub(super) fn lines_refused(&self, why: Refusal, lines: u64) {
        self.of(&self.lines_refused, why).increment(lines);
    }

    pub(super) fn refused(&self, why: Refusal) {
        self.of(&self.refused, why).increment(1);
    }

    pub(super) fn budget(&self, used: usize) {
        self.budget_used.set(used as f64);
    }

    fn of<'c>(&self, counters: &'c [Counter; Refusal::ALL.len()], why: Refusal) -> &'c Counter {
        &counters[Refusal::ALL.iter().position(|reason| *reason == why).unwrap_or_default()]
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

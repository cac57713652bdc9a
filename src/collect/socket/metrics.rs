//! What the doors on connections count besides lines.

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder, Unit};

use crate::model::SourceName;

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
}

/// Takes itself off the open connections when it is dropped.
pub(super) struct Open(Gauge);

const METADATA: Metadata<'static> = Metadata::new("kube_sentinel::collect", Level::INFO, None);

impl SocketMetrics {
    /// Registers everything with a recorder.
    pub(in crate::collect) fn register(recorder: &dyn Recorder, source: SourceName) -> Self {
        let labels = || vec![Label::new("source", source.as_str())];
        let plain = |name: &'static str, help: &'static str| {
            recorder.describe_counter(KeyName::from_const_str(name), Some(Unit::Count), help.into());
            let counter = recorder.register_counter(&Key::from_parts(name, labels()), &METADATA);
            counter.increment(0);
            counter
        };
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
                "Connections closed because the peer was silent or stopped reading for too long.",
            ),
            accept_errors: plain("kube_sentinel_collect_accept_errors_total", "Connections that could not be accepted."),
            handshake_errors: plain("kube_sentinel_collect_tls_handshake_errors_total", "TLS handshakes that failed."),
            auth_failures: plain(
                "kube_sentinel_collect_auth_failures_total",
                "Connections closed because the peer did not know the shared key or a password.",
            ),
            messages: plain("kube_sentinel_collect_messages_total", "Messages of senders that do not speak HTTP."),
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

    /// Messages came.
    pub(in crate::collect) fn read(&self, messages: usize) {
        self.messages.increment(messages as u64);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

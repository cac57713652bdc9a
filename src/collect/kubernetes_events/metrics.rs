//! What is counted of events. For each batch, never for each line.

use metrics::{Counter, Gauge};

use crate::model::{Refusal, SourceName};
use crate::telemetry::Registry;

/// All at zero from the start.
#[derive(Clone)]
pub(super) struct Metrics {
    lines: Counter,
    refused: Counter,
    left_out: Counter,
    gaps: Counter,
    known: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let source = ("source", SourceName::KubernetesEvents.as_str());
        let refused = |why: Refusal| {
            let help = "Received lines of requests that were not taken in the end.";
            registry.counter("kube_sentinel_collect_lines_refused_total", help, &[source, ("reason", why.as_str())])
        };
        for why in Refusal::ALL {
            refused(why).increment(0);
        }
        let counter = |name, help| {
            let counter = registry.counter(name, help, &[]);
            counter.increment(0);
            counter
        };
        let lines = registry.counter("kube_sentinel_collect_lines_received_total", "Lines of requests that could be decoded.", &[source]);
        lines.increment(0);
        Self {
            lines,
            refused: refused(Refusal::NotCommitted),
            left_out: counter(
                "kube_sentinel_collect_kubernetes_events_left_out_total",
                "Repetitions of events beyond the most that one update counts for.",
            ),
            gaps: counter(
                "kube_sentinel_collect_kubernetes_events_gaps_total",
                "Times that the API server had forgotten where the watch of events was: those that it removed meanwhile were not seen.",
            ),
            known: registry.gauge("kube_sentinel_collect_kubernetes_events_known", "Events whose counts are remembered.", &[]),
        }
    }

    pub(super) fn taken(&self, lines: u64, left_out: u64, known: usize) {
        self.lines.increment(lines);
        self.left_out.increment(left_out);
        self.known.set(known as f64);
    }

    /// Lines whose effects are not on disk: they are read again.
    pub(super) fn refused(&self, lines: u64) {
        self.refused.increment(lines);
    }

    pub(super) fn gap(&self) {
        self.gaps.increment(1);
    }
}

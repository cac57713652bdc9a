//! What the files count. Lines are counted for each batch, never for each line.

use metrics::{Counter, Gauge};

use crate::model::{Refusal, SourceName};
use crate::telemetry::Registry;

use super::frame::Odd;

/// All counters of the files, at zero from the start.
#[derive(Debug)]
pub(super) struct Metrics {
    bytes: Counter,
    lines: Counter,
    truncated: Counter,
    clamped: Counter,
    refused: Counter,
    truncations: Counter,
    recovered: Counter,
    lost: Counter,
    followed: Gauge,
    open: Gauge,
    unreadable: Gauge,
    left_out: Gauge,
    lag: Gauge,
}

/// How the files are now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) followed: usize,
    pub(super) open: usize,
    pub(super) unreadable: usize,
    pub(super) left_out: usize,
    /// Bytes that are written and not read.
    pub(super) lag: u64,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let source = ("source", SourceName::Files.as_str());
        let counter = |name, help| {
            let counter = registry.counter(name, help, &[]);
            counter.increment(0);
            counter
        };
        let of_source = |name, help| {
            let counter = registry.counter(name, help, &[source]);
            counter.increment(0);
            counter
        };
        for why in Refusal::ALL {
            registry.counter(REFUSED.0, REFUSED.1, &[source, ("reason", why.as_str())]).increment(0);
        }
        Self {
            bytes: counter(
                "kube_sentinel_collect_files_read_bytes_total",
                "Bytes of files that were taken, with what stands in front of texts.",
            ),
            lines: of_source("kube_sentinel_collect_lines_received_total", "Lines of requests that could be decoded."),
            truncated: of_source("kube_sentinel_collect_lines_truncated_total", "Lines that were cut at max_line."),
            clamped: of_source("kube_sentinel_collect_lines_clamped_total", "Lines from the future, put to the time of receipt."),
            refused: registry.counter(REFUSED.0, REFUSED.1, &[source, ("reason", Refusal::NotCommitted.as_str())]),
            truncations: counter("kube_sentinel_collect_files_truncated_total", "Files that were begun anew because they were truncated."),
            recovered: counter(
                "kube_sentinel_collect_files_recovered_total",
                "Files that were renamed or compressed while nobody read them, and were read to their end.",
            ),
            lost: counter(
                "kube_sentinel_collect_files_lost_total",
                "Files that were gone before it was known that they were read to their end.",
            ),
            followed: registry.gauge("kube_sentinel_collect_files_followed", "Files that are followed.", &[]),
            open: registry.gauge("kube_sentinel_collect_files_open", "Files that are open.", &[]),
            unreadable: registry.gauge(
                "kube_sentinel_collect_files_unreadable",
                "Files and folders that could not be read at the last try.",
                &[],
            ),
            left_out: registry.gauge("kube_sentinel_collect_files_left_out", "Files beyond collect.files.max_files.", &[]),
            lag: registry.gauge("kube_sentinel_collect_files_lag_bytes", "Bytes that are written and not read yet.", &[]),
        }
    }

    pub(super) fn read(&self, bytes: u64, lines: u64, odd: Odd) {
        self.bytes.increment(bytes);
        self.lines.increment(lines);
        if odd != Odd::default() {
            self.truncated.increment(odd.truncated);
            self.clamped.increment(odd.clamped);
        }
    }

    /// Lines whose effects are not on disk: they are read again after a start.
    pub(super) fn refused(&self, lines: u64) {
        self.refused.increment(lines);
    }

    pub(super) fn truncation(&self) {
        self.truncations.increment(1);
    }

    pub(super) fn recovered(&self) {
        self.recovered.increment(1);
    }

    pub(super) fn lost(&self) {
        self.lost.increment(1);
    }

    pub(super) fn state(&self, state: State) {
        let State { followed, open, unreadable, left_out, lag } = state;
        for (gauge, value) in [(&self.followed, followed), (&self.open, open), (&self.unreadable, unreadable), (&self.left_out, left_out)] {
            gauge.set(value as f64);
        }
        self.lag.set(lag as f64);
    }
}

const REFUSED: (&str, &str) = ("kube_sentinel_collect_lines_refused_total", "Received lines of requests that were not taken in the end.");

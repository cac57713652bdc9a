//! What is counted of one Loki.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use crate::telemetry::Registry;

use super::frame::TailFrame;
use super::trouble::Trouble;

/// Counters of one source, by its name. Every label value stands at zero from the start.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    requests: Vec<(&'static str, Counter)>,
    /// The names that other tools of this field promise for the same.
    polls: [Counter; 2],
    duration: Histogram,
    lag: Gauge,
    repeated: Counter,
    late: Counter,
    gaps: Counter,
    gap_seconds: Counter,
    skipped: Counter,
    truncated: Counter,
    remembered: Gauge,
    shortened: Counter,
    tail_open: Gauge,
    tail_ends: Counter,
    tail_lines: Counter,
    tail_dropped: Counter,
    tail_garbage: Counter,
}

impl Metrics {
    pub(super) fn register(registry: &Registry, name: &str) -> Self {
        let counter = |metric, help| zero(registry.counter(metric, help, &[("name", name)]));
        let gauge = |metric, help| registry.gauge(metric, help, &[("name", name)]);
        let result = |result| {
            let help = "Questions to a Loki for lines, by what came of them.";
            (result, zero(registry.counter("kube_sentinel_collect_loki_requests_total", help, &[("name", name), ("result", result)])))
        };
        Self {
            requests: Trouble::RESULTS.map(result).into(),
            polls: ["success", "error"].map(|status| {
                let help = "Questions to all Lokis for lines, by whether they were answered.";
                zero(registry.counter("kube_sentinel_loki_polls_total", help, &[("status", status)]))
            }),
            duration: registry.histogram("kube_sentinel_loki_poll_duration_seconds", "Time that a Loki took for an answer.", &[]),
            lag: gauge("kube_sentinel_collect_loki_lag_seconds", "Time of log that is older than poll_interval and was not read yet."),
            repeated: counter("kube_sentinel_collect_loki_repeated_lines_total", "Lines that were read again and known."),
            late: counter(
                "kube_sentinel_collect_loki_late_lines_total",
                "Lines that were not there when their time was read first, and were found later.",
            ),
            gaps: counter("kube_sentinel_collect_loki_gaps_total", "Times that reading went on after it had failed or stood still."),
            gap_seconds: counter("kube_sentinel_collect_loki_gap_seconds_total", "Time of log that was read belatedly after that."),
            skipped: counter(
                "kube_sentinel_collect_loki_skipped_seconds_total",
                "Time of log that was given up because it is longer ago than max_backfill.",
            ),
            truncated: counter(
                "kube_sentinel_collect_loki_truncated_total",
                "Nanoseconds with more lines than one answer may hold; what is more was not read.",
            ),
            remembered: gauge("kube_sentinel_collect_loki_remembered_lines", "Lines that are remembered so that none is taken twice."),
            shortened: counter(
                "kube_sentinel_collect_loki_shortened_total",
                "Moments that are not read again because of max_seen, so that lines which come late to them are missed.",
            ),
            tail_open: gauge("kube_sentinel_collect_loki_tail_open", "1 while the tail is open."),
            tail_ends: counter("kube_sentinel_collect_loki_tail_ends_total", "Tails that ended or could not be opened."),
            tail_lines: counter("kube_sentinel_collect_loki_tail_lines_total", "Lines that a tail told of. They are read by questions."),
            tail_dropped: counter(
                "kube_sentinel_collect_loki_tail_dropped_entries_total",
                "Lines that the Loki left out of its tail, as far as it says so. They are read by questions.",
            ),
            tail_garbage: counter("kube_sentinel_collect_loki_tail_garbage_total", "Messages of a tail that cannot be read."),
        }
    }

    /// A question was answered, or was not.
    pub(super) fn asked(&self, result: Result<Duration, &Trouble>) {
        let name = result.as_ref().map_or_else(|trouble| trouble.result(), |_| "ok");
        if let Some((_, counter)) = self.requests.iter().find(|(result, _)| *result == name) {
            counter.increment(1);
        }
        self.polls[usize::from(result.is_err())].increment(1);
        if let Ok(time) = result {
            self.duration.record(time.as_secs_f64());
        }
    }

    /// How far it is.
    pub(super) fn stands(&self, lag: Duration, remembered: usize) {
        self.lag.set(lag.as_secs_f64());
        self.remembered.set(remembered as f64);
    }

    /// Lines of an answer that were known, and new ones; `again` when their time had been read before.
    pub(super) fn sifted(&self, known: u64, new: u64, again: bool) {
        self.repeated.increment(known);
        if again {
            self.late.increment(new);
        }
    }

    /// Reading goes on after so much time of log that nobody read meanwhile.
    pub(super) fn gap(&self, time: Duration) {
        self.gaps.increment(1);
        self.gap_seconds.increment(time.as_secs());
    }

    pub(super) fn skipped(&self, time: Duration) {
        self.skipped.increment(time.as_secs());
    }

    pub(super) fn truncated(&self) {
        self.truncated.increment(1);
    }

    pub(super) fn shortened(&self, moments: u64) {
        self.shortened.increment(moments);
    }

    pub(super) fn tail_is_open(&self, is_open: bool) {
        self.tail_open.set(if is_open { 1.0 } else { 0.0 });
    }

    pub(super) fn tail_ended(&self) {
        self.tail_ends.increment(1);
    }

    pub(super) fn tail_said(&self, frame: &TailFrame) {
        self.tail_lines.increment(frame.lines);
        self.tail_dropped.increment(frame.dropped);
    }

    pub(super) fn tail_not_understood(&self) {
        self.tail_garbage.increment(1);
    }
}

fn zero(counter: Counter) -> Counter {
    counter.increment(0);
    counter
}

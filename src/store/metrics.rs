//! Figures of the store.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Metadata, Recorder, Unit};

use crate::model::{Removal, Seq, TransitionReason};

use super::Failure;

/// Handles of all figures of the store. Cloning is cheap.
#[derive(Clone)]
pub struct Metrics(Arc<Handles>);

struct Handles {
    commits: Counter,
    commit_seconds: Histogram,
    rows_written: Counter,
    events: Gauge,
    /// In the order of [`REMOVED`].
    events_removed: [Counter; 2],
    open_incidents: Gauge,
    failures: Vec<Counter>,
    last_seq: Gauge,
    database_bytes: Gauge,
}

/// Why retention removes events.
const REMOVED: [TransitionReason; 2] = [TransitionReason::StoreFull, TransitionReason::Expired];

const METADATA: Metadata<'static> = Metadata::new(module_path!(), metrics::Level::INFO, Some(module_path!()));

impl Metrics {
    /// Creates every figure at zero. `metrics::NoopRecorder` serves callers without metrics.
    #[must_use]
    pub fn register(recorder: &dyn Recorder) -> Self {
        let counter = |name: &'static str, text: &'static str| {
            recorder.describe_counter(name.into(), None, text.into());
            recorder.register_counter(&Key::from_static_name(name), &METADATA)
        };
        let gauge = |name: &'static str, unit: Unit, text: &'static str| {
            recorder.describe_gauge(name.into(), Some(unit), text.into());
            recorder.register_gauge(&Key::from_static_name(name), &METADATA)
        };
        let seconds = "kube_sentinel_store_commit_seconds";
        recorder.describe_histogram(seconds.into(), Some(Unit::Seconds), "Time from the start of a commit until it was synced.".into());
        let failures = "kube_sentinel_store_failures_total";
        recorder.describe_counter(failures.into(), None, "Failed operations of the store by reason.".into());
        let removed = "kube_sentinel_store_errors_removed_total";
        recorder.describe_counter(removed.into(), None, "Events that retention removed by reason: by number or by age.".into());
        Self(Arc::new(Handles {
            commits: counter("kube_sentinel_store_commits_total", "Commits that were synced."),
            commit_seconds: recorder.register_histogram(&Key::from_static_name(seconds), &METADATA),
            rows_written: counter("kube_sentinel_store_rows_written_total", "Rows that commits wrote."),
            events: gauge("kube_sentinel_store_errors", Unit::Count, "Events in the store, pending ones included."),
            events_removed: REMOVED.map(|reason| {
                let label = Label::from_static_parts("reason", reason.as_str());
                recorder.register_counter(&Key::from_parts(removed, vec![label]), &METADATA)
            }),
            open_incidents: gauge("kube_sentinel_store_incidents_open", Unit::Count, "Incidents that are open."),
            failures: Failure::ALL
                .iter()
                .map(|reason| {
                    let label = Label::from_static_parts("reason", reason.as_str());
                    recorder.register_counter(&Key::from_parts(failures, vec![label]), &METADATA)
                })
                .collect(),
            last_seq: gauge("kube_sentinel_store_feed_last_seq", Unit::Count, "Sequence number of the last entry of the feed."),
            database_bytes: gauge("kube_sentinel_store_database_bytes", Unit::Bytes, "Size of the database file and its log."),
        }))
    }

    pub(super) fn committed(&self, rows: u64, elapsed: Duration) {
        self.0.commits.increment(1);
        self.0.rows_written.increment(rows);
        self.0.commit_seconds.record(elapsed.as_secs_f64());
    }

    pub(super) fn events(&self, events: u64) {
        self.0.events.set(events as f64);
    }

    pub(super) fn open_incidents(&self, open: u64) {
        self.0.open_incidents.set(open as f64);
    }

    pub(super) fn removed(&self, events: &[Removal]) {
        for (reason, counter) in REMOVED.iter().zip(&self.0.events_removed) {
            counter.increment(events.iter().filter(|event| event.reason == *reason).count() as u64);
        }
    }

    pub(super) fn last_seq(&self, last: Seq) {
        self.0.last_seq.set(last.0 as f64);
    }

    pub(super) fn database_bytes(&self, bytes: u64) {
        self.0.database_bytes.set(bytes as f64);
    }

    pub(super) fn failed(&self, reason: Failure) {
        self.0.failures[reason as usize].increment(1);
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

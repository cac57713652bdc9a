//! What watches and the directory count.

use metrics::{Counter, Gauge};

use crate::telemetry::Registry;

use super::client::{Collection, Trouble};
use super::directory::Known;

/// The metrics of one watch. Cheap to clone.
#[derive(Clone)]
pub struct WatchMetrics {
    up: Gauge,
    lists: Counter,
    changes: Counter,
    skipped: Counter,
    failures: Vec<(Trouble, Counter)>,
}

/// The metrics of the directory.
#[derive(Clone)]
pub struct Metrics {
    known: [Gauge; 4],
    turned_away: Counter,
}

impl WatchMetrics {
    /// Registers everything at zero.
    #[must_use]
    pub fn register(registry: &Registry, of: Collection) -> Self {
        let kind = ("kind", of.name);
        let counter = |name, help| registry.counter(name, help, &[kind]);
        let failures = Trouble::ALL.map(|why| {
            let help = "Requests to the API server that failed, by kind of objects and reason.";
            (why, registry.counter("kube_sentinel_cluster_failures_total", help, &[kind, ("reason", why.as_str())]))
        });
        let up = registry.gauge("kube_sentinel_cluster_watch_up", "1 while the API server tells changes of this kind, else 0.", &[kind]);
        up.set(0.0);
        Self {
            up,
            lists: counter("kube_sentinel_cluster_lists_total", "Times that all objects of a kind were listed: once, and after each gap."),
            changes: counter("kube_sentinel_cluster_changes_total", "Changes that the API server told."),
            skipped: counter("kube_sentinel_cluster_skipped_objects_total", "Objects that cannot be read and were left out."),
            failures: failures.into(),
        }
    }

    pub(super) fn up(&self, is_up: bool) {
        self.up.set(f64::from(u8::from(is_up)));
    }

    pub(super) fn listed(&self) {
        self.lists.increment(1);
    }

    pub(super) fn changed(&self, is_change: bool) {
        self.changes.increment(u64::from(is_change));
    }

    pub(super) fn skipped(&self, count: u64) {
        self.skipped.increment(count);
    }

    pub(super) fn failed(&self, why: Trouble) {
        if let Some((_, counter)) = self.failures.iter().find(|(of, _)| *of == why) {
            counter.increment(1);
        }
    }
}

impl Metrics {
    /// Registers everything at zero.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        let help = "Objects that the directory knows: pods, ReplicaSets and Jobs, nodes; and of the first two those that are gone.";
        Self {
            known: ["pods", "owners", "nodes", "gone"].map(|kind| registry.gauge("kube_sentinel_cluster_objects", help, &[("kind", kind)])),
            turned_away: registry.counter(
                "kube_sentinel_cluster_objects_turned_away_total",
                "Times that an object was told that the directory had no room for (kubernetes.directory.max_objects).",
                &[],
            ),
        }
    }

    pub(super) fn known(&self, known: &Known) {
        for (gauge, count) in self.known.iter().zip([known.pods, known.owners, known.nodes, known.gone]) {
            gauge.set(count as f64);
        }
        self.turned_away.absolute(known.turned_away);
    }
}

impl std::fmt::Debug for WatchMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WatchMetrics")
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

//! The metrics of one `App`.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::{Family, TelemetryConfig};

/// What stands for all values of a label beyond its cap.
pub const OTHER: &str = "_other";

/// Upper bounds of histograms in seconds: from a scan in cache to a request at its deadline.
const SECONDS: [f64; 16] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of histograms in bytes: from one line to the largest body.
const BYTES: [f64; 9] = [256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];

/// Upper bounds of histograms of everything else (lines, rows).
const COUNTS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0, 5000.0, 25000.0, 100_000.0];

/// Samples wait in a buffer until somebody reads them. Without a scraper nobody does, so they are folded this often.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// A set of metrics, shared by everything that counts. Cheap to clone.
///
/// Names are written in full, `_total` of a counter included: `kube_sentinel_<stage>_<noun>_<unit>`. A histogram takes its buckets from its
/// unit: `_seconds`, `_bytes`, or anything else.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    namespaces: Capped,
    families: Mutex<Vec<Family>>,
}

/// Keeps the number of values of a label bounded: the first ones count by themselves, all later ones as [`OTHER`].
#[derive(Debug)]
pub struct Capped {
    seen: RwLock<HashSet<Box<str>>>,
    limit: usize,
}

impl Registry {
    /// An empty set.
    ///
    /// # Panics
    /// Never: the bucket tables are not empty.
    #[must_use]
    pub fn new(config: &TelemetryConfig) -> Self {
        let with_buckets = PrometheusBuilder::new()
            .set_buckets(&COUNTS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS))
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES));
        let recorder = with_buckets.expect("the bucket tables are not empty").build_recorder();
        let handle = recorder.handle();
        let registry =
            Self(Arc::new(Inner { recorder, handle, namespaces: Capped::new(config.namespace_values), families: Mutex::default() }));
        registry.gauge("kube_sentinel_build_info", "The version that runs; always 1.", &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        registry
    }

    /// A counter. The same name and labels give the same counter again.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.0.recorder.describe_counter(KeyName::from_const_str(name), None, help.into());
        self.0.recorder.register_counter(&key(name, labels), &METADATA)
    }

    /// A gauge. The same name and labels give the same gauge again.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.0.recorder.describe_gauge(KeyName::from_const_str(name), None, help.into());
        self.0.recorder.register_gauge(&key(name, labels), &METADATA)
    }

    /// A histogram whose buckets follow from the unit that ends its name.
    pub fn histogram(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.0.recorder.describe_histogram(KeyName::from_const_str(name), None, help.into());
        self.0.recorder.register_histogram(&key(name, labels), &METADATA)
    }

    /// Counters that are told apart by one label, whose values come and go. Asked for once: the same name again is another family.
    pub fn family(&self, name: &'static str, help: &'static str, label: &'static str) -> Family {
        let family = Family::new(name, help, label);
        self.0.families.lock().unwrap_or_else(PoisonError::into_inner).push(family.clone());
        family
    }

    /// The value of a `namespace` label for this namespace: itself, or [`OTHER`] beyond the cap that all metrics share.
    pub fn namespace<'v>(&self, namespace: &'v str) -> &'v str {
        self.0.namespaces.value(namespace)
    }

    /// The recorder, for code that speaks to the `metrics` facade itself.
    #[must_use]
    pub fn recorder(&self) -> &dyn Recorder {
        &self.0.recorder
    }

    /// All metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.0.handle.render();
        for family in self.0.families.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            family.render(&mut text);
        }
        text
    }

    /// Folds histogram samples again and again, so that they do not pile up when nobody scrapes. Runs until it is dropped.
    pub async fn upkeep(&self) {
        let mut ticks = tokio::time::interval(UPKEEP_EVERY);
        loop {
            ticks.tick().await;
            self.0.handle.run_upkeep();
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

impl Capped {
    /// At most `limit` values besides [`OTHER`].
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { seen: RwLock::default(), limit }
    }

    /// The value to count under.
    pub fn value<'v>(&self, value: &'v str) -> &'v str {
        if self.seen.read().unwrap_or_else(PoisonError::into_inner).contains(value) {
            return value;
        }
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < self.limit || seen.contains(value) {
            seen.insert(value.into());
            return value;
        }
        OTHER
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    Key::from_parts(name, labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_namespaces_do_not_explode_the_series() {
        let registry = Registry::new(&TelemetryConfig::default());
        for n in 0..10_000 {
            let namespace = format!("ns-{n}");
            registry.counter("kube_sentinel_errors_total", "Errors.", &[("namespace", registry.namespace(&namespace))]).increment(1);
        }
        let text = registry.render();
        assert_eq!(text.lines().filter(|line| line.starts_with("kube_sentinel_errors_total{")).count(), 201);
        assert!(text.contains("kube_sentinel_errors_total{namespace=\"ns-199\"} 1\n"));
        assert!(text.contains("kube_sentinel_errors_total{namespace=\"_other\"} 9800\n"));
    }

    #[test]
    fn each_metric_has_help_and_two_registries_share_nothing() {
        let (one, other) = (Registry::new(&TelemetryConfig::default()), Registry::new(&TelemetryConfig::default()));
        one.counter("kube_sentinel_test_lines_total", "Lines.", &[("source", "a\"b\n")]).increment(7);
        one.gauge("kube_sentinel_test_open", "Open.", &[]).set(2.0);
        one.histogram("kube_sentinel_test_wait_seconds", "Waits.", &[]).record(0.3);
        one.histogram("kube_sentinel_test_body_bytes", "Bodies.", &[]).record(300.0);
        let text = one.render();
        for line in [
            "# HELP kube_sentinel_test_lines_total Lines.",
            "# TYPE kube_sentinel_test_lines_total counter",
            "kube_sentinel_test_lines_total{source=\"a\\\"b\\n\"} 7",
            "# HELP kube_sentinel_test_open Open.",
            "kube_sentinel_test_open 2",
            "# HELP kube_sentinel_test_wait_seconds Waits.",
            "# TYPE kube_sentinel_test_wait_seconds histogram",
            "kube_sentinel_test_wait_seconds_bucket{le=\"0.25\"} 0",
            "kube_sentinel_test_wait_seconds_bucket{le=\"0.5\"} 1",
            "kube_sentinel_test_body_bytes_bucket{le=\"1024\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\nnot in\n{text}");
        }
        assert!(!other.render().contains("kube_sentinel_test"));
    }
}

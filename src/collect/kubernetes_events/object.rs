//! What is read of an event, whichever of the two interfaces wrote it.

use serde::Deserialize;

use crate::cluster::{Metadata, Object};
use crate::model::Timestamp;

/// An event of `events.k8s.io/v1`. What older recorders write by the core interface stands in the members that begin with `deprecated`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventObject {
    /// Name, uid and version; the namespace is that of the object that it is about, or `default`.
    pub metadata: Metadata,
    /// When it happened first, to the microsecond.
    pub event_time: Option<String>,
    /// How often it happened since.
    pub series: Option<Series>,
    /// Who tells, such as `kubelet`.
    pub reporting_controller: Option<String>,
    /// Why, in one word, such as `BackOff`.
    pub reason: Option<String>,
    /// What it is about.
    pub regarding: Option<Regarding>,
    /// What happened, for people.
    pub note: Option<String>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Who tells, by the older interface.
    pub deprecated_source: Option<EventSource>,
    /// When it happened first, by the older interface.
    pub deprecated_first_timestamp: Option<String>,
    /// When it happened last, by the older interface.
    pub deprecated_last_timestamp: Option<String>,
    /// How often it happened, by the older interface.
    pub deprecated_count: Option<i64>,
}

/// An event that is repeated.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Series {
    /// How often it happened, the first time included.
    pub count: i64,
    /// When it happened last.
    pub last_observed_time: Option<String>,
}

/// The object that an event is about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Regarding {
    /// Such as `Pod`.
    pub kind: String,
    /// Empty for nodes.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// A part of it, such as `spec.containers{api}`.
    pub field_path: Option<String>,
}

/// Who tells, by the older interface.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EventSource {
    /// Such as `kubelet`.
    pub component: Option<String>,
    /// The node that it runs on.
    pub host: Option<String>,
}

impl EventObject {
    /// How often it happened until now.
    #[must_use]
    pub fn count(&self) -> u64 {
        let count = self.series.as_ref().map_or(self.deprecated_count, |series| Some(series.count));
        u64::try_from(count.unwrap_or(1)).unwrap_or(1).max(1)
    }

    /// When it happened first.
    #[must_use]
    pub fn first(&self) -> Timestamp {
        time(&self.event_time).or_else(|| time(&self.deprecated_first_timestamp)).unwrap_or_else(|| self.metadata.created())
    }

    /// When it happened last.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        let of_series = self.series.as_ref().and_then(|series| time(&series.last_observed_time));
        of_series.or_else(|| time(&self.deprecated_last_timestamp)).unwrap_or_else(|| self.first())
    }

    /// Who tells.
    #[must_use]
    pub fn reporter(&self) -> &str {
        let by_old = self.deprecated_source.as_ref().and_then(|source| source.component.as_deref());
        self.reporting_controller.as_deref().filter(|name| !name.is_empty()).or(by_old).unwrap_or_default()
    }

    /// The node of who tells, where that is said.
    #[must_use]
    pub fn host(&self) -> &str {
        self.deprecated_source.as_ref().and_then(|source| source.host.as_deref()).unwrap_or_default()
    }
}

impl Regarding {
    /// The container that the field path names.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        let (of, rest) = self.field_path.as_deref()?.split_once('{')?;
        let is_container = ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"].contains(&of);
        rest.strip_suffix('}').filter(|name| is_container && !name.is_empty())
    }
}

impl Object for EventObject {
    fn resource_version(&self) -> Option<&str> {
        Some(&self.metadata.resource_version).filter(|version| !version.is_empty()).map(String::as_str)
    }
}

fn time(text: &Option<String>) -> Option<Timestamp> {
    Timestamp::parse(text.as_deref()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(value: serde_json::Value) -> EventObject {
        serde_json::from_value(value).expect("an event")
    }

    #[test]
    fn counts_and_times_are_read_from_both_interfaces() {
        let time = |text: &str| Timestamp::parse(text).expect("a time");
        let old = event(json!({
            "metadata": {"creationTimestamp": "2026-11-21T10:00:00Z"}, "eventTime": null, "deprecatedCount": 7,
            "deprecatedFirstTimestamp": "2026-11-21T10:00:00Z", "deprecatedLastTimestamp": "2026-11-21T10:05:00Z",
            "deprecatedSource": {"component": "kubelet", "host": "node-1"}, "reportingController": "",
        }));
        assert_eq!((old.count(), old.first(), old.last()), (7, time("2026-11-21T10:00:00Z"), time("2026-11-21T10:05:00Z")));
        assert_eq!((old.reporter(), old.host()), ("kubelet", "node-1"));
        let new = event(json!({
            "eventTime": "2026-11-21T10:00:00.123456Z", "series": {"count": 3, "lastObservedTime": "2026-11-21T10:01:00.000001Z"},
            "reportingController": "kubernetes.io/kube-scheduler",
        }));
        assert_eq!((new.count(), new.last(), new.reporter()), (3, time("2026-11-21T10:01:00.000001Z"), "kubernetes.io/kube-scheduler"));
        let bare = event(json!({"metadata": {"creationTimestamp": "2026-11-21T10:00:00Z"}}));
        assert_eq!((bare.count(), bare.first(), bare.last()), (1, time("2026-11-21T10:00:00Z"), time("2026-11-21T10:00:00Z")));
        assert_eq!(event(json!({"deprecatedCount": -5})).count(), 1);
    }

    #[test]
    fn a_field_path_names_a_container_of_a_pod() {
        let container = |path: &str| Regarding { field_path: Some(path.to_owned()), ..Regarding::default() }.container().map(str::to_owned);
        assert_eq!(container("spec.containers{api}"), Some("api".to_owned()));
        assert_eq!(container("spec.initContainers{init-db}"), Some("init-db".to_owned()));
        for none in ["", "spec.containers", "spec.containers{}", "spec.containers{api", "spec.volumes{x}", "{api}"] {
            assert_eq!(container(none), None, "{none}");
        }
    }
}

//! Settings of the store.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Span;

/// Where events are kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The database file, on a local disk. Missing folders are made. Left out, the program picks a place and prints it at start.
    pub path: Option<PathBuf>,
    /// Most events that are kept. When there are more, a tenth is removed: resolved ones first, those that fire last, and of each those that
    /// were hit least recently.
    pub max_events: u64,
    /// An event that was not hit for so long is removed.
    pub max_event_age: Span,
    /// Most incidents that are over and kept. When there are more, those that ended first are removed.
    pub max_incidents: u64,
    /// An incident that ended so long ago is removed, when its events are gone or fired in later ones. At least `group.incidents.recurrence_within`.
    pub max_incident_age: Span,
    /// Most entries of the feed that are kept for subscribers who come back.
    pub max_feed_entries: u64,
    /// Entries of the feed older than this are removed.
    pub max_feed_age: Span,
    /// Most sliding windows that are kept. When there are more, those counted in least recently are removed and start from zero.
    pub max_windows: u64,
    /// Most request digests that are kept to recognise a repeated request.
    pub max_requests: u64,
    /// A request that comes again within this time is recognised.
    pub request_age: Span,
    /// Connections for reading, and so the most reads at once. Each keeps up to 2 MiB of pages.
    pub readers: usize,
    /// How long to wait for a lock that another process holds (a backup that ends, a checkpoint by `sqlite3`) before the attempt fails.
    pub busy_timeout: Span,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: None,
            // The limit that the replaced system had; about 15 MiB on disk.
            max_events: 10_000,
            max_event_age: Span::secs(7 * 24 * 3_600),
            // About 5 MiB on disk, and ten a day for each of 30 services over the time below.
            max_incidents: 10_000,
            // As far back as a person looks for what happened before, and four times what counts as a recurrence.
            max_incident_age: Span::secs(30 * 24 * 3_600),
            // About 60 MiB on disk. 10,000 events that are hit all the time make 1,000 entries a second, so this lasts a quarter of an hour
            // in the worst case and days in ordinary ones.
            max_feed_entries: 1_000_000,
            // A subscriber may be away for as long as an event is remembered.
            max_feed_age: Span::secs(7 * 24 * 3_600),
            // About 20 MiB on disk. One window for each rule and workload.
            max_windows: 100_000,
            // 550 requests a second over the time below; about 18 MiB on disk.
            max_requests: 500_000,
            // Senders give up a request within minutes; the replaced design kept 15.
            request_age: Span::secs(15 * 60),
            readers: 4,
            busy_timeout: Span::secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_default_to_those_of_the_replaced_system_and_unknown_keys_are_refused() {
        let config: StoreConfig = serde_json::from_str(r#"{"path": "/data/s.db", "request_age": "1m"}"#).unwrap();
        assert_eq!((config.max_events, config.max_event_age), (10_000, Span::secs(7 * 86_400)));
        assert_eq!(config, StoreConfig { path: Some("/data/s.db".into()), request_age: Span::secs(60), ..StoreConfig::default() });
        assert!(serde_json::from_str::<StoreConfig>(r#"{"max_event": 5}"#).is_err());
    }
}

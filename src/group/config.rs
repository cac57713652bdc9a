//! Settings of the stage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, Span};

/// How hits become events, and how much of that is kept in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GroupConfig {
    /// Longest text of a first hit that is stored with its event; what is over it is cut.
    pub max_message: ByteSize,
    /// Most labels of a stream that an event shows, the first by name; others are left out. What makes an event is told by all of them.
    pub max_labels: usize,
    /// Longest name of a label that an event shows; a label with a longer one is left out.
    pub max_label_name: ByteSize,
    /// Longest value of a label that an event shows; what is over it is cut.
    pub max_label_value: ByteSize,
    /// Most events of one rule at one workload. The hits of further unlike lines count in one event for the rest, so that a workload whose
    /// every line differs does not crowd all others out of the store. Of a store with room for fewer than ten times as many events, a tenth.
    pub max_events_per_workload: u64,
    /// Events whose heads stay in memory, at about 250 bytes each. Others are read from the store when they are hit again.
    pub max_events_in_memory: usize,
    /// Windows that stay in memory, at up to 2 KiB each. Others are read from the store when they are hit again.
    pub max_windows_in_memory: usize,
    /// Shortest time between two count updates of one event in the feed.
    pub count_update_interval: Span,
    /// Lines that arrive later than this count in totals but not in windows.
    pub late: Span,
    /// When counting takes over from grouping.
    pub storm: StormConfig,
}

/// When a rule that meets everything in a stream degrades to counting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StormConfig {
    /// Hits of one rule in one stream within `window` of receipt time that are all fingerprinted. Those after it are sampled.
    pub threshold: u64,
    /// Length of the window that `threshold` counts in.
    pub window: Span,
    /// In a storm, every hit of this number is fingerprinted even when it looks like one before it. At least 1.
    pub stride: u64,
    /// Pairs of rule and stream that are counted at once, at about 100 bytes each. Over it, the one not hit for longest starts anew.
    pub max_streams: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            // A screen of text: enough for a stack trace's head, small enough that 100,000 events stay under 400 MB on disk.
            max_message: ByteSize(4096),
            // Loki takes 15, and a record tells up to four more. What Loki takes is shown whole, and no sender makes an event of megabytes.
            max_labels: 20,
            // Loki's own limits.
            max_label_name: ByteSize(1024),
            max_label_value: ByteSize(2048),
            // A tenth of what the store keeps by default, and far more than anybody reads of one workload.
            max_events_per_workload: 1_000,
            // About 25 MB when full.
            max_events_in_memory: 100_000,
            // About 40 MB when every one of them has a hit in every bucket.
            max_windows_in_memory: 20_000,
            count_update_interval: Span::secs(10),
            late: Span::secs(10 * 60),
            storm: StormConfig::default(),
        }
    }
}

impl Default for StormConfig {
    fn default() -> Self {
        Self {
            // 1,000 a second: far over what a person reads, and at 0.5 µs a hit 0.05 % of a core.
            threshold: 10_000,
            window: Span::secs(10),
            stride: 1_000,
            max_streams: 10_000,
        }
    }
}

//! Settings of the stage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, Span};

use super::evidence::EvidenceConfig;
use super::trace::TraceConfig;

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
    /// Most template groups that hits may found, at 1 to 3 KiB of memory each; a tenth of them at one rule and workload. Hits of lines that
    /// are of no known group are then told apart by all their words, so that what varies in more than its shape makes events of its own. No
    /// group is forgotten for another one: its events would get other fingerprints. 0 learns nothing.
    pub max_template_groups: usize,
    /// Events whose heads stay in memory, at about 320 bytes each. Others are read from the store when they are hit again.
    pub max_events_in_memory: usize,
    /// Windows that stay in memory, at up to 2 KiB each. Others are read from the store when they are hit again.
    pub max_windows_in_memory: usize,
    /// Shortest time between two count updates of one event in the feed.
    pub count_update_interval: Span,
    /// Lines that arrive later than this count in totals but not in windows.
    pub late: Span,
    /// When counting takes over from grouping.
    pub storm: StormConfig,
    /// When an event is over, and when its coming back is noise.
    pub lifecycle: LifecycleConfig,
    /// When a line is absent, and when nobody can say so.
    pub absence: AbsenceConfig,
    /// How the events of a service become one incident.
    pub incidents: IncidentConfig,
    /// The last lines of each stream.
    pub tails: TailConfig,
    /// The lines around a hit that are stored with its event.
    pub evidence: EvidenceConfig,
    /// How lines become one stack trace.
    pub trace: TraceConfig,
}

/// How much of the last lines of each stream stays in memory, for what belongs to a line of a later push. Never on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TailConfig {
    /// Lines of one stream, at most 1000. 0: none of any.
    pub max_lines: usize,
    /// Bytes of a line that are kept, from its beginning, at most 64 KiB.
    pub max_line: ByteSize,
    /// Streams that have a tail. Over it, the one that was quiet for longest goes.
    pub max_streams: usize,
    /// Memory of all tails together. Over it, those go that were quiet for longest.
    pub memory: ByteSize,
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

/// When an event is over, and when its coming back is noise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleConfig {
    /// A firing event that is not hit for this long, and for its rule's window, is quiet. Only time in which the program was ready counts.
    pub quiet_after: Span,
    /// An event that is not hit for this long is resolved; with a rule's window over `quiet_after`, that much later. At least `quiet_after`.
    pub resolve_after: Span,
    /// The event of an alert whose sender says when it is over is quiet instead when nobody said anything for this long: what was to be
    /// sent may be lost. Longer than Alertmanager's `repeat_interval`.
    pub alert_after: Span,
    /// An event that breaks out for the third time within this is flapping.
    pub flap_window: Span,
    /// One that has done so three times within `flap_window` is chronic, and not told of again, until it was away for this long.
    pub chronic_gap: Span,
    /// Errors of a workload that is being rolled out are expected for this long.
    pub rollout_grace: Span,
}

/// When a line that a rule waits for (`absent:`) is absent, and when nobody can say so. All times count only while the program is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AbsenceConfig {
    /// Lines that are waited for at once, such as one for each workload, at about 600 bytes each. Those of further ones are not waited for.
    pub max_keys: usize,
    /// Senders that are told apart (tenant and door, and each node of them), at about 150 bytes each. Rules hold fire for those over it.
    pub max_sources: usize,
    /// A source that sends nothing at all for this long is down: rules hold fire, and wait anew once it is back.
    pub down_after: Span,
    /// A node that is down for this long, while others send, is gone: it is no reason to hold fire any more.
    pub gone_after: Span,
    /// After a request was answered 429 or 503, and after a start, rules hold fire for this long: what was not taken is sent again.
    pub settle: Span,
    /// Rules say that a source lags when its newest lines come later than this. They wait for late lines in any case.
    pub lag: Span,
}

/// How the events of a service become one incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IncidentConfig {
    /// An incident whose service fires again within this after it was resolved is reopened. Later it is a new one. Only time in which the
    /// program was ready counts.
    pub reopen_within: Span,
    /// An incident that is open for this long is closed as aged out, and what still fires is in a new one. Only time in which the program was
    /// ready counts.
    pub max_age: Span,
    /// An incident of a service that had another one within this, by the clock, is to be investigated: nothing is restarted for it.
    pub recurrence_within: Span,
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
            // About 15 MB when full. A large program has some thousand statements that log an error.
            max_template_groups: 10_000,
            // About 32 MB when full.
            max_events_in_memory: 100_000,
            // About 40 MB when every one of them has a hit in every bucket.
            max_windows_in_memory: 20_000,
            count_update_interval: Span::secs(10),
            late: Span::secs(10 * 60),
            storm: StormConfig::default(),
            lifecycle: LifecycleConfig::default(),
            absence: AbsenceConfig::default(),
            incidents: IncidentConfig::default(),
            tails: TailConfig::default(),
            evidence: EvidenceConfig::default(),
            trace: TraceConfig::default(),
        }
    }
}

impl Default for TailConfig {
    fn default() -> Self {
        Self {
            // Most stack traces, and 12 us of a push of 1.8 ms with the lines of 20 pods.
            max_lines: 32,
            // Longer lines are rare, and their beginning tells what they are.
            max_line: ByteSize(1024),
            // The containers of a cluster of 200 nodes.
            max_streams: 20_000,
            memory: ByteSize(32 << 20),
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

impl Default for LifecycleConfig {
    fn default() -> Self {
        Self {
            // The usual window of a rule, and longer than most pauses between two tries of a program that retries.
            quiet_after: Span::secs(5 * 60),
            // As long as contracts C.3 reopen an incident instead of making a new one.
            resolve_after: Span::secs(30 * 60),
            // Three times what Alertmanager waits before it tells an alert again (repeat_interval, 4h).
            alert_after: Span::secs(12 * 3_600),
            // Both as contracts C.3 have them.
            flap_window: Span::secs(6 * 3_600),
            chronic_gap: Span::secs(2 * 3_600),
            // After so long Kubernetes itself calls a rollout failed (progressDeadlineSeconds).
            rollout_grace: Span::secs(10 * 60),
        }
    }
}

impl Default for AbsenceConfig {
    fn default() -> Self {
        Self {
            // About 6 MB when full: all workloads of the largest clusters.
            max_keys: 10_000,
            // About 1.5 MB when full: twice the nodes of the largest clusters.
            max_sources: 10_000,
            // A node that logs nothing for this long has stopped, or its agent has: each kubelet alone writes more often.
            down_after: Span::secs(5 * 60),
            // Replacing a node takes minutes.
            gone_after: Span::secs(3_600),
            // The longest pause between two tries of Promtail and Alloy.
            settle: Span::secs(5 * 60),
            // Agents send what they have every few seconds.
            lag: Span::secs(60),
        }
    }
}

impl Default for IncidentConfig {
    fn default() -> Self {
        // All three as contracts C.3 and C.10 have them.
        Self { reopen_within: Span::secs(30 * 60), max_age: Span::secs(168 * 3_600), recurrence_within: Span::secs(7 * 24 * 3_600) }
    }
}

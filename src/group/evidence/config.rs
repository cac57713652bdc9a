//! Settings of evidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, Span};

/// The lines around a hit that are stored with its event, secrets redacted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvidenceConfig {
    /// Lines of the stream before a hit, at most 50. Where a push begins with the hit, as many of them as `tails` keeps.
    pub before: usize,
    /// Lines of the stream after a hit, at most 50. Those that come with a later push are added then, and missing where the process ends
    /// before they come.
    pub after: usize,
    /// Bytes of each of these lines, and of the hit's. What is over it is cut.
    pub max_line: ByteSize,
    /// The hits of one error are captured again after this time. The store keeps the first capture of an event and the last one.
    pub interval: Span,
    /// Most captures of one rule at one workload within `interval`. Hits of further unlike lines are not captured.
    pub max_per_workload: u64,
    /// Errors of which it is known when they were last captured, at about 80 bytes each. Over it, the one that was hit least recently may be
    /// captured again before its time.
    pub max_fingerprints: usize,
}

impl Default for EvidenceConfig {
    fn default() -> Self {
        Self {
            // What a person reads at a glance; most programs tell the reason within as many.
            before: 5,
            after: 5,
            max_line: ByteSize(1024),
            // As long as the last capture may be old. One of a hundred errors then costs a commit some 10 us every 6 s.
            interval: Span::secs(10 * 60),
            // More unlike errors than anybody reads of one workload, at 10 us each.
            max_per_workload: 100,
            // As many as the heads in memory.
            max_fingerprints: 100_000,
        }
    }
}

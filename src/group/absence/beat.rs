//! What a batch tells of lines that are waited for.

use std::sync::Arc;

use crate::model::{RuleId, RuleName, Stream, Timestamp, WindowKey};

/// All lines of one key of one rule in one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// What is waited for.
    pub key: WindowKey,
    /// The rule, of the generation of the sightings.
    pub rule: RuleId,
    /// The name that the rule's state is kept under.
    pub state: RuleName,
    /// Stream of the first line, with the identity that its records tell where the sender's labels name no pod.
    pub stream: Arc<Stream>,
    /// The same as it was sent: its node is the source.
    pub sent: Arc<Stream>,
    /// Number of lines.
    pub count: u64,
    /// Latest event time.
    pub last: Timestamp,
}

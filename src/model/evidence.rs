//! What stood around a hit.

use std::sync::Arc;

use super::{EventRow, RecordContext, Timestamp};

/// Tells captures apart, so that lines which come later find theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaptureId(pub i64);

/// One line, secrets redacted, cut to a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceLine {
    /// Event time.
    pub at: Timestamp,
    /// The line.
    pub line: Box<str>,
}

/// A hit with the lines before and after it in its stream, as far as they were known when it was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Which capture.
    pub id: CaptureId,
    /// Event time of the hit.
    pub at: Timestamp,
    /// Lines before it, oldest first.
    pub before: Vec<EvidenceLine>,
    /// The line of the hit, secrets redacted, cut to a limit.
    pub hit: Box<str>,
    /// Lines after it, oldest first.
    pub after: Vec<EvidenceLine>,
    /// Severity, trace and span of the hit, where its record told them beside the line.
    pub context: Option<RecordContext>,
}

/// One change of the evidence of an event. The store keeps the first capture of an event and the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceWrite {
    /// A new capture for this event.
    Capture(EventRow, Arc<Evidence>),
    /// A capture with lines that came later. It takes the place of the one with its id, if that is still kept.
    Amend(EventRow, Arc<Evidence>),
}

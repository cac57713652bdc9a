//! The lines around a hit, as JSON.

use serde::Serialize;

use crate::model::Evidence;
use crate::proto::v1;
use crate::serve::convert;

/// A hit with the lines before and after it in its stream.
#[derive(Debug, Serialize)]
pub struct EvidenceJson {
    at: String,
    before: Vec<LineJson>,
    hit: String,
    after: Vec<LineJson>,
    #[serde(skip_serializing_if = "is_zero")]
    severity_number: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    severity_text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    trace_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    span_id: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[derive(Debug, Serialize)]
struct LineJson {
    at: String,
    line: String,
}

impl From<&Evidence> for EvidenceJson {
    fn from(evidence: &Evidence) -> Self {
        Self::from(&convert::evidence(evidence))
    }
}

/// From an update of the feed, for clients that write JSON.
impl From<&v1::Evidence> for EvidenceJson {
    fn from(evidence: &v1::Evidence) -> Self {
        let time = |at: Option<&prost_types::Timestamp>| at.map_or_else(String::new, |at| convert::time(at).to_string());
        let lines = |lines: &[v1::EvidenceLine]| {
            lines.iter().map(|line| LineJson { at: time(line.at.as_ref()), line: line.line.clone() }).collect()
        };
        Self {
            at: time(evidence.at.as_ref()),
            before: lines(&evidence.before),
            hit: evidence.hit.clone(),
            after: lines(&evidence.after),
            severity_number: evidence.severity_number,
            severity_text: evidence.severity_text.clone(),
            trace_id: evidence.trace_id.clone(),
            span_id: evidence.span_id.clone(),
        }
    }
}

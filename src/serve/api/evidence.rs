//! The lines around a hit, as JSON.

use serde::Serialize;

use crate::model::{Evidence, EvidenceLine};
use crate::proto::v1;
use crate::serve::convert;

/// A hit with the lines before and after it in its stream.
#[derive(Debug, Serialize)]
pub struct EvidenceJson {
    at: String,
    before: Vec<LineJson>,
    hit: String,
    after: Vec<LineJson>,
}

#[derive(Debug, Serialize)]
struct LineJson {
    at: String,
    line: String,
}

impl From<&Evidence> for EvidenceJson {
    fn from(evidence: &Evidence) -> Self {
        let lines =
            |lines: &[EvidenceLine]| lines.iter().map(|line| LineJson { at: line.at.to_string(), line: line.line.to_string() }).collect();
        Self { at: evidence.at.to_string(), before: lines(&evidence.before), hit: evidence.hit.to_string(), after: lines(&evidence.after) }
    }
}

/// From an update of the feed, for clients that write JSON.
impl From<&v1::Evidence> for EvidenceJson {
    fn from(evidence: &v1::Evidence) -> Self {
        let time = |at: Option<&prost_types::Timestamp>| at.map_or_else(String::new, |at| convert::time(at).to_string());
        let lines = |lines: &[v1::EvidenceLine]| {
            lines.iter().map(|line| LineJson { at: time(line.at.as_ref()), line: line.line.clone() }).collect()
        };
        Self { at: time(evidence.at.as_ref()), before: lines(&evidence.before), hit: evidence.hit.clone(), after: lines(&evidence.after) }
    }
}

//! Settings of stack traces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, Span};

use super::fold::Limits;

/// How lines become one stack trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TraceConfig {
    /// Most lines of one trace. What follows is a trace of its own.
    pub max_lines: u64,
    /// Most bytes of one trace. What follows is a trace of its own.
    pub max_bytes: ByteSize,
    /// How long a trace that ends with its push waits for the next push of its stream. It counts when it has waited. 0: none waits, and a trace
    /// that comes in several pushes counts as what its pieces are.
    pub hold: Span,
    /// Traces that wait at once, at up to about 30 KiB each. Over it, a trace does not wait and counts as what its push has of it.
    pub max_open: usize,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            // Ten times the deepest stack that Java prints. A trace keeps a few names however long it is: these bounds end one that never ends.
            max_lines: 10_000,
            max_bytes: ByteSize(4 << 20),
            // Three times what senders wait by default before they send what they have.
            hold: Span::secs(3),
            max_open: 1_000,
        }
    }
}

impl TraceConfig {
    pub(in crate::group) fn limits(&self) -> Limits {
        Limits { lines: self.max_lines, bytes: self.max_bytes.0 }
    }
}

//! Settings of stack traces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ByteSize;

use super::fold::Limits;

/// How lines become one stack trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TraceConfig {
    /// Most lines of one trace. What follows is a trace of its own.
    pub max_lines: u64,
    /// Most bytes of one trace. What follows is a trace of its own.
    pub max_bytes: ByteSize,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            // Ten times the deepest stack that Java prints. A trace keeps a few names however long it is: these bounds end one that never ends.
            max_lines: 10_000,
            max_bytes: ByteSize(4 << 20),
        }
    }
}

impl TraceConfig {
    pub(in crate::group) fn limits(&self) -> Limits {
        Limits { lines: self.max_lines, bytes: self.max_bytes.0 }
    }
}

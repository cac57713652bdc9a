//! OTLP's `ExportLogsServiceRequest`, in protobuf ([`walk`]) and in JSON ([`json`]).
//!
//! The body of a record is its line. A text is taken as it stands, in protobuf without a copy; any other value is written as JSON
//! (`render`). What a logger puts beside the body and rules are written for, the text of an exception, goes into one JSON line with it. Who
//! logged is said by attributes of the resource or, where those name no pod, of the record (`identity`); severity, trace and span stay
//! with the line as its [`LineContext`].
//!
//! A record that cannot be read is dropped alone and counted as a bad entry, as far as its end is known.

pub mod answer;
mod identity;
pub mod json;
mod render;
pub mod walk;

use std::ops::Range;

use crate::model::{LineContext, Timestamp};

/// Exceptions as semantic conventions have them. Stack traces are looked for under the last one of these.
const EXCEPTION: [&[u8]; 3] = [b"exception.type", b"exception.message", b"exception.stacktrace"];

/// Arrays and lists within each other, as deep as `prost` reads them or less.
const DEEPEST: usize = 64;

/// What counts of a record, but for its body and attributes.
#[derive(Debug, Clone, Default)]
struct Facts {
    /// Nanoseconds since 1970; 0 is none.
    time: u64,
    observed: u64,
    severity: i64,
    trace_id: [u8; 16],
    span_id: [u8; 8],
}

impl Facts {
    /// Event time, or time of observation; 0 where there is none.
    #[inline]
    fn at(&self) -> Timestamp {
        let nanos = if self.time == 0 { self.observed } else { self.time };
        Timestamp(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// What stays with the line; `text` is where the text of the severity stands in the block. `None` where there is nothing.
    #[inline]
    fn context(&self, text: Range<usize>) -> Option<LineContext> {
        // 24 is the last one that has a meaning.
        let severity = u8::try_from(self.severity).ok().filter(|severity| *severity <= 24).unwrap_or(0);
        let context =
            LineContext { severity, severity_text: (text.start as u32, text.end as u32), trace_id: self.trace_id, span_id: self.span_id };
        (severity != 0 || !text.is_empty() || self.trace_id != [0; 16] || self.span_id != [0; 8]).then_some(context)
    }
}

/// An id of the right length; anything else is none.
#[inline]
fn id<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

/// What an attribute of a record is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interest {
    /// The text of an exception.
    Exception,
    /// Who logged.
    Identity,
    None,
}

#[inline]
fn interest(key: &[u8]) -> Interest {
    match key.first() {
        Some(b'e') if EXCEPTION.contains(&key) => Interest::Exception,
        Some(b'k') if key.starts_with(b"k8s.") || key == b"kubernetes" => Interest::Identity,
        _ => Interest::None,
    }
}

#[cfg(test)]
mod tests;

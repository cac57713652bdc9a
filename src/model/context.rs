//! What a record says of itself beside its line.

use std::fmt::Write;

/// Severity, trace and span of a line, where it stands in its block. Made for each line of some senders, so it is small and owns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineContext {
    /// OpenTelemetry's severity number: 1 to 24, in fours from TRACE to FATAL; 0 where none is told.
    pub severity: u8,
    /// Where the sender's own word for it begins and ends in the block's buffer; the same place twice where there is none.
    pub severity_text: (u32, u32),
    /// Identity of the trace; all zero where there is none.
    pub trace_id: [u8; 16],
    /// Identity of the span; all zero where there is none.
    pub span_id: [u8; 8],
}

/// The same by itself. What was not told is 0 or empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordContext {
    /// As in [`LineContext::severity`].
    pub severity_number: u8,
    /// The sender's own word for it, cut to 32 bytes.
    pub severity_text: Box<str>,
    /// 32 hex digits.
    pub trace_id: Box<str>,
    /// 16 hex digits.
    pub span_id: Box<str>,
}

/// Words for a severity are short: longer ones are something else.
const MAX_SEVERITY_TEXT: usize = 32;

impl LineContext {
    /// Taken out of the buffer that it belongs to.
    #[must_use]
    pub fn of(&self, buffer: &[u8]) -> RecordContext {
        let (start, end) = (self.severity_text.0 as usize, self.severity_text.1 as usize);
        let text = String::from_utf8_lossy(buffer.get(start..end.min(start.saturating_add(MAX_SEVERITY_TEXT))).unwrap_or_default());
        let text = text.get(..text.floor_char_boundary(MAX_SEVERITY_TEXT)).unwrap_or_default();
        RecordContext {
            severity_number: self.severity,
            severity_text: text.into(),
            trace_id: hex(&self.trace_id),
            span_id: hex(&self.span_id),
        }
    }
}

fn hex(id: &[u8]) -> Box<str> {
    let mut text = String::new();
    for byte in id.iter().filter(|_| id.iter().any(|byte| *byte != 0)) {
        write!(text, "{byte:02x}").expect("a string takes any text");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_taken_out_of_its_buffer_and_what_is_not_told_is_empty() {
        let mut context = LineContext { severity: 17, severity_text: (2, 7), trace_id: [0xab; 16], span_id: [0; 8] };
        let told = context.of(b"..ERROR..");
        assert_eq!((told.severity_number, &*told.severity_text, &*told.span_id), (17, "ERROR", ""));
        assert_eq!(&*told.trace_id, "ab".repeat(16));
        let long = "\u{20ac}".repeat(20);
        context.severity_text = (0, long.len() as u32);
        assert_eq!(&*context.of(long.as_bytes()).severity_text, "\u{20ac}".repeat(10));
        context.severity_text = (5, 900);
        assert_eq!(&*context.of(b"short").severity_text, "");
    }
}

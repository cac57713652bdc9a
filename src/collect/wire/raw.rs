//! Plain lines, separated by newlines, without labels.

use crate::model::Timestamp;

use super::{DecodeError, Sink};

/// Lists the lines of the text that the sink's block holds. Empty lines are no lines; a carriage return before the newline is no part of one.
///
/// # Errors
/// When there are more lines than there is memory for.
pub fn decode(sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    decode_with(sink, |_| Timestamp(0))
}

/// The same with the time that `time_of` finds in a line; 0 is none.
///
/// # Errors
/// As [`decode`].
pub fn decode_with(sink: &mut Sink<'_>, time_of: impl Fn(&[u8]) -> Timestamp) -> Result<(), DecodeError> {
    let lines = memchr::memchr_iter(b'\n', sink.block.bytes()).count() + 1;
    sink.reserve(lines)?;
    let mut stream = None;
    let mut start = 0;
    while start < sink.block.bytes().len() {
        let rest = sink.block.bytes().get(start..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or_default();
        let end = start + line.strip_suffix(b"\r").unwrap_or(line).len();
        if end > start {
            let index = match stream {
                Some(index) => index,
                None => {
                    sink.count_stream();
                    *stream.insert(sink.nameless_stream())
                }
            };
            let time = time_of(sink.block.bytes().get(start..end).unwrap_or_default());
            sink.line(start, end, time, index);
        }
        start += length + 1;
    }
    Ok(())
}

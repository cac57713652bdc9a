//! Lines over HTTP: plain ones, JSON one a line, or JSON values in an array or one behind the other.
//!
//! Every value is a line where it stands, so nothing is copied. A record tells its time itself (`json_time`), and who logged under
//! `kubernetes`, which is read where a rule was met.

use std::ops::Range;

use crate::collect::files::json_time;
use crate::model::Timestamp;

use super::jsontext::{self, Json};
use super::{DecodeError, Sink, raw};

/// What stands in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines of text, without times.
    Plain,
    /// A JSON value on each line; what is none is a line all the same.
    JsonLines,
    /// One JSON text: an array of values, or values one behind the other.
    Json,
}

/// Lists the lines of the text that the sink's block holds.
///
/// # Errors
/// When a JSON text is broken, or there are more lines than there is memory for.
pub fn decode(form: Form, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    match form {
        Form::Plain => raw::decode(sink),
        Form::JsonLines => raw::decode_with(sink, |line| json_time(line).unwrap_or(Timestamp(0))),
        Form::Json => json(sink),
    }
}

fn json(sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    let text = sink.block.bytes();
    let is_array = text.trim_ascii_start().first() == Some(&b'[');
    if is_array {
        jsontext::check(text)?;
    } else {
        jsontext::check_all(text)?;
    }
    let mut reader = Json::over(text);
    if is_array {
        reader.take(b'[');
    }
    let mut at = reader.at();
    let mut stream = None;
    while let Some(place) = next(sink.block.bytes(), at) {
        at = place.end;
        let index = match stream {
            Some(index) => index,
            None => {
                sink.count_stream();
                *stream.insert(sink.nameless_stream())
            }
        };
        let time = json_time(sink.block.bytes().get(place.clone()).unwrap_or_default()).unwrap_or(Timestamp(0));
        sink.reserve(1)?;
        sink.line(place.start, place.end, time, index);
    }
    Ok(())
}

/// The next value from `at` on, behind a comma or not.
fn next(text: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let mut json = Json::over(rest);
    json.take(b',');
    json.peek()?;
    let start = json.at();
    let value = json.value()?;
    Some(at + start..at + start + value.len())
}

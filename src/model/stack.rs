//! The stack trace beside the message of a structured line.
//!
//! Many loggers write the trace of an error into a member of its own: `stack_trace` (logstash encoders), `stacktrace` (zap), `stack` (pino,
//! bunyan, winston), `exception` (.NET, monolog), `exc_info` (Python), `error.stack_trace` (ECS).

use std::borrow::Cow;

use memchr::memmem;

use super::message::{Reader, decoded};

/// Members that hold a trace.
const KEYS: [&[u8]; 12] = [
    b"stack_trace",
    b"stacktrace",
    b"stackTrace",
    b"stack",
    b"exception",
    b"exc_info",
    b"traceback",
    b"error.stack_trace",
    b"error.stack",
    b"exception.stacktrace",
    b"Exception",
    b"trace",
];

/// Objects that hold such a member.
const OBJECTS: [&[u8]; 5] = [b"error", b"err", b"exception", b"thrown", b"log.exception"];

/// The text of the first member of a JSON line, or of an object in it that tells of an error, that holds a trace by its name and has several
/// lines. Escapes are decoded. Total: any bytes are fine.
#[must_use]
pub fn stack_of(line: &[u8]) -> Option<Cow<'_, [u8]>> {
    let text = line.trim_ascii_start();
    // What has several lines has escaped line breaks.
    if text.first() != Some(&b'{') || memmem::find(text, b"\\n").is_none() {
        return None;
    }
    let mut reader = Reader::new(text);
    let escaped = member(&mut reader, true)?;
    Some(decoded(escaped))
}

/// The member of the object that the reader stands on, and with `inside` also that of objects in it.
fn member<'a>(reader: &mut Reader<'a>, inside: bool) -> Option<&'a [u8]> {
    let mut more = reader.take(b'{');
    while more && let Some(key) = reader.key() {
        match reader.peek() {
            Some(b'"') => {
                let value = reader.string()?;
                if KEYS.contains(&key) && memmem::find(value, b"\\n").is_some() {
                    return Some(value);
                }
            }
            Some(b'{') if inside && OBJECTS.contains(&key) => {
                if let Some(found) = member(reader, false) {
                    return Some(found);
                }
                // The reader stands behind the last member that it could read.
                if !reader.take(b'}') {
                    return None;
                }
            }
            _ => reader.skip_value(),
        }
        more = reader.take(b',');
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_beside_the_message_is_found_and_nothing_else_is() {
        let cases: &[(&str, Option<&str>)] = &[
            (r#"{"message":"failed","stack_trace":"a.B: c\n\tat d.e(F.java:1)\n"}"#, Some("a.B: c\n\tat d.e(F.java:1)\n")),
            (r#"{"level":50,"err":{"type":"Error","message":"x","stack":"Error: x\n    at y"},"msg":"x"}"#, Some("Error: x\n    at y")),
            (r#"{"error":{"code":5},"stack":"one\ntwo"}"#, Some("one\ntwo")),
            (r#"{"error":{"code":{"a":[1,"\n"]}},"exception":"one\ntwo"}"#, Some("one\ntwo")),
            (r#"{"error":{},"stack":"one\ntwo"}"#, Some("one\ntwo")),
            (r#"{"stack":"production","text":"one\ntwo"}"#, None),
            (r#"{"message":"one\ntwo"}"#, None),
            (r#"{"deep":{"stack":"one\ntwo"}}"#, None),
            (r#"stack="one\ntwo""#, None),
            (r#"{"stack":"cut off\nin the mid"#, Some("cut off\nin the mid")),
            (r#"{"error":{"stack"#, None),
            ("{", None),
            ("", None),
        ];
        for (line, expected) in cases {
            let got = stack_of(line.as_bytes());
            assert_eq!(got.as_deref().map(|text| String::from_utf8_lossy(text).into_owned()).as_deref(), *expected, "{line}");
        }
    }
}

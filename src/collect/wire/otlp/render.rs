//! Values that are no text, as JSON.

use std::ops::Range;

use super::walk::{Any, Record, next_of, pair_of};
use super::{DEEPEST, Interest, interest};
use crate::collect::wire::protobuf::Fault;

/// Appends the line of a record and gives its place: a text body as it is, anything else as JSON.
///
/// | Record | Line |
/// |---|---|
/// | a text, nothing about an exception | the text |
/// | an exception beside the body | an object: the members of the body if that is a list, else the body as `message`; then the attributes of the exception |
/// | no body | an object of the attributes, and the name of the event as `event_name` |
/// | any other body | its JSON |
///
/// # Errors
/// When a value is broken or nested too deep.
pub(super) fn line(bytes: &[u8], record: &Record, out: &mut Vec<u8>) -> Result<Range<usize>, Fault> {
    let start = begin(out);
    match &record.body {
        Any::Text(text) if !record.has_exception => out.extend_from_slice(bytes.get(text.clone()).unwrap_or_default()),
        Any::Nothing if !record.has_attributes && record.event_name.is_empty() => {}
        Any::Nothing => {
            out.push(b'{');
            if !record.event_name.is_empty() {
                member(out, b"event_name");
                string(out, bytes.get(record.event_name.clone()).unwrap_or_default());
            }
            attributes(bytes, record, out, |_| true)?;
            out.push(b'}');
        }
        body if record.has_exception => {
            out.push(b'{');
            if let Any::List(list) = body {
                pairs(bytes, list.clone(), out, 1)?;
            } else {
                member(out, b"message");
                value(bytes, body, out, 1)?;
            }
            attributes(bytes, record, out, |key| interest(key) == Interest::Exception)?;
            out.push(b'}');
        }
        body => value(bytes, body, out, 0)?,
    }
    Ok(start..out.len())
}

/// Begins a line: it is never joined to what stands before it.
pub(super) fn begin(out: &mut Vec<u8>) -> usize {
    if !out.is_empty() {
        out.push(b'\n');
    }
    out.len()
}

fn attributes(bytes: &[u8], record: &Record, out: &mut Vec<u8>, wanted: impl Fn(&[u8]) -> bool) -> Result<(), Fault> {
    let mut at = record.range.start;
    while let Some(range) = next_of(6, bytes, &mut at, record.range.end)? {
        let (key, inside) = pair_of(bytes, range)?;
        let key = bytes.get(key).unwrap_or_default();
        if wanted(key) {
            member(out, key);
            value(bytes, &Any::read(bytes, inside)?, out, 1)?;
        }
    }
    Ok(())
}

fn value(bytes: &[u8], any: &Any, out: &mut Vec<u8>, depth: usize) -> Result<(), Fault> {
    let at = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
    match any {
        Any::Nothing => out.extend_from_slice(b"null"),
        Any::Text(text) => string(out, at(text)),
        Any::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Any::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Any::Double(number) => double(out, *number),
        Any::Bytes(raw) => base64(out, at(raw)),
        Any::Array(range) | Any::List(range) if depth >= DEEPEST => {
            return Err(Fault { at: range.start, what: "values are nested too deep" });
        }
        Any::Array(array) => {
            out.push(b'[');
            let mut inside = array.start;
            while let Some(item) = next_of(1, bytes, &mut inside, array.end)? {
                separate(out);
                value(bytes, &Any::read(bytes, item)?, out, depth + 1)?;
            }
            out.push(b']');
        }
        Any::List(list) => {
            out.push(b'{');
            pairs(bytes, list.clone(), out, depth + 1)?;
            out.push(b'}');
        }
    }
    Ok(())
}

/// The members of a list, without the braces.
fn pairs(bytes: &[u8], list: Range<usize>, out: &mut Vec<u8>, depth: usize) -> Result<(), Fault> {
    let mut at = list.start;
    while let Some(range) = next_of(1, bytes, &mut at, list.end)? {
        let (key, inside) = pair_of(bytes, range)?;
        member(out, bytes.get(key).unwrap_or_default());
        value(bytes, &Any::read(bytes, inside)?, out, depth)?;
    }
    Ok(())
}

/// A comma, but at the beginning of an object or array.
pub(super) fn separate(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[')) {
        out.push(b',');
    }
}

/// The name of a member, with what goes before and behind it.
pub(super) fn member(out: &mut Vec<u8>, name: &[u8]) {
    separate(out);
    string(out, name);
    out.push(b':');
}

/// A JSON string. What is no UTF-8 becomes U+FFFD.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid().as_bytes();
        while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
            let (plain, special) = rest.split_at(at);
            out.extend_from_slice(plain);
            if let Some((byte, after)) = special.split_first() {
                escape(out, *byte);
                rest = after;
            }
        }
        out.extend_from_slice(rest);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// As OTLP's JSON has it: what is no number is a text.
fn double(out: &mut Vec<u8>, number: f64) {
    match serde_json::Number::from_f64(number) {
        Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
        None if number.is_nan() => out.extend_from_slice(b"\"NaN\""),
        None => out.extend_from_slice(if number > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" }),
    }
}

fn base64(out: &mut Vec<u8>, raw: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push(b'"');
    for chunk in raw.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS.get((word >> (18 - 6 * place) & 0x3f) as usize).copied().unwrap_or(b'=');
            out.push(if place > chunk.len() { b'=' } else { digit });
        }
    }
    out.push(b'"');
}

//! The JSON form: protobuf's mapping with OTLP's deviations.
//!
//! Ids are hex, whole numbers of 64 bits are texts or numbers, enums are numbers, names are in lowerCamelCase, and unknown members are passed
//! over. Members come in any order, so a resource is read before its records wherever it stands. Lines are written into the block.

use std::borrow::Cow;
use std::ops::Range;

use crate::model::message::decoded as unescaped;

use super::identity::{self, Who};
use super::render::{begin, member, separate, string};
use super::{DEEPEST, Facts, Interest, interest};
use crate::collect::wire::jsontext::{check, items, members, quoted};
use crate::collect::wire::{DecodeError, Sink};

/// A record cannot be read.
struct Broken;

/// Reads a request and puts its lines into the sink's block, which is empty.
///
/// COMPAT: Vector's `opentelemetry` sink with `codec: json` sends an array of requests, which is taken, too.
///
/// # Errors
/// When the text is no JSON, or needs more memory than there is.
pub fn decode(text: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    check(text)?;
    let text = text.trim_ascii();
    match text.first() {
        Some(b'{') => request(text, sink),
        Some(b'[') => items(text).try_for_each(|text| request(text, sink)),
        _ => Err(DecodeError::Shape("an object with \"resourceLogs\" is expected")),
    }
}

fn request(text: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    let found = members(text).filter(|(name, _)| *name == b"resourceLogs");
    found.flat_map(|(_, list)| items(list)).try_for_each(|logs| resource_logs(logs, sink))
}

fn resource_logs(logs: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    sink.count_stream();
    let resource = members(logs).filter(|(name, _)| *name == b"resource").last();
    identity::begin(&mut sink.scratch.key, identity::JSON);
    sink.scratch.key.extend_from_slice(resource.map_or(&b""[..], |(_, resource)| resource));
    identity::end_resource(&mut sink.scratch.key);
    let stream = identity::stream(sink)?;
    let names_pod = sink.block.streams().get(stream as usize).is_some_and(|stream| !stream.workload().pod.is_empty());
    let scopes = members(logs).filter(|(name, _)| *name == b"scopeLogs").flat_map(|(_, list)| items(list));
    let records = scopes.flat_map(members).filter(|(name, _)| *name == b"logRecords").flat_map(|(_, list)| items(list));
    for text in records {
        let mark = sink.block.bytes().len();
        sink.pay_text(text.len())?;
        let written = Record::read(text).and_then(|record| {
            let place = line(&record, sink.block.bytes_mut())?;
            Ok((record, place))
        });
        let Ok((record, place)) = written else {
            sink.block.bytes_mut().truncate(mark);
            sink.drop_entry();
            continue;
        };
        let stream = if names_pod { stream } else { own_stream(&record, stream, sink)? };
        let severity_text = sink.beside(&record.severity_text);
        sink.reserve(1)?;
        sink.line(place.start, place.end, record.facts.at(), stream);
        if let Some(context) = record.facts.context(severity_text) {
            sink.describe(context)?;
        }
    }
    Ok(())
}

/// The stream of a record that may say itself who logged.
fn own_stream(record: &Record<'_>, stream: u32, sink: &mut Sink<'_>) -> Result<u32, DecodeError> {
    let resource = sink.scratch.key.len();
    for attribute in items(record.attributes) {
        if key_and_value(attribute).is_some_and(|(key, _)| interest(&key) == Interest::Identity) {
            identity::push_record(&mut sink.scratch.key, attribute);
        }
    }
    let stream = if sink.scratch.key.len() > resource { identity::stream(sink) } else { Ok(stream) };
    sink.scratch.key.truncate(resource);
    stream
}

/// What the attributes of a resource tell.
pub(super) fn resource(text: &[u8], who: &mut Who) {
    let attributes = members(text).filter(|(name, _)| *name == b"attributes");
    attributes.flat_map(|(_, list)| items(list)).for_each(|pair| attribute(pair, who));
}

/// What one attribute tells.
pub(super) fn attribute(pair: &[u8], who: &mut Who) {
    let Some((key, value)) = key_and_value(pair) else { return };
    match kind(value) {
        Some(("kvlistValue", list)) if Who::is_object(&key) => {
            for (key, value) in values(list).filter_map(key_and_value) {
                if let Some(value) = kind(value).and_then(text_of) {
                    who.member(&key, &value);
                }
            }
        }
        value => {
            if let Some(value) = value.and_then(text_of) {
                who.attribute(&key, &value);
            }
        }
    }
}

/// A scalar as text.
fn text_of<'t>((kind, value): (&str, &'t [u8])) -> Option<Cow<'t, str>> {
    match (kind, quoted(value)) {
        ("stringValue" | "intValue", Some(text)) => Some(match unescaped(text) {
            Cow::Borrowed(text) => String::from_utf8_lossy(text),
            Cow::Owned(text) => String::from_utf8_lossy(&text).into_owned().into(),
        }),
        ("boolValue" | "intValue" | "doubleValue", None) => Some(String::from_utf8_lossy(value)),
        _ => None,
    }
}

/// A `LogRecord`.
struct Record<'t> {
    facts: Facts,
    severity_text: Cow<'t, [u8]>,
    event_name: &'t [u8],
    body: &'t [u8],
    attributes: &'t [u8],
    has_exception: bool,
}

impl<'t> Record<'t> {
    fn read(text: &'t [u8]) -> Result<Self, Broken> {
        let mut record = Self {
            facts: Facts::default(),
            severity_text: Cow::default(),
            event_name: b"",
            body: b"null",
            attributes: b"",
            has_exception: false,
        };
        if text.first() != Some(&b'{') {
            return Err(Broken);
        }
        // As protobuf's mapping has it, null is the default.
        for (name, value) in members(text).filter(|(_, value)| *value != b"null") {
            let facts = &mut record.facts;
            match name {
                b"timeUnixNano" => facts.time = number(value)?,
                b"observedTimeUnixNano" => facts.observed = number(value)?,
                b"severityNumber" if quoted(value).is_some() => return Err(Broken),
                b"severityNumber" => facts.severity = number(value)?,
                b"severityText" => record.severity_text = unescaped(quoted(value).ok_or(Broken)?),
                b"eventName" => record.event_name = quoted(value).ok_or(Broken)?,
                b"traceId" => facts.trace_id = hex(quoted(value).ok_or(Broken)?),
                b"spanId" => facts.span_id = hex(quoted(value).ok_or(Broken)?),
                b"body" if value.starts_with(b"{") => record.body = value,
                b"attributes" if value.starts_with(b"[") => record.attributes = value,
                b"body" | b"attributes" => return Err(Broken),
                _ => {}
            }
        }
        let is_exception = |(key, _): (Cow<'_, [u8]>, &[u8])| interest(&key) == Interest::Exception;
        record.has_exception = items(record.attributes).filter_map(key_and_value).any(is_exception);
        Ok(record)
    }
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Result<T, Broken> {
    std::str::from_utf8(quoted(value).unwrap_or(value)).ok().and_then(|text| text.parse().ok()).ok_or(Broken)
}

/// An id of the right length in digits of any case; anything else is none.
fn hex<const N: usize>(digits: &[u8]) -> [u8; N] {
    let mut id = [0; N];
    let is_hex = digits.len() == 2 * N && digits.iter().all(u8::is_ascii_hexdigit);
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)).filter(|_| is_hex) {
        *byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    id
}

fn key_and_value(pair: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let (mut key, mut value) = (None, &b"{}"[..]);
    for (name, found) in members(pair) {
        match name {
            b"key" => key = quoted(found).map(unescaped),
            b"value" => value = found,
            _ => {}
        }
    }
    Some((key?, value))
}

/// Which value an `AnyValue` has; `None` where it has none.
fn kind(any: &[u8]) -> Option<(&'static str, &[u8])> {
    const KINDS: [&str; 7] = ["stringValue", "boolValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue"];
    members(any).filter(|(_, value)| *value != b"null").find_map(|(name, value)| {
        let kind = KINDS.into_iter().find(|kind| kind.as_bytes() == name)?;
        Some((kind, value))
    })
}

/// The values of an `ArrayValue` or a `KeyValueList`.
fn values(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    members(list).filter(|(name, _)| *name == b"values").flat_map(|(_, values)| items(values))
}

/// Appends the line of a record and gives its place, as [`super::render::line`] does.
fn line(record: &Record<'_>, out: &mut Vec<u8>) -> Result<Range<usize>, Broken> {
    let start = begin(out);
    match kind(record.body) {
        Some(("stringValue", text)) if !record.has_exception => out.extend_from_slice(&unescaped(quoted(text).ok_or(Broken)?)),
        None if record.event_name.is_empty() && items(record.attributes).next().is_none() => {}
        None => {
            out.push(b'{');
            if !record.event_name.is_empty() {
                member(out, b"event_name");
                out.push(b'"');
                out.extend_from_slice(record.event_name);
                out.push(b'"');
            }
            attributes(record, out, |_| true)?;
            out.push(b'}');
        }
        Some((name, body)) if record.has_exception => {
            out.push(b'{');
            if name == "kvlistValue" {
                pairs(values(body), out, 1)?;
            } else {
                member(out, b"message");
                value(record.body, out, 1)?;
            }
            attributes(record, out, |key| interest(key) == Interest::Exception)?;
            out.push(b'}');
        }
        Some(_) => value(record.body, out, 0)?,
    }
    Ok(start..out.len())
}

fn attributes(record: &Record<'_>, out: &mut Vec<u8>, wanted: impl Fn(&[u8]) -> bool) -> Result<(), Broken> {
    for (key, any) in items(record.attributes).filter_map(key_and_value).filter(|(key, _)| wanted(key)) {
        member(out, &key);
        value(any, out, 1)?;
    }
    Ok(())
}

fn value(any: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Broken> {
    let Some((kind, inside)) = kind(any) else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    match kind {
        "arrayValue" | "kvlistValue" if depth >= DEEPEST => return Err(Broken),
        "arrayValue" => {
            out.push(b'[');
            for item in values(inside) {
                separate(out);
                value(item, out, depth + 1)?;
            }
            out.push(b']');
        }
        "kvlistValue" => {
            out.push(b'{');
            pairs(values(inside), out, depth + 1)?;
            out.push(b'}');
        }
        "intValue" => out.extend_from_slice(number::<i64>(inside)?.to_string().as_bytes()),
        "boolValue" if !matches!(inside, b"true" | b"false") => return Err(Broken),
        "stringValue" => string(out, &unescaped(quoted(inside).ok_or(Broken)?)),
        // Scalars are the same in both.
        _ if matches!(inside.first(), Some(b'{' | b'[')) => return Err(Broken),
        _ => out.extend_from_slice(inside),
    }
    Ok(())
}

fn pairs<'t>(list: impl Iterator<Item = &'t [u8]>, out: &mut Vec<u8>, depth: usize) -> Result<(), Broken> {
    for (key, any) in list.filter_map(key_and_value) {
        member(out, &key);
        value(any, out, depth)?;
    }
    Ok(())
}

//! A record as JSON text, for records that have no field which is the line.

use std::io::Write;

use super::msgpack::{Fault, Head, head, skip};

/// Containers within containers; what is deeper becomes `null`. A record of a log has three or four.
const MAX_DEPTH: usize = 32;

/// Bytes of text that are looked at in one go, so that a bound on the output holds while one long string is written.
const CHUNK: usize = 4096;

/// Writes into a buffer, up to a length.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Length of the buffer at which nothing more is written.
    end: usize,
}

/// Appends the map at `at` without the pairs whose key `leave_out` names. Stops some bytes behind `most`: the line is cut there anyway.
///
/// # Errors
/// When the value is broken. What was written until then stays.
pub(super) fn write(bytes: &[u8], at: usize, leave_out: &[u8], most: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    let end = out.len().saturating_add(most).saturating_add(1);
    let mut writer = Writer { out, end };
    match head(bytes, at)? {
        (Head::Map(pairs), next) => writer.map(bytes, next, pairs, 0, leave_out),
        _ => writer.value(bytes, at, 0),
    }
}

impl Writer<'_> {
    fn is_full(&self) -> bool {
        self.out.len() >= self.end
    }

    fn put(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn value(&mut self, bytes: &[u8], at: usize, depth: usize) -> Result<usize, Fault> {
        if self.is_full() {
            return skip(bytes, at);
        }
        let (head, next) = head(bytes, at)?;
        match head {
            Head::Nil => self.put(b"null"),
            Head::Bool(value) => self.put(if value { b"true" } else { b"false" }),
            Head::UInt(value) => self.number(value),
            Head::Int(value) => self.number(value),
            Head::Float(value) if value.is_finite() => self.number(value),
            // JSON has no words for these.
            Head::Float(_) => self.put(b"null"),
            Head::Str(length) | Head::Bin(length) => {
                let end = next + length;
                self.text(bytes.get(next..end).ok_or(Fault::Short)?);
                return Ok(end);
            }
            Head::Ext(..) => {
                self.put(b"null");
                return skip(bytes, at);
            }
            Head::Array(_) | Head::Map(_) if depth >= MAX_DEPTH => {
                self.put(b"null");
                return skip(bytes, at);
            }
            Head::Array(items) => return self.array(bytes, next, items, depth + 1),
            Head::Map(pairs) => return self.map(bytes, next, pairs, depth + 1, b""),
        }
        Ok(next)
    }

    fn array(&mut self, bytes: &[u8], mut at: usize, items: usize, depth: usize) -> Result<usize, Fault> {
        self.put(b"[");
        for item in 0..items {
            if item > 0 && !self.is_full() {
                self.put(b",");
            }
            at = self.value(bytes, at, depth)?;
        }
        self.put(b"]");
        Ok(at)
    }

    fn map(&mut self, bytes: &[u8], mut at: usize, pairs: usize, depth: usize, leave_out: &[u8]) -> Result<usize, Fault> {
        self.put(b"{");
        let mut first = true;
        for _ in 0..pairs {
            let key = match head(bytes, at)? {
                (Head::Str(length) | Head::Bin(length), next) => Some(bytes.get(next..next + length).ok_or(Fault::Short)?),
                _ => None,
            };
            let value = skip(bytes, at)?;
            if self.is_full() || key.is_some_and(|key| !leave_out.is_empty() && key == leave_out) {
                at = skip(bytes, value)?;
                continue;
            }
            if !std::mem::take(&mut first) {
                self.put(b",");
            }
            match key {
                Some(key) => self.text(key),
                // Keys of JSON are strings.
                None => self.text(b"?"),
            }
            self.put(b":");
            at = self.value(bytes, value, depth)?;
        }
        self.put(b"}");
        Ok(at)
    }

    fn number(&mut self, value: impl std::fmt::Display) {
        // Writing to memory cannot fail.
        write!(self.out, "{value}").ok();
    }

    /// Bytes that are no UTF-8 pass as they are, as in every line.
    fn text(&mut self, text: &[u8]) {
        self.put(b"\"");
        for chunk in text.chunks(CHUNK) {
            if self.is_full() {
                break;
            }
            let mut rest = chunk;
            while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
                let (plain, after) = rest.split_at(at);
                self.put(plain);
                if let Some((byte, after)) = after.split_first() {
                    self.escape(*byte);
                    rest = after;
                }
            }
            self.put(rest);
        }
        self.put(b"\"");
    }

    fn escape(&mut self, byte: u8) {
        match byte {
            b'"' => self.put(b"\\\""),
            b'\\' => self.put(b"\\\\"),
            b'\n' => self.put(b"\\n"),
            b'\r' => self.put(b"\\r"),
            b'\t' => self.put(b"\\t"),
            _ => write!(self.out, "\\u{byte:04x}").unwrap_or_default(),
        }
    }
}

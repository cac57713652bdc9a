//! The export format of the systemd journal.
//!
//! ```text
//! entry  = field ... empty line
//! field  = NAME=VALUE newline | NAME newline LENGTH (64 bits, little endian) BYTES newline
//! ```
//!
//! The line is `MESSAGE`. Its time is that of the sender, else that of the journal. `_HOSTNAME`, the identifier, `_SYSTEMD_UNIT`, `_PID`,
//! facility, severity and the names of containers become labels.

use std::ops::Range;

use crate::model::Timestamp;

use super::records::Records;
use super::{DecodeError, Sink};

/// Longest name of a field. The journal has 64.
const LONGEST_NAME: usize = 256;

/// Longest text that becomes a label; what is behind it is left out.
const LONGEST_LABEL: usize = 255;

/// How the export of an entry begins: where to go on behind bytes that cannot be read.
const BEGINS: &[u8] = b"\n\n__CURSOR=";

/// Fields that become labels. Of equal labels the last one that is there counts.
const LABELS: [(&[u8], &[u8]); 9] = [
    (b"_HOSTNAME", b"node"),
    (b"_COMM", b"app"),
    (b"SYSLOG_IDENTIFIER", b"app"),
    (b"_SYSTEMD_UNIT", b"unit"),
    (b"_SYSTEMD_USER_UNIT", b"unit"),
    (b"_TRANSPORT", b"transport"),
    (b"_PID", b"procid"),
    (b"CONTAINER_NAME", b"container"),
    (b"IMAGE_NAME", b"image"),
];

/// Finds the end of the entry at the start of a buffer that grows. What was looked at once is not looked at again.
#[derive(Debug, Default)]
pub struct Framer {
    /// Where the next field begins: behind the end of the buffer when it ends within a value.
    at: usize,
    /// So many bytes from there on are known to have no line break.
    searched: usize,
}

/// What stands at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A whole entry of so many bytes, with the empty line behind it.
    Entry(usize),
    /// It goes on: it has so many bytes at least.
    More(usize),
    /// Bytes that are no entry.
    Broken,
}

impl Framer {
    /// Looks at a buffer that begins with an entry: the same one as before with more bytes, or the next one.
    pub fn next(&mut self, bytes: &[u8]) -> Next {
        let next = self.walk(bytes);
        if !matches!(next, Next::More(_)) {
            *self = Self::default();
        }
        next
    }

    fn walk(&mut self, bytes: &[u8]) -> Next {
        loop {
            let Some(rest) = bytes.get(self.at..) else { return Next::More(self.at) };
            let Some(end) = memchr::memchr(b'\n', rest.get(self.searched..).unwrap_or_default()) else {
                self.searched = rest.len();
                return Next::More(bytes.len() + 1);
            };
            let end = self.searched + end;
            self.searched = 0;
            let line = rest.get(..end).unwrap_or_default();
            if line.is_empty() {
                return Next::Entry(self.at + 1);
            }
            match memchr::memchr(b'=', line.get(..LONGEST_NAME).unwrap_or(line)) {
                Some(name) if is_name(line.get(..name).unwrap_or_default()) => self.at += end + 1,
                None if is_name(line) => {
                    let Some(length) = rest.get(end + 1..).and_then(|rest| rest.first_chunk()) else {
                        return Next::More(self.at + end + 9);
                    };
                    // The line break behind the value is a part of it. A length that no memory has is found to be too large by who reads.
                    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
                    self.at = (self.at + end + 9).saturating_add(length).saturating_add(1);
                    if bytes.get(self.at - 1).is_some_and(|byte| *byte != b'\n') {
                        return Next::Broken;
                    }
                }
                _ => return Next::Broken,
            }
        }
    }
}

/// Where the next entry begins behind bytes that cannot be read. `None`: not in these; all but the last few may be forgotten.
#[must_use]
pub fn next_beginning(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, BEGINS).map(|at| at + 2)
}

/// Bytes at the end of a buffer in which a beginning may stand that is not there as a whole.
pub const BEGINNING: usize = BEGINS.len() - 1;

fn is_name(name: &[u8]) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
}

/// Name and value of each field of a whole entry.
fn fields(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let line = rest.get(..end).filter(|line| !line.is_empty())?;
        let after = rest.get(end + 1..)?;
        let field = match memchr::memchr(b'=', line.get(..LONGEST_NAME).unwrap_or(line)) {
            Some(name) => {
                rest = after;
                (line.get(..name)?, line.get(name + 1..)?)
            }
            None => {
                let (length, after) = after.split_first_chunk()?;
                let (value, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
                rest = after.get(1..)?;
                (line, value)
            }
        };
        Some(field)
    })
}

/// Puts entries into the sink, whose block is empty. `entries` are places of whole entries in `bytes`.
///
/// # Errors
/// When there is no memory.
pub fn decode(entries: &[Range<usize>], bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    let mut records = Records::new(sink);
    for entry in entries {
        take(&mut records, bytes.get(entry.clone()).unwrap_or_default())?;
    }
    Ok(())
}

fn take(records: &mut Records<'_, '_>, entry: &[u8]) -> Result<(), DecodeError> {
    let (mut message, mut at, mut source_at, mut is_entry) = (None, None, None, false);
    let mut of_labels: [&[u8]; LABELS.len()] = [b""; LABELS.len()];
    let (mut priority, mut facility): (&[u8], &[u8]) = (b"", b"");
    for (name, value) in fields(entry) {
        is_entry = true;
        match name {
            b"MESSAGE" => message = Some(value),
            b"__REALTIME_TIMESTAMP" => at = micros(value),
            b"_SOURCE_REALTIME_TIMESTAMP" => source_at = micros(value),
            b"PRIORITY" => priority = value,
            b"SYSLOG_FACILITY" => facility = value,
            _ => {
                if let Some(place) = LABELS.iter().position(|(field, _)| *field == name).and_then(|at| of_labels.get_mut(at)) {
                    *place = value.get(..LONGEST_LABEL).unwrap_or(value);
                }
            }
        }
    }
    let Some(message) = message else {
        // Two empty lines are no entry; an entry without a message is one that says nothing.
        if is_entry {
            records.sink.drop_entry();
        }
        return Ok(());
    };
    let labels = &mut records.labels;
    labels.clear();
    labels.push(b"facility", super::syslog::facility(number(facility)).as_bytes());
    labels.push(b"severity", super::syslog::severity(number(priority)).as_bytes());
    for ((_, name), value) in LABELS.iter().zip(of_labels) {
        match of_kubelet(value).filter(|_| *name == b"container") {
            Some([container, pod, namespace]) => {
                for (name, part) in [(&b"container"[..], container), (b"pod", pod), (b"namespace", namespace)] {
                    labels.push(name, part);
                }
            }
            None => labels.push(name, value),
        }
    }
    if labels.is_empty() {
        labels.push(b"job", b"journald");
    }
    records.text(source_at.or(at).unwrap_or(Timestamp(0)), message)
}

/// Container, pod and namespace in the name that the kubelet gives to a container of Docker: `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`.
fn of_kubelet(name: &[u8]) -> Option<[&[u8]; 3]> {
    let mut parts = name.strip_prefix(b"k8s_")?.split(|byte| *byte == b'_');
    let found = [parts.next()?, parts.next()?, parts.next()?];
    (parts.count() == 2 && found.iter().all(|part| !part.is_empty())).then_some(found)
}

fn micros(text: &[u8]) -> Option<Timestamp> {
    let micros: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(Timestamp(micros.saturating_mul(1000)))
}

fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;

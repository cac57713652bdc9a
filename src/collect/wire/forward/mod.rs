//! The Forward protocol of Fluentd and Fluent Bit, version 1: MessagePack over a connection.
//!
//! ```text
//! message   = [tag, time, record, options?]                 Message
//!           | [tag, [entry, ...], options?]                 Forward
//!           | [tag, bin or str of entries, options?]        PackedForward, with `compressed` CompressedPackedForward
//! entry     = [time, record] | [[time, metadata], record]
//! time      = seconds | EventTime (ext 0: u32 seconds, u32 nanoseconds)
//! options   = {"chunk": token, "compressed": "gzip" | "zstd", "fluent_signal": 0, ...}
//! ```
//!
//! A [`Framer`] finds messages in the bytes of a connection; [`decode`] puts their entries into a [`Sink`]. The line of a record is its field
//! `log`, else its `message` where the record has nothing else of note, else all of it as JSON text. Who logged stands in its `kubernetes`, in
//! the resource that begins a group of OpenTelemetry's records, or in the tag. The tag is a label.

mod frame;
pub mod handshake;
mod json_text;
mod msgpack;
mod record;

use std::ops::Range;

use crate::model::Timestamp;

use super::inflate::{self, Limits};
use super::media::Coding;
use super::records::{Key, Records};
use super::{DecodeError, Sink};
use frame::Mode;
use msgpack::{Fault, Head, head, skip};
use record::Told;

pub use frame::{Framed, Framer, Message};

/// What becomes of the bytes of tags behind this many: a tag is a label.
const LONGEST_TAG: usize = 1024;

/// EventTime.
const EVENT_TIME: i8 = 0;

/// Seconds of an entry that begins a group, and of one that ends it, as Fluent Bit marks them.
const GROUP: [i32; 2] = [-1, -2];

/// Puts the entries of messages into the sink, whose block is empty. `bytes` are what the messages were found in, one behind the other;
/// `inflated` is a buffer. Gives what the content of the entries is known by: that of the last message.
///
/// # Errors
/// When a message is broken, passes a limit or needs more memory than there is.
pub fn decode<'b>(
    messages: &[Message],
    bytes: &'b [u8],
    inflated: &'b mut Vec<u8>,
    limits: Limits,
    sink: &mut Sink<'_>,
) -> Result<&'b [u8], DecodeError> {
    // Texts are copied, with a line break between two of them; each has at least so many bytes in the message.
    let total = messages.iter().map(|message| message.length).sum();
    let mut reading = Reading { records: Records::new(sink), group: Key::default() };
    reading.records.pay(total)?;
    let mut from = 0;
    let mut content: Option<Range<usize>> = None;
    for message in messages {
        let body = bytes.get(from..from + message.length).unwrap_or_default();
        if message.is_logs {
            content = reading.message(message, body, inflated, limits)?.map(|range| range.start + from..range.end + from);
        }
        from += message.length;
    }
    Ok(match content {
        Some(range) => bytes.get(range).unwrap_or_default(),
        None => inflated,
    })
}

/// The walk over the entries of a batch.
struct Reading<'s, 'a> {
    records: Records<'s, 'a>,
    /// Labels of the group that the entries are in.
    group: Key,
}

impl Reading<'_, '_> {
    /// Reads one message. Gives where the content of its entries stands in it; `None` when that is what was inflated.
    fn message(
        &mut self,
        message: &Message,
        bytes: &[u8],
        inflated: &mut Vec<u8>,
        limits: Limits,
    ) -> Result<Option<Range<usize>>, DecodeError> {
        self.group.clear();
        let tag = bytes.get(message.tag.clone()).unwrap_or_default();
        let tag = tag.get(..LONGEST_TAG).unwrap_or(tag);
        match message.mode {
            Mode::Empty => Ok(Some(0..0)),
            Mode::Message { time: at, record } => {
                let time = time(bytes, at)?;
                let end = self.entry(bytes, tag, time, record)?;
                Ok(Some(at..end))
            }
            Mode::Forward { entries } => {
                let (Head::Array(count), mut at) = head(bytes, entries)? else { return Ok(Some(0..0)) };
                for _ in 0..count {
                    at = self.timed_entry(bytes, tag, at)?;
                }
                Ok(Some(entries..at))
            }
            Mode::Packed { from, to, coding: Coding::Plain } => {
                self.entries(bytes.get(from..to).unwrap_or_default(), tag)?;
                Ok(Some(from..to))
            }
            Mode::Packed { from, to, coding } => {
                inflated.clear();
                inflate::inflate(coding, bytes.get(from..to).unwrap_or_default(), inflated, limits, self.records.sink.room)?;
                self.records.pay(inflated.len())?;
                self.entries(inflated, tag)?;
                Ok(None)
            }
        }
    }

    fn entries(&mut self, bytes: &[u8], tag: &[u8]) -> Result<(), DecodeError> {
        let mut at = 0;
        while at < bytes.len() {
            at = self.timed_entry(bytes, tag, at)?;
        }
        Ok(())
    }

    /// `[time, record]` or `[[time, metadata], record]`.
    #[inline]
    fn timed_entry(&mut self, bytes: &[u8], tag: &[u8], at: usize) -> Result<usize, DecodeError> {
        let (Head::Array(items @ 2..), first) = head(bytes, at)? else {
            self.records.sink.drop_entry();
            return Ok(skip(bytes, at)?);
        };
        let (when, record) = match head(bytes, first)? {
            (Head::Array(parts), time_at) => {
                (if parts > 0 { time(bytes, time_at)? } else { Some(Time::At(Timestamp(0))) }, skip(bytes, first)?)
            }
            _ => (time(bytes, first)?, skip(bytes, first)?),
        };
        let mut end = self.entry(bytes, tag, when, record)?;
        for _ in 2..items {
            end = skip(bytes, end)?;
        }
        Ok(end)
    }

    fn entry(&mut self, bytes: &[u8], tag: &[u8], time: Option<Time>, at: usize) -> Result<usize, DecodeError> {
        let time = match time {
            Some(Time::At(time)) => time,
            Some(Time::GroupBegins) => {
                let told = record::resource(bytes, at)?;
                self.group.clear();
                push_told(&mut self.group, bytes, &told);
                return Ok(skip(bytes, at)?);
            }
            Some(Time::GroupEnds) => {
                self.group.clear();
                return Ok(skip(bytes, at)?);
            }
            None => {
                self.records.sink.drop_entry();
                return Ok(skip(bytes, at)?);
            }
        };
        let Some(record) = record::read(bytes, at)? else {
            self.records.sink.drop_entry();
            return Ok(skip(bytes, at)?);
        };
        self.label(bytes, tag, &record.told);
        match &record.line {
            Some(range) => self.records.text(time, bytes.get(range.clone()).unwrap_or_default())?,
            None => {
                // Who logged is in the labels.
                let leave_out: &[u8] = if record.told.pod.is_some() { b"kubernetes" } else { b"" };
                self.records.line(time, |out, most| json_text::write(bytes, at, leave_out, most, out).map(drop))?;
            }
        }
        Ok(record.end)
    }

    /// Sets the labels of an entry. Of equal names the last counts: the record knows better than its group, and that better than the tag.
    #[inline]
    fn label(&mut self, bytes: &[u8], tag: &[u8], told: &Told) {
        let labels = &mut self.records.labels;
        labels.clear();
        let of_tag = of_tag(tag).filter(|_| told.pod.is_none());
        if let Some([pod, namespace, container]) = of_tag {
            for (name, part) in [(&b"pod"[..], pod), (b"namespace", namespace), (b"container", container)] {
                labels.push(name, part);
            }
        }
        labels.push(b"tag", tag);
        labels.extend(&self.group);
        push_told(labels, bytes, told);
        if of_tag.is_none() && self.group.is_empty() && told.pod.is_none() && told.container.is_none() {
            // What a workload is called by where nothing else names it.
            labels.push(b"job", if tag.is_empty() { b"forward" } else { tag });
        }
    }
}

/// When an entry was written, or what it marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    At(Timestamp),
    GroupBegins,
    GroupEnds,
}

/// Reads a time; `None` when it is none. Nothing and zero are the time of receipt.
#[inline]
fn time(bytes: &[u8], at: usize) -> Result<Option<Time>, Fault> {
    let (seconds, nanos) = match head(bytes, at)? {
        (Head::Ext(EVENT_TIME, 8), payload) => {
            let Some(parts) = bytes.get(payload..).and_then(|rest| rest.first_chunk::<8>()) else { return Err(Fault::Short) };
            let parts = u64::from_be_bytes(*parts);
            (i64::from((parts >> 32) as u32), (parts as u32).min(999_999_999))
        }
        (Head::UInt(seconds), _) => (i64::try_from(seconds).unwrap_or(i64::MAX), 0),
        (Head::Int(seconds), _) => (seconds, 0),
        (Head::Float(seconds), _) if seconds.is_finite() => {
            let whole = seconds.floor();
            (whole as i64, ((seconds - whole) * 1e9) as u32)
        }
        (Head::Nil, _) => (0, 0),
        _ => return Ok(None),
    };
    // A marker is -1 or -2 in 32 bits, as EventTime and as a number.
    let marker = i32::try_from(seconds).unwrap_or(seconds as u32 as i32);
    let is_marker = seconds < 0 || seconds > i64::from(i32::MAX);
    Ok(Some(match marker {
        begins if is_marker && begins == GROUP[0] => Time::GroupBegins,
        ends if is_marker && ends == GROUP[1] => Time::GroupEnds,
        _ => Time::At(Timestamp::from_parts(seconds, nanos as i32)),
    }))
}

/// Pod, namespace and container in a tag that Fluent Bit's and Fluentd's tails make of the name of a container's log file:
/// `kube.var.log.containers.POD_NAMESPACE_CONTAINER-ID.log`.
fn of_tag(tag: &[u8]) -> Option<[&[u8]; 3]> {
    const FOLDER: &[u8] = b"var.log.containers.";
    /// Hex digits of a container's id, with the dash before them.
    const ID: usize = 65;
    let file = tag.get(memchr::memmem::find(tag, FOLDER)? + FOLDER.len()..)?.strip_suffix(b".log")?;
    let (names, id) = file.split_at_checked(file.len().checked_sub(ID)?)?;
    let is_id = id.first() == Some(&b'-') && id.iter().skip(1).all(u8::is_ascii_hexdigit);
    // None of the names has an underscore.
    let mut parts = names.split(|byte| *byte == b'_');
    let found = [parts.next()?, parts.next()?, parts.next()?];
    (is_id && parts.next().is_none() && found.iter().all(|part| !part.is_empty())).then_some(found)
}

fn push_told(key: &mut Key, bytes: &[u8], told: &Told) {
    let Told { namespace, pod, container, node, service, stream } = told;
    let named: [(&[u8], &Option<Range<usize>>); 6] = [
        (b"namespace", namespace),
        (b"pod", pod),
        (b"container", container),
        (b"node", node),
        (b"service_name", service),
        (b"stream", stream),
    ];
    for (name, range) in named {
        if let Some(value) = range.as_ref().and_then(|range| bytes.get(range.clone())) {
            key.push(name, value);
        }
    }
}

#[cfg(test)]
mod tests;

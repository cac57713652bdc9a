//! The protobuf form, walked by hand.
//!
//! PERF: as with Loki's push, a text body stays where it was inflated to and its record becomes an entry of the line table. Only a request
//! with something else in it is written anew, as a whole. `prost` is the oracle in the tests.
//!
//! | Message | Fields that count |
//! |---|---|
//! | `ExportLogsServiceRequest` | `resource_logs` 1 |
//! | `ResourceLogs` | `resource` 1 (`attributes` 1), `scope_logs` 2 |
//! | `ScopeLogs` | `log_records` 2 |
//! | `LogRecord` | `time_unix_nano` 1, `severity_number` 2, `severity_text` 3, `body` 5, `attributes` 6, `trace_id` 9, `span_id` 10, `observed_time_unix_nano` 11, `event_name` 12 |

use std::ops::Range;

use super::{Facts, Interest, id, identity, interest, render};
use crate::collect::wire::protobuf::{Fault, Reader};
use crate::collect::wire::{DecodeError, Sink};

/// Takes the message that the sink's block holds, each line where it stands. `false` means that a line does not stand there as it has to be:
/// then the message must be read with [`rendered`].
///
/// # Errors
/// When the message is broken outside of its records, or needs more memory than there is.
pub fn in_place(sink: &mut Sink<'_>) -> Result<bool, DecodeError> {
    let mut at = 0;
    while let Some(range) = next_of(1, sink.block.bytes(), &mut at, usize::MAX)? {
        if !resource_in_place(sink, range)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes a message that stands apart, and writes its lines into the sink's block, which is empty.
///
/// # Errors
/// As [`in_place`].
pub fn rendered(message: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    let mut at = 0;
    while let Some(range) = next_of(1, message, &mut at, usize::MAX)? {
        let Origin { stream, names_pod } = origin(sink, Some(message), range.clone())?;
        let mut records = Records::of(range);
        while let Some(range) = records.next(message)? {
            let mark = sink.block.bytes().len();
            sink.pay_text(range.len())?;
            let written = Record::read(message, range.clone(), !names_pod).and_then(|record| {
                let place = render::line(message, &record, sink.block.bytes_mut())?;
                Ok((record, place))
            });
            let Ok((record, place)) = written else {
                sink.block.bytes_mut().truncate(mark);
                sink.drop_entry();
                continue;
            };
            let stream = if record.has_identity { own_stream(sink, Some(message), &range)? } else { Some(stream) };
            let Some(stream) = stream else {
                sink.block.bytes_mut().truncate(mark);
                sink.drop_entry();
                continue;
            };
            let severity_text = sink.beside(message.get(record.severity_text).unwrap_or_default());
            sink.reserve(1)?;
            sink.line(place.start, place.end, record.facts.at(), stream);
            if let Some(context) = record.facts.context(severity_text) {
                sink.describe(context)?;
            }
        }
    }
    Ok(())
}

/// The stream of a resource.
struct Origin {
    stream: u32,
    names_pod: bool,
}

/// Reads the resource of a `ResourceLogs`, which may come in several pieces and behind its records.
fn origin(sink: &mut Sink<'_>, apart: Option<&[u8]>, range: Range<usize>) -> Result<Origin, DecodeError> {
    sink.count_stream();
    identity::begin(&mut sink.scratch.key, identity::PROTOBUF);
    let bytes = apart.unwrap_or(sink.block.bytes());
    let mut at = range.start;
    while let Some(resource) = next_of(1, bytes, &mut at, range.end)? {
        sink.scratch.key.extend_from_slice(bytes.get(resource).unwrap_or_default());
    }
    identity::end_resource(&mut sink.scratch.key);
    let stream = identity::stream(sink)?;
    let names_pod = sink.block.streams().get(stream as usize).is_some_and(|stream| !stream.workload().pod.is_empty());
    Ok(Origin { stream, names_pod })
}

/// The stream of a record that says itself who logged: the key of its resource, and what it says. `None` where that cannot be read.
fn own_stream(sink: &mut Sink<'_>, apart: Option<&[u8]>, record: &Range<usize>) -> Result<Option<u32>, DecodeError> {
    let resource = sink.scratch.key.len();
    let bytes = apart.unwrap_or(sink.block.bytes());
    let mut at = record.start;
    while let Some(pair) = next_of(6, bytes, &mut at, record.end)? {
        let (key, _) = pair_of(bytes, pair.clone())?;
        if interest(bytes.get(key).unwrap_or_default()) == Interest::Identity {
            identity::push_record(&mut sink.scratch.key, bytes.get(pair).unwrap_or_default());
        }
    }
    let stream = identity::stream(sink);
    sink.scratch.key.truncate(resource);
    match stream {
        // The resource was read before.
        Err(DecodeError::Protobuf { .. }) => Ok(None),
        stream => stream.map(Some),
    }
}

fn resource_in_place(sink: &mut Sink<'_>, range: Range<usize>) -> Result<bool, DecodeError> {
    let Origin { stream, names_pod } = origin(sink, None, range.clone())?;
    let mut records = Records::of(range);
    loop {
        let mut lines = sink.lines_of(stream);
        let bytes = lines.bytes;
        let mut bad = 0;
        let own = loop {
            let Some(range) = records.next(bytes)? else { break None };
            let Ok(record) = Record::read(bytes, range.clone(), !names_pod) else {
                bad += 1;
                continue;
            };
            let Some(line) = record.line_in_place() else {
                lines.finish();
                return Ok(false);
            };
            if record.has_identity {
                break Some((range, record, line));
            }
            lines.take(line.start, line.end, record.facts.at())?;
            if let Some(context) = record.facts.context(record.severity_text) {
                lines.describe(context)?;
            }
        };
        lines.finish();
        (0..bad).for_each(|_| sink.drop_entry());
        let Some((range, record, line)) = own else { return Ok(true) };
        let Some(stream) = own_stream(sink, None, &range)? else {
            sink.drop_entry();
            continue;
        };
        sink.reserve(1)?;
        sink.line(line.start, line.end, record.facts.at(), stream);
        if let Some(context) = record.facts.context(record.severity_text) {
            sink.describe(context)?;
        }
    }
}

/// The records of a `ResourceLogs`, in the order of their bytes.
struct Records {
    at: usize,
    end: usize,
    scope: Range<usize>,
}

impl Records {
    fn of(range: Range<usize>) -> Self {
        Self { at: range.start, end: range.end, scope: 0..0 }
    }

    #[inline]
    fn next(&mut self, bytes: &[u8]) -> Result<Option<Range<usize>>, Fault> {
        loop {
            if let Some(record) = next_of(2, bytes, &mut self.scope.start, self.scope.end)? {
                return Ok(Some(record));
            }
            match next_of(2, bytes, &mut self.at, self.end)? {
                Some(scope) => self.scope = scope,
                None => return Ok(None),
            }
        }
    }
}

/// The next field of that number from `at` on, which moves behind it; `None` at the end of the message.
#[inline]
pub(super) fn next_of(number: u32, bytes: &[u8], at: &mut usize, end: usize) -> Result<Option<Range<usize>>, Fault> {
    let mut fields = Reader::over(bytes, *at..end.min(bytes.len()));
    while let Some(field) = fields.next()? {
        if field.number == number {
            *at = fields.at;
            return field.range().map(Some);
        }
    }
    *at = fields.at;
    Ok(None)
}

/// A `LogRecord`: what counts, or where it stands.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) facts: Facts,
    pub(super) severity_text: Range<usize>,
    pub(super) body: Any,
    pub(super) event_name: Range<usize>,
    pub(super) range: Range<usize>,
    pub(super) has_attributes: bool,
    /// An attribute is about an exception.
    pub(super) has_exception: bool,
    /// An attribute tells who logged, and this was asked for.
    has_identity: bool,
}

/// An `AnyValue`: where a text stands, or that it is something else.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Any {
    Nothing,
    Text(Range<usize>),
    Bool(bool),
    Int(i64),
    Double(f64),
    Array(Range<usize>),
    List(Range<usize>),
    Bytes(Range<usize>),
}

impl Record {
    #[inline]
    fn read(bytes: &[u8], range: Range<usize>, wants_identity: bool) -> Result<Self, Fault> {
        let nowhere = range.end..range.end;
        let mut record = Self {
            facts: Facts::default(),
            severity_text: nowhere.clone(),
            body: Any::Nothing,
            event_name: nowhere,
            range: range.clone(),
            has_attributes: false,
            has_exception: false,
            has_identity: false,
        };
        let mut fields = Reader::over(bytes, range);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => record.facts.time = field.fixed64()?,
                // As protobuf has it: an enum is the lower half of its varint.
                2 => record.facts.severity = i64::from(field.varint()? as i32),
                3 => record.severity_text = field.range()?,
                5 => record.body = Any::read(bytes, field.range()?)?.or(record.body),
                6 => {
                    record.has_attributes = true;
                    let (key, _) = pair_of(bytes, field.range()?)?;
                    match interest(bytes.get(key).unwrap_or_default()) {
                        Interest::Exception => record.has_exception = true,
                        Interest::Identity => record.has_identity = wants_identity,
                        Interest::None => {}
                    }
                }
                9 => record.facts.trace_id = id(bytes.get(field.range()?).unwrap_or_default()),
                10 => record.facts.span_id = id(bytes.get(field.range()?).unwrap_or_default()),
                11 => record.facts.observed = field.fixed64()?,
                12 => record.event_name = field.range()?,
                _ => {}
            }
        }
        Ok(record)
    }

    /// Where the line stands; `None` where it has to be written.
    #[inline]
    fn line_in_place(&self) -> Option<Range<usize>> {
        match &self.body {
            Any::Text(text) if !self.has_exception => Some(text.clone()),
            Any::Nothing if !self.has_attributes && self.event_name.is_empty() => Some(self.range.end..self.range.end),
            _ => None,
        }
    }
}

impl Any {
    /// Of several values the last one counts.
    #[inline]
    pub(super) fn read(bytes: &[u8], range: Range<usize>) -> Result<Self, Fault> {
        let mut value = Self::Nothing;
        let mut fields = Reader::over(bytes, range);
        while let Some(field) = fields.next()? {
            value = match field.number {
                1 => Self::Text(field.range()?),
                2 => Self::Bool(field.varint()? != 0),
                3 => Self::Int(field.varint()? as i64),
                4 => Self::Double(f64::from_bits(field.fixed64()?)),
                5 => Self::Array(field.range()?),
                6 => Self::List(field.range()?),
                7 => Self::Bytes(field.range()?),
                _ => value,
            };
        }
        Ok(value)
    }

    fn or(self, other: Self) -> Self {
        if self == Self::Nothing { other } else { self }
    }
}

/// Where the key of a `KeyValue` stands, and its value.
#[inline]
pub(super) fn pair_of(bytes: &[u8], range: Range<usize>) -> Result<(Range<usize>, Range<usize>), Fault> {
    let (mut key, mut value) = (range.end..range.end, range.end..range.end);
    let mut fields = Reader::over(bytes, range);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => key = field.range()?,
            2 => value = field.range()?,
            _ => {}
        }
    }
    Ok((key, value))
}

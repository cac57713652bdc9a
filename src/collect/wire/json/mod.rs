//! Loki's push in JSON, in its present shape and the one before.
//!
//! ```json
//! {"streams": [{"stream": {"app": "api"}, "values": [["1700000000123456789", "boom", {"pod": "api-0"}]]}]}
//! {"streams": [{"labels": "{app=\"api\"}", "entries": [{"ts": "2023-11-14T22:13:20Z", "line": "boom"}]}]}
//! ```
//!
//! Keys come in any order, so the lines of a stream wait in the scratch buffers until its labels are known. No tree is built: the text of each
//! line goes straight to the block's buffer, as bytes, because one bad byte must not cost a batch.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use crate::model::{Labels, Line, Timestamp};

use super::streams::{self, Parsed};
use super::{DecodeError, Sink};

mod answer;

pub use answer::decode_answer;

/// Which shapes are meant by a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shapes {
    /// `stream` and `values` only, as on `/loki/api/v1/push`.
    Present,
    /// These or `labels` and `entries`, told by their names.
    Both,
    /// `stream` and `values` as a query is answered: what stands behind time and line has shapes of its own, and is not looked at.
    Answered,
}

/// Reads a JSON text and puts its lines into the sink's block, which is empty.
///
/// # Errors
/// When the text is no JSON or has another shape, has a reserved label, or needs more memory than there is.
pub fn decode(text: &[u8], shapes: Shapes, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    read(text, shapes, sink, |reading, json| At(Place::Request, reading).deserialize(json))
}

type Json<'t> = serde_json::Deserializer<serde_json::de::SliceRead<'t>>;

fn read<'t>(
    text: &'t [u8],
    shapes: Shapes,
    sink: &mut Sink<'_>,
    walk: impl FnOnce(&mut Reading<'_, '_>, &mut Json<'t>) -> serde_json::Result<()>,
) -> Result<(), DecodeError> {
    // Lines are copied, and an escaped one goes through the parser's own buffer, too.
    sink.room.set_buffers(sink.room.buffers().saturating_add(text.len().saturating_mul(2)))?;
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut reading = Reading { sink, shapes, paid: 0, listed: 0, failure: None };
    let read = walk(&mut reading, &mut json).and_then(|()| json.end());
    match reading.failure {
        Some(failure) => Err(failure),
        None => Ok(read?),
    }
}

/// Lines are paid for in steps of this many.
const PAY: usize = 1024;

/// Labels from an object begin with this byte in the cache, and a label text that can be read never does.
pub(super) const OBJECT: u8 = 0;

/// The state of the walk over one text.
struct Reading<'s, 'a> {
    sink: &'s mut Sink<'a>,
    shapes: Shapes,
    paid: usize,
    listed: usize,
    /// Our own error behind serde's, which has a text only.
    failure: Option<DecodeError>,
}

impl Reading<'_, '_> {
    /// Keeps our own error and gives serde one to stop with.
    fn fail<E: Error>(&mut self, failure: DecodeError) -> E {
        self.failure = Some(failure);
        E::custom("stopped")
    }

    /// Puts a line's text into the block and gives its place.
    fn text(&mut self, text: &[u8]) -> (usize, usize) {
        let bytes = self.sink.block.bytes_mut();
        if !bytes.is_empty() {
            bytes.push(b'\n');
        }
        let start = bytes.len();
        bytes.extend_from_slice(text);
        (start, bytes.len())
    }

    /// Lets a line wait for its stream's labels. A line whose time cannot be read is dropped here.
    fn wait<E: Error>(&mut self, place: (usize, usize), at: Option<Timestamp>) -> Result<(), E> {
        let Some(at) = at else {
            self.sink.drop_entry();
            return Ok(());
        };
        if self.listed == self.paid {
            // Twice: a line waits in one table and ends in another.
            self.sink.room.grow_tables(2 * PAY * size_of::<Line>()).map_err(|e| self.fail(e))?;
            self.paid += PAY;
        }
        self.listed += 1;
        self.sink.scratch.waiting.push(Line { start: place.0 as u32, end: place.1 as u32, stream: 0, at });
        Ok(())
    }

    /// The stream's object is over: its lines get their labels.
    fn end_stream<E: Error>(&mut self) -> Result<(), E> {
        let waiting = std::mem::take(&mut self.sink.scratch.waiting);
        if !waiting.is_empty() {
            let stream = match self.sink.scratch.key.first() {
                Some(&OBJECT) => self.sink.stream_of_key(labels_of_object),
                _ => self.sink.stream_of_key(|text| streams::read(text).ok()),
            };
            match stream.map_err(|e| self.fail(e))? {
                Some(stream) => {
                    waiting.iter().for_each(|line| self.sink.line(line.start as usize, line.end as usize, line.at, stream));
                }
                None => self.sink.drop_unlabelled(waiting.len() as u64),
            }
        }
        self.sink.scratch.waiting = waiting;
        Ok(())
    }
}

/// Names and values as `(length, bytes)` one after the other, behind [`OBJECT`]. Of a name that stands twice the last value counts, as in Go.
pub(super) fn labels_of_object(key: &[u8]) -> Option<Parsed> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = key.get(1..)?;
    while !rest.is_empty() {
        let (name, after) = split_part(rest)?;
        let (value, after) = split_part(after)?;
        rest = after;
        pairs.push((name, value));
    }
    // Stable, so that the last of equal names stays last.
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs.reverse();
    pairs.dedup_by(|next, kept| next.0 == kept.0);
    let labels = Labels::try_new(pairs).ok()?;
    (!labels.is_empty() && labels.iter().all(|(name, _)| !name.is_empty())).then_some(Parsed { labels, lenient: false })
}

fn split_part(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((String::from_utf8_lossy(part).into_owned(), rest))
}

/// Appends a part of a pair to the key.
pub(super) fn push_part(key: &mut Vec<u8>, part: &[u8]) {
    key.extend_from_slice(&(part.len() as u32).to_le_bytes());
    key.extend_from_slice(part);
}

/// The keys that we know.
enum Key {
    Streams,
    Stream,
    Values,
    Labels,
    Entries,
    Ts,
    Line,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_bytes(Text(|name: &[u8]| match name {
            b"streams" => Self::Streams,
            b"stream" => Self::Stream,
            b"values" => Self::Values,
            b"labels" => Self::Labels,
            b"entries" => Self::Entries,
            b"ts" => Self::Ts,
            b"line" => Self::Line,
            _ => Self::Other,
        }))
    }
}

/// A JSON string as bytes, given to a function.
struct Text<F>(F);

impl<'de, T, F: FnOnce(&[u8]) -> T> Visitor<'de> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<T, E> {
        Ok((self.0)(bytes))
    }
}

impl<'de, T, F: FnOnce(&[u8]) -> T> DeserializeSeed<'de> for Text<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_bytes(self)
    }
}

/// A label's value: a string, or a bare scalar, whose text counts.
struct Scalar<'k>(&'k mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Scalar<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a label value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        push_part(self.0, text.as_bytes());
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.visit_str(if value { "true" } else { "false" })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.visit_str(&value.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.visit_str("null")
    }
}

/// A place of the walk that holds an object or an array.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Request,
    Streams,
    Stream,
    Labels,
    Values,
    Value,
    Metadata,
    Entries,
    Entry,
}

/// What stands at a place.
struct At<'r, 's, 'a>(Place, &'r mut Reading<'s, 'a>);

impl<'de> DeserializeSeed<'de> for At<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Place::Request => "an object with \"streams\"",
            Place::Streams => "an array of streams",
            Place::Stream => "a stream object",
            Place::Labels => "an object of labels",
            Place::Values => "an array of values",
            Place::Value => "an array of a time, a line and metadata",
            Place::Metadata => "an object whose values are strings",
            Place::Entries => "an array of entries",
            Place::Entry => "an entry object",
        })
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.0 {
            Place::Request | Place::Metadata => Err(E::invalid_type(Unexpected::Unit, &self)),
            _ => Ok(()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self(place, reading) = self;
        let item = match place {
            Place::Streams => Place::Stream,
            Place::Values => Place::Value,
            Place::Entries => Place::Entry,
            Place::Value => return value(reading, items),
            _ => return Err(A::Error::invalid_type(Unexpected::Seq, &At(place, reading))),
        };
        while items.next_element_seed(At(item, reading))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Self(place, reading) = self;
        match place {
            Place::Request => request(reading, map),
            Place::Stream => stream(reading, map),
            Place::Labels => labels(reading, map),
            Place::Metadata => metadata(map),
            Place::Entry => entry(reading, map),
            _ => Err(A::Error::invalid_type(Unexpected::Map, &At(place, reading))),
        }
    }
}

fn request<'de, A: MapAccess<'de>>(reading: &mut Reading<'_, '_>, mut map: A) -> Result<(), A::Error> {
    while let Some(key) = map.next_key()? {
        match key {
            Key::Streams => map.next_value_seed(At(Place::Streams, reading))?,
            _ => skip(&mut map)?,
        }
    }
    Ok(())
}

fn stream<'de, A: MapAccess<'de>>(reading: &mut Reading<'_, '_>, mut map: A) -> Result<(), A::Error> {
    reading.sink.count_stream();
    reading.sink.scratch.waiting.clear();
    reading.sink.scratch.key.clear();
    let both = reading.shapes == Shapes::Both;
    while let Some(key) = map.next_key()? {
        match key {
            Key::Stream => map.next_value_seed(At(Place::Labels, reading))?,
            Key::Values => map.next_value_seed(At(Place::Values, reading))?,
            Key::Labels if both => {
                let key = &mut reading.sink.scratch.key;
                key.clear();
                map.next_value_seed(Text(|text: &[u8]| key.extend_from_slice(text)))?;
            }
            Key::Entries if both => map.next_value_seed(At(Place::Entries, reading))?,
            _ => skip(&mut map)?,
        }
    }
    reading.end_stream()
}

fn labels<'de, A: MapAccess<'de>>(reading: &mut Reading<'_, '_>, mut map: A) -> Result<(), A::Error> {
    let key = &mut reading.sink.scratch.key;
    key.clear();
    key.push(OBJECT);
    while map.next_key_seed(Text(|name: &[u8]| push_part(key, name)))?.is_some() {
        map.next_value_seed(Scalar(key))?;
    }
    Ok(())
}

fn metadata<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_key::<Key>()?.is_some() {
        map.next_value_seed(Text(|_: &[u8]| ()))?;
    }
    Ok(())
}

/// `[time, line, metadata?, ...]`
fn value<'de, A: SeqAccess<'de>>(reading: &mut Reading<'_, '_>, mut items: A) -> Result<(), A::Error> {
    const SHAPE: &str = "a time and a line";
    let at = items.next_element_seed(Text(nanos))?.ok_or_else(|| A::Error::invalid_length(0, &SHAPE))?;
    let place = items.next_element_seed(Text(|line: &[u8]| at.map(|_| reading.text(line))))?;
    let place = place.ok_or_else(|| A::Error::invalid_length(1, &SHAPE))?;
    let is_answer = reading.shapes == Shapes::Answered;
    if is_answer || items.next_element_seed(At(Place::Metadata, reading))?.is_some() {
        while items.next_element::<IgnoredAny>()?.is_some() {}
    }
    reading.wait(place.unwrap_or_default(), at)
}

fn entry<'de, A: MapAccess<'de>>(reading: &mut Reading<'_, '_>, mut map: A) -> Result<(), A::Error> {
    let mut at = Some(Timestamp(0));
    let mut place = None;
    while let Some(key) = map.next_key()? {
        match key {
            Key::Ts => at = map.next_value_seed(Text(rfc3339))?,
            Key::Line => place = Some(map.next_value_seed(Text(|line: &[u8]| reading.text(line)))?),
            _ => skip(&mut map)?,
        }
    }
    let place = place.unwrap_or_else(|| reading.text(b""));
    reading.wait(place, at)
}

fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

fn nanos(text: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(text).ok()?.parse().ok().map(Timestamp)
}

fn rfc3339(text: &[u8]) -> Option<Timestamp> {
    Timestamp::parse(std::str::from_utf8(text).ok()?).ok()
}

#[cfg(test)]
mod tests;
